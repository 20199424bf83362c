package eventstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// lookBack is how many events from a stream's end are searched for a batch whose answer was lost.
const lookBack = 4096

// write is one append on its way: the messages are made once and sent as often as it takes, with the same ids.
type write struct {
	journal  *Journal
	stream   events.Stream
	expected storage.Expected
	ids      []uuid.UUID
	messages []*streams.AppendReq // the options, then the events
	unknown  bool                 // an attempt was sent and has no answer: the events may be stored
	repeat   patience             // with the next attempt, when there was one without an answer
	stored   *storage.Appended    // what is stored, and only its position is not known yet
}

// MaxAppend implements storage.Bounded.
func (j *Journal) MaxAppend() int { return j.config.MaxAppend }

// Append implements storage.Journal.
func (j *Journal) Append(ctx context.Context, stream events.Stream, expected storage.Expected, batch []events.Envelope) (storage.Appended, error) {
	if err := storage.CheckAppend(stream, expected, batch); err != nil {
		return storage.Appended{}, err
	}
	if err := checkName(stream); err != nil {
		return storage.Appended{}, err
	}
	w := &write{journal: j, stream: stream, expected: expected, repeat: patience{firstRepeat, j.target.longest}}
	if err := w.prepare(batch); err != nil {
		return storage.Appended{}, err
	}
	appended, err := w.run(ctx)
	var conflict *storage.ConflictError
	switch {
	case err == nil || errors.As(err, &conflict):
		return appended, err
	case w.unknown:
		return storage.Appended{}, &OutcomeUnknownError{Stream: stream, IDs: w.ids, Err: err}
	}
	return storage.Appended{}, fmt.Errorf("append to %s: %w", stream, err)
}

// OutcomeUnknownError is the error of an append that was sent and has no answer: its events are stored, or are not. Appending the same ids again, with
// the same expectation, finds out, and stores them once.
type OutcomeUnknownError struct {
	Stream events.Stream
	IDs    []uuid.UUID
	Err    error // why there is no answer
}

