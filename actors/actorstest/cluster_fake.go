package actorstest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/membership"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// Cluster is a cluster without machines: one list of members, which each learns of as long as it reaches the store, and a network in which hosts
// can be cut off, paused and killed. What they send each other goes through its JSON. It waits on channels and timers alone, so it works inside
// a testing/synctest bubble.
type Cluster struct {
	Fence   time.Duration // the fencing delay of those that join; 0: 5 s
	Latency time.Duration // of each call, one way
	// Unfenced lets every claimed effect begin, as hosts did before there was a fence: to show what it prevents.
	Unfenced bool

	mu    sync.Mutex
	view  *cluster.View
	began time.Time
	hosts map[events.HostID]*ClusterHost
	cuts  map[[2]events.HostID]bool
	calls map[string]int // by what was asked
}

// NewCluster returns a cluster without hosts.
func NewCluster() *Cluster {
	return &Cluster{
		view: cluster.NewView("test"), began: time.Now(), hosts: map[events.HostID]*ClusterHost{}, cuts: map[[2]events.HostID]bool{}, calls: map[string]int{},
	}
}

// ClusterHost is one host of it: the membership and the peers of an [actors.Host].
type ClusterHost struct {
	cluster *Cluster
	id      events.HostID

	mu      sync.Mutex
	view    *cluster.View
	changed chan struct{}
	serves  PeerServer
	running chan struct{} // closed while the host is not paused
	dead    chan struct{} // closed when it was killed
	pauses  []time.Duration
	away    bool      // from the store
	since   time.Time // it is away
}

// Join adds a host. Its weight is 1 if it is not given.
func (c *Cluster) Join(joined events.HostJoined) *ClusterHost {
	c.mu.Lock()
	defer c.mu.Unlock()
	if joined.Weight == 0 {
		joined.Weight = 1
	}
	if joined.Fence == 0 {
		joined.Fence = events.Micros(max(c.Fence, 0) / time.Microsecond)
	}
	if joined.Fence == 0 {
		joined.Fence = 5 * events.Second
	}
	id := events.NewHostID(joined.Name, c.view.Epoch+1)
	h := &ClusterHost{cluster: c, id: id, changed: make(chan struct{}), running: make(chan struct{}), dead: make(chan struct{})}
	close(h.running)
	h.view = c.view
	c.hosts[id] = h
	c.apply(joined)
	return h
}

// apply makes an event the next of the cluster's stream. The lock is held.
func (c *Cluster) apply(event events.Event) {
	c.view = c.view.Apply(sagas.Fact{Event: event, Revision: c.view.Epoch + 1, Time: storage.Now()})
	for _, h := range c.hosts {
		h.learn(c.view)
	}
}

// Apply makes an event the next of the cluster's stream.
func (c *Cluster) Apply(event events.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.apply(event)
}

// View is the newest.
func (c *Cluster) View() *cluster.View {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view
}

// Cut cuts the way between two hosts, or mends it.
func (c *Cluster) Cut(a, b *ClusterHost, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cuts[[2]events.HostID{a.id, b.id}], c.cuts[[2]events.HostID{b.id, a.id}] = cut, cut
}

// Calls says how often something was asked: do, advise, own, take, runs, keep.
func (c *Cluster) Calls() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.calls)
}

// Remove removes a host, as others do that hold it for dead.
func (c *Cluster) Remove(h *ClusterHost) {
	c.Apply(events.HostRemoved{Host: h.id, By: "test", Because: events.RemovedSilent})
}

// learn has a host read a view, if it reads the store.
func (h *ClusterHost) learn(view *cluster.View) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.away || h.isPaused() || h.isDead() || view.Epoch <= h.view.Epoch {
		return
	}
	h.view = view
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *ClusterHost) isPaused() bool {
	select {
	case <-h.running:
		return false
	default:
		return true
	}
}

func (h *ClusterHost) isDead() bool {
	select {
	case <-h.dead:
		return true
	default:
		return false
	}
}

// Serve says who answers on the host.
func (h *ClusterHost) Serve(server PeerServer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.serves = server
}

// Pause stops the host: it reads, stores, answers and learns nothing. Resume has it go on, as it was.
func (h *ClusterHost) Pause() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running = make(chan struct{})
	h.pauses = append(h.pauses, time.Since(h.cluster.began))
}

// Resume ends a pause.
func (h *ClusterHost) Resume() {
	h.mu.Lock()
	h.pauses[len(h.pauses)-1] = time.Since(h.cluster.began)
	close(h.running)
	h.mu.Unlock()
	h.learn(h.cluster.View())
}

