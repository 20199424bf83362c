package server

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/emptypb"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

const (
	batchLanes   = 8            // appends of one call that are on their way at once, each to another stream
	laneLength   = 8            // appends that wait in a lane before the client has to wait
	maxOpen      = 64           // appends of one call whose last message has not come
	maxOpenBytes = 16 << 20     // of memory that their events take
	maxLaneBytes = 32 << 20     // of memory that the events in all lanes take, unless one append alone takes more
	batchTimeout = longestWrite // for an append whose request gives no deadline, or a later one
)

// batcher is one call of BatchAppend: many appends over one stream of messages, each with a correlation id by which its answer is
// known. Appends to one stream keep their order; those to different streams do not wait for each other. Whatever is wrong with
// an append is told in its answer, and the call goes on.
type batcher struct {
	service *streamsService
	call    streams.Streams_BatchAppendServer
	seed    maphash.Seed

	lanes   [batchLanes]chan *batchAppend // made when they are first used, by the receiver
	workers sync.WaitGroup
	broken  chan error // has room for one

	mu    sync.Mutex // of what follows, and of sending
	open  map[uuid.UUID]*batchAppend
	bytes int  // of the open ones' events
	laned int  // bytes of the events in lanes
	over  bool // nothing may be sent any more
	sent  error

	left sync.Cond // something left the lanes
}

// batchAppend is one append of a call.
type batchAppend struct {
	correlation *shared.UUID
	options     *streams.BatchAppendReq_Options
	stream      events.Stream
	expected    storage.Expected
	deadline    time.Time
	proposal    proposal
	timer       *time.Timer // nil: all of it came with the first message
}

// BatchAppend implements streams.StreamsServer.
func (s *streamsService) BatchAppend(call streams.Streams_BatchAppendServer) error {
	b := &batcher{service: s, call: call, seed: maphash.MakeSeed(), broken: make(chan error, 1), open: map[uuid.UUID]*batchAppend{}}
	b.left.L = &b.mu
	received := make(chan error, 1)
	go func() { received <- contained(b.receive) }() // ends at the latest when the call does, which is when this method returns
	select {
	case err := <-received:
		return err
	case err := <-b.broken:
		return b.end(err)
	case <-s.closing:
		return b.end(notReady())
	}
}

// end has nothing sent any more: the call is about to be over.
func (b *batcher) end(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	return err
}

// try does something in a goroutine of its own, and ends the call when that panics.
func (b *batcher) try(do func()) {
	err := contained(func() error {
		do()
		return nil
	})
	if err == nil {
		return
	}
	select {
	case b.broken <- err:
	default: // the call ends already
	}
}

// receive takes the messages apart until the client says that there are no more, and waits for the answers.
func (b *batcher) receive() (err error) {
	defer func() {
		for _, lane := range b.lanes {
			if lane != nil {
				close(lane)
			}
		}
		b.workers.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		b.over = true
		for _, a := range b.open {
			a.timer.Stop()
		}
		err = errors.Join(err, b.sent)
	}()
	for {
		request, err := b.call.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := b.take(request); err != nil {
			return err
		}
	}
}

// take handles one message: it begins an append, adds to one, or ends it.
func (b *batcher) take(request *streams.BatchAppendReq) error {
	id, err := readID(request.GetCorrelationId())
	if err == nil && request.GetCorrelationId().GetValue() == nil {
		err = errors.New("an append of a batch has to have a correlation id, by which its answer is known")
	}
	if err != nil && request.GetOptions() == nil {
		return invalid("%s", err) // it belongs to no append, so that nobody could tell what an answer is to
	}
	if err != nil {
		return b.refuse(&batchAppend{correlation: request.GetCorrelationId(), options: request.GetOptions()}, invalid("%s", err))
	}
	b.mu.Lock()
	a := b.open[id]
	b.mu.Unlock()
	begun := a != nil
	if !begun {
		if request.GetOptions() == nil {
			return nil // what remains of an append that was refused or took too long
		}
		a = &batchAppend{correlation: request.GetCorrelationId(), options: request.GetOptions()}
		if err := b.begin(a); err != nil {
			return b.refuse(a, err)
		}
	}
	if begun && !b.release(id, a) {
		return nil // it has just been told that it took too long
	}
	for _, event := range request.GetProposedMessages() {
		if err := a.proposal.add(event, b.service.now()); err != nil {
			return b.refuse(a, err)
		}
	}
	if !request.GetIsFinal() {
		return b.keep(id, a)
	}
	return b.hand(a)
}

