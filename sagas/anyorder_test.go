package sagas_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"example.com/life/events"
	"example.com/life/sagas"
)

// TestTurnAnyOrder gives an agent commands in any order: sensible ones, stale, duplicated and reordered ones, and hostile ones.
// history holds every step to the contract of a saga; the checks below hold the agent to its own promises.
func TestTurnAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &anyOrder{history: newHistory(sagas.NewAgent), at: start}
		r.do(t, sagas.Create{Meta: r.outside(), Agent: "a", Config: anyConfig(t)})
		steps := rapid.IntRange(1, 80).Draw(t, "steps")
		snapAt := rapid.IntRange(0, steps).Draw(t, "snapshot at")
		for step := range steps {
			if step == snapAt {
				r.history.snap(t)
			}
			r.at += events.Micros(rapid.SampledFrom([]int64{0, 1, 1e6, 1e6, 60e6, 3600e6, -1e6}).Draw(t, "time"))
			r.step(t)
		}
		r.history.replay(t)
	})
}

// anyOrder is one run of TestTurnAnyOrder.
type anyOrder struct {
	history  *history[sagas.Agent]
	at       events.Micros
	number   int
	sent     []sagas.Command
	reserved bool // the running turn has a reservation
	plain    bool // nothing that a fork of it does otherwise: no forks, quarantine and retirement
}

func (r *anyOrder) agent() *sagas.Agent { return &r.history.saga }

func (r *anyOrder) inside() sagas.Meta { return sagas.Meta{ID: "~host", At: r.at} }

func (r *anyOrder) outside() sagas.Meta {
	r.number++
	return sagas.Meta{ID: events.CommandID(fmt.Sprintf("c%d", r.number)), At: r.at}
}

func (r *anyOrder) step(t *rapid.T) {
	switch n := rapid.IntRange(0, 19).Draw(t, "kind"); {
	case n < 12:
		r.do(t, r.expected(t))
	case n < 17:
		r.do(t, r.unasked(t))
	case n < 19 && len(r.sent) > 0:
		r.do(t, rapid.SampledFrom(r.sent).Draw(t, "again"))
	case n == 19 && !r.plain && r.agent().ID != "" && rapid.Bool().Draw(t, "fork"):
		r.fork(t)
	default: // the host dies
		r.history.saga = r.history.replay(t)
		r.do(t, sagas.Recover{Meta: r.inside()})
	}
}

func (r *anyOrder) do(t *rapid.T, command sagas.Command) {
	r.sent = append(r.sent, command)
	decided, err := r.history.decide(t, command)
	if err != nil {
		return
	}
	for _, event := range decided {
		switch event.(type) {
		case events.TurnStarted, events.ForkDiverged:
			r.reserved = false
		case events.AgentForked:
			r.reserved = r.agent().Fork.Tape != events.TapeLive && r.agent().Turn.Held > 0 // as the recording says: nobody is called
		case events.ForkFinished:
			r.reserved = r.reserved && (r.agent().Fork.Tape == events.TapeLive || r.agent().Fork.Diverged != nil)
		case events.BudgetGranted:
			r.reserved = true
		case events.ModelRequested, events.SummaryRequested:
			if !r.reserved {
				t.Fatalf("a model was asked without a reservation")
			}
		}
	}
	r.check(t)
}

// expected answers one of the outstanding requests, or does what a blocked turn waits for.
func (r *anyOrder) expected(t *rapid.T) sagas.Command {
	ready := r.agent().Ready()
	if turn := &r.agent().Turn; turn.Paused != "" && rapid.Bool().Draw(t, "unpause") {
		return sagas.Approve{Meta: r.outside(), By: "ann"}
	}
	for _, call := range r.agent().Turn.Calls {
		if call.Stage == sagas.CallWaiting && rapid.Bool().Draw(t, "decide call") {
			if call.Asked != nil && rapid.Bool().Draw(t, "answer") {
				return sagas.Answer{Meta: r.outside(), Call: call.ID, Digest: call.Digest, Answer: anyText(t), By: "ann"}
			}
			if rapid.Bool().Draw(t, "approve") {
				return sagas.Approve{Meta: r.outside(), Call: call.ID, Digest: call.Digest}
			}
			return sagas.Deny{Meta: r.outside(), Call: call.ID, Reason: anyText(t)}
		}
	}
	if len(ready) == 0 {
		return sagas.Send{Meta: r.outside(), Verb: anyVerb(t), Text: events.Text{Inline: anyText(t)}}
	}
	return r.answer(t, rapid.SampledFrom(ready).Draw(t, "request"))
}

