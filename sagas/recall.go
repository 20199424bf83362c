package sagas

import (
	"fmt"

	"example.com/life/events"
)

// Recall implements [Saga]: the first event of a decision carries its command's content. Together with Decide it lets history be
// verified: recall each decision's command, decide it again, and compare the events.
func (a Agent) Recall(facts []Fact) (Command, error) {
	if len(facts) == 0 {
		return nil, fmt.Errorf("recall a command: no facts")
	}
	meta := Meta{ID: facts[0].Command, At: facts[0].Time}
	switch e := facts[0].Event.(type) {
	case events.AgentCreated:
		return Create{Meta: meta, Agent: e.Agent, Config: e.Config, Masked: e.Masked}, nil
	case events.AgentForked:
		return Fork{
			Meta: meta, Agent: e.Agent, Parent: e.Parent, At: e.At, Digest: e.Digest, Time: e.Time, Until: e.Until, Inputs: e.Inputs,
			Tape: e.Tape, Edit: e.Edit, Paper: e.Paper, Config: e.Config, Masked: e.Masked, Set: e.Changed,
		}, nil
	case events.AgentConfigured:
		return Configure{Meta: meta, Config: e.Config, Masked: e.Masked}, nil
	case events.CompactionRequested:
		return Compact{Meta: meta, By: e.By}, nil
	case events.UndoRequested:
		return Undo{Meta: meta, To: e.To, Force: e.Force, By: e.By, Tree: e.Tree}, nil
	case events.UndoEnded:
		return RecordUndo{Meta: meta, Ended: e}, nil
	case events.AgentRetired:
		return Retire{Meta: meta, Reason: e.Reason}, nil
	case events.AgentQuarantined:
		return Quarantine{Meta: meta, Reason: e.Reason, Failures: e.Failures}, nil
	case events.AgentReleased:
		return Release{Meta: meta, By: e.By}, nil
	case events.MessageReceived:
		return Send{Meta: meta, Verb: e.Verb, From: e.From, Text: e.Text}, nil
	case events.AdviceGiven:
		return RecordAdvice{Meta: meta, Request: e.Request, Mode: e.Mode, Because: e.Because}, nil
	case events.AdviceMissed:
		return AdviceTimeout{Meta: meta, Request: e.Request, Detail: e.Detail}, nil
	case events.KnowledgeRecalled:
		return RecordRecall{Meta: meta, Request: e.Request, Notes: e.Notes, Position: e.Position}, nil
	case events.KnowledgeMissed:
		return RecallTimeout{Meta: meta, Request: e.Request, Detail: e.Detail}, nil
	case events.BudgetGranted:
		return RecordReservation{Meta: meta, Request: e.Request, Amount: e.Amount}, nil
	case events.BudgetRefused:
		return ReservationRefused{Meta: meta, Request: e.Request, Available: e.Available, Reason: e.Reason}, nil
	case events.SettlementRecorded:
		return RecordSettlement{Meta: meta, Request: e.Request, Released: e.Released}, nil
	default:
		return a.recallTurn(meta, facts)
	}
}

