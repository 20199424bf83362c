package actors

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"example.com/life/actors/membership"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas/cluster"
)

// Cluster makes a host one of several on a store. Each entity lives on one of them, which all of them compute from the same view; any of
// them answers for all.
//
// Safety rests on none of this: the expected revision of each stream and the claim of each effect do that. Where a rule here fails, work is
// done twice and one of the two is refused.
type Cluster struct {
	Member Membership
	Peers  Peers
	// Handover is how long an entity that belongs elsewhere may wait for a model's reply before it goes; 0: 30 s.
	Handover time.Duration
	// MaxLive is how many entities the host holds at most; 0: any number.
	MaxLive int
	// Workspaces are directories that are the same on all hosts that list them. An agent whose workspace is elsewhere stays on hosts of the name
	// that it was made on.
	Workspaces []string
	// Meters and Tracers take what this host counts, and a span for each call to another host; nil: the program's global ones.
	Meters  metric.MeterProvider
	Tracers trace.TracerProvider
}

// Membership is this host as a member of its cluster. Its methods are safe for concurrent use.
type Membership interface {
	Self() events.HostID
	// View is the newest that is known. It never changes.
	View() *cluster.View
	// Changed is closed when there is a newer view than at the time of the call.
	Changed() <-chan struct{}
	// CatchUp reads the cluster's stream up to an epoch.
	CatchUp(ctx context.Context, epoch events.Revision) (*cluster.View, error)
	// Now is the time by a clock that nobody sets, and that does not stand while the machine sleeps.
	Now() time.Duration
	// Fresh says that what was claimed at a time of Now may begin: the claim is younger than half of the fencing delay, no pause was noticed since, and the
	// host was a member less than that ago. [ErrNotBegun] says that it may never begin; other errors, that it is not known yet.
	Fresh(ctx context.Context, claimed time.Duration) error
	// GoesOnUntil is until when what was begun may go on, by Now, if nothing is read before; 0: it may not. See [cluster.Lease].
	GoesOnUntil() time.Duration
	// Storeless is for how long the store has not answered; 0: it does.
	Storeless() time.Duration
	// Standing is what this host says of itself, and what it has counted.
	Standing() membership.Standing
	// Drain has the others take over; Leave says that nothing of this host runs any more.
	Drain(ctx context.Context) error
	Leave(ctx context.Context) error
}

// ErrNotBegun says that an effect must not begin any more: others may hold this host for dead.
var ErrNotBegun = membership.ErrNotBegun

const (
	handoverTime = 30 * time.Second
	catchUpTime  = time.Second
	mostViews    = 64 // earlier views that are kept while members have not settled them
)

// clustered is what a host of a cluster knows of the others.
type clustered struct {
	Cluster
	host *Host
	self events.HostID

	mu      sync.Mutex
	views   []*cluster.View                   // the newest last; the earlier ones have not been settled by all members
	settled map[events.HostID]events.Revision // by what the others said
	gone    map[events.HostID]time.Duration   // since when this host knows that they are no members
	holders map[events.Stream]events.HostID   // of what this host owns and others hold
	unfit   map[events.Stream]unfitness       // of what this host owns and cannot hold
	calls   map[*peerCall]struct{}            // under way

	began    time.Duration            // this host, by the membership's clock
	kept     map[string]*atomic.Int64 // the newest epoch that each registry has settled
	held     atomic.Int64             // commands that wait for their owner
	pushing  atomic.Int64             // entities that are being woken elsewhere
	recovers chan struct{}            // asks for a look at what is this host's now
	pushes   chan struct{}            // slots
	count    counters
	labelled metric.ObserveOption // with this host's name
	measured metric.Registration
	tracer   trace.Tracer
	unfits   atomic.Int64 // how many are in unfit
}

func newClustered(h *Host, c Cluster) *clustered {
	c.Handover = cmp.Or(c.Handover, handoverTime)
	n := &clustered{
		Cluster: c, host: h, self: c.Member.Self(),
		settled: map[events.HostID]events.Revision{}, gone: map[events.HostID]time.Duration{}, holders: map[events.Stream]events.HostID{},
		unfit: map[events.Stream]unfitness{},
		calls: map[*peerCall]struct{}{}, began: c.Member.Now(), kept: map[string]*atomic.Int64{},
		recovers: make(chan struct{}, 1), pushes: make(chan struct{}, MaxPeerStreams),
	}
	for _, category := range placedCategories() {
		n.kept[category] = new(atomic.Int64)
		n.kept[category].Store(int64(events.NoRevision))
	}
	if n.Tracers == nil {
		n.Tracers = otel.GetTracerProvider()
	}
	n.tracer, n.labelled = n.Tracers.Tracer(instrumentation), metric.WithAttributes(attribute.String("life.host", n.self.Name()))
	view := c.Member.View()
	n.views = []*cluster.View{without(view, n.self), view}
	return n
}

