// Package cluster decides who is a member of a cluster and where everything with one writer lives.
//
// A [View] is the fold of one stream, cluster-<name>, to which every host appends with the expected revision. Its revision is the epoch:
// two hosts at one epoch have the same members and pins, so they compute the same owner for every entity ([View.Owner]) without asking
// anyone. A host that may not be what it thinks it is cannot change the view: what it appends is refused, and then it folds what is new.
//
// Who is dead is decided here too ([Suspects], [Removal]), from what one host knows of the others ([Contact]). Times are arguments.
//
// Nothing here makes history safe: the expected revision of each stream and the claim of each effect do that, with any view.
//
// The package is pure, as its parent is.
package cluster

import (
	"maps"
	"slices"

	"example.com/life/events"
	"example.com/life/sagas"
)

// View is a cluster as of an epoch. A view that was handed out never changes.
type View struct {
	Name    string                   `json:"name"`
	Epoch   events.Revision          `json:"epoch"`
	At      events.Micros            `json:"at"` // of the newest event: the next one is not earlier
	Members map[events.HostID]Member `json:"members,omitempty"`
	Gone    []Gone                   `json:"gone,omitempty"` // the latest, in the order in which they went
	Pins    map[string]Pinned        `json:"pins,omitempty"` // by [Key]
}

// Member is a host that joined and is not gone.
type Member struct {
	ID      events.HostID     `json:"id"`
	Joined  events.HostJoined `json:"joined"`
	Command events.CommandID  `json:"command"` // of its join, by which it knows that its append succeeded
	Since   events.Micros     `json:"since"`
	State   State             `json:"state"`
}

// State is what a member is asked for.
type State string

// The states. A member that drains holds what it has not handed over yet, but owns nothing.
const (
	StateJoined   State = "joined"
	StateDraining State = "draining"
)

// Gone is a host that left or was removed. Its id never comes back.
type Gone struct {
	ID      events.HostID        `json:"id"`
	Epoch   events.Revision      `json:"epoch"` // at which it went
	At      events.Micros        `json:"at"`
	Removed bool                 `json:"removed,omitempty"` // what it began may run on for Fence; if it left by itself, nothing does
	Because events.RemovalReason `json:"because,omitempty"`
	By      string               `json:"by,omitempty"`
	Build   string               `json:"build"`
	Fence   events.Micros        `json:"fence"`
}

// Pinned says where an entity may live: on hosts that have all labels.
type Pinned struct {
	Stream events.Stream  `json:"stream"` // as it was pinned
	To     []events.Label `json:"to"`
	By     string         `json:"by,omitempty"`
}

// goneWindow is how many hosts that are gone a view describes. Of earlier ones it knows that they are gone.
const goneWindow = 256

// NewView returns a cluster without members.
func NewView(name string) *View { return &View{Name: name, Epoch: events.NoRevision} }

// Sorted returns the members by id's join: the oldest first.
func (v *View) Sorted() []Member {
	return slices.SortedFunc(maps.Values(v.Members), func(a, b Member) int { return int(a.ID.Joined() - b.ID.Joined()) })
}

// Member returns a member.
func (v *View) Member(id events.HostID) (Member, bool) {
	member, ok := v.Members[id]
	return member, ok
}

// Named returns the member of a name. There is at most one.
func (v *View) Named(name string) (Member, bool) {
	for _, member := range v.Members {
		if member.Joined.Name == name {
			return member, true
		}
	}
	return Member{}, false
}

// WentAway reports whether a host was a member and is none any more. False: it is one, or it joined after this view's epoch.
func (v *View) WentAway(id events.HostID) bool {
	_, member := v.Members[id]
	joined := id.Joined()
	return !member && joined != events.NoRevision && joined <= v.Epoch
}

// GoneOf says how a host went, if that was lately.
func (v *View) GoneOf(id events.HostID) (Gone, bool) {
	for i := len(v.Gone) - 1; i >= 0; i-- {
		if v.Gone[i].ID == id {
			return v.Gone[i], true
		}
	}
	return Gone{}, false
}

// Fence is the fencing delay of the members; 0 if there are none.
func (v *View) Fence() events.Micros {
	for _, member := range v.Members {
		return member.Joined.Fence // all have the same: see [View.join]
	}
	return 0
}

// FenceOf is how long what a host began may run on after its removal was read.
func (v *View) FenceOf(id events.HostID) events.Micros {
	if gone, ok := v.GoneOf(id); ok {
		if !gone.Removed {
			return 0
		}
		return gone.Fence
	}
	return v.Fence()
}

// Apply implements [sagas.Saga]. The view stays as it is: the result is another.
func (v *View) Apply(fact sagas.Fact) *View {
	next := *v
	next.Epoch, next.At = fact.Revision, fact.Time
	switch e := fact.Event.(type) {
	case events.HostJoined:
		id := events.NewHostID(e.Name, fact.Revision)
		next.put(Member{ID: id, Joined: e, Command: fact.Command, Since: fact.Time, State: StateJoined})
	case events.HostDraining:
		if member, ok := v.Members[e.Host]; ok {
			member.State = StateDraining
			next.put(member)
		}
	case events.HostLeft:
		next.drop(Gone{ID: e.Host, Epoch: fact.Revision, At: fact.Time, By: string(e.Host)})
	case events.HostRemoved:
		next.drop(Gone{ID: e.Host, Epoch: fact.Revision, At: fact.Time, Removed: true, Because: e.Because, By: e.By})
	case events.PlacementPinned:
		next.Pins = clone(v.Pins)
		next.Pins[Key(e.Stream)] = Pinned{Stream: e.Stream, To: e.To, By: e.By}
	case events.PlacementUnpinned:
		next.Pins = clone(v.Pins)
		delete(next.Pins, Key(e.Stream))
	}
	return &next
}

func (v *View) put(member Member) {
	v.Members = clone(v.Members)
	v.Members[member.ID] = member
}

func (v *View) drop(gone Gone) {
	member, ok := v.Members[gone.ID]
	if !ok {
		return
	}
	gone.Build, gone.Fence = member.Joined.Build, member.Joined.Fence
	v.Members = clone(v.Members)
	delete(v.Members, gone.ID)
	v.Gone = append(slices.Clone(v.Gone[max(0, len(v.Gone)-goneWindow+1):]), gone)
}

func clone[K comparable, V any](of map[K]V) map[K]V {
	copied := make(map[K]V, len(of)+1)
	maps.Copy(copied, of)
	return copied
}

// Ready implements [sagas.Saga]: the view asks nothing of anyone.
func (v *View) Ready() []sagas.Request { return nil }
