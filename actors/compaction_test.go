package actors_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/events"
	"example.com/life/sagas"
)

// reading is a model that calls the tool echo in five rounds, and summarises what it is shown. It counts how often it was asked for each.
type reading struct{ replies, summaries atomic.Int64 }

func (r *reading) ask(_ context.Context, q actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
	usage := events.Usage{Input: 10, Output: 5}
	delta(actors.Delta{Kind: events.BlockText, Text: "read"})
	if strings.Contains(q.System, "memory of an agent") {
		if r.summaries.Add(1); len(q.Tools) > 0 || len(q.Messages) != 1 {
			return actors.ModelResponse{}, fmt.Errorf("the summary is asked for with %d tools and %d messages", len(q.Tools), len(q.Messages))
		}
		return actors.ModelResponse{Text: "read: files were read", Stop: events.StopEnd, Usage: usage}, nil
	}
	n := r.replies.Add(1)
	if last := q.Messages[len(q.Messages)-1]; last.Role == sagas.RoleTool && strings.Contains(last.Text.Inline, "round 5 ") {
		return actors.ModelResponse{Text: "read all", Stop: events.StopEnd, Usage: usage}, nil
	}
	round := 1
	for i := range q.Messages {
		for _, call := range q.Messages[i].Calls {
			var was struct{ Round int }
			if json.Unmarshal(call.Arguments, &was) == nil {
				round = max(round, was.Round+1)
			}
		}
	}
	arguments := fmt.Appendf(nil, `{"round": %d, "text": "round %d %s"}`, round, round, strings.Repeat("and on ", 20))
	return actors.ModelResponse{
		Text: "read", Calls: []events.ModelCall{{ID: fmt.Sprint("x", n), Tool: "echo", Arguments: arguments}}, Stop: events.StopCalls, Usage: usage,
	}, nil
}

func compacting(mode events.CompactionMode) sagas.Create {
	made := create("demo", "echo")
	made.Config.Compaction = events.Compaction{Mode: mode}
	made.Config.Limits.ContextTokens = 300
	return made
}

// TestCompactionCrash lets the store die at every append of a turn whose conversation is compacted, in every way. The next host ends the turn, at most
// one request to the model is paid twice, and every decision is decided alike.
func TestCompactionCrash(t *testing.T) {
	for _, mode := range []events.CompactionMode{events.CompactSummarise, events.CompactDrop} {
		for _, how := range []death{unstored, untold, inBetween} {
			for n := 1; n <= 24; n++ {
				t.Run(fmt.Sprintf("%s, append %d, %s", mode, n, how), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { compactionCrash(t, mode, n, how) })
				})
			}
		}
	}
}

func compactionCrash(t *testing.T, mode events.CompactionMode, n int, how death) {
	memory, model := actorstest.NewMemory(), &reading{}
	config := actors.Config{
		Journal: memory, Snapshots: memory, Blobs: actorstest.NewBlobs(), OpeningCredit: events.Dollar, Masker: actorstest.Unmasked{},
		Models: oneModel{actorstest.FakeModel(model.ask)}, Tools: []actors.Tool{echo()},
	}
	dieWorking(t, memory, config, compacting(mode), n, how)
	host := start(t, config)
	do(t, host, "demo", say("c1", "go")) // accepted once
	seen := until(t, watch(t, host, "demo"), func(e events.Event) bool { return e.Kind() == "settlement.recorded" })
	asked, compacted := 0, 0
	for _, event := range seen {
		switch e := event.(type) {
		case events.ModelReplied:
			asked++
		case events.ConversationCompacted:
			if compacted++; e.Request != "" {
				asked++
			}
			if e.Because != "" {
				t.Error(e)
			}
		case events.TurnEnded:
			if e.Outcome != events.Done || e.Rounds != 6 {
				t.Error(e)
			}
		}
	}
	if compacted == 0 || mode == events.CompactSummarise && model.summaries.Load() == 0 {
		t.Errorf("the conversation was compacted %d times, %d summaries:\n%v", compacted, model.summaries.Load(), seen)
	}
	if calls := int(model.replies.Load() + model.summaries.Load()); calls > asked+1 {
		t.Errorf("the model was asked %d times for %d replies", calls, asked)
	}
	if report, err := host.Verify(t.Context(), "", nil); err != nil || len(report.Failures) > 0 {
		t.Errorf("verify: %v %+v", err, report.Failures)
	}
}

// TestSummaryIsNotShown: whoever watches the agent sees what it says, not what is written about it.
func TestSummaryIsNotShown(t *testing.T) {
	model := &reading{}
	host := start(t, actors.Config{
		Journal: actorstest.NewMemory(), OpeningCredit: events.Dollar, Models: oneModel{actorstest.FakeModel(model.ask)}, Tools: []actors.Tool{echo()},
	})
	do(t, host, "demo", compacting(events.CompactSummarise))
	feed := watch(t, host, "demo")
	do(t, host, "demo", say("c1", "go"))
	summaries, deltas := map[events.RequestID]bool{}, []events.RequestID{}
	for done := false; !done; {
		item, err := feed.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if item.Delta != nil {
			deltas = append(deltas, item.Delta.Request)
			continue
		}
		event, err := item.Event.Event()
		if err != nil {
			t.Fatal(err)
		}
		switch event.(type) {
		case events.SummaryRequested:
			summaries[events.RequestID(item.Event.Ref())] = true
		case events.TurnEnded:
			done = true
		}
	}
	for _, request := range deltas {
		if summaries[request] {
			t.Errorf("a piece of summary %s was shown", request)
		}
	}
	if len(summaries) == 0 || len(deltas) == 0 {
		t.Errorf("%d summaries, %d pieces", len(summaries), len(deltas))
	}
}

// TestDefaultCompaction: a configuration that says nothing is recorded with the default, and a creation that an earlier build accepted is known again.
func TestDefaultCompaction(t *testing.T) {
	host := start(t, actors.Config{Journal: actorstest.NewMemory(), Models: oneModel{actorstest.FakeModel(twoRounds)}})
	do(t, host, "demo", create("demo"))
	state, err := host.State(t.Context(), "demo", events.NoRevision)
	if err != nil || state.Agent.Config.Compaction.Mode != sagas.DefaultCompaction {
		t.Errorf("%v, compaction is %+v", err, state.Agent.Config.Compaction)
	}
	former := create("former")
	former.Config.Wallet, former.Config.Tenant = sagas.DefaultWallet, sagas.DefaultTenant
	created, err := sagas.NewAgent().Decide(former)
	if err != nil {
		t.Fatal(err)
	}
	agent := sagas.NewAgent().Apply(sagas.Fact{Event: created[0], Command: former.ID})
	former.Config.Compaction.Mode = sagas.DefaultCompaction
	if _, err := agent.Decide(former); err == nil || !strings.Contains(err.Error(), "already accepted") {
		t.Errorf("sent again to a build that fills in the default it gives %v", err)
	}
}
