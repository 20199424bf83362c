package projector

import (
	"context"
	"errors"
	"slices"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
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
	return errors.Join(p.take(ctx, subscription, after), subscription.Close())
}

// take folds what a subscription delivers, in batches that hold whole decisions.
func (p *Projector) take(ctx context.Context, subscription storage.Subscription, after events.Position) error {
	feed := feeder{projector: p}
	company := time.NewTimer(tailCompany)
	defer company.Stop()
	var batch []events.Envelope
	for {
		event, err := subscription.Next(ctx)
		if err != nil {
			return err
		}
		batch = append(batch, event)
		company.Reset(tailCompany)
		select {
		case <-company.C: // meanwhile nothing is read, so that what comes fills a page
		case <-p.wanted: // somebody waits for what is stored
		case <-ctx.Done():
		}
		batch, err = gather(ctx, subscription, batch)
		if err != nil {
			return err
		}
		whole, err := p.whole(ctx, batch)
		if err != nil {
			return err
		}
		if whole == 0 {
			continue
		}
		c := chunk{after: after, events: batch[:whole], through: batch[whole-1].Position, place: batch[whole-1].Position}
		p.extend(ctx, &feed, &c)
		after = c.through
		if slices.ContainsFunc(c.events, func(e events.Envelope) bool { return e.Stream == p.catalogueStream() }) {
			p.again(ctx, "read the catalogue", p.reconcile)
			p.schedule()
		}
		batch = append(batch[:0:0], batch[whole:]...)
	}
}

// gather adds what is there now.
func gather(ctx context.Context, subscription storage.Subscription, batch []events.Envelope) ([]events.Envelope, error) {
	now, cancel := context.WithTimeout(ctx, tailQuiet)
	defer cancel()
	for len(batch) < storage.MaxPageEvents {
		event, err := subscription.Next(now)
		if err != nil && now.Err() != nil && ctx.Err() == nil {
			break // nothing more at the moment, or enough of it
		}
		if err != nil {
			return batch, err
		}
		batch = append(batch, event)
	}
	return batch, nil
}

// whole counts the events of a batch that make up whole decisions. The last decision may be whole too: the store says so, by what
// follows in the stream.
func (p *Projector) whole(ctx context.Context, batch []events.Envelope) (int, error) {
	n := wholeDecisions(batch)
	if n == len(batch) {
		return n, nil
	}
	last := &batch[len(batch)-1]
	page, err := p.config.Journal.Read(ctx, last.Stream, last.Revision+1, storage.Forward, storage.Limit{Events: 1})
	if errors.Is(err, storage.ErrDeleted) {
		return len(batch), nil
	}
	if err != nil {
		return 0, err
	}
	if len(page.Events) > 0 && page.Events[0].Command == last.Command {
		return n, nil
	}
	return len(batch), nil
}

// extend moves the tail on by a chunk.
func (p *Projector) extend(ctx context.Context, feed *feeder, c *chunk) {
	p.tail.mu.Lock()
	defer p.tail.mu.Unlock()
	feed.readings = p.tail.readings
	feed.take(ctx, c)
	p.tail.readings, p.tail.at = feed.readings, c.through
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heads.note(c.through, 0)
}
