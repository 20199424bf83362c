// Package projector keeps the projections of a host up to date and answers from them: its own copy of each, folded from the store as it
// grows, stored now and then as a state to start from, and built anew beside the one that answers. It decides nothing.
package projector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// Config says what a projector is made of. Journal, Blobs, Log and Tenant are required.
type Config struct {
	Journal   storage.Journal
	Snapshots storage.Snapshots // nil: no states are stored, and history is always read from the beginning
	Blobs     storage.Blobs     // where large texts of declared projections are
	Log       *slog.Logger
	Tenant    events.TenantID // whose catalogue it is
	// Resting: nothing is followed, and what is asked is read then.
	Resting bool
	// Projections are those that it keeps besides projections.Catalog. No two have one name.
	Projections []projections.Spec
	// Declare reads the text of a projection that is declared at run time. nil: none can be.
	Declare func(source []byte) (projections.Spec, error)
}

// Projector keeps the projections of a host's catalogue up to date. Each starts from its stored state; those that are behind read on
// in one pass together (catchUp), and join the tail, which follows a subscription to everything.
//
// What is true if the host dies: the states that are stored are states of some positions, and the next start reads on from them. So
// nothing is done when it comes back that is not done at every start.
//
// A host that rests follows nothing: it loads a state and reads on when it is asked.
type Projector struct {
	config  Config
	running context.Context //nolint:containedctx // the lifetime of everything the projector started
	cancel  context.CancelFunc
	tasks   sync.WaitGroup
	stored  atomic.Uint64 // the position of the latest event that the host stored

	reconciling sync.Mutex
	catalogue   sagas.Catalogue // as the list was made from it

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
	tailLinger     = 10 * time.Millisecond // between two folds, so that much is folded at once; not while somebody waits for it
	tailMuch       = 1024                  // events after which it does not linger
	readAgainFirst = 50 * time.Millisecond
	readAgainMost  = 5 * time.Second
)

// New returns a projector of the catalogue as it stands now, and begins to follow the store, unless it rests. Close ends it.
func New(ctx context.Context, config Config) (*Projector, error) {
	p := &Projector{config: config, catalogue: sagas.NewCatalogue(), wanted: make(chan struct{}, 1)}
	if err := p.addBuilt(); err != nil {
		return nil, err
	}
	p.running, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if config.Resting {
		return p, nil
	}
	if err := p.reconcile(ctx); err != nil {
		p.cancel()
		return nil, err
	}
	p.tasks.Go(p.follow)
	return p, nil
}

// addBuilt puts the projections of the build on the list: the catalogue's, and those that were given beside it.
func (p *Projector) addBuilt() error {
	specs := slices.Concat(projections.Catalog, p.config.Projections)
	for i := range specs {
		spec := &specs[i]
		if err := spec.Validate(); err != nil {
			return fmt.Errorf("configure host: %w", err)
		}
		if slices.ContainsFunc(p.list, func(other *projection) bool { return other.name == spec.Name }) {
			return fmt.Errorf("configure host: two projections are named %s", spec.Name)
		}
		made := &projection{name: spec.Name}
		made.serving = newReading(spec, "", 0, &made.skips)
		p.list = append(p.list, made)
	}
	return nil
}

// Stored notes how far the store has come by the host's own events, so that its projections are asked with those in them.
func (p *Projector) Stored(position events.Position) {
	for {
		noted := p.stored.Load()
		if noted >= uint64(position) || p.stored.CompareAndSwap(noted, uint64(position)) {
			return
		}
	}
}

// find returns a projection; the error says what there is.
func (p *Projector) find(name string) (*projection, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := make([]string, len(p.list))
	for i, each := range p.list {
		if each.name == name {
			return each, nil
		}
		names[i] = each.name
	}
	return nil, &sagas.RefusalError{
		Code: sagas.RefusedMissing, Detail: fmt.Sprintf("there is no projection %q; there are %s", events.Preview(name), strings.Join(names, ", ")),
	}
}

