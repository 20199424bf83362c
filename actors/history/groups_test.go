package history_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/history"
	"example.com/life/events"
	"example.com/life/projections/runs"
	"example.com/life/sagas"
	"example.com/life/sagas/world"
)

// TestGroups tells the histories of a world in pages of several sizes, forward and back. Every page gives the same groups, they follow
// on one another without a gap, and every event is behind a heading, behind a line, or counted.
func TestGroups(t *testing.T) {
	memory := actorstest.NewMemory()
	streams := seeded(t, memory, world.Config{Seed: 21, Agents: 4, Events: 4000})
	host := reader(memory, memory)
	for agent, recorded := range streams {
		all := groupPages(t, host, agent, history.GroupOrder{Last: events.NoRevision, Limit: 200, Forward: true})
		next := events.Revision(0)
		for _, g := range all {
			accounted := g.Heading
			for _, l := range g.Lines {
				accounted += l.Events
			}
			for _, c := range g.Others {
				accounted += c.Count
			}
			if g.First != next || accounted != g.Events || g.Events != int(g.Last-g.First)+1 {
				t.Fatalf("%s from %d to %d, after %d: %d of %d events are accounted for", g.Turn, g.First, g.Last, next-1, accounted, g.Events)
			}
			next = g.Last + 1
		}
		if int(next) != len(recorded) {
			t.Fatalf("the groups end at %d, the history at %d", next-1, len(recorded)-1)
		}
		for _, limit := range []int{1, 7} {
			for _, forward := range []bool{true, false} {
				got := groupPages(t, host, agent, history.GroupOrder{Last: events.NoRevision, Limit: limit, Forward: forward})
				if x, y := asJSON(t, got), asJSON(t, all); x != withTexts(t, all, got) && x != y {
					t.Fatalf("in pages of %d, forward %t: %d groups, want %d", limit, forward, len(got), len(all))
				}
			}
		}
	}
}

// withTexts is all as pages tell it: the text of a message that came before a page is not known there.
func withTexts(t *testing.T, all, pages []runs.Group) string {
	t.Helper()
	if len(all) != len(pages) {
		return ""
	}
	all = slices.Clone(all)
	for i := range all {
		all[i].Messages = slices.Clone(all[i].Messages)
		for k := range all[i].Messages {
			if k < len(pages[i].Messages) && pages[i].Messages[k].Text == "" {
				all[i].Messages[k].Text = ""
			}
		}
	}
	return asJSON(t, all)
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// groupPages reads page after page, and returns the groups in the order of history.
func groupPages(t *testing.T, host *history.Reader, agent events.AgentID, order history.GroupOrder) []runs.Group {
	t.Helper()
	var all []runs.Group
	for {
		page, err := host.Groups(t.Context(), agent, order)
		if err != nil {
			t.Fatal(err)
		}
		if order.Forward {
			all, order.First = append(all, page.Groups...), page.Next
		} else {
			all, order.Last = append(page.Groups, all...), page.Next
		}
		if page.Next == events.NoRevision {
			return all
		}
	}
}

// TestSearch finds the events that somebody finds who reads all of the history, in pages of any size and in both directions.
func TestSearch(t *testing.T) {
	memory := actorstest.NewMemory()
	streams := seeded(t, memory, world.Config{Seed: 22, Agents: 2, Events: 1200})
	host := history.New(history.Config{
		Journal: memory, Snapshots: memory, Blobs: actorstest.NewBlobs(),
		Where: func(expression string) (history.EventFilter, error) {
			if expression == "?" {
				return nil, errors.New("what?")
			}
			return func(e *events.Envelope) (bool, error) { return strings.Contains(e.Correlation, expression), nil }, nil
		},
	})
	for agent, recorded := range streams {
		for _, order := range []history.Search{
			{Last: events.NoRevision},
			{First: 100, Last: 400, Kinds: []string{"tool.", "turn.ended"}},
			{Last: events.NoRevision, Text: "README"},
			{Last: events.NoRevision, Text: "WAS ASKED (round 2"},
			{First: 9, Last: 1 << 40, Where: "/1", Kinds: []string{"model."}},
		} {
			var want []events.Revision
			for i := range recorded {
				e := &recorded[i]
				event, err := e.Event()
				if err != nil {
					t.Fatal(err)
				}
				text := strings.ToLower(string(e.Data) + "\n" + event.String())
				kind := len(order.Kinds) == 0 || slices.ContainsFunc(order.Kinds, func(k string) bool { return strings.HasPrefix(string(e.Kind), k) })
				if kind && e.Revision >= order.First && (order.Last < 0 || e.Revision <= order.Last) &&
					strings.Contains(text, strings.ToLower(order.Text)) && strings.Contains(e.Correlation, order.Where) {
					want = append(want, e.Revision)
				}
			}
			for _, limit := range []int{0, 1, 100} {
				for _, reverse := range []bool{false, true} {
					order.Limit, order.Reverse = limit, reverse
					got := searchPages(t, host, agent, order)
					if reverse {
						slices.Reverse(got)
					}
					if !slices.Equal(got, want) {
						t.Fatalf("%+v: %d events, want %d", order, len(got), len(want))
					}
				}
			}
			if len(want) == 0 {
				t.Errorf("%+v finds nothing: this proves nothing", order)
			}
		}
	}
	_, err := host.Search(t.Context(), "agent-0", history.Search{Where: "?"})
	var refusal *sagas.RefusalError
	if !errors.As(err, &refusal) || refusal.Detail != "what?" {
		t.Errorf("an expression that is none: %v", err)
	}
}

// TestSearchIsBounded: a page ends when its condition has taken long enough, after the event that was looked at, and when its caller leaves.
func TestSearchIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, looked := actorstest.NewMemory(), 0
		seeded(t, memory, world.Config{Seed: 22, Agents: 1, Events: 100})
		host := history.New(history.Config{
			Journal: memory, Snapshots: memory, Blobs: actorstest.NewBlobs(),
			Where: func(string) (history.EventFilter, error) {
				return func(*events.Envelope) (bool, error) {
					looked++
					<-time.After(1500 * time.Millisecond) // of the bubble
					return true, nil
				}, nil
			},
		})
		page, err := host.Search(t.Context(), "agent-0", history.Search{Last: events.NoRevision, Where: "slow"})
		if err != nil || looked != 2 || len(page.Events) != 2 || page.Next != 2 {
			t.Errorf("%d events were looked at, %d found, it goes on at %d: %v", looked, len(page.Events), page.Next, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := host.Search(ctx, "agent-0", history.Search{Last: events.NoRevision, Where: "slow"}); !errors.Is(err, context.DeadlineExceeded) || looked != 3 {
			t.Errorf("%d events were looked at, %v", looked, err)
		}
	})
}

func searchPages(t *testing.T, host *history.Reader, agent events.AgentID, order history.Search) []events.Revision {
	t.Helper()
	var all []events.Revision
	for {
		found, err := host.Search(t.Context(), agent, order)
		if err != nil {
			t.Fatal(err)
		}
		for i := range found.Events {
			all = append(all, found.Events[i].Revision)
		}
		if found.Next == events.NoRevision {
			return all
		}
		if order.Reverse {
			order.Last = found.Next
		} else {
			order.First = found.Next
		}
	}
}
