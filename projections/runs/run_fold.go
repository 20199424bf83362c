package runs

import (
	"encoding/json"
	"slices"
	"strings"

	"example.com/life/events"
	"example.com/life/projections"
)

// RunFold folds one agent's events, in their order, into turns. It keeps the turn that runs and hands over those that have ended,
// so that its memory does not grow with history. It belongs to one goroutine.
type RunFold struct {
	setup   *RunSetup
	mode    events.OperatingMode
	waiting []RunMessage // in no turn yet
	turn    *openTurn
	ended   []*RunTurn
	chain   events.Digest // of the conversation, without identities
}

// RunStart is what a fold has to know of an agent where it does not begin with the agent's first event. The conversation before that
// is taken as given: runs are compared from a place where they have the same.
type RunStart struct {
	Config  events.AgentConfig
	Mode    events.OperatingMode
	Waiting []events.MessageReceived // accepted, and in no turn yet
}

// openTurn is the turn that runs.
type openTurn struct {
	RunTurn
	trace   projections.TurnTrace
	joined  []RunMessage     // since the latest reply
	summary events.RequestID // the latest for a summary of the conversation: what fails there is no failure of a round
	usage   events.Usage     // of summaries since the latest request of a round: the next one counts it
	cost    events.Money
}

// previewSize is how much of a text, in bytes, a run keeps.
const previewSize = 160

// NewRunFold returns the fold of a run that begins with an agent's first event.
func NewRunFold() *RunFold { return &RunFold{} }

// NewRunFoldFrom returns the fold of a run that begins somewhere between two turns.
func NewRunFoldFrom(start RunStart) *RunFold {
	f := &RunFold{setup: newSetup(&start.Config), mode: start.Mode}
	for _, m := range start.Waiting {
		f.waiting = append(f.waiting, RunMessage{Message: m.Message, Verb: m.Verb, From: m.From, Text: runText(m.Text, "")})
	}
	return f
}

// NewRunFoldOf returns the fold with which a turn is folded again, from the event that it names on and up to its last.
func NewRunFoldOf(turn *RunSketch) (fold *RunFold, from events.Ref) {
	again := &turn.again
	return &RunFold{setup: again.setup, mode: again.mode, chain: again.chain, waiting: slices.Clone(again.given)}, again.from
}

func newSetup(config *events.AgentConfig) *RunSetup {
	s := &RunSetup{Model: config.Model, Prompt: events.HashBytes([]byte(config.Prompt)), Tools: []string{}, Reply: config.Limits.ReplyTokens}
	for i := range config.Tools {
		s.Tools = append(s.Tools, config.Tools[i].Name)
	}
	return s
}

// runText is a text's hash, size and beginning.
func runText(text events.Text, event events.Ref) RunText {
	short := RunText{Size: int64(len(text.Inline)), Event: event}
	if text.Blob != nil {
		short.Hash, short.Size = text.Blob.Hash, text.Blob.Size
	} else {
		short.Hash = events.HashBytes([]byte(text.Inline))
	}
	short.Preview = beginning(text.Inline)
	if short.Preview == text.Inline && text.Blob == nil {
		return short
	}
	short.Preview += "…"
	return short
}

// beginning cuts a text to what a run keeps. It is a copy: the event's memory is let go.
func beginning(text string) string {
	if len(text) > previewSize {
		text = strings.ToValidUTF8(text[:previewSize], "")
	}
	return strings.Clone(text)
}

// Turns hands over the turns that have ended since it was called last.
func (f *RunFold) Turns() []*RunTurn {
	ended := f.ended
	f.ended = nil
	return ended
}

// Running returns the turn that runs as it is now, or nil.
func (f *RunFold) Running() *RunTurn {
	if f.turn == nil {
		return nil
	}
	turn := f.turn.RunTurn
	turn.Rounds = slices.Clone(turn.Rounds)
	for i := range turn.Rounds {
		turn.Rounds[i].Calls = slices.Clone(turn.Rounds[i].Calls)
	}
	turn.close(&f.turn.trace)
	return &turn
}

