package sagas

import (
	"slices"
	"strconv"

	"example.com/life/events"
)

// Step is one decision of a parent's history, as a fork follows it.
type Step struct {
	First, Last events.Revision
	Kind        events.Kind // of its first event
	Command     Command
	Turn        int           // the number of the turn that ran before it; 0: none did
	Round       int           // of that turn
	Call        events.CallID // of an answer to a call, or of an approval that expired
	Asks        bool          // it asks the model again
	facts       []Fact
}

// NextStep reads the decision that follows on the parent's latest fact.
func (a Agent) NextStep(facts []Fact) (Step, error) {
	command, err := a.Recall(facts)
	if err != nil {
		return Step{}, err
	}
	step := Step{
		First: facts[0].Revision, Last: facts[len(facts)-1].Revision, Kind: facts[0].Kind(), Command: command,
		Turn: a.Turn.Number, Round: a.Turn.Round, facts: facts,
	}
	switch e := facts[0].Event.(type) {
	case events.ToolReturned:
		step.Call = e.Call
	case events.ToolLost:
		step.Call = e.Call
	case events.ApprovalExpired:
		step.Call = e.Call
	case events.QuestionAsked:
		step.Call = e.Call
	}
	step.Asks = slices.ContainsFunc(facts, func(f Fact) bool {
		return f.Kind() == (events.ModelRequested{}).Kind() || f.Kind() == (events.SummaryRequested{}).Kind()
	})
	return step, nil
}

// Pass returns the parent after the step.
func (a Agent) Pass(step *Step) Agent {
	for _, fact := range step.facts {
		a = a.Apply(fact)
	}
	return a
}

// Move is what a fork does next to follow its parent.
type Move struct {
	Kind    MoveKind
	Command Command // to decide
	Heard   int     // MoveHear: which of the answers that were held back it is
	Over    bool    // the step is over with it
}

// MoveKind says what a Move is.
type MoveKind int

// The moves.
const (
	MoveWait   MoveKind = iota // until something that is under way has come
	MovePass                   // the step is nothing to the fork
	MoveDecide                 // decide a command of the recording
	MoveHear                   // decide an answer that was held back
	MoveLeave                  // leave the tape
	MoveFinish                 // there is nothing more
)

// Followed is what a fork follows: its parent's fold before the next step, that step, and the time. No step means that the recording is
// over. While the fork is on tape, answers of homeostasis and of those who know are held back, so that everything comes in the parent's
// order.
type Followed struct {
	Parent *Agent
	Step   *Step
	Ended  string // why the recording is over before its end, where it cannot be read
	Held   []Command
	At     events.Micros
}

// meta identifies the step's decision in the fork.
func (f *Followed) meta() Meta { return Meta{ID: StepCommand(f.Step.Last), At: f.At} }

// Follow says what the fork does next.
func (a Agent) Follow(f Followed) Move {
	over := f.Step == nil || f.Step.First > a.Fork.Inputs
	switch {
	case a.Quarantined != "" || a.Retired:
		return Move{Kind: MoveWait}
	case over && a.resting() && (a.Fork.OnTape() || len(a.Settling) == 0):
		return Move{Kind: MoveFinish, Command: Finish{Meta{ID: beside(a.Fork.Until, "finish"), At: f.At}}}
	case a.Fork.OnTape() && f.Step == nil:
		return a.followOn(f)
	case a.Fork.OnTape():
		return a.followTape(f)
	case over:
		return Move{Kind: MoveWait}
	}
	return a.followLoosely(f)
}

// resting reports whether only a person, or the next message, can move the agent.
func (a *Agent) resting() bool {
	t := &a.Turn
	return a.Undo == nil && t.Advice == "" && t.Budget == "" && t.Knowledge == "" && t.Model == "" && t.RetryAt == 0 &&
		!slices.ContainsFunc(t.Calls, func(c Call) bool { return c.Stage == CallSent })
}

