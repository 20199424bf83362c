package runs

import (
	"slices"
	"strings"

	"example.com/life/events"
)

// TurnComparison holds two turns against each other.
type TurnComparison struct {
	A       *RunTurn    `json:"a,omitempty"` // nil: the other has no counterpart
	B       *RunTurn    `json:"b,omitempty"`
	First   *Difference `json:"first,omitempty"`   // nil: they are equal
	Answers *Difference `json:"answers,omitempty"` // the first in anything but what models were asked; nil: they behave the same
	Rounds  []RoundPair `json:"rounds"`
}

// RoundPair holds two rounds against each other.
type RoundPair struct {
	A       int          `json:"a,omitempty"` // its number; 0: the other has no counterpart
	B       int          `json:"b,omitempty"`
	Differs []Difference `json:"differs,omitempty"` // empty: they are equal
}

// Difference is one thing in which two turns differ.
type Difference struct {
	What Aspect   `json:"what"`
	Why  []string `json:"why,omitempty"` // of requests: which of their parts differ
	A    *Side    `json:"a,omitempty"`   // nil: there is nothing like it
	B    *Side    `json:"b,omitempty"`
}

// Side is what one of the two did.
type Side struct {
	Turn  events.TurnID `json:"turn"`
	Round int           `json:"round"` // 0: before the first
	Call  events.CallID `json:"call,omitempty"`
	Value string        `json:"value,omitempty"` // where it is not a text
	Text  *RunText      `json:"text,omitempty"`
}

// CompareTurns holds two turns against each other; one of them may be nil.
func CompareTurns(a, b *RunTurn) TurnComparison {
	c := TurnComparison{A: a, B: b, Rounds: []RoundPair{}}
	if a == nil || b == nil {
		c.First = &Difference{What: AspectTurn, A: a.opening(), B: b.opening()}
		c.Answers = c.First
		return c
	}
	c.First = firstDifference(a, b, a.steps(), b.steps())
	c.Answers = firstDifference(a, b, behaviour(a.steps()), behaviour(b.steps()))
	for _, p := range align(roundKeys(a, b)...) {
		c.Rounds = append(c.Rounds, pairRounds(a, b, p))
	}
	return c
}

// opening is a turn that stands alone, by the first of its messages; nil for no turn.
func (t *RunTurn) opening() *Side {
	if t == nil {
		return nil
	}
	side := &Side{Turn: t.Turn}
	if len(t.Messages) > 0 {
		side.Text = &t.Messages[0].Text
	}
	return side
}

// roundKeys: rounds that behave the same, and those that call the same tools.
func roundKeys(a, b *RunTurn) []level {
	keys := func(t *RunTurn, key func(*RunRound) string) []string {
		all := make([]string, len(t.Rounds))
		for i := range t.Rounds {
			all[i] = key(&t.Rounds[i])
		}
		return all
	}
	whole := func(r *RunRound) string {
		var d events.Digest
		for _, s := range behaviour(r.steps()) {
			d = s.digest(d)
		}
		return d.String()
	}
	return []level{
		{keys(a, whole), keys(b, whole)},
		{keys(a, (*RunRound).tools), keys(b, (*RunRound).tools)},
	}
}

// digest extends a digest by a step. Its place is left out: it is where it stands among the others.
func (s step) digest(d events.Digest) events.Digest {
	return d.Next(events.Kind(s.what), []byte(s.value))
}

func firstDifference(a, b *RunTurn, one, other []step) *Difference {
	for i := range max(len(one), len(other)) {
		switch {
		case i >= len(one):
			return &Difference{What: other[i].what, B: other[i].side(b)}
		case i >= len(other):
			return &Difference{What: one[i].what, A: one[i].side(a)}
		case !one[i].equal(other[i]):
			return difference(a, b, &one[i], &other[i])
		}
	}
	return nil
}