// without is the cluster before a host joined: what the host owns now, others may still hold.
func without(view *cluster.View, host events.HostID) *cluster.View {
	before := *view
	before.Epoch = host.Joined() - 1
	before.Members = maps.Clone(view.Members)
	delete(before.Members, host)
	return &before
}

// start follows the view until the host closes.
func (c *clustered) start() {
	if err := c.measure(); err != nil {
		c.host.log.Warn("what this host counts is not measured", "error", err)
	}
	c.host.run(c.follow)
	c.host.run(c.recoverMine)
	c.tell(c.Member.View().Epoch)
	c.recovers <- struct{}{}
}

// end has nothing measured any more.
func (c *clustered) end() {
	if c != nil && c.measured != nil {
		_ = c.measured.Unregister() //nolint:errcheck // nothing is left to do
	}
}

func (c *clustered) follow() {
	for {
		changed := c.Member.Changed()
		c.look()
		select {
		case <-changed:
		case <-c.host.running.Done():
			return
		}
	}
}

// look takes in the newest view: calls to hosts that are gone are given up, registries let go of what lives elsewhere now, and what has become this
// host's goes on.
func (c *clustered) look() {
	view := c.Member.View()
	c.mu.Lock()
	newest := c.views[len(c.views)-1]
	if view.Epoch <= newest.Epoch {
		c.mu.Unlock()
		return
	}
	c.views = append(c.views, view)
	if extra := len(c.views) - mostViews; extra > 0 {
		c.views = slices.Delete(c.views, 0, extra)
	}
	now := c.Member.Now()
	for id := range newest.Members {
		if _, member := view.Members[id]; !member {
			c.gone[id] = now
			delete(c.settled, id)
		}
	}
	var left []events.Stream // by a holder that is gone: nobody else goes on with them
	maps.DeleteFunc(c.holders, func(stream events.Stream, holder events.HostID) bool {
		owner, _ := view.Owner(stream)
		_, member := view.Members[holder]
		if owner == c.self && !member {
			left = append(left, stream)
		}
		return owner != c.self || !member
	})
	maps.DeleteFunc(c.unfit, func(stream events.Stream, why unfitness) bool {
		owner, _ := view.Owner(stream)
		_, member := view.Members[why.holder]
		return owner != c.self || !member
	})
	c.unfits.Store(int64(len(c.unfit)))
	for call := range c.calls {
		if _, member := view.Members[call.to]; !member {
			call.cancel()
		}
	}
	c.mu.Unlock()
	c.tell(view.Epoch)
	c.host.run(func() { c.host.Placed(c.host.running) })
	for _, stream := range left {
		if err := c.wake(stream, nil); err != nil {
			c.host.log.Error("wake what another host held", "stream", stream, "error", err)
		}
	}
	select {
	case c.recovers <- struct{}{}:
	default:
	}
}

// keepsProjection reports whether this host keeps a projection up to date, by the newest view.
func (c *clustered) keepsProjection(name string) bool {
	keepers := keepersOf(c.Member.View(), name)
	return keepers == nil || slices.Contains(keepers, c.self)
}

// tell has the registries let go of what lives elsewhere as of an epoch.
func (c *clustered) tell(epoch events.Revision) {
	for _, pid := range c.host.registries() {
		c.host.system.Root.Send(pid, placed{epoch})
	}
}

// owner is the host that holds a stream's entity by the newest view; empty: none may.
func (c *clustered) owner(stream events.Stream) events.HostID {
	owner, _ := c.Member.View().Owner(stream)
	return owner
}

// draining reports whether this host is to hold nothing any more, also not for an owner that cannot.
func (c *clustered) draining() bool {
	me, is := c.Member.View().Members[c.self]
	return !is || me.State == cluster.StateDraining
}

// mine reports whether this host is the owner.
func (c *clustered) mine(stream events.Stream) bool { return c.owner(stream) == c.self }

// Settled is the newest epoch as of which this host holds nothing that belongs elsewhere.
func (h *Host) Settled() events.Revision {
	if h.cluster == nil {
		return events.NoRevision
	}
	least := h.cluster.Member.View().Epoch
	for _, kept := range h.cluster.kept {
		least = min(least, events.Revision(kept.Load()))
	}
	return least
}

