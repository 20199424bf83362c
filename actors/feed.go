package actors

import (
	"context"
	"io"
	"math"
	"slices"
	"sync"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// Feed shows an agent's events and, between them, what its model is producing. It belongs to one goroutine.
type Feed interface {
	// Next waits for the next item. It returns ctx's error, or ErrClosed after Close or when the host closes.
	Next(ctx context.Context) (Item, error)
	io.Closer
}

// Item is an event or a piece of a reply. Exactly one field is set. The event belongs to others too: nobody writes to it.
type Item struct {
	Event *events.Envelope
	Delta *FeedDelta
}

// FeedDelta is a piece that a model has just produced. It comes after its request's event and before that of the reply, which holds all of it:
// it is not history. When Lost is set, pieces were left out because the watcher was slow: wait for the reply's event. When Void is set, there
// is no text: what came of this request before is not the reply, because the attempt failed or was cut off.
type FeedDelta struct {
	Turn    events.TurnID    `json:"turn"`
	Request events.RequestID `json:"request"`
	Round   int              `json:"round"`
	Delta
	Lost bool `json:"lost,omitempty"`
	Void bool `json:"void,omitempty"`
}

// Watch shows what happens to an agent after a revision (NoRevision: from its beginning).
func (h *Host) Watch(ctx context.Context, agent events.AgentID, after events.Revision) (Feed, error) {
	if err := agent.Validate(); err != nil {
		return nil, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
	}
	subscription, err := h.journal.Subscribe(ctx, storage.From{Stream: events.AgentStream(agent), Revision: after})
	if err != nil {
		return nil, err
	}
	f := &feed{
		feeds: h.feeds, agent: agent, live: storage.Follow(subscription), at: after, over: events.NoRevision,
		pieces: pieces{more: make(chan struct{}, 1)}, ended: make(chan struct{}),
	}
	if !h.feeds.add(f) {
		_ = f.live.Close()
		return nil, storage.ErrClosed
	}
	if h.cluster != nil {
		f.asking = make(chan events.HostID, 1)
		h.run(func() { h.cluster.watchElsewhere(f) })
	}
	return f, nil
}

// watchElsewhere has a feed show what an agent's model produces on the host that holds the agent. That is its owner, or the host that asked the
// model last: until an agent has moved, another host than its owner holds it, and so it does if the owner cannot. Pieces are lost when it moves.
func (c *clustered) watchElsewhere(f *feed) {
	ctx, cancel := context.WithCancel(c.host.running)
	defer cancel()
	var asking events.HostID
	for pace := paceFirst; ; pace = min(2*pace, paceMost) {
		changed, view := c.Member.Changed(), c.Member.View()
		watching, stop := context.WithCancel(ctx)
		hosts := c.showing(view, f.agent, asking)
		ended, done := c.watchAt(watching, hosts, f, pace)
		for same := true; same; {
			same = false
			select {
			case <-changed:
				f.pieces.miss()
				pace = paceFirst
			case asking = <-f.asking:
				same = slices.EqualFunc(hosts, c.showing(view, f.agent, asking), func(a, b cluster.Member) bool { return a.ID == b.ID })
				pace = paceFirst
			case <-f.ended:
				cancel()
			case <-ctx.Done():
			case <-ended:
			}
		}
		stop()
		done()
		if ctx.Err() != nil {
			return
		}
	}
}

// showing are the other hosts that may show what an agent's model produces.
func (c *clustered) showing(view *cluster.View, agent events.AgentID, asking events.HostID) (hosts []cluster.Member) {
	owner, _ := view.Owner(events.AgentStream(agent))
	for _, id := range []events.HostID{owner, asking} {
		member, is := view.Members[id]
		if is && id != c.self && (len(hosts) == 0 || hosts[0].ID != id) {
			hosts = append(hosts, member)
		}
	}
	return hosts
}

// watchAt has hosts show their pieces. When one of them ends that, and some time has passed, ended says so; done waits for all when ctx has ended.
func (c *clustered) watchAt(ctx context.Context, hosts []cluster.Member, f *feed, pause time.Duration) (ended <-chan struct{}, done func()) {
	over := make(chan struct{}, len(hosts))
	var watching sync.WaitGroup
	for _, host := range hosts {
		watching.Add(1)
		c.host.run(func() {
			defer watching.Done()
			_ = c.Peers.Deltas(ctx, host, f.agent, f.pieces.add) //nolint:errcheck // asked again, until the agent is elsewhere
			select {
			case <-time.After(pause):
				over <- struct{}{}
			case <-ctx.Done():
			}
		})
	}
	return over, watching.Wait
}

// ServeDeltas shows another host what an agent's model produces here, until ctx ends.
func (h *Host) ServeDeltas(ctx context.Context, agent events.AgentID, show func(FeedDelta) error) error {
	f := &feed{feeds: h.feeds, agent: agent, pieces: pieces{more: make(chan struct{}, 1)}, ended: make(chan struct{})}
	if !h.feeds.add(f) {
		return storage.ErrClosed
	}
	defer h.feeds.remove(f)
	for {
		for {
			piece, found := f.pieces.next(math.MaxInt64, events.NoRevision)
			if !found {
				break
			}
			if err := show(piece); err != nil {
				return err
			}
		}
		select {
		case <-f.pieces.more:
		case <-f.ended:
			return storage.ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

type feed struct {
	feeds   *feeds
	agent   events.AgentID
	live    storage.Live
	batches [][]events.Envelope // taken and not yet shown; none is empty
	pieces  pieces
	once    sync.Once
	ended   chan struct{} // closed by Close, or when the host closes

	asking chan events.HostID // in a cluster: the host that asked the model last, when it is another one
	asked  events.HostID      // the latest of them

	at, over events.Revision // shown up to here; no request up to here streams any more
	shown    FeedDelta       // the latest piece, while its request is open
	streamed bool            // there is one
}

// Next implements Feed. A piece belongs between the event of its request and that of its reply. The host passes on every piece before it
// records the reply, so all of them are there when the reply's event is taken from the store: they are shown first.
func (f *feed) Next(ctx context.Context) (Item, error) {
	for {
		if err := f.take(ctx); err != nil {
			return Item{}, err
		}
		if piece, found := f.pieces.next(f.at, f.over); found {
			f.shown, f.streamed = piece, true
			return showing(piece), nil
		}
		if len(f.batches) > 0 {
			return f.pass(), nil
		}
		select {
		case <-f.pieces.more:
		case <-f.live.More():
		case <-f.ended:
		case <-ctx.Done():
		}
	}
}

// showing is apart from Next, where a delta that may be pointed to would cost an allocation for each event.
func showing(delta FeedDelta) Item { return Item{Delta: &delta} }

// take takes events from the store if none is left.
func (f *feed) take(ctx context.Context) error {
	if len(f.batches) > 0 {
		return nil
	}
	select {
	case <-f.ended:
		return storage.ErrClosed
	default:
	}
	batches, _, err := f.live.Take(ctx)
	f.batches = batches
	return err
}

// pass shows the next event. Before one that leaves what streamed without a reply, it says that this is void.
func (f *feed) pass() Item {
	event := &f.batches[0][0]
	switch event.Kind {
	case events.ModelReplied{}.Kind():
		f.over, f.streamed = event.Revision, false
	case events.ModelFailed{}.Kind(), events.ModelRequested{}.Kind(), events.TurnEnded{}.Kind():
		if f.streamed {
			f.streamed = false
			return showing(FeedDelta{Turn: f.shown.Turn, Request: f.shown.Request, Round: f.shown.Round, Void: true})
		}
		f.over = event.Revision
		if event.Kind == (events.ModelRequested{}).Kind() {
			f.over--
		}
	}
	if f.asking != nil && event.Kind == (events.ModelRequested{}).Kind() && event.Host != f.asked {
		f.asked = event.Host
		select {
		case <-f.asking: // an older one, that nobody has taken
		default:
		}
		f.asking <- event.Host
	}
	f.at = event.Revision
	if f.batches[0] = f.batches[0][1:]; len(f.batches[0]) == 0 {
		f.batches = f.batches[1:]
	}
	return Item{Event: event}
}

// How far a slow watcher may lag behind: pieces, and bytes of them.
const (
	deltaBuffer = 256
	deltaBytes  = 1 << 20
)

// pieces are what models produced and a watcher has not seen yet.
type pieces struct {
	more chan struct{} // a token: some were added

	mu      sync.Mutex
	waiting []FeedDelta
	size    int              // bytes of their texts
	latest  events.RequestID // of which there was a piece
	lost    events.RequestID // of which a piece was left out
}

// add never blocks: a slow watcher loses pieces, and the next one of the request says so.
func (p *pieces) add(piece FeedDelta) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest = piece.Request
	if n := len(p.waiting); n >= deltaBuffer || n > 0 && p.size+len(piece.Text) > deltaBytes {
		p.lost = piece.Request
		return
	}
	if p.lost != "" {
		piece.Lost, p.lost = piece.Lost || p.lost == piece.Request, ""
	}
	p.waiting = append(p.waiting, piece)
	p.size += len(piece.Text)
	select {
	case p.more <- struct{}{}:
	default:
	}
}

// miss notes that pieces may have been left out.
func (p *pieces) miss() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.waiting); n > 0 {
		p.waiting[n-1].Lost = true
	}
	p.lost = p.latest // the next one of that request says so, if there is one
}

// next takes the first piece whose request was made at a revision after over and up to at, and drops those of requests up to over.
func (p *pieces) next(at, over events.Revision) (FeedDelta, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.waiting) > 0 {
		piece := p.waiting[0]
		asked := askedAt(piece.Request)
		if asked > at {
			break
		}
		p.waiting[0] = FeedDelta{}
		p.size -= len(piece.Text)
		if p.waiting = p.waiting[1:]; len(p.waiting) == 0 {
			p.waiting = nil
		}
		if asked > over {
			return piece, true
		}
	}
	return FeedDelta{}, false
}

