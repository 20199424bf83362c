package server

import (
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"

	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

// maxAppend is the most that the events of one append may have, in bytes as eventSize counts them: EventStoreDB's default.
const maxAppend = 1 << 20

// unknownCode is how EventStoreDB's server answers arguments that it did not expect.
const unknownCode = codes.Unknown

// streamsService is the protocol's service for streams.
type streamsService struct {
	streams.UnimplementedStreamsServer
	store   *embedded.Store
	guard   guard
	now     func() events.Micros
	closing <-chan struct{} // closed when subscriptions have to end
}
