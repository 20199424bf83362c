package eventstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// subscription is fed by one goroutine, which takes from the store what fits into the queue and, whenever the connection is lost, goes
// on after the last event that it took. Next takes from the queue.
type subscription struct {
	journal *Journal
	queue   queue
	taken   []events.Envelope // from the queue, not yet handed out
	whole   []events.Envelope // what taken is the rest of: its memory is used again
	cancel  context.CancelFunc
	done    chan struct{} // closed when the feeder has ended
}

// Subscribe implements storage.Journal. It does not wait for the store: Next does.
func (j *Journal) Subscribe(ctx context.Context, from storage.From) (storage.Subscription, error) {
	if from.Stream != "" {
		if err := checkName(from.Stream); err != nil {
			return nil, err
		}
	}
	if err := j.ready(ctx); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &subscription{journal: j, cancel: cancel, done: make(chan struct{})}
	s.queue.news, s.queue.room = make(chan struct{}, 1), make(chan struct{}, 1)
	if !j.follow(s) {
		cancel()
		return nil, fmt.Errorf("subscribe: %w", storage.ErrClosed)
	}
	go s.feed(ctx, newFollower(from, j.target))
	return s, nil
}

// follow notes a subscription for Close; false when the journal is closed already.
func (j *Journal) follow(s *subscription) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return false
	}
	j.feeds[s] = struct{}{}
	return true
}

// Next implements storage.Subscription.
func (s *subscription) Next(ctx context.Context) (events.Envelope, error) {
	for {
		if err := ctx.Err(); err != nil {
			return events.Envelope{}, err
		}
		if len(s.taken) > 0 && !s.queue.isClosed() {
			next := s.taken[0]
			s.taken[0] = events.Envelope{}
			s.taken = s.taken[1:]
			return next, nil
		}
		taken, err := s.queue.take(s.whole)
		if err != nil {
			return events.Envelope{}, err
		}
		if len(taken) > 0 {
			s.taken, s.whole = taken, taken
			continue
		}
		select {
		case <-s.queue.news:
		case <-ctx.Done():
		}
	}
}

// Close implements io.Closer.
func (s *subscription) Close() error {
	s.end()
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	delete(s.journal.feeds, s)
	return nil
}

// end stops the feeder and makes Next return storage.ErrClosed.
func (s *subscription) end() {
	s.queue.close()
	s.cancel()
	<-s.done
}

