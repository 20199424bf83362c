package cluster

import (
	"maps"
	"slices"

	"example.com/life/events"
)

// Watch is how a member watches the others: all that it decides, and nothing that it does. The runtime tells it what happened, with the
// time at which it did, and carries out what [Watch.Next] returns. It belongs to one goroutine.
//
// What it holds to:
//
//   - Who was paused accuses nobody: it forgives everybody, and reads the end of the stream before anything else.
//   - A stalled store removes nobody: nobody is accused by one that could not read the end of the stream just before.
//   - What one host does not hear, others may: before a silent one is removed two others are asked, and an answer to either of them is a veto.
//     A port that refuses needs no second opinion, whatever was heard a moment ago.
//   - Of a split the larger part goes first, and the append decides.
//   - No margin is waited for twice: asking and waiting begin together when the suspicion arises, and a conflict begins neither anew.
type Watch struct {
	self     events.HostID
	view     *View
	targets  []Member // that it watches
	contacts map[events.HostID]Contact
	pinged   map[events.HostID]events.Micros
	hurried  map[events.HostID]bool // to be pinged soon
	cases    map[events.HostID]*removal

	looked   events.Micros // the latest look
	lag      events.Micros
	paused   events.Micros // when the latest pause was noticed; 0: none was
	unread   bool          // since the latest pause the end of the stream was not read
	asked    events.Micros // when the latest read was asked for; 0: none is under way
	read     events.Micros // when the latest read that was answered was sent
	answered events.Micros // when it was answered
	since    events.Micros // since when the store answers without a gap; 0: it does not
	leased   events.Micros // when it was last asked how long something that runs may go on
	writing  bool          // a removal is being appended
}

// NewWatch begins to watch as a member of a view, which shows the join that was sent then.
func NewWatch(self events.HostID, view *View, sent, now events.Micros) *Watch {
	w := &Watch{
		self: self, contacts: map[events.HostID]Contact{}, pinged: map[events.HostID]events.Micros{}, hurried: map[events.HostID]bool{}, cases: map[events.HostID]*removal{},
		looked: now, read: sent, answered: now, since: sent,
	}
	w.follow(view, now)
	return w
}

// Action is something that the runtime is to do. Exactly one of its parts is set.
type Action struct {
	Ping   *Member // and tell the watch of the answer, or that there is none
	Ask    *Ask    // a witness
	Read   bool    // the end of the stream, and what is new in it
	Append *Append // a removal
}

// Ask asks a member whether it has heard from another.
type Ask struct {
	Witness Member
	Suspect events.HostID
}

// Append has the command decided, with an id of its own and a time, and appends the result if the stream still ends at Expected.
type Append struct {
	Command  Remove
	Expected events.Revision
}

// Tick looks at the clock. It is to be called every [TickEvery].
func (w *Watch) Tick(now events.Micros) {
	w.look(now)
	w.lag -= w.lag / 64
	w.lag = max(w.lag, min(now-w.looked-TickEvery, maxLag))
	w.looked = now
}

// look notices a pause, before anything else is done with what came meanwhile. What is known of others is from before: it is forgotten, so that
// nobody is held for dead before there was time to ping all of them again.
func (w *Watch) look(now events.Micros) {
	if now-w.looked < TickEvery+PauseAfter {
		return
	}
	w.looked, w.paused, w.unread, w.asked, w.since = now, now, true, 0, 0
	w.lag = maxLag
	clear(w.cases)
	clear(w.pinged)
	for id := range w.contacts {
		w.contacts[id] = Contact{Since: now}
	}
}

// Follow takes over a newer view. Of an older one it learns nothing.
func (w *Watch) Follow(view *View, now events.Micros) {
	w.look(now)
	w.follow(view, now)
}