// Apply folds the agent's next event. An event that cannot be read is a *Poison, and leaves the fold as it was.
func (f *RunFold) Apply(r *projections.Recorded) error {
	event, err := r.Event()
	if err != nil {
		return err
	}
	if f.turn != nil {
		f.turn.Last = r.Ref()
		f.turn.trace.Apply(r, event)
	}
	switch e := event.(type) {
	case events.AgentCreated:
		f.setup = newSetup(&e.Config)
	case events.AgentForked:
		f.fork(r, &e)
	case events.AgentConfigured:
		f.setup = newSetup(&e.Config)
	case events.AdviceGiven:
		f.mode = e.Mode
	case events.MessageReceived:
		f.waiting = append(f.waiting, RunMessage{Message: e.Message, Verb: e.Verb, From: e.From, Text: runText(e.Text, r.Ref()), at: r.Time})
	case events.TurnStarted:
		f.begin(r, &e)
	case events.MessageDelivered:
		if f.turn != nil {
			f.closeCalls()
			f.turn.joined = append(f.turn.joined, f.take(e.Messages)...)
		}
	case events.TurnEnded:
		f.end(&e)
	default:
		if f.turn != nil {
			f.within(r, event)
		}
	}
	return nil
}

// fork goes on with the configuration of the fork, also within a turn. What was open in the parent is asked for anew, and the time
// until then is no part of the turn.
func (f *RunFold) fork(r *projections.Recorded, e *events.AgentForked) {
	f.setup = newSetup(&e.Config)
	t := f.turn
	if t == nil {
		return
	}
	t.Setup = f.setup
	t.trace.Turn = events.NewTurnID(e.Agent, t.Number)
	if e.Time > 0 {
		t.trace.Shift(r.Time-e.Time, r.Time)
	}
	if round := t.round(); round != nil {
		for i := range round.Calls {
			if c := &round.Calls[i]; c.End == CallOpen {
				c.Sent, c.Approval = 0, NotAsked
			}
		}
	}
}

// take moves messages that waited into the conversation.
func (f *RunFold) take(ids []events.MessageID) []RunMessage {
	taken := make([]RunMessage, 0, len(ids))
	f.waiting = slices.DeleteFunc(f.waiting, func(m RunMessage) bool {
		if !slices.Contains(ids, m.Message) {
			return false
		}
		taken = append(taken, m)
		f.chain = f.chain.Next("user", []byte(m.Text.Hash))
		return true
	})
	return taken
}

func (f *RunFold) begin(r *projections.Recorded, e *events.TurnStarted) {
	again := runAgain{from: r.Ref(), setup: f.setup, mode: f.mode, chain: f.chain}
	for i := len(f.waiting) - 1; i >= 0; i-- { // those that join later too
		if m := &f.waiting[i]; m.Text.Event == "" {
			again.given = append([]RunMessage{*m}, again.given...)
		} else {
			again.from = m.Text.Event
		}
	}
	messages := f.take(e.Messages)
	asked := r.Time
	for i := range messages {
		if messages[i].at > 0 {
			asked = min(asked, messages[i].at)
		}
	}
	f.turn = &openTurn{
		RunTurn: RunTurn{
			Number: e.Turn.Number(), First: r.Ref(), Last: r.Ref(), Setup: f.setup, Messages: messages, Rounds: []RunRound{}, again: again,
		},
		trace: projections.NewTurnTrace(e.Turn, asked, r.Time),
	}
}

func (f *RunFold) end(e *events.TurnEnded) {
	if f.turn == nil {
		return
	}
	turn := &f.turn.RunTurn
	turn.Detail = e.Detail
	if n := len(turn.Rounds); n > 0 {
		for i := range turn.Rounds[n-1].Calls {
			if call := &turn.Rounds[n-1].Calls[i]; call.End == CallOpen {
				call.End = CallAbandoned
			}
		}
	}
	f.closeCalls()
	turn.close(&f.turn.trace)
	f.ended = append(f.ended, turn)
	f.turn = nil
}

