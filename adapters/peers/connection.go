package peers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"example.com/life/events"
)

// connection is one to a peer, from the side that asks. Any number of requests are under way on it at once.
type connection struct {
	conn   net.Conn
	self   events.HostID // as it was said in the hello
	outbox *outbox
	broken chan struct{}
	ended  sync.WaitGroup

	mu      sync.Mutex
	last    uint64
	open    map[uint64]*exchange
	waiting time.Time // when the first request was sent since something came; zero: nothing is waited for
	retired bool      // no further requests
	err     error
}

// exchange is a request that waits for its answer.
type exchange struct {
	answer chan frame // one; a stream's parts come before it
	lost   bool       // parts, since the latest that was taken in
}

const (
	partsKept = 256 // parts of a stream that may wait to be taken; what comes meanwhile is lost
	partsLost = 1   // in a part that waits: some before it were lost
)

func newConnection(conn net.Conn, self events.HostID) *connection {
	c := &connection{conn: conn, self: self, broken: make(chan struct{}), open: map[uint64]*exchange{}}
	c.outbox = newOutbox(conn, c.broken)
	c.ended.Go(func() { c.end(c.outbox.run()) })
	return c
}

// read takes what comes until the connection ends.
func (c *connection) read(in *frames) {
	c.ended.Go(func() {
		for {
			f, err := in.next()
			if err == nil {
				err = c.take(f)
			}
			if err != nil {
				c.end(err)
				return
			}
		}
	})
}

func (c *connection) take(f frame) error {
	if f.kind != kindAnswer && f.kind != kindPart && f.kind != kindFailed {
		return fmt.Errorf("a frame of kind %d is no answer", f.kind)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = time.Time{}
	e := c.open[f.id]
	switch {
	case e == nil: // nobody waits for it any more
	case f.kind == kindPart && len(e.answer) >= cap(e.answer)-1: // the last place is for the end
		e.lost = true
	case f.kind == kindPart:
		f.left = 0
		if e.lost {
			f.left, e.lost = partsLost, false
		}
		e.answer <- f
	default:
		e.answer <- f
		c.drop(f.id)
	}
	return nil
}

// drop forgets a request. The lock is held.
func (c *connection) drop(id uint64) {
	delete(c.open, id)
	if c.retired && len(c.open) == 0 {
		c.endLocked(errClosed)
	}
}

// retire ends the connection as soon as it has no request under way.
func (c *connection) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retired = true
	if len(c.open) == 0 {
		c.endLocked(errClosed)
	}
}

func (c *connection) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(err)
}

func (c *connection) endLocked(err error) {
	if c.err == nil {
		c.err = errors.Join(err, errors.New("the connection ended"))
		close(c.broken)
		_ = c.conn.Close() //nolint:errcheck // it is of no more use
	}
}

// endedHere reports whether this side ended the connection.
func (c *connection) endedHere() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Is(c.err, errClosed)
}

// usable reports whether requests can be sent.
func (c *connection) usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil && !c.retired
}

// quiet reports whether nothing has come for longer than patience since a request was sent.
func (c *connection) quiet(now time.Time, patience time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.waiting.IsZero() && now.Sub(c.waiting) > patience
}

// begin sends a request.
func (c *connection) begin(ctx context.Context, f frame, places int) (uint64, *exchange, error) {
	e := &exchange{answer: make(chan frame, places)}
	c.mu.Lock()
	if c.err != nil || c.retired {
		defer c.mu.Unlock()
		return 0, nil, errors.Join(c.err, errBroken)
	}
	c.last++
	id := c.last
	c.open[id] = e
	if c.waiting.IsZero() {
		c.waiting = time.Now()
	}
	c.mu.Unlock()
	f.id = id
	select {
	case c.outbox.frames <- f:
		return id, e, nil
	case <-ctx.Done():
	case <-c.broken:
	}
	c.forget(id)
	return 0, nil, c.failure(ctx)
}

// forget gives up a request.
func (c *connection) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[id] == nil {
		return
	}
	select {
	case c.outbox.frames <- frame{kind: kindCancel, id: id}:
	default: // the peer gives up by itself when the time is over
	}
	c.drop(id)
}

// errBroken: the connection ended before the answer came.
var errBroken = errors.New("broken")

func (c *connection) failure(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.err, errBroken)
}

// ask sends a request and waits for its answer.
func (c *connection) ask(ctx context.Context, kind kind, body []byte) ([]byte, error) {
	f := frame{kind: kind, body: body}
	if deadline, ok := ctx.Deadline(); ok {
		f.left = uint32(max(1, min(time.Until(deadline).Milliseconds(), math.MaxUint32))) //nolint:gosec // it is in between
	}
	id, e, err := c.begin(ctx, f, 1)
	if err != nil {
		return nil, err
	}
	select {
	case f := <-e.answer:
		return f.answered()
	case <-ctx.Done():
		c.forget(id)
		return nil, ctx.Err()
	case <-c.broken:
	}
	select {
	case f := <-e.answer: // it came before
		return f.answered()
	default:
		return nil, c.failure(ctx)
	}
}

// answered reads an answer.
func (f *frame) answered() ([]byte, error) {
	if f.kind == kindAnswer {
		return f.body, nil
	}
	if f.kind != kindFailed {
		return nil, fmt.Errorf("%w: parts came where one answer was expected", ErrNoAnswer)
	}
	var failure Failure
	if err := json.Unmarshal(f.body, &failure); err != nil {
		return nil, fmt.Errorf("%w: the failure it sent cannot be read: %w", ErrNoAnswer, err)
	}
	return nil, &failure
}