func (w *Watch) follow(view *View, now events.Micros) {
	if w.view != nil && view.Epoch <= w.view.Epoch {
		return
	}
	w.view = view
	targets := view.Watches(w.self)
	w.targets = w.targets[:0:0]
	for _, id := range targets {
		w.targets = append(w.targets, view.Members[id])
	}
	gone := func(id events.HostID) bool { return !slices.Contains(targets, id) }
	maps.DeleteFunc(w.contacts, func(id events.HostID, _ Contact) bool { return gone(id) })
	maps.DeleteFunc(w.pinged, func(id events.HostID, _ events.Micros) bool { return gone(id) })
	maps.DeleteFunc(w.hurried, func(id events.HostID, _ bool) bool { return gone(id) })
	maps.DeleteFunc(w.cases, func(id events.HostID, _ *removal) bool { return gone(id) })
	for _, id := range targets {
		if _, there := w.contacts[id]; !there {
			w.contacts[id] = Contact{Since: now}
		}
	}
}

// Answered takes a ping's answer. One from another id than was asked is told as refused: the member's address is another's now. One from a host
// that does not know its id yet, as it is joining, is none.
func (w *Watch) Answered(from events.HostID, answer Answer, now events.Micros) {
	w.look(now)
	if c, watched := w.contacts[from]; watched {
		w.contacts[from] = Contact{Since: c.Since, Answered: now, Answer: answer}
	}
}

// Unanswered takes that a ping had no answer within [PingWithin], or that the port refused, or the connection was reset.
func (w *Watch) Unanswered(from events.HostID, refused bool, now events.Micros) {
	w.look(now)
	c, watched := w.contacts[from]
	if !watched || !refused {
		return
	}
	w.contacts[from] = c.RefusedAt(now)
}

// Disconnected takes that the connection to a member ended. That says nothing of the member, but that it is worth asking now.
func (w *Watch) Disconnected(from events.HostID, now events.Micros) {
	w.look(now)
	if _, watched := w.contacts[from]; watched {
		w.hurried[from] = true
	}
}

// Stored takes the view as of the end of the stream, from a read or an append of the watch's or of anyone's on this host, and when that was sent.
func (w *Watch) Stored(view *View, sent, now events.Micros) {
	w.look(now)
	w.follow(view, now)
	if sent < w.paused {
		return // what it shows may have been so before the pause
	}
	if w.since == 0 {
		w.since = now
	}
	w.read, w.answered, w.unread, w.asked = max(w.read, sent), max(w.answered, now), false, 0
}

// Unstored takes that the store is away: a read or an append failed. That a read is not answered, the watch sees by itself.
func (w *Watch) Unstored(now events.Micros) {
	w.look(now)
	w.since = 0
}

// Appended takes that the removal was appended (then Stored tells of the view after it), that the stream had gone on, or that it is not known.
func (w *Watch) Appended(suspect events.HostID, now events.Micros) {
	w.look(now)
	w.writing = false
	if c, ok := w.cases[suspect]; ok {
		c.wanted, c.appending = now, false
	}
}

// Removed reports whether this host is no member any more: it must do nothing more.
func (w *Watch) Removed() bool {
	_, member := w.view.Members[w.self]
	return !member
}

// View is the newest that the watch knows.
func (w *Watch) View() *View { return w.view }

// Contacts is what is known of the others.
func (w *Watch) Contacts() map[events.HostID]Contact { return maps.Clone(w.contacts) }

// Says is what this host answers to a ping.
func (w *Watch) Says(now events.Micros) Answer {
	w.look(now)
	answer := Answer{Epoch: w.view.Epoch, Lag: w.lag}
	if without := now - max(w.answered, w.paused); without > StoreEvery+StoreWithin {
		answer.Storeless = without
	}
	return answer
}

// Settled reports whether what this host holds for true may be acted on: it is a member as far as it knows, and no pause is unaccounted for.
func (w *Watch) settled(now events.Micros) bool {
	w.look(now)
	return !w.unread && !w.Removed()
}

