package protocol_test

import (
	"strings"
	"testing"

	_ "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"example.com/life/adapters/embedded/server/protocol/operations"
	"example.com/life/adapters/embedded/server/protocol/users"
	_ "example.com/life/adapters/registration"
)

// TestNamesAreOurs: a name that the client registers too would be dropped without a word (ADR 2).
func TestNamesAreOurs(t *testing.T) {
	for _, file := range []protoreflect.FileDescriptor{(&users.CreateReq{}).ProtoReflect().Descriptor().ParentFile(), (&operations.Empty{}).ProtoReflect().Descriptor().ParentFile()} {
		if !strings.HasPrefix(file.Path(), "adapters/embedded/server/protocol/") {
			t.Errorf("the file %s may be another's", file.Path())
		}
		for i := range file.Messages().Len() {
			name := file.Messages().Get(i).FullName()
			if found, err := protoregistry.GlobalFiles.FindDescriptorByName(name); err != nil || found.ParentFile().Path() != file.Path() {
				t.Errorf("%s is of %v: %v", name, found, err)
			}
		}
	}
}
