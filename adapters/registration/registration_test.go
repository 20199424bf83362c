package registration_test

import (
	"os"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/asynkron/protoactor-go/cluster"

	_ "example.com/life/adapters/registration"
)

// TestBothLink uses a message of each library. Without the import above the test binary panics before it gets here.
func TestBothLink(t *testing.T) {
	theirs := (&gossip.ClusterInfo{}).ProtoReflect().Descriptor().FullName()
	ours := (&cluster.GossipState{}).ProtoReflect().Descriptor().FullName()
	if theirs == ours {
		t.Errorf("both call a message %s: ignoring the clash of file names is not safe any more", ours)
	}
	if os.Getenv("GOLANG_PROTOBUF_REGISTRATION_CONFLICT") != "ignore" {
		t.Error("the policy is not set")
	}
}
