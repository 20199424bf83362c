package projections_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"example.com/life/events"
	"example.com/life/projections"
)

// life is what happens to an agent that is asked, waits for a person, is let go on, and ends.
func life(agent events.AgentID) []events.Event {
	turn := events.NewTurnID(agent, 1)
	return []events.Event{
		events.AgentCreated{Agent: agent, Config: events.AgentConfig{Model: "scripted/tour"}},
		events.MessageReceived{Message: "m1", Verb: events.Collect, Text: events.Text{Inline: "go"}},
		events.TurnStarted{Turn: turn, Messages: []events.MessageID{"m1"}},
		events.AdviceGiven{Request: "r", Mode: events.ModeExecute},
		events.ModelReplied{Request: "r", Stop: events.StopCalls, Usage: events.Usage{Input: 10, Output: 5}, Cost: 7, Priced: true},
		events.ApprovalRequested{Turn: turn, Call: "1.1", Tool: "bash"},
		events.MessageReceived{Message: "m2", Verb: events.Followup, Text: events.Text{Inline: "then"}},
		events.ApprovalGranted{Call: "1.1"},
		events.ToolRequested{Turn: turn, Call: "1.1", Tool: "bash", Arguments: json.RawMessage(`{}`)},
		events.TurnPaused{Turn: turn, Reason: events.ReasonTokens},
		events.TurnResumed{Turn: turn},
		events.TurnEnded{Turn: turn, Outcome: events.Done, Cost: 7},
		events.SettlementRequested{Turn: turn, Wallet: "main", Spent: 7},
		events.SettlementRecorded{Request: "r"},
		events.AgentQuarantined{Reason: "it fails"},
		events.AgentReleased{},
		events.AgentRetired{},
	}
}

func stored(t interface{ Fatal(...any) }, stream events.Stream, all []events.Event) []events.Envelope {
	envelopes := make([]events.Envelope, len(all))
	for i, event := range all {
		data, version, err := events.Encode(event)
		if err != nil {
			t.Fatal(err)
		}
		envelopes[i] = events.Envelope{
			Stream: stream, Revision: events.Revision(i), Kind: event.Kind(), Version: version, Time: events.Micros(1000 + i), Data: data,
		}
	}
	return envelopes
}

func TestRosterFollowsALife(t *testing.T) {
	roster := newRoster(t)
	want := map[int]func(projections.AgentSummary) bool{
		1:  func(a projections.AgentSummary) bool { return a.Waiting == 1 && !a.Open() },
		2:  func(a projections.AgentSummary) bool { return a.Waiting == 0 && a.Turn == "a/1" && a.Open() },
		4:  func(a projections.AgentSummary) bool { return a.Usage.Total() == 15 && a.Mode == events.ModeExecute },
		5:  func(a projections.AgentSummary) bool { return len(a.Approvals) == 1 },
		8:  func(a projections.AgentSummary) bool { return len(a.Approvals) == 0 && a.Waiting == 1 },
		9:  func(a projections.AgentSummary) bool { return a.Paused == events.ReasonTokens },
		11: func(a projections.AgentSummary) bool { return a.Turn == "" && a.Turns == 1 && a.Cost == 7 && !a.Open() },
		12: func(a projections.AgentSummary) bool { return a.Unsettled == 1 && a.Open() },
		13: func(a projections.AgentSummary) bool { return a.Unsettled == 0 },
		14: func(a projections.AgentSummary) bool { return a.Quarantined == "it fails" },
		16: func(a projections.AgentSummary) bool { return a.Retired && a.Quarantined == "" && a.Revision == 16 },
	}
	for i, envelope := range stored(t, "agent-a", life("a")) {
		envelope.Position = events.Position(i + 1)
		give(t, roster, &envelope)
		if check := want[i]; check != nil && !check(agentsOf(t, roster, projections.AgentFilter{})[0]) {
			t.Errorf("after %s: %+v", envelope.Kind, agentsOf(t, roster, projections.AgentFilter{}))
		}
	}
}

func TestRosterKeepsGoing(t *testing.T) {
	roster := newRoster(t)
	for i, envelope := range []events.Envelope{
		{Stream: "agent-a", Kind: "agent.created", Version: 1, Data: json.RawMessage(`{"agent":7}`)},
		{Stream: "wallet-main", Kind: "wallet.opened", Version: 1, Data: json.RawMessage(`{}`)},
		{Stream: "agent-b", Kind: "agent.dreamt", Version: 9, Data: json.RawMessage(`{}`)},
	} {
		envelope.Position = events.Position(i + 1)
		give(t, roster, &envelope)
	}
	list := agentsOf(t, roster, projections.AgentFilter{})
	if len(list) != 2 || list[0].Problem == "" || list[1].Problem != "" {
		t.Errorf("agents %+v", list)
	}
}

