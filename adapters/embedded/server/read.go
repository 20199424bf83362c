package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"

	"example.com/life/actors"
	"example.com/life/events"
)

// reading is one call of Read, taken apart.
type reading struct {
	stream    events.Stream // empty: everything
	revision  events.Revision
	at        actors.Place
	nothing   bool // from the end forward, or from the start backward
	direction actors.Direction
	count     uint64
	live      bool // a subscription
	resolve   bool
	ids       idForm
	filter    *filter // nil: everything
	compat    uint32
}

// Read implements streams.StreamsServer: reads of a number of events, and subscriptions.
func (s *streamsService) Read(request *streams.ReadReq, call streams.Streams_ReadServer) error {
	r, err := parseRead(request.GetOptions())
	if err != nil {
		return err
	}
	send := sender{service: s, reading: r, call: call}
	if r.live {
		return s.subscribe(&send)
	}
	if err := s.guard.allow(call.Context(), callerOf(call.Context()), toRead, r.readable()); err != nil {
		return err
	}
	if r.stream != "" {
		return s.readStream(&send)
	}
	return s.readAll(&send)
}

// readable is what the caller must have the right to read.
func (r *reading) readable() events.Stream {
	if r.stream == "" {
		return allStream
	}
	return r.stream
}

func parseRead(options *streams.ReadReq_Options) (reading, error) {
	r := reading{
		resolve: options.GetResolveLinks(),
		compat:  options.GetControlOption().GetCompatibility(),
	}
	if _, isString := options.GetUuidOption().GetContent().(*streams.ReadReq_Options_UUIDOption_String_); isString {
		r.ids = stringID
	}
	switch options.GetReadDirection() {
	case streams.ReadReq_Options_Forwards:
		r.direction = actors.Forward
	case streams.ReadReq_Options_Backwards:
		r.direction = actors.Backward
	default:
		return r, invalid("'%d' is not a valid direction", options.GetReadDirection())
	}
	switch count := options.GetCountOption().(type) {
	case *streams.ReadReq_Options_Count:
		r.count = count.Count
	case *streams.ReadReq_Options_Subscription:
		r.live = true
	default:
		return r, invalid("the request says neither how many events to read nor that it subscribes")
	}
	if r.count == 0 && !r.live {
		return r, invalid("the number of events to read must be positive")
	}
	if r.live && r.direction == actors.Backward {
		return r, invalid("a subscription cannot go backwards")
	}
	if err := r.place(options); err != nil {
		return r, err
	}
	if r.live && r.filter != nil && r.filter.multiplier == 0 {
		return r, invalid("the filter's checkpoint interval must be positive")
	}
	return r, nil
}

// place reads where to begin, and of what.
func (r *reading) place(options *streams.ReadReq_Options) (err error) {
	chosen := options.GetFilter()
	switch option := options.GetStreamOption().(type) {
	case *streams.ReadReq_Options_Stream:
		if chosen != nil {
			return invalid("only $all can be filtered")
		}
		if r.stream, err = streamName(option.Stream.GetStreamIdentifier()); err != nil {
			return err
		}
		return r.fromRevision(option.Stream)
	case *streams.ReadReq_Options_All:
		if chosen != nil {
			if r.filter, err = newFilter(chosen); err != nil {
				return err
			}
		}
		return r.fromPosition(option.All)
	}
	return invalid("the request says neither a stream nor $all")
}

func (r *reading) fromRevision(options *streams.ReadReq_Options_StreamOptions) error {
	switch option := options.GetRevisionOption().(type) {
	case *streams.ReadReq_Options_StreamOptions_Revision:
		if r.revision = events.Revision(min(option.Revision, math.MaxInt64)); option.Revision == math.MaxUint64 {
			r.fromEnd()
		}
	case *streams.ReadReq_Options_StreamOptions_Start:
		r.fromStart()
	case *streams.ReadReq_Options_StreamOptions_End:
		r.fromEnd()
	default:
		return invalid("the request does not say from which revision to read")
	}
	return nil
}

