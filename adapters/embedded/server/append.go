package server

import (
	"context"
	"errors"
	"io"
	"math"
	"unicode/utf16"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

// proposal collects the events of one append.
type proposal struct {
	batch  []events.Envelope
	size   int // in bytes as EventStoreDB counts them
	stored int // in bytes as the store counts them
}

// memory is about what the proposal takes, in bytes: small events are much larger here than on the wire.
func (p *proposal) memory() int {
	const overhead = 384
	return p.size + overhead*len(p.batch)
}

// add checks an event and takes it.
func (p *proposal) add(event proposed, now events.Micros) error {
	kind, there := event.GetMetadata()[keyType]
	if !there {
		return metadataMissing(keyType)
	}
	if _, there := event.GetMetadata()[keyContentType]; !there {
		return metadataMissing(keyContentType)
	}
	if p.size += len(event.GetData()) + len(event.GetCustomMetadata()) + 2*utf16Length(kind); p.size > maxAppend {
		return appendTooLarge()
	}
	e, err := envelopeOf(event, now)
	if err != nil {
		return err
	}
	p.batch = append(p.batch, e)
	if p.stored += storage.BatchSize(p.batch[len(p.batch)-1:]); p.stored > storage.MaxAppend {
		return invalid("more than %d events are too much for one append here: divide it", len(p.batch)-1)
	}
	return nil
}

// utf16Length is how long a text is in UTF-16, of whose units EventStoreDB counts two bytes each.
func utf16Length(text string) (length int) {
	for _, r := range text {
		length += utf16.RuneLen(r)
	}
	return length
}

// conflictOf returns the conflict that an append or a deletion ended with, or nil. That of one who expects a deleted stream to exist is
// none here: it is answered like a stream that was deleted for good.
func conflictOf(err error) *storage.ConflictError {
	var conflict *storage.ConflictError
	if errors.As(err, &conflict) && !errors.Is(err, embedded.ErrSoftDeleted) {
		return conflict
	}
	return nil
}

// Append implements streams.StreamsServer: the first message says where to, each of the others is an event.
func (s *streamsService) Append(call streams.Streams_AppendServer) error {
	first, err := call.Recv()
	if err != nil {
		return received(err)
	}
	options := first.GetOptions()
	stream, expected, err := s.appendTo(options)
	if err == nil {
		err = s.stillMayWrite(call.Context(), stream)
	}
	if err != nil {
		return err
	}
	var p proposal
	for {
		request, err := call.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		event := request.GetProposedMessage()
		if event == nil {
			return invalid("an append is options and then events: this message is no event")
		}
		if err := p.add(event, s.now()); err != nil {
			return err
		}
	}
	if err := s.stillMayWrite(call.Context(), stream); err != nil { // the events may have been long in coming
		return err
	}
	appended, err := s.write(call.Context(), toWrite, stream, func(ctx context.Context) (storage.Appended, error) {
		return s.store.Append(ctx, stream, expected, p.batch)
	})
	if conflict := conflictOf(err); conflict != nil {
		return call.SendAndClose(&streams.AppendResp{Result: &streams.AppendResp_WrongExpectedVersion_{WrongExpectedVersion: wrongExpected(options, conflict)}})
	}
	if err != nil {
		return storeFailure(err, stream)
	}
	return call.SendAndClose(&streams.AppendResp{Result: &streams.AppendResp_Success_{Success: appendSuccess(appended)}})
}

// received is how a call fails whose first message did not come.
func received(err error) error {
	if errors.Is(err, io.EOF) {
		return invalid("the call ended without a message")
	}
	return err
}

// appendTo reads where an append goes.
func (s *streamsService) appendTo(options *streams.AppendReq_Options) (events.Stream, storage.Expected, error) {
	if options == nil {
		return "", 0, invalid("the first message of an append says the stream and the revision that is expected")
	}
	stream, err := streamName(options.GetStreamIdentifier())
	if err != nil {
		return "", 0, err
	}
	expected, err := expectedOf(options.GetExpectedStreamRevision())
	if err != nil {
		return "", 0, err
	}
	return stream, expected, nil
}

// stillMayWrite asks the guard, for the caller as it is by now: a client chooses when it sends its messages, and who it was when the
// call began may have been removed since.
func (s *streamsService) stillMayWrite(ctx context.Context, stream events.Stream) error {
	who, err := s.guard.authenticate(ctx)
	if err != nil {
		return err
	}
	return s.mayWrite(ctx, who, stream)
}

func (s *streamsService) mayWrite(ctx context.Context, who caller, stream events.Stream) error {
	if stream == allStream {
		return accessDenied()
	}
	return s.guard.allow(ctx, who, toWrite, stream)
}

// expectedOf reads what a request expects of its stream. Append, Delete and Tombstone have a oneof each for this.
func expectedOf(oneof any) (storage.Expected, error) {
	switch option := oneof.(type) {
	case *streams.AppendReq_Options_Revision:
		return exactly(option.Revision)
	case *streams.DeleteReq_Options_Revision:
		return exactly(option.Revision)
	case *streams.TombstoneReq_Options_Revision:
		return exactly(option.Revision)
	case *streams.BatchAppendReq_Options_StreamPosition:
		return exactly(option.StreamPosition)
	case *streams.AppendReq_Options_NoStream, *streams.DeleteReq_Options_NoStream, *streams.TombstoneReq_Options_NoStream, *streams.BatchAppendReq_Options_NoStream:
		return storage.ExpectNoStream, nil
	case *streams.AppendReq_Options_Any, *streams.DeleteReq_Options_Any, *streams.TombstoneReq_Options_Any, *streams.BatchAppendReq_Options_Any:
		return storage.ExpectAny, nil
	case *streams.AppendReq_Options_StreamExists, *streams.DeleteReq_Options_StreamExists, *streams.TombstoneReq_Options_StreamExists, *streams.BatchAppendReq_Options_StreamExists:
		return storage.ExpectExists, nil
	}
	return 0, invalid("the request does not say which revision of the stream it expects")
}

func exactly(revision uint64) (storage.Expected, error) {
	if revision > math.MaxInt64 && revision != math.MaxUint64 {
		return 0, invalid("'%d' is not a valid revision", revision)
	}
	return storage.ExpectRevision(revisionOf(revision)), nil
}

func appendSuccess(appended storage.Appended) *streams.AppendResp_Success {
	success := &streams.AppendResp_Success{}
	if appended.Last == events.NoRevision {
		success.CurrentRevisionOption = &streams.AppendResp_Success_NoStream{NoStream: &shared.Empty{}}
	} else {
		success.CurrentRevisionOption = &streams.AppendResp_Success_CurrentRevision{CurrentRevision: uint64(appended.Last)}
	}
	if appended.Position == 0 {
		success.PositionOption = &streams.AppendResp_Success_NoPosition{NoPosition: &shared.Empty{}}
	} else {
		at := uint64(appended.Position)
		success.PositionOption = &streams.AppendResp_Success_Position{Position: &streams.AppendResp_Position{CommitPosition: at, PreparePosition: at}}
	}
	return success
}

// wrongExpected says what was expected and what there is, twice: clients older than 20.6.1 read other fields.
func wrongExpected(options *streams.AppendReq_Options, conflict *storage.ConflictError) *streams.AppendResp_WrongExpectedVersion {
	w := &streams.AppendResp_WrongExpectedVersion{}
	if conflict.Actual == events.NoRevision {
		w.CurrentRevisionOption = &streams.AppendResp_WrongExpectedVersion_CurrentNoStream{CurrentNoStream: &shared.Empty{}}
		w.CurrentRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_NoStream_20_6_0{NoStream_20_6_0: &shared.Empty{}}
	} else {
		actual := uint64(conflict.Actual)
		w.CurrentRevisionOption = &streams.AppendResp_WrongExpectedVersion_CurrentRevision{CurrentRevision: actual}
		w.CurrentRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_CurrentRevision_20_6_0{CurrentRevision_20_6_0: actual}
	}
	switch option := options.GetExpectedStreamRevision().(type) {
	case *streams.AppendReq_Options_Revision:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedRevision{ExpectedRevision: option.Revision}
		w.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_ExpectedRevision_20_6_0{ExpectedRevision_20_6_0: option.Revision}
	case *streams.AppendReq_Options_NoStream:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedNoStream{ExpectedNoStream: &shared.Empty{}}
		w.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_ExpectedRevision_20_6_0{ExpectedRevision_20_6_0: math.MaxUint64}
	case *streams.AppendReq_Options_Any:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedAny{ExpectedAny: &shared.Empty{}}
		w.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_Any_20_6_0{Any_20_6_0: &shared.Empty{}}
	case *streams.AppendReq_Options_StreamExists:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedStreamExists{ExpectedStreamExists: &shared.Empty{}}
		w.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_StreamExists_20_6_0{StreamExists_20_6_0: &shared.Empty{}}
	}
	return w
}
