package actors_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/events"
)

// A watcher at any host sees what the model produces on the host that holds the agent: also while that is not the owner, because the model's reply is
// waited for before the agent moves. At the move a piece says that some may be lost, and the reply is whole.
func TestDeltasComeFromTheHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts(t)
		pieces := make(chan string)
		h.config.Models = oneModel{actorstest.FakeModel(func(ctx context.Context, _ actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
			text := ""
			for {
				select {
				case piece := <-pieces:
					if piece == "" {
						return actors.ModelResponse{Text: text, Stop: events.StopEnd, Usage: events.Usage{Input: 10, Output: 5}}, nil
					}
					delta(actors.Delta{Text: piece})
					text += piece
				case <-ctx.Done():
					return actors.ModelResponse{}, ctx.Err()
				}
			}
		})}
		a, b, c := h.join("a"), h.join("b"), h.join("c")
		id := h.owned(a, "x")
		do(t, b.Host, id, agentWith(id))
		type watcher struct {
			feed  actors.Feed
			at    string
			texts []string
			lost  bool
		}
		var watchers []*watcher
		for _, m := range []*member{a, b, c} {
			feed, err := m.Watch(t.Context(), id, events.NoRevision)
			if err != nil {
				t.Fatal(err)
			}
			defer feed.Close()
			watchers = append(watchers, &watcher{feed: feed, at: m.name})
		}
		// until has each watcher take items until one that is wanted.
		until := func(wanted func(w *watcher, item actors.Item) bool) {
			t.Helper()
			for _, w := range watchers {
				for {
					item, err := w.feed.Next(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if d := item.Delta; d != nil {
						w.texts, w.lost = append(w.texts, d.Text), w.lost || d.Lost
					}
					if wanted(w, item) {
						break
					}
				}
			}
		}
		piece := func(text string) {
			t.Helper()
			<-time.After(10 * time.Millisecond) // who has just heard of a move is connected again by then
			pieces <- text
			until(func(_ *watcher, item actors.Item) bool { return item.Delta != nil && item.Delta.Text == text })
		}
		do(t, c.Host, id, say("m1", "say something"))
		until(func(_ *watcher, item actors.Item) bool {
			return item.Event != nil && item.Event.Kind == (events.ModelRequested{}).Kind()
		})
		piece("one ")
		for _, w := range watchers {
			if w.lost {
				t.Errorf("at %s a piece was lost before anything moved", w.at)
			}
		}
		h.cluster.Apply(events.PlacementPinned{Stream: events.AgentStream(id), To: []events.Label{{Name: "host", Value: "b"}}})
		piece("two ")
		piece("three")
		pieces <- ""
		until(func(_ *watcher, item actors.Item) bool {
			return item.Event != nil && item.Event.Kind == (events.TurnEnded{}).Kind()
		})
		for _, w := range watchers {
			if got := strings.Join(w.texts, ""); got != "one two three" || !w.lost && w.at != "a" {
				t.Errorf("at %s: %q, lost %v", w.at, got, w.lost)
			}
		}
		// The next turn is decided by the new owner.
		do(t, a.Host, id, say("m2", "and more"))
		until(func(_ *watcher, item actors.Item) bool {
			return item.Event != nil && item.Event.Kind == (events.ModelRequested{}).Kind() && item.Event.Host == b.node.Self()
		})
		piece("four")
		pieces <- ""
		until(func(_ *watcher, item actors.Item) bool {
			return item.Event != nil && item.Event.Kind == (events.TurnEnded{}).Kind()
		})
	})
}
