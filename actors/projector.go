package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// projector keeps the projections of a host's catalogue up to date. Each starts from its stored state; those that are behind read on
// in one pass together (catchUp), and join the tail, which follows a subscription to everything.
//
// What is true if the host dies: the states that are stored are states of some positions, and the next start reads on from them. So
// nothing is done when it comes back that is not done at every start.
//
// A host that rests follows nothing: it loads a state and reads on when it is asked.
type projector struct {
	host *Host

	reconciling sync.Mutex
	reconciled  events.Revision // of the catalogue's stream

	mu    sync.Mutex // of the list and its readings; not of what is in a reading
	list  []*projection
	moved chan struct{} // closed when a reading has moved; nil while nobody waits

	wanted chan struct{} // has a token when somebody began to wait

	heads trend // of the end of history
	begun bool  // the tail is where history ended at the start; never in a host that rests

	tail tail
}

// tail is what follows the subscription. Its lock is held for each batch, and while readings join.
type tail struct {
	mu       sync.Mutex
	at       events.Position
	readings []*reading
}

// projection is one of the catalogue.
type projection struct {
	name     string
	skips    skips
	declared *sagas.DeclaredFold // nil: it is in the build
	broken   string              // why its text cannot be used
	serving  *reading            // what answers; nil: nothing, it is broken
	green    *reading            // what is built beside it, to take its place
	failed   string              // why the latest one did not
	skipped  []sagas.SkippedProjection
}

// Times of a projector.
const (
	tailCompany    = 10 * time.Millisecond // how long an event waits for others, to be read and folded with them; not while somebody waits for it
	tailQuiet      = 2 * time.Millisecond  // for which more is taken at once
	readAgainFirst = 50 * time.Millisecond
	readAgainMost  = 5 * time.Second
)

func newProjector(h *Host, specs []projections.Spec) (*projector, error) {
	p := &projector{host: h, reconciled: events.NoRevision, wanted: make(chan struct{}, 1)}
	for i := range specs {
		spec := &specs[i]
		if err := spec.Validate(); err != nil {
			return nil, fmt.Errorf("configure host: %w", err)
		}
		if slices.ContainsFunc(p.list, func(other *projection) bool { return other.name == spec.Name }) {
			return nil, fmt.Errorf("configure host: two projections are named %s", spec.Name)
		}
		made := &projection{name: spec.Name}
		made.serving = newReading(spec, "", 0, &made.skips)
		p.list = append(p.list, made)
	}
	return p, nil
}

// find returns a projection; the error says what there is.
func (p *projector) find(name string) (*projection, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := make([]string, len(p.list))
	for i, each := range p.list {
		if each.name == name {
			return each, nil
		}
		names[i] = each.name
	}
	return nil, &sagas.Refusal{
		Code: sagas.RefusedMissing, Detail: fmt.Sprintf("there is no projection %q; there are %s", events.Preview(name), strings.Join(names, ", ")),
	}
}

// serves returns the reading that answers for a projection.
func (p *projector) serves(of *projection) *reading {
	p.mu.Lock()
	defer p.mu.Unlock()
	return of.serving
}

// follow keeps everything up to date until the host closes.
func (p *projector) follow() {
	ctx := p.host.running
	p.again(ctx, "begin", p.begin)
	p.again(ctx, "follow the store", p.followTail)
}

