package actors

import (
	"context"
	"errors"
	"slices"
	"time"

	"example.com/life/events"
)

// followTail follows everything that is appended, from where the tail is.
func (p *projector) followTail(ctx context.Context) error {
	p.tail.mu.Lock()
	after := p.tail.at
	p.tail.mu.Unlock()
	subscription, err := p.host.journal.Subscribe(ctx, From{Position: after})
	if err != nil {
		return err
	}
	incoming := incoming{events: make(chan events.Envelope, maxPageEvents)}
	ctx, stop := context.WithCancel(ctx)
	go incoming.carry(ctx, subscription)
	err = p.take(ctx, &incoming, after)
	stop()
	for range incoming.events { // until it has ended
	}
	return errors.Join(err, subscription.Close())
}

// incoming is what a subscription delivers.
type incoming struct {
	events chan events.Envelope
	err    error // set before events is closed
}

func (in *incoming) carry(ctx context.Context, subscription Subscription) {
	defer close(in.events)
	for {
		event, err := subscription.Next(ctx)
		if err != nil {
			in.err = err
			return
		}
		select {
		case in.events <- event:
		case <-ctx.Done():
			in.err = ctx.Err()
			return
		}
	}
}

// take folds what comes in, in batches that hold whole decisions.
func (p *projector) take(ctx context.Context, in *incoming, after events.Position) error {
	feed := feeder{projector: p}
	company := time.NewTimer(tailCompany)
	defer company.Stop()
	var batch []events.Envelope
	for {
		event, open := <-in.events
		if !open {
			return in.err
		}
		batch = append(batch, event)
		company.Reset(tailCompany)
		batch = in.gather(batch, company.C)
		whole, err := p.whole(ctx, batch, len(in.events) == 0)
		if err != nil {
			return err
		}
		if whole == 0 {
			continue
		}
		c := chunk{after: after, events: batch[:whole], through: batch[whole-1].Position}
		p.extend(ctx, &feed, &c)
		after = c.through
		if slices.ContainsFunc(c.events, func(e events.Envelope) bool { return e.Stream == catalogueStream() }) {
			p.again(ctx, "read the catalogue", p.reconcile)
			p.schedule()
		}
		batch = append(batch[:0:0], batch[whole:]...)
	}
}

// gather adds what comes in the next moment.
func (in *incoming) gather(batch []events.Envelope, until <-chan time.Time) []events.Envelope {
	for len(batch) < maxPageEvents {
		select {
		case event, open := <-in.events:
			if !open {
				return batch
			}
			batch = append(batch, event)
		case <-until:
			return batch
		}
	}
	return batch
}

// whole counts the events of a batch that make up whole decisions. When nothing more is there at the moment, the last decision may
// be whole too: the store says so, by what follows in the stream.
func (p *projector) whole(ctx context.Context, batch []events.Envelope, all bool) (int, error) {
	n := wholeDecisions(batch)
	if n == len(batch) || !all {
		return n, nil
	}
	last := &batch[len(batch)-1]
	page, err := p.host.journal.Read(ctx, last.Stream, last.Revision+1, Forward, Limit{Events: 1})
	if errors.Is(err, ErrDeleted) {
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
func (p *projector) extend(ctx context.Context, feed *feeder, c *chunk) {
	p.tail.mu.Lock()
	defer p.tail.mu.Unlock()
	feed.readings = p.tail.readings
	feed.take(ctx, c)
	p.tail.readings, p.tail.at = feed.readings, c.through
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heads.note(c.through, 0)
}
