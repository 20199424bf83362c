package eventstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/metadata"
)

// Attempts after the first of a call that the store answered with something that makes no sense.
const maxPuzzled = 4

// leastPause is the wait before a call is attempted a second time. It waits for the store's return without.
const leastPause = 10 * time.Millisecond

// attempts decides after each attempt whether there is another.
type attempts struct {
	line    *line
	pace    *pause
	puzzled int
}

func (j *Journal) attempts() *attempts {
	return &attempts{line: j.line, pace: newPause(leastPause)}
}

// again returns nil when it is time for another attempt, and otherwise what to tell the caller.
func (a *attempts) again(ctx context.Context, n *node, f *failure) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w (the last attempt: %w)", err, f)
	}
	switch f.verdict() {
	case final:
		return f.known()
	case moved:
		a.line.lose(n, errors.New("another node is the leader"), f.leader())
	case absent:
		if f.gone() {
			a.line.lose(n, f, "")
		}
	case puzzled:
		if a.puzzled++; a.puzzled > maxPuzzled {
			return f.known()
		}
	}
	if err := a.pace.wait(ctx); err != nil {
		return fmt.Errorf("%w (the last attempt: %w)", err, f)
	}
	return nil
}

// call attempts something that can be repeated until there is an answer or ctx ends.
func (j *Journal) call(ctx context.Context, attempt func(ctx context.Context, n *node) *failure) error {
	a := j.attempts()
	for {
		n, err := j.line.borrow(ctx)
		if err != nil {
			return err
		}
		f := attempt(ctx, n)
		n.release()
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
