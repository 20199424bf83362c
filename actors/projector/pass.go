package projector

import (
	"context"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
)

// chunk is a piece of the store's history: all events of some kinds after one position, up to and including another. It never ends
// within a decision, so that a fold which has taken it in shows nothing half done.
type chunk struct {
	after   events.Position
	events  []events.Envelope
	through events.Position        // a bound, not always an event's position
	place   events.Position        // of the latest event looked at, no later than through: the store can be read from there
	decoded []projections.Recorded // of events, where somebody has decoded them; of the tail, which has them nowhere else
}

// decode reads the outlines of the events, which most folds read: a pass has its reader do that while folds take in the chunk before.
func (c *chunk) decode() {
	c.decoded = make([]projections.Recorded, len(c.events))
	for i := range c.events {
		c.decoded[i].Envelope = &c.events[i]
		_, _ = c.decoded[i].Outline() //nolint:errcheck // the fold that needs the event gets the error
	}
}

// pass reads history from a place on, chunk by chunk. While one is used, the next is read.
type pass struct {
	journal storage.Journal
	after   events.Position // an event's, or 0
	until   events.Position // 0: to the end as it is when it is reached
	filter  storage.Filter
}

// chunkRead is a chunk, or why there is none.
type chunkRead struct {
	chunk chunk
	err   error
}

// passLimit bounds a page of a pass.
var passLimit = storage.Limit{Events: storage.MaxPageEvents, Bytes: 4 << 20} //nolint:gochecknoglobals // never written to

// run hands chunks over until use wants no more, or history ends.
func (p *pass) run(ctx context.Context, use func(*chunk) (more bool, err error)) error {
	ctx, stop := context.WithCancel(ctx)
	chunks := make(chan chunkRead, 1)
	go p.read(ctx, chunks)
	defer func() {
		stop()
		for range chunks { // until the reader has ended
		}
	}()
	for next := range chunks {
		if next.err != nil {
			return next.err
		}
		if more, err := use(&next.chunk); err != nil || !more {
			return err
		}
	}
	return ctx.Err()
}

// read reads until the end, an error, or the end of the context.
func (p *pass) read(ctx context.Context, chunks chan<- chunkRead) {
	defer close(chunks)
	cut := cutter{read: p.after, place: p.after}
	after := p.after
	for end := false; !end; {
		page, err := p.journal.ReadAll(ctx, storage.After(cut.read), storage.Forward, p.filter, passLimit)
		read := chunkRead{err: err}
		if err == nil {
			page.End = page.End || p.until > 0 && page.Next.Position >= p.until
			end = page.End
			read.chunk = p.bounded(cut.chunk(after, &page), cut.place)
			read.chunk.decode()
			after, cut.place = read.chunk.through, read.chunk.place
		}
		if read.err == nil && !end && len(read.chunk.events) == 0 && read.chunk.through == read.chunk.after {
			continue // a decision that is larger than a page
		}
		select {
		case <-ctx.Done():
			return
		case chunks <- read:
		}
		if err != nil {
			return
		}
	}
}

// bounded leaves out what is after the pass's last position; place is where the chunk before ended.
func (p *pass) bounded(c chunk, place events.Position) chunk {
	if p.until == 0 || c.through < p.until {
		return c
	}
	n := len(c.events)
	for n > 0 && c.events[n-1].Position > p.until {
		n--
	}
	if c.place > p.until {
		c.place = place
		if n > 0 {
			c.place = c.events[n-1].Position
		}
	}
	c.events, c.through = c.events[:n], p.until
	return c
}

// cutter makes chunks of pages: what a page has of a decision that may go on in the next one waits for that.
type cutter struct {
	rest  []events.Envelope
	read  events.Position // up to which pages were read
	place events.Position // of the latest event in a chunk, or where the pass began
}

func (c *cutter) chunk(after events.Position, page *storage.Page) chunk {
	c.read = page.Next.Position
	all := page.Events
	if len(c.rest) > 0 {
		all = append(c.rest, all...)
		c.rest = nil
	}
	made := chunk{after: after, events: all, through: max(after, c.read), place: c.read}
	if page.End || len(all) == 0 {
		return made
	}
	if whole := wholeDecisions(len(all), func(i int) *events.Envelope { return &all[i] }); whole < len(all) {
		c.rest = append(c.rest, all[whole:]...)
		made.events, made.through, made.place = all[:whole], max(after, all[whole].Position-1), c.place
		if whole > 0 {
			made.place = all[whole-1].Position
		}
	}
	return made
}

// wholeDecisions counts the events before the last decision, which may have more: all but those at the end that one command recorded
// in one stream. What no command recorded stands alone.
func wholeDecisions(count int, at func(int) *events.Envelope) int {
	n := count - 1
	last := at(n)
	if last.Command == "" {
		return count
	}
	for n > 0 && at(n-1).Stream == last.Stream && at(n-1).Command == last.Command {
		n--
	}
	return n
}
