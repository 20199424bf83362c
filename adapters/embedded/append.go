package embedded

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"example.com/life/actors"
	"example.com/life/events"
)

// request is an append on its way through the committer.
type request struct {
	stream   events.Stream
	expected actors.Expected
	ids      []events.EventID
	body     []byte            // of the record, encoded by the writer
	batch    []events.Envelope // as the writer gave it
	answer   chan answer
	written  bool   // it is in its group's batch
	decided  answer // what it will be told when its group is on disk
}

type answer struct {
	appended actors.Appended
	err      error
}

// keepBody is the largest body whose memory is used again.
const keepBody = 64 << 10

// Append implements actors.Journal. When ctx ends while the batch is on its way to disk, the outcome is unknown.
func (s *Store) Append(ctx context.Context, stream events.Stream, expected actors.Expected, batch []events.Envelope) (actors.Appended, error) {
	if err := actors.CheckAppend(stream, expected, batch); err != nil {
		return actors.Appended{}, err
	}
	if err := ctx.Err(); err != nil {
		return actors.Appended{}, err
	}
	if err := s.disk.refusal(); err != nil {
		return actors.Appended{}, fmt.Errorf("append to %s: %w", stream, err)
	}
	r := s.requests.Get().(*request) //nolint:errcheck // the pool holds nothing else
	r.stream, r.expected, r.ids, r.batch, r.written = stream, expected, r.ids[:0], batch, false
	for i := range batch {
		r.ids = append(r.ids, batch[i].ID)
	}
	r.body = appendBody(r.body[:0], stream, batch)
	if !s.queue.push(r) {
		return actors.Appended{}, actors.ErrClosed
	}
	select {
	case a := <-r.answer:
		if cap(r.body) > keepBody {
			r.body = nil
		}
		r.batch = nil
		s.requests.Put(r)
		return a.appended, a.err
	case <-s.given:
		return actors.Appended{}, fmt.Errorf("append to %s: the outcome is unknown: %w", stream, errors.Join(actors.ErrClosed, s.disk.failure()))
	case <-ctx.Done(): // the request stays the committer's
		return actors.Appended{}, fmt.Errorf("append to %s: the outcome is unknown: %w", stream, ctx.Err())
	}
}

// queue holds the requests that wait for the committer.
type queue struct {
	mu      sync.Mutex
	waiting []*request
	closed  bool
	wake    chan struct{} // has a token while there is something to take, or the queue is closed
}

func (q *queue) push(r *request) bool {
	q.mu.Lock()
	closed := q.closed
	if !closed {
		q.waiting = append(q.waiting, r)
	}
	q.mu.Unlock()
	q.signal()
	return !closed
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take waits for requests and returns them all; none when the queue is closed and empty. The slice given is used for the next.
func (q *queue) take(empty []*request) []*request {
	for range q.wake {
		q.mu.Lock()
		taken, closed := q.waiting, q.closed
		q.waiting = empty[:0]
		q.mu.Unlock()
		if closed {
			q.signal()
		}
		if len(taken) > 0 || closed {
			return taken
		}
		empty = taken
	}
	return nil
}

// close refuses further requests; false when they already were.
func (q *queue) close() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.closed = true
	q.signal()
	return true
}

// group is what goes to disk, and is answered, together.
type group struct {
	batch    *pebble.Batch // nil when there is nothing to write
	requests []*request
	last     events.Position // of the store, once the group is on disk
	err      error           // it could not be applied
}

// acknowledge waits until each group is on disk, in order, makes it visible and answers. Once one has failed all later ones
// fail: they were decided on streams that may not be as they seemed.
func (s *Store) acknowledge(groups <-chan *group) {
	var failed error
	for g := range groups {
		if err := s.settle(g); err != nil && failed == nil {
			failed = err
		}
		if failed == nil {
			// True from here on: the group survives a crash. Only now may anyone see it.
			s.durable.Store(uint64(g.last))
			s.news.publish(g.requests)
		}
		for _, r := range g.requests {
			if failed != nil {
				r.decided = answer{err: fmt.Errorf("append to %s: the outcome is unknown: %w", r.stream, failed)}
			}
			r.answer <- r.decided
		}
	}
}

func (s *Store) settle(g *group) error {
	if g.err != nil || g.batch == nil {
		return g.err
	}
	if err := g.batch.SyncWait(); err != nil {
		s.disk.fail(err)
	}
	if err := s.disk.failure(); err != nil {
		return err
	}
	return g.batch.Close()
}