func (r *anyOrder) answer(t *rapid.T, request sagas.Request) sagas.Command {
	meta, good := r.inside(), rapid.IntRange(0, 3).Draw(t, "good") > 0
	switch q := request.(type) {
	case sagas.AskAdvice:
		if good {
			return sagas.RecordAdvice{Meta: meta, Request: q.ID, Mode: anyMode(t), Because: []string{anyText(t)}}
		}
		return sagas.AdviceTimeout{Meta: meta, Request: q.ID, Detail: anyText(t)}
	case sagas.AskKnowledge:
		if q.Tokens < 1 || q.Notes < 1 {
			t.Fatalf("%+v asks for nothing", q)
		}
		if good {
			note := events.RecalledNote{Note: "n", Title: anyText(t), Event: "knowledge-home@3", Text: anyText(t), Score: 7}
			return sagas.RecordRecall{Meta: meta, Request: q.ID, Notes: slices.Repeat([]events.RecalledNote{note}, rapid.IntRange(0, 12).Draw(t, "notes"))}
		}
		return sagas.RecallTimeout{Meta: meta, Request: q.ID, Detail: anyText(t)}
	case sagas.AskReserve:
		if good {
			return sagas.RecordReservation{Meta: meta, Request: q.ID, Amount: q.Amount}
		}
		return sagas.ReservationRefused{Meta: meta, Request: q.ID, Reason: anyText(t)}
	case sagas.AskModel:
		checkConversation(t, q.Messages)
		if good {
			return r.reply(t, q.ID)
		}
		return sagas.ReplyFailed{
			Meta: meta, Request: q.ID, Class: anyClass(t), Detail: anyText(t), RetryAfter: anyMicros(t),
			Room: rapid.SampledFrom([]int64{0, 0, 100, 300, 1 << 40}).Draw(t, "room"),
		}
	case sagas.AskTool:
		if len(q.Answers) < 3 && rapid.IntRange(0, 4).Draw(t, "asks") == 0 {
			return sagas.RecordQuestion{Meta: meta, Request: q.ID, Call: q.Call, Question: events.Question{Text: anyText(t), Options: []string{anyText(t)}}}
		}
		if good || q.Repeatable {
			return sagas.RecordResult{
				Meta: meta, Request: q.ID, Call: q.Call, Text: events.Text{Inline: anyText(t)}, Failed: !good, Before: anyTree(t), Tree: anyTree(t),
			}
		}
		return sagas.RecordLoss{Meta: meta, Request: q.ID, Call: q.Call, Detail: anyText(t)}
	case sagas.AskSettle:
		return sagas.RecordSettlement{Meta: meta, Request: q.ID, Released: 1}
	case sagas.AskUndo:
		ended := events.UndoEnded{Request: q.ID, Written: []string{anyText(t)}, Tree: anyTree(t)}
		if !good {
			ended.Detail = anyText(t)
		}
		return sagas.RecordUndo{Meta: meta, Ended: ended}
	case sagas.Wake:
		r.at = max(r.at, q.At)
		return sagas.Tick{Meta: r.inside()}
	}
	t.Fatalf("no answer to %T", request)
	return nil
}

