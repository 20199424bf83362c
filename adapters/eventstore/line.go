package eventstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"example.com/life/actors"
)

// line is the way to the store. One goroutine keeps it: it finds a node, watches it, and finds another when it is lost. Everyone else
// borrows the node, or waits for one until their context ends.
type line struct {
	target *target
	log    *slog.Logger
	most   int // callers that may wait at once

	mu      sync.Mutex
	node    *node         // nil while the store is away
	since   time.Time     // when the present state began
	cause   error         // why the store is away
	leader  string        // where a node said that the leader is
	failed  int           // rounds of discovery since the store was last there
	waiting int           // callers
	reached int           // how often a node was found
	changed chan struct{} // closed when something above changed
	closed  bool

	stop context.CancelFunc
	done chan struct{} // closed when the keeper has ended
}

func newLine(ctx context.Context, target *target, config Config) *line {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	l := &line{
		target: target, log: config.Log, most: config.MaxWaiting,
		since: time.Now(), changed: make(chan struct{}), stop: stop, done: make(chan struct{}),
	}
	go l.keep(ctx)
	return l
}

// keep runs until ctx ends.
func (l *line) keep(ctx context.Context) {
	defer close(l.done)
	pace := newPause(l.target.interval)
	for ctx.Err() == nil {
		n, err := l.find(ctx)
		if err != nil {
			l.missed(ctx, err)
		} else {
			began := time.Now()
			l.found(ctx, n)
			n.watch(ctx)
			l.lose(n, errors.New("the connection was lost"), "")
			if time.Since(began) >= pace.most {
				pace.reset()
				continue // it was there for a while: it may be back at once
			}
		}
		if pace.wait(ctx) != nil {
			break
		}
	}
}

// find is one round of discovery.
func (l *line) find(ctx context.Context) (n *node, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("look for the event store: panic: %v", p)
		}
	}()
	l.mu.Lock()
	leader := l.leader
	l.leader = ""
	l.mu.Unlock()
	return l.target.discover(ctx, leader)
}

func (l *line) missed(ctx context.Context, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed++
	if l.cause = err; l.failed == 1 && ctx.Err() == nil {
		l.log.WarnContext(ctx, "the event store is away; looking for it until it is back", "store", l.target.name, "cause", err, "waiting", l.waiting)
	}
	l.change()
}

func (l *line) found(ctx context.Context, n *node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log.InfoContext(ctx, "the event store is there", "store", l.target.name, "node", n.address,
		"away", time.Since(l.since).Round(time.Millisecond), "waiting", l.waiting, "connections", l.reached+1)
	l.node, l.since, l.cause, l.failed = n, time.Now(), nil, 0
	l.reached++
	l.change()
}

// lose gives a node up, because it does not answer or another one is the leader.
func (l *line) lose(n *node, cause error, leader string) {
	l.mu.Lock()
	if l.node == n {
		l.node, l.since, l.cause, l.leader = nil, time.Now(), cause, leader
		l.change()
	}
	l.mu.Unlock()
	n.giveUp()
}

// change wakes whoever waits for the line to change.
func (l *line) change() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// borrow returns a node for a call, which has to be released. While the store is away it waits until ctx ends, unless too many do.
func (l *line) borrow(ctx context.Context) (*node, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.node == nil && !l.closed && ctx.Err() == nil {
		if l.waiting >= l.most {
			return nil, fmt.Errorf("%w, and %d callers wait for it already, which is the most allowed (MaxWaiting)", l.away(), l.waiting)
		}
		l.waiting++
		defer func() { l.waiting-- }()
	}
	return l.lend(ctx)
}

// await is borrow for those who are there as long as the program wants them: subscriptions and consumers. They are not counted.
func (l *line) await(ctx context.Context) (*node, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lend(ctx)
}

// lend waits for a node. The lock is held.
func (l *line) lend(ctx context.Context) (*node, error) {
	for {
		switch {
		case l.closed:
			return nil, actors.ErrClosed
		case l.node != nil && ctx.Err() != nil:
			return nil, ctx.Err()
		case ctx.Err() != nil:
			return nil, fmt.Errorf("%w: %w", l.away(), ctx.Err())
		case l.node != nil && l.node.use():
			return l.node, nil
		case Denied(l.cause):
			return nil, l.cause
		}
		l.wait(ctx)
	}
}

// wait returns when the line changes or ctx ends. The lock is held before and after.
func (l *line) wait(ctx context.Context) {
	changed := l.changed
	l.mu.Unlock()
	defer l.mu.Lock()
	select {
	case <-changed:
	case <-ctx.Done():
	}
}

// away says that the store is away, since when, why, and what to look at. The lock is held.
func (l *line) away() error {
	cause := ""
	if l.cause != nil {
		cause = ": " + l.cause.Error()
	}
	return fmt.Errorf("the event store %s is away since %s (%s)%s; check that it runs and can be reached from here",
		l.target.name, l.since.UTC().Format(time.RFC3339), time.Since(l.since).Round(100*time.Millisecond), cause)
}

// opened waits until the store was reached for the first time.
func (l *line) opened(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.reached == 0 {
		switch {
		case Denied(l.cause):
			return l.cause
		case l.target.attempts > 0 && l.failed >= l.target.attempts:
			return fmt.Errorf("%w (gave up after %d attempts, as maxDiscoverAttempts says)", l.away(), l.failed)
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", l.away(), ctx.Err())
		}
		l.wait(ctx)
	}
	return nil
}

// close ends the keeper and the connection.
func (l *line) close() {
	l.mu.Lock()
	n := l.node
	if l.node = nil; !l.closed {
		l.closed = true
		l.change()
	}
	l.mu.Unlock()
	l.stop()
	<-l.done
	if n != nil {
		n.giveUp()
		n.conn.Close() //nolint:errcheck // calls under way end with it
	}
}
