package actors

import (
	"context"
	"io"
	"sync"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
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

// FeedDelta is a piece that a model has just produced. It is not history: the reply's event holds all of it. When Lost is set, pieces were
// left out because the watcher was slow: wait for the reply's event.
type FeedDelta struct {
	Turn    events.TurnID    `json:"turn"`
	Request events.RequestID `json:"request"`
	Round   int              `json:"round"`
	Delta
	Lost bool `json:"lost,omitempty"`
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
		feeds: h.feeds, agent: agent, live: storage.Follow(subscription), deltas: make(chan FeedDelta, deltaBuffer), ended: make(chan struct{}),
	}
	if !h.feeds.add(f) {
		_ = f.live.Close()
		return nil, storage.ErrClosed
	}
	return f, nil
}

// deltaBuffer is how many pieces of text a slow watcher may lag behind.
const deltaBuffer = 256

type feed struct {
	feeds   *feeds
	agent   events.AgentID
	live    storage.Live
	batches [][]events.Envelope // taken and not yet shown; none is empty
	deltas  chan FeedDelta
	once    sync.Once
	ended   chan struct{} // closed by Close, or when the host closes
	lost    bool          // owned by feeds
}

// Next implements Feed. A piece of text is shown before the events that came after it.
func (f *feed) Next(ctx context.Context) (Item, error) {
	for {
		select {
		case delta := <-f.deltas:
			return showing(delta), nil
		default:
		}
		if event, err := f.event(ctx); event != nil || err != nil {
			return Item{Event: event}, err
		}
		select {
		case delta := <-f.deltas:
			return showing(delta), nil
		case <-f.live.More():
		case <-f.ended:
		case <-ctx.Done():
		}
	}
}

// showing is apart from Next, where a delta that may be pointed to would cost an allocation for each event.
func showing(delta FeedDelta) Item { return Item{Delta: &delta} }

// event returns the next event, if there is one.
func (f *feed) event(ctx context.Context) (*events.Envelope, error) {
	if len(f.batches) == 0 {
		select {
		case <-f.ended:
			return nil, storage.ErrClosed
		default:
		}
		batches, _, err := f.live.Take(ctx)
		if err != nil || len(batches) == 0 {
			return nil, err
		}
		f.batches = batches
	}
	event := &f.batches[0][0]
	if f.batches[0] = f.batches[0][1:]; len(f.batches[0]) == 0 {
		f.batches = f.batches[1:]
	}
	return event, nil
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
		if !s.watched(agent) {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, f := range s.watchers[agent] {
			select {
			case f.deltas <- FeedDelta{Turn: r.Turn, Request: r.ID, Round: r.Round, Delta: piece, Lost: f.lost || lost}:
				f.lost = false
			default:
				f.lost = true
			}
		}
	}
}
