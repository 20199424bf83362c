package membership_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/membership"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas/cluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	theStore = "the store"
	delay    = time.Millisecond // of a message
)

// world is some hosts, the network between them and their store, inside a bubble. Whatever a process does, it does when it runs and the network lets it.
type world struct {
	t       *testing.T
	journal *actorstest.Memory
	blobs   storage.Blobs

	mu      sync.Mutex
	hosts   map[string]*process // by name, the latest
	cuts    map[[2]string]bool
	stalled chan struct{} // closed when the store answers again; nil: it does
	changed chan struct{} // closed at the next change of the network
}

// process is one of a host.
type process struct {
	world  *world
	name   string
	member *membership.Member
	blobs  storage.Blobs
	skew   time.Duration

	mu      sync.Mutex
	resumed chan struct{} // closed when it runs again; nil: it does
	dead    bool
	off     bool // its machine too
}

func inWorld(t *testing.T, do func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, journal: actorstest.NewMemory(), blobs: actorstest.NewBlobs(), hosts: map[string]*process{}, cuts: map[[2]string]bool{}, changed: make(chan struct{})}
		defer func() {
			w.heal()
			w.answer()
			for _, p := range w.all() {
				p.resume()
			}
			for _, p := range w.all() {
				if p.member != nil {
					p.member.Close()
				}
			}
			if err := w.journal.Close(); err != nil {
				t.Error(err)
			}
		}()
		do(t, w)
	})
}

func (w *world) all() []*process {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []*process
	for _, p := range w.hosts {
		all = append(all, p)
	}
	return all
}

// change changes the network.
func (w *world) change(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *world) cut(from, to string) { w.change(func() { w.cuts[[2]string{from, to}] = true }) }
func (w *world) heal()               { w.change(func() { clear(w.cuts) }) }

// cutOff cuts a host off from all others, and the store, in both directions.
func (w *world) cutOff(name string) {
	for _, other := range append(w.names(), theStore) {
		if other != name {
			w.cut(name, other)
			w.cut(other, name)
		}
	}
}

func (w *world) names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for name := range w.hosts {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (w *world) stall() { w.change(func() { w.stalled = make(chan struct{}) }) }
func (w *world) answer() {
	w.change(func() {
		if w.stalled != nil {
			close(w.stalled)
			w.stalled = nil
		}
	})
}

// carry carries a message: it arrives, or is lost, and ctx ends.
func (w *world) carry(ctx context.Context, from, to string) error {
	w.mu.Lock()
	lost := w.cuts[[2]string{from, to}]
	w.mu.Unlock()
	if lost {
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case <-time.After(delay):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// runs waits until the process runs.
func (p *process) runs() {
	p.mu.Lock()
	resumed := p.resumed
	p.mu.Unlock()
	if resumed != nil {
		<-resumed
	}
}

func (p *process) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resumed = make(chan struct{})
}

func (p *process) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.resumed != nil {
		close(p.resumed)
		p.resumed = nil
	}
}

// kill ends a process as SIGKILL does.
func (p *process) kill() {
	p.mu.Lock()
	p.dead = true
	p.mu.Unlock()
	p.member.Close()
}

func (p *process) gone() (dead, off bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead, p.off
}

// Now is a clock on which a paused process waits.
func (p *process) Now() time.Duration {
	p.runs()
	return time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) + time.Hour
}

func (p *process) Wall() events.Micros {
	return events.Micros(time.Now().Add(p.skew).UnixMicro())
}

// Contacts of a process.

func (p *process) Ping(ctx context.Context, to cluster.Member, ping membership.Ping) (membership.Pong, error) {
	answered, err := exchange(ctx, p, to, func(other *process) (a struct {
		pong membership.Pong
		err  error
	},
	) {
		a.pong, a.err = other.member.HandlePing(ctx, ping)
		return a
	})
	return answered.pong, errors.Join(err, answered.err)
}