// serves returns the reading that answers for a projection; the error says why there is none.
func (p *Projector) serves(of *projection) (*reading, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if of.serving == nil {
		return nil, &sagas.RefusalError{Code: sagas.RefusedState, Detail: fmt.Sprintf("projection %s cannot be asked: %s", of.name, of.broken)}
	}
	return of.serving, nil
}

// follow keeps everything up to date until the host closes.
func (p *Projector) follow() {
	ctx := p.running
	p.again(ctx, "begin", p.begin)
	p.again(ctx, "follow the store", p.followTail)
}

// again does something until it succeeds or the host closes.
func (p *Projector) again(ctx context.Context, what string, do func(context.Context) error) {
	for wait := readAgainFirst; ; wait = min(2*wait, readAgainMost) {
		err := do(ctx)
		if err == nil || ctx.Err() != nil || errors.Is(err, storage.ErrClosed) {
			return
		}
		p.config.Log.Warn("the projector tries again", "what", what, "error", err)
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

// schedule has everything read that nobody reads yet.
func (p *Projector) schedule() {
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
		p.tasks.Go(func() { p.bring(p.running, serving) })
	}
	if len(green) > 0 {
		p.tasks.Go(func() { p.build(p.running, green) })
	}
}

// start reports whether a reading is to be fed by whoever asks.
func (r *reading) start() bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.fed
	r.fed = true
	return !before && r.phase.goesOn()
}

// bring loads what is stored and reads on: what is near the end of history need not wait for what is far from it.
func (p *Projector) bring(ctx context.Context, all []*reading) {
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
		p.tasks.Go(func() { p.catchUp(ctx, far) })
	}
	if len(near) > 0 {
		p.catchUp(ctx, near)
	}
}

// catchUp reads on in one pass for all of a group, and has them join the tail.
func (p *Projector) catchUp(ctx context.Context, group []*reading) {
	p.again(ctx, "read history", func(ctx context.Context) error {
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
func (p *Projector) readTo(ctx context.Context, group []*reading, until events.Position) error {
	behind := slices.DeleteFunc(slices.Clone(group), func(r *reading) bool { return r.position() >= until || !r.now().goesOn() })
	if len(behind) == 0 {
		return nil
	}
	return p.read(ctx, behind, until, func(events.Position) {})
}

// ended notes that a reading goes no further. What answers is repaired at once if it is in doubt.
func (p *Projector) ended(r *reading) {
	stopped, of := r.halted(), p.servedBy(r)
	if of == nil {
		return
	}
	if stopped == nil {
		p.schedule()
		return
	}
	level := slog.LevelError
	if p.config.Resting {
		level = slog.LevelInfo // whoever asks is told
	}
	p.config.Log.Log(p.running, level, "projection stopped", "projection", of.name, "position", stopped.Position, "event", stopped.Event, "phase", r.now(), "problem", stopped.Problem)
	if r.now() == doubtful && !p.config.Resting {
		p.tasks.Go(func() {
			p.again(p.running, "repair projection "+of.name, func(ctx context.Context) error {
				_, err := p.repair(ctx, of, r)
				return err
			})
		})
	}
}

// servedBy returns the projection for which a reading answers; nil: none.
func (p *Projector) servedBy(r *reading) *projection {
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
		if r.arrived() {
			first = append(first, r)
		}
		if r.now() == live {
			p.tail.readings = append(p.tail.readings, r)
		}
	}
	p.tell()
	return first, nil
}

// prepare loads the stored state of a reading, once.
func (p *Projector) prepare(ctx context.Context, r *reading) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.phase != unread {
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
	r.restored(is && r.at > 0)
	return nil
}

// tell wakes whoever waits for a projection to come further.
func (p *Projector) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.moved != nil {
		close(p.moved)
		p.moved = nil
	}
}

// watch returns a channel that is closed when a reading has moved.
func (p *Projector) watch() <-chan struct{} {
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

// Close ends what the projector does, and stores the states as they are, if they are worth it.
func (p *Projector) Close() {
	p.cancel()
	p.tasks.Wait()
	least := int64(1)
	if p.config.Resting {
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