// Away cuts the host off from the store, or lets it back.
func (h *ClusterHost) Away(away bool) {
	h.mu.Lock()
	h.away, h.since = away, time.Now()
	h.mu.Unlock()
	if !away {
		h.learn(h.cluster.View())
	}
}

// Kill ends the host for the others: nothing listens on its port any more, and nothing that it does reaches the store.
func (h *ClusterHost) Kill() { close(h.dead) }

// awake waits while the host is paused. A dead host never wakes.
func (h *ClusterHost) awake(ctx context.Context) error {
	h.mu.Lock()
	running := h.running
	h.mu.Unlock()
	select {
	case <-running:
	case <-h.dead:
		return storage.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	if h.isDead() {
		return storage.ErrClosed
	}
	return nil
}

// Self implements [actors.Membership].
func (h *ClusterHost) Self() events.HostID { return h.id }

// View implements [actors.Membership].
func (h *ClusterHost) View() *cluster.View {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.view
}

// Changed implements [actors.Membership].
func (h *ClusterHost) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

// CatchUp implements [actors.Membership].
func (h *ClusterHost) CatchUp(ctx context.Context, epoch events.Revision) (*cluster.View, error) {
	if err := h.awake(ctx); err != nil {
		return h.View(), err
	}
	for {
		h.learn(h.cluster.View())
		view, changed := h.View(), h.Changed()
		if view.Epoch >= epoch {
			return view, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return view, ctx.Err()
		}
	}
}

// Now implements [actors.Membership].
func (h *ClusterHost) Now() time.Duration { return time.Since(h.cluster.began) }

// Standing implements [actors.Membership].
func (h *ClusterHost) Standing() membership.Standing {
	return membership.Standing{Pong: membership.Pong{Host: h.id, Epoch: h.View().Epoch, Wall: storage.Now()}}
}

// Fresh implements [actors.Membership].
func (h *ClusterHost) Fresh(ctx context.Context, claimed time.Duration) error {
	if err := h.awake(ctx); err != nil {
		return err
	}
	h.mu.Lock()
	paused := len(h.pauses) > 0 && h.pauses[len(h.pauses)-1] >= claimed
	away := h.away
	h.mu.Unlock()
	view := h.cluster.View()
	_, member := view.Members[h.id]
	switch {
	case h.cluster.Unfenced:
		return nil
	case away:
		return errors.New("the cluster's stream cannot be read")
	case paused, !member, h.Now()-claimed > time.Duration(view.Fence())*time.Microsecond/2:
		return actors.ErrNotBegun
	}
	return nil
}

// GoesOnUntil implements [actors.Membership].
func (h *ClusterHost) GoesOnUntil() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, member := h.view.Members[h.id]; !member || h.away {
		return 0
	}
	return h.Now() + time.Duration(cluster.Lease(h.view.Fence()))*time.Microsecond
}

// Storeless implements [actors.Membership].
func (h *ClusterHost) Storeless() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.away {
		return 0
	}
	return time.Since(h.since)
}

// Drain implements [actors.Membership].
func (h *ClusterHost) Drain(context.Context) error {
	h.cluster.Apply(events.HostDraining{Host: h.id})
	return nil
}

// Leave implements [actors.Membership].
func (h *ClusterHost) Leave(context.Context) error {
	h.cluster.Apply(events.HostLeft{Host: h.id})
	return nil
}

