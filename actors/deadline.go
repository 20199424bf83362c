package actors

import (
	"context"
	"sync"
	"time"
)

// sharedDeadline gives contexts that end after about the same time. Appends are too many for a context and a timer each: those that
// begin within a slack of each other share one, and have at most the slack more.
type sharedDeadline struct {
	mu     sync.Mutex
	shared context.Context //nolint:containedctx // handed to everyone who asks within the slack
	cancel context.CancelFunc
	renew  time.Time
}

// deadlineSlack is how much longer than asked for a shared deadline may be.
const deadlineSlack = 100 * time.Millisecond

// context returns a context that ends with its parent, or between limit and limit plus the slack from now.
func (d *sharedDeadline) context(parent context.Context, limit time.Duration) context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); d.shared == nil || now.After(d.renew) {
		// The one before ends by itself: others still use it.
		d.shared, d.cancel = context.WithTimeout(parent, limit+deadlineSlack)
		d.renew = now.Add(deadlineSlack)
	}
	return d.shared
}
