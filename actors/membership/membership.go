// Package membership makes a host a member of a cluster: it joins, follows the cluster's stream, watches the other members, removes those that
// are dead, and leaves.
//
// It decides nothing. Who may join and what an event changes is decided by [cluster.View]; who is dead, and what an effect may begin on, by
// [cluster.Watch]. What is here carries that out: it reads and appends (ledger.go), asks other hosts through [Contacts], and tells the watch what
// came of it and when.
//
// Every append expects the revision that was read. If we die at any point, what was appended holds, and the others remove this host.
//
// An idle cluster appends nothing.
package membership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas/cluster"
)

// Config is what a host needs to be a member.
type Config struct {
	Cluster  string
	Joined   events.HostJoined // what it says of itself
	Older    bool              // join although a member reads newer events
	Journal  storage.Journal
	Blobs    storage.Blobs
	Contacts Contacts
	Clock    Clock
	Work     func(context.Context) (Work, error) // answers only if the host can work: pings wait for it
	Log      *slog.Logger
}

// Work is what a host says of what it does.
type Work struct {
	Settled  events.Revision // the newest epoch as of which it holds nothing that belongs elsewhere
	Position events.Position // up to which its roster has counted
	Entities int             // in memory
}

// ErrNotBegun says that what was claimed may never begin.
var ErrNotBegun = errors.New("the host was paused, or may not be a member of the cluster any more")

// Member is this host as a member of its cluster. It is safe for concurrent use.
type Member struct {
	config Config
	ledger ledger
	self   events.HostID
	alive  context.Context //nolint:containedctx // of what runs in the background
	stop   context.CancelFunc
	tasks  sync.WaitGroup

	turn      chan struct{} // a token: whoever has it may use what follows
	watch     *cluster.Watch
	page      page // what the watch knows is its view
	removed   chan struct{}
	leaving   bool
	known     map[events.HostID]Known
	skewed    map[events.HostID]bool // the log says so already
	storeless bool                   // the log says so already

	shown          atomic.Pointer[shown] // the view, for those who do not wait for a turn: each command asks for it
	removals, lost atomic.Int64
}

// shown is a view, and what is closed when there is a newer one.
type shown struct {
	view    *cluster.View
	changed chan struct{}
}

// Known is what this host knows of another, to be shown.
type Known struct {
	Contact cluster.Contact
	Pong    Pong          // the latest
	Skew    events.Micros // how much later the other's wall clock is than this host's
}

// begin makes a member of a host that has joined.
func begin(config Config, ledger ledger, self events.HostID, joined page, sent, now events.Micros) *Member {
	m := &Member{
		config: config, ledger: ledger, self: self, turn: make(chan struct{}, 1), page: joined, removed: make(chan struct{}),
		known: map[events.HostID]Known{}, skewed: map[events.HostID]bool{},
	}
	m.shown.Store(&shown{joined.view, make(chan struct{})})
	m.alive, m.stop = context.WithCancel(context.Background())
	m.watch = cluster.NewWatch(self, joined.view, sent, now)
	m.turn <- struct{}{}
	m.tasks.Go(m.tick)
	m.tasks.Go(m.follow)
	return m
}

// Close ends what runs for the membership. It leaves nothing: others notice that the host is gone. Use Leave first.
func (m *Member) Close() {
	<-m.turn
	m.stop()
	m.turn <- struct{}{}
	m.tasks.Wait()
}

// do has the turn. Whatever happened in it, the watch is asked what to do next.
func (m *Member) do(turn func(now events.Micros)) {
	<-m.turn
	now := micros(m.config.Clock.Now())
	turn(now)
	m.act(now)
	m.turn <- struct{}{}
}

// tick looks at the clock. A tick that comes late is how a pause is noticed, before anything else is done.
func (m *Member) tick() {
	ticker := time.NewTicker(length(cluster.TickEvery))
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			m.do(m.watch.Tick)
		case <-m.alive.Done():
			return
		}
	}
}

// start has something done beside the turn. It has the turn, as Close has when it ends all.
func (m *Member) start(what func()) {
	if m.alive.Err() == nil {
		m.tasks.Go(what)
	}
}

// look has the end of the stream read. It has the turn.
func (m *Member) look() {
	m.start(func() { _ = m.read(m.alive) }) //nolint:errcheck // the watch is told
}

