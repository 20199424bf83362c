package projector

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// Question is a question to a projection.
type Question struct {
	Projection string
	Query      projections.Query
	At         events.Position // as of then; 0: as of now
	Min        events.Position // as of then at least: what a command's receipt says, for instance
	Own        events.Position // waited for as the events are that this host stored itself: for a moment. What the host stored that passes the question on
}

// Answer is what a projection answered.
type Answer struct {
	Projection string          `json:"projection"`
	Version    int             `json:"version"`
	Query      string          `json:"query"`
	Position   events.Position `json:"position,string"` // up to which history is in the answer
	Events     int64           `json:"events,string"`   // that were folded
	Answer     json.RawMessage `json:"answer"`          // as projections.QuerySpec.Answer of the query
	Stopped    *Stopped        `json:"stopped,omitempty"`
}

// BehindError says that a projection has not come as far as is asked of it.
type BehindError struct {
	Projection string
	Reason     string
}

// Error says which, and how far it is.
func (b *BehindError) Error() string { return fmt.Sprintf("projection %s %s", b.Projection, b.Reason) }

const (
	freshWait = time.Second      // for a projection that is catching up since a start, before what it has is taken
	minWait   = 10 * time.Second // for a position that is demanded
)

// Query asks a projection of the host's own copy. A question that makes no sense is a *sagas.RefusalError, and *BehindError says that the
// projection is being built, or has not come as far as is demanded in ten seconds. What is as of now in a host that rests, and what is
// as of an earlier position, is read from the nearest stored state; progress, if given, hears how many events were folded.
func (p *Projector) Query(ctx context.Context, question Question, progress func(folded int64)) (Answer, error) {
	if err := p.catalogueIfResting(ctx); err != nil {
		return Answer{}, err
	}
	asked, err := p.find(question.Projection)
	if err != nil {
		return Answer{}, err
	}
	if progress == nil {
		progress = func(int64) {}
	}
	r, err := p.serves(asked)
	if err != nil {
		return Answer{}, err
	}
	query, _, err := r.spec.Check(question.Query)
	if err != nil {
		return Answer{}, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
	}
	switch {
	case question.At > 0:
		if err = p.prepare(ctx, r); err == nil {
			r, err = p.restore(ctx, r, question.At, progress)
		}
	case p.config.Resting:
		r, err = p.refreshed(ctx, asked, question.Min, progress)
	default:
		r, err = p.await(ctx, asked, question.Min, question.Own)
	}
	if err != nil {
		return Answer{}, err
	}
	answer, err := r.ask(query)
	if errors.Is(err, projections.ErrMissing) {
		return answer, &sagas.RefusalError{Code: sagas.RefusedMissing, Detail: err.Error()}
	}
	return answer, err
}

// Agents lists the agents that a filter chooses, by name, as of now: history is read on to its end, whatever the projector has come to.
// A filter that makes no sense is a *sagas.RefusalError.
func (p *Projector) Agents(ctx context.Context, filter projections.AgentFilter) ([]projections.AgentSummary, error) {
	if err := p.catalogueIfResting(ctx); err != nil {
		return nil, err
	}
	roster, err := p.find(projections.RosterName)
	if err != nil {
		return nil, err
	}
	r, err := p.refresh(ctx, roster, func(int64) {})
	if err != nil {
		return nil, err
	}
	query, _, err := r.spec.Check(filter.Query())
	if err != nil {
		return nil, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
	}
	answer, _, err := r.answer(query)
	if list, ok := answer.(projections.AgentList); ok && err == nil {
		return list.Agents, nil
	}
	return nil, cmp.Or(err, fmt.Errorf("projection %s lists no agents", projections.RosterName))
}

// catalogueIfResting has a host that rests read its catalogue.
func (p *Projector) catalogueIfResting(ctx context.Context) error {
	if !p.config.Resting {
		return nil
	}
	return p.reconcile(ctx)
}

// await returns the reading that answers, once it is as far as is demanded; for the host's own events it waits a moment only.
func (p *Projector) await(ctx context.Context, of *projection, atLeast, own events.Position) (*reading, error) {
	began := time.Now()
	timer := time.NewTimer(freshWait)
	defer timer.Stop()
	own = max(own, p.Newest())
	for {
		moved := p.watch()
		r, err := p.serves(of)
		if err != nil {
			return nil, err
		}
		ready, err := r.ready(own, atLeast, time.Since(began))
		if errors.Is(err, errBuilding) {
			return nil, p.building(ctx, r)
		}
		if ready || err != nil {
			return r, err
		}
		select {
		case <-moved:
		case <-timer.C:
			timer.Reset(minWait - freshWait)
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for projection %s: %w", of.name, ctx.Err())
		case <-p.running.Done():
			return nil, storage.ErrClosed
		}
	}
}

// ready reports whether a reading can answer after somebody has waited for it so long.
func (r *reading) ready(own, atLeast events.Position, waited time.Duration) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	late := func(format string, args ...any) (bool, error) {
		return false, &BehindError{Projection: r.spec.Name, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case r.phase == stopped && r.at < atLeast:
		return late("cannot come as far as position %d: it %v", atLeast, r.stopped)
	case r.phase == stopped:
		return true, nil
	case r.phase == doubtful && waited >= freshWait:
		return late("is being restored as of position %d: it %v", r.stopped.Position-1, r.stopped)
	case r.phase <= building && waited >= freshWait:
		return false, errBuilding
	case r.phase != live && r.phase != behind:
		return false, nil
	case r.at < atLeast && waited >= minWait:
		return late("is at position %d and was not at %d within %s", r.at, atLeast, minWait)
	}
	return r.at >= atLeast && (r.phase == live && r.at >= own || waited >= freshWait), nil
}

