package projections

import "example.com/life/events"

// mostSpans bounds what a fold of one turn keeps to tell where its time went.
const mostSpans = 1 << 16

// NewTurnTrace begins a turn at a time, of which many more spans are kept than the projection keeps.
func NewTurnTrace(turn events.TurnID, asked, started events.Micros) TurnTrace {
	return TurnTrace{Turn: turn, Asked: asked, Started: started, Seen: started, most: mostSpans}
}

// TurnFold knows what ran when in one turn, however long ago it was. It is folded from the turn's own events, in their order: the
// messages that it began with, wherever they stand, and everything from its start until it is settled. Events of other turns in
// between are passed over.
type TurnFold struct {
	turn events.TurnID
	lane lane
}

// NewTurnFold begins a turn.
func NewTurnFold(turn events.TurnID) *TurnFold { return &TurnFold{turn: turn} }

// Apply adds an event.
func (f *TurnFold) Apply(r *Recorded) error {
	event, err := r.Outline()
	if err != nil {
		return err
	}
	if started, ok := event.(events.TurnStarted); ok && started.Turn != f.turn {
		return nil
	}
	if len(f.lane.Turns) == 0 && r.Correlation == string(f.turn) {
		if _, ok := event.(events.TurnStarted); !ok { // a fork goes on with a turn that its parent began
			f.lane.Turns = []*TurnTrace{{Turn: f.turn, Asked: r.Time, Started: r.Time, Seen: r.Time}}
		}
	}
	f.lane.apply(r, event)
	for _, t := range f.lane.Turns {
		t.most = mostSpans
	}
	return nil
}

// Settled reports whether nothing of the turn is outstanding any more.
func (f *TurnFold) Settled() bool {
	if len(f.lane.Turns) == 0 || f.lane.Turns[0].Ended == 0 {
		return false
	}
	for _, s := range f.lane.Turns[0].Spans {
		if s.Ended == 0 {
			return false
		}
	}
	return true
}

// Turn tells the turn, or found false when it has not begun.
func (f *TurnFold) Turn() (turn Turn, found bool) {
	if len(f.lane.Turns) == 0 {
		return Turn{}, false
	}
	return f.lane.Turns[0].whole(), true
}
