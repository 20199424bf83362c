package history

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections/runs"
	"example.com/life/sagas"
)

// CompareOrder says what is to be compared.
type CompareOrder struct {
	A, B  events.AgentID
	Turn  events.TurnID // of either, to be shown round by round; empty: the first that differs
	Turns int           // that are compared of each, from where the histories part; 0: all
	Pairs int           // most pairs of turns that are listed; 0: 1000
}

// Comparison holds the histories of two agents against each other. What both have by reference, as a fork and its parent have, is
// equal by construction and counts for neither.
type Comparison struct {
	A       ComparedRun          `json:"a"`
	B       ComparedRun          `json:"b"`
	Shared  *SharedHistory       `json:"shared,omitempty"`
	Equal   bool                 `json:"equal"` // as package runs defines it, see projections/runs/run.go
	First   *FoundDifference     `json:"first,omitempty"`
	Answers *FoundDifference     `json:"answers,omitempty"` // the first in anything but what models were asked
	Pairs   []runs.TurnPair      `json:"pairs"`
	More    int                  `json:"more,omitempty"` // pairs that are not listed
	Turn    *runs.TurnComparison `json:"turn,omitempty"`
}

// ComparedRun is one of the two.
type ComparedRun struct {
	Agent    events.AgentID  `json:"agent"`
	Revision events.Revision `json:"revision,string"` // up to which its own stream was read
	Events   int64           `json:"events,string"`   // that were read
	Totals   runs.RunTotals  `json:"totals"`          // of the turns that are compared
}

// SharedHistory is what both histories begin with.
type SharedHistory struct {
	Agent    events.AgentID  `json:"agent"`           // in whose stream it ends
	Revision events.Revision `json:"revision,string"` // of its last event
	Turns    int             `json:"turns"`           // that are not compared because they are part of it
}

// FoundDifference is a difference, with all of the texts that it is about.
type FoundDifference struct {
	runs.Difference
	TextA string `json:"a_text,omitempty"`
	TextB string `json:"b_text,omitempty"`
	Cut   bool   `json:"cut,omitempty"` // of a longer text there is only the beginning
}

// mostText is how much of a text a difference shows.
const mostText = 64 << 10

// Compare holds two agents' histories against each other. Both are read page by page, and of what was read only sketches of the turns
// are kept: those that are shown are read again. Nothing is asked, run or changed. progress, if given, hears how many events were
// read.
func (r *Reader) Compare(ctx context.Context, order CompareOrder, progress func(read int64)) (Comparison, error) {
	c := &comparing{reader: r, turns: order.Turns, progress: progress}
	if order.A == order.B {
		return Comparison{}, &sagas.RefusalError{
			Code: sagas.RefusedInvalid, Detail: fmt.Sprintf("%s and %s are one agent: name two, or compare two of its revisions", order.A, order.B),
		}
	}
	answer, err := c.begin(ctx, order)
	if err != nil {
		return Comparison{}, err
	}
	if err := c.read(ctx); err != nil {
		return Comparison{}, err
	}
	answer.A, answer.B = c.a.summary(order.A), c.b.summary(order.B)
	aligned := runs.AlignRuns(c.a.turns, c.b.turns)
	answer.Pairs = aligned.Pairs()
	if most := cmp.Or(order.Pairs, 1000); len(answer.Pairs) > most {
		answer.Pairs, answer.More = answer.Pairs[:most], len(answer.Pairs)-most
	}
	return answer, c.differences(ctx, &answer, aligned, order.Turn)
}

// comparing is one comparison under way.
type comparing struct {
	reader   *Reader
	turns    int // that are read of each; 0: all
	progress func(read int64)
	told     sync.Mutex
	events   atomic.Int64
	a, b     side
}

// side is one of the two histories.
type side struct {
	line    descent
	from    events.Revision // of the first segment of line
	fold    *runs.RunFold
	turns   []runs.RunSketch
	through events.Revision
	events  int64
}

func (s *side) summary(agent events.AgentID) ComparedRun {
	run := ComparedRun{Agent: agent, Revision: s.through, Events: s.events}
	for i := range s.turns {
		run.Totals = run.Totals.Plus(s.turns[i].Totals)
	}
	return run
}

// begin finds from where on the histories are to be compared.
func (c *comparing) begin(ctx context.Context, order CompareOrder) (Comparison, error) {
	var answer Comparison
	one, err := c.reader.descent(ctx, order.A)
	if err != nil {
		return answer, err
	}
	other, err := c.reader.descent(ctx, order.B)
	if err != nil {
		return answer, err
	}
	segments, through := one.shared(other)
	if segments == 0 {
		c.a = side{line: one, fold: runs.NewRunFold()}
		c.b = side{line: other, fold: runs.NewRunFold()}
		return answer, nil
	}
	segment := segments - 1
	answer.Shared = &SharedHistory{Agent: one[segment].agent, Revision: through}
	segment, revision, err := c.reader.betweenTurns(ctx, one, segment, through)
	if err != nil {
		return answer, err
	}
	state, err := c.reader.State(ctx, one[segment].agent, revision)
	if err != nil {
		return answer, fmt.Errorf("look at %s where %s and %s part: %w", one[segment].agent, order.A, order.B, err)
	}
	answer.Shared.Turns = state.Agent.Turns
	c.a, c.b = side{fold: runFrom(&state)}, side{fold: runFrom(&state)}
	c.a.line, c.a.from = one.after(segment, revision)
	c.b.line, c.b.from = other.after(segment, revision)
	return answer, nil
}

// betweenTurns is the latest place at or before a revision where no turn runs: there the fold of a run can begin.
func (r *Reader) betweenTurns(ctx context.Context, line descent, segment int, at events.Revision) (int, events.Revision, error) {
	for ; segment >= 0; segment-- {
		place, found := at, false
		err := r.Scan(ctx, events.AgentStream(line[segment].agent), at, storage.Backward, func(e *events.Envelope) (bool, error) {
			switch e.Kind {
			case events.TurnEnded{}.Kind():
				found = true
			case events.TurnStarted{}.Kind():
				place, found = e.Revision-1, true
			}
			return !found, nil
		})
		if err != nil || found {
			return segment, place, err
		}
		if segment > 0 {
			at = line[segment-1].through
		}
	}
	return 0, at, nil
}
