package embedded

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"example.com/life/actors/storage"
)

// begun says who is told the answer to an append that nobody waits for.
type begun struct {
	done   func(storage.Appended, error) // nil: somebody waits on the request's channel
	cohort *cohort
}

// cohort is the appends under way whose context is the same.
type cohort struct {
	ctx     context.Context //nolint:containedctx // of all of them
	stop    func() bool     // ends the watch for the end of ctx
	waiting map[*request]struct{}
}

// cohorts has every append that nobody waits for answered once: with its outcome, or with the end of its time. Hosts give one context to
// all that they begin within a moment, and one watch for its end serves all of them: a watch for each would cost more than the rest of an answer.
type cohorts struct {
	mu     sync.Mutex
	of     map[<-chan struct{}]*cohort // by what tells the end of its context
	latest *cohort                     // kept while it is empty: the next append is likely to join it
	closed bool
}

// Begin implements storage.Beginner. done is called by the goroutine that answers all appends, or by one of its own when ctx ends; then the
// outcome is unknown, as it is on a disk that hangs.
func (s *Store) Begin(ctx context.Context, b storage.Begun, done func(storage.Appended, error)) {
	if err := errors.Join(checkAppend(b.Stream, b.Expected, b.Batch), ctx.Err()); err != nil {
		done(storage.Appended{}, err)
		return
	}
	if err := s.refusal(); err != nil {
		done(storage.Appended{}, fmt.Errorf("append to %s: %w", b.Stream, err))
		return
	}
	r := s.requests.Get().(*request) //nolint:errcheck // the pool holds nothing else
	r.action, r.expected, r.stream, r.batch, r.imported = appending, b.Expected, b.Stream, b.Batch, nil
	r.ticket, r.needs = b.Ticket, b.Needs
	r.encode()
	r.begun.done = done
	s.cohorts.add(ctx, r) // first: it may be answered before push returns
	if !s.queue.push(r) && s.cohorts.remove(r) {
		done(storage.Appended{}, storage.ErrClosed)
	}
}

// give hands over the answer to a request, which is free for another append then.
func (s *Store) give(r *request) {
	if r.begun.done == nil {
		r.answer <- r.decided
		return
	}
	done, decided, waiting := r.begun.done, r.decided, s.cohorts.remove(r)
	s.reuse(r)
	if waiting {
		done(decided.appended, decided.err)
	}
}

func (c *cohorts) add(ctx context.Context, r *request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	joined := c.of[ctx.Done()]
	if joined == nil {
		joined = &cohort{ctx: ctx, waiting: map[*request]struct{}{}}
		joined.stop = context.AfterFunc(ctx, func() { c.expire(joined, ctx.Err()) })
		if c.of == nil {
			c.of = map[<-chan struct{}]*cohort{}
		}
		c.of[ctx.Done()] = joined
	}
	joined.waiting[r] = struct{}{}
	r.begun.cohort = joined
	if before := c.latest; before != joined {
		c.latest = joined
		c.drop(before)
	}
}

// remove reports whether a request has not been answered, and whoever asks is to answer it.
func (c *cohorts) remove(r *request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	joined := r.begun.cohort
	_, waiting := joined.waiting[r]
	delete(joined.waiting, r)
	if joined != c.latest || c.closed {
		c.drop(joined)
	}
	return waiting
}

// drop ends the watch of a cohort that has nobody left.
func (c *cohorts) drop(joined *cohort) {
	if joined == nil || len(joined.waiting) > 0 {
		return
	}
	joined.stop()
	if c.of[joined.ctx.Done()] == joined {
		delete(c.of, joined.ctx.Done())
	}
}

// expire answers a cohort whose time is over. Its requests stay the committer's.
func (c *cohorts) expire(joined *cohort, err error) {
	c.mu.Lock()
	var answers []func()
	for r := range joined.waiting {
		done, unknown := r.begun.done, fmt.Errorf("append to %s: the outcome is unknown: %w", r.stream, err)
		answers = append(answers, func() { done(storage.Appended{}, unknown) })
	}
	clear(joined.waiting)
	if c.latest == joined {
		c.latest = nil
	}
	c.drop(joined)
	c.mu.Unlock()
	for _, answer := range answers {
		answer()
	}
}

// close answers what a failed disk holds. What is begun afterwards finds the queue closed.
func (c *cohorts) close(err error) {
	c.mu.Lock()
	c.closed = true
	var left []*cohort
	for _, joined := range c.of {
		left = append(left, joined)
	}
	c.mu.Unlock()
	for _, joined := range left {
		c.expire(joined, err)
	}
}
