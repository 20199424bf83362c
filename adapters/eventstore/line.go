package eventstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"example.com/life/actors/storage"
)

const (
	heartbeat  = 500 * time.Millisecond // between two examinations of the node: with the time for one, a dead one is noticed within 3 s
	lateAnswer = 300 * time.Millisecond // after which the other nodes are asked who leads
	maxRounds  = 8                      // of discovery at once
	mostRound  = 500 * time.Millisecond // between the beginnings of two rounds
	repeated   = 30 * time.Second       // between two lines in the log about a store that is away
)

// AwayError says that the store cannot be reached, or has no leader. It is looked for until it is back.
type AwayError struct {
	Store string    // its connection string, without credentials
	Since time.Time // when it was there last, or the search began
	Cause error     // why it was not found the last time; nil: nothing has answered yet

	ended error // why the caller does not wait any longer
}

// Error says since when the store is away, why, and what to look at.
func (a *AwayError) Error() string { return a.Problem() + "; " + a.Remedy() }

// Problem says since when the store is away, and why.
func (a *AwayError) Problem() string {
	cause := ""
	if a.Cause != nil {
		cause = ": " + a.Cause.Error()
	}
	return fmt.Sprintf("the event store %s is away since %s (%s)%s",
		a.Store, a.Since.UTC().Format(time.RFC3339), time.Since(a.Since).Round(100*time.Millisecond), cause)
}

// Remedy says what to look at.
func (a *AwayError) Remedy() string {
	var unresolved *net.DNSError
	switch {
	case errors.Is(a.Cause, errMisnamed):
		return "have its nodes advertise addresses that can be reached from here"
	case errors.Is(a.Cause, errNoLeader):
		return "wait until it has elected a leader, for which most of its nodes have to run and to reach each other"
	case errors.As(a.Cause, &unresolved):
		return "correct the host, or this machine's name resolution"
	case errors.Is(a.Cause, ErrProtocol):
		return "correct the host and the port"
	case errors.Is(a.Cause, errRefused):
		return "start it, or correct the host and the port"
	case errors.Is(a.Cause, errDeaf):
		return "check that its machine runs, and that no firewall is in between"
	}
	return "check that it runs and can be reached from here"
}

// Unwrap returns the cause, and the error of the caller's context.
func (a *AwayError) Unwrap() []error {
	return slices.DeleteFunc([]error{a.Cause, a.ended}, func(err error) bool { return err == nil })
}

// line is the way to the store. One goroutine keeps it: it finds a node, examines it from time to time, and finds another when it is lost.
// Everyone else borrows the node, or waits for one until their context ends.
type line struct {
	target *target
	finder finder
	log    *slog.Logger
	most   int                // callers that may wait at once
	tell   func(a *AwayError) // that the store is away, and why; nil: that it is back

	mu      sync.Mutex
	node    *node         // nil while the store is away
	since   time.Time     // when the present state began
	cause   error         // why the store is away
	failed  int           // rounds of discovery since the store was last there
	waiting int           // callers
	reached int           // how often a node was found
	told    bool          // that it is away
	changed chan struct{} // closed when something above changed
	closed  bool

	stop   context.CancelFunc
	done   chan struct{}  // closed when the keeper has ended
	rounds sync.WaitGroup // of discovery, under way
}

func newLine(ctx context.Context, target *target, config Config) *line {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	l := &line{
		target: target, finder: finder{target: target}, log: config.Log, most: config.MaxWaiting, tell: config.Away,
		since: time.Now(), changed: make(chan struct{}), stop: stop, done: make(chan struct{}),
	}
	go l.keep(ctx)
	return l
}

// keep runs until ctx ends.
func (l *line) keep(ctx context.Context) {
	defer close(l.done)
	defer l.rounds.Wait()
	pace := newPause(l.target.interval, min(20*l.target.interval, mostRound))
	for {
		n := l.search(ctx, pace)
		if n == nil {
			return
		}
		began := time.Now()
		l.found(ctx, n)
		l.attend(ctx, n)
		if time.Since(began) >= mostRound {
			pace.Reset() // it was there for a while: it may be back at once
		} else if pace.wait(ctx) != nil {
			return
		}
	}
}

func (l *line) found(ctx context.Context, n *node) {
	l.mu.Lock()
	l.log.InfoContext(ctx, "the event store is there", "store", l.target.name, "node", n.String(),
		"away", time.Since(l.since).Round(time.Millisecond), "waiting", l.waiting, "connections", l.reached+1)
	l.node, l.since, l.cause, l.failed = n, time.Now(), nil, 0
	l.reached++
	told := l.told
	l.told = false
	l.change()
	l.mu.Unlock()
	if told && l.tell != nil {
		l.tell(nil)
	}
}

