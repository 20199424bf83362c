package sagas

import (
	"slices"
	"strconv"

	"example.com/life/events"
)

// Apply implements [Saga].
func (a Agent) Apply(fact Fact) Agent {
	a.apply(fact)
	return a
}

// apply is Apply in place.
func (a *Agent) apply(fact Fact) {
	a.Revision = fact.Revision
	a.Accepted = accept(a.Accepted, fact)
	a.noteAnswer(fact)
	a.applyFork(fact)
	switch e := fact.Event.(type) {
	case events.AgentCreated:
		a.ID, a.Config = e.Agent, e.Config
	case events.AgentConfigured:
		a.Config = e.Config
		a.Window, a.Windows = Window{}, nil // whoever configures an agent may have enlarged it
	case events.AgentRetired:
		a.Retired, a.Undo = true, nil
	case events.AgentQuarantined:
		a.Quarantined = e.Reason
	case events.AgentReleased:
		a.Quarantined = ""
	case events.MessageReceived:
		a.Received++
		a.Waiting = append(a.Waiting, Waiting{ID: e.Message, Verb: e.Verb, Text: e.Text})
	case events.MessageDelivered:
		a.closeRound(false) // answers stand right after their calls, what people say comes after
		a.takeIn(e.Messages)
	case events.TurnStarted:
		a.Turns++
		a.Turn = Turn{ID: e.Turn, Number: a.Turns, Config: a.Config, Limits: withDefaults(a.Config.Limits), Started: fact.Time, ByWindow: e.ByWindow}
		a.takeIn(e.Messages)
		a.tellUndone()
	case events.TurnEnded:
		a.closeRound(true)
		a.Last = &e
		a.forget()
	case events.CompactionRequested:
		a.Compact = true
	case events.UndoRequested, events.UndoEnded:
		a.applyUndo(fact)
	case events.AdviceGiven:
		a.Mode = e.Mode
		a.Turn.Advice = ""
	case events.AdviceMissed:
		a.Turn.Advice = ""
	case events.PermissionRemembered:
		a.remember(fact, &e)
	case events.PermissionRevoked:
		a.Remembered = without(a.Remembered, func(r Remembered) bool { return r.At == e.Remembered })
	case events.SettlementRequested:
		a.Settling = append(slices.Clip(a.Settling), AskSettle{
			Outstanding: a.outstanding(fact), Wallet: e.Wallet, Turn: e.Turn, Spent: e.Spent,
		})
	case events.SettlementRecorded:
		a.Settling = without(a.Settling, func(s AskSettle) bool { return s.ID == e.Request })
	default:
		a.applyTurn(fact)
	}
}

// forget ends the turn's part of the fold: what no later turn can be sent of the conversation is dropped. A conversation that is compacted is
// bounded by that.
func (a *Agent) forget() {
	tokens := withDefaults(a.Config.Limits).ContextTokens
	if known := a.learnt(a.Turn.model()); known > 0 && !a.Turn.ByWindow { // the next turn may ask another candidate, with a larger window
		tokens = min(tokens, known)
	}
	a.Turn = Turn{}
	if compacts(&a.Config) {
		return
	}
	a.Conversation = a.Conversation.forget(tokens * bytesPerToken)
}

// noteAnswer notes what the command that was accepted last answered: its retry is about the same.
func (a *Agent) noteAnswer(fact Fact) {
	id := events.CallID("")
	switch e := fact.Event.(type) {
	case events.ApprovalGranted:
		id = e.Call
	case events.ApprovalDenied:
		id = e.Call
	case events.QuestionAnswered:
		id = e.Call
	case events.TurnResumed:
	default:
		return
	}
	if n := len(a.Accepted); n > 0 && a.Accepted[n-1].ID == fact.Command && a.Accepted[n-1].Revision == fact.Revision {
		latest := &a.Accepted[n-1] // just added, so nobody else has it
		latest.Turn = a.Turn.ID
		if call := a.Turn.call(id); call != nil {
			latest.Digest = call.Digest
		}
	}
}

