package runs

import (
	"cmp"
	"slices"
	"strings"

	"example.com/life/events"
)

// TraceEvent is an event in short.
type TraceEvent struct {
	Ref  events.Ref    `json:"ref"`
	Kind events.Kind   `json:"kind"`
	Time events.Micros `json:"time,string"`
	Text string        `json:"text"` // what it says
}

// TraceEventOf shortens an event. One that cannot be read says so.
func TraceEventOf(e *events.Envelope) TraceEvent {
	h := TraceEvent{Ref: e.Ref(), Kind: e.Kind, Time: e.Time}
	event, err := e.Event()
	if err != nil {
		h.Text = "it cannot be read: " + events.Clip(err.Error(), 80)
		return h
	}
	h.Text = event.String()
	return h
}

// TraceNode is a decision among those that led to an event, or that followed from it: the events that were stored together.
type TraceNode struct {
	TraceEvent
	Actor   string           `json:"actor,omitempty"`
	Command events.CommandID `json:"command,omitempty"`
	From    events.Ref       `json:"from,omitempty"`    // the event that led to it
	Outside bool             `json:"outside,omitempty"` // nothing in history led to it: a command from outside did
	With    []TraceEvent     `json:"with,omitempty"`    // the other events of the decision
	Causes  []*TraceNode     `json:"causes,omitempty"`  // what led to it
	Effects []*TraceNode     `json:"effects,omitempty"` // what followed from it
	More    string           `json:"more,omitempty"`    // why nothing further is told
}

// Causality relates events of any streams to what caused them. Besides the causation that each event carries, a message is a cause of
// the turn that takes it in, however long it waited.
type Causality struct {
	decisions map[events.Ref]*decision // by each of their events
	caused    map[events.Ref][]*decision
	latest    map[events.Stream]*decision
	messages  map[messageKey]events.Ref  // where each was received
	takers    map[messageKey][]*decision // decisions that take in messages not yet known
	within    map[string]events.Ref      // the latest event of each turn
	given     map[*decision]events.Ref   // causes that no envelope names
	names     map[*decision][]messageKey // the messages that a decision takes in
}

type messageKey struct {
	stream  events.Stream
	message events.MessageID
}

// decision is what was stored together.
type decision struct{ events []*events.Envelope }

// NewCausality returns an empty one.
func NewCausality() *Causality {
	return &Causality{
		decisions: map[events.Ref]*decision{}, caused: map[events.Ref][]*decision{}, latest: map[events.Stream]*decision{},
		messages: map[messageKey]events.Ref{}, takers: map[messageKey][]*decision{}, names: map[*decision][]messageKey{}, given: map[*decision]events.Ref{}, within: map[string]events.Ref{},
	}
}

// Knows reports whether an event was added.
func (c *Causality) Knows(ref events.Ref) bool { return c.decisions[ref] != nil }

// Add adds an event. Those of one decision are added one after another.
func (c *Causality) Add(e *events.Envelope) {
	ref := e.Ref()
	if c.Knows(ref) {
		return
	}
	d := c.latest[e.Stream]
	last := d.last()
	if next := last != nil && last.Revision+1 == e.Revision; !next || last.Command != e.Command || e.Command == "" {
		d = &decision{}
		c.latest[e.Stream] = d
		if next && ByHost(e) { // else nobody knows here what came before it
			c.given[d] = c.within[turnKey(e)]
		}
		if cause := cmp.Or(e.Causation, c.given[d]); cause != "" {
			c.caused[cause] = append(c.caused[cause], d)
		}
	}
	d.events = append(d.events, e)
	c.decisions[ref] = d
	if e.Correlation != "" {
		c.within[turnKey(e)] = ref
	}
	c.link(e, d)
}

// turnKey names what an event belongs to.
func turnKey(e *events.Envelope) string { return string(e.Stream) + " " + e.Correlation }

// ByHost reports whether the host itself decided something, because of a timer or a restart: no event asked for it, and no one outside. Its
// cause is what the turn had come to.
func ByHost(e *events.Envelope) bool {
	return e.Causation == "" && strings.HasPrefix(string(e.Command), "~")
}

func (d *decision) last() *events.Envelope {
	if d == nil || len(d.events) == 0 {
		return nil
	}
	return d.events[len(d.events)-1]
}

// link makes messages causes of the turns that take them in.
func (c *Causality) link(e *events.Envelope, d *decision) {
	for _, id := range MessagesTaken(e) {
		key := messageKey{e.Stream, id}
		c.names[d] = append(c.names[d], key)
		if at, known := c.messages[key]; known {
			c.because(at, d)
		} else {
			c.takers[key] = append(c.takers[key], d)
		}
	}
	if e.Kind != (events.MessageReceived{}).Kind() {
		return
	}
	if event, err := e.Event(); err == nil {
		if received, is := event.(events.MessageReceived); is {
			key := messageKey{e.Stream, received.Message}
			c.messages[key] = e.Ref()
			for _, taker := range c.takers[key] {
				c.because(e.Ref(), taker)
			}
			delete(c.takers, key)
		}
	}
}

// because notes a further cause of a decision, unless it is part of it.
func (c *Causality) because(ref events.Ref, d *decision) {
	if c.decisions[ref] != d {
		c.caused[ref] = append(c.caused[ref], d)
	}
}

// Because notes that an event, which its own envelope does not name, led to another one's decision: a command on the bus.
func (c *Causality) Because(cause, of events.Ref) {
	if d := c.decisions[of]; d != nil && c.given[d] == "" {
		c.given[d] = cause
		c.because(cause, d)
	}
}

