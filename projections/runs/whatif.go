package runs

import (
	"cmp"
	"slices"

	"example.com/life/events"
)

// A what-if runs one change over many recorded turns: each is forked at its start with the change, runs to its end, and is held
// against the turn as it was. Here is what of that needs no clock and no model: which turns, how much it may cost, and what the
// differences add up to.

// RecordedTurn is a turn that can be run again with a change.
type RecordedTurn struct {
	Turn    events.TurnID
	At      events.Revision // to fork at
	Started events.Micros
	Cost    events.Money // as it was
}

// ChooseTurns picks the latest turns of each agent, at most so many (0: all), and puts all of them in the order in which they
// started: if the money runs out, it is for the latest.
func ChooseTurns(recorded []RecordedTurn, ofEach int) []RecordedTurn {
	chosen := slices.Clone(recorded)
	slices.SortFunc(chosen, func(a, b RecordedTurn) int {
		return cmp.Or(cmp.Compare(b.Started, a.Started), cmp.Compare(b.Turn.Number(), a.Turn.Number()), cmp.Compare(a.Turn, b.Turn))
	})
	taken := map[events.AgentID]int{}
	chosen = slices.DeleteFunc(chosen, func(t RecordedTurn) bool {
		agent := t.Turn.Agent()
		taken[agent]++
		return ofEach > 0 && taken[agent] > ofEach
	})
	slices.Reverse(chosen)
	return chosen
}

// WhatIfBudget is what all turns of a what-if together may cost. Replies from a recording cost nothing.
type WhatIfBudget struct {
	Limit events.Money // 0: there is none
	spent events.Money
	held  events.Money // for turns that run, by what they cost before
	out   bool         // no further turn runs
}

// Admit reports whether another turn may run, and sets aside what it did cost. Once one may not, none may.
func (b *WhatIfBudget) Admit(turn *RecordedTurn) bool {
	b.out = b.out || b.Limit > 0 && (b.spent+b.held+turn.Cost > b.Limit || b.spent+b.held >= b.Limit)
	if !b.out {
		b.held += turn.Cost
	}
	return !b.out
}

// Settle notes what a turn that was admitted did cost with the change.
func (b *WhatIfBudget) Settle(turn *RecordedTurn, live events.Money) {
	b.held -= turn.Cost
	b.spent += live
}

// WhatIfState says what became of a turn.
type WhatIfState string

// The states.
const (
	WhatIfCompared WhatIfState = "compared"
	WhatIfWaits    WhatIfState = "waits"   // for a person: it has not ended
	WhatIfFailed   WhatIfState = "failed"  // it could not be forked or compared
	WhatIfNotRun   WhatIfState = "not_run" // the money was spent, or the what-if was interrupted
)

// WhatIfTurn is a recorded turn, and the same with a change.
type WhatIfTurn struct {
	Turn    events.TurnID  `json:"turn"`
	Fork    events.AgentID `json:"fork,omitempty"`
	State   WhatIfState    `json:"state"`
	Problem string         `json:"problem,omitempty"` // why it was not compared
	Same    Sameness       `json:"same,omitempty"`
	Round   int            `json:"round,omitempty"` // in which they begin to behave differently, where they do
	A       *TurnBrief     `json:"a,omitempty"`     // as it was
	B       *TurnBrief     `json:"b,omitempty"`     // with the change
	First   *Difference    `json:"first,omitempty"`
	Answers *Difference    `json:"answers,omitempty"`
	Live    events.Money   `json:"live,string"` // what was spent on it, replies from the recording left out
}

// Compared fills in how two turns compare: the pair that they are, and the turns themselves.
func (w *WhatIfTurn) Compared(pair *TurnPair, turns *TurnComparison) {
	w.State, w.Same, w.Round, w.A, w.B = WhatIfCompared, pair.Same, pair.Round, pair.A, pair.B
	if turns != nil {
		w.First, w.Answers = turns.First, turns.Answers
	}
}

// LiveCost is what the replies of a turn cost from a round on: those before came from a recording.
func LiveCost(turn *RunTurn, from int) events.Money {
	sum := events.Money(0)
	for i := range turn.Rounds {
		if turn.Rounds[i].Round >= from {
			sum += turn.Rounds[i].Cost
		}
	}
	return sum
}