// followTape follows a step exactly.
func (a *Agent) followTape(f Followed) Move {
	t, step := &a.Turn, f.Step
	theirs := &f.Parent.Turn
	switch {
	case t.Budget != "" && theirs.Budget == "": // the parent asked for another amount, or at another time
		id := beside(step.First-1, "grant/"+strconv.FormatInt(int64(a.Revision), 10))
		return Move{Kind: MoveDecide, Command: RecordReservation{Meta: Meta{ID: id, At: f.At}, Request: t.Budget, Amount: t.Requested}}
	case t.Model != "" && theirs.Model != "" && t.Context != theirs.Context: // whatever comes before the answer
		return a.unanswered(f)
	case t.Advice != "" && theirs.Advice == "":
		return f.hear(t.Advice)
	case t.Knowledge != "" && theirs.Knowledge == "":
		return f.hear(t.Knowledge)
	}
	pass := Move{Kind: MovePass}
	switch c := step.Command.(type) {
	case Send, Approve, Deny, Answer, Cancel, Configure, Compact, Revoke, Undo:
		if step.First > a.Fork.Inputs {
			return pass
		}
		return decideIf(true, a.input(f))
	case RecordAdvice, AdviceTimeout, RecordRecall, RecallTimeout:
		return a.followAdvice(f)
	case RecordReservation, ReservationRefused:
		return a.followBudget(f)
	case RecordSettlement:
		return a.followSettled(f, c)
	case RecordUndo:
		return a.followUndo(f, c)
	case RecordReply:
		if t.Model == "" || t.Context != f.Parent.Turn.Context {
			return a.unanswered(f)
		}
		c.Meta, c.Request, c.Unwarned = f.meta(), t.Model, false // its limits may be its own
		return decideIf(true, c)
	case ReplyFailed:
		if t.Model == "" || t.Context != f.Parent.Turn.Context {
			return a.unanswered(f)
		}
		c.Meta, c.Request, c.Unwarned = f.meta(), t.Model, false
		return decideIf(true, c)
	case RecordResult, RecordLoss, RecordQuestion:
		return a.followCall(f)
	case Tick, Elapse:
		return a.followTime(f)
	case Retire:
		return decideIf(t.ID != "", Cancel{Meta: f.meta(), Turn: t.ID, By: "its parent was retired here"})
	case Abandon:
		return decideIf(t.Model != "", Abandon{Meta: f.meta(), Reason: c.Reason, Detail: c.Detail})
	case Recover, Release:
		return decideIf(step.Asks && t.Model != "", Recover{Meta: f.meta()})
	}
	return pass
}

// followBudget gives the wallet's recorded answer, with the amount that the fork asked for.
func (a *Agent) followBudget(f Followed) Move {
	t := &a.Turn
	awaited := t.Budget != "" && t.Number == f.Step.Turn
	if c, refused := f.Step.Command.(ReservationRefused); refused {
		c.Meta, c.Request = f.meta(), t.Budget
		return decideIf(awaited, c)
	}
	return decideIf(awaited, RecordReservation{Meta: f.meta(), Request: t.Budget, Amount: t.Requested})
}

// followUndo takes the parent's record of its files for the fork's: they are made so when the fork leaves the tape.
func (a *Agent) followUndo(f Followed, c RecordUndo) Move {
	if a.Undo == nil {
		return Move{Kind: MovePass}
	}
	c.Meta, c.Ended.Request = f.meta(), a.Undo.ID
	return decideIf(true, c)
}

// followTime meets the parent's limits of time, and asks the model again when the parent did.
func (a *Agent) followTime(f Followed) Move {
	t, step := &a.Turn, f.Step
	var command Command
	switch {
	case step.Call != "":
		if call := t.call(step.Call); call != nil && call.Stage == CallWaiting {
			command = Elapse{Meta: f.meta(), Call: step.Call}
		}
	case step.Asks && t.RetryAt != 0:
		command = Tick{Meta: f.meta()}
	case !step.Asks && t.ID != "" && t.Number == step.Turn:
		command = Elapse{Meta: f.meta()}
	}
	if command == nil {
		return Move{Kind: MovePass}
	}
	return Move{Kind: MoveDecide, Command: command, Over: true}
}

// followAdvice gives the recorded advice where it can be no other, for it follows from the state vector and the rules; and what was
// known then, for what is known now is something else.
func (a *Agent) followAdvice(f Followed) Move {
	t := &a.Turn
	pass := Move{Kind: MovePass}
	if t.Number != f.Step.Turn {
		return pass
	}
	decide := func(c Command, waits, recorded bool, request events.RequestID) Move {
		switch {
		case !waits:
			return pass
		case !recorded:
			return f.hearStep(request)
		}
		return Move{Kind: MoveDecide, Command: c, Over: true}
	}
	advised := !a.Fork.changed("tenant", "limits", "tools")
	informed := !a.Fork.changed("knowledge") && (!a.Fork.changed("tenant") || a.Config.Tenant == OwnTenant(a.ID))
	switch c := f.Step.Command.(type) {
	case RecordAdvice:
		c.Meta, c.Request = f.meta(), t.Advice
		return decide(c, t.Advice != "", advised, t.Advice)
	case AdviceTimeout:
		c.Meta, c.Request = f.meta(), t.Advice
		return decide(c, t.Advice != "", advised, t.Advice)
	case RecordRecall:
		c.Meta, c.Request = f.meta(), t.Knowledge
		return decide(c, t.Knowledge != "", informed, t.Knowledge)
	case RecallTimeout:
		c.Meta, c.Request = f.meta(), t.Knowledge
		return decide(c, t.Knowledge != "", informed, t.Knowledge)
	}
	return pass
}