func (r *reading) fromPosition(options *streams.ReadReq_Options_AllOptions) error {
	switch option := options.GetAllOption().(type) {
	case *streams.ReadReq_Options_AllOptions_Position:
		position := events.Position(option.Position.GetCommitPosition())
		if r.at = actors.Before(position); r.live {
			r.at = actors.After(position)
		}
	case *streams.ReadReq_Options_AllOptions_Start:
		r.fromStart()
	case *streams.ReadReq_Options_AllOptions_End:
		r.fromEnd()
	default:
		return invalid("the request does not say from which position to read")
	}
	return nil
}

func (r *reading) fromStart() {
	r.revision, r.at = 0, actors.Start()
	if r.live {
		r.revision = events.NoRevision // a subscription is after its revision
	}
	r.nothing = r.direction == actors.Backward && r.stream == ""
}

func (r *reading) fromEnd() {
	r.revision, r.at = math.MaxInt64, actors.End()
	r.nothing = r.direction == actors.Forward
}

// mayReadOn asks the guard between pages, for the caller as it is by now: a read may be as long as the store, and as slow as its client.
func (s *streamsService) mayReadOn(ctx context.Context, stream events.Stream) error {
	who, err := s.guard.authenticate(ctx)
	if err != nil {
		return err
	}
	return s.guard.allow(ctx, who, toRead, stream)
}

// pageSize is how many events a page of a counted read has at most.
const pageSize = 1024

// readStream answers a counted read of a stream.
func (s *streamsService) readStream(send *sender) error {
	r := send.reading
	ctx := send.call.Context()
	var page actors.Page
	for sent, first := uint64(0), true; ; first = false {
		var err error
		if page, err = s.store.Read(ctx, r.stream, r.revision, r.direction, actors.Limit{Events: int(min(r.count-sent, pageSize))}); err != nil {
			return storeFailure(err, r.stream)
		}
		if page.Last == events.NoRevision {
			return send.notFound()
		}
		if first && r.compat > 0 && r.direction == actors.Forward && len(page.Events) == 0 && r.revision <= page.Last {
			if err := send.content(&streams.ReadResp_FirstStreamPosition{FirstStreamPosition: uint64(page.Last + 1)}); err != nil {
				return err
			}
		}
		if err := send.page(page.Events); err != nil {
			return err
		}
		sent += uint64(len(page.Events))
		if page.End || len(page.Events) == 0 || sent >= r.count {
			break
		}
		if err := s.mayReadOn(ctx, r.stream); err != nil {
			return err
		}
		last := page.Events[len(page.Events)-1].Revision
		if r.direction == actors.Forward {
			r.revision = last + 1
		} else {
			r.revision = last - 1
		}
	}
	if r.compat == 0 {
		return nil // clients that do not ask for more end with an error when they get it
	}
	return send.content(&streams.ReadResp_LastStreamPosition{LastStreamPosition: uint64(page.Last)})
}

// readAll answers a counted read of everything.
func (s *streamsService) readAll(send *sender) error {
	r := send.reading
	if r.nothing {
		return nil
	}
	chosen := r.filter.pushed()
	for sent := uint64(0); sent < r.count; {
		limit := actors.Limit{Events: pageSize}
		if r.filter == nil {
			limit.Events = int(min(r.count-sent, pageSize))
		}
		if err := s.mayReadOn(send.call.Context(), allStream); err != nil {
			return err
		}
		page, err := s.store.ReadAll(send.call.Context(), r.at, r.direction, chosen, limit)
		if errors.Is(err, actors.ErrPlace) && r.direction == actors.Forward {
			return s.beyond(send.call.Context(), r.at.Position, err)
		}
		if err != nil {
			return storeFailure(err, allStream)
		}
		for i := range page.Events {
			if sent < r.count && r.filter.chooses(&page.Events[i]) {
				sent++
				if err := send.event(&page.Events[i]); err != nil {
					return err
				}
			}
		}
		if r.at = page.Next; page.End {
			return nil
		}
	}
	return nil
}