// reach waits until a message from one host is at another.
func (c *Cluster) reach(ctx context.Context, from, to *ClusterHost) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if c.Latency > 0 {
		select {
		case <-time.After(c.Latency):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c.mu.Lock()
	cut := c.cuts[[2]events.HostID{from.id, to.id}]
	c.mu.Unlock()
	if cut {
		<-ctx.Done()
		return ctx.Err()
	}
	if to.isDead() {
		return actors.ErrPeerRefused
	}
	return to.awake(ctx)
}

// Call implements [actors.Peers].
func (h *ClusterHost) Call(ctx context.Context, to cluster.Member, call actors.PeerCall) (actors.PeerAnswer, error) {
	c := h.cluster
	c.mu.Lock()
	other := c.hosts[to.ID]
	c.calls[asked(&call)]++
	c.mu.Unlock()
	if other == nil {
		return actors.PeerAnswer{}, actors.ErrPeerRefused
	}
	data, err := actors.WritePeer(call)
	if err != nil {
		return actors.PeerAnswer{}, err
	}
	if err := c.reach(ctx, h, other); err != nil {
		return actors.PeerAnswer{}, err
	}
	received, err := actors.ReadPeerCall(data)
	if err != nil {
		return actors.PeerAnswer{}, fmt.Errorf("what was sent cannot be read: %w", err)
	}
	other.mu.Lock()
	server := other.serves
	other.mu.Unlock()
	if server == nil {
		return actors.PeerAnswer{}, actors.ErrPeerRefused
	}
	answers := make(chan actors.PeerAnswer, 1)
	go func() { answers <- server.ServePeer(ctx, h.id, received) }()
	var answer actors.PeerAnswer
	select {
	case answer = <-answers:
	case <-other.dead:
		return actors.PeerAnswer{}, errors.New("the connection was reset")
	case <-ctx.Done():
		return actors.PeerAnswer{}, ctx.Err()
	}
	if data, err = actors.WritePeer(answer); err != nil {
		return actors.PeerAnswer{}, err
	}
	if err := other.awake(ctx); err != nil {
		return actors.PeerAnswer{}, fmt.Errorf("the answer is lost: %w", err)
	}
	if err := c.reach(ctx, other, h); err != nil {
		return actors.PeerAnswer{}, fmt.Errorf("the answer is lost: %w", err)
	}
	return actors.ReadPeerAnswer(data)
}

func asked(call *actors.PeerCall) string {
	for _, what := range []struct {
		name string
		set  bool
	}{
		{"do", call.Do != nil},
		{"advise", call.Advise != nil},
		{"own", call.Own != nil},
		{"take", call.Take != nil},
		{"runs", call.Runs != nil},
		{"keep", call.Keep != nil},
		{"standing", call.Standing != nil},
		{"project", call.Project != nil},
	} {
		if what.set {
			return what.name
		}
	}
	return ""
}

// Deltas implements [actors.Peers].
func (h *ClusterHost) Deltas(ctx context.Context, to cluster.Member, agent events.AgentID, show func(actors.FeedDelta)) error {
	h.cluster.mu.Lock()
	other := h.cluster.hosts[to.ID]
	h.cluster.mu.Unlock()
	if other == nil {
		return actors.ErrPeerRefused
	}
	if err := h.cluster.reach(ctx, h, other); err != nil {
		return err
	}
	other.mu.Lock()
	server := other.serves
	other.mu.Unlock()
	if server == nil {
		return actors.ErrPeerRefused
	}
	return server.ServeDeltas(ctx, agent, func(piece actors.FeedDelta) error {
		if err := h.cluster.reach(ctx, other, h); err != nil {
			return err
		}
		show(piece)
		return nil
	})
}

// Journal is the store as the host reaches it.
func (h *ClusterHost) Journal(store storage.Journal) storage.Journal { return &hostJournal{store, h} }

type hostJournal struct {
	store storage.Journal
	host  *ClusterHost
}

// reach waits until the host is not paused, and says whether it reaches the store.
func (j *hostJournal) reach(ctx context.Context) error {
	if err := j.host.awake(ctx); err != nil {
		return err
	}
	j.host.mu.Lock()
	defer j.host.mu.Unlock()
	if j.host.away {
		return errors.New("the store is away")
	}
	return nil
}

func (j *hostJournal) Append(ctx context.Context, stream events.Stream, expected storage.Expected, batch []events.Envelope) (storage.Appended, error) {
	if err := j.reach(ctx); err != nil {
		return storage.Appended{}, err
	}
	appended, err := j.store.Append(ctx, stream, expected, slices.Clone(batch))
	if lost := j.reach(ctx); lost != nil {
		return storage.Appended{}, lost
	}
	return appended, err
}

func (j *hostJournal) Read(ctx context.Context, stream events.Stream, from events.Revision, direction storage.Direction, limit storage.Limit) (storage.Page, error) {
	if err := j.reach(ctx); err != nil {
		return storage.Page{}, err
	}
	return j.store.Read(ctx, stream, from, direction, limit)
}

func (j *hostJournal) ReadAll(ctx context.Context, from storage.Place, direction storage.Direction, filter storage.Filter, limit storage.Limit) (storage.Page, error) {
	if err := j.reach(ctx); err != nil {
		return storage.Page{}, err
	}
	return j.store.ReadAll(ctx, from, direction, filter, limit)
}

func (j *hostJournal) Subscribe(ctx context.Context, from storage.From) (storage.Subscription, error) {
	if err := j.reach(ctx); err != nil {
		return nil, err
	}
	return j.store.Subscribe(ctx, from)
}
