package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"example.com/life/events"
	"example.com/life/sagas"
)

// The commands to a cluster. What is decided is appended expecting the view's epoch; after a conflict the sender folds what is new and has it
// decided again.
type (
	// Join makes a host a member.
	Join struct {
		sagas.Meta
		Host  events.HostJoined
		Dead  events.HostID // the member of the same name, if the host that joins found that it does not answer: it is removed
		Older bool          // join although a member reads newer events
	}
	// Drain has a member hand over what it holds.
	Drain struct {
		sagas.Meta
		Host events.HostID
		By   string
	}
	// Leave ends a membership. Nothing that the host began runs any more.
	Leave struct {
		sagas.Meta
		Host events.HostID
	}
	// Remove removes a member that is held for dead.
	Remove struct {
		sagas.Meta
		Host      events.HostID
		By        string // the id of a member; for RemovedAsked, a person
		Because   events.RemovalReason
		Confirmed []events.HostID
		Detail    string
	}
	// Pin lets an entity live only on hosts that have all of these labels; "host" and "zone" are a host's name and zone.
	Pin struct {
		sagas.Meta
		Stream events.Stream
		To     []events.Label
		By     string
	}
	// Unpin lets an entity live on any host again.
	Unpin struct {
		sagas.Meta
		Stream events.Stream
		By     string
	}
)

// Decide implements [sagas.Saga]. A command that asks for what is so already gives a *sagas.DuplicateError.
func (v *View) Decide(command sagas.Command) ([]events.Event, error) {
	switch c := command.(type) {
	case Join:
		return v.join(&c)
	case Drain:
		return v.drain(c)
	case Leave:
		return v.leave(c)
	case Remove:
		return v.remove(&c)
	case Pin:
		return v.pin(c)
	case Unpin:
		return v.unpin(c)
	}
	return nil, refuse(sagas.RefusedInvalid, "a cluster cannot decide %T", command)
}

func (v *View) join(c *Join) ([]events.Event, error) {
	if there, ok := v.Named(c.Host.Name); ok {
		switch {
		case there.Command == c.ID && c.ID != "":
			return nil, &sagas.DuplicateError{Revision: there.ID.Joined()}
		case there.ID != c.Dead:
			return nil, refuse(sagas.RefusedExists, "host %s (build %s, at %s) is a member of cluster %s: choose another --peer-name, or stop that host "+
				"(life cluster remove %s, if it is dead)", there.ID, there.Joined.Build, there.Joined.Peer, v.Name, there.ID)
		}
	}
	if err := validJoin(&c.Host); err != nil {
		return nil, err
	}
	joined := c.Host
	joined.Older = false
	older, err := v.compatible(&joined, c.Dead, c.Older)
	if err != nil {
		return nil, err
	}
	joined.Older = older
	if _, ok := v.Members[c.Dead]; ok && c.Dead.Name() == joined.Name {
		return []events.Event{events.HostRemoved{Host: c.Dead, By: joined.Name, Because: events.RemovedReplaced}, joined}, nil
	}
	return []events.Event{joined}, nil
}

func (v *View) drain(c Drain) ([]events.Event, error) {
	member, ok := v.Members[c.Host]
	switch {
	case !ok:
		return nil, v.missing(c.Host)
	case member.State == StateDraining:
		return nil, v.already()
	}
	return []events.Event{events.HostDraining{Host: c.Host, By: clean(c.By)}}, nil
}

func (v *View) leave(c Leave) ([]events.Event, error) {
	if _, ok := v.Members[c.Host]; !ok {
		if v.WentAway(c.Host) {
			return nil, v.already()
		}
		return nil, v.missing(c.Host)
	}
	return []events.Event{events.HostLeft{Host: c.Host}}, nil
}

// remove is refused to a host that is no member itself: it may be cut off, and was removed by the others.
func (v *View) remove(c *Remove) ([]events.Event, error) {
	_, ok := v.Members[c.Host]
	_, member := v.Members[events.HostID(c.By)]
	person := c.Because == events.RemovedAsked
	switch {
	case !ok && v.WentAway(c.Host):
		return nil, v.already()
	case !ok:
		return nil, v.missing(c.Host)
	case !person && !member:
		return nil, refuse(sagas.RefusedState, "%q is no member of cluster %s any more, so it cannot remove host %s", events.Clip(c.By, 80), v.Name, c.Host)
	case !person && c.By == string(c.Host):
		return nil, refuse(sagas.RefusedInvalid, "host %s cannot hold itself for dead: it leaves", c.Host)
	}
	switch c.Because {
	case events.RemovedRefused, events.RemovedSilent, events.RemovedStoreless, events.RemovedAsked:
	case events.RemovedReplaced: // only with the join that replaces it
		fallthrough
	default:
		return nil, refuse(sagas.RefusedInvalid, "host %s cannot be removed because of %q", c.Host, events.Clip(string(c.Because), 80))
	}
	return []events.Event{events.HostRemoved{
		Host: c.Host, By: clean(c.By), Because: c.Because, Confirmed: c.Confirmed, Detail: events.Clip(clean(c.Detail), maxWord),
	}}, nil
}

