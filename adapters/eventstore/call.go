package eventstore

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
)

const (
	maxPuzzled = 4                     // attempts after the first of a call that the store answered with something that makes no sense
	leastPause = 10 * time.Millisecond // before a call is attempted a second time; it waits for the store's return without
	mostPause  = 500 * time.Millisecond
)

// pause is the wait between attempts: longer each time, up to a bound, and by chance up to half as long, so that many hosts do not
// come at once.
type pause struct{ *backoff.ExponentialBackOff }

func newPause(least, most time.Duration) pause {
	p := pause{backoff.NewExponentialBackOff()}
	p.InitialInterval, p.MaxInterval, p.Multiplier, p.RandomizationFactor = least, max(least, most), 2, 0.25
	return p
}

// wait returns when it is time for the next attempt, or ctx's error.
func (p pause) wait(ctx context.Context) error {
	timer := time.NewTimer(p.NextBackOff())
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// patience is how long an attempt may take. The next one may take twice as long: a slow store must not have all of them cut off.
type patience struct{ next, most time.Duration }

func (p *patience) limit() time.Duration {
	limit := p.next
	p.next = min(2*limit, p.most)
	return limit
}

// attempts decides after each attempt whether there is another.
type attempts struct {
	line    *line
	to      access
	pace    pause
	puzzle  pause // after an answer that makes no sense
	puzzled int   // how often there was one
}

func (j *Journal) attempts(to access) *attempts {
	return &attempts{line: j.line, to: to, pace: newPause(leastPause, mostPause), puzzle: newPause(10*leastPause, 4*mostPause)}
}

// again returns nil when it is time for another attempt, and otherwise what to tell the caller. Whatever may be the node's fault has
// the node examined: another one may lead by now.
func (a *attempts) again(ctx context.Context, n *node, f *failure) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w (the last attempt: %w)", err, f)
	}
	pace := a.pace
	switch f.verdict() {
	case final:
		return a.told(n, f)
	case moved:
		a.line.lose(n, fmt.Errorf("%s does not lead any more", n), f.leader())
	case absent:
		n.doubt(ctx)
	case puzzled:
		if a.puzzled++; a.puzzled > maxPuzzled {
			return a.told(n, f)
		}
		n.doubt(ctx)
		pace = a.puzzle
	}
	if err := pace.wait(ctx); err != nil {
		return fmt.Errorf("%w (the last attempt: %w)", err, f)
	}
	return nil
}

// reset forgets what went wrong, after something went well.
func (a *attempts) reset() {
	a.pace.Reset()
	a.puzzle.Reset()
	a.puzzled = 0
}

// told is a final failure in the words of the port.
func (a *attempts) told(n *node, f *failure) error {
	if f.code == codes.Unauthenticated {
		return n.target.unauthenticated(n.address, f)
	}
	if f.code == codes.PermissionDenied {
		return n.target.denied(a.to, f)
	}
	return f.known()
}

// call attempts something that can be repeated until there is an answer or ctx ends.
func (j *Journal) call(ctx context.Context, to access, attempt func(ctx context.Context, n *node) *failure) error {
	a := j.attempts(to)
	for {
		n, err := j.line.borrow(ctx)
		if err != nil {
			return err
		}
		within, done := n.within(ctx)
		f := n.lostInstead(attempt(within, n))
		done()
		j.line.giveBack(n)
		if f == nil {
			return nil
		}
		if err := a.again(ctx, n, f); err != nil {
			return err
		}
	}
}

// ofLeader asks that no other node than the leader answers a call.
func ofLeader(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "requires-leader", "true")
}
