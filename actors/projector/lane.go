package projector

import (
	"context"
	"slices"
	"sync"

	"example.com/life/events"
	"example.com/life/projections"
)

// A declared projection is folded by expressions of anyone's, which may take long for each event. So each reads history in a pass of its
// own, and follows the store in a lane of its own: the tail puts what is appended into it, and never waits. One that is too slow for what
// is appended finds its lane closed, and reads the store again from where it is.

// What a lane holds of what was not folded yet.
const (
	laneEvents = 4096
	laneBytes  = 4 << 20
)

// lane is what a reading that reads alone has yet to fold.
type lane struct {
	spec *projections.Spec
	from events.Position // where the tail was when it was opened: it holds what came after that
	more chan struct{}   // holds a token when something was put in, or it was closed

	mu     sync.Mutex
	chunks []chunk
	events int
	bytes  int
	closed bool
}

// alone reports whether a reading reads by itself.
func (r *reading) alone() bool { return r.source != "" }

// open opens a lane for a reading.
func (t *tail) open(r *reading) *lane {
	t.mu.Lock()
	defer t.mu.Unlock()
	opened := &lane{spec: r.spec, from: t.at, more: make(chan struct{}, 1)}
	t.lanes = append(t.lanes, opened)
	return opened
}

// offer puts what the reading needs of a chunk in, and reports whether the lane goes on.
func (l *lane) offer(c *chunk) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	mine := chunk{after: c.after, through: c.through, place: c.place, decoded: []projections.Recorded{}}
	for i := range c.decoded {
		e := c.decoded[i].Envelope
		if l.spec.Wants(e) {
			mine.decoded = append(mine.decoded, projections.Recorded{Envelope: e}) // decoded again: the tail's is being read
			l.bytes += len(e.Data)
		}
	}
	l.events += len(mine.decoded)
	switch n := len(l.chunks); {
	case l.closed:
	case l.events > laneEvents || l.bytes > laneBytes:
		l.chunks, l.closed = nil, true
	case n > 0 && len(mine.decoded) == 0:
		l.chunks[n-1].through, l.chunks[n-1].place = mine.through, mine.place
	default:
		l.chunks = append(l.chunks, mine)
	}
	select {
	case l.more <- struct{}{}:
	default:
	}
	return !l.closed
}

// close ends a lane whose reading has ended; the tail lets go of it with the next chunk.
func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.chunks, l.closed = nil, true
}

// take returns what was put in since; closed says that there was too much of it.
func (l *lane) take() (taken []chunk, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken, l.chunks, l.events, l.bytes = l.chunks, nil, 0, 0
	return taken, l.closed
}

// scheduleAlone starts feeding those readings that read alone, and returns the others.
func (p *Projector) scheduleAlone(all []*reading) []*reading {
	return slices.DeleteFunc(all, func(r *reading) bool {
		if r.alone() {
			p.tasks.Go(func() { p.feedAlone(p.running, r) })
		}
		return r.alone()
	})
}

// feedAlone reads history to its end, and then what is appended, for one reading: until it stops, is dropped, or the host closes. If it was
// built to take the place of another, it does so at the end of history.
func (p *Projector) feedAlone(ctx context.Context, r *reading) {
	var opened *lane
	p.retry(ctx, "read history for projection "+r.spec.Name, func(ctx context.Context) error {
		if err := p.prepareAlone(ctx, r); err != nil {
			return err
		}
		opened = p.tail.open(r)
		if opened.from > 0 && r.position() >= opened.from {
			return nil
		}
		err := p.read(ctx, []*reading{r}, opened.from, func(events.Position) {})
		if err != nil {
			opened.close()
		}
		return err
	})
	if ctx.Err() != nil || opened == nil {
		return
	}
	defer opened.close()
	feed := &feeder{projector: p, readings: []*reading{r}}
	closed := p.drain(ctx, feed, opened) // so that a green is not behind what it takes the place of
	if of, old := p.greenOf(r); of != nil {
		p.takeOverAlone(of, old, r)
		p.settle(ctx, []*reading{r})
	} else if r.arrive() {
		p.settle(ctx, []*reading{r})
	}
	p.notify()
	for !closed && len(feed.readings) > 0 && r.now().active() {
		select {
		case <-opened.more:
			closed = p.drain(ctx, feed, opened)
		case <-ctx.Done():
			return
		}
	}
	if closed {
		r.leftBehind()
		p.schedule()
	}
}

// prepareAlone loads the stored state of a reading, once.
func (p *Projector) prepareAlone(ctx context.Context, r *reading) error {
	if of, _ := p.greenOf(r); of != nil {
		return p.prepareGreen(ctx, r)
	}
	return p.prepare(ctx, r)
}

// takeOverAlone puts a green in the place of what answers.
func (p *Projector) takeOverAlone(of *projection, old, green *reading) {
	p.tail.mu.Lock()
	defer p.tail.mu.Unlock()
	p.switchOver(of, old, green)
}

// drain folds what was put into a lane, and reports whether the lane is closed.
func (p *Projector) drain(ctx context.Context, feed *feeder, l *lane) (closed bool) {
	chunks, closed := l.take()
	for i := range chunks {
		if len(feed.readings) == 0 || ctx.Err() != nil {
			return false
		}
		feed.take(ctx, &chunks[i])
	}
	return closed
}

// leftBehind notes that the reading was too slow for what is appended.
func (r *reading) leftBehind() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fellBehind()
}
