package projector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// The catalogue of a host is what its build has, and what was declared at run time: that stands in the stream of sagas.Catalogue, which
// every host follows, so each has its own copy of every projection.

// catalogueStream is where the host's declared projections are.
func (p *Projector) catalogueStream() events.Stream { return events.ProjectionsStream(p.config.Tenant) }

// Reconcile does what a command to the catalogue asked for, on this host at once.
func (p *Projector) Reconcile(ctx context.Context) error {
	if err := p.reconcile(ctx); err != nil {
		return fmt.Errorf("the command is stored, and takes effect when the catalogue can be read: %w", err)
	}
	p.schedule()
	return nil
}

// reconcile makes the list what the catalogue's stream says. It is done at the start, when something was appended there, and by a host
// that rests whenever it is asked.
func (p *Projector) reconcile(ctx context.Context) error {
	p.reconciling.Lock()
	defer p.reconciling.Unlock()
	catalogue, err := p.readCatalogue(ctx)
	if err != nil || catalogue.Revision == p.catalogue.Revision {
		return err
	}
	for i := range catalogue.Declared {
		if err := p.declared(ctx, &catalogue.Declared[i]); err != nil {
			return err
		}
	}
	skipped, err := p.locate(ctx, catalogue.Skipped)
	if err != nil {
		return err
	}
	p.remove(ctx, &catalogue)
	p.skip(ctx, skipped)
	p.catalogue = catalogue
	return nil
}

// readCatalogue folds what is new in the catalogue's stream. One that holds what cannot be read stays as it is.
func (p *Projector) readCatalogue(ctx context.Context) (sagas.Catalogue, error) {
	catalogue, stream := p.catalogue, p.catalogueStream()
	for {
		page, err := p.config.Journal.Read(ctx, stream, catalogue.Revision+1, storage.Forward, storage.Limit{Events: storage.DefaultPageEvents})
		if err != nil {
			return catalogue, fmt.Errorf("read %s from revision %d: %w", stream, catalogue.Revision+1, err)
		}
		for i := range page.Events {
			fact, err := sagas.FactOf(&page.Events[i])
			if want := catalogue.Revision + 1; err == nil && fact.Revision != want {
				err = fmt.Errorf("revisions %d to %d of %s are gone", want, fact.Revision-1, stream)
			}
			if err != nil {
				p.config.Log.Error("the catalogue of declared projections cannot be read: it stays as it is", "error", err)
				return p.catalogue, nil
			}
			catalogue = catalogue.Apply(fact)
		}
		if page.End || len(page.Events) == 0 {
			return catalogue, nil
		}
	}
}

// declared puts a declared projection into the list, or another text in place of the one that it has.
func (p *Projector) declared(ctx context.Context, d *sagas.DeclaredFold) error {
	p.mu.Lock()
	at := slices.IndexFunc(p.list, func(each *projection) bool { return each.name == d.Name && each.declared != nil })
	var there *projection
	if at >= 0 {
		there = p.list[at]
	}
	taken := slices.ContainsFunc(p.list, func(each *projection) bool { return each.name == d.Name && each.declared == nil })
	p.mu.Unlock()
	if there != nil && there.declared.Version == d.Version && sourceOf(there.declared.Source) == sourceOf(d.Source) {
		return nil
	}
	spec, problem, err := p.declare(ctx, d)
	if err != nil {
		return err
	}
	if taken {
		problem = "this build has a projection of that name: remove the declared one, and add it under another"
	}
	if there == nil {
		there = &projection{name: d.Name}
		defer p.add(there)
	}
	p.mu.Lock()
	there.declared, there.broken = d, problem
	p.mu.Unlock()
	if problem == "" {
		return p.replace(ctx, there, spec)
	}
	p.config.Log.Error("a declared projection cannot be used", "projection", d.Name, "problem", problem)
	return nil
}

// declare reads the text of a declared projection; problem says why it cannot be used.
func (p *Projector) declare(ctx context.Context, d *sagas.DeclaredFold) (spec *projections.Spec, problem string, err error) {
	if p.config.Declare == nil {
		return nil, "this host takes no declared projections", nil
	}
	text, err := p.text(ctx, d.Source)
	if err != nil {
		return nil, "", fmt.Errorf("read the text of projection %s: %w", d.Name, err)
	}
	made, err := p.config.Declare(text)
	if err == nil && made.Name != d.Name {
		err = fmt.Errorf("its text is of a projection %q", made.Name)
	}
	if err != nil {
		return nil, err.Error(), nil //nolint:nilerr // it is what is shown
	}
	return &made, "", nil
}

// text returns all of a text.
func (p *Projector) text(ctx context.Context, t events.Text) ([]byte, error) {
	if t.Blob == nil {
		return []byte(t.Inline), nil
	}
	content, err := p.config.Blobs.Open(ctx, *t.Blob)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(content)
	return text, errors.Join(err, content.Close())
}

// sourceOf identifies a text by its bytes, wherever they are kept.
func sourceOf(t events.Text) string {
	if t.Blob != nil {
		return t.Blob.Hash[:16]
	}
	return events.HashBytes([]byte(t.Inline))[:16]
}