// within folds what happens in a turn.
func (f *RunFold) within(r *projections.Recorded, event events.Event) {
	t := f.turn
	switch e := event.(type) {
	case events.ModelRequested:
		f.ask(&e)
	case events.ModelReplied:
		f.reply(r, &e)
	case events.SummaryRequested:
		t.summary = events.RequestID(r.Ref())
	case events.ModelFailed:
		if e.Request == t.summary {
			t.usage, t.cost = t.usage.Plus(e.Usage), t.cost+e.Cost
		} else if round := t.round(); round != nil {
			round.Failed = append(round.Failed, RunFailure{e.Class, beginning(e.Detail)})
			round.Usage, round.Cost = round.Usage.Plus(e.Usage), round.Cost+e.Cost
		}
	case events.ConversationCompacted:
		t.usage, t.cost = t.usage.Plus(e.Usage), t.cost+e.Cost
		f.chain = f.chain.Next("compacted", append([]byte(e.How+" "), runText(e.Text, r.Ref()).Hash...))
	case events.TurnPaused:
		next := 1
		if n := len(t.Rounds); n > 0 {
			next = t.Rounds[n-1].Round + 1
		}
		t.Pauses = append(t.Pauses, RunPause{next, e.Reason})
	default:
		t.call(r, event)
	}
}

// ask opens a round, or tries the same once more. Messages that join a round that is asked again belong to it as well.
func (f *RunFold) ask(e *events.ModelRequested) {
	t := f.turn
	f.closeCalls()
	if n := len(t.Rounds); n == 0 || t.Rounds[n-1].Round != e.Round {
		t.Rounds = append(t.Rounds, RunRound{Round: e.Round})
	}
	round := t.round()
	round.Usage, round.Cost = round.Usage.Plus(t.usage), round.Cost+t.cost
	t.usage, t.cost = events.Usage{}, 0
	round.Joined = append(round.Joined, t.joined...)
	t.joined = nil
	round.Asked++
	round.Model, round.Mode, round.Context, round.Dropped = e.Model, f.mode, e.Context, e.Dropped
	round.before, round.setup = f.chain, t.Setup
}

func (f *RunFold) reply(r *projections.Recorded, e *events.ModelReplied) {
	round := f.turn.round()
	if round == nil {
		return
	}
	round.Replied, round.Text, round.Stop = true, runText(e.Text, r.Ref()), e.Stop
	round.Usage, round.Cost = round.Usage.Plus(e.Usage), round.Cost+e.Cost // of failed attempts too
	round.Priced, round.Took = e.Priced, e.Duration
	said := []byte(round.Text.Hash)
	for i := range e.Calls {
		call := &e.Calls[i]
		arguments := runText(events.Text{Inline: string(call.Arguments), Blob: call.Blob}, r.Ref())
		round.Calls = append(round.Calls, RunCall{Call: events.NewCallID(round.Round, i+1), Tool: call.Tool, Arguments: arguments, End: CallOpen})
		said = append(said, quoted(call.Tool)...)
		said = append(said, arguments.Hash...)
	}
	f.chain = f.chain.Next("assistant", said)
}

// quoted writes a name so that it cannot run into what follows.
func quoted(name string) []byte {
	text, err := json.Marshal(name)
	if err != nil { // strings always encode
		return nil
	}
	return text
}

// closeCalls adds what the calls of the latest round came to to the conversation, once.
func (f *RunFold) closeCalls() {
	round := f.turn.round()
	if round == nil || round.closed {
		return
	}
	for i := range round.Calls {
		f.chain = f.chain.Next("tool", append([]byte(round.Calls[i].Result.Hash), round.Calls[i].End...))
	}
	round.closed = round.Replied
}

// round is the latest, or nil.
func (t *openTurn) round() *RunRound {
	if len(t.Rounds) == 0 {
		return nil
	}
	return &t.Rounds[len(t.Rounds)-1]
}
