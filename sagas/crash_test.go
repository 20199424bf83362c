package sagas_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/life/events"
	"example.com/life/sagas"
)

// TestTurnCrash runs each scenario without a crash, and then once for every append with a crash right after it: before anything
// that the append asks for was sent, and after all of it took effect but before any answer was appended. The histories must be
// equal, but for what a crash is allowed to add; see facts.
func TestTurnCrash(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			calm := newWorld(t, &s, crashPlan{})
			calm.run()
			calm.check(t, calm)
			appends := len(calm.agent.ends)
			for _, effects := range []bool{false, true} {
				for n := 1; n <= appends; n++ {
					for name, after := range map[string]func(int) bool{
						"once":  func(appends int) bool { return appends == n },
						"twice": func(appends int) bool { return appends == n || appends == n+2 },
					} {
						w := newWorld(failing{t, fmt.Sprintf("crash %s after append %d, effects %v", name, n, effects)},
							&s, crashPlan{after: after, effects: effects})
						w.run()
						w.check(w.t, calm)
					}
				}
				w := newWorld(failing{t, fmt.Sprintf("crash after every append, effects %v", effects)},
					&s, crashPlan{after: func(int) bool { return true }, effects: effects})
				w.run()
				w.check(w.t, calm)
				if w.crashes < appends {
					t.Errorf("the host died %d times, want at least %d", w.crashes, appends)
				}
			}
		})
	}
}

// failing says in which run something failed.
type failing struct {
	*testing.T
	run string
}

func (f failing) Fatalf(format string, args ...any) {
	f.Helper()
	f.T.Fatalf(f.run+": "+format, args...)
}

