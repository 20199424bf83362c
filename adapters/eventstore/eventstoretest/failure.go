package eventstoretest

import (
	"context"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// failing ends a call with a status and EventStoreDB's trailers: names and values by turns.
func failing(ctx context.Context, code codes.Code, message string, trailers ...string) error {
	grpc.SetTrailer(ctx, metadata.Pairs(trailers...)) //nolint:errcheck // the call has ended then
	return status.Error(code, message)
}

const thrown = "Exception was thrown by handler."

func streamDeleted(ctx context.Context, stream string) error {
	return failing(ctx, codes.FailedPrecondition, "Event stream '"+stream+"' is deleted.", "exception", "stream-deleted", "stream-name", stream)
}

// mustLead refuses a call that only the leader may answer. The lock is held.
func (n *Node) mustLead(ctx context.Context) error {
	switch leader := n.cluster.leader; leader {
	case n:
		return nil
	case nil:
		return status.Error(codes.Unavailable, "Server Is Not Ready")
	default:
		return failing(ctx, codes.NotFound, "Leader info available", "exception", "not-leader",
			"leader-endpoint-host", leader.public.host, "leader-endpoint-port", strconv.Itoa(leader.public.port))
	}
}

// mayRead refuses a read that is to be the leader's. The lock is held.
func (n *Node) mayRead(ctx context.Context) error {
	if requiresLeader(ctx) {
		return n.mustLead(ctx)
	}
	return nil
}

// mayWrite refuses a write, which other nodes pass on to the leader unless they are told not to. The lock is held.
func (n *Node) mayWrite(ctx context.Context) error {
	if n.cluster.leader == nil || requiresLeader(ctx) {
		return n.mustLead(ctx)
	}
	return nil
}

func requiresLeader(ctx context.Context) bool {
	given, _ := metadata.FromIncomingContext(ctx)
	for _, value := range given.Get("requires-leader") {
		if strings.EqualFold(value, "true") {
			return true
		}
	}
	return false
}

// drop resets the connection that a call came on.
func (n *Node) drop(ctx context.Context) {
	from, there := peer.FromContext(ctx)
	if !there {
		return
	}
	n.cluster.mu.Lock()
	over := n.net
	n.cluster.mu.Unlock()
	over.drop(from.Addr.String())
}