// askedAt is the revision of a request's event in its agent's stream.
func askedAt(request events.RequestID) events.Revision {
	_, revision, err := events.Ref(request).Split()
	if err != nil { // requests are named by their events
		return events.NoRevision
	}
	return revision
}

func (f *feed) Close() error {
	f.feeds.remove(f)
	f.end()
	return f.live.Close()
}

// end wakes whoever waits for the feed.
func (f *feed) end() { f.once.Do(func() { close(f.ended) }) }

// feeds knows who watches which agent.
type feeds struct {
	mu       sync.RWMutex
	watchers map[events.AgentID][]*feed
	closed   bool
}

func newFeeds() *feeds { return &feeds{watchers: map[events.AgentID][]*feed{}} }

func (s *feeds) add(f *feed) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.watchers[f.agent] = append(s.watchers[f.agent], f)
	return true
}

func (s *feeds) remove(f *feed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := make([]*feed, 0, len(s.watchers[f.agent]))
	for _, other := range s.watchers[f.agent] {
		if other != f {
			kept = append(kept, other)
		}
	}
	if s.watchers[f.agent] = kept; len(kept) == 0 {
		delete(s.watchers, f.agent)
	}
}

// close ends all feeds.
func (s *feeds) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, watchers := range s.watchers {
		for _, f := range watchers {
			f.end()
		}
	}
}

// watched reports whether anybody watches an agent.
func (s *feeds) watched(agent events.AgentID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.watchers[agent]) > 0
}

// delta returns the function that shows what a model says to whoever watches. It never blocks: a slow watcher loses pieces and is told.
func (s *feeds) delta(agent events.AgentID, r sagas.AskModel) func(piece Delta, lost bool) {
	return func(piece Delta, lost bool) {
		if r.Summary || !s.watched(agent) {
			return
		}
		s.mu.RLock()
		defer s.mu.RUnlock()
		for _, f := range s.watchers[agent] {
			f.pieces.add(FeedDelta{Turn: r.Turn, Request: r.ID, Round: r.Round, Delta: piece, Lost: lost})
		}
	}
}