func scenarios() []scenario {
	model := func(_, round, _ int) sagas.Command {
		if round == 1 {
			return calls(round, "read", "pay", "write")
		}
		return says("done")
	}
	ends := func(_, _, _ int) sagas.Command { return says("done") }
	running := func(a *sagas.Agent) bool { return len(a.Turn.Calls) > 0 }
	asking := func(a *sagas.Agent) bool { return a.Turn.Model != "" }
	return []scenario{
		{name: "one answer", credit: events.Dollar, model: ends, steps: []step{send("one", events.Collect, idle)}},
		{name: "tools in parallel", credit: events.Dollar, model: model, steps: []step{send("one", events.Collect, idle)}},
		{
			name: "approvals", credit: events.Dollar, model: model,
			config: func(c *events.AgentConfig) { c.Policy.Ask = []string{"pay", "write"} },
			steps:  []step{send("one", events.Collect, idle)},
		},
		{
			name: "judged calls, one approval remembered, one with other arguments", credit: events.Dollar,
			config: func(c *events.AgentConfig) { c.Policy.Mode = events.PermissionAsk },
			model: func(_, round, _ int) sagas.Command {
				if round > 2 {
					return says("done")
				}
				c := calls(round, "read", "pay", "write").(sagas.RecordReply)
				c.Findings = []sagas.Finding{
					{Call: 1, Finding: events.Finding{Class: events.ClassRun, Key: "pay"}}, {Call: 2, Finding: events.Finding{Class: events.ClassEdit}},
				}
				return c
			},
			steps: []step{send("one", events.Collect, idle)},
		},
		{
			name: "lost calls are told", credit: events.Dollar,
			config: func(c *events.AgentConfig) { c.Policy.OnLost = events.LostTell },
			model: func(_, round, _ int) sagas.Command {
				if round < 4 {
					return calls(round, "pay", "read", "pay")
				}
				return says("paid")
			},
			steps: []step{send("one", events.Collect, idle)},
		},
		{
			name: "four verbs", credit: events.Dollar, model: model,
			steps: []step{
				send("one", events.Collect, idle), send("two", events.Steer, running), send("three", events.Followup, running),
				send("four", events.Collect, running), send("five", events.Interrupt, func(a *sagas.Agent) bool { return a.Turn.Number == 2 && asking(a) }),
			},
		},
		{
			name: "a model that fails", credit: events.Dollar,
			model: func(_, _, failures int) sagas.Command {
				if failures < 2 {
					return sagas.ReplyFailed{Class: events.ErrorOverloaded, Detail: "503", RetryAfter: events.Second}
				}
				return says("at last")
			},
			steps: []step{send("one", events.Collect, idle), send("two", events.Collect, func(a *sagas.Agent) bool { return a.Turns == 1 && idle(a) })},
		},
		{
			name: "a model that never answers", credit: events.Dollar, model: func(_, _, _ int) sagas.Command { return nil },
			steps: []step{send("one", events.Collect, idle)},
		},
		{
			name: "a wallet that is empty", credit: 45_000, model: model,
			config: func(c *events.AgentConfig) { c.Limits.Reserve = 40_000 },
			steps: []step{send("one", events.Collect, idle), {
				when: func(a *sagas.Agent) bool { return a.Turn.Paused == events.ReasonReservation },
				do: func(w *world) {
					w.bank(sagas.Credit{Meta: w.person("credit"), Amount: events.Dollar})
				},
			}},
		},
		{
			name: "compacted with a summary", credit: events.Dollar, model: verbose("what came before, in short"), config: compacting(events.CompactSummarise),
			steps: []step{send("one", events.Collect, idle), send("two", events.Steer, running)},
		},
		{
			name: "compacted with a summary that fails and then is none", credit: events.Dollar, model: verbose(""), config: compacting(events.CompactSummarise),
			steps: []step{send("one", events.Collect, idle)},
		},
		{
			name: "compacted without a summary", credit: events.Dollar, model: verbose("nobody asks"), config: compacting(events.CompactDrop),
			steps: []step{send("one", events.Collect, idle), {
				when: func(a *sagas.Agent) bool { return a.Turn.Round == 2 && running(a) },
				do:   func(w *world) { w.outside(sagas.Compact{Meta: w.person("compact"), By: "ann"}) },
			}},
		},
		{
			name: "files restored between turns", credit: events.Dollar, model: ends, config: func(c *events.AgentConfig) { c.Workspace = "/srv/books" },
			steps: []step{
				send("one", events.Collect, idle),
				{when: func(a *sagas.Agent) bool { return a.Turns == 1 && idle(a) }, do: func(w *world) {
					w.outside(sagas.Undo{Meta: w.person("undo"), By: "ann", Tree: events.Tree{Manifest: &events.BlobRef{Hash: "00", Size: 1}}})
				}},
				send("two", events.Collect, func(a *sagas.Agent) bool { return a.Undo != nil || a.Undone != "" }),
			},
		},
		{
			name: "limits", credit: events.Dollar,
			config: func(c *events.AgentConfig) { c.Limits.Tokens, c.Limits.Money = 120, 50_000 },
			model:  func(_, round, _ int) sagas.Command { return calls(round, "read") },
			steps: []step{
				send("one", events.Collect, idle),
				{when: func(a *sagas.Agent) bool { return a.Turn.Round == 6 && running(a) }, do: cancel},
			},
		},
		{
			name: "cancelled while tools run", credit: events.Dollar, model: model,
			steps: []step{send("one", events.Collect, idle), send("two", events.Followup, asking), {when: running, do: cancel}},
		},
		{
			name: "quarantined and retired", credit: events.Dollar, model: model,
			steps: []step{
				send("one", events.Collect, idle), send("two", events.Followup, running),
				{when: running, do: func(w *world) { w.decide(sagas.Quarantine{Meta: w.inside(), Reason: "odd", Failures: 3}) }},
				{when: func(a *sagas.Agent) bool { return a.Quarantined != "" }, do: func(w *world) { w.outside(sagas.Release{Meta: w.person("release")}) }},
				{
					when: func(a *sagas.Agent) bool { return a.Turn.Number == 2 && running(a) },
					do:   func(w *world) { w.outside(sagas.Retire{Meta: w.person("retire")}) },
				},
			},
		},
	}
}

// compacting is a window of 300 tokens, which a few rounds outgrow.
func compacting(mode events.CompactionMode) func(*events.AgentConfig) {
	return func(c *events.AgentConfig) { c.Compaction.Mode, c.Limits.ContextTokens = mode, 300 }
}

// verbose is a model that calls a tool and says much in each of five rounds. Where there is nothing to say as a summary it fails first, and then says nothing.
func verbose(summary string) func(turn, round, failures int) sagas.Command {
	return func(_, round, failures int) sagas.Command {
		switch {
		case round == summaryRound && summary == "" && failures == 0:
			return sagas.ReplyFailed{Class: events.ErrorOverloaded, Detail: "503", Usage: events.Usage{Input: 10}, Cost: 100, Priced: true}
		case round == summaryRound:
			return says(summary)
		case round < 6:
			c, _ := calls(round, "read").(sagas.RecordReply)
			c.Text.Inline = strings.Repeat("I look closely. ", 20)
			return c
		}
		return says("done")
	}
}

func idle(a *sagas.Agent) bool { return a.Turn.ID == "" }

func cancel(w *world) { w.outside(sagas.Cancel{Meta: w.person("cancel"), By: "ann"}) }

