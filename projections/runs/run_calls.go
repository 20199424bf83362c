package runs

import (
	"example.com/life/events"
	"example.com/life/projections"
)

// call folds what becomes of the calls of the latest round.
func (t *openTurn) call(r *projections.Recorded, event events.Event) {
	switch e := event.(type) {
	case events.ApprovalRequested:
		if c := t.find(e.Call); c != nil && c.Sent == 0 { // of a lost call, people are asked whether it may run again
			c.Approval = Asked
		}
	case events.ApprovalGranted:
		t.answered(e.Call, Granted)
	case events.ApprovalDenied:
		t.answered(e.Call, Denied)
	case events.ApprovalExpired:
		t.answered(e.Call, Expired)
	case events.ToolRequested:
		if c := t.find(e.Call); c != nil {
			c.Sent++
			c.End = CallOpen
		}
	case events.ToolReturned:
		if c := t.find(e.Call); c != nil {
			c.End, c.Result, c.Took = CallReturned, runText(e.Text, r.Ref()), e.Duration
			if e.Failed {
				c.End = CallFailed
			}
		}
	case events.ToolRefused:
		if c := t.find(e.Call); c != nil {
			c.End, c.Result = CallRefused, runText(events.Text{Inline: e.Reason}, r.Ref())
		}
	case events.ToolLost:
		if c := t.find(e.Call); c != nil {
			c.End = CallLost
			c.Lost++
		}
	}
}

func (t *openTurn) answered(call events.CallID, how RunApproval) {
	if c := t.find(call); c != nil && c.Approval == Asked {
		c.Approval = how
	}
}

// find returns a call of the latest round, or nil.
func (t *openTurn) find(id events.CallID) *RunCall {
	round := t.round()
	if round == nil {
		return nil
	}
	for i := range round.Calls {
		if round.Calls[i].Call == id {
			return &round.Calls[i]
		}
	}
	return nil
}

// close completes a turn with what was measured, and its totals.
func (t *RunTurn) close(measured *projections.TurnTrace) {
	t.TurnTimes = measured.Times()
	sum := RunTotals{Turns: 1, Rounds: len(t.Rounds), Elapsed: t.Elapsed, Running: t.Running, Queued: t.Queued, Person: t.Person}
	for i := range t.Rounds {
		round := &t.Rounds[i]
		sum.Calls += len(round.Calls)
		sum.Attempts += len(round.Failed)
		sum.Usage = sum.Usage.Plus(round.Usage)
		sum.Cost += round.Cost
		if round.Replied && !round.Priced {
			sum.Unpriced++
		}
		for j := range round.Calls {
			switch round.Calls[j].End {
			case CallFailed, CallRefused, CallLost:
				sum.Failures++
			case CallOpen, CallReturned, CallAbandoned:
			}
		}
	}
	switch t.Outcome {
	case events.Done:
		sum.Outcomes.Done++
	case events.Stopped:
		sum.Outcomes.Stopped++
	case events.Failed:
		sum.Outcomes.Failed++
	case events.Cancelled:
		sum.Outcomes.Cancelled++
	default:
		sum.Outcomes.Running++
	}
	t.Totals = sum
}

// TextOf returns the text in an event that a difference is about: what a model, a tool or a person said, or the arguments of a call
// of a reply.
func TextOf(event events.Event, what Aspect, call events.CallID) events.Text {
	switch e := event.(type) {
	case events.MessageReceived:
		return e.Text
	case events.ToolReturned:
		return e.Text
	case events.ToolRefused:
		return events.Text{Inline: e.Reason}
	case events.ModelReplied:
		if what != AspectArguments {
			return e.Text
		}
		for i := range e.Calls {
			if callIndex(call) == i+1 {
				return events.Text{Inline: string(e.Calls[i].Arguments), Blob: e.Calls[i].Blob}
			}
		}
	}
	return events.Text{}
}