func (v *View) pin(c Pin) ([]events.Event, error) {
	if err := placed(c.Stream); err != nil {
		return nil, err
	}
	if len(c.To) == 0 || len(c.To) > maxLabels {
		return nil, refuse(sagas.RefusedInvalid, "a pin of %s has %d labels, want 1 to %d, such as host=books-1 or zone=eu", c.Stream, len(c.To), maxLabels)
	}
	to := slices.Clone(c.To)
	slices.SortFunc(to, func(a, b events.Label) int { return cmp.Compare(a.Name, b.Name) })
	for i, label := range to {
		if err := validLabel(label); err != nil {
			return nil, err
		}
		if i > 0 && label.Name == to[i-1].Name {
			return nil, refuse(sagas.RefusedInvalid, "a pin of %s has %s and %s: a host has one of them", c.Stream, to[i-1], label)
		}
	}
	if pinned, ok := v.Pins[Key(c.Stream)]; ok && slices.Equal(pinned.To, to) {
		return nil, v.already()
	}
	if _, ok := v.Pins[Key(c.Stream)]; !ok && len(v.Pins) >= maxPins {
		return nil, refuse(sagas.RefusedState, "cluster %s has %d pins already: unpin what need not be pinned (life cluster unpin)", v.Name, len(v.Pins))
	}
	return []events.Event{events.PlacementPinned{Stream: c.Stream, To: to, By: clean(c.By)}}, nil
}

func (v *View) unpin(c Unpin) ([]events.Event, error) {
	if err := placed(c.Stream); err != nil {
		return nil, err
	}
	if _, ok := v.Pins[Key(c.Stream)]; !ok {
		return nil, v.already()
	}
	return []events.Event{events.PlacementUnpinned{Stream: c.Stream, By: clean(c.By)}}, nil
}

// missing says that a host is not there, and who is.
func (v *View) missing(id events.HostID) error {
	if v.WentAway(id) {
		return refuse(sagas.RefusedMissing, "host %s is no member of cluster %s any more", id, v.Name)
	}
	names := make([]string, 0, len(v.Members))
	for _, member := range v.Sorted() {
		names = append(names, string(member.ID))
	}
	return refuse(sagas.RefusedMissing, "host %q is no member of cluster %s; the members are: %s",
		events.Clip(string(id), 80), v.Name, cmp.Or(strings.Join(names, ", "), "none"))
}

func (v *View) already() error { return &sagas.DuplicateError{Revision: v.Epoch, Same: true} }

// Recall implements [sagas.Saga].
func (v *View) Recall(facts []sagas.Fact) (sagas.Command, error) {
	if len(facts) == 0 {
		return nil, fmt.Errorf("recall a command: no facts")
	}
	meta := sagas.Meta{ID: facts[0].Command, At: facts[0].Time}
	switch e := facts[0].Event.(type) {
	case events.HostJoined:
		return Join{Meta: meta, Host: e, Older: e.Older}, nil
	case events.HostDraining:
		return Drain{Meta: meta, Host: e.Host, By: e.By}, nil
	case events.HostLeft:
		return Leave{Meta: meta, Host: e.Host}, nil
	case events.HostRemoved:
		if e.Because != events.RemovedReplaced {
			return Remove{Meta: meta, Host: e.Host, By: e.By, Because: e.Because, Confirmed: e.Confirmed, Detail: e.Detail}, nil
		}
		if len(facts) > 1 {
			if joined, ok := facts[1].Event.(events.HostJoined); ok {
				return Join{Meta: meta, Host: joined, Dead: e.Host, Older: joined.Older}, nil
			}
		}
	case events.PlacementPinned:
		return Pin{Meta: meta, Stream: e.Stream, To: e.To, By: e.By}, nil
	case events.PlacementUnpinned:
		return Unpin{Meta: meta, Stream: e.Stream, By: e.By}, nil
	}
	return nil, fmt.Errorf("recall a command: no decision begins with %s", facts[0].Kind())
}

func refuse(code sagas.RefusalCode, format string, args ...any) error {
	return &sagas.RefusalError{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// clean keeps what JSON can hold.
func clean(text string) string { return strings.ToValidUTF8(text, "\ufffd") }