func (a *Agent) followSettled(f Followed, c RecordSettlement) Move {
	turn := 0
	for _, s := range f.Parent.Settling {
		if s.ID == c.Request {
			turn = s.Turn.Number()
		}
	}
	c.Meta, c.Request = f.meta(), ""
	for _, s := range a.Settling {
		if s.Turn.Number() == turn {
			c.Request = s.ID
		}
	}
	return decideIf(c.Request != "", c)
}

// decideIf decides a step's command, if the fork has come to the same point.
func decideIf(same bool, c Command) Move {
	if !same {
		return Move{Kind: MovePass}
	}
	return Move{Kind: MoveDecide, Command: c, Over: true}
}

// answered reports whether the fork has come to the step's round, and its model has replied there.
func (a *Agent) answered(step *Step) bool {
	t := &a.Turn
	if a.Turns != step.Turn || t.ID == "" {
		return a.Turns >= step.Turn
	}
	asking := t.Model != "" || t.RetryAt != 0 || t.Interrupted
	return t.Round > step.Round || t.Round == step.Round && !asking
}

// followCall gives a call its recorded outcome.
func (a *Agent) followCall(f Followed) Move {
	t, step := &a.Turn, f.Step
	mine, theirs := t.call(step.Call), f.Parent.Turn.call(step.Call)
	if mine == nil || theirs == nil || mine.Stage != CallSent || mine.Digest != theirs.Digest || t.Number != step.Turn {
		return a.unanswered(f)
	}
	switch c := step.Command.(type) {
	case RecordResult:
		c.Meta, c.Request = f.meta(), mine.Request
		return Move{Kind: MoveDecide, Command: c, Over: true}
	case RecordLoss:
		c.Meta, c.Request = f.meta(), mine.Request
		return Move{Kind: MoveDecide, Command: c, Over: true}
	case RecordQuestion:
		c.Meta, c.Request = f.meta(), mine.Request
		return Move{Kind: MoveDecide, Command: c, Over: true}
	}
	return Move{Kind: MovePass}
}

// hear waits for the answer to a request, and takes it once it has come.
func (f *Followed) hear(request events.RequestID) Move {
	for i, command := range f.Held {
		if _, answers := heldAnswer(command, ""); answers == request {
			return Move{Kind: MoveHear, Command: command, Heard: i}
		}
	}
	return Move{Kind: MoveWait}
}

// hearStep is hear for an answer that the parent's step is too: the step is over with it.
func (f *Followed) hearStep(request events.RequestID) Move {
	move := f.hear(request)
	if move.Kind == MoveHear {
		move.Command, _ = heldAnswer(move.Command, f.meta().ID)
		move.Over = true
	}
	return move
}

// heldAnswer gives an answer that was held back the id of the step that it belongs to, and says which request it answers.
func heldAnswer(command Command, id events.CommandID) (Command, events.RequestID) {
	switch c := command.(type) {
	case RecordAdvice:
		c.ID = id
		return c, c.Request
	case AdviceTimeout:
		c.ID = id
		return c, c.Request
	case RecordRecall:
		c.ID = id
		return c, c.Request
	case RecallTimeout:
		c.ID = id
		return c, c.Request
	}
	return command, ""
}

// followLoosely gives the fork what its parent was sent, each at its point: once the fork has come as far as the parent had, or rests.
func (a *Agent) followLoosely(f Followed) Move {
	pass, wait := Move{Kind: MovePass}, Move{Kind: MoveWait}
	t, step := &a.Turn, f.Step
	switch step.Command.(type) {
	case Send, Approve, Deny, Answer, Cancel, Configure, Compact, Revoke, Undo:
		if f.Parent.Turn.ID == "" && t.ID != "" && !a.resting() {
			return wait
		}
		return Move{Kind: MoveDecide, Command: a.input(f), Over: true}
	case RecordReply:
		if !a.answered(step) && !a.resting() {
			return wait
		}
	case RecordResult, RecordLoss, RecordQuestion:
		call := t.call(step.Call)
		if t.ID != "" && t.Number == step.Turn && t.Round == step.Round && call != nil && call.Stage == CallSent {
			return wait
		}
	}
	return pass
}
