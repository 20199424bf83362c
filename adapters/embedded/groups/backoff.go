package groups

import (
	"context"
	"math/rand/v2"
	"time"

	"example.com/life/events"
)

const (
	firstPause = 50 * time.Millisecond
	lastPause  = 10 * time.Second
)

// backoff counts failures in a row, and how long to wait after the last.
type backoff struct {
	failures int
	until    events.Micros // nothing is tried before
}

// next counts a failure and returns the pause after it: twice the one before, with a fifth of it random.
func (b *backoff) next() time.Duration {
	pause := min(firstPause<<min(b.failures, 16), lastPause)
	b.failures++
	return pause - time.Duration(rand.Int64N(int64(pause/5)))
}

// wait counts a failure and lets the pause pass.
func (b *backoff) wait(ctx context.Context) {
	timer := time.NewTimer(b.next())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
