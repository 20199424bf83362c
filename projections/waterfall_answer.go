package projections

import (
	"cmp"
	"fmt"
	"slices"

	"example.com/life/events"
)

// Turns answers the query "turns" of waterfall.
type Turns struct {
	Turns []TurnTimes `json:"turns"`
}

// Turn answers the query "turn" of waterfall.
type Turn struct {
	TurnTimes
	Spans   []Span `json:"spans"`
	Dropped int    `json:"dropped,omitempty"` // spans that were too many to keep
}

// TurnTimes says where the time of a turn went. Running, Person and Queued add up to Elapsed: at any moment something runs, or
// else something waits for a person, or else the turn waits for its turn at a pool, for advice, money, notes, a retry or the store.
type TurnTimes struct {
	Turn    events.TurnID  `json:"turn"`
	Started events.Micros  `json:"started,string"`
	Outcome events.Outcome `json:"outcome,omitempty"` // empty: it runs
	Reason  events.Reason  `json:"reason,omitempty"`
	Delayed events.Micros  `json:"delayed_us,string"` // from its first message to its start
	Elapsed events.Micros  `json:"elapsed_us,string"` // from its start to its end, or to its latest event
	Running events.Micros  `json:"running_us,string"`
	Queued  events.Micros  `json:"queued_us,string"`
	Person  events.Micros  `json:"person_us,string"`
	Tokens  int64          `json:"tokens,string"`
	Cost    events.Money   `json:"cost,string"`
}

// Span is one thing that a turn waited for.
type Span struct {
	At       events.Micros   `json:"at_us,string"` // after the start of the turn
	What     string          `json:"what"`         // model, tool, approval, pause, advice, money, notes, retry or settle
	Name     string          `json:"name,omitempty"`
	Call     events.CallID   `json:"call,omitempty"`
	Queued   events.Micros   `json:"queued_us,string"`
	Running  events.Micros   `json:"running_us,string"`
	Person   events.Micros   `json:"person_us,string"`
	Tokens   int64           `json:"tokens,string,omitempty"`
	Cost     events.Money    `json:"cost,string,omitempty"`
	Problem  string          `json:"problem,omitempty"` // open: it has not ended
	Revision events.Revision `json:"revision,string"`   // of the event that began it
}

// Answer implements [Fold].
func (w *waterfall) Answer(q Query) (any, error) {
	if q.Name == "turn" {
		return w.turn(events.TurnID(q.Parameters["turn"]))
	}
	all := []TurnTimes{}
	for id, lane := range w.Agents {
		if matches(q.Parameters["agent"], id) {
			for _, t := range lane.Turns {
				all = append(all, t.Times())
			}
		}
	}
	slices.SortFunc(all, func(a, b TurnTimes) int {
		return cmp.Or(cmp.Compare(b.Started, a.Started), cmp.Compare(a.Turn, b.Turn))
	})
	return Turns{all[:min(len(all), q.limit(20))]}, nil
}

func (w *waterfall) turn(id events.TurnID) (any, error) {
	lane := w.Agents[id.Agent()]
	if lane == nil {
		return nil, fmt.Errorf("%w: there is no turn %s", ErrMissing, id)
	}
	for _, t := range lane.Turns {
		if t.Turn == id {
			return t.whole(), nil
		}
	}
	return nil, fmt.Errorf("%w: turn %s is not among the latest %d of its agent; ask as of a position while it was, or with life waterfall %s", ErrMissing, id, keptTurns, id)
}

func (t *TurnTrace) whole() Turn {
	answer := Turn{TurnTimes: t.Times(), Spans: []Span{}, Dropped: t.Dropped}
	for i := range t.Spans {
		answer.Spans = append(answer.Spans, t.show(&t.Spans[i]))
	}
	return answer
}

// show splits a span into what was queueing, running and waiting for a person.
func (t *TurnTrace) show(s *span) Span {
	shown := Span{
		At: s.Begun - t.Started, What: s.What, Name: s.Name, Call: s.Call, Tokens: s.Tokens, Cost: s.Cost, Problem: s.Problem, Revision: s.Revision,
	}
	end := s.Ended
	if end == 0 {
		end, shown.Problem = max(s.Begun, t.Seen), "open"
	}
	begin, ran := t.running(s)
	switch {
	case s.What == spanApproval || s.What == spanPause:
		shown.Person = end - s.Begun
	case ran:
		shown.Queued, shown.Running = begin-s.Begun, end-begin
	default:
		shown.Queued = end - s.Begun
	}
	return shown
}

// running says from when a model or a tool ran. Where nobody measured it, it ran all the time.
func (t *TurnTrace) running(s *span) (begin events.Micros, ran bool) {
	if s.What != spanModel && s.What != spanTool {
		return 0, false
	}
	if s.Ended == 0 || s.Ran == 0 {
		return s.Begun, true
	}
	return max(s.Begun, s.Ended-s.Ran), true
}

// interval is a stretch of time, without its end.
type interval struct{ begin, end events.Micros }

// Times says what the turn's time went into.
func (t *TurnTrace) Times() TurnTimes {
	end := cmp.Or(t.Ended, t.Seen)
	times := TurnTimes{
		Turn: t.Turn, Started: t.Started, Outcome: t.Outcome, Reason: t.Reason, Delayed: t.Started - t.Asked, Elapsed: end - t.Started,
		Tokens: t.Usage.Total(), Cost: t.Cost,
	}
	var running, busy []interval
	for i := range t.Spans {
		s := &t.Spans[i]
		if t.Ended == 0 {
			times.Tokens += s.Tokens
			times.Cost += s.Cost
		}
		until := min(end, cmp.Or(s.Ended, end))
		if begin, ran := t.running(s); ran {
			running = append(running, interval{begin, until})
			busy = append(busy, interval{begin, until})
		} else if s.What == spanApproval || s.What == spanPause {
			busy = append(busy, interval{s.Begun, until})
		}
	}
	times.Running = covered(running)
	times.Person = covered(busy) - times.Running
	times.Queued = times.Elapsed - times.Running - times.Person
	return times
}

// covered is how long at least one of the intervals lasts.
func covered(all []interval) events.Micros {
	slices.SortFunc(all, func(a, b interval) int { return cmp.Compare(a.begin, b.begin) })
	sum, until := events.Micros(0), events.Micros(-1<<63)
	for _, i := range all {
		if begin := max(i.begin, until); i.end > begin {
			sum += i.end - begin
			until = i.end
		}
	}
	return sum
}
