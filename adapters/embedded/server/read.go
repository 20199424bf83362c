package server

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded/link"
	"example.com/life/events"
)

// reading is one call of Read, taken apart.
type reading struct {
	stream    events.Stream // empty: everything
	revision  events.Revision
	fromEnd   bool  // of a stream, instead of a revision
	at        point // of everything
	direction storage.Direction
	count     uint64
	live      bool // a subscription
	resolve   bool
	ids       idForm
	selection *selection // nil: everything
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
	if err := r.selection.ready(); err != nil {
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
	switch options.GetReadDirection() {
	case streams.ReadReq_Options_Forwards:
		r.direction = storage.Forward
	case streams.ReadReq_Options_Backwards:
		r.direction = storage.Backward
	default:
		return r, invalid("'%d' is not a valid direction", options.GetReadDirection())
	}
	switch count := options.GetCountOption().(type) {
	case *streams.ReadReq_Options_Count:
		if r.count = count.Count; r.count == 0 {
			return r, invalid("the number of events to read must be positive")
		}
	case *streams.ReadReq_Options_Subscription:
		if r.live = true; r.direction == storage.Backward {
			return r, invalid("a subscription cannot go backwards")
		}
	default:
		return r, invalid("the request says neither how many events to read nor that it subscribes")
	}
	if err := r.source(options); err != nil {
		return r, err
	}
	switch options.GetUuidOption().GetContent().(type) {
	case *streams.ReadReq_Options_UUIDOption_Structured:
	case *streams.ReadReq_Options_UUIDOption_String_:
		r.ids = stringID
	default:
		return r, invalid("the request does not say how ids are to be written")
	}
	return r, nil
}

// source reads of what to read, from where, and what to choose.
func (r *reading) source(options *streams.ReadReq_Options) (err error) {
	switch option := options.GetFilterOption().(type) {
	case *streams.ReadReq_Options_NoFilter:
	case *streams.ReadReq_Options_Filter:
		if r.selection, err = newSelection(option.Filter); err != nil {
			return err
		}
		if r.live && r.selection.multiplier == 0 {
			return invalid("the filter's checkpoint interval must be positive")
		}
	default:
		return invalid("the request says neither a filter nor that there is none")
	}
	switch option := options.GetStreamOption().(type) {
	case *streams.ReadReq_Options_Stream:
		if r.selection != nil {
			return invalid("only $all can be filtered")
		}
		if r.stream, err = streamName(option.Stream.GetStreamIdentifier()); err != nil {
			return err
		}
		return r.fromRevision(option.Stream)
	case *streams.ReadReq_Options_All:
		return r.fromPosition(option.All)
	}
	return invalid("the request says neither a stream nor $all")
}

func (r *reading) fromRevision(options *streams.ReadReq_Options_StreamOptions) error {
	switch option := options.GetRevisionOption().(type) {
	case *streams.ReadReq_Options_StreamOptions_Revision:
		if r.fromEnd = option.Revision == math.MaxUint64; !r.fromEnd && option.Revision > math.MaxInt64 {
			return unexpected("'%d' is not a valid revision", option.Revision)
		}
		r.revision = events.Revision(min(option.Revision, math.MaxInt64))
	case *streams.ReadReq_Options_StreamOptions_Start:
		if r.live {
			r.revision = events.NoRevision // a subscription is after its revision
		}
	case *streams.ReadReq_Options_StreamOptions_End:
		r.revision, r.fromEnd = math.MaxInt64, true
	default:
		return invalid("the request does not say from which revision to read")
	}
	if r.fromEnd && !r.live && r.direction == storage.Forward {
		return unexpected("a stream cannot be read forwards from its end")
	}
	return nil
}

func (r *reading) fromPosition(options *streams.ReadReq_Options_AllOptions) (err error) {
	switch option := options.GetAllOption().(type) {
	case *streams.ReadReq_Options_AllOptions_Position:
		r.at, err = newPoint(option.Position.GetCommitPosition(), option.Position.GetPreparePosition())
	case *streams.ReadReq_Options_AllOptions_Start:
		r.at = startPoint
	case *streams.ReadReq_Options_AllOptions_End:
		r.at = endPoint
	default:
		err = invalid("the request does not say from which position to read")
	}
	return err
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
	var page storage.Page
	for sent, first := uint64(0), true; ; first = false {
		var err error
		if page, err = s.store.Read(ctx, r.stream, r.revision, r.direction, storage.Limit{Events: int(min(r.count-sent, pageSize))}); err != nil {
			return storeFailure(err, r.stream)
		}
		if page.Last == events.NoRevision {
			return send.notFound()
		}
		if first && r.compat > 0 && r.direction == storage.Forward {
			if err := s.sendFirst(send, &page); err != nil {
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
		if r.direction == storage.Forward {
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

// readerPage is how many revisions EventStoreDB's reader takes at once.
const readerPage = 32

// sendFirst says where the stream begins, or where it ends, to a reader who asked for a part of it in which there is nothing. EventStoreDB
// does so for each of its pages that is empty, until one is not.
func (s *streamsService) sendFirst(send *sender, page *storage.Page) error {
	from := uint64(send.reading.revision)
	below := from + min(send.reading.count, readerPage) // the first page is below it
	tell := func(first uint64) error {
		from = first
		return send.content(&streams.ReadResp_FirstStreamPosition{FirstStreamPosition: first})
	}
	if len(page.Events) > 0 {
		if first := uint64(page.Events[0].Revision); first >= below {
			return tell(first)
		}
		return nil
	}
	meta, err := s.store.Metadata(send.call.Context(), send.reading.stream)
	if err != nil {
		return storeFailure(err, send.reading.stream)
	}
	if before := uint64(meta.TruncateBefore); before >= below {
		if err := tell(before); err != nil {
			return err
		}
	}
	if end := uint64(page.Last + 1); end != from {
		return tell(end)
	}
	return nil
}

// readAll answers a counted read of everything.
func (s *streamsService) readAll(send *sender) error {
	r, ctx := send.reading, send.call.Context()
	if r.direction == storage.Forward && r.at == endPoint || r.direction == storage.Backward && r.at.commit == 0 {
		return nil
	}
	from, chosen := r.at.before(), r.selection.filter()
	for sent := uint64(0); sent < r.count; {
		limit := storage.Limit{Events: pageSize}
		if r.selection == nil {
			limit.Events = int(min(r.count-sent, pageSize))
		}
		if err := s.mayReadOn(ctx, allStream); err != nil {
			return err
		}
		page, err := s.store.ReadAll(ctx, from, r.direction, chosen.Pushed(), limit)
		if errors.Is(err, storage.ErrPlace) && r.direction == storage.Forward {
			if end, endErr := s.end(ctx); endErr == nil && end.less(r.at) {
				return nil
			}
		}
		if errors.Is(err, storage.ErrPlace) {
			return r.misplaced(err)
		}
		if err != nil {
			return storeFailure(err, allStream)
		}
		for i := 0; i < len(page.Events) && sent < r.count; i++ {
			wanted, err := chosen.Chooses(&page.Events[i])
			if err == nil && wanted {
				sent++
				err = send.event(&page.Events[i])
			}
			if err != nil {
				return storeFailure(err, allStream)
			}
		}
		if from = page.Next; page.End {
			return nil
		}
	}
	return nil
}

// misplaced refuses a place of everything where nothing stands, in the words by which clients of EventStoreDB tell that.
func (r *reading) misplaced(err error) error {
	result := "ReadAllResult"
	if r.selection != nil {
		result = "FilteredReadAllResult"
	}
	return unexpected("Unexpected %s: InvalidPosition: 'C:%d/P:%d' is not a valid position: %s", result, r.at.commit, r.at.prepare, err)
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
	if !s.reading.resolve {
		return s.call.SendMsg(encodeRead(event, nil, e.Position))
	}
	to, isLink, err := link.Parse(e)
	if err != nil {
		return storeFailure(err, e.Stream)
	}
	if !isLink {
		return s.call.SendMsg(encodeRead(event, nil, e.Position))
	}
	itself := event
	target, err := s.service.resolve(s.call.Context(), to)
	if err != nil {
		return err
	}
	if target == nil {
		return s.call.SendMsg(encodeRead(nil, itself, e.Position))
	}
	if event, err = s.reading.ids.record(target, target.Position); err != nil {
		return storeFailure(err, target.Stream)
	}
	return s.call.SendMsg(encodeRead(event, itself, e.Position))
}

// resolve finds what a link points at; nil when it was deleted, was never there, or may not be read by the caller.
func (s *streamsService) resolve(ctx context.Context, to link.Pointer) (*events.Envelope, error) {
	if storage.CheckStream(to.Stream) != nil || s.guard.allow(ctx, callerOf(ctx), toRead, to.Stream) != nil {
		return nil, nil //nolint:nilnil,nilerr // as if it were not there
	}
	target, err := to.Find(ctx, s.store)
	return target, storeFailure(err, to.Stream)
}