// difference names what differs between two steps at the same place. Where they are not the same kind of step, it is named after the
// one that the other run does not have: the one that comes first in a turn. A turn that ended where the other asked again differs in
// its outcome.
func difference(a, b *RunTurn, one, other *step) *Difference {
	d := &Difference{What: one.what, A: one.side(a), B: other.side(b)}
	switch {
	case one.what == other.what && one.what == AspectRequest:
		d.Why = why(one.asked, other.asked)
	case one.what == other.what:
	case one.what == AspectOutcome || other.what == AspectOutcome:
		d.What = AspectOutcome
		d.A.still(one)
		d.B.still(other)
	case order(other.what) < order(one.what):
		d.What, d.A = other.what, nil
	default:
		d.B = nil
	}
	return d
}

// still says that a turn went on where the other ended.
func (s *Side) still(at *step) {
	if at.what != AspectOutcome {
		s.Value, s.Text = "goes on with "+string(at.what), nil
	}
}

func order(what Aspect) int {
	return slices.Index([]Aspect{AspectMessages, AspectJoined, AspectPause, AspectRequest, AspectReply, AspectStop, AspectCalls, AspectArguments, AspectApproval, AspectResult, AspectOutcome}, what)
}

func (s *step) side(turn *RunTurn) *Side {
	return &Side{Turn: turn.Turn, Round: s.round, Call: s.call, Value: s.shown, Text: s.text}
}

func pairRounds(a, b *RunTurn, p pair) RoundPair {
	var shown RoundPair
	if p.a >= 0 {
		shown.A = a.Rounds[p.a].Round
	}
	if p.b >= 0 {
		shown.B = b.Rounds[p.b].Round
	}
	if p.a < 0 || p.b < 0 {
		return shown
	}
	one, other := &a.Rounds[p.a], &b.Rounds[p.b]
	add := func(x, y []step) {
		for i := range max(len(x), len(y)) {
			if d := firstDifference(a, b, at(x, i), at(y, i)); d != nil {
				shown.Differs = append(shown.Differs, *d)
			}
		}
	}
	add(said(AspectJoined, one.Round, one.Joined), said(AspectJoined, other.Round, other.Joined))
	add(one.model(), other.model())
	for _, c := range align(callKeys(one, other)...) {
		var x, y []step
		if c.a >= 0 {
			x = one.Calls[c.a].steps(one.Round)
		}
		if c.b >= 0 {
			y = other.Calls[c.b].steps(other.Round)
		}
		if c.a < 0 || c.b < 0 {
			x, y = at(x, 0), at(y, 0) // a call that the other round does not have is one difference
		}
		add(x, y)
	}
	return shown
}

// at is the i-th step alone, or nothing.
func at(all []step, i int) []step {
	if i >= len(all) {
		return nil
	}
	return all[i : i+1]
}

// model is the part of a round that is the model's.
func (r *RunRound) model() []step {
	return slices.DeleteFunc(r.steps(), func(s step) bool { return s.call != "" || s.what == AspectJoined || s.what == AspectCalls })
}

// steps of a call, with the tool as the first.
func (c *RunCall) steps(round int) []step {
	all := []step{
		{what: AspectCalls, round: round, call: c.Call, value: c.Tool, shown: c.Tool},
		{what: AspectArguments, round: round, call: c.Call, value: c.Arguments.Hash, text: &c.Arguments},
	}
	return append(all, c.answer(round)...)
}

// callKeys: calls with the same arguments, and calls of the same tool.
func callKeys(a, b *RunRound) []level {
	keys := func(r *RunRound, key func(*RunCall) string) []string {
		all := make([]string, len(r.Calls))
		for i := range r.Calls {
			all[i] = key(&r.Calls[i])
		}
		return all
	}
	exact := func(c *RunCall) string { return strings.Join([]string{c.Tool, c.Arguments.Hash}, "\x00") }
	tool := func(c *RunCall) string { return c.Tool }
	return []level{{keys(a, exact), keys(b, exact)}, {keys(a, tool), keys(b, tool)}}
}
