package server

import (
	"context"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// maxAppend is the most that the events of one append may have, in bytes as eventSize counts them: EventStoreDB's default.
const maxAppend = 1 << 20

// unknownCode is how EventStoreDB's server answers arguments that it did not expect.
const unknownCode = codes.Unknown

// streamsService is the protocol's service for streams.
type streamsService struct {
	streams.UnimplementedStreamsServer
	store   wireStore
	guard   guard
	now     func() events.Micros
	longest time.Duration   // that a write is waited for, when the caller would wait longer
	closing <-chan struct{} // closed when subscriptions have to end
}

// longestWrite is how long a write is waited for. Only a disk that hangs takes that long.
const longestWrite = 10 * time.Second

// write does something to a stream, and lets the guard know. An operation that takes too long is Aborted: its outcome is unknown, and
// clients may try it again with the same ids. One that may change rights is waited for as long as it takes.
func (s *streamsService) write(ctx context.Context, what action, stream events.Stream, do func(ctx context.Context) (storage.Appended, error)) (storage.Appended, error) {
	bounded := settled(ctx, what, stream)
	if bounded == ctx {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeout(ctx, s.longest)
		defer cancel()
	}
	appended, err := do(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return appended, fail(codes.Aborted, "Operation timed out: "+err.Error())
	}
	if err == nil {
		s.guard.wrote(ctx, what, stream)
	}
	return appended, err
}
