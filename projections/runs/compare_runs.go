package runs

import (
	"encoding/binary"

	"example.com/life/events"
)

// RunSketch is what is kept of a turn to compare long runs: whole turns are read again where they differ.
type RunSketch struct {
	Turn     events.TurnID
	First    events.Ref // its first event
	Last     events.Ref
	Outcome  events.Outcome
	Reason   events.Reason
	Totals   RunTotals
	again    runAgain
	messages events.Digest // of what it began with
	asked    events.Digest // of what models were asked
	behaves  events.Digest // of everything else
	marks    []uint32      // of what it did up to and including each round
}

// Sketch returns what is kept of a turn.
func (t *RunTurn) Sketch() RunSketch {
	s := RunSketch{
		Turn: t.Turn, First: t.First, Last: t.Last, Outcome: t.Outcome, Reason: t.Reason, Totals: t.Totals, again: t.again,
		marks: make([]uint32, 1, len(t.Rounds)+1),
	}
	round := 0
	for _, step := range t.steps() {
		if step.what != AspectOutcome && step.round != round { // the outcome belongs to the last round
			round = step.round
			s.marks = append(s.marks, s.marks[len(s.marks)-1])
		}
		switch step.what {
		case AspectRequest:
			s.asked = step.digest(s.asked)
			continue
		case AspectMessages:
			s.messages = step.digest(s.messages)
		default:
		}
		s.behaves = step.digest(s.behaves)
		s.marks[len(s.marks)-1] = binary.LittleEndian.Uint32(s.behaves[:])
	}
	return s
}

// Sameness says how alike two turns are.
type Sameness string

// The degrees of sameness.
const (
	SameAll     Sameness = "equal"
	SameAnswers Sameness = "asked"  // they behave the same, but models were asked something else
	Differs     Sameness = "differ" // they begin with the same messages
	Unlike      Sameness = "unlike" // they begin with other messages
	OnlyA       Sameness = "only_a"
	OnlyB       Sameness = "only_b"
)

// TurnPair holds turns against each other: one of each run, or a stretch of turns that are equal one by one.
type TurnPair struct {
	A     *TurnBrief `json:"a,omitempty"`
	B     *TurnBrief `json:"b,omitempty"`
	Same  Sameness   `json:"same"`
	Turns int        `json:"turns"`           // how many the pair stands for; more than one only where they are equal
	Round int        `json:"round,omitempty"` // the first in which they behave differently, where they do; 0: at their messages
}

// TurnBrief is a turn in short: that which begins a stretch, with the totals of all of it.
type TurnBrief struct {
	Turn    events.TurnID  `json:"turn"`
	First   events.Ref     `json:"first"`
	Last    events.Ref     `json:"last"`
	Outcome events.Outcome `json:"outcome,omitempty"` // empty: it runs, or it is a stretch of several
	Reason  events.Reason  `json:"reason,omitempty"`
	Totals  RunTotals      `json:"totals"`
}

// RunAlignment is two runs, turn by turn. Pairs of turns never cross.
type RunAlignment struct {
	a, b  []RunSketch
	pairs []pair
}

// AlignRuns pairs the turns of two runs: those that behave the same, then those that begin with the same messages, then what is left
// in order.
func AlignRuns(a, b []RunSketch) *RunAlignment {
	keys := func(all []RunSketch, key func(*RunSketch) events.Digest) []string {
		texts := make([]string, len(all))
		for i := range all {
			d := key(&all[i])
			texts[i] = string(d[:])
		}
		return texts
	}
	behaves := func(s *RunSketch) events.Digest { return s.behaves }
	messages := func(s *RunSketch) events.Digest { return s.messages }
	return &RunAlignment{a, b, align(level{keys(a, behaves), keys(b, behaves)}, level{keys(a, messages), keys(b, messages)})}
}

// Pairs lists the pairs of turns, a stretch of equal ones as one.
func (r *RunAlignment) Pairs() []TurnPair {
	pairs := []TurnPair{}
	for _, p := range r.pairs {
		pairs = addPair(pairs, r.a, r.b, p)
	}
	return pairs
}

// Equal reports whether the runs have an equal history, as run.go defines it.
func (r *RunAlignment) Equal() bool {
	a, b := r.First()
	return a == nil && b == nil
}

// First returns the first turns that are not equal: one of each run, or of one run alone.
func (r *RunAlignment) First() (a, b *RunSketch) {
	return r.find(func(a, b *RunSketch) bool { return differ(a, b) != SameAll })
}

// Answers returns the first turns that do not behave the same.
func (r *RunAlignment) Answers() (a, b *RunSketch) {
	return r.find(func(a, b *RunSketch) bool { same := differ(a, b); return same != SameAll && same != SameAnswers })
}

// Find returns a turn of either run and its counterpart in the other.
func (r *RunAlignment) Find(turn events.TurnID) (a, b *RunSketch) {
	return r.find(func(a, b *RunSketch) bool { return a != nil && a.Turn == turn || b != nil && b.Turn == turn })
}

func (r *RunAlignment) find(wanted func(a, b *RunSketch) bool) (a, b *RunSketch) {
	for _, p := range r.pairs {
		a, b = nil, nil
		if p.a >= 0 {
			a = &r.a[p.a]
		}
		if p.b >= 0 {
			b = &r.b[p.b]
		}
		if wanted(a, b) {
			return a, b
		}
	}
	return nil, nil
}

func differ(a, b *RunSketch) Sameness {
	switch {
	case b == nil:
		return OnlyA
	case a == nil:
		return OnlyB
	}
	same, _ := a.same(b)
	return same
}

func addPair(pairs []TurnPair, a, b []RunSketch, p pair) []TurnPair {
	next := TurnPair{Turns: 1}
	switch {
	case p.b < 0:
		next.A, next.Same = a[p.a].brief(), OnlyA
	case p.a < 0:
		next.B, next.Same = b[p.b].brief(), OnlyB
	default:
		next.A, next.B = a[p.a].brief(), b[p.b].brief()
		next.Same, next.Round = a[p.a].same(&b[p.b])
	}
	if n := len(pairs); n > 0 && next.Same == SameAll && pairs[n-1].Same == SameAll {
		pairs[n-1].extend(&next)
		return pairs
	}
	return append(pairs, next)
}

func (p *TurnPair) extend(next *TurnPair) {
	p.Turns += next.Turns
	for _, side := range []struct{ to, from *TurnBrief }{{p.A, next.A}, {p.B, next.B}} {
		side.to.Last, side.to.Outcome, side.to.Reason = side.from.Last, "", ""
		side.to.Totals = side.to.Totals.Plus(side.from.Totals)
	}
}

func (s *RunSketch) brief() *TurnBrief {
	return &TurnBrief{Turn: s.Turn, First: s.First, Last: s.Last, Outcome: s.Outcome, Reason: s.Reason, Totals: s.Totals}
}

// same says how alike two turns are, and in which round they begin to differ.
func (s *RunSketch) same(other *RunSketch) (Sameness, int) {
	switch {
	case s.behaves == other.behaves && s.asked == other.asked:
		return SameAll, 0
	case s.behaves == other.behaves:
		return SameAnswers, 0
	case s.messages != other.messages:
		return Unlike, 0
	}
	round := 0
	for round < min(len(s.marks), len(other.marks))-1 && s.marks[round] == other.marks[round] {
		round++
	}
	return Differs, round
}
