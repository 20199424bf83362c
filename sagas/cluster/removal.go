package cluster

import (
	"maps"
	"slices"

	"example.com/life/events"
)

// removal is the way from a suspicion to the append that removes the member. It ends as soon as the suspicion does.
type removal struct {
	Suspicion
	began     events.Micros                // when the suspicion arose
	sent      events.Micros                // when others were asked; 0: not yet
	asked     map[events.HostID]*Testimony // what they said; nil: nothing yet
	vetoed    events.Micros                // when one of them had heard of the host; 0: none has
	reading   bool                         // a read of the end is needed that is sent at wanted or later
	wanted    events.Micros
	appending bool
}

// Testimony is what a member answers that is asked for another.
type Testimony struct {
	Known bool          // it watches the other, and for long enough to say anything
	Ago   events.Micros // when it had the latest answer
}

// Vetoes reports whether the other host is alive.
func (t Testimony) Vetoes() bool { return t.Known && t.Ago < HeardLately }

// witnessesAsked is how many others are asked.
const witnessesAsked = 2

// Testify answers what this host knows of another.
func (w *Watch) Testify(suspect events.HostID, now events.Micros) Testimony {
	w.look(now)
	c, watched := w.contacts[suspect]
	switch {
	case !watched || w.Removed():
		return Testimony{}
	case c.Answered > 0: // where machines are late, what was heard is that much older than it would be
		late := min(w.lag, maxLag) + min(max(c.Answer.Lag, 0), maxLag)
		return Testimony{Known: true, Ago: max(now-c.Answered-late, 0)}
	case now-c.Since >= events.Second: // it has been asked often enough since
		return Testimony{Known: true, Ago: now - c.Since}
	}
	return Testimony{}
}

// Witnessed takes what a witness said. Nothing need be told of one that did not answer.
func (w *Watch) Witnessed(witness, suspect events.HostID, said Testimony, now events.Micros) {
	w.look(now)
	c := w.cases[suspect]
	if c == nil {
		return
	}
	if _, was := c.asked[witness]; !was {
		return
	}
	c.asked[witness] = &said
	if said.Vetoes() {
		c.vetoed = now
	}
}

// pursue takes a removal one step further, if its next step may be taken now.
func (w *Watch) pursue(c *removal, now events.Micros) []Action {
	if c.appending {
		return nil
	}
	if c.Because == events.RemovedSilent {
		asks, agreed := w.consult(c, now)
		if !agreed {
			c.reading = false
			return asks
		}
		if w.smaller(now) && !w.waited(c, now) {
			return asks
		}
	}
	if !c.reading {
		c.reading, c.wanted = true, now
	}
	if w.read < c.wanted || w.writing {
		return nil // see wantsRead
	}
	w.writing, c.appending = true, true
	return []Action{{Append: &Append{Expected: w.view.Epoch, Command: Remove{
		Host: c.Host, By: string(w.self), Because: c.Because, Confirmed: c.confirmed(), Detail: c.Detail,
	}}}}
}

// consult asks others of a silent host; agreed says that those that answered, or could have, have not heard from it.
func (w *Watch) consult(c *removal, now events.Micros) (asks []Action, agreed bool) {
	if c.vetoed > 0 && now-c.vetoed < AskAgain {
		return nil, false
	}
	if c.sent == 0 || c.vetoed > 0 || now-c.sent >= TestimonyFor {
		c.sent, c.vetoed, c.asked = now, 0, map[events.HostID]*Testimony{}
		for _, id := range w.view.witnesses(w.self, c.Host) {
			if len(asks) < witnessesAsked && w.hears(id, now) {
				c.asked[id] = nil
				asks = append(asks, Action{Ask: &Ask{Witness: w.view.Members[id], Suspect: c.Host}})
			}
		}
	}
	return asks, !w.waitsFor(c, now)
}

// waitsFor reports whether one of those that were asked may still say what it heard: a machine that is busy is slow, and to go on without it is to remove a host
// that only this one cannot reach.
func (w *Watch) waitsFor(c *removal, now events.Micros) bool {
	limit := AskWithin
	for id, said := range c.asked {
		if said == nil && w.hears(id, now) {
			limit = AskSlow
		}
	}
	return now-c.sent < limit && slices.Contains(slices.Collect(maps.Values(c.asked)), nil)
}

func (w *Watch) hears(id events.HostID, now events.Micros) bool {
	c, watched := w.contacts[id]
	return watched && c.Answered > 0 && now-c.Answered < HeardLately
}

// smaller reports whether this host sees less than half of the view, itself included: then it may be the smaller part of a split. A host whose port
// refuses is not behind a split: its machine answers.
func (w *Watch) smaller(now events.Micros) bool {
	seen, known := 1, 1
	for id, c := range w.contacts {
		if c.refuses() {
			continue
		}
		known++
		if w.hears(id, now) {
			seen++
		}
	}
	return 2*seen < known
}

// waited reports whether the larger part had its time: while the store did not answer, it could not go first.
func (w *Watch) waited(c *removal, now events.Micros) bool {
	return w.since > 0 && now-max(c.began, w.since) >= WaitSmaller
}

// confirmed is those that were asked, and have not heard from the host either.
func (c *removal) confirmed() []events.HostID {
	var ids []events.HostID
	for id, said := range c.asked {
		if c.Because == events.RemovedSilent && said != nil && said.Known {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