// begin reads what the append is to.
func (b *batcher) begin(a *batchAppend) (err error) {
	ctx := b.call.Context()
	if a.options.GetStreamIdentifier() == nil {
		return invalid("Required field StreamIdentifier not set.")
	}
	if a.stream, err = streamName(a.options.GetStreamIdentifier()); err != nil {
		return err
	}
	who, err := b.service.guard.authenticate(ctx) // again: calls of this kind go on for as long as their connection
	if err != nil {
		return err
	}
	if err := b.service.mayWrite(ctx, who, a.stream); err != nil {
		return err
	}
	timeout := batchTimeout
	switch deadline := a.options.GetDeadlineOption().(type) {
	case *streams.BatchAppendReq_Options_Deadline:
		timeout = min(timeout, deadline.Deadline.AsDuration())
	case *streams.BatchAppendReq_Options_Deadline_21_10_0:
		timeout = min(timeout, time.Until(deadline.Deadline_21_10_0.AsTime()))
	}
	if timeout <= 0 {
		return context.DeadlineExceeded
	}
	a.deadline = time.Now().Add(timeout)
	a.expected, err = expectedOf(a.options.GetExpectedStreamPosition())
	return err
}

// keep holds an append of which more is to come, until its deadline.
func (b *batcher) keep(id uuid.UUID, a *batchAppend) error {
	b.mu.Lock()
	full := len(b.open) >= maxOpen || len(b.open) > 0 && b.bytes+a.proposal.memory() > maxOpenBytes
	if !full {
		b.open[id] = a
		b.bytes += a.proposal.memory()
		a.timer = time.AfterFunc(time.Until(a.deadline), func() {
			b.try(func() {
				if b.release(id, a) {
					b.refuse(a, context.DeadlineExceeded) //nolint:errcheck // noted in b.sent
				}
			})
		})
	}
	b.mu.Unlock()
	if full {
		return b.refuse(a, invalid("too many appends are unfinished on this call"))
	}
	return nil
}

// release takes an append out of those that are open; false when it is not there any more.
func (b *batcher) release(id uuid.UUID, a *batchAppend) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open[id] != a {
		return false
	}
	delete(b.open, id)
	b.bytes -= a.proposal.memory()
	a.timer.Stop()
	return true
}

// hand gives a complete append to the lane of its stream.
func (b *batcher) hand(a *batchAppend) error {
	number := maphash.String(b.seed, string(a.stream)) % batchLanes
	if b.lanes[number] == nil {
		lane := make(chan *batchAppend, laneLength)
		b.lanes[number] = lane
		b.workers.Go(func() {
			for a := range lane {
				b.try(func() { b.append(a) })
				b.leave(a.proposal.memory())
			}
		})
	}
	b.enter(a.proposal.memory())
	select {
	case b.lanes[number] <- a:
		return nil
	case <-b.call.Context().Done():
		return b.call.Context().Err()
	}
}

// enter waits until there is room in the lanes. Appends end, at their deadline at the latest.
func (b *batcher) enter(bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.laned > 0 && b.laned+bytes > maxLaneBytes {
		b.left.Wait()
	}
	b.laned += bytes
}

func (b *batcher) leave(bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.laned -= bytes
	b.left.Signal() // the receiver alone waits
}

// append does it and answers. It is made when it can be begun in time; then it is waited for until the deadline.
func (b *batcher) append(a *batchAppend) {
	ctx, cancel := context.WithDeadline(b.call.Context(), a.deadline)
	defer cancel()
	appended, err := b.service.store.Append(settled(ctx, toWrite, a.stream), a.stream, a.expected, a.proposal.batch)
	if err != nil {
		b.refuse(a, err) //nolint:errcheck // noted in b.sent
		return
	}
	b.service.guard.wrote(ctx, toWrite, a.stream)
	b.answer(a, &streams.BatchAppendResp{Result: &streams.BatchAppendResp_Success_{Success: batchSuccess(appended)}}) //nolint:errcheck // noted in b.sent
}

func (b *batcher) refuse(a *batchAppend, err error) error {
	return b.answer(a, &streams.BatchAppendResp{Result: &streams.BatchAppendResp_Error{Error: batchFailure(a, err)}})
}

// answer sends the answer to an append, and says which. What was expected it does not repeat: EventStoreDB 24.10 does not.
func (b *batcher) answer(a *batchAppend, answer *streams.BatchAppendResp) error {
	answer.CorrelationId = a.correlation
	answer.StreamIdentifier = a.options.GetStreamIdentifier()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over && b.sent == nil {
		b.sent = b.call.Send(answer)
	}
	return b.sent
}

func batchSuccess(appended storage.Appended) *streams.BatchAppendResp_Success {
	success := &streams.BatchAppendResp_Success{
		CurrentRevisionOption: &streams.BatchAppendResp_Success_NoStream{NoStream: &emptypb.Empty{}},
		PositionOption:        &streams.BatchAppendResp_Success_NoPosition{NoPosition: &emptypb.Empty{}},
	}
	if appended.Last != events.NoRevision {
		success.CurrentRevisionOption = &streams.BatchAppendResp_Success_CurrentRevision{CurrentRevision: uint64(appended.Last)}
	}
	if at := uint64(appended.Position); at != 0 {
		success.PositionOption = &streams.BatchAppendResp_Success_Position{Position: &shared.AllStreamPosition{CommitPosition: at, PreparePosition: at}}
	}
	return success
}