// applyTurn folds what happens within a turn.
func (a *Agent) applyTurn(fact Fact) {
	t := &a.Turn
	switch e := fact.Event.(type) {
	case events.AdviceRequested:
		t.Advice, t.AdvisedAt = a.outstanding(fact).ID, t.ErrorStreak
	case events.KnowledgeRequested:
		t.Knowledge = a.outstanding(fact).ID
	case events.KnowledgeRecalled:
		a.recalled(&e)
	case events.KnowledgeMissed:
		t.Knowledge = ""
	case events.BudgetRequested:
		t.Budget, t.Requested = a.outstanding(fact).ID, e.Amount
	case events.BudgetGranted:
		t.Budget, t.Requested = "", 0
		t.Held += e.Amount
	case events.BudgetRefused:
		t.Budget, t.Requested = "", 0
	case events.ModelRequested:
		if t.Model != "" {
			t.CutOff++
		}
		a.closeRound(false)
		t.Model, t.RetryAt, t.Interrupted = a.outstanding(fact).ID, 0, false
		if e.Round != t.Round {
			t.Failed = 0
		}
		t.Round, t.Attempt, t.Context = e.Round, e.Attempt, e.Context
		if e.Route != "" {
			t.asks(e.Model)
		}
	case events.ModelReplied:
		a.applyReply(e)
	case events.SummaryRequested:
		a.summaryRequested(&e, a.outstanding(fact).ID)
	case events.ConversationCompacted:
		a.compacted(&e, fact.Time)
	case events.ModelFailed:
		a.applyFailure(e)
	case events.BudgetWarned:
		t.warnedAt(e.Limit, e.Percent)
	case events.TurnPaused:
		t.Paused = e.Reason
	case events.TurnResumed:
		t.grantAgain()
		t.Paused = ""
	default:
		a.applyCall(fact)
	}
	t.clock(fact.Time)
}

// applyFailure folds that an attempt to ask the model failed.
func (a *Agent) applyFailure(e events.ModelFailed) {
	t := &a.Turn
	t.Model, t.RetryAt = "", e.RetryAt
	t.Usage = t.Usage.Plus(e.Usage)
	t.Cost += e.Cost
	t.Unpriced = t.Unpriced || e.Usage.Total() > 0 && !e.Priced
	if t.Compaction != nil { // the turn can do without a summary
		failed := *t.Compaction // others may have the old one
		failed.Failed++
		t.Compaction = &failed
	} else {
		t.Failed++
		t.ErrorStreak++
		if t.Asked != "" {
			t.Troubles++
		}
	}
	if e.Room > 0 {
		a.learn(Window{Model: t.model(), Room: e.Room})
	}
	if e.Left {
		t.Left = append(slices.Clone(t.Left), t.model())
	}
}

// applyCall folds what happens to a call.
func (a *Agent) applyCall(fact Fact) {
	t := &a.Turn
	switch e := fact.Event.(type) {
	case events.LoopWarned:
		t.update(e.Call, func(c *Call) { c.Warned = true })
	case events.PermissionJudged:
		t.update(e.Call, func(c *Call) { c.Found = &Finding{Finding: e.Finding} })
	case events.ApprovalGranted:
		if len(e.Arguments) > 0 {
			t.update(e.Call, func(c *Call) {
				c.Arguments, c.Blob, c.Edited, c.Found = e.Arguments, nil, true, nil
				c.Digest = callDigest(&events.ModelCall{Tool: c.Tool, Arguments: e.Arguments})
			})
		}
	case events.ApprovalRequested:
		t.Approvals++
		t.update(e.Call, func(c *Call) { c.Stage, c.Expires, c.Request = CallWaiting, e.Expires, "" })
	case events.QuestionAsked, events.QuestionAnswered:
		t.applyQuestion(e)
	case events.ToolRequested:
		request := a.outstanding(fact).ID
		t.update(e.Call, func(c *Call) { c.Stage, c.Request, c.Expires, c.Lost, c.LostBy = CallSent, request, 0, false, "" })
	case events.ToolLost:
		t.update(e.Call, func(c *Call) {
			if c.Lost = true; e.Host != "" {
				c.LostBy = e.Detail
			}
		}) // what comes of it counts: told or denied it is a failure
		a.noteFiles(events.ToolReturned{Call: e.Call}, "")
	case events.ToolReturned:
		t.update(e.Call, func(c *Call) { c.Stage, c.Text, c.Failed = CallAnswered, e.Text, e.Failed })
		t.count(e.Failed)
		a.noteFiles(e, events.Ref(a.outstanding(fact).ID))
		a.noteTodos(&e)
	case events.ToolRefused:
		t.update(e.Call, func(c *Call) {
			c.Stage, c.Text, c.Failed = CallAnswered, events.Text{Inline: "refused: " + e.Reason}, true
		})
		t.count(true)
	}
}