// beyond answers a read forward from a place that the store refuses: behind the last event there is nothing.
func (s *streamsService) beyond(ctx context.Context, at events.Position, refused error) error {
	page, err := s.store.ReadAll(ctx, actors.End(), actors.Backward, actors.Filter{System: true}, actors.Limit{Events: 1})
	if err == nil && (len(page.Events) == 0 || page.Events[0].Position < at) {
		return nil
	}
	return storeFailure(errors.Join(err, refused), allStream)
}

// sender writes the answers of one call.
type sender struct {
	service *streamsService
	reading reading
	call    streams.Streams_ReadServer
}

// content sends an answer that is no event; it takes one of the oneof's wrappers.
func (s *sender) content(content any) error {
	answer := &streams.ReadResp{}
	switch content := content.(type) {
	case *streams.ReadResp_Confirmation:
		answer.Content = content
	case *streams.ReadResp_Checkpoint_:
		answer.Content = content
	case *streams.ReadResp_CaughtUp_:
		answer.Content = content
	case *streams.ReadResp_StreamNotFound_:
		answer.Content = content
	case *streams.ReadResp_FirstStreamPosition:
		answer.Content = content
	case *streams.ReadResp_LastStreamPosition:
		answer.Content = content
	default:
		return fmt.Errorf("send an answer: %T is none", content)
	}
	return s.call.Send(answer)
}

func (s *sender) notFound() error {
	return s.content(&streams.ReadResp_StreamNotFound_{StreamNotFound: &streams.ReadResp_StreamNotFound{StreamIdentifier: identifier(s.reading.stream)}})
}

func (s *sender) page(page []events.Envelope) error {
	for i := range page {
		if err := s.event(&page[i]); err != nil {
			return err
		}
	}
	return nil
}

// event sends an event, and with it what it points at when it is a link and the client asked for that.
func (s *sender) event(e *events.Envelope) error {
	event, err := s.reading.ids.record(e, e.Position)
	if err != nil {
		return storeFailure(err, e.Stream)
	}
	if !s.reading.resolve || e.Kind != linkKind {
		return s.call.SendMsg(encodeRead(event, nil, e.Position))
	}
	link := event
	target, found, err := s.service.resolve(s.call.Context(), e)
	if err != nil {
		return err
	}
	if !found {
		return s.call.SendMsg(encodeRead(nil, link, e.Position))
	}
	if event, err = s.reading.ids.record(&target, e.Position); err != nil {
		return storeFailure(err, target.Stream)
	}
	return s.call.SendMsg(encodeRead(event, link, e.Position))
}

// linkKind is the type of events that point at another: their data are "<revision>@<stream>".
const linkKind = "$>"

// resolve finds what a link points at. It is not found when it was deleted, was never there, or may not be read by the caller.
func (s *streamsService) resolve(ctx context.Context, link *events.Envelope) (target events.Envelope, found bool, err error) {
	data, _, err := dataOf(link)
	if err != nil {
		return target, false, storeFailure(err, link.Stream)
	}
	number, name, _ := strings.Cut(string(data), "@")
	revision, err := strconv.ParseInt(number, 10, 64)
	stream := events.Stream(name)
	if err != nil || revision < 0 || actors.CheckStream(stream) != nil || s.guard.allow(ctx, callerOf(ctx), toRead, stream) != nil {
		return target, false, nil //nolint:nilerr // a link that leads nowhere is delivered as it is
	}
	page, err := s.store.Read(ctx, stream, events.Revision(revision), actors.Forward, actors.Limit{Events: 1})
	if errors.Is(err, actors.ErrDeleted) {
		return target, false, nil
	}
	if err != nil {
		return target, false, storeFailure(err, stream)
	}
	if len(page.Events) == 0 || page.Events[0].Revision != events.Revision(revision) {
		return target, false, nil
	}
	return page.Events[0], true, nil
}