var errBuilding = errors.New("it is being built")

// building says how far a projection is that was never at the end of history.
func (p *Projector) building(ctx context.Context, r *reading) error {
	head, err := p.head(ctx)
	if err != nil {
		return err
	}
	var status Status
	r.describe(&status, head, 0)
	reason := fmt.Sprintf("is being built: it is at position %d of %d", status.Position, status.Head)
	if status.Left > 0 {
		reason += fmt.Sprintf(", %s left", (time.Duration(status.Left) * time.Microsecond).Round(time.Second))
	}
	return &BehindError{Projection: r.spec.Name, Reason: reason}
}

// refreshed reads on to the end of history, and further until the position that is demanded.
func (p *Projector) refreshed(ctx context.Context, of *projection, atLeast events.Position, progress func(int64)) (*reading, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, minWait, errMinWait)
	if atLeast == 0 {
		ctx, cancel = context.WithCancel(ctx)
	}
	defer cancel()
	for {
		r, err := p.refresh(ctx, of, progress)
		if err != nil {
			return r, err
		}
		if r.position() >= atLeast {
			return r, nil
		}
		if stopped := r.stopReason(); stopped != nil {
			return r, &BehindError{r.spec.Name, fmt.Sprintf("cannot come as far as position %d: it %v", atLeast, stopped)}
		}
		if err := p.waitForEvent(ctx, r.readFrom()); err != nil {
			if context.Cause(ctx) == errMinWait { //nolint:errorlint // the very value that was set
				err = &BehindError{r.spec.Name, fmt.Sprintf("is at position %d, where history ends, and was not at %d within %s", r.position(), atLeast, minWait)}
			}
			return r, err
		}
	}
}

var errMinWait = errors.New("waited long enough")

// waitForEvent waits until something is stored after a position.
func (p *Projector) waitForEvent(ctx context.Context, after events.Position) error {
	subscription, err := p.config.Journal.Subscribe(ctx, storage.From{Position: after})
	if err != nil {
		return err
	}
	_, err = subscription.Next(ctx)
	return errors.Join(err, subscription.Close())
}

// refresh reads a projection on to the end of history, beside the tail or another query.
func (p *Projector) refresh(ctx context.Context, of *projection, progress func(int64)) (*reading, error) {
	r, err := p.serves(of)
	if err != nil {
		return nil, err
	}
	if err := p.prepare(ctx, r); err != nil {
		return r, err
	}
	if err := p.readOne(ctx, r, 0, progress); err != nil {
		return r, err
	}
	if p.config.Resting && r.worthStoring() && r.arrive() {
		p.settle(ctx, []*reading{r})
	}
	if r.now() != doubtful {
		return r, nil
	}
	if r, err = p.repair(ctx, of, r); err == nil && r.now().active() {
		return p.refresh(ctx, of, progress)
	}
	return r, err
}

// worthStoring reports whether a state is worth storing for the next one who asks.
func (r *reading) worthStoring() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.folded >= storage.SnapshotEvery
}

// readOne feeds one reading, and tells how many events it folded.
func (p *Projector) readOne(ctx context.Context, r *reading, until events.Position, progress func(int64)) error {
	feed := feeder{projector: p, readings: []*reading{r}}
	from := pass{journal: p.config.Journal, after: r.readFrom(), until: until, filter: chosen(r.spec)}
	if !r.now().active() || until > 0 && r.position() >= until {
		return nil
	}
	err := from.run(ctx, func(c *chunk) (bool, error) {
		feed.take(ctx, c)
		r.mu.Lock()
		folded := r.folded
		r.mu.Unlock()
		progress(folded)
		return len(feed.readings) > 0, nil
	})
	if err != nil {
		return fmt.Errorf("read events for projection %s: %w", r.spec.Name, err)
	}
	return nil
}

// restore returns a fold of its own as of a position, from the nearest stored state. What stops it stops it there too; a fold that is
// in doubt then is folded anew without the event that brought it there.
func (p *Projector) restore(ctx context.Context, like *reading, until events.Position, progress func(int64)) (*reading, error) {
	var before *Stopped
	for {
		r := newReading(like.spec, like.source, like.generation, like.skips)
		if until > 0 {
			if err := p.load(ctx, r, until); err != nil {
				return nil, err
			}
			if err := p.readOne(ctx, r, until, progress); err != nil {
				return nil, err
			}
		}
		if r.phase == doubtful {
			before, until = r.stopped, r.stopped.Position-1
			continue
		}
		if before != nil {
			r.stop(before, false)
		}
		return r, nil
	}
}

// repair puts a sound fold in place of one that is in doubt.
func (p *Projector) repair(ctx context.Context, of *projection, broken *reading) (*reading, error) {
	before := broken.stopReason()
	r, err := p.restore(ctx, broken, before.Position-1, func(int64) {})
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	if r.skips.all()[before.Position] { // since then
		r.loaded(true)
	} else {
		r.stop(before, false)
		r.arrive()
	}
	if of.serving == broken {
		of.serving = r
	}
	p.mu.Unlock()
	p.schedule()
	p.notify()
	return r, nil
}
