package server

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// What a message is made of takes more memory than its bytes: an event that says nothing has 2 bytes on the wire and 100 in memory, so that
// a message of maxMessage could take a gigabyte.
const (
	maxParts     = 1 << 20  // fields, of a message and of all within it
	smallMessage = 64 << 10 // bytes, up to which nobody counts
)

// checkParts refuses a message that would take much more memory than its bytes. What is malformed is left to whoever decodes it.
func checkParts(data []byte, into any) error {
	message, ok := into.(proto.Message)
	if ok && countParts(data, message.ProtoReflect().Descriptor(), maxParts) < 0 {
		return fmt.Errorf("the message has more than %d fields: divide it", maxParts)
	}
	return nil
}

// countParts returns how many parts are left of so many, less than 0 when they were not enough.
func countParts(data []byte, of protoreflect.MessageDescriptor, left int) int {
	for ; len(data) > 0 && left >= 0; left-- {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return left
		}
		size := protowire.ConsumeFieldValue(number, kind, data[n:])
		if size < 0 {
			return left
		}
		value := data[n : n+size]
		data = data[n+size:]
		if field := of.Fields().ByNumber(number); field != nil && field.Message() != nil && kind == protowire.BytesType {
			content, _ := protowire.ConsumeBytes(value)
			left = countParts(content, field.Message(), left)
		}
	}
	return left
}