// Error names the ids to repeat the append with.
func (o *OutcomeUnknownError) Error() string {
	ids := make([]string, 0, len(o.IDs))
	for _, id := range o.IDs[:min(len(o.IDs), 3)] {
		ids = append(ids, id.String())
	}
	if more := len(o.IDs) - len(ids); more > 0 {
		ids = append(ids, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("append to %s: whether it was stored is not known, retry with the same ids (%s): %v", o.Stream, strings.Join(ids, ", "), o.Err)
}

// Unwrap returns why there is no answer.
func (o *OutcomeUnknownError) Unwrap() error { return o.Err }

// prepare writes the messages and refuses what the server would.
func (w *write) prepare(batch []events.Envelope) error {
	w.ids, w.messages = make([]uuid.UUID, len(batch)), make([]*streams.AppendReq, 1, len(batch)+1)
	w.messages[0] = &streams.AppendReq{Content: &streams.AppendReq_Options_{Options: w.options()}}
	size := 0
	for i := range batch {
		message, err := propose(&batch[i])
		if err != nil {
			return fmt.Errorf("append to %s: event %d of the batch: %w", w.stream, i, err)
		}
		size += proposedSize(message)
		w.ids[i] = batch[i].ID
		w.messages = append(w.messages, &streams.AppendReq{Content: &streams.AppendReq_ProposedMessage_{ProposedMessage: message}})
	}
	if most := w.journal.config.MaxAppend; size > most {
		return fmt.Errorf("%w to %s: the batch of %d events has %d bytes as EventStoreDB counts, at most %d are allowed (MaxAppend, which goes with the "+
			"server's MaxAppendSize); store large payloads as blobs", storage.ErrInvalidAppend, w.stream, len(batch), size, most)
	}
	return nil
}

func (w *write) options() *streams.AppendReq_Options {
	options := &streams.AppendReq_Options{StreamIdentifier: identifier(w.stream)}
	switch w.expected {
	case storage.ExpectAny:
		options.ExpectedStreamRevision = &streams.AppendReq_Options_Any{Any: &shared.Empty{}}
	case storage.ExpectExists:
		options.ExpectedStreamRevision = &streams.AppendReq_Options_StreamExists{StreamExists: &shared.Empty{}}
	case storage.ExpectNoStream:
		options.ExpectedStreamRevision = &streams.AppendReq_Options_NoStream{NoStream: &shared.Empty{}}
	default:
		options.ExpectedStreamRevision = &streams.AppendReq_Options_Revision{Revision: uint64(w.expected)}
	}
	return options
}

// run attempts the append until it has an answer.
func (w *write) run(ctx context.Context) (storage.Appended, error) {
	a := w.journal.attempts(access{toWrite, w.stream})
	for {
		n, err := w.journal.line.borrow(ctx)
		if err != nil {
			return storage.Appended{}, err
		}
		within, done := n.within(ctx)
		appended, err := w.attempt(within, n)
		done()
		w.journal.line.giveBack(n)
		var f *failure
		if !errors.As(err, &f) {
			return appended, err
		}
		if err := a.again(ctx, n, n.lostInstead(f)); err != nil {
			if w.stored != nil {
				return *w.stored, nil
			}
			return storage.Appended{}, err
		}
	}
}

// attempt sends the append on one connection. When it was sent before and the store need not remember it, it is looked for first: what
// is stored by now is found, and what comes later the server that is asked now remembers.
func (w *write) attempt(ctx context.Context, n *node) (storage.Appended, error) {
	if w.stored != nil {
		return w.located(ctx, n, *w.stored)
	}
	if w.unknown && w.expected < storage.ExpectNoStream {
		if found, appended, f := w.find(ctx, n); f != nil || found {
			return appended, nilable(f)
		}
	}
	appended, err := w.send(ctx, n)
	var conflict *storage.ConflictError
	if w.unknown && errors.As(err, &conflict) {
		// A stream that was deleted or cut off meanwhile is not compared with.
		if found, stored, f := w.find(ctx, n); f != nil || found {
			return stored, nilable(f)
		}
	}
	if err != nil || appended.Position > 0 || len(w.ids) == 0 {
		return appended, err
	}
	return w.located(ctx, n, appended)
}

// located reads where the last event stands: the answer to a retry need not say it.
func (w *write) located(ctx context.Context, n *node, appended storage.Appended) (storage.Appended, error) {
	w.stored = &appended
	page, f := w.journal.readOnce(ctx, n, readPlan{stream: w.stream, revision: appended.Last, direction: storage.Backward, limit: one()})
	if f != nil {
		return storage.Appended{}, f
	}
	if len(page.Events) > 0 && page.Events[0].Revision == appended.Last {
		appended.Position = page.Events[0].Position
	}
	return appended, nil
}

// firstRepeat bounds the second attempt of an append; each one after it may take twice as long as the one before. EventStoreDB does not answer a
// repeated append at all while the first is stored and not yet on most of its nodes.
const firstRepeat = 500 * time.Millisecond

// send is one Append on the wire.
func (w *write) send(ctx context.Context, n *node) (storage.Appended, error) {
	limit := w.journal.target.deadline
	if w.unknown {
		limit = w.repeat.limit()
	}
	ctx, cancel := context.WithTimeout(ofLeader(ctx), limit)
	defer cancel()
	call, err := streams.NewStreamsClient(n.calls).Append(ctx)
	if err != nil {
		return storage.Appended{}, failed(err, nil)
	}
	answer, err := w.exchange(call)
	if err != nil {
		f := failedAppend(err, call.Trailer())
		if f.exception == "stream-deleted" && w.expected == storage.ExpectExists {
			return storage.Appended{}, w.deleted(ctx, n, f)
		}
		if verdict := f.verdict(); verdict == absent || verdict == puzzled {
			w.unknown = true
		}
		return storage.Appended{}, f
	}
	switch result := answer.GetResult().(type) {
	case *streams.AppendResp_Success_:
		return w.success(result.Success)
	case *streams.AppendResp_WrongExpectedVersion_:
		return storage.Appended{}, w.conflict(result.WrongExpectedVersion)
	}
	w.unknown = true
	return storage.Appended{}, fmt.Errorf("%w: an answer without a result", ErrProtocol)
}

// failedAppend reads the error of an append. One that ended without an answer, as in an election, is as if the node were away.
func failedAppend(err error, trailer metadata.MD) *failure {
	f := failed(err, trailer)
	if ended(err) || f.code == codes.Internal && strings.Contains(f.message, "cardinality violation") {
		f.code, f.message = codes.Aborted, "the event store ended the append without an answer"
	}
	return f
}

// exchange sends the messages and receives the answer. A message that cannot be sent must not be followed by the end of the call:
// the server would take what came before it for the whole batch.
func (w *write) exchange(call streams.Streams_AppendClient) (*streams.AppendResp, error) {
	for _, message := range w.messages {
		if err := call.Send(message); err != nil {
			answer := new(streams.AppendResp)
			if err := call.RecvMsg(answer); err != nil {
				return nil, err // why it could not
			}
			return answer, nil
		}
	}
	return call.CloseAndRecv()
}

// success reads where the batch stands. With an exact expectation that is known beforehand.
func (w *write) success(answer *streams.AppendResp_Success) (storage.Appended, error) {
	if _, none := answer.GetCurrentRevisionOption().(*streams.AppendResp_Success_NoStream); none {
		return storage.Appended{First: events.NoRevision, Last: events.NoRevision}, nil
	}
	last := readRevision(answer.GetCurrentRevision())
	if want := events.Revision(w.expected) + events.Revision(len(w.ids)); w.expected >= 0 && last != want {
		w.unknown = true
		return storage.Appended{}, fmt.Errorf("%w: it says that the batch ends at revision %d, and it can only be %d", ErrProtocol, last, want)
	}
	first := last - events.Revision(max(len(w.ids), 1)-1)
	return storage.Appended{First: first, Last: last, Position: events.Position(answer.GetPosition().GetCommitPosition())}, nil
}

func (w *write) conflict(answer *streams.AppendResp_WrongExpectedVersion) *storage.ConflictError {
	conflict := &storage.ConflictError{Stream: w.stream, Expected: w.expected, Actual: events.NoRevision}
	switch current := answer.GetCurrentRevisionOption().(type) {
	case *streams.AppendResp_WrongExpectedVersion_CurrentRevision:
		conflict.Actual = readRevision(current.CurrentRevision)
	case nil: // a server before 20.10
		if old, there := answer.GetCurrentRevisionOption_20_6_0().(*streams.AppendResp_WrongExpectedVersion_CurrentRevision_20_6_0); there {
			conflict.Actual = readRevision(old.CurrentRevision_20_6_0)
		}
	}
	return conflict
}

// deleted tells a stream that was ended for good from one that was deleted and may begin again: the store refuses both with the same
// words when the stream has to exist.
func (w *write) deleted(ctx context.Context, n *node, f *failure) error {
	page, readFailure := w.journal.readOnce(ctx, n, readPlan{stream: w.stream, revision: math.MaxInt64, direction: storage.Backward, limit: one()})
	if readFailure != nil {
		return f
	}
	return &storage.ConflictError{Stream: w.stream, Expected: w.expected, Actual: page.Last}
}

// find looks for the batch near the end of its stream.
func (w *write) find(ctx context.Context, n *node) (found bool, appended storage.Appended, f *failure) {
	if len(w.ids) == 0 {
		return false, appended, nil
	}
	from := events.Revision(math.MaxInt64)
	for seen := 0; seen < lookBack && from >= 0; {
		page, f := w.journal.readOnce(ctx, n, readPlan{stream: w.stream, revision: from, direction: storage.Backward, limit: storage.Limit{}.Bounded()})
		if f != nil && f.exception == "stream-deleted" {
			return false, appended, nil
		}
		if f != nil {
			return false, appended, f
		}
		for i := range page.Events {
			if e := &page.Events[i]; e.ID == w.ids[len(w.ids)-1] {
				return true, storage.Appended{First: e.Revision - events.Revision(len(w.ids)-1), Last: e.Revision, Position: e.Position}, nil
			}
		}
		if page.End || len(page.Events) == 0 {
			break
		}
		seen += len(page.Events)
		from = page.Events[len(page.Events)-1].Revision - 1
	}
	return false, appended, nil
}

// nilable keeps a failure that is nil from becoming an error that is not.
func nilable(f *failure) error {
	if f == nil {
		return nil
	}
	return f
}

// ended reports that a stream of answers came to its end as it should.
func ended(err error) bool { return errors.Is(err, io.EOF) }