// again does something until it succeeds or the host closes.
func (p *projector) again(ctx context.Context, what string, do func(context.Context) error) {
	for wait := readAgainFirst; ; wait = min(2*wait, readAgainMost) {
		err := do(ctx)
		if err == nil || ctx.Err() != nil || errors.Is(err, storage.ErrClosed) {
			return
		}
		p.host.log.Warn("the projector tries again", "what", what, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// begin finds the end of history, where the tail starts, and has everything read up to there.
func (p *projector) begin(ctx context.Context) error {
	if err := p.reconcile(ctx); err != nil {
		return err
	}
	page, err := p.host.journal.ReadAll(ctx, storage.End(), storage.Backward, storage.Filter{}, storage.Limit{Events: 1})
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

// schedule has everything read that nobody reads yet.
func (p *projector) schedule() {
	var serving, green []*reading
	p.mu.Lock()
	if !p.begun {
		p.mu.Unlock()
		return
	}
	for _, each := range p.list {
		if each.serving.start() {
			serving = append(serving, each.serving)
		}
		if each.green.start() {
			green = append(green, each.green)
		}
	}
	p.mu.Unlock()
	if len(serving) > 0 {
		p.host.run(func() { p.bring(p.host.running, serving) })
	}
	if len(green) > 0 {
		p.host.run(func() { p.build(p.host.running, green) })
	}
}

// start reports whether a reading is to be fed by whoever asks.
func (r *reading) start() bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.started
	r.started = true
	return !before
}

// bring loads what is stored and reads on: what is near the end of history need not wait for what is far from it.
func (p *projector) bring(ctx context.Context, all []*reading) {
	p.tail.mu.Lock()
	end := p.tail.at
	p.tail.mu.Unlock()
	var near, far []*reading
	for _, r := range all {
		p.again(ctx, "load the state of "+r.spec.Name, func(ctx context.Context) error { return p.prepare(ctx, r) })
		if r.position() >= end-end/8 {
			near = append(near, r)
		} else {
			far = append(far, r)
		}
	}
	if len(far) > 0 {
		p.host.run(func() { p.catchUp(ctx, far) })
	}
	if len(near) > 0 {
		p.catchUp(ctx, near)
	}
}

// catchUp reads on in one pass for all of a group, and has them join the tail.
func (p *projector) catchUp(ctx context.Context, group []*reading) {
	p.again(ctx, "read history", func(ctx context.Context) error {
		if err := p.read(ctx, group, 0, func(events.Position) {}); err != nil {
			return err
		}
		return p.join(ctx, group)
	})
}

// read feeds readings up to a position, or the end of history (0).
func (p *projector) read(ctx context.Context, group []*reading, until events.Position, progress func(at events.Position)) error {
	feed := feeder{projector: p, readings: slices.Clone(group)}
	from := pass{journal: p.host.journal, after: 1<<64 - 1, until: until}
	for _, r := range group {
		from.after = min(from.after, r.begins())
		from.kinds = append(from.kinds, r.spec.Kinds...)
	}
	slices.Sort(from.kinds)
	from.kinds = slices.Compact(from.kinds)
	return from.run(ctx, func(c *chunk) (bool, error) {
		feed.take(ctx, c)
		progress(c.through)
		return len(feed.readings) > 0, nil
	})
}

// readTo feeds those of a group that are before a position up to it.
func (p *projector) readTo(ctx context.Context, group []*reading, until events.Position) error {
	behind := slices.DeleteFunc(slices.Clone(group), func(r *reading) bool { return r.position() >= until || r.halted() != nil })
	if len(behind) == 0 {
		return nil
	}
	return p.read(ctx, behind, until, func(events.Position) {})
}

// ended notes that a reading goes no further. What answers is repaired at once if it is in doubt.
func (p *projector) ended(r *reading) {
	stopped, of := r.halted(), p.servedBy(r)
	if of == nil {
		return
	}
	if stopped == nil {
		p.schedule()
		return
	}
	level := slog.LevelError
	if p.host.resting {
		level = slog.LevelInfo // whoever asks is told
	}
	p.host.log.Log(p.host.running, level, "projection stopped", "projection", of.name, "position", stopped.Position, "event", stopped.Event, "problem", stopped.Problem)
	if stopped.doubt && !p.host.resting {
		p.host.run(func() {
			p.again(p.host.running, "repair projection "+of.name, func(ctx context.Context) error {
				_, err := p.repair(ctx, of, r)
				return err
			})
		})
	}
}

// servedBy returns the projection for which a reading answers; nil: none.
func (p *projector) servedBy(r *reading) *projection {
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
func (p *projector) join(ctx context.Context, group []*reading) error {
	first, err := p.joinTail(ctx, group)
	if err == nil {
		p.settle(ctx, first)
	}
	return err
}

// joinTail returns the readings that were never at the end before.
func (p *projector) joinTail(ctx context.Context, group []*reading) (first []*reading, err error) {
	p.tail.mu.Lock()
	defer p.tail.mu.Unlock()
	if err := p.readTo(ctx, group, p.tail.at); err != nil {
		return nil, err
	}
	for _, r := range group {
		if r.arrive() {
			first = append(first, r)
		}
		if r.halted() == nil {
			p.tail.readings = append(p.tail.readings, r)
		}
	}
	p.tell()
	return first, nil
}

// arrive notes that a reading was at the end of history, or as near as it can come, and reports whether it was there never before.
func (r *reading) arrive() (first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first = !r.built
	r.built, r.live = true, true
	return first
}

// prepare loads the stored state of a reading, once.
func (p *projector) prepare(ctx context.Context, r *reading) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.loaded {
		return nil
	}
	noted := p.current(ctx, r.spec.Name)
	is := noted.of(r.spec.Version, r.source)
	if r.generation = noted.Generation; !is && noted.Version > 0 {
		r.generation++ // the states of another version stay until this one is built
	}
	err := p.load(ctx, r, 1<<62)
	r.loaded = err == nil
	r.built = is && r.at > 0
	return err
}

// tell wakes whoever waits for a projection to come further.
func (p *projector) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.moved != nil {
		close(p.moved)
		p.moved = nil
	}
}

// watch returns a channel that is closed when a reading has moved.
func (p *projector) watch() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.moved == nil {
		p.moved = make(chan struct{})
	}
	select {
	case p.wanted <- struct{}{}:
	default:
	}
	return p.moved
}

// close stores the states as they are, if they are worth it.
func (p *projector) close() {
	least := int64(1)
	if p.host.resting {
		least = storage.SnapshotEvery
	}
	p.mu.Lock()
	var all []*reading
	for _, each := range p.list {
		if each.serving != nil {
			all = append(all, each.serving)
		}
	}
	p.mu.Unlock()
	for _, r := range all {
		p.save(context.Background(), r, least)
	}
}

// specsOf are the projections of a build: the catalogue's, and those that were given beside it.
func specsOf(given []projections.Spec) []projections.Spec {
	return slices.Concat(projections.Catalog, given)
}
