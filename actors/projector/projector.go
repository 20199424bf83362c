// Package projector keeps a host's projections up to date and answers queries: it folds its own copy of each from the store as the store
// grows, stores the state from time to time to start from, and rebuilds a projection while the old one keeps answering. It decides nothing.
package projector

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

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
	// Keeps reports whether this host keeps a projection up to date; others do for it. nil: it keeps all of them. When the answer changes, Placed
	// is to be called.
	Keeps func(name string) bool
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

	placing     sync.Mutex
	reconciling sync.Mutex
	catalogue   sagas.Catalogue // as the list was made from it

	mu    sync.Mutex // of the list and its readings; not of what is in a reading
	list  []*projection
	moved chan struct{} // closed when a reading has moved; nil when there is no waiter

	wanted chan struct{} // holds a token when a waiter has come

	heads trend // of the end of history
	begun bool  // the tail is where history ended at the start; never in a host that rests

	tail tail
}

// tail is what follows the subscription. Its lock is held for each batch, and while readings join.
type tail struct {
	mu       sync.Mutex
	at       events.Position
	readings []*reading
	lanes    []*lane
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
	refused  *Stopped            // where that stopped
	skipped  []sagas.SkippedProjection
}

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
			return fmt.Errorf("configure projections: %w", err)
		}
		if slices.ContainsFunc(p.list, func(other *projection) bool { return other.name == spec.Name }) {
			return fmt.Errorf("configure projections: two projections are named %s", spec.Name)
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

// Newest is the position of the newest event that Stored was told of.
func (p *Projector) Newest() events.Position { return events.Position(p.stored.Load()) }

// follows reports whether a projection is kept up to date here.
func (p *Projector) follows(name string) bool { return !p.config.Resting && p.keeps(name) }

func (p *Projector) keeps(name string) bool { return p.config.Keeps == nil || p.config.Keeps(name) }

// Placed has the projector follow what this host keeps from now on, from the state that it stored last, and let go of what it does not.
func (p *Projector) Placed(ctx context.Context) {
	p.placing.Lock()
	defer p.placing.Unlock()
	p.mu.Lock()
	var gone []*reading
	for _, each := range p.list {
		if each.serving == nil || p.keeps(each.name) || each.serving.untouched() {
			continue
		}
		if each.green != nil {
			each.green.drop()
			each.green = nil
		}
		gone = append(gone, each.serving)
	}
	p.mu.Unlock()
	for _, r := range gone {
		p.save(ctx, r, 1)
		p.letGo(r)
	}
	p.notify()
	p.schedule()
}

// letGo puts a reading that nothing has been read for in the place of one.
func (p *Projector) letGo(r *reading) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, each := range p.list {
		if each.serving == r {
			each.serving = newReading(r.spec, r.source, r.generation, &each.skips)
		}
	}
	r.drop()
}

// Keeps reports whether this host keeps a projection, and can answer for it at once.
func (p *Projector) Keeps(name string) (keeps, ready bool) {
	of, err := p.find(name)
	if err != nil {
		return true, true // it is refused here as anywhere
	}
	r, err := p.serves(of)
	if err != nil {
		return true, true
	}
	phase := r.now()
	return p.keeps(name), phase == live || phase == behind || phase == stopped
}

// Names lists the projections that can be built.
func (p *Projector) Names() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for _, each := range p.list {
		if each.serving != nil {
			names = append(names, each.name)
		}
	}
	return names
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

// notify wakes the queries that wait for a projection to come further.
func (p *Projector) notify() {
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
	minFolded := int64(1)
	if p.config.Resting {
		minFolded = storage.SnapshotEvery
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
		p.save(context.Background(), r, minFolded)
	}
}