// TestRosterRebuilt interleaves several lives, delivers events twice, and stores and restores the roster at some point: the answer
// is that of a roster that read everything once.
func TestRosterRebuilt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		agents := []events.AgentID{"a", "b", "c"}
		rest := map[events.AgentID][]events.Envelope{}
		for _, agent := range agents {
			rest[agent] = stored(t, events.AgentStream(agent), life(agent))[:rapid.IntRange(1, 17).Draw(t, "length")]
		}
		var all []events.Envelope
		for len(rest) > 0 {
			agent := rapid.SampledFrom(agents).Draw(t, "agent")
			if len(rest[agent]) == 0 {
				delete(rest, agent)
				continue
			}
			envelope := rest[agent][0]
			envelope.Position = events.Position(2*len(all) + 1)
			all, rest[agent] = append(all, envelope), rest[agent][1:]
		}
		once, kept := newRoster(t), newRoster(t)
		restart := rapid.IntRange(0, len(all)).Draw(t, "restart")
		for i := range all {
			give(t, once, &all[i])
			if i == restart {
				state, err := kept.Save()
				if err != nil {
					t.Fatal(err)
				}
				if kept = newRoster(t); kept.Restore(state) != nil {
					t.Fatal("the roster cannot be restored")
				}
			}
			for range rapid.IntRange(1, 2).Draw(t, "deliveries") {
				give(t, kept, &all[i])
			}
		}
		whole := agentsOf(t, once, projections.AgentFilter{})
		if diff := cmp.Diff(whole, agentsOf(t, kept, projections.AgentFilter{})); diff != "" {
			t.Fatalf("(- read once, + stored and restored)\n%s", diff)
		}
		filter := projections.AgentFilter{
			Agent:  rapid.SampledFrom([]events.AgentID{"", "a", "b", "z"}).Draw(t, "agent"),
			Status: projections.AgentStatus(rapid.SampledFrom(append(projections.AgentStatuses(), "", "")).Draw(t, "status")),
			Active: rapid.Bool().Draw(t, "active"),
			Model:  rapid.SampledFrom([]string{"", "scripted/tour", "other"}).Draw(t, "model"),
			After:  rapid.SampledFrom([]events.AgentID{"", "a", "aa", "b", "c"}).Draw(t, "after"),
			Limit:  rapid.IntRange(0, 3).Draw(t, "limit"),
		}
		want := []projections.AgentSummary{}
		for _, agent := range whole {
			if (filter.Agent == "" || filter.Agent == agent.ID) && (filter.Status == "" || filter.Status == agent.Status()) &&
				(!filter.Active || !agent.Retired) &&
				(filter.Model == "" || filter.Model == agent.Model) && agent.ID > filter.After && (filter.Limit == 0 || len(want) < filter.Limit) {
				want = append(want, agent)
			}
		}
		for name, roster := range map[string]projections.Fold{"read once": once, "stored and restored": kept} {
			if diff := cmp.Diff(want, agentsOf(t, roster, filter)); diff != "" {
				t.Fatalf("%s: %+v (- one by one, + by the index)\n%s", name, filter, diff)
			}
		}
	})
}

// TestRosterFindsForks: what a fork's parent is, and that a set that becomes empty is gone.
func TestRosterFindsForks(t *testing.T) {
	roster := newRoster(t)
	forked := stored(t, "agent-b", []events.Event{
		events.AgentForked{Agent: "b", Parent: "a", Config: events.AgentConfig{Model: "x"}},
		events.AgentConfigured{Config: events.AgentConfig{Model: "y"}},
	})
	for i, envelope := range append(stored(t, "agent-a", life("a"))[:1], forked...) {
		envelope.Position = events.Position(i + 1)
		give(t, roster, &envelope)
	}
	for filter, want := range map[projections.AgentFilter]int{
		{}: 2, {Parent: "a"}: 1, {Parent: "b"}: 0, {Model: "x"}: 0, {Model: "y"}: 1, {Model: "y", Parent: "a"}: 1, {Model: "scripted/tour", Parent: "a"}: 0,
	} {
		if got := agentsOf(t, roster, filter); len(got) != want {
			t.Errorf("%+v finds %d agents, want %d", filter, len(got), want)
		}
	}
}

// TestRosterCostsWhatItReturns: a query allocates the same for one of ten agents as for one of ten thousand.
func TestRosterCostsWhatItReturns(t *testing.T) {
	allocations := func(agents int, filter projections.AgentFilter) float64 {
		roster := newRoster(t)
		for i := range agents {
			id := events.AgentID(fmt.Sprintf("agent-%05d", i))
			lived := life(id)[:1]
			if i == agents/2 {
				lived = life(id)[:6] // waits for approval
			}
			for _, envelope := range stored(t, events.AgentStream(id), lived) {
				envelope.Position = events.Position(10*i) + events.Position(envelope.Revision) + 1
				give(t, roster, &envelope)
			}
		}
		if got := agentsOf(t, roster, filter); len(got) != 1 {
			t.Fatalf("%+v finds %d agents", filter, len(got))
		}
		return testing.AllocsPerRun(10, func() { agentsOf(t, roster, filter) })
	}
	for _, filter := range []projections.AgentFilter{
		{Agent: "agent-00003"}, {Status: projections.StatusWaiting}, {Status: projections.StatusWaiting, Model: "scripted/tour"}, {After: "agent-00003", Limit: 1},
	} {
		if few, many := allocations(10, filter), allocations(10_000, filter); few != many {
			t.Errorf("%+v allocates %.0f times among 10 agents and %.0f among 10,000", filter, few, many)
		}
	}
}

func newRoster(t interface{ Fatal(...any) }) projections.Fold {
	spec, err := projections.Find(projections.RosterName)
	if err != nil {
		t.Fatal(err)
	}
	return spec.New()
}

func give(t interface{ Fatal(...any) }, fold projections.Fold, envelope *events.Envelope) {
	if err := fold.Apply(&projections.Recorded{Envelope: envelope}); err != nil {
		t.Fatal(err)
	}
}

func agentsOf(t interface{ Fatal(...any) }, roster projections.Fold, filter projections.AgentFilter) []projections.AgentSummary {
	answer, err := roster.Answer(filter.Query())
	if err != nil {
		t.Fatal(err)
	}
	return answer.(projections.AgentList).Agents
}
