package server

import (
	"context"
	"errors"
	"io"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"google.golang.org/grpc/metadata"

	"example.com/life/adapters/embedded/groups"
	"example.com/life/events"
)

// Read implements persistent.PersistentSubscriptionsServer: a consumer of a group, from its first message to the end of the call. The
// confirmation comes first, and after it events alone: the Go client panics on anything else.
func (s *persistentService) Read(call persistent.PersistentSubscriptions_ReadServer) error {
	request, err := call.Recv()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := loggedIn(call.Context()); err != nil { // after the first message: a client whose call ends before it has sent reports only that
		return err
	}
	options := request.GetOptions()
	if options == nil {
		return invalid("a consumer's first message has to say which group it is of")
	}
	key, err := keyOf(options, options.GetAll() != nil)
	if err != nil {
		return err
	}
	ctx, stop, err := s.guard.hold(call.Context(), callerOf(call.Context()), toRead, key.Stream)
	if err != nil {
		return err
	}
	defer stop()
	if options.GetUuidOption() == nil {
		return fail(unknownCode, "The request does not say in which form ids are to be.")
	}
	member, err := s.groups.Join(ctx, key, consumerOf(ctx, int(options.GetBufferSize())))
	if err != nil {
		return groupFailure(err, key.Stream)
	}
	defer member.Close()
	ids := structuredID
	if _, isString := options.GetUuidOption().GetContent().(*persistent.ReadReq_Options_UUIDOption_String_); isString {
		ids = stringID
	}
	return s.consume(ctx, call, member, ids, key)
}

// consumerOf says who a consumer is, and what it calls itself.
func consumerOf(ctx context.Context, buffer int) groups.Consumer {
	caller := callerOf(ctx)
	who := groups.Consumer{Name: "<unknown>", User: caller.name, Buffer: buffer}
	if caller.system {
		who.User = "system"
	}
	if name := metadata.ValueFromIncomingContext(ctx, "connection-name"); len(name) > 0 {
		who.Name = name[0]
	}
	return who
}

// consume sends what the group delivers, while another goroutine takes the answers. That one ends with the call, at the latest: gRPC
// has Recv return when the handler has.
func (s *persistentService) consume(ctx context.Context, call persistent.PersistentSubscriptions_ReadServer, member *groups.Member, ids idForm, key groups.Key) error {
	confirmation := &persistent.ReadResp{Content: &persistent.ReadResp_SubscriptionConfirmation_{
		SubscriptionConfirmation: &persistent.ReadResp_SubscriptionConfirmation{SubscriptionId: key.String()},
	}}
	if err := call.Send(confirmation); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { cancel(answers(call, member)) }()
	for {
		next, err := member.Next(ctx)
		if err == nil {
			s.withhold(ctx, &next, key)
			err = deliver(call, &next, ids)
		}
		if err == nil {
			continue
		}
		switch cause := context.Cause(ctx); {
		case cause == nil, errors.Is(cause, context.Canceled):
		case errors.Is(cause, io.EOF): // the client has closed its side: it will not answer any more
			return nil
		default:
			err = cause
		}
		return groupFailure(err, key.Stream)
	}
}

// answers takes a consumer's answers until there are no more; the error says why.
func answers(call persistent.PersistentSubscriptions_ReadServer, member *groups.Member) error {
	for {
		request, err := call.Recv()
		if err != nil {
			return err
		}
		switch answer := request.GetContent().(type) {
		case *persistent.ReadReq_Ack_:
			ids, err := answeredIDs(answer.Ack.GetIds())
			if err != nil {
				return err
			}
			member.Ack(ids...)
		case *persistent.ReadReq_Nack_:
			ids, err := answeredIDs(answer.Nack.GetIds())
			if err != nil {
				return err
			}
			member.Nack(groups.Action(answer.Nack.GetAction()), answer.Nack.GetReason(), ids...)
		default:
			return invalid("a consumer's messages after the first are answers")
		}
	}
}

func answeredIDs(wire []*shared.UUID) ([]events.EventID, error) {
	ids := make([]events.EventID, 0, len(wire))
	for _, id := range wire {
		read, err := readID(id)
		if err != nil {
			return nil, invalid("%s", err)
		}
		ids = append(ids, read)
	}
	return ids, nil
}

// withhold keeps what a link points at from a consumer who may not read it there: whoever may write a link must not read by it. Who
// consumes everything may read it as it is.
func (s *persistentService) withhold(ctx context.Context, next *groups.Delivery, key groups.Key) {
	if next.Link == nil || next.Event == nil || key.Stream == groups.All {
		return
	}
	if s.guard.allow(ctx, callerOf(ctx), toRead, next.Event.Stream) != nil {
		next.Event = nil
	}
}

// deliver sends an event, or a link and what it points at.
func deliver(call persistent.PersistentSubscriptions_ReadServer, next *groups.Delivery, ids idForm) error {
	original := next.Link
	if original == nil {
		original = next.Event
	}
	var event, link *record
	var err error
	if next.Event != nil {
		if event, err = ids.record(next.Event, original.Position); err != nil {
			return storeFailure(err, next.Event.Stream)
		}
	}
	if next.Link != nil {
		if link, err = ids.record(next.Link, original.Position); err != nil {
			return storeFailure(err, next.Link.Stream)
		}
	}
	return call.SendMsg(encodeDelivery(event, link, original.Position, next.Retries))
}

// fieldRetries is the number of the field that a delivery has besides those of an event that is read.
const fieldRetries = 5

// encodeDelivery writes the answer that delivers an event: as encodeRead does, whose messages have the same numbers, and how often it
// was delivered before.
func encodeDelivery(event, link *record, position events.Position, retries int) encoded {
	size := sizeNumber(fieldReadPosition, uint64(position)) + sizeNumber(fieldRetries, uint64(retries))
	if event != nil {
		size += sizeBytes(fieldReadEvent, event.size)
	}
	if link != nil {
		size += sizeBytes(fieldReadLink, link.size)
	}
	b := appendHead(make([]byte, 0, sizeBytes(fieldRespEvent, size)), fieldRespEvent, size)
	if event != nil {
		b = event.append(appendHead(b, fieldReadEvent, event.size))
	}
	if link != nil {
		b = link.append(appendHead(b, fieldReadLink, link.size))
	}
	return appendNumber(appendNumber(b, fieldReadPosition, uint64(position)), fieldRetries, uint64(retries))
}