// noteFiles notes what a call recorded of the workspace, or that it recorded nothing although its tool may change files: a call that was
// lost, of a build before files were recorded, or on a host that records none.
func (a *Agent) noteFiles(e events.ToolReturned, event events.Ref) {
	t := &a.Turn
	if e.Tree != nil {
		a.Files = &Files{Workspace: t.Config.Workspace, Tree: *e.Tree, Event: event, Turn: t.ID}
		return
	}
	call := t.call(e.Call)
	if a.Files == nil || a.Files.Workspace != t.Config.Workspace || call == nil {
		return
	}
	if granted, ok := grant(&t.Config, call.Tool); ok && granted.Risk > events.RiskLow {
		files := *a.Files // others may have the old one
		files.Since++
		a.Files = &files
	}
}

// applyReply adds the model's reply to the conversation and opens its calls.
func (a *Agent) applyReply(e events.ModelReplied) {
	t := &a.Turn
	t.Model, t.Troubles = "", 0
	t.Usage = t.Usage.Plus(e.Usage)
	t.Cost += e.Cost
	t.LastCost = max(t.LastCost, e.Cost)
	t.Unpriced = t.Unpriced || !e.Priced
	t.ToolCalls += len(e.Calls)
	t.Answer = e.Text
	t.Calls = make([]Call, len(e.Calls))
	if e.Polling {
		t.Repeats = 1 // the latest call stands for itself: what it returned was new
	}
	for i, c := range e.Calls {
		digest := callDigest(&c)
		if digest != t.LastCall {
			t.LastCall, t.Repeats = digest, 0
		}
		t.Repeats++
		t.Calls[i] = Call{
			ID: events.NewCallID(t.Round, i+1), Provider: c.ID, Tool: c.Tool, Arguments: c.Arguments, Blob: c.Blob,
			Digest: digest, Repeats: t.Repeats, Cut: c.Cut,
		}
		if granted, ok := grant(&t.Config, c.Tool); ok {
			t.Risk = max(t.Risk, granted.Risk)
			if granted.Risk >= events.RiskMedium {
				t.Effects++
			}
		}
	}
	if len(e.Calls) == 0 {
		t.Calls = nil
	}
	a.addReply(&e)
}

// addReply adds the reply to the conversation, and what the model is told of one that is no answer.
func (a *Agent) addReply(e *events.ModelReplied) {
	t := &a.Turn
	said := Message{Role: RoleAssistant, Text: e.Text, Calls: e.Calls}
	if e.Blocks != nil {
		said.Blocks, said.Model = e.Blocks, t.model()
	}
	switch {
	case e.Fault == "":
		a.say(said)
		t.Faults = 0
		if len(e.Calls) == 0 {
			t.ErrorStreak, t.AdvisedAt = 0, 0
		}
		return
	case e.Size() > 0: // providers refuse messages without a text
		a.say(said)
	}
	t.Faults++
	t.ErrorStreak++
	a.say(Message{Role: RoleContext, Text: events.Text{Inline: faultHint(e.Fault)}})
}