// WhatIfSummary is what the differences add up to, over the turns that were compared.
type WhatIfSummary struct {
	Turns    int            `json:"turns"` // that were chosen
	Compared int            `json:"compared"`
	Waits    int            `json:"waits,omitempty"`
	Failed   int            `json:"failed,omitempty"`
	NotRun   int            `json:"not_run,omitempty"`
	Equal    int            `json:"equal"`
	Asked    int            `json:"asked"`  // models were asked otherwise, and everything else is the same
	Differ   int            `json:"differ"` // they behave differently
	Where    []WhatIfPlace  `json:"where"`  // those that do, by what differs first
	Outcomes []WhatIfEnd    `json:"outcomes"`
	A        RunTotals      `json:"a"`
	B        RunTotals      `json:"b"`
	Better   []WhatIfChange `json:"better"` // cost, tokens, running time, rounds, calls, failures
	Live     events.Money   `json:"live,string"`
}

// WhatIfPlace counts turns that differ first in one aspect.
type WhatIfPlace struct {
	What  Aspect `json:"what"`
	Turns int    `json:"turns"`
}

// WhatIfEnd counts turns that ended in one way and, with the change, in another.
type WhatIfEnd struct {
	A     events.Outcome `json:"a"` // empty: it runs
	B     events.Outcome `json:"b"`
	Turns int            `json:"turns"`
}

// WhatIfChange counts turns by whether something became less, which is better, or more.
type WhatIfChange struct {
	Of   string `json:"of"`
	Less int    `json:"less"`
	Same int    `json:"same"`
	More int    `json:"more"`
}

// Summarize adds the turns of a what-if up.
func Summarize(turns []WhatIfTurn) WhatIfSummary {
	s := WhatIfSummary{Turns: len(turns), Where: []WhatIfPlace{}, Outcomes: []WhatIfEnd{}, Better: []WhatIfChange{}}
	for i := range turns {
		s.Live += turns[i].Live
		switch turns[i].State {
		case WhatIfCompared:
			s.add(&turns[i])
		case WhatIfWaits:
			s.Waits++
		case WhatIfFailed:
			s.Failed++
		case WhatIfNotRun:
			s.NotRun++
		}
	}
	slices.SortFunc(s.Where, func(a, b WhatIfPlace) int { return cmp.Or(cmp.Compare(b.Turns, a.Turns), cmp.Compare(a.What, b.What)) })
	slices.SortFunc(s.Outcomes, func(a, b WhatIfEnd) int {
		return cmp.Or(cmp.Compare(b.Turns, a.Turns), cmp.Compare(a.A, b.A), cmp.Compare(a.B, b.B))
	})
	return s
}

func (s *WhatIfSummary) add(t *WhatIfTurn) {
	s.Compared++
	switch t.Same {
	case SameAll:
		s.Equal++
	case SameAnswers:
		s.Asked++
	case Differs, Unlike, OnlyA, OnlyB:
		s.Differ++
		if t.Answers != nil {
			tally(&s.Where, func(p *WhatIfPlace) bool { return p.What == t.Answers.What }, WhatIfPlace{What: t.Answers.What}).Turns++
		}
	}
	if t.A == nil || t.B == nil {
		return
	}
	end := WhatIfEnd{A: t.A.Outcome, B: t.B.Outcome}
	tally(&s.Outcomes, func(e *WhatIfEnd) bool { return e.A == end.A && e.B == end.B }, end).Turns++
	a, b := &t.A.Totals, &t.B.Totals
	s.A, s.B = s.A.Plus(*a), s.B.Plus(*b)
	for _, of := range []struct {
		name string
		a, b int64
	}{
		{"cost", int64(a.Cost), int64(b.Cost)},
		{"tokens", a.Usage.Total(), b.Usage.Total()},
		{"running time", int64(a.Running), int64(b.Running)},
		{"rounds", int64(a.Rounds), int64(b.Rounds)},
		{"calls", int64(a.Calls), int64(b.Calls)},
		{"failures", int64(a.Failures), int64(b.Failures)},
	} {
		change := tally(&s.Better, func(c *WhatIfChange) bool { return c.Of == of.name }, WhatIfChange{Of: of.name})
		switch cmp.Compare(of.b, of.a) {
		case -1:
			change.Less++
		case 0:
			change.Same++
		default:
			change.More++
		}
	}
}

// tally returns the entry of a list that is wanted, which is added if it is not there.
func tally[T any](list *[]T, wanted func(*T) bool, empty T) *T {
	for i := range *list {
		if wanted(&(*list)[i]) {
			return &(*list)[i]
		}
	}
	*list = append(*list, empty)
	return &(*list)[len(*list)-1]
}
