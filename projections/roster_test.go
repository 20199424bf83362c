package projections_test

import (
	"encoding/json"
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
	roster := projections.NewRoster()
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
		roster.Apply(&envelope)
		if check := want[i]; check != nil && !check(roster.List()[0]) {
			t.Errorf("after %s: %+v", envelope.Kind, roster.List()[0])
		}
	}
}

func TestRosterKeepsGoing(t *testing.T) {
	roster := projections.NewRoster()
	for i, envelope := range []events.Envelope{
		{Stream: "agent-a", Kind: "agent.created", Version: 1, Data: json.RawMessage(`{"agent":7}`)},
		{Stream: "wallet-main", Kind: "wallet.opened", Version: 1, Data: json.RawMessage(`{}`)},
		{Stream: "agent-b", Kind: "agent.dreamt", Version: 9, Data: json.RawMessage(`{}`)},
	} {
		envelope.Position = events.Position(i + 1)
		roster.Apply(&envelope)
	}
	list := roster.List()
	if roster.Position != 3 || len(list) != 2 || list[0].Problem == "" || list[1].Problem != "" {
		t.Errorf("position %d, agents %+v", roster.Position, list)
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
		once, kept := projections.NewRoster(), projections.NewRoster()
		restart := rapid.IntRange(0, len(all)).Draw(t, "restart")
		for i := range all {
			once.Apply(&all[i])
			if i == restart {
				state, err := json.Marshal(kept)
				if err != nil {
					t.Fatal(err)
				}
				if kept = projections.NewRoster(); json.Unmarshal(state, kept) != nil {
					t.Fatal("the roster cannot be restored")
				}
			}
			for range rapid.IntRange(1, 2).Draw(t, "deliveries") {
				kept.Apply(&all[i])
			}
		}
		if diff := cmp.Diff(once.List(), kept.List()); diff != "" {
			t.Fatalf("(- read once, + stored and restored)\n%s", diff)
		}
	})
}
