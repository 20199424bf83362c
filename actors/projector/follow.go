package projector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Times of a projector.
const (
	tailLinger = 10 * time.Millisecond // between two folds, so that much is folded at once, unless a query waits for it
	tailMuch   = 1024                  // events after which it does not linger
	retryFirst = 50 * time.Millisecond
	retryMax   = 5 * time.Second
)

// follow keeps everything up to date until the host closes.
func (p *Projector) follow() {
	ctx := p.running
	p.retry(ctx, "begin", p.begin)
	p.retry(ctx, "follow the store", p.followTail)
}

// retry does something until it succeeds or the host closes.
func (p *Projector) retry(ctx context.Context, what string, do func(context.Context) error) {
	for wait := retryFirst; ; wait = min(2*wait, retryMax) {
		err := do(ctx)
		if err == nil || ctx.Err() != nil || errors.Is(err, storage.ErrClosed) {
			return
		}
		p.config.Log.Warn("projector: retrying", "what", what, "in", wait, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// begin finds the end of history, where the tail starts, and has everything read up to there.
func (p *Projector) begin(ctx context.Context) error {
	if err := p.reconcile(ctx); err != nil {
		return err
	}
	page, err := p.config.Journal.ReadAll(ctx, storage.End(), storage.Backward, storage.Filter{}, storage.Limit{Events: 1})
	if err != nil {
		return fmt.Errorf("find the end of history: %w", err)
	}
	p.tail.mu.Lock()
	if len(page.Events) > 0 {
		p.tail.at = page.Events[0].Position
	}
	p.tail.mu.Unlock()
	p.mu.Lock()
	p.begun = true
	p.mu.Unlock()
	p.schedule()
	return nil
}

// schedule starts feeding every reading that nothing feeds yet.
func (p *Projector) schedule() {
	var serving, green []*reading
	p.mu.Lock()
	if !p.begun {
		p.mu.Unlock()
		return
	}
	for _, each := range p.list {
		if !p.keeps(each.name) {
			continue
		}
		if each.serving.claim() {
			serving = append(serving, each.serving)
		}
		if each.green.claim() {
			green = append(green, each.green)
		}
	}
	p.mu.Unlock()
	serving, green = p.scheduleAlone(serving), p.scheduleAlone(green)
	if len(serving) > 0 {
		p.tasks.Go(func() { p.loadAndCatchUp(p.running, serving) })
	}
	if len(green) > 0 {
		p.tasks.Go(func() { p.build(p.running, green) })
	}
}

// claim reports whether the caller is to feed a reading: one caller at a time is.
func (r *reading) claim() bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.fed
	r.fed = true
	return !before && r.phase.active()
}

// loadAndCatchUp loads what is stored and reads on: what is near the end of history need not wait for what is far from it.
func (p *Projector) loadAndCatchUp(ctx context.Context, all []*reading) {
	p.tail.mu.Lock()
	end := p.tail.at
	p.tail.mu.Unlock()
	var near, far []*reading
	for _, r := range all {
		p.retry(ctx, "load the state of "+r.spec.Name, func(ctx context.Context) error { return p.prepare(ctx, r) })
		if r.position() >= end-end/8 {
			near = append(near, r)
		} else {
			far = append(far, r)
		}
	}
	if len(far) > 0 {
		p.tasks.Go(func() { p.catchUp(ctx, far) })
	}
	if len(near) > 0 {
		p.catchUp(ctx, near)
	}
}

// catchUp reads on in one pass for all of a group, and has them join the tail.
func (p *Projector) catchUp(ctx context.Context, group []*reading) {
	p.retry(ctx, "read history", func(ctx context.Context) error {
		if err := p.read(ctx, group, 0, func(events.Position) {}); err != nil {
			return err
		}
		return p.join(ctx, group)
	})
}

// read feeds readings up to a position, or the end of history (0).
func (p *Projector) read(ctx context.Context, group []*reading, until events.Position, progress func(at events.Position)) error {
	feed := feeder{projector: p, readings: slices.Clone(group)}
	from := pass{journal: p.config.Journal, after: 1<<64 - 1, until: until}
	for _, r := range group {
		from.after = min(from.after, r.readFrom())
		from.filter.Kinds = append(from.filter.Kinds, r.spec.Kinds...)
		from.filter.Streams = append(from.filter.Streams, r.spec.Strangers...)
	}
	slices.Sort(from.filter.Kinds)
	from.filter.Kinds = slices.Compact(from.filter.Kinds)
	return from.run(ctx, func(c *chunk) (bool, error) {
		feed.take(ctx, c)
		progress(c.through)
		return len(feed.readings) > 0, nil
	})
}

// readTo feeds those of a group that are before a position up to it.
func (p *Projector) readTo(ctx context.Context, group []*reading, until events.Position) error {
	late := slices.DeleteFunc(slices.Clone(group), func(r *reading) bool { return r.position() >= until || !r.now().active() })
	if len(late) == 0 {
		return nil
	}
	return p.read(ctx, late, until, func(events.Position) {})
}

// ended notes that a reading goes no further. What answers is repaired at once if it is in doubt.
func (p *Projector) ended(r *reading) {
	stopped, of := r.stopReason(), p.projectionOf(r)
	if stopped == nil {
		p.schedule()
		return
	}
	if of == nil {
		return
	}
	level := slog.LevelError
	if p.config.Resting {
		level = slog.LevelInfo // the answer says so
	}
	p.config.Log.Log(p.running, level, "projection stopped", "projection", of.name, "position", stopped.Position, "event", stopped.Event, "phase", r.now(), "problem", stopped.Problem)
	if r.now() == doubtful && !p.config.Resting {
		p.tasks.Go(func() {
			p.retry(p.running, "repair projection "+of.name, func(ctx context.Context) error {
				_, err := p.repair(ctx, of, r)
				return err
			})
		})
	}
}

// projectionOf returns the projection for which a reading answers; nil: none.
func (p *Projector) projectionOf(r *reading) *projection {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, each := range p.list {
		if each.serving == r {
			return each
		}
	}
	return nil
}

// join has readings that were read to the end go on with the tail. What came meanwhile is little, and read while the tail waits.
func (p *Projector) join(ctx context.Context, group []*reading) error {
	first, err := p.joinTail(ctx, group)
	if err == nil {
		p.settle(ctx, first)
	}
	return err
}

// joinTail returns the readings that were never at the end before.
func (p *Projector) joinTail(ctx context.Context, group []*reading) (first []*reading, err error) {
	p.tail.mu.Lock()
	defer p.tail.mu.Unlock()
	if err := p.readTo(ctx, group, p.tail.at); err != nil {
		return nil, err
	}
	for _, r := range group {
		if r.arrive() {
			first = append(first, r)
		}
		if r.now() == live {
			p.tail.readings = append(p.tail.readings, r)
		}
	}
	p.notify()
	return first, nil
}

// prepare loads the stored state of a reading, once.
func (p *Projector) prepare(ctx context.Context, r *reading) error {
	if r.now() != unread {
		return nil
	}
	r.folding.Lock()
	defer r.folding.Unlock()
	if r.now() != unread {
		return nil
	}
	noted := p.current(ctx, r.spec.Name)
	is := noted.of(r.spec.Version, r.source)
	if r.generation = noted.Generation; !is && noted.Version > 0 {
		r.generation++ // the states of another version stay until this one is built
	}
	if err := p.load(ctx, r, 1<<62); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loaded(is && r.at > 0)
	return nil
}
