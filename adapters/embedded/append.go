package embedded

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// piece is what becomes one record: events of one stream, in a row.
type piece struct {
	stream   events.Stream
	batch    []events.Envelope
	body     []byte // of the record, encoded by the writer
	forms    bool   // some event is foreign
	hosts    bool   // some event names the host that decided it
	cut      bool   // it may end within a decision
	first    events.Revision
	position events.Position
}

func (p *piece) encode() {
	p.hosts = anyHost(p.batch)
	if p.forms = anyForeign(p.batch); p.forms {
		p.body = appendForeign(p.body[:0], p.stream, p.batch)
	} else {
		p.body = appendBody(p.body[:0], p.stream, p.batch)
	}
}

// last is the revision of the piece's last event.
func (p *piece) last() events.Revision { return p.first + events.Revision(len(p.batch)-1) }

// end is the position of the piece's last event.
func (p *piece) end() events.Position { return p.position + events.Position(len(p.batch)-1) }

// appended says where the piece stands.
func (p *piece) appended() answer {
	return answer{appended: storage.Appended{First: p.first, Last: p.last(), Position: p.end()}}
}

// action is what a request is for.
type action int

const (
	appending action = iota
	deleting         // its stream, softly
	ending           // its stream, for good
	importing        // several pieces, of any streams
)

// request is an append, or what else goes through the committer, on its way.
type request struct {
	piece
	action   action
	expected storage.Expected
	imported []piece
	answer   chan answer
	decided  answer // what it will be told when its group is on disk
	begun    begun
	ticket   *storage.Ticket   // accepted once the append is in a group
	needs    []*storage.Ticket // without which it is refused
}

type answer struct {
	appended storage.Appended
	err      error
}

// keepBody is the largest body whose memory is used again.
const keepBody = 64 << 10

// Append implements storage.Journal. When ctx ends while the batch is on its way to disk, the outcome is unknown.
func (s *Store) Append(ctx context.Context, stream events.Stream, expected storage.Expected, batch []events.Envelope) (storage.Appended, error) {
	if err := checkAppend(stream, expected, batch); err != nil {
		return storage.Appended{}, err
	}
	r := s.requests.Get().(*request) //nolint:errcheck // the pool holds nothing else
	r.action, r.expected, r.stream, r.batch, r.imported = appending, expected, stream, batch, nil
	r.encode()
	return s.request(ctx, r)
}

// reuse keeps a request for the next append.
func (s *Store) reuse(r *request) {
	if cap(r.body) > keepBody {
		r.body = nil
	}
	r.batch, r.imported, r.begun, r.decided = nil, nil, begun{}, answer{}
	r.ticket, r.needs = nil, nil
	s.requests.Put(r)
}

// checkAppend is storage.CheckAppend, and what only this store knows of.
func checkAppend(stream events.Stream, expected storage.Expected, batch []events.Envelope) error {
	if stream == metaPrefix {
		return fmt.Errorf("%w: %q holds the metadata of no stream", storage.ErrInvalidAppend, string(stream))
	}
	metadata := 0
	for i := range batch {
		if f := batch[i].Foreign; f != nil {
			metadata += len(f.Metadata) + len(f.ContentType)
		}
	}
	if metadata > storage.MaxAppend {
		return fmt.Errorf("%w to %s: the batch has %d bytes of metadata, at most %d are allowed", storage.ErrInvalidAppend, stream, metadata, storage.MaxAppend)
	}
	return storage.CheckAppend(stream, expected, batch)
}

// request has the committer decide, and waits for the disk.
func (s *Store) request(ctx context.Context, r *request) (storage.Appended, error) {
	stream := r.stream
	if err := ctx.Err(); err != nil {
		return storage.Appended{}, err
	}
	if err := s.refusal(); err != nil {
		return storage.Appended{}, fmt.Errorf("append to %s: %w", stream, err)
	}
	if !s.queue.push(r) {
		return storage.Appended{}, storage.ErrClosed
	}
	select {
	case a := <-r.answer:
		s.reuse(r)
		return a.appended, a.err
	case <-s.given:
		return storage.Appended{}, fmt.Errorf("append to %s: the outcome is unknown: %w", stream, errors.Join(storage.ErrClosed, s.disk.failure()))
	case <-ctx.Done(): // the request stays the committer's
		return storage.Appended{}, fmt.Errorf("append to %s: the outcome is unknown: %w", stream, ctx.Err())
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
	pieces   []*piece        // what was written
	metadata []events.Stream // whose metadata are among it
	last     events.Position // of the store, once the group is on disk
	stored   uint64          // events of the store, likewise
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
			s.metadata.publish(s, g)
			s.news.publish(g.pieces)
		}
		for _, r := range g.requests {
			if failed != nil {
				r.decided = answer{err: fmt.Errorf("append to %s: the outcome is unknown: %w", r.stream, failed)}
			}
			s.give(r)
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
