package projector

import (
	"context"
	"fmt"
	"slices"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// A fold is built beside the one that answers (blue and green): from the beginning of history, or the nearest stored state of its own
// generation, to its end. Then it takes over, at one position, between two chunks. If the host dies before, the next start knows nothing
// of it: the note of the current generation names the old one.

// build reads greens to the end of history in one pass, and has them take over.
func (p *Projector) build(ctx context.Context, greens []*reading) {
	p.retry(ctx, "build projections", func(ctx context.Context) error { return p.buildOnce(ctx, greens, func(events.Position) {}) })
	p.settle(ctx, greens)
}

func (p *Projector) buildOnce(ctx context.Context, greens []*reading, progress func(at events.Position)) error {
	for _, r := range greens {
		if err := p.prepareGreen(ctx, r); err != nil {
			return err
		}
	}
	if err := p.read(ctx, greens, 0, progress); err != nil {
		return err
	}
	return p.takeOver(ctx, greens)
}

// prepareGreen loads what was built of a reading before, once.
func (p *Projector) prepareGreen(ctx context.Context, r *reading) error {
	r.folding.Lock()
	defer r.folding.Unlock()
	if r.now() != unread {
		return nil
	}
	if err := p.load(ctx, r, 1<<62); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loaded(false)
	return nil
}

// takeOver puts greens in the place of what answers. The tail waits meanwhile, so that they continue where it is.
func (p *Projector) takeOver(ctx context.Context, greens []*reading) error {
	p.tail.mu.Lock()
	defer p.tail.mu.Unlock()
	if err := p.readTo(ctx, greens, p.tail.at); err != nil {
		return err
	}
	for _, green := range greens {
		if of, old := p.greenOf(green); of != nil {
			p.switchOver(of, old, green)
		}
	}
	p.notify()
	return nil
}

// greenOf returns the projection for which a reading is built, and what answers until then; nil when it was dropped.
func (p *Projector) greenOf(green *reading) (of *projection, old *reading) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, each := range p.list {
		if each.green == green {
			return each, each.serving
		}
	}
	return nil, nil
}

// switchOver has one green answer from now on, unless it came less far than what answers.
func (p *Projector) switchOver(of *projection, old, green *reading) {
	stopped := green.stopReason()
	if stopped != nil && green.position() < old.position() {
		p.config.Log.Error("a projection that was built anew did not come as far as the one there is, which stays", "projection", of.name, "problem", stopped)
		green.drop()
		p.mu.Lock()
		of.green, of.failed, of.refused = nil, stopped.String(), stopped
		p.mu.Unlock()
		return
	}
	green.arrive()
	p.mu.Lock()
	of.serving, of.green, of.failed, of.refused = green, nil, "", nil
	p.mu.Unlock()
	old.drop()
	p.tail.readings = slices.DeleteFunc(p.tail.readings, func(r *reading) bool { return r == old })
	if stopped == nil && !p.config.Resting && !green.alone() {
		p.tail.readings = append(p.tail.readings, green)
	}
	if stopped != nil {
		p.ended(green)
	}
}

// settle stores the states of readings that have arrived, and then notes that theirs is the current generation. If we die before, the
// next start goes on with the old one.
func (p *Projector) settle(ctx context.Context, group []*reading) {
	for _, r := range group {
		if p.projectionOf(r) != nil {
			p.save(ctx, r, 0)
			p.noteCurrent(ctx, r)
		}
	}
}

// Rebuilt is what became of a rebuild.
type Rebuilt struct {
	Projections []RebuiltProjection `json:"projections"`
	Events      int64               `json:"events,string"`  // that were read
	Took        events.Micros       `json:"took_us,string"` // until the new folds answered
}

// RebuiltProjection is one of them, as it was when it took over.
type RebuiltProjection struct {
	Name     string          `json:"name"`
	Version  int             `json:"version"`
	Position events.Position `json:"position,string"`
	Events   int64           `json:"events,string"` // that were folded
	Stopped  *Stopped        `json:"stopped,omitempty"`
}