func (r *anyOrder) reply(t *rapid.T, request events.RequestID) sagas.RecordReply {
	c := sagas.RecordReply{
		Meta: r.inside(), Request: request, Text: events.Text{Inline: anyText(t)}, Priced: true,
		Stop:  rapid.SampledFrom([]events.StopReason{events.StopEnd, events.StopEnd, events.StopLength, events.StopFiltered}).Draw(t, "stop"),
		Met:   rapid.SampledFrom([]events.Bound{"", "", events.BoundWindow, events.BoundEndpoint}).Draw(t, "met"),
		Usage: events.Usage{Input: rapid.SampledFrom([]int64{0, 10, 500, -7, 1 << 62}).Draw(t, "tokens")},
		Cost:  events.Money(rapid.SampledFrom([]int64{0, 10, 30_000, 200_000, -5, 1 << 62}).Draw(t, "cost")),
	}
	for range rapid.SampledFrom([]int{0, 1, 1, 2, 3, 5}).Draw(t, "calls") {
		c.Calls = append(c.Calls, events.ModelCall{
			ID:        rapid.SampledFrom([]string{"", "x", "y", "call_1_2", "\xff"}).Draw(t, "id"),
			Tool:      rapid.SampledFrom([]string{"read", "write", "pay", "nonsense", "\xff"}).Draw(t, "tool"),
			Arguments: json.RawMessage(rapid.SampledFrom(someArguments()).Draw(t, "arguments")),
		})
	}
	return c
}

func someArguments() []string {
	return []string{`{}`, `{"b":1,"a":[1.0,2]}`, `{ "a" : "<&>\u2028" }`, `{"a":"\ud800"}`, ``, `null`, `"text"`, `{"a":1}{`, "\xff<"}
}

// unasked is what nobody waits for: commands that people send at any time, and answers to the wrong requests.
func (r *anyOrder) unasked(t *rapid.T) sagas.Command {
	request := events.RequestID(fmt.Sprintf("agent-a@%d", rapid.IntRange(0, len(r.history.facts)).Draw(t, "revision")))
	call := events.NewCallID(rapid.IntRange(0, 3).Draw(t, "round"), rapid.IntRange(0, 3).Draw(t, "index"))
	meta := r.inside()
	outside := r.outside()
	commands := []sagas.Command{
		sagas.Send{Meta: outside, Verb: anyVerb(t), From: anyText(t), Text: events.Text{Inline: anyText(t)}},
		sagas.Send{Meta: outside, Verb: anyVerb(t), Text: events.Text{Inline: "…", Blob: &events.BlobRef{Hash: "00", Size: 1 << 40}}},
		sagas.Cancel{Meta: outside, By: anyText(t)},
		sagas.Cancel{Meta: outside, Turn: "a/1"},
		sagas.Approve{Meta: outside, Call: call, Digest: "other"},
		sagas.Approve{Meta: outside},
		sagas.Deny{Meta: outside, Call: call},
		sagas.Deny{Meta: outside, Reason: anyText(t)},
		sagas.Answer{Meta: outside, Call: call, Answer: anyText(t)},
		sagas.RecordQuestion{Meta: meta, Request: request, Call: call, Question: events.Question{Text: anyText(t)}},
		sagas.Create{Meta: outside, Agent: "a", Config: testConfig()},
		sagas.Configure{Meta: outside, Config: anyConfig(t)},
		sagas.Quarantine{Meta: meta, Reason: anyText(t), Failures: 3},
		sagas.Compact{Meta: outside, By: anyText(t)},
		sagas.Undo{Meta: outside, To: 1, Force: rapid.Bool().Draw(t, "force"), By: anyText(t), Tree: events.Tree{Manifest: &events.BlobRef{Hash: "00", Size: 1}, Missing: anyText(t)}},
		sagas.Undo{Meta: outside, To: 1, Tree: events.Tree{Missing: "it was too large"}},
		sagas.RecordUndo{Meta: meta, Ended: events.UndoEnded{Request: request, Tree: anyTree(t)}},
		sagas.Release{Meta: outside, By: anyText(t)},
		sagas.Release{Meta: outside},
		sagas.Tick{Meta: meta},
		sagas.Recover{Meta: meta},
		sagas.RecordAdvice{Meta: meta, Request: request, Mode: anyMode(t)},
		sagas.AdviceTimeout{Meta: meta, Request: request},
		sagas.RecordRecall{Meta: meta, Request: request},
		sagas.RecallTimeout{Meta: meta, Request: request},
		sagas.RecordReservation{Meta: meta, Request: request, Amount: 1},
		sagas.ReservationRefused{Meta: meta, Request: request},
		r.reply(t, request),
		sagas.ReplyFailed{Meta: meta, Request: request, Class: anyClass(t)},
		sagas.RecordResult{Meta: meta, Request: request, Call: call},
		sagas.RecordLoss{Meta: meta, Request: request, Call: call},
		sagas.RecordSettlement{Meta: meta, Request: request},
		sagas.Credit{Meta: meta, Amount: 1},
		sagas.Cancel{Meta: meta},
		sagas.Diverge{Meta: stepMeta(meta, request), Turn: "a/1", Round: 1, Call: call, Detail: anyText(t)},
		sagas.Skip{Meta: stepMeta(meta, request), Revision: 3, What: "approval.granted", Reason: anyText(t)},
		sagas.Elapse{Meta: stepMeta(meta, request), Call: call},
		sagas.Elapse{Meta: stepMeta(meta, request)},
		sagas.Finish{Meta: meta},
	}
	if r.plain {
		commands = slices.DeleteFunc(commands, func(c sagas.Command) bool {
			switch c.(type) {
			case sagas.Quarantine, sagas.Release:
				return true
			}
			return false
		})
		return rapid.SampledFrom(commands).Draw(t, "unasked")
	}
	if rapid.IntRange(0, 60).Draw(t, "retire") == 0 {
		return sagas.Retire{Meta: outside, Reason: anyText(t)}
	}
	return rapid.SampledFrom(commands).Draw(t, "unasked")
}