// attend examines the node from time to time, and when a call doubts it, until it is lost or ctx ends.
func (l *line) attend(ctx context.Context, n *node) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.rounds.Go(func() {
		n.watch(ctx)
		if ctx.Err() == nil {
			l.lose(n, fmt.Errorf("the connection to %s was lost", n), "")
		}
	})
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.alive.Done():
			return
		case <-beat.C:
		case <-n.doubted:
		}
		doubt := n.doubts()
		l.examine(ctx, n, doubt != nil)
		if doubt != nil {
			close(doubt)
		}
	}
}

// examine gives the node up if it does not lead. While its answer takes long, and when a call was not answered, the other nodes of a cluster are
// asked who does: they know of a new leader long before the old one can be taken for dead, and a node that is cut off from them goes on
// believing that it leads.
func (l *line) examine(ctx context.Context, n *node, doubted bool) {
	within, done := n.within(ctx)
	defer done()
	answer := make(chan *failure, 1)
	l.rounds.Go(func() { answer <- n.examine(within) })
	late := time.NewTicker(lateAnswer)
	defer late.Stop()
	for {
		select {
		case f := <-answer:
			switch {
			case within.Err() != nil:
			case f != nil:
				l.lose(n, l.shortened(&unreachable{n.String(), l.target.explain(within, n.calls, n.endpoint, f)}), f.leader())
			case doubted:
				l.replace(within, n)
			}
			return
		case <-late.C:
			doubted = false
			if l.replace(within, n) {
				return
			}
		}
	}
}

// replace gives the node up if most nodes of its cluster name another leader.
func (l *line) replace(ctx context.Context, n *node) bool {
	if !l.target.cluster {
		return false
	}
	leader, by, err := l.finder.leader(ctx)
	if err != nil || leader == n.address || ctx.Err() != nil {
		return false
	}
	l.lose(n, fmt.Errorf("%s names the leader %s, which %s is not any more", by, leader, n), leader)
	return true
}

// lose gives a node up, because it does not answer or another one is the leader.
func (l *line) lose(n *node, cause error, leader string) {
	l.mu.Lock()
	if l.node == n {
		l.node, l.since, l.cause = nil, time.Now(), cause
		l.finder.told(leader)
		l.log.Info("the event store's node is given up", "store", l.target.name, "node", n.String(), "cause", cause)
		l.change()
	}
	l.mu.Unlock()
	n.giveUp(cause)
}

// change wakes whoever waits for the line to change.
func (l *line) change() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// borrow returns a node for a call, which has to be given back. While the store is away it waits until ctx ends, unless too many do.
func (l *line) borrow(ctx context.Context) (*node, error) {
	for {
		n, err := l.counted(ctx)
		if err != nil {
			return nil, err
		}
		select {
		case n.slots <- struct{}{}:
			return n, nil
		default:
		}
		select {
		case n.slots <- struct{}{}:
			return n, nil
		case <-n.alive.Done():
			n.release()
		case <-ctx.Done():
			n.release()
			return nil, ctx.Err()
		}
	}
}

func (l *line) giveBack(n *node) {
	<-n.slots
	n.release()
}

// counted is await for callers, of whom not too many may wait.
func (l *line) counted(ctx context.Context) (*node, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.node == nil && !l.closed && ctx.Err() == nil {
		if l.waiting >= l.most {
			return nil, fmt.Errorf("%w, and %d callers wait for it already, which is the most allowed (MaxWaiting)", l.away(nil), l.waiting)
		}
		l.waiting++
		defer func() { l.waiting-- }()
	}
	return l.lend(ctx)
}

// await is borrow for those who are there as long as the program wants them: subscriptions and consumers. They are not counted. What
// it returns has to be released.
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
			return nil, storage.ErrClosed
		case l.node != nil && ctx.Err() != nil:
			return nil, ctx.Err()
		case ctx.Err() != nil:
			return nil, l.away(ctx.Err())
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

// away says that the store is away, to a caller that does not wait any longer. The lock is held.
func (l *line) away(ended error) *AwayError {
	return &AwayError{Store: l.target.name, Since: l.since, Cause: l.cause, ended: ended}
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
			return fmt.Errorf("%w (gave up after %d attempts, as maxDiscoverAttempts says)", l.away(nil), l.failed)
		case ctx.Err() != nil:
			return l.away(ctx.Err())
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
		n.giveUp(storage.ErrClosed)
		n.calls.Close() //nolint:errcheck // calls under way end with it
	}
}
