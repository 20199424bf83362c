package eventstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Tombstone ends a stream for good, whether or not it is there: nothing can be read from it or appended to it any more, ever. For a
// stream that has ended already it does nothing.
func (j *Journal) Tombstone(ctx context.Context, stream events.Stream) error {
	if err := checkName(stream); err != nil {
		return err
	}
	request := &streams.TombstoneReq{Options: &streams.TombstoneReq_Options{
		StreamIdentifier: identifier(stream), ExpectedStreamRevision: &streams.TombstoneReq_Options_Any{Any: &shared.Empty{}},
	}}
	err := j.call(ctx, access{toDelete, stream}, func(ctx context.Context, n *node) *failure {
		ctx, cancel := context.WithTimeout(ofLeader(ctx), j.target.deadline)
		defer cancel()
		var trailer metadata.MD
		if _, err := streams.NewStreamsClient(n.calls).Tombstone(ctx, request, grpc.Trailer(&trailer)); err != nil {
			return failed(err, trailer)
		}
		return nil
	})
	if err != nil && !errors.Is(err, storage.ErrDeleted) { // an attempt whose answer was lost may have ended it
		return fmt.Errorf("end %s for good: %w", stream, err)
	}
	return nil
}