// check holds the agent to its promises.
func (r *anyOrder) check(t *rapid.T) {
	a := r.agent()
	checkConversation(t, withOpenCalls(a))
	if a.Turn.Cost < 0 || a.Turn.Usage.Total() < 0 || a.Turn.Held < 0 {
		t.Fatalf("the turn counts %s, %d tokens, %s held", a.Turn.Cost, a.Turn.Usage.Total(), a.Turn.Held)
	}
	if a.Turn.ID == "" {
		stopped := a.Fork.Tape == events.TapeOffline && a.Fork.Diverged != nil // what waits does so until the next message
		if len(a.Waiting) > 0 && a.Quarantined == "" && !a.Retired && !stopped && a.Undo == nil {
			t.Fatalf("stuck: no turn runs and %d messages wait", len(a.Waiting))
		}
		return
	}
	if a.Retired {
		t.Fatalf("turn %s runs on a retired agent", a.Turn.ID)
	}
	if a.Quarantined != "" || a.Turn.Paused != "" || a.Turn.RetryAt != 0 {
		return
	}
	for _, call := range a.Turn.Calls {
		if call.Stage == sagas.CallWaiting {
			return
		}
	}
	for _, request := range a.Ready() {
		switch request.(type) {
		case sagas.AskSettle, sagas.Wake:
		default:
			return
		}
	}
	t.Fatalf("stuck: turn %s runs, waits for nobody and has nothing outstanding", a.Turn.ID)
}

// withOpenCalls is the conversation with answers to the calls of this round, which join it when the round is over.
func withOpenCalls(a *sagas.Agent) []sagas.Message {
	messages := a.Conversation.Messages[:len(a.Conversation.Messages):len(a.Conversation.Messages)]
	for _, call := range a.Turn.Calls {
		messages = append(messages, sagas.Message{Role: sagas.RoleTool, CallID: call.Provider})
	}
	return messages
}

// checkConversation holds a conversation to what providers accept: every call has one answer, right behind it, in order.
func checkConversation(t failer, messages []sagas.Message) {
	t.Helper()
	for i := 0; i < len(messages); i++ {
		m := messages[i]
		if m.Role == sagas.RoleTool {
			t.Fatalf("message %d answers call %q, which does not stand before it", i, m.CallID)
		}
		seen := map[string]bool{}
		for _, call := range m.Calls {
			i++
			if i >= len(messages) || messages[i].Role != sagas.RoleTool || messages[i].CallID != call.ID {
				t.Fatalf("call %q is not followed by its answer", call.ID)
			}
			if seen[call.ID] || call.ID == "" {
				t.Fatalf("call id %q is not the call's own", call.ID)
			}
			seen[call.ID] = true
		}
	}
}

