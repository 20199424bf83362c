package runs

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"example.com/life/events"
)

// Aspect names what two runs can differ in.
type Aspect string

// The aspects, in the order in which they come up in a turn.
const (
	AspectMessages  Aspect = "messages"  // that the turn began with
	AspectJoined    Aspect = "joined"    // messages that came into the running turn
	AspectPause     Aspect = "pause"     // that a person had to end
	AspectRequest   Aspect = "request"   // what the model was asked
	AspectReply     Aspect = "reply"     // its text
	AspectStop      Aspect = "stop"      // why it stopped
	AspectCalls     Aspect = "calls"     // which tools it called
	AspectArguments Aspect = "arguments" // of a call
	AspectApproval  Aspect = "approval"  // what people said about a call
	AspectResult    Aspect = "result"    // of a call: what became of it, or the text
	AspectOutcome   Aspect = "outcome"   // of the turn
	AspectTurn      Aspect = "turn"      // that only one of the runs has
)

// step is one thing that a turn did. A turn's steps in order are all that counts for equality: see the definition in run.go.
type step struct {
	what  Aspect
	round int
	call  events.CallID
	value string   // equal values, equal steps
	shown string   // the value for people, where it is not a text
	text  *RunText // where it is one
	asked *RunRound
}

// steps lists what a turn did.
func (t *RunTurn) steps() []step {
	all := make([]step, 0, 2+6*len(t.Rounds))
	all = append(all, said(AspectMessages, 0, t.Messages)...)
	pauses := t.Pauses
	for i := range t.Rounds {
		round := &t.Rounds[i]
		for len(pauses) > 0 && pauses[0].Round <= round.Round {
			all = append(all, pauses[0].step())
			pauses = pauses[1:]
		}
		all = append(all, round.steps()...)
	}
	for i := range pauses {
		all = append(all, pauses[i].step())
	}
	end := cmp.Or(string(t.Outcome), "running")
	if t.Reason != "" {
		end += " (" + string(t.Reason) + ")"
	}
	return append(all, step{what: AspectOutcome, round: len(t.Rounds), value: end, shown: end})
}

// steps lists what happened from the request to the answers of its calls.
func (r *RunRound) steps() []step {
	all := said(AspectJoined, r.Round, r.Joined)
	all = append(all, step{what: AspectRequest, round: r.Round, value: r.request(), shown: r.Model, asked: r})
	if !r.Replied {
		return all
	}
	tools := make([]string, len(r.Calls))
	for i := range r.Calls {
		tools[i] = strconv.Quote(r.Calls[i].Tool)
	}
	all = append(all,
		step{what: AspectReply, round: r.Round, value: r.Text.Hash, text: &r.Text},
		step{what: AspectStop, round: r.Round, value: string(r.Stop), shown: string(r.Stop)},
		step{what: AspectCalls, round: r.Round, value: strings.Join(tools, " "), shown: r.tools()})
	for i := range r.Calls {
		c := &r.Calls[i]
		all = append(all, step{what: AspectArguments, round: r.Round, call: c.Call, value: c.Arguments.Hash, text: &c.Arguments})
	}
	for i := range r.Calls {
		all = append(all, r.Calls[i].answer(r.Round)...)
	}
	return all
}

// answer is what became of a call.
func (c *RunCall) answer(round int) []step {
	return []step{
		{what: AspectApproval, round: round, call: c.Call, value: string(c.Approval), shown: cmp.Or(string(c.Approval), "not asked")},
		{what: AspectResult, round: round, call: c.Call, value: string(c.End) + " " + c.Result.Hash, shown: string(c.End), text: &c.Result},
	}
}

func said(what Aspect, round int, messages []RunMessage) []step {
	all := make([]step, len(messages))
	for i := range messages {
		all[i] = step{what: what, round: round, value: messages[i].Text.Hash, text: &messages[i].Text}
	}
	return all
}

func (p *RunPause) step() step {
	return step{what: AspectPause, round: p.Round, value: string(p.Reason), shown: string(p.Reason)}
}

// tools lists the tools that a reply calls.
func (r *RunRound) tools() string {
	if len(r.Calls) == 0 {
		return "none"
	}
	names := make([]string, len(r.Calls))
	for i := range r.Calls {
		names[i] = r.Calls[i].Tool
	}
	return strings.Join(names, " ")
}

// request digests what the model was asked. The digest that history holds would not do: it covers the identities that providers give
// calls, which differ wherever a model was asked twice.
func (r *RunRound) request() string {
	var d events.Digest
	for _, part := range r.parts() {
		d = d.Next(events.Kind(part.name), []byte(part.value))
	}
	return d.String()
}

// part is one of the things that a request is made of.
type part struct{ name, value string }

func (r *RunRound) parts() []part {
	setup := r.setup
	if setup == nil {
		setup = &RunSetup{}
	}
	tools := make([]string, len(setup.Tools))
	for i := range tools {
		tools[i] = strconv.Quote(setup.Tools[i])
	}
	return []part{
		{"model", r.Model},
		{"prompt", setup.Prompt},
		{"tools", strings.Join(tools, " ")},
		{"reply_tokens", strconv.FormatInt(setup.Reply, 10)},
		{"mode", hint(r.Mode)},
		{"window", strconv.Itoa(r.Dropped)},
		{"conversation", r.before.String()},
	}
}

// hint is the mode where the system prompt says something about it.
func hint(mode events.OperatingMode) string {
	switch mode {
	case events.ModeVerify, events.ModeRecover, events.ModeAskHuman:
		return string(mode)
	case events.ModeExplore, events.ModeExecute, events.ModeSleep:
		return ""
	}
	return ""
}

// why names the parts in which two requests differ.
func why(a, b *RunRound) []string {
	var names []string
	others := b.parts()
	for i, p := range a.parts() {
		if p != others[i] {
			names = append(names, p.name)
		}
	}
	return names
}

func (s step) equal(other step) bool { return s.what == other.what && s.value == other.value }

// behaviour leaves out what was asked.
func behaviour(all []step) []step {
	return slices.DeleteFunc(slices.Clone(all), func(s step) bool { return s.what == AspectRequest })
}

func callIndex(call events.CallID) int {
	_, digits, _ := strings.Cut(string(call), ".")
	index, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return index
}