func send(text string, verb events.Verb, when func(*sagas.Agent) bool) step {
	return step{when: when, do: func(w *world) {
		w.outside(sagas.Send{Meta: w.person("send-" + text), Verb: verb, Text: events.Text{Inline: text}})
	}}
}

// check compares what happened with what happens without a crash.
func (w *world) check(t failer, calm *world) {
	t.Helper()
	for call, runs := range w.runs {
		if runs > 1 {
			t.Fatalf("call %s cannot be repeated and ran %d times", call, runs)
		}
	}
	ended := map[events.TurnID]int{}
	for _, fact := range w.agent.facts {
		if e, ok := fact.Event.(events.TurnEnded); ok {
			ended[e.Turn]++
		}
	}
	for n := range w.agent.saga.Turns {
		if turn := events.NewTurnID("a", n+1); ended[turn] != 1 {
			t.Fatalf("turn %s ended %d times", turn, ended[turn])
		}
	}
	if w.next != len(w.scenario.steps) || w.agent.saga.Turn.ID != "" || len(w.agent.saga.Ready()) > 0 {
		t.Fatalf("it came to rest after step %d of %d with %d requests outstanding", w.next, len(w.scenario.steps), len(w.agent.saga.Ready()))
	}
	wallet := w.wallet.replay(t)
	if wallet.Held != 0 || wallet.Balance != calm.wallet.saga.Balance {
		t.Fatalf("the wallet has %s and holds %s, without a crash it has %s", wallet.Balance, wallet.Held, calm.wallet.saga.Balance)
	}
	lost := w.lost()
	if diff := cmp.Diff(calm.facts(lost), w.facts(lost)); diff != "" {
		t.Fatalf("another history than without a crash:\n%s", diff)
	}
	w.agent.replay(t)
}

// lost names the calls that were lost, by turn and call.
func (w *world) lost() []string {
	var lost []string
	turn := events.TurnID("")
	for _, fact := range w.agent.facts {
		switch e := fact.Event.(type) {
		case events.TurnStarted:
			turn = e.Turn
		case events.ToolLost:
			lost = append(lost, string(turn)+" "+string(e.Call))
		}
	}
	return lost
}

// facts is the history as far as a crash must not change it. A crash may add attempts at the model. Where it cut off calls that
// cannot be repeated, those calls may end otherwise, with a person's help, which then is in the conversation, and may call for
// advice. Names of requests and times may differ.
func (w *world) facts(lost []string) []string {
	var facts []string
	turn, advices := events.TurnID(""), 0
	for _, fact := range w.agent.facts {
		event, call := lasting(fact.Event)
		switch e := event.(type) {
		case events.TurnStarted:
			turn, advices = e.Turn, 0
		case events.AdviceRequested, events.AdviceGiven:
			if advices++; advices > 2 && len(lost) > 0 {
				continue
			}
		case events.SummaryRequested:
			if e.Attempt > 1 {
				continue
			}
			if len(lost) > 0 {
				e.Context = events.Digest{}
				event = e
			}
		case events.ModelRequested:
			if e.Attempt > 1 {
				continue
			}
			if len(lost) > 0 {
				e.Context = events.Digest{}
				event = e
			}
		}
		if call != "" && slices.Contains(lost, string(turn)+" "+string(call)) {
			continue
		}
		facts = append(facts, encodeAll(w.t, []events.Event{event}))
	}
	return facts
}

// lasting leaves out of an event what a crash may change, and says which call it is about.
func lasting(event events.Event) (events.Event, events.CallID) {
	switch e := event.(type) {
	case events.AdviceGiven:
		e.Request = ""
		return e, ""
	case events.KnowledgeRecalled:
		e.Request = ""
		return e, ""
	case events.BudgetGranted:
		e.Request = ""
		return e, ""
	case events.BudgetRefused:
		e.Request = ""
		return e, ""
	case events.SettlementRecorded:
		e.Request = ""
		return e, ""
	case events.UndoEnded:
		e.Request = ""
		return e, ""
	case events.ModelReplied:
		e.Request = ""
		return e, ""
	case events.ConversationCompacted:
		e.Request = ""
		return e, ""
	case events.ModelFailed:
		e.Request, e.RetryAt = "", 0
		return e, ""
	case events.ToolReturned:
		e.Request = ""
		return e, e.Call
	case events.ToolLost:
		return e, e.Call
	case events.ToolRefused:
		return e, e.Call
	case events.ApprovalRequested:
		e.Expires = 0
		return e, e.Call
	case events.ApprovalGranted:
		return e, e.Call
	case events.ApprovalDenied:
		return e, e.Call
	}
	return event, ""
}