// Rebuild folds all of history anew with the projections of these names, or with all when there are none, in one pass, and puts the new
// folds in the place of the old ones, which answer until then. progress, if given, hears at which position it is, of which. When ctx
// ends in a host that does not rest, the rebuild goes on.
func (p *Projector) Rebuild(ctx context.Context, names []string, progress func(at, head events.Position)) (Rebuilt, error) {
	if progress == nil {
		progress = func(_, _ events.Position) {}
	}
	if err := p.catalogueIfResting(ctx); err != nil {
		return Rebuilt{}, err
	}
	chosen, err := p.choose(names)
	if err != nil {
		return Rebuilt{}, err
	}
	head, err := p.head(ctx)
	if err != nil {
		return Rebuilt{}, err
	}
	began := time.Now()
	greens, err := p.greens(ctx, chosen)
	if err != nil {
		return Rebuilt{}, err
	}
	if p.config.Resting {
		err = p.buildOnce(ctx, greens, func(at events.Position) { progress(at, head) })
	} else {
		p.schedule()
		err = p.waitBuilt(ctx, greens, func(at events.Position) { progress(at, head) })
	}
	if err != nil {
		return Rebuilt{}, err
	}
	took := time.Since(began)
	if p.config.Resting {
		p.settle(ctx, greens)
	}
	return p.rebuilt(chosen, greens, took)
}

// rebuilt reports on a rebuild that has ended.
func (p *Projector) rebuilt(chosen []*projection, greens []*reading, took time.Duration) (Rebuilt, error) {
	report := Rebuilt{Took: events.Micros(took.Microseconds())}
	for i, each := range chosen {
		p.mu.Lock()
		serving, failed := each.serving, each.failed
		p.mu.Unlock()
		if serving != greens[i] {
			return report, &sagas.RefusalError{Code: sagas.RefusedState, Detail: fmt.Sprintf("projection %s was not rebuilt, the old one answers: %s", each.name, failed)}
		}
		green := greens[i]
		green.mu.Lock()
		report.Projections = append(report.Projections, RebuiltProjection{each.name, green.spec.Version, green.at, green.folded, green.stopped})
		report.Events = max(report.Events, green.read)
		green.mu.Unlock()
	}
	return report, nil
}

// choose returns the projections of these names, or all that can be built.
func (p *Projector) choose(names []string) ([]*projection, error) {
	var chosen []*projection
	for _, name := range names {
		each, err := p.find(name)
		if err != nil {
			return nil, err
		}
		if each.serving == nil {
			return nil, &sagas.RefusalError{Code: sagas.RefusedState, Detail: fmt.Sprintf("projection %s cannot be built: %s", name, each.broken)}
		}
		chosen = append(chosen, each)
	}
	if len(names) > 0 {
		return chosen, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.list), func(each *projection) bool { return each.serving == nil }), nil
}

// greens makes a new reading for each, of the generation after the current one.
func (p *Projector) greens(ctx context.Context, chosen []*projection) ([]*reading, error) {
	greens := make([]*reading, len(chosen))
	for i, each := range chosen {
		noted := p.current(ctx, each.name)
		p.mu.Lock()
		old, busy := each.serving, each.green != nil
		p.mu.Unlock()
		if busy {
			return nil, &sagas.RefusalError{Code: sagas.RefusedState, Detail: fmt.Sprintf("projection %s is being built already: life projections show %s", each.name, each.name)}
		}
		greens[i] = newReading(old.spec, old.source, noted.Generation+1, &each.skips)
		greens[i].loaded(false) // from the very beginning, whatever a rebuild that was killed has left
		p.forget(ctx, greens[i], 0)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, each := range chosen {
		each.green = greens[i]
	}
	return greens, nil
}

// waitBuilt waits until greens have taken over, or will not.
func (p *Projector) waitBuilt(ctx context.Context, greens []*reading, progress func(at events.Position)) error {
	for {
		moved := p.watch()
		first, open := events.Position(1<<63), false
		p.mu.Lock()
		for _, each := range p.list {
			if each.green != nil && slices.Contains(greens, each.green) {
				first, open = min(first, each.green.position()), true
			}
		}
		p.mu.Unlock()
		if !open {
			return nil
		}
		progress(first)
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("wait for the rebuild, which goes on: %w", ctx.Err())
		case <-p.running.Done():
			return storage.ErrClosed
		}
	}
}

// head is the position of the latest event.
func (p *Projector) head(ctx context.Context) (events.Position, error) {
	page, err := p.config.Journal.ReadAll(ctx, storage.End(), storage.Backward, storage.Filter{}, storage.Limit{Events: 1})
	if err != nil || len(page.Events) == 0 {
		return 0, err
	}
	return page.Events[0].Position, nil
}
