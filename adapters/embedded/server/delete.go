package server

import (
	"context"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Delete implements streams.StreamsServer: the stream reads as one that is not there, until somebody appends to it.
func (s *streamsService) Delete(ctx context.Context, request *streams.DeleteReq) (*streams.DeleteResp, error) {
	options := request.GetOptions()
	stream, expected, err := s.toDelete(ctx, options.GetStreamIdentifier(), options.GetExpectedStreamRevision())
	if err != nil {
		return nil, err
	}
	appended, err := s.write(ctx, toDelete, stream, func(ctx context.Context) (storage.Appended, error) {
		return s.store.Delete(ctx, stream, expected)
	})
	if err != nil {
		return nil, deleteFailure("Delete", err, stream)
	}
	if appended.Position == 0 {
		return &streams.DeleteResp{PositionOption: &streams.DeleteResp_NoPosition{NoPosition: &shared.Empty{}}}, nil
	}
	at := uint64(appended.Position)
	return &streams.DeleteResp{PositionOption: &streams.DeleteResp_Position_{
		Position: &streams.DeleteResp_Position{CommitPosition: at, PreparePosition: at},
	}}, nil
}

// Tombstone implements streams.StreamsServer: nothing can be read from the stream or appended to it, ever.
func (s *streamsService) Tombstone(ctx context.Context, request *streams.TombstoneReq) (*streams.TombstoneResp, error) {
	options := request.GetOptions()
	stream, expected, err := s.toDelete(ctx, options.GetStreamIdentifier(), options.GetExpectedStreamRevision())
	if err != nil {
		return nil, err
	}
	appended, err := s.write(ctx, toDelete, stream, func(ctx context.Context) (storage.Appended, error) {
		return s.store.Tombstone(ctx, stream, expected)
	})
	if err != nil {
		return nil, deleteFailure("Tombstone", err, stream)
	}
	if appended.Position == 0 {
		return &streams.TombstoneResp{PositionOption: &streams.TombstoneResp_NoPosition{NoPosition: &shared.Empty{}}}, nil
	}
	at := uint64(appended.Position)
	return &streams.TombstoneResp{PositionOption: &streams.TombstoneResp_Position_{
		Position: &streams.TombstoneResp_Position{CommitPosition: at, PreparePosition: at},
	}}, nil
}

// toDelete reads what to delete. Metadata live as long as their stream, and everything is no stream.
func (s *streamsService) toDelete(ctx context.Context, id *shared.StreamIdentifier, oneof any) (events.Stream, storage.Expected, error) {
	stream, err := streamName(id)
	if err != nil {
		return "", 0, err
	}
	expected, err := expectedOf(oneof)
	if err != nil {
		return "", 0, err
	}
	if stream == allStream || strings.HasPrefix(string(stream), metaPrefix) || stream == "$persistentSubscriptionConfig" { // without the last no group could be loaded any more
		return "", 0, accessDenied()
	}
	return stream, expected, s.guard.allow(ctx, callerOf(ctx), toDelete, stream)
}

func deleteFailure(operation string, err error, stream events.Stream) error {
	if conflict := conflictOf(err); conflict != nil {
		return wrongVersion(operation, conflict)
	}
	return storeFailure(err, stream)
}