// act carries out what the watch wants. It has the turn.
func (m *Member) act(now events.Micros) {
	for _, action := range m.watch.Next(now) {
		switch {
		case action.Ping != nil:
			to := *action.Ping
			m.start(func() { m.ping(to) })
		case action.Ask != nil:
			ask := *action.Ask
			m.start(func() { m.ask(ask) })
		case action.Read:
			m.look()
		case action.Append != nil:
			m.remove(*action.Append, now)
		}
	}
	if m.watch.Removed() && !m.leaving {
		select {
		case <-m.removed:
		default:
			m.config.Log.Error("this host was removed from the cluster: it stops everything, and joins again under a new id", "host", m.self, "because", m.why())
			close(m.removed)
		}
	}
}

// why says how this host went.
func (m *Member) why() string {
	gone, ok := m.page.view.GoneOf(m.self)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s, by %s", gone.Because, gone.By)
}

func (m *Member) ping(to cluster.Member) {
	ctx, cancel := context.WithTimeout(m.alive, length(cluster.PingWithin))
	defer cancel()
	sent, wall := m.config.Clock.Now(), m.config.Clock.Wall()
	pong, err := m.config.Contacts.Ping(ctx, to, Ping{From: m.self, Epoch: m.View().Epoch})
	if m.alive.Err() != nil {
		return
	}
	m.do(func(now events.Micros) {
		switch {
		case err != nil:
			m.lost.Add(1)
			m.watch.Unanswered(to.ID, errors.Is(err, ErrRefused), now)
		case pong.Host != to.ID: // the process that had this id has ended
			m.watch.Unanswered(to.ID, true, now)
		default:
			m.watch.Answered(to.ID, cluster.Answer{Epoch: pong.Epoch, Lag: pong.Lag, Storeless: pong.Storeless}, now)
			if pong.Epoch > m.page.view.Epoch {
				m.look()
			}
			m.learn(to.ID, pong, pong.Wall-wall-(now-micros(sent))/2)
		}
	})
}

// Disconnected takes that the connection for pings to a host ended: it is asked at once whether it still answers.
func (m *Member) Disconnected(host string) {
	m.do(func(now events.Micros) {
		if member, is := m.page.view.Named(host); is {
			m.watch.Disconnected(member.ID, now)
		}
	})
}

// learn keeps what a host says of itself. It has the turn.
func (m *Member) learn(id events.HostID, pong Pong, skew events.Micros) {
	m.known[id] = Known{Pong: pong, Skew: skew}
	if skewed := differ(skew) > SkewWarned; skewed != m.skewed[id] {
		m.skewed[id] = skewed
		if skewed {
			m.config.Log.Warn("the clocks of two hosts differ: set them by NTP", "host", id, "seconds", float64(skew)/float64(events.Second))
		}
	}
}

func (m *Member) ask(ask cluster.Ask) {
	ctx, cancel := context.WithTimeout(m.alive, length(cluster.AskSlow))
	defer cancel()
	heard, err := m.config.Contacts.Confirm(ctx, ask.Witness, ask.Suspect)
	if err != nil || m.alive.Err() != nil {
		return
	}
	m.do(func(now events.Micros) {
		m.watch.Witnessed(ask.Witness.ID, ask.Suspect, cluster.Testimony{Known: heard.Known, Ago: heard.Within}, now)
	})
}

// read reads the end of the cluster's stream.
func (m *Member) read(asked context.Context) error {
	ctx, cancel := context.WithTimeout(asked, length(cluster.StoreWithin))
	defer cancel()
	sent := micros(m.config.Clock.Now())
	read, err := m.ledger.read(ctx, m.now())
	if err != nil && asked.Err() != nil {
		return asked.Err() // who asked waits no longer, which says nothing of the store
	}
	m.do(func(now events.Micros) {
		if err != nil {
			m.unstored(err, now)
			return
		}
		m.stored(read, sent, now)
	})
	return err
}

func (m *Member) unstored(err error, now events.Micros) {
	if !m.storeless {
		m.config.Log.Warn("the cluster's stream cannot be read or appended to: nobody is removed, nobody joins, and effects wait", "error", err)
	}
	m.storeless = true
	m.watch.Unstored(now)
}