// replace has a projection fold by another spec. What answers goes on until the new one is built; so does, after a start, what was built
// of the text before, if nothing is of the present one.
func (p *Projector) replace(ctx context.Context, of *projection, spec *projections.Spec) error {
	source, noted := sourceOf(of.declared.Source), p.current(ctx, of.name)
	var old *projections.Spec
	if before := of.declared.Before; before != nil && of.serving == nil && noted.of(before.Version, sourceOf(before.Source)) {
		spec, problem, err := p.declare(ctx, before)
		if err != nil {
			return err
		}
		if problem == "" {
			old = spec
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if of.green != nil {
		of.green.drop()
		of.green = nil
	}
	switch {
	case of.serving != nil && p.follows(of.name):
		of.green = newReading(spec, source, noted.Generation+1, &of.skips)
	case old != nil && p.follows(of.name):
		of.serving = newReading(old, noted.Source, 0, &of.skips)
		of.green = newReading(spec, source, noted.Generation+1, &of.skips)
	default:
		of.serving = newReading(spec, source, 0, &of.skips)
	}
	return nil
}

// add puts a projection on the list.
func (p *Projector) add(made *projection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, made)
}

// remove takes off the list what is declared no longer.
func (p *Projector) remove(ctx context.Context, catalogue *sagas.Catalogue) {
	p.mu.Lock()
	var gone []*reading
	p.list = slices.DeleteFunc(p.list, func(each *projection) bool {
		removed := each.declared != nil && catalogue.Declares(each.name) == nil
		if removed {
			gone = append(gone, each.serving, each.green)
			each.serving, each.green, each.broken = nil, nil, "it was removed"
		}
		return removed
	})
	p.mu.Unlock()
	for _, r := range gone {
		if r != nil {
			r.drop()
			p.forget(ctx, r, 0)
		}
	}
	p.notify()
}

// locate says where the events are that projections leave out. It is their names that count: positions change when a store is copied, or
// reached in another way.
func (p *Projector) locate(ctx context.Context, recorded []sagas.SkippedProjection) ([]sagas.SkippedProjection, error) {
	var located []sagas.SkippedProjection
	for _, s := range recorded {
		stream, revision, err := s.Event.Split()
		var page storage.Page
		if err == nil {
			page, err = p.config.Journal.Read(ctx, stream, revision, storage.Forward, storage.Limit{Events: 1})
		}
		if err != nil && !errors.Is(err, storage.ErrDeleted) {
			return nil, fmt.Errorf("find event %s, which projection %s skips: %w", s.Event, s.Name, err)
		}
		if len(page.Events) == 0 || page.Events[0].Revision != revision {
			p.config.Log.Warn("an event that a projection skips is not in the store", "projection", s.Name, "event", s.Event)
			continue
		}
		s.Position = page.Events[0].Position
		located = append(located, s)
	}
	return located, nil
}

// skip tells every projection which events it leaves out.
func (p *Projector) skip(ctx context.Context, located []sagas.SkippedProjection) {
	p.mu.Lock()
	all := slices.Clone(p.list)
	p.mu.Unlock()
	for _, each := range all {
		var its []sagas.SkippedProjection
		skipped, known, first := map[events.Position]bool{}, each.skips.all(), events.Position(0)
		for _, s := range located {
			if s.Name != each.name {
				continue
			}
			its = append(its, s)
			if skipped[s.Position] = true; !known[s.Position] && (first == 0 || s.Position < first) {
				first = s.Position
			}
		}
		if first == 0 && len(skipped) == len(known) {
			p.mu.Lock()
			each.skipped = its
			p.mu.Unlock()
			continue
		}
		readings := p.lockFolds(each)
		each.skipped = its
		p.applySkips(ctx, each, readings, skipped, first)
		p.mu.Unlock()
		for _, r := range readings {
			r.folding.Unlock()
		}
	}
}

// lockFolds waits until what a projection's readings are folding is folded, and locks the list too: nobody but the projection's own
// readings is waited for while it is locked.
func (p *Projector) lockFolds(of *projection) []*reading {
	for {
		p.mu.Lock()
		readings := of.readings()
		p.mu.Unlock()
		for _, r := range readings {
			r.folding.Lock()
		}
		p.mu.Lock()
		if slices.Equal(readings, of.readings()) {
			return readings
		}
		p.mu.Unlock()
		for _, r := range readings {
			r.folding.Unlock()
		}
	}
}

// readings are those that there are of a projection.
func (each *projection) readings() []*reading {
	return slices.DeleteFunc([]*reading{each.serving, each.green}, func(r *reading) bool { return r == nil })
}

// applySkips has a projection leave out events from now on; first is the first that is new. A reading that stopped there goes on. One that
// has folded it, as another build could, is begun anew from before it.
func (p *Projector) applySkips(ctx context.Context, of *projection, readings []*reading, skipped map[events.Position]bool, first events.Position) {
	of.skips.at.Store(&skipped)
	var past []*reading
	for _, r := range readings {
		r.mu.Lock()
		switch {
		case r.phase == stopped && r.stopped.Position == first:
			r.resume()
		case r.at >= first:
			r.frozen = true // it is another state than what is stored as of its position from now on
			past = append(past, r)
		}
		r.mu.Unlock()
	}
	for _, r := range past {
		p.forget(ctx, r, first)
		fresh := newReading(r.spec, r.source, r.generation, &of.skips)
		if r == of.serving && p.follows(of.name) {
			if of.green == nil {
				of.green = fresh
			}
			continue
		}
		r.drop()
		if r == of.serving {
			of.serving = fresh
		} else {
			of.green = fresh
		}
	}
}

// forget drops stored states from a position on.
func (p *Projector) forget(ctx context.Context, r *reading, from events.Position) {
	if p.config.Snapshots == nil {
		return
	}
	err := p.config.Snapshots.Drop(ctx, statesOf(r.spec.Name, r.generation), projectedStream, events.Revision(from))
	if err != nil && !errors.Is(err, storage.ErrClosed) && ctx.Err() == nil {
		p.config.Log.Warn("drop the stored states of a projection", "projection", r.spec.Name, "error", err)
	}
}

// CompleteAdd checks a declared projection and fills in what its text says.
func (p *Projector) CompleteAdd(c sagas.AddProjection) (sagas.AddProjection, error) {
	refused := func(code sagas.RefusalCode, format string, args ...any) (sagas.AddProjection, error) {
		return c, &sagas.RefusalError{Code: code, Detail: fmt.Sprintf(format, args...)}
	}
	switch {
	case p.config.Declare == nil:
		return refused(sagas.RefusedState, "this host takes no declared projections")
	case c.Source.Blob != nil:
		return refused(sagas.RefusedInvalid, "a projection is added by its text, not by a blob")
	}
	spec, err := p.config.Declare([]byte(c.Source.Inline))
	if err != nil {
		return refused(sagas.RefusedInvalid, "%v", err)
	}
	if c.Name != "" && c.Name != spec.Name {
		return refused(sagas.RefusedInvalid, "the text is of projection %q, not of %q", spec.Name, c.Name)
	}
	if there, err := p.find(spec.Name); err == nil && there.declared == nil {
		return refused(sagas.RefusedExists, "this build has a projection %s: choose another name", spec.Name)
	}
	c.Name, c.Version = spec.Name, spec.Version
	return c, nil
}

// CompleteSkip fills in which event a position is. Only the one at which the projection stopped is taken: every other one it can fold, or has not come to.
func (p *Projector) CompleteSkip(ctx context.Context, c sagas.SkipEvent) (sagas.SkipEvent, error) {
	if err := p.catalogueIfResting(ctx); err != nil {
		return c, err
	}
	of, err := p.find(c.Name)
	if err != nil {
		return c, err
	}
	if c.Position == 0 {
		return c, nil // the catalogue refuses it
	}
	page, err := p.config.Journal.ReadAll(ctx, storage.Before(c.Position), storage.Forward, storage.Filter{}, storage.Limit{Events: 1})
	if err != nil && !errors.Is(err, storage.ErrPlace) {
		return c, fmt.Errorf("read the event at position %d: %w", c.Position, err)
	}
	if len(page.Events) == 0 || page.Events[0].Position != c.Position {
		return c, &sagas.RefusalError{Code: sagas.RefusedMissing, Detail: fmt.Sprintf("there is no event at position %d", c.Position)}
	}
	c.Event, c.Of = page.Events[0].Ref(), page.Events[0].Kind
	return c, p.checkSkip(ctx, of, &c)
}

// checkSkip refuses to skip an event at which the projection has not stopped. One that is skipped already is for the catalogue to judge: it knows
// a command that is sent again.
func (p *Projector) checkSkip(ctx context.Context, of *projection, c *sagas.SkipEvent) error {
	p.mu.Lock()
	known := slices.ContainsFunc(of.skipped, func(s sagas.SkippedProjection) bool { return s.Event == c.Event })
	serving, green, refused := of.serving, of.green, of.refused
	p.mu.Unlock()
	if known || c.Reason == "" || c.By == "" {
		return nil
	}
	if serving != nil && p.config.Resting {
		var err error
		if serving, err = p.refresh(ctx, of, func(int64) {}); err != nil {
			return err
		}
	}
	at, stops := "it has not stopped", []*Stopped{refused}
	for _, r := range []*reading{green, serving} {
		if r != nil {
			stops = append(stops, r.stopReason())
		}
	}
	for _, stopped := range stops {
		switch {
		case stopped == nil:
		case stopped.Position == c.Position:
			return nil
		default:
			at = fmt.Sprintf("it stopped at position %d", stopped.Position)
		}
	}
	return &sagas.RefusalError{Code: sagas.RefusedState, Detail: fmt.Sprintf(
		"projection %s skips only the event at which it stopped, not the one at position %d: %s", c.Name, c.Position, at)}
}