// feed runs until the subscription ends or the store says something that trying again does not change.
func (s *subscription) feed(ctx context.Context, f *follower) {
	defer close(s.done)
	defer func() {
		if p := recover(); p != nil {
			s.journal.config.Log.ErrorContext(ctx, "a subscription panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			s.queue.fail(fmt.Errorf("subscription to %s: panic: %v", f.what(), p))
		}
	}()
	if err := s.journal.given(ctx, f.from); err != nil {
		if ctx.Err() == nil {
			s.queue.fail(fmt.Errorf("subscription to %s: %w", f.what(), err))
		}
		return
	}
	a := s.journal.attempts(access{toRead, f.from.Stream})
	for {
		n, err := s.journal.line.await(ctx)
		if err == nil {
			began := time.Now()
			within, done := n.within(ctx)
			failure := n.lostInstead(f.receive(within, n, &s.queue))
			done()
			n.release()
			if time.Since(began) > mostPause {
				a.reset()
			}
			err = a.again(ctx, n, failure)
		}
		if err != nil {
			if ctx.Err() == nil {
				s.queue.fail(fmt.Errorf("subscription to %s: %w", f.what(), err))
			}
			return
		}
	}
}

// follower is how far a subscription has come.
type follower struct {
	from   storage.From // the Revision is that of the last event taken
	taken  logPosition  // of the last event taken
	resume logPosition  // where to go on: the last event taken, or the last checkpoint when that is farther

	patience patience // until the next subscription on the wire is confirmed
}

func newFollower(from storage.From, t *target) *follower {
	begin := logPosition{commit: uint64(from.Position), prepare: uint64(from.Position)}
	return &follower{from: from, taken: begin, resume: begin, patience: patience{t.deadline, t.longest}}
}

func (f *follower) what() string {
	if f.from.Stream != "" {
		return string(f.from.Stream)
	}
	return "everything"
}

// receive is one subscription on the wire. It returns why that ended.
func (f *follower) receive(ctx context.Context, n *node, q *queue) *failure {
	line, err := n.feed()
	if err != nil {
		return failed(err, nil)
	}
	defer n.releaseFeed(line)
	ctx, cancel := context.WithCancelCause(ofLeader(ctx))
	defer cancel(nil)
	call, err := startRead(ctx, line.ClientConn, f.request())
	if err != nil {
		return failed(err, nil)
	}
	limit := f.patience.limit()
	watch := watched(limit, cancel) // until it is confirmed; then there may be nothing to say
	defer watch.stop()
	confirmed := false
	var a answer
	for {
		err := call.RecvMsg(&a)
		if ended(err) {
			return &failure{code: codes.Unavailable, message: "the event store ended the subscription"}
		}
		if err != nil {
			return failed(err, call.Trailer()).silentFor(ctx, limit)
		}
		if !confirmed {
			confirmed = watch.stop()
			f.patience.next = limit
		}
		if !f.take(ctx, &a, q) {
			return failed(ctx.Err(), nil)
		}
	}
}

// take puts an event into the queue, which may have to be waited for, and notes how far it is; false when ctx ended.
func (f *follower) take(ctx context.Context, a *answer, q *queue) bool {
	if a.content == contentCheckpoint {
		f.pass(a.at)
	}
	e := &a.event
	if !a.hasEvent || f.had(a) {
		return true
	}
	if (f.from.Stream != "" || f.from.Filter.Chooses(e.Stream, e.Kind)) && !q.put(ctx, e) {
		return false
	}
	f.from.Revision, f.taken = e.Revision, a.at
	f.pass(a.at)
	return true
}

// had reports an event that is not after the last one taken. A checkpoint does not count here: (c, 0) says that all before c is done, and
// the event at c may still come.
func (f *follower) had(a *answer) bool {
	if f.from.Stream != "" {
		return a.event.Revision <= f.from.Revision
	}
	return a.at.compare(f.taken) <= 0
}

// pass notes a position to go on from. The greatest numbers stand for the end of the store, which is no place reached: EventStoreDB 24.2
// to 24.10.4 sends them when nothing has matched yet, and whoever went on from there would miss what came meanwhile.
func (f *follower) pass(at logPosition) {
	if at.commit <= math.MaxInt64 && at.prepare <= at.commit && at.compare(f.resume) > 0 {
		f.resume = at
	}
}

func (f *follower) request() *streams.ReadReq {
	options := readOptions(storage.Forward, 0)
	options.CountOption = &streams.ReadReq_Options_Subscription{Subscription: &streams.ReadReq_Options_SubscriptionOptions{}}
	if f.from.Stream != "" {
		stream := &streams.ReadReq_Options_StreamOptions{StreamIdentifier: identifier(f.from.Stream)}
		stream.RevisionOption = &streams.ReadReq_Options_StreamOptions_Start{Start: &shared.Empty{}}
		if f.from.Revision >= 0 {
			stream.RevisionOption = &streams.ReadReq_Options_StreamOptions_Revision{Revision: uint64(f.from.Revision)}
		}
		options.StreamOption = &streams.ReadReq_Options_Stream{Stream: stream}
		return &streams.ReadReq{Options: options}
	}
	all := &streams.ReadReq_Options_AllOptions{AllOption: &streams.ReadReq_Options_AllOptions_Start{Start: &shared.Empty{}}}
	if at := f.resume; at != (logPosition{}) {
		all.AllOption = &streams.ReadReq_Options_AllOptions_Position{
			Position: &streams.ReadReq_Options_Position{CommitPosition: at.commit, PreparePosition: at.prepare},
		}
	}
	options.StreamOption = &streams.ReadReq_Options_All{All: all}
	if pushed := pushedFilter(f.from.Filter, true); pushed != nil {
		options.FilterOption = &streams.ReadReq_Options_Filter{Filter: pushed}
	}
	return &streams.ReadReq{Options: options}
}

// The most that a queue holds; one event is held whatever its size.
const (
	queueEvents = 256
	queueBytes  = 256 << 10
)

// queue is what was received and not yet taken.
type queue struct {
	mu     sync.Mutex
	held   []events.Envelope
	bytes  int
	err    error         // why nothing more comes, once the rest is taken
	closed bool          // nothing is to be taken any more
	news   chan struct{} // has a token when there is something new to take
	room   chan struct{} // has a token when there is room again
}

// put waits for room; false when ctx ended before.
func (q *queue) put(ctx context.Context, e *events.Envelope) bool {
	for !q.offer(e) {
		select {
		case <-q.room:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func (q *queue) offer(e *events.Envelope) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	size := weight(e)
	if n := len(q.held); n >= queueEvents || n > 0 && q.bytes+size > queueBytes {
		return false
	}
	q.held = append(q.held, *e)
	q.bytes += size
	signal(q.news)
	return true
}

// take returns all that is held and keeps the other slice, which is empty, for what comes.
func (q *queue) take(empty []events.Envelope) ([]events.Envelope, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, storage.ErrClosed
	}
	if len(q.held) == 0 {
		return nil, q.err
	}
	taken := q.held
	q.held, q.bytes = empty[:0], 0
	signal(q.room)
	return taken, nil
}

func (q *queue) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if errors.Is(err, storage.ErrClosed) {
		q.closed = true
	}
	q.err = err
	signal(q.news)
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	signal(q.news)
}

func (q *queue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
