package server

import (
	"strconv"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// TestParts: a message that is small on the wire and huge in memory is refused before it is taken apart; a large one with as much in it as
// somebody may want to send is read.
func TestParts(t *testing.T) {
	event := &streams.BatchAppendReq_ProposedMessage{
		Id: structured(uuid.New()), Metadata: map[string]string{keyType: "t", keyContentType: contentJSON}, Data: []byte(`{}`),
	}
	manyKeys := map[string]string{} // each is an entry with a key and a value
	for i := range maxParts/3 + 1 {
		manyKeys[strconv.Itoa(i)] = ""
	}
	repeat := func(n int, event *streams.BatchAppendReq_ProposedMessage) *streams.BatchAppendReq {
		request := &streams.BatchAppendReq{}
		for range n {
			request.ProposedMessages = append(request.ProposedMessages, event)
		}
		return request
	}
	for name, row := range map[string]struct {
		message proto.Message
		fine    bool
	}{
		"events":            {repeat(20_000, event), true},
		"too many events":   {repeat(100_000, event), false},
		"events of nothing": {repeat(maxParts+1, &streams.BatchAppendReq_ProposedMessage{}), false},
		"metadata":          {repeat(1, &streams.BatchAppendReq_ProposedMessage{Metadata: manyKeys}), false},
		"prefixes": {&streams.ReadReq{Options: &streams.ReadReq_Options{FilterOption: &streams.ReadReq_Options_Filter{
			Filter: &streams.ReadReq_Options_FilterOptions{Filter: &streams.ReadReq_Options_FilterOptions_EventType{
				EventType: &streams.ReadReq_Options_FilterOptions_Expression{Prefix: make([]string, maxParts+1)},
			}},
		}}}, false},
		"one large event": {repeat(1, &streams.BatchAppendReq_ProposedMessage{Data: make([]byte, 16<<20)}), true},
	} {
		data, err := proto.Marshal(row.message)
		if err != nil {
			t.Fatal(err)
		}
		into := row.message.ProtoReflect().New().Interface()
		half := len(data) / 2
		err = newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(data[:half]), mem.SliceBuffer(data[half:])}, into)
		if (err == nil) != row.fine || row.fine && !proto.Equal(into, row.message) {
			t.Errorf("%s, %d bytes: %v", name, len(data), err)
		}
	}
}

// FuzzParts: whatever the bytes, counting ends, and finds no less in what can be decoded than there is.
func FuzzParts(f *testing.F) {
	for _, message := range []proto.Message{
		&streams.BatchAppendReq{CorrelationId: structured(uuid.New()), ProposedMessages: []*streams.BatchAppendReq_ProposedMessage{{Metadata: map[string]string{"a": "b"}}, {}}},
		&persistent.ReadReq{},
	} {
		data, err := proto.Marshal(message)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte{0x1a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, data []byte) {
		request := &streams.BatchAppendReq{}
		left := countParts(data, request.ProtoReflect().Descriptor(), maxParts)
		if left > maxParts {
			t.Fatalf("%d are left of %d", left, maxParts)
		}
		if err := proto.Unmarshal(data, request); err != nil {
			return
		}
		there := len(request.GetProposedMessages())
		for _, event := range request.GetProposedMessages() {
			there += len(event.GetMetadata())
		}
		if maxParts-left < there {
			t.Fatalf("counted %d of %d", maxParts-left, there)
		}
	})
}