// TakeOvers counts the entities of this host that another writer took over.
func (h *Host) TakeOvers() int64 {
	if h.cluster == nil {
		return 0
	}
	return h.cluster.count.takenOver.Load()
}

// heard notes what another host says of itself, and forgets the views that all have settled.
func (c *clustered) heard(from events.HostID, settled events.Revision) {
	c.mu.Lock()
	defer c.mu.Unlock()
	newest := c.views[len(c.views)-1]
	if _, member := newest.Members[from]; !member || settled <= c.settled[from] {
		return
	}
	c.settled[from] = settled
	least := newest.Epoch
	for id := range newest.Members {
		if id != c.self {
			least = min(least, max(c.settled[id], id.Joined()))
		}
	}
	for len(c.views) > 1 && c.views[1].Epoch <= least {
		c.views = slices.Delete(c.views, 0, 1)
	}
}

// before lists the hosts that may still hold an entity of which this host has become the owner.
func (c *clustered) before(stream events.Stream) []cluster.Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	newest := c.views[len(c.views)-1]
	var hosts []cluster.Member
	for i := len(c.views) - 2; i >= 0; i-- {
		owner, ok := c.views[i].Owner(stream)
		member, is := newest.Members[owner]
		if !ok || !is || owner == c.self || c.settled[owner] >= newest.Epoch ||
			slices.ContainsFunc(hosts, func(m cluster.Member) bool { return m.ID == owner }) {
			continue
		}
		hosts = append(hosts, member)
	}
	return hosts
}

// holder is the host that holds what this one owns, if another one does.
func (c *clustered) holder(stream events.Stream) events.HostID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.holders[stream]
}

func (c *clustered) setHolder(stream events.Stream, holder events.HostID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if holder == "" {
		delete(c.holders, stream)
		return
	}
	c.holders[stream] = holder
}

// recoverMine brings the agents to life that have work outstanding and are this host's by the newest view, but were not before.
func (c *clustered) recoverMine() {
	var before *cluster.View
	for {
		select {
		case <-c.recovers:
		case <-c.host.running.Done():
			return
		}
		for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
			view := c.Member.View()
			done := c.tracedRemovals(before, view)
			err := c.wakeMine(view, before)
			done(err)
			if err == nil {
				before = view
				break
			}
			if c.host.running.Err() != nil {
				return
			}
			c.host.log.Warn("find agents that live here now: trying again", "epoch", view.Epoch, "in", wait, "error", err)
			select {
			case <-time.After(wait):
			case <-c.host.running.Done():
				return
			}
		}
	}
}

// wakeMine wakes what a view gave this host and the one before did not.
func (c *clustered) wakeMine(view, before *cluster.View) error {
	list, err := c.host.Agents(c.host.running, projections.AgentFilter{})
	if err != nil {
		return fmt.Errorf("find agents with work to do: %w", err)
	}
	for _, agent := range list {
		stream := events.AgentStream(agent.ID)
		if owner, _ := view.Owner(stream); owner != c.self || !agent.Open() {
			continue
		}
		if before != nil {
			if owner, _ := before.Owner(stream); owner == c.self {
				continue
			}
		}
		c.host.system.Root.Send(c.host.agents, deliver{id: string(agent.ID), message: wakeUp{}})
	}
	return nil
}

// Drain hands over what the host holds and leaves the cluster, once nothing is left. If ctx ends first, it leaves nothing: close the host, and what
// still runs is cut off as when it is killed.
func (h *Host) Drain(ctx context.Context) error {
	c := h.cluster
	if c == nil {
		return nil
	}
	if err := c.Member.Drain(ctx); err != nil {
		return fmt.Errorf("drain host %s: %w", c.self, err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for h.living.Load() > 0 || h.effects.Load() > 0 || c.pushing.Load() > 0 {
		if away := c.Member.Storeless(); away >= membership.StoreAway {
			return fmt.Errorf("drain host %s: the store does not answer for %s: nothing can be handed over. %d entities and %d calls that cannot be repeated are still here; "+
				"the other hosts go on with them when they remove this one", c.self, away.Round(time.Second), h.living.Load(), h.effects.Load())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("drain host %s: %d entities and %d calls that cannot be repeated are still here: %w", c.self, h.living.Load(), h.effects.Load(), ctx.Err())
		case <-h.running.Done():
			return storage.ErrClosed
		}
	}
	if err := c.Member.Leave(ctx); err != nil {
		return fmt.Errorf("leave the cluster as %s: %w", c.self, err)
	}
	return nil
}