// stored takes what was read or appended, or where that stands if something newer is known.
func (m *Member) stored(newer page, sent, now events.Micros) {
	if m.storeless {
		m.config.Log.Info("the cluster's stream can be read again")
	}
	m.storeless = false
	m.turnTo(newer)
	m.watch.Stored(m.page.view, sent, now)
}

// turnTo makes a view the newest one, if it is.
func (m *Member) turnTo(newer page) {
	before := m.page.view
	if newer.view.Epoch <= before.Epoch {
		return
	}
	m.page = newer
	close(m.shown.Swap(&shown{newer.view, make(chan struct{})}).changed)
	for _, member := range before.Sorted() {
		if _, there := newer.view.Members[member.ID]; there || member.ID == m.self {
			continue
		}
		delete(m.known, member.ID)
		delete(m.skewed, member.ID)
		gone, _ := newer.view.GoneOf(member.ID)
		m.config.Log.Info("a host is no member of the cluster any more", "host", member.ID, "removed", gone.Removed, "because", gone.Because, "by", gone.By)
	}
}

// follow takes what others append, as soon as the store tells.
func (m *Member) follow() {
	for m.alive.Err() == nil {
		subscription, err := m.ledger.journal.Subscribe(m.alive, storage.From{Stream: m.ledger.stream, Revision: m.View().Epoch})
		for err == nil {
			var event events.Envelope
			if event, err = subscription.Next(m.alive); err == nil {
				err = m.followed(&event)
			}
		}
		if subscription != nil {
			_ = subscription.Close()
		}
		select {
		case <-time.After(length(cluster.StoreEvery)): // meanwhile the watch reads
		case <-m.alive.Done():
		}
	}
}

// followed folds an event that comes after the newest known, or does not.
func (m *Member) followed(event *events.Envelope) error {
	read, err := m.now().fold(event)
	if err != nil {
		return err
	}
	m.do(func(now events.Micros) {
		m.turnTo(read)
		m.watch.Follow(m.page.view, now)
	})
	return nil
}

// now is the newest view with what is needed to append to it.
func (m *Member) now() page {
	<-m.turn
	defer func() { m.turn <- struct{}{} }()
	return m.page
}

// remove appends a removal, if the view is still the one that it was decided on. It has the turn.
func (m *Member) remove(a cluster.Append, now events.Micros) {
	batch, err := m.page.decide(a.Command, m.self, m.config.Clock.Wall())
	if err != nil || m.page.view.Epoch != a.Expected {
		m.watch.Appended(a.Command.Host, now)
		return
	}
	at := m.page
	m.config.Log.Warn("a host is removed from the cluster", "host", a.Command.Host, "because", a.Command.Because, "detail", a.Command.Detail, "confirmed", a.Command.Confirmed)
	m.start(func() {
		ctx, cancel := context.WithTimeout(m.alive, length(cluster.StoreWithin))
		defer cancel()
		appended, err := m.ledger.append(ctx, at, batch)
		if m.alive.Err() != nil {
			return
		}
		m.do(func(after events.Micros) {
			var conflict *storage.ConflictError
			switch {
			case err == nil:
				m.removals.Add(1)
				m.stored(appended, now, after)
			case !errors.As(err, &conflict):
				m.unstored(err, after)
			}
			m.watch.Appended(a.Command.Host, after)
		})
	})
}

// Self is this host's id.
func (m *Member) Self() events.HostID { return m.self }

// View is the newest view that is known. It never changes.
func (m *Member) View() *cluster.View { return m.shown.Load().view }

// Changed is closed when there is a newer view than at the time of the call.
func (m *Member) Changed() <-chan struct{} { return m.shown.Load().changed }

// Removed is closed when this host reads that it is no member any more, without having left.
func (m *Member) Removed() <-chan struct{} { return m.removed }

// Now is the time by a clock that nobody sets, and that does not stand while the machine sleeps.
func (m *Member) Now() time.Duration { return m.config.Clock.Now() }

// Known is what is known of the other members.
func (m *Member) Known() map[events.HostID]Known {
	<-m.turn
	defer func() { m.turn <- struct{}{} }()
	known := maps.Clone(m.known)
	for id, contact := range m.watch.Contacts() {
		k := known[id]
		k.Contact = contact
		known[id] = k
	}
	return known
}