func (p *process) Confirm(ctx context.Context, to cluster.Member, suspect events.HostID) (membership.Heard, error) {
	return exchange(ctx, p, to, func(other *process) membership.Heard {
		return other.member.HandleConfirm(membership.Question{Suspect: suspect})
	})
}

func (p *process) Probe(ctx context.Context, to cluster.Member) (events.BlobRef, error) {
	return exchange(ctx, p, to, func(other *process) events.BlobRef {
		blob, err := other.member.HandleProbe(context.Background())
		if err != nil {
			panic(err)
		}
		return blob
	})
}

func exchange[A any](ctx context.Context, p *process, to cluster.Member, answer func(*process) A) (none A, err error) {
	w := p.world
	if err := w.carry(ctx, p.name, to.Joined.Peer); err != nil {
		return none, err
	}
	w.mu.Lock()
	other := w.hosts[to.Joined.Peer]
	w.mu.Unlock()
	dead, off := other.gone()
	if off {
		<-ctx.Done()
		return none, ctx.Err()
	}
	if dead || other.member == nil {
		if err := w.carry(ctx, to.Joined.Peer, p.name); err != nil {
			return none, err
		}
		return none, membership.ErrRefused
	}
	answers := make(chan A, 1)
	go func() {
		other.runs()
		answers <- answer(other)
	}()
	select {
	case a := <-answers:
		return a, w.carry(ctx, to.Joined.Peer, p.name)
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// The store, as a process sees it.

type journal struct {
	*process
}

func (j journal) reach(ctx context.Context) error {
	j.runs()
	if err := j.world.carry(ctx, j.name, theStore); err != nil {
		return err
	}
	j.world.mu.Lock()
	stalled := j.world.stalled
	j.world.mu.Unlock()
	if stalled == nil {
		return nil
	}
	select {
	case <-stalled:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (j journal) Append(ctx context.Context, stream events.Stream, expected storage.Expected, batch []events.Envelope) (storage.Appended, error) {
	if err := j.reach(ctx); err != nil {
		return storage.Appended{}, err
	}
	appended, err := j.world.journal.Append(context.Background(), stream, expected, batch)
	if lost := j.world.carry(ctx, theStore, j.name); lost != nil {
		return storage.Appended{}, lost
	}
	return appended, err
}

func (j journal) Read(ctx context.Context, stream events.Stream, from events.Revision, direction storage.Direction, limit storage.Limit) (storage.Page, error) {
	if err := j.reach(ctx); err != nil {
		return storage.Page{}, err
	}
	page, err := j.world.journal.Read(context.Background(), stream, from, direction, limit)
	if lost := j.world.carry(ctx, theStore, j.name); lost != nil {
		return storage.Page{}, lost
	}
	return page, err
}

func (j journal) ReadAll(context.Context, storage.Place, storage.Direction, storage.Filter, storage.Limit) (storage.Page, error) {
	return storage.Page{}, errors.New("nobody reads all")
}

func (j journal) Subscribe(ctx context.Context, from storage.From) (storage.Subscription, error) {
	subscription, err := j.world.journal.Subscribe(ctx, from)
	return &followed{subscription, j}, err
}

// followed is a subscription over the network. What is lost on the way comes when the network is healed, as with TCP.
type followed struct {
	storage.Subscription
	journal journal
}

func (f *followed) Next(ctx context.Context) (events.Envelope, error) {
	event, err := f.Subscription.Next(ctx)
	for err == nil {
		w := f.journal.world
		w.mu.Lock()
		lost, stalled, changed := w.cuts[[2]string{theStore, f.journal.name}], w.stalled != nil, w.changed
		w.mu.Unlock()
		if !lost && !stalled {
			pass(delay)
			f.journal.runs()
			return event, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return event, ctx.Err()
		}
	}
	return event, err
}

// What tests do.

// start starts a process of a host, which joins.
func (w *world) start(name string, change ...func(*process, *membership.Config)) (*process, error) {
	p := &process{world: w, name: name, blobs: w.blobs}
	config := membership.Config{
		Cluster: "c", Journal: journal{p}, Contacts: p, Clock: p,
		Joined: events.HostJoined{
			Name: name, Peer: name, Weight: 100, Build: "test", Protocol: events.ProtocolRange{Oldest: 1, Newest: 1},
			Catalogue: cluster.Catalogue(), Fence: 5 * events.Second, Silent: events.Second,
		},
	}
	for _, c := range change {
		c(p, &config)
	}
	config.Blobs = p.blobs
	if testing.Verbose() {
		config.Log = slog.New(slog.NewTextHandler(w.t.Output(), nil)).With("at", name)
	}
	w.mu.Lock()
	before := w.hosts[name]
	w.mu.Unlock()
	if before == nil {
		w.change(func() { w.hosts[name] = p })
	} else if dead, _ := before.gone(); dead {
		w.change(func() { w.hosts[name] = p })
	}
	member, err := membership.Join(w.t.Context(), config)
	w.change(func() {
		if err == nil {
			p.member = member
			w.hosts[name] = p
		}
	})
	return p, err
}

// members starts hosts one after the other.
func (w *world) members(names ...string) []*process {
	w.t.Helper()
	var started []*process
	for _, name := range names {
		p, err := w.start(name)
		if err != nil {
			w.t.Fatal(err)
		}
		started = append(started, p)
	}
	w.until(time.Second, "all know of all", func() bool { return w.agree(started...) })
	return started
}

// agree reports whether the members are exactly these, and all of them know it.
func (w *world) agree(members ...*process) bool {
	for _, p := range members {
		view := p.member.View()
		if len(view.Members) != len(members) {
			return false
		}
		for _, other := range members {
			if _, ok := view.Members[other.member.Self()]; !ok {
				return false
			}
		}
	}
	return true
}

// pass lets time pass, in the bubble.
func pass(length time.Duration) { <-time.After(length) }

// until lets time pass until something is so, and returns how long that took.
func (w *world) until(most time.Duration, what string, so func() bool) time.Duration {
	w.t.Helper()
	began := time.Now()
	for !so() {
		if time.Since(began) > most {
			w.t.Fatalf("after %s it is not so that %s\n%s", most, what, w.story())
		}
		pass(time.Millisecond)
	}
	return time.Since(began)
}

// stays lets time pass, in which something has to stay so.
func (w *world) stays(length time.Duration, what string, so func() bool) {
	w.t.Helper()
	for began := time.Now(); time.Since(began) < length; pass(10 * time.Millisecond) {
		if !so() {
			w.t.Fatalf("after %s it is not so any more that %s\n%s", time.Since(began), what, w.story())
		}
	}
}

// story is what the stream holds.
func (w *world) story() string {
	page, err := w.journal.Read(context.Background(), events.ClusterStream("c"), 0, storage.Forward, storage.Limit{})
	if err != nil && !errors.Is(err, io.EOF) {
		return err.Error()
	}
	var told strings.Builder
	for i := range page.Events {
		event, err := page.Events[i].Event()
		fmt.Fprintf(&told, "%d %v %v\n", page.Events[i].Revision, event, err)
	}
	return told.String()
}

// removals are those of the stream.
func (w *world) removals() (all []events.HostRemoved) {
	page, err := w.journal.Read(context.Background(), events.ClusterStream("c"), 0, storage.Forward, storage.Limit{})
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range page.Events {
		if event, err := page.Events[i].Event(); err != nil {
			w.t.Fatal(err)
		} else if removed, ok := event.(events.HostRemoved); ok {
			all = append(all, removed)
		}
	}
	return all
}

func (p *process) removed() bool {
	select {
	case <-p.member.Removed():
		return true
	default:
		return false
	}
}