func anyConfig(t *rapid.T) events.AgentConfig {
	c := testConfig()
	some := func(name string, of ...int64) int64 { return rapid.SampledFrom(of).Draw(t, name) }
	c.Limits = events.Limits{
		Rounds: int(some("rounds", 0, 1, 3)), Tokens: some("tokens", 0, 600), Money: events.Money(some("money", 0, 50_000, 250_000)),
		Reserve: events.Money(some("reserve", 0, 20_000)), Time: events.Micros(some("time", 0, 60e6, 1<<50)),
		ToolCalls: int(some("tool calls", 0, 4)), Errors: int(some("errors", 0, 3)), ContextTokens: some("context", 0, 10, 60, 400),
		Queue: int(some("queue", 0, 3)), ApprovalTime: events.Micros(some("approval", 0, 1, 90e6, -1)),
	}
	if c.Limits.ApprovalTime < 0 && rapid.Bool().Draw(t, "valid") {
		c.Limits.ApprovalTime = 0
	}
	c.Once = some("once", 0, 0, 0, 1) == 1
	c.Compaction = events.Compaction{
		Mode: rapid.SampledFrom([]events.CompactionMode{"", events.CompactSummarise, events.CompactSummarise, events.CompactDrop, events.CompactOff}).Draw(t, "compaction"),
		At:   int(some("compact at", 0, 10, 50)), Keep: some("keep", 0, 3, 1<<50), Model: rapid.SampledFrom([]string{"", "scripted/other"}).Draw(t, "summariser"),
	}
	c.Policy = events.Policy{
		Ask:     rapid.SampledFrom([][]string{nil, {"pay"}, {"*"}, {}}).Draw(t, "ask"),
		Deny:    rapid.SampledFrom([][]string{nil, nil, {"write"}}).Draw(t, "deny"),
		OnLost:  rapid.SampledFrom([]events.OnLost{"", events.LostAsk, events.LostTell, events.LostEnd}).Draw(t, "on lost"),
		OnLimit: rapid.SampledFrom([]events.OnLimit{"", events.LimitAsk, events.LimitEnd}).Draw(t, "on limit"),
	}
	c.Knowledge = events.KnowledgeConfig{
		Tokens: some("recall", 0, 40, 100), Notes: int(some("recalled notes", 0, 2)),
		Near: rapid.SampledFrom([][]events.NoteID{nil, nil, {"a"}}).Draw(t, "near"),
	}
	return c
}

func anyText(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", "text", "<b>&\u2028", "\xff\xfe", "a rather longer text, for the window to be exceeded"}).Draw(t, "text")
}

func anyVerb(t *rapid.T) events.Verb {
	return rapid.SampledFrom([]events.Verb{events.Collect, events.Followup, events.Steer, events.Interrupt, "shout"}).Draw(t, "verb")
}

func anyMode(t *rapid.T) events.OperatingMode {
	return rapid.SampledFrom([]events.OperatingMode{
		events.ModeExplore, events.ModeExecute, events.ModeVerify, events.ModeRecover, events.ModeAskHuman, events.ModeSleep,
	}).Draw(t, "mode")
}

func anyClass(t *rapid.T) events.ErrorClass {
	return rapid.SampledFrom([]events.ErrorClass{events.ErrorOverloaded, events.ErrorRateLimited, events.ErrorTruncated, events.ErrorAuth, events.ErrorContext, "odd"}).Draw(t, "class")
}

func anyMicros(t *rapid.T) events.Micros {
	return events.Micros(rapid.SampledFrom([]int64{0, 1, 30e6, -1, 1<<63 - 1}).Draw(t, "retry after"))
}

// anyTree is the record of a workspace, or none.
func anyTree(t *rapid.T) *events.Tree {
	if rapid.Bool().Draw(t, "no tree") {
		return nil
	}
	tree := &events.Tree{Files: 1, Bytes: 1 << 53, Missing: anyText(t)}
	if rapid.Bool().Draw(t, "manifest") {
		tree.Manifest = &events.BlobRef{Hash: events.HashBytes([]byte(tree.Missing)), Size: 7, Media: "text/x-life-tree"}
	}
	return tree
}
