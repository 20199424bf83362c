package eventstore

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// search begins one round of discovery after the other until a node is found; nil when ctx ended. It does not wait for the end of a round before it
// begins the next: a node that does not answer must not keep another from being noticed that leads since a moment ago.
func (l *line) search(ctx context.Context, pace pause) *node {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	nodes, errs := make(chan *node), make(chan error)
	lastLine, slow := time.Time{}, time.After(mostRound)
	miss := func(err error) {
		if l.missed(err); time.Since(lastLine) >= repeated {
			lastLine = time.Now()
			l.report(ctx)
		}
	}
	for under := 0; ; {
		if under < maxRounds {
			under++
			l.rounds.Go(func() { l.round(ctx, nodes, errs) })
		}
		next := time.NewTimer(pace.NextBackOff())
		for waiting := true; waiting; {
			select {
			case n := <-nodes:
				next.Stop()
				return n
			case err := <-errs:
				under--
				miss(err)
			case <-slow:
				if lastLine.IsZero() {
					miss(nil)
				}
			case <-next.C:
				waiting = false
			case <-ctx.Done():
				next.Stop()
				return nil
			}
		}
	}
}

// round is one round of discovery.
func (l *line) round(ctx context.Context, nodes chan<- *node, errs chan<- error) {
	n, err := l.find(ctx)
	if err != nil {
		select {
		case errs <- err:
		case <-ctx.Done():
		}
		return
	}
	select {
	case nodes <- n:
	case <-ctx.Done():
		n.giveUp(ctx.Err())
	}
}

func (l *line) find(ctx context.Context) (n *node, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("look for the event store: panic: %v", p)
			l.log.ErrorContext(ctx, "looking for the event store panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	return l.finder.find(ctx)
}

// missed notes that a round has found nothing, or, without an error, that none has ended yet.
func (l *line) missed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed++
		l.cause = l.shortened(err)
	}
	l.change()
}

// shortened leaves out the address of the only server there is: it stands in the store's name.
func (l *line) shortened(err error) error {
	var at *unreachable
	if len(l.target.addresses) == 1 && errors.As(err, &at) && at.Error() == err.Error() && at.address == l.target.addresses[0] {
		return at.err
	}
	return err
}

// report tells that the store is away.
func (l *line) report(ctx context.Context) {
	l.mu.Lock()
	away, waiting := l.away(nil), l.waiting
	l.told = true
	l.mu.Unlock()
	if l.tell != nil {
		l.tell(away)
		return
	}
	l.log.WarnContext(ctx, "the event store is away; looking for it until it is back", "store", away.Store, "since", away.Since, "cause", away.Cause, "waiting", waiting)
}