func (a *Agent) recallTurn(meta Meta, facts []Fact) (Command, error) {
	switch e := facts[0].Event.(type) {
	case events.ModelReplied:
		return RecordReply{
			Meta: meta, Request: e.Request, Text: e.Text, Calls: e.Calls, Withheld: e.Withheld, Stop: e.Stop, Met: e.Met, Model: e.Model,
			Former: !e.Polling && a.Turn.polls(e.Calls),
			Usage:  e.Usage, Cost: e.Cost, Priced: e.Priced, Duration: e.Duration, Fault: e.Fault, Blocks: e.Blocks,
			Unwarned: !warned(facts), Findings: recallFindings(a.Turn.Round, facts),
		}, nil
	case events.ConversationCompacted:
		return recallSummary(meta, &e, !warned(facts)), nil
	case events.ModelFailed:
		return a.recallFailure(meta, e, !warned(facts)), nil
	case events.ToolReturned:
		return RecordResult{
			Meta: meta, Request: e.Request, Call: e.Call, Text: e.Text, Full: e.Full, Failed: e.Failed, Duration: e.Duration,
			Before: e.Before, Tree: e.Tree, Sandbox: e.Sandbox, Confined: e.Confined,
		}, nil
	case events.ToolLost:
		return RecordLoss{Meta: meta, Request: e.Request, Call: e.Call, Detail: e.Detail, Host: e.Host}, nil
	case events.ApprovalGranted:
		approve := Approve{Meta: meta, Call: e.Call, Digest: e.Digest, By: e.By, Arguments: e.Arguments}
		if len(facts) > 1 {
			if r, is := facts[1].Event.(events.PermissionRemembered); is {
				approve.Scope, approve.Lasting = r.Scope, r.Expires-facts[0].Time
			}
		}
		return approve, nil
	case events.QuestionAsked:
		return RecordQuestion{Meta: meta, Request: e.Request, Call: e.Call, Question: e.Question, Masked: e.Masked}, nil
	case events.QuestionAnswered:
		return Answer{Meta: meta, Call: e.Call, Answer: e.Answer, By: e.By, Masked: e.Masked}, nil
	case events.PermissionRevoked:
		return Revoke{Meta: meta, Remembered: e.Remembered, By: e.By, Reason: e.Reason}, nil
	case events.ApprovalDenied:
		return Deny{Meta: meta, Call: e.Call, By: e.By, Reason: e.Reason}, nil
	case events.TurnResumed:
		return Approve{Meta: meta, By: e.By}, nil
	case events.ApprovalExpired:
		return a.elapsed(meta, e.Call), nil
	case events.TurnEnded:
		if e.Reason == events.ReasonTime {
			return a.elapsed(meta, ""), nil
		}
		if a.Turn.RetryAt != 0 && (e.Reason == events.ReasonTokens || e.Reason == events.ReasonMoney) {
			return Tick{Meta: meta}, nil // before the model is asked again
		}
		if e.Outcome == events.Failed {
			return Abandon{Meta: meta, Reason: e.Reason, Detail: e.Detail}, nil
		}
		return Cancel{Meta: meta, Turn: e.Turn, By: e.Detail}, nil
	case events.BudgetRequested, events.TurnPaused: // before the model is asked again
		return Tick{Meta: meta}, nil
	case events.ModelRequested, events.SummaryRequested, events.MessageDelivered:
		if a.Turn.RetryAt != 0 {
			return Tick{Meta: meta}, nil
		}
		return Recover{Meta: meta}, nil
	case events.ForkDiverged:
		return Diverge{Meta: meta, Turn: e.Turn, Round: e.Round, Call: e.Call, Detail: e.Detail}, nil
	case events.ForkSkipped:
		return Skip{Meta: meta, Revision: e.At, What: e.What, Reason: e.Reason}, nil
	case events.ForkFinished:
		return Finish{Meta: meta}, nil
	}
	return nil, fmt.Errorf("recall a command: no decision begins with %s", facts[0].Kind())
}

// recallFindings are those that a decision on a reply was made with.
func recallFindings(round int, facts []Fact) (findings []Finding) {
	for _, fact := range facts {
		e, is := fact.Event.(events.PermissionJudged)
		for i := 0; is && i < len(facts); i++ { // each call has at least an event
			if events.NewCallID(round, i+1) == e.Call {
				findings = append(findings, Finding{Call: i, Finding: e.Finding})
				break
			}
		}
	}
	return findings
}

// recallFailure finds the delay the provider asked for: whatever makes the decision come to the recorded time.
func (a *Agent) recallFailure(meta Meta, e events.ModelFailed, unwarned bool) ReplyFailed {
	c := ReplyFailed{
		Meta: meta, Request: e.Request, Class: e.Class, Detail: e.Detail, Usage: e.Usage, Cost: e.Cost, Priced: e.Priced, Room: e.Room, Unwarned: unwarned,
	}
	if e.Left {
		c.RetryAfter = routeLongWait + 1 // for whatever reason it was
		return c
	}
	_, failed := a.Turn.attempts()
	if e.RetryAt != 0 && e.RetryAt != a.after(meta.At, retryDelay(failed+1, e.Request, 0)) {
		spread := retryDelay(failed+1, e.Request, 0) - retryDelay(failed+1, "", 0)
		c.RetryAfter = e.RetryAt - meta.At - spread
	}
	return c
}