// MayBegin reports whether an effect whose claim was sent then may begin now: the claim is younger than half of the fencing delay, no pause
// was noticed since, and a read sent within that time shows this host as a member. If only the read is missing, a new one may help.
func (w *Watch) MayBegin(claimed, now events.Micros) (may, read bool) {
	half := w.view.Members[w.self].Joined.Fence / 2
	if !w.settled(now) {
		return false, !w.Removed() && now-claimed < half && w.paused <= claimed
	}
	if now-claimed >= half || w.paused > claimed {
		return false, false
	}
	return now-w.read < half, true
}

// GoOnUntil is until when effects may go on, and one that is about to begin may begin, if nothing is read before; 0 if they may not. What still runs then is ended: see
// [Lease]. While it is asked, the stream is read more often.
func (w *Watch) GoOnUntil(now events.Micros) events.Micros {
	if !w.settled(now) {
		return 0
	}
	w.leased = now
	return w.read + Lease(w.view.Members[w.self].Joined.Fence)
}

// Lease is how long after the host sent a read that shows it as a member what it runs may go on. Others read a removal after that, and wait for the whole fencing delay
// until they hold for lost what the host had begun. So a quarter of the delay is left, at least, for ending it on a machine that is busy, and for clocks that
// differ: it does not matter when the host was told, or when others noticed.
func Lease(fence events.Micros) events.Micros { return fence - fence/4 }

// Next returns what is to be done now. It is to be called after each tick, and after whatever the watch was told.
func (w *Watch) Next(now events.Micros) []Action {
	w.look(now)
	if w.Removed() {
		return nil
	}
	actions := w.pings(now)
	actions = append(actions, w.accuse(now)...)
	if w.wantsRead(now) {
		w.asked = now
		actions = append(actions, Action{Read: true})
	}
	return actions
}

func (w *Watch) pings(now events.Micros) []Action {
	var due []Action
	for i := range w.targets {
		id, every := w.targets[i].ID, PingEvery
		if w.contacts[id].Refused > 0 || w.hurried[id] {
			every = PingAgain
		}
		if last, before := w.pinged[id]; before && now-last < every {
			continue
		}
		w.pinged[id] = now
		delete(w.hurried, id)
		due = append(due, Action{Ping: &w.targets[i]})
	}
	return due
}

// wantsRead: after a pause, before a removal, and when the store was not heard of for long. One read at a time; one without an answer is repeated.
func (w *Watch) wantsRead(now events.Micros) bool {
	if w.asked > 0 && now-w.asked < StoreWithin {
		return false
	}
	if w.asked > 0 {
		w.asked, w.since = 0, 0
	}
	every := StoreEvery
	if w.leased > 0 && now-w.leased < StoreEvery { // a store that is away for some seconds ends nothing that runs
		every = StoreEvery / 4
	}
	if w.unread || now-w.answered >= every {
		return true
	}
	return slices.ContainsFunc(slices.Collect(maps.Values(w.cases)), func(c *removal) bool { return c.reading && c.wanted > w.read })
}

// accuse takes every suspicion as far as it can go now.
func (w *Watch) accuse(now events.Micros) []Action {
	suspicions := Suspects(w.view, Own{ID: w.self, Lag: w.lag, StoreSince: w.since}, w.contacts, now)
	holds := func(id events.HostID) bool {
		return slices.ContainsFunc(suspicions, func(s Suspicion) bool { return s.Host == id })
	}
	maps.DeleteFunc(w.cases, func(id events.HostID, _ *removal) bool { return !holds(id) })
	var actions []Action
	for _, s := range suspicions {
		c := w.cases[s.Host]
		if c == nil {
			c = &removal{began: now, asked: map[events.HostID]*Testimony{}}
			w.cases[s.Host] = c
		}
		c.Suspicion = s
		actions = append(actions, w.pursue(c, now)...)
	}
	return actions
}
