package projector

import (
	"context"
	"errors"
	"slices"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
)

// followTail follows everything that is appended, from where the tail is.
func (p *Projector) followTail(ctx context.Context) error {
	p.tail.mu.Lock()
	after := p.tail.at
	p.tail.mu.Unlock()
	subscription, err := p.config.Journal.Subscribe(ctx, storage.From{Position: after})
	if err != nil {
		return err
	}
	live := storage.Follow(subscription)
	return errors.Join(p.take(ctx, live, after), live.Close())
}

// take folds what a subscription hands over, as it is there, in chunks that hold whole decisions.
func (p *Projector) take(ctx context.Context, live storage.Live, after events.Position) error {
	feed := feeder{projector: p}
	linger := time.NewTimer(tailLinger)
	defer linger.Stop()
	var taken []projections.Recorded // and not folded
	for {
		batches, ends, err := live.Take(ctx)
		if err != nil {
			return err
		}
		if len(batches) == 0 {
			select {
			case <-live.More():
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		taken = record(taken, batches)
		whole := len(taken)
		if !ends {
			if whole, err = p.whole(ctx, taken); err != nil {
				return err
			}
		}
		if whole > 0 {
			after = p.fold(ctx, &feed, after, taken[:whole:whole])
			taken = slices.Clone(taken[whole:]) // folds may keep what they were given
		}
		if whole >= tailMuch {
			continue
		}
		linger.Reset(tailLinger)
		select {
		case <-linger.C: // meanwhile more is appended, and folded at once
		case <-p.wanted: // somebody waits for what is stored
		case <-ctx.Done():
		}
	}
}

// record adds events to be folded, where they are.
func record(taken []projections.Recorded, batches [][]events.Envelope) []projections.Recorded {
	n := 0
	for _, batch := range batches {
		n += len(batch)
	}
	taken = slices.Grow(taken, n)
	for _, batch := range batches {
		for i := range batch {
			taken = append(taken, projections.Recorded{Envelope: &batch[i]})
		}
	}
	return taken
}

// fold folds whole decisions, and returns the position up to which the tail is folded now.
func (p *Projector) fold(ctx context.Context, feed *feeder, after events.Position, all []projections.Recorded) events.Position {
	last := all[len(all)-1].Position
	p.extend(ctx, feed, &chunk{after: after, decoded: all, through: last, place: last})
	catalogue := p.catalogueStream()
	if slices.ContainsFunc(all, func(e projections.Recorded) bool { return e.Stream == catalogue }) {
		p.retry(ctx, "read the catalogue", p.reconcile)
		p.schedule()
	}
	return last
}

// whole counts the events that make up whole decisions. The last decision may be whole too: the store says so, by what
// follows in the stream.
func (p *Projector) whole(ctx context.Context, all []projections.Recorded) (int, error) {
	n := wholeDecisions(len(all), func(i int) *events.Envelope { return all[i].Envelope })
	if n == len(all) {
		return n, nil
	}
	last := &all[len(all)-1]
	page, err := p.config.Journal.Read(ctx, last.Stream, last.Revision+1, storage.Forward, storage.Limit{Events: 1})
	if errors.Is(err, storage.ErrDeleted) {
		return len(all), nil
	}
	if err != nil {
		return 0, err
	}
	if len(page.Events) > 0 && page.Events[0].Command == last.Command {
		return n, nil
	}
	return len(all), nil
}

// extend moves the tail on by a chunk.
func (p *Projector) extend(ctx context.Context, feed *feeder, c *chunk) {
	p.tail.mu.Lock()
	defer p.tail.mu.Unlock()
	feed.readings = p.tail.readings
	feed.take(ctx, c)
	p.tail.readings, p.tail.at = feed.readings, c.through
	p.tail.lanes = slices.DeleteFunc(p.tail.lanes, func(l *lane) bool { return !l.offer(c) })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heads.note(c.through, 0)
}
