package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
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

// refusals are answers that hold only at the end of the stream.
type refusals struct{ answers []answered }

// answerRefused answers commands of which nothing is stored. It may be because of decisions that are not stored yet: then the answer
// waits for them, or rests on them. Otherwise nothing says that the fold is at the end of the stream: another host may have gone on. An append would be
// refused there; of a refusal nobody would know, so it is read.
func (e *entity[S]) answerRefused(answers []answered) {
	if e.ride(answers) {
		return
	}
	var unsure []answered
	for _, a := range answers {
		if a.done != nil && byFold(a.outcome.err) {
			unsure = append(unsure, a)
		} else {
			answer([]answered{a})
		}
	}
	if len(unsure) > 0 {
		e.readOn(&refusals{unsure})
	}
}

// ride has answers wait for the latest append under way, or rest on it: when it is stored, the fold was at the end of the stream.
func (e *entity[S]) ride(answers []answered) bool {
	if len(e.flying) == 0 {
		return false
	}
	last := e.flying[len(e.flying)-1]
	last.answers = append(last.answers, answerEarly(answers, &last.append)...)
	return true
}

// byFold reports an answer that later events can change: a refusal, or that all of a command is so already. That a command was accepted before stays.
func byFold(err error) bool {
	var refusal *sagas.RefusalError
	var known *sagas.DuplicateError
	return errors.As(err, &refusal) || errors.As(err, &known) && known.Same
}

// endTime is how long it may take to find the end of a stream.
const endTime = 10 * time.Second

// readOn looks, beside the actor, whether the stream goes on behind the fold.
func (e *entity[S]) readOn(r *refusals) {
	e.unsure = append(e.unsure, r)
	host, stream, from, send := e.host, e.stream, e.stored.Revision+1, e.send
	host.run(func() {
		ctx, cancel := context.WithTimeout(host.running, endTime)
		defer cancel()
		page, err := host.journal.Read(ctx, stream, from, storage.Forward, storage.Limit{Events: 1})
		send(endRead{r, page.Last, err})
	})
}

// endKnown answers what was refused, now that the end of the stream is known. It reports false if the fold is behind it: then the entity must be given
// up, and whoever asked asks the next one.
func (e *entity[S]) endKnown(m endRead) bool {
	e.unsure = slices.DeleteFunc(e.unsure, func(r *refusals) bool { return r == m.refusals })
	switch {
	case m.err != nil:
		fail(m.refusals.answers, e.reason(m.err))
	case m.last > e.tip.Revision:
		fail(m.refusals.answers, &FencedError{Stream: e.stream})
		return false
	case !e.ride(m.refusals.answers): // what was decided meanwhile may be what stands there
		answer(m.refusals.answers)
	}
	return true
}