// CatchUp reads the stream up to an epoch.
func (m *Member) CatchUp(ctx context.Context, epoch events.Revision) (*cluster.View, error) {
	view := m.View()
	if view.Epoch >= epoch {
		return view, nil
	}
	if err := m.read(ctx); err != nil {
		return view, fmt.Errorf("read the cluster's stream up to epoch %d: %w", epoch, err)
	}
	if view = m.View(); view.Epoch < epoch {
		return view, fmt.Errorf("the cluster's stream ends at %d, and another host speaks of epoch %d", view.Epoch, epoch)
	}
	return view, nil
}

// Fresh says that what was claimed at a time of Now may begin: the claim is younger than half of the fencing delay, no pause was noticed since, and a read sent
// less than that ago shows this host as a member. [ErrNotBegun]: it never may; other errors: that is not known yet.
func (m *Member) Fresh(ctx context.Context, claimed time.Duration) error {
	for {
		var may, read bool
		m.do(func(now events.Micros) { may, read = m.watch.MayBegin(micros(claimed), now) })
		switch {
		case may:
			return nil
		case !read:
			return ErrNotBegun
		}
		if err := m.read(ctx); err != nil {
			return fmt.Errorf("whether this host is a member still could not be read: %w", err)
		}
	}
}

// GoesOnUntil is until when what runs may go on, by Now, if nothing is read before; 0: it may not. The watch reads often enough while it is asked.
func (m *Member) GoesOnUntil() (until time.Duration) {
	m.do(func(now events.Micros) { until = length(m.watch.GoOnUntil(now)) })
	return until
}

// HandlePing answers another host, when this one can work. If it cannot, there is no answer: the others go on without it.
func (m *Member) HandlePing(ctx context.Context, ping Ping) (Pong, error) {
	ctx, cancel := context.WithTimeout(ctx, length(cluster.PingWithin))
	defer cancel()
	work, err := m.config.Work(ctx)
	if err != nil {
		return Pong{}, fmt.Errorf("host %s cannot work: %w", m.self, err)
	}
	return m.pong(ping, work), nil
}

func (m *Member) pong(ping Ping, work Work) Pong {
	var says cluster.Answer
	m.do(func(now events.Micros) {
		if says = m.watch.Says(now); ping.Epoch > says.Epoch {
			m.look()
		}
	})
	return Pong{
		Host: m.self, Epoch: says.Epoch, Settled: work.Settled, Position: work.Position, Entities: work.Entities,
		Lag: says.Lag, Storeless: says.Storeless, Wall: m.config.Clock.Wall(),
	}
}

// Storeless is for how long the store has not answered; 0: it does.
func (m *Member) Storeless() (since time.Duration) {
	m.do(func(now events.Micros) { since = length(m.watch.Says(now).Storeless) })
	return since
}

// Standing is what a host says of itself to be shown.
type Standing struct {
	Pong
	Removals  int64 // of others, by this host
	PingsLost int64 // that had no answer
}

// Standing is what this host says of itself.
func (m *Member) Standing() Standing {
	ctx, cancel := context.WithTimeout(m.alive, length(cluster.PingWithin))
	defer cancel()
	work, err := m.config.Work(ctx)
	if err != nil {
		m.config.Log.Warn("this host cannot work", "host", m.self, "error", err)
	}
	return Standing{Pong: m.pong(Ping{Epoch: events.NoRevision}, work), Removals: m.removals.Load(), PingsLost: m.lost.Load()}
}

// HandleProbe stores a blob that nobody has stored before.
func (m *Member) HandleProbe(ctx context.Context) (events.BlobRef, error) {
	return m.config.Blobs.Put(ctx, "text/plain", strings.NewReader("stored by host "+string(m.self)+" to be found by another: "+uuid.NewString()+"\n"))
}

// HandleConfirm says what this host has heard of another.
func (m *Member) HandleConfirm(question Question) (heard Heard) {
	m.do(func(now events.Micros) {
		said := m.watch.Testify(question.Suspect, now)
		heard = Heard{Known: said.Known, Within: said.Ago}
	})
	return heard
}

func differ(skew events.Micros) events.Micros { return max(skew, -skew) }

func micros(of time.Duration) events.Micros { return events.Micros(of.Microseconds()) }

func length(of events.Micros) time.Duration { return time.Duration(of) * time.Microsecond }
