package runs_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"example.com/life/events"
	"example.com/life/projections/runs"
)

// TestChooseTurns: of each agent its latest, all in the order in which they started.
func TestChooseTurns(t *testing.T) {
	turn := func(agent events.AgentID, number int, started events.Micros) runs.RecordedTurn {
		return runs.RecordedTurn{Turn: events.NewTurnID(agent, number), Started: started}
	}
	recorded := []runs.RecordedTurn{turn("a", 1, 10), turn("a", 2, 30), turn("a", 10, 30), turn("b", 1, 20), turn("b", 2, 25), turn("c", 7, 5)}
	names := func(chosen []runs.RecordedTurn) []events.TurnID {
		var all []events.TurnID
		for _, c := range chosen {
			all = append(all, c.Turn)
		}
		return all
	}
	for ofEach, want := range map[int][]events.TurnID{
		0: {"c/7", "a/1", "b/1", "b/2", "a/2", "a/10"},
		2: {"c/7", "b/1", "b/2", "a/2", "a/10"},
		1: {"c/7", "b/2", "a/10"},
	} {
		if difference := cmp.Diff(want, names(runs.ChooseTurns(recorded, ofEach))); difference != "" {
			t.Errorf("%d of each:\n%s", ofEach, difference)
		}
	}
}

// TestWhatIfBudget: what was spent goes beyond the limit by no more than turns that run cost more than they did before, and after
// one turn that may not run none may.
func TestWhatIfBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		money := func(name string, least int64) events.Money {
			return events.Money(rapid.Int64Range(least, 100).Draw(t, name))
		}
		limit := money("limit", 1)
		budget := runs.WhatIfBudget{Limit: limit}
		spent, beyond, refused := events.Money(0), events.Money(0), false
		var running []runs.RecordedTurn
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			if len(running) > 0 && rapid.Bool().Draw(t, "ends") {
				live := money("live", 0)
				budget.Settle(&running[0], live)
				spent += live
				beyond += max(0, live-running[0].Cost)
				running = running[1:]
				continue
			}
			turn := runs.RecordedTurn{Cost: money("cost", 0)}
			admitted := budget.Admit(&turn)
			if admitted && refused {
				t.Fatal("a turn runs after one that might not")
			}
			if refused = !admitted; admitted {
				running = append(running, turn)
			}
			if spent > limit+beyond {
				t.Fatalf("%s was spent of %s", spent, limit)
			}
		}
	})
	free := runs.WhatIfBudget{}
	for range 3 {
		if !free.Admit(&runs.RecordedTurn{Cost: events.Dollar}) {
			t.Error("without a limit every turn may run")
		}
	}
}

// TestSummarize adds hand-made turns up: equal, asked otherwise, better, worse, waiting, failed and not run.
func TestSummarize(t *testing.T) {
	compare := func(before, after []string) runs.WhatIfTurn {
		a, b := written(t, "ada", "x", before), written(t, "bob", "y", after)
		aligned := runs.AlignRuns(sketches(a), sketches(b)).Pairs()
		turns := runs.CompareTurns(a[0], b[0])
		w := runs.WhatIfTurn{Turn: a[0].Turn, Fork: "bob", Live: runs.LiveCost(b[0], 2)}
		w.Compared(&aligned[0], &turns)
		return w
	}
	short := []string{"message look", "start", "ask", "reply Done.", "end done"}
	long := []string{
		"message look", "start", "ask", `reply I look.; bash {"command":"ls"}`, "sent 1.1", "failing 1.1 no", "ask", "reply Done.", "end stopped limit.time",
	}
	other := append([]string{"config prompt=other"}, short...)
	turns := []runs.WhatIfTurn{
		compare(short, short), compare(short, other), compare(short, long), compare(long, short), compare(long, long),
		{Turn: "c/1", State: runs.WhatIfWaits, Live: 7},
		{Turn: "c/2", State: runs.WhatIfFailed},
		{Turn: "c/3", State: runs.WhatIfNotRun},
	}
	summary := runs.Summarize(turns)
	want := runs.WhatIfSummary{
		Turns: 8, Compared: 5, Waits: 1, Failed: 1, NotRun: 1, Equal: 2, Asked: 1, Differ: 2,
		Where:    []runs.WhatIfPlace{{What: runs.AspectReply, Turns: 2}},
		Outcomes: []runs.WhatIfEnd{{A: "done", B: "done", Turns: 2}, {A: "done", B: "stopped", Turns: 1}, {A: "stopped", B: "done", Turns: 1}, {A: "stopped", B: "stopped", Turns: 1}},
		Better: []runs.WhatIfChange{
			{Of: "cost", Less: 1, Same: 3, More: 1},
			{Of: "tokens", Less: 1, Same: 3, More: 1},
			{Of: "running time", Less: 1, Same: 3, More: 1},
			{Of: "rounds", Less: 1, Same: 3, More: 1},
			{Of: "calls", Less: 1, Same: 3, More: 1},
			{Of: "failures", Less: 1, Same: 3, More: 1},
		},
		A: summary.A, B: summary.B, Live: 2*50 + 7,
	}
	if difference := cmp.Diff(want, summary); difference != "" {
		t.Error(difference)
	}
	if summary.A.Turns != 5 || summary.A.Failures != 2 || summary.B.Rounds != 7 || summary.A.Outcomes.Stopped != 2 {
		t.Errorf("%+v\n%+v", summary.A, summary.B)
	}
	text, err := json.Marshal(turns[2])
	if err != nil || turns[2].Answers == nil || turns[2].Round != 1 {
		t.Errorf("%s, %v", text, err)
	}
}
