package cluster

import (
	"fmt"
	"slices"

	"example.com/life/events"
)

// The times of membership. Lengths of time are on the observer's own clock, which also runs while its machine sleeps (CLOCK_BOOTTIME);
// another host's clock is never compared.
const (
	TickEvery    = 25 * events.Millisecond   // how often a host looks
	PauseAfter   = 400 * events.Millisecond  // a look that comes this much late: the host was paused
	PingEvery    = 150 * events.Millisecond  // to each of those that it watches
	PingAgain    = 50 * events.Millisecond   // to one whose port refuses, or whose connection ended
	PingWithin   = events.Second             // an answer that takes longer is none
	RefusedFor   = 150 * events.Millisecond  // a port refuses for this long, not for the moment of a restart
	HeardLately  = 500 * events.Millisecond  // an answer that vetoes, and counts as seen
	AskWithin    = 250 * events.Millisecond  // others are waited for
	AskSlow      = events.Second             // one is waited for that lives, as its answers to pings show, and is slow to say what it heard
	AskAgain     = 500 * events.Millisecond  // after a veto
	TestimonyFor = 1500 * events.Millisecond // later, others are asked again
	WaitSmaller  = 600 * events.Millisecond  // whoever sees less than half lets the others go first
	StoreEvery   = events.Second             // a host without other business with the store reads, to know that it can
	StoreWithin  = 500 * events.Millisecond  // an answer of the store that took longer says nothing of now
	StorelessIn  = 3 * events.Second         // a host without a store for this long is of no use

	maxLag   = PauseAfter // a host that is later than this was paused: it forgives by itself
	mostSeen = 16         // up to this many members each watches all others
	watched  = 5          // beyond, each watches the next ones
)

// Contact is what a host knows of another.
type Contact struct {
	Since    events.Micros // it is watched; after a pause, since then
	Answered events.Micros // when the latest answer came; 0: none did
	Refused  events.Micros // since when its port refuses; 0: it does not
	Again    events.Micros // when it refused latest
	Answer   Answer        // the latest
}

// Answer is what a host says of itself in answer to a ping.
type Answer struct {
	Epoch     events.Revision // its view's
	Lag       events.Micros   // how late it looked lately
	Storeless events.Micros   // for how long it had no answer from the store; 0: it has
}

// heard is when the host last seemed alive. What was before a pause of the observer is forgiven.
func (c *Contact) heard() events.Micros { return max(c.Since, c.Answered) }

// RefusedAt is the contact after its port refused.
func (c Contact) RefusedAt(now events.Micros) Contact {
	if c.Refused == 0 {
		c.Refused = now
	}
	c.Again = now
	return c
}

// refuses reports whether the port was seen to refuse for long enough.
func (c *Contact) refuses() bool { return c.Refused > 0 && c.Again-c.Refused >= RefusedFor }

// Suspicion is that a member is dead.
type Suspicion struct {
	Host    events.HostID
	Because events.RemovalReason
	Detail  string
}

// Own is what a host knows of itself.
type Own struct {
	ID         events.HostID
	Lag        events.Micros
	StoreSince events.Micros // since when the store answers without a gap; 0: it does not
}

// Suspects returns the members that a host holds for dead, the oldest first. Before one is removed, a [Watch] asks others and reads the end
// of the stream.
func Suspects(v *View, own Own, contacts map[events.HostID]Contact, now events.Micros) []Suspicion {
	self, member := v.Members[own.ID]
	if !member {
		return nil
	}
	var suspicions []Suspicion
	for id, contact := range contacts {
		other, member := v.Members[id]
		if !member {
			continue
		}
		if s, dead := suspect(&self.Joined, &other.Joined, own, &contact, now); dead {
			s.Host = id
			suspicions = append(suspicions, s)
		}
	}
	slices.SortFunc(suspicions, func(a, b Suspicion) int { return int(a.Host.Joined() - b.Host.Joined()) })
	return suspicions
}

func suspect(self, other *events.HostJoined, own Own, c *Contact, now events.Micros) (Suspicion, bool) {
	if c.refuses() {
		return Suspicion{Because: events.RemovedRefused, Detail: fmt.Sprintf("%s refuses for %d ms", other.Peer, (c.Again-c.Refused)/events.Millisecond)}, true
	}
	allowed := max(self.Silent, other.Silent) + min(own.Lag, maxLag) + min(max(c.Answer.Lag, 0), maxLag)
	if silent := now - c.heard(); silent >= allowed {
		return Suspicion{Because: events.RemovedSilent, Detail: fmt.Sprintf("no answer for %d ms", silent/events.Millisecond)}, true
	}
	// While its own store does not answer, or has only just come back, a host knows nothing of those of others. Since it came back they had time to notice,
	// too; how long they were without it before does not matter, or one late answer would spare a host that never finds the store again.
	if without := c.Answer.Storeless; without >= StorelessIn && now-c.heard() < HeardLately && c.Answered >= c.Since &&
		own.StoreSince > 0 && now-own.StoreSince >= StorelessIn+events.Second {
		return Suspicion{Because: events.RemovedStoreless, Detail: fmt.Sprintf("no store for %d ms", without/events.Millisecond)}, true
	}
	return Suspicion{}, false
}

// Replaceable reports whether a host that joins may take the place of a member of its name: nothing answers there.
// The contact is the joining host's, of at least one ping.
func Replaceable(join *events.HostJoined, there *Member, c Contact, now events.Micros) bool {
	if join.Peer == there.Joined.Peer {
		return true // the host that joins holds the address
	}
	s, dead := suspect(join, &there.Joined, Own{}, &c, now)
	return dead && s.Because != events.RemovedStoreless
}

// Watches returns whom a host pings: all others or, of many, those that follow it in an order that all compute alike.
func (v *View) Watches(self events.HostID) []events.HostID {
	ring := v.ring()
	at := slices.Index(ring, self)
	if at < 0 {
		return nil
	}
	others := append(slices.Clone(ring[at+1:]), ring[:at]...)
	if len(ring) > mostSeen {
		others = others[:watched]
	}
	return others
}

// witnesses returns who watches a host besides self.
func (v *View) witnesses(self, suspect events.HostID) []events.HostID {
	ring := v.ring()
	at := slices.Index(ring, suspect)
	if at < 0 {
		return nil
	}
	others := append(slices.Clone(ring[at+1:]), ring[:at]...)
	slices.Reverse(others) // the nearest before it first
	if len(ring) > mostSeen {
		others = others[:watched]
	}
	return slices.DeleteFunc(others, func(id events.HostID) bool { return id == self })
}

// ring is the members in the order of their names' hashes.
func (v *View) ring() []events.HostID {
	ring := make([]events.HostID, 0, len(v.Members))
	place := make(map[events.HostID]uint64, len(v.Members))
	for id, member := range v.Members {
		ring = append(ring, id)
		place[id] = mix(sum(member.Joined.Name))
	}
	slices.SortFunc(ring, func(a, b events.HostID) int {
		if place[a] != place[b] {
			if place[a] < place[b] {
				return -1
			}
			return 1
		}
		return int(a.Joined() - b.Joined())
	})
	return ring
}