// closeRound adds the results of the round to the conversation, in the order of the calls. Providers want an answer for every
// call, so a turn that is cut off answers the open ones too.
func (a *Agent) closeRound(cutOff bool) {
	for i := range a.Turn.Calls {
		call := &a.Turn.Calls[i]
		a.Turn.noteResult(call)
		m := Message{Role: RoleTool, CallID: call.Provider, Tool: call.Tool, Text: call.Text, Failed: call.Failed}
		if call.Stage != CallAnswered {
			if !cutOff {
				return // never so: the model is asked again only when every call is answered
			}
			m.Text, m.Failed = events.Text{Inline: "the turn ended before this call answered"}, true
		}
		if call.Edited {
			m.Text.Inline = "[A person changed the arguments of this call before it ran, to " + events.Clip(string(call.Arguments), 2000) + "]\n\n" + m.Text.Inline
		}
		if call.Warned {
			m.Text.Blob = nil // the preview is enough of an answer that it had before, and the warning is seen
			m.Text.Inline += "\n\n[You have made this same call " + strconv.Itoa(call.Repeats) +
				" times in a row with the same arguments. The answer will not change: do something else. At " +
				strconv.Itoa(loopEnd) + " the turn is stopped.]"
		}
		a.say(m)
	}
	a.Turn.Calls = nil
}

// takeIn moves waiting messages into the conversation.
func (a *Agent) takeIn(ids []events.MessageID) {
	for _, w := range a.Waiting {
		if slices.Contains(ids, w.ID) {
			a.say(Message{Role: RoleUser, Text: w.Text})
		}
	}
	a.Waiting = without(a.Waiting, func(w Waiting) bool { return slices.Contains(ids, w.ID) })
}

// clock keeps the time that the turn waits for a person, which its time limit does not count.
func (t *Turn) clock(now events.Micros) {
	switch blocked := t.blocked(); {
	case blocked && t.WaitingAt == 0:
		t.WaitingAt = now
	case !blocked && t.WaitingAt != 0:
		t.Waited += now - t.WaitingAt
		t.WaitingAt = 0
	}
}

// grantAgain raises the limit at which the turn paused by what the configuration says.
func (t *Turn) grantAgain() {
	base := withDefaults(t.Config.Limits)
	switch t.Paused {
	case events.ReasonTokens:
		t.Limits.Tokens += base.Tokens
		t.warnedAt(t.Paused, warnings[0]) // half of the larger limit is used, which the person who granted it knows
	case events.ReasonMoney:
		t.Limits.Money += base.Money
		t.warnedAt(t.Paused, warnings[0])
	case events.ReasonSleep:
		t.Awake = true
	default: // wallet.refused: the wallet is asked again
	}
}

// count notes how a call went. Progress follows the latest calls most.
func (t *Turn) count(failed bool) {
	if failed {
		t.Failures++
		t.ErrorStreak++
		t.Progress -= t.Progress / 4
		return
	}
	t.ErrorStreak, t.AdvisedAt = 0, 0
	t.Progress += (1 - t.Progress) / 4
}

func (t *Turn) update(id events.CallID, change func(*Call)) {
	for i := range t.Calls {
		if t.Calls[i].ID == id {
			change(&t.Calls[i])
		}
	}
}

// outstanding names the request that a fact records.
func (a *Agent) outstanding(fact Fact) Outstanding {
	return Outstanding{ID: events.RequestID(events.NewRef(events.AgentStream(a.ID), fact.Revision))}
}

func messageID(number int) events.MessageID {
	return events.MessageID("m" + strconv.Itoa(number))
}

// without returns a new slice, leaving the old one as it is for whoever still holds it.
func without[T any](from []T, unwanted func(T) bool) []T {
	var kept []T
	for _, item := range from {
		if !unwanted(item) {
			kept = append(kept, item)
		}
	}
	return kept
}
