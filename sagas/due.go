package sagas

import "example.com/life/events"

// What is due, and when. An agent lives in the clock's time. A fork whose requests its parent's recording answers lives in its parent's:
// whatever fell due is recorded there and is met where the parent met it (Elapse), so nothing falls due by itself, and a pause that the
// parent waited out is not waited out again. This file alone tells the two apart.

// due is something that happens at a time if nothing else comes first.
type due struct {
	at    events.Micros
	call  *Call // nobody has approved it by then; nil: the turn's time is up, or the model is asked again
	retry bool  // the model is asked again
}

// due gives what will be due in a turn, in the order in which it is met when several things are.
func (a *Agent) due(yield func(due) bool) {
	t := &a.Turn
	if !a.Fork.OnTape() {
		for i := range t.Calls {
			if call := &t.Calls[i]; call.Stage == CallWaiting && !yield(due{at: call.Expires, call: call}) {
				return
			}
		}
		if deadline := t.deadline(); deadline != 0 && !yield(due{at: deadline}) {
			return
		}
	}
	if t.RetryAt != 0 && t.Budget == "" && t.Paused == "" { // else a reservation is waited for first
		yield(due{at: t.RetryAt, retry: true})
	}
}

// wake is the next time at which something is due; 0 when nothing is.
func (a *Agent) wake() events.Micros {
	next := events.Micros(0)
	if a.Fork.OnTape() {
		return next
	}
	for d := range a.due {
		if next == 0 || d.at < next {
			next = d.at
		}
	}
	return next
}

// over reports whether the time to do something has passed.
func (a *Agent) over(limit, at events.Micros) bool { return limit <= at && !a.Fork.OnTape() }

// after is when a pause is over.
func (a *Agent) after(at, pause events.Micros) events.Micros {
	if a.Fork.OnTape() {
		return at
	}
	return at + pause
}

// elapsed is the command by which a call was refused that nobody approved in time or, without a call, a turn was ended whose time was up.
func (a *Agent) elapsed(meta Meta, call events.CallID) Command {
	if a.Fork.OnTape() {
		return Elapse{Meta: meta, Call: call}
	}
	return Tick{Meta: meta}
}
