package actors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// pendingAppend is an append under way. Others may be begun on its strength: whatever happens, they are stored only if it is.
type pendingAppend struct {
	host     *Host
	ctx      context.Context //nolint:containedctx // ends when its time is over
	stream   events.Stream
	expected storage.Expected
	batch    []events.Envelope
	needs    []*pendingAppend
	flight   *flight // of which it is part
	ticket   storage.Ticket

	mu      sync.Mutex
	over    bool
	err     error
	waiting []func() // called when it is over
}

// startAppend has a batch stored beside the actors, after everything that it needs, and has its flight land with what append would return.
func (h *Host) startAppend(p *pendingAppend) {
	p.host, p.ctx = h, h.appending.context(h.running, h.limits.Append)
	h.tasks.Add(1)
	if h.line == nil {
		p.tryAgain(p.needs)
		return
	}
	begun := storage.Begun{Stream: p.stream, Expected: p.expected, Batch: p.batch, Ticket: &p.ticket}
	for _, need := range p.needs {
		switch err, over := need.outcome(nil); {
		case !over:
			begun.Needs = append(begun.Needs, &need.ticket)
		case err != nil:
			p.tryAgain(p.needs)
			return
		}
	}
	h.line.Begin(p.ctx, begun, p.answered)
}

// answered takes the journal's answer. What may be stored, or may be stored later, is tried again.
func (p *pendingAppend) answered(appended storage.Appended, err error) {
	if err == nil || final(err) || p.ctx.Err() != nil {
		p.finish(p.host.appended(p.stream, p.batch, appended, err))
		return
	}
	p.tryAgain(p.needs)
}

// tryAgain appends the same events when all that they need is stored.
func (p *pendingAppend) tryAgain(needs []*pendingAppend) {
	for i, need := range needs {
		err, over := need.outcome(func() { p.tryAgain(needs[i:]) })
		if !over {
			return
		}
		if err != nil {
			p.finish(storage.Appended{}, fmt.Errorf("append to %s: %w: %w", p.stream, storage.ErrNeeded, err))
			return
		}
	}
	p.host.run(func() { p.finish(p.host.appendWithin(p.ctx, p.stream, p.expected, p.batch)) })
}

// outcome says whether the append is over, and with which error. If it is not, then is called when it is.
func (p *pendingAppend) outcome(then func()) (err error, over bool) { //nolint:revive // the error is the outcome, not a failure to get it
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over && then != nil {
		p.waiting = append(p.waiting, then)
	}
	return p.err, p.over
}

// finish is called once. It lets go of what the append needed, or each would keep all before it.
func (p *pendingAppend) finish(appended storage.Appended, err error) {
	defer p.host.tasks.Done()
	p.flight.land(appended, err)
	p.batch, p.needs = nil, nil
	p.mu.Lock()
	p.over, p.err = true, err
	waiting := p.waiting
	p.waiting = nil
	p.mu.Unlock()
	for _, then := range waiting {
		then()
	}
}

// append stores a batch, trying the same events again until the outcome is known or its time is over.
func (h *Host) append(stream events.Stream, expected storage.Expected, batch []events.Envelope) (storage.Appended, error) {
	return h.appendWithin(h.appending.context(h.running, h.limits.Append), stream, expected, batch)
}

func (h *Host) appendWithin(
	ctx context.Context, stream events.Stream, expected storage.Expected, batch []events.Envelope,
) (storage.Appended, error) {
	wait := 5 * time.Millisecond
	for {
		appended, err := h.journal.Append(ctx, stream, expected, batch)
		if err == nil || final(err) {
			return h.appended(stream, batch, appended, err)
		}
		select {
		case <-ctx.Done():
			return h.appended(stream, batch, appended, err)
		case <-time.After(wait):
			wait = min(2*wait, time.Second)
		}
	}
}

// appended is the outcome of an append that is not tried again.
func (h *Host) appended(stream events.Stream, batch []events.Envelope, appended storage.Appended, err error) (storage.Appended, error) {
	switch {
	case err == nil && len(batch) > 0:
		h.Stored(appended.Position)
	case err != nil && !final(err):
		return storage.Appended{}, fmt.Errorf("append to %s, given up after %s: %w", stream, h.limits.Append, err)
	}
	return appended, err
}

// room says why nothing can be stored at the moment, where the journal knows: a command from outside is answered with that at once, before it
// is decided. What the host began itself waits until there is room.
func (h *Host) room() error {
	if journal, ok := h.journal.(storage.Roomy); ok {
		return journal.Room()
	}
	return nil
}

// final reports an answer to an append that trying again does not change.
func final(err error) bool {
	var conflict *storage.ConflictError
	return errors.As(err, &conflict) || errors.Is(err, storage.ErrClosed) || errors.Is(err, storage.ErrReadOnly) || errors.Is(err, storage.ErrInvalidAppend) || errors.Is(err, storage.ErrDeleted)
}

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
