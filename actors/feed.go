package actors

import (
	"context"
	"io"
	"sync"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// Feed shows an agent's events and, between them, the text that its model is producing. It belongs to one goroutine.
type Feed interface {
	// Next waits for the next item. It returns ctx's error, or ErrClosed after Close or when the host closes.
	Next(ctx context.Context) (Item, error)
	io.Closer
}

// Item is an event or a piece of text. Exactly one field is set.
type Item struct {
	Event *events.Envelope
	Delta *Delta
}

// Delta is text that a model has just produced. It is not history: the reply's event holds all of it. When Lost is set, pieces were
// left out because the watcher was slow: wait for the reply's event.
type Delta struct {
	Turn    events.TurnID    `json:"turn"`
	Request events.RequestID `json:"request"`
	Round   int              `json:"round"`
	Text    string           `json:"text"`
	Lost    bool             `json:"lost,omitempty"`
}

// Watch shows what happens to an agent after a revision (NoRevision: from its beginning).
func (h *Host) Watch(ctx context.Context, agent events.AgentID, after events.Revision) (Feed, error) {
	if err := agent.Validate(); err != nil {
		return nil, &sagas.Refusal{Code: sagas.RefusedInvalid, Detail: err.Error()}
	}
	subscription, err := h.journal.Subscribe(ctx, storage.From{Stream: events.AgentStream(agent), Revision: after})
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &feed{
		feeds: h.feeds, agent: agent, subscription: subscription, cancel: cancel,
		events: make(chan events.Envelope, eventBuffer), deltas: make(chan Delta, deltaBuffer), ended: make(chan struct{}),
	}
	if !h.feeds.add(f) {
		cancel()
		_ = subscription.Close()
		return nil, storage.ErrClosed
	}
	go f.pump(running)
	return f, nil
}

// eventBuffer is how many events are read ahead, so that watching a burst takes one wake-up and not one for each.
const eventBuffer = 32

// deltaBuffer is how many pieces of text a slow watcher may lag behind.
const deltaBuffer = 256

type feed struct {
	feeds        *feeds
	agent        events.AgentID
	subscription storage.Subscription
	cancel       context.CancelFunc
	events       chan events.Envelope
	deltas       chan Delta
	ended        chan struct{} // closed when pump returns; err is set before
	err          error
	lost         bool // owned by feeds
}

// pump carries events from the subscription. Its owner is the feed: Close waits for it.
func (f *feed) pump(ctx context.Context) {
	defer close(f.ended)
	for {
		envelope, err := f.subscription.Next(ctx)
		if err != nil {
			if f.err = err; ctx.Err() != nil { // Close, or the host's
				f.err = storage.ErrClosed
			}
			return
		}
		select {
		case f.events <- envelope:
		case <-ctx.Done():
			f.err = storage.ErrClosed
			return
		}
	}
}

func (f *feed) Next(ctx context.Context) (Item, error) {
	select {
	case envelope := <-f.events:
		return Item{Event: &envelope}, nil
	case delta := <-f.deltas:
		return Item{Delta: &delta}, nil
	case <-f.ended:
		select {
		case envelope := <-f.events: // read before the end
			return Item{Event: &envelope}, nil
		default:
			return Item{}, f.err
		}
	case <-ctx.Done():
		return Item{}, ctx.Err()
	}
}

func (f *feed) Close() error {
	f.feeds.remove(f)
	f.cancel()
	<-f.ended
	return f.subscription.Close()
}

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
			f.cancel()
		}
	}
}

// delta returns the function that shows a model's text to whoever watches. It never blocks: a slow watcher loses pieces and is told.
func (s *feeds) delta(agent events.AgentID, r sagas.AskModel) func(string) {
	return func(text string) {
		s.mu.RLock()
		watched := len(s.watchers[agent]) > 0
		s.mu.RUnlock()
		if !watched || text == "" {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, f := range s.watchers[agent] {
			select {
			case f.deltas <- Delta{Turn: r.Turn, Request: r.ID, Round: r.Round, Text: text, Lost: f.lost}:
				f.lost = false
			default:
				f.lost = true
			}
		}
	}
}