// Caused are the events with which the decisions begin that an event led to.
func (c *Causality) Caused(ref events.Ref) []events.Ref {
	var all []events.Ref
	for _, d := range c.caused[ref] {
		all = append(all, d.events[0].Ref())
	}
	return all
}

// Together are the events of an event's decision.
func (c *Causality) Together(ref events.Ref) []*events.Envelope {
	if d := c.decisions[ref]; d != nil {
		return d.events
	}
	return nil
}

// MessagesTaken are the messages that an event takes into a turn.
func MessagesTaken(e *events.Envelope) []events.MessageID {
	if e.Kind != (events.TurnStarted{}).Kind() && e.Kind != (events.MessageDelivered{}).Kind() {
		return nil
	}
	event, err := e.Event()
	if err != nil {
		return nil
	}
	switch event := event.(type) {
	case events.TurnStarted:
		return event.Messages
	case events.MessageDelivered:
		return event.Messages
	}
	return nil
}

// mostDeeds bounds how many decisions one answer tells.
const mostDeeds = 5000

// Effects tells what followed from an event, as a tree. Of an event that nothing answers, or that stands first in its decision and so
// carries its command, that is also what was decided after it.
func (c *Causality) Effects(ref events.Ref) *TraceNode {
	t := telling{causality: c, told: map[*decision]bool{}}
	d := c.decisions[ref]
	if d == nil {
		return nil
	}
	t.told[d] = true
	following := c.Following(ref)
	deed := &TraceNode{TraceEvent: TraceEventOf(following[0]), Actor: following[0].Actor, Command: following[0].Command}
	for _, e := range following {
		if e.Ref() != ref {
			deed.With = append(deed.With, TraceEventOf(e))
		}
		t.follow(deed, e.Ref())
	}
	return deed
}

// Following are a known event and the events of its decision that follow from it.
func (c *Causality) Following(ref events.Ref) []*events.Envelope {
	d := c.decisions[ref]
	at := slices.IndexFunc(d.events, func(e *events.Envelope) bool { return e.Ref() == ref })
	if at == 0 || len(c.caused[ref]) == 0 {
		return d.events[at:]
	}
	return d.events[at : at+1]
}

// Causes tells what led to an event, from cause to cause as far as they were added.
func (c *Causality) Causes(ref events.Ref) *TraceNode {
	t := telling{causality: c, told: map[*decision]bool{}}
	d := c.decisions[ref]
	if d == nil {
		return nil
	}
	return t.up(d, ref)
}

// telling is one answer under way.
type telling struct {
	causality *Causality
	told      map[*decision]bool
}

func nodeOf(d *decision, ref events.Ref) *TraceNode {
	at := max(0, slices.IndexFunc(d.events, func(e *events.Envelope) bool { return e.Ref() == ref }))
	deed := &TraceNode{TraceEvent: TraceEventOf(d.events[at]), Actor: d.events[0].Actor, Command: d.events[0].Command}
	for i, e := range d.events {
		if i != at {
			deed.With = append(deed.With, TraceEventOf(e))
		}
	}
	return deed
}

func (t *telling) down(d *decision, from events.Ref) *TraceNode {
	deed := nodeOf(d, d.events[0].Ref())
	deed.From = from
	for _, e := range d.events {
		t.follow(deed, e.Ref())
	}
	return deed
}

// follow adds what an event led to.
func (t *telling) follow(deed *TraceNode, ref events.Ref) {
	next := slices.Clone(t.causality.caused[ref])
	slices.SortStableFunc(next, func(a, b *decision) int { return cmp.Compare(a.events[0].Position, b.events[0].Position) })
	for _, d := range next {
		switch {
		case t.told[d]:
			continue // it has more than one cause, and is told under the first
		case len(t.told) >= mostDeeds:
			deed.More = "there is more than one answer tells"
			return
		}
		t.told[d] = true
		deed.Effects = append(deed.Effects, t.down(d, ref))
	}
}

func (t *telling) up(d *decision, ref events.Ref) *TraceNode {
	t.told[d] = true
	deed := nodeOf(d, ref)
	causes := t.causality.CausesOf(ref)
	deed.Outside = len(causes) == 0 && !ByHost(d.events[0])
	for _, cause := range causes {
		before := t.causality.decisions[cause]
		switch {
		case before == nil:
			deed.More = "it goes on with " + string(cause)
		case len(t.told) >= mostDeeds:
			deed.More = "there is more than one answer tells"
			return deed
		case !t.told[before]:
			deed.Causes = append(deed.Causes, t.up(before, cause))
		}
	}
	return deed
}

// CausesOf are the events that led to a known event's decision: the messages that a turn begins with, where they had waited for it,
// else the event that the decision answers; of what the host did by itself, what came before it in the turn.
func (c *Causality) CausesOf(ref events.Ref) []events.Ref {
	d := c.decisions[ref]
	if d == nil {
		return nil
	}
	var causes []events.Ref
	if len(c.names[d]) > 0 && c.begins(d, ref) {
		for _, key := range c.names[d] {
			if at, known := c.messages[key]; known && c.decisions[at] != d {
				causes = append(causes, at)
			}
		}
	}
	if cause := cmp.Or(d.events[0].Causation, c.given[d]); len(causes) == 0 && cause != "" {
		causes = append(causes, cause)
	}
	return causes
}

// begins reports whether an event belongs to the turn that its decision began, rather than to the one that it ended.
func (c *Causality) begins(d *decision, ref events.Ref) bool {
	started := false
	for _, e := range d.events {
		started = started || len(MessagesTaken(e)) > 0
		if e.Ref() == ref {
			return started
		}
	}
	return false
}
