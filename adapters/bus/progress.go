package bus

import (
	"container/list"
	"context"
	"sync"

	"example.com/life/events"
)

// progress is how far a consumer is that handles several events at once: everything before the oldest that is under way is handled. What came
// after that one and is done with is not remembered: after a crash it is delivered again.
type progress struct {
	free chan struct{} // a slot for each event that may be under way
	all  sync.WaitGroup

	turn   chan struct{} // held by whoever uses what follows. It may be waited for as long as a position is stored, so it is no mutex
	at     *positions
	latest position   // of the event that was handed out last
	under  *list.List // of position: for each event under way, the oldest first, the one before it
}

func newProgress(at *positions, ahead int) *progress {
	return &progress{free: make(chan struct{}, max(ahead, 1)), turn: make(chan struct{}, 1), at: at, latest: at.at, under: list.New()}
}

func (p *progress) lock()   { p.turn <- struct{}{} }
func (p *progress) unlock() { <-p.turn }

// room waits until another event may be handed out; false when ctx ended first.
func (p *progress) room(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case p.free <- struct{}{}:
		<-p.free // begin takes it: the only goroutine that does is this one
		return true
	case <-ctx.Done():
		return false
	}
}

// begin notes that an event is handed out. The function that it returns notes that it is done with; an error says that it is not.
func (p *progress) begin(ctx context.Context, e *events.Envelope) (done func(error)) {
	p.free <- struct{}{}
	p.all.Add(1)
	p.lock()
	defer p.unlock()
	before := p.under.PushBack(p.latest)
	p.latest = position{Stream: e.Stream, Revision: e.Revision, Position: e.Position}
	return func(err error) {
		defer p.all.Done()
		defer func() { <-p.free }()
		if err != nil {
			return // it stays where it is: nothing after it counts as handled
		}
		p.lock()
		defer p.unlock()
		p.under.Remove(before)
		to := p.latest
		if oldest := p.under.Front(); oldest != nil {
			to = oldest.Value.(position) //nolint:errcheck,forcetypeassert // nothing else is in it
		}
		p.at.passed(ctx, to)
	}
}

// unsaved reports whether there is something to store, or may be soon.
func (p *progress) unsaved() bool {
	p.lock()
	defer p.unlock()
	return p.at.unsaved > 0 || p.under.Len() > 0
}

func (p *progress) save(ctx context.Context) {
	p.lock()
	defer p.unlock()
	p.at.save(ctx)
}

// wait returns when nothing is under way.
func (p *progress) wait() { p.all.Wait() }

// close saves what is done with.
func (p *progress) close(ctx context.Context) {
	p.wait()
	p.save(ctx)
}
