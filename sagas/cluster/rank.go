package cluster

import (
	"math/bits"
	"slices"

	"example.com/life/events"
)

// Weighted rendezvous hashing: every host draws a number for every entity, and the lowest draw owns it. A draw depends on nothing but the
// entity and the host's name and weight. So a host that goes leaves all other entities where they are, one that comes takes only its share,
// and one that comes back under its name takes back what it had.
//
// All of this is in integers, and its results are in a golden: builds and machines that compute it differently would each be sure to be the
// owner. To change it is to change the protocol between hosts.

// Key is what is placed: the name of a stream. An agent's wallet of the same name goes with the agent.
func Key(stream events.Stream) string {
	if category, id := stream.Split(); category == events.WalletCategory {
		return string(events.AgentStream(events.AgentID(id)))
	}
	return string(stream)
}

// Owner returns the host that holds an entity; false if no member may.
func (v *View) Owner(stream events.Stream) (owner events.HostID, ok bool) {
	key := Key(stream)
	pin, pinned := v.Pins[key]
	hash, best := mix(sum(key)), draw{}
	for id, member := range v.Members {
		if !member.holds(pin, pinned) {
			continue
		}
		if d := member.draw(hash, pinned); !ok || d.before(best) {
			owner, best, ok = id, d, true
		}
	}
	return owner, ok
}

// Ranked returns the hosts that may hold an entity, best first: its owner, then its successor, then those that are asked if these cannot
// hold it. The successor keeps a copy of what makes a take-over quick. It is the next of another zone, if there is one: it is there when the
// owner's zone is not. Which host becomes the owner when a member goes is up to the view that follows.
func (v *View) Ranked(stream events.Stream) []events.HostID {
	key := Key(stream)
	pin, pinned := v.Pins[key]
	hash := mix(sum(key))
	draws := make([]draw, 0, len(v.Members))
	for _, member := range v.Members {
		if member.holds(pin, pinned) {
			draws = append(draws, member.draw(hash, pinned))
		}
	}
	return v.rank(draws)
}

// rank puts hosts in the order of their draws, and the first of another zone than the best one's in the second place.
func (v *View) rank(draws []draw) []events.HostID {
	slices.SortFunc(draws, func(a, b draw) int {
		switch {
		case a.before(b):
			return -1
		case b.before(a):
			return 1
		}
		return 0
	})
	ranked := make([]events.HostID, len(draws))
	for i := range draws {
		ranked[i] = draws[i].host
	}
	v.succeed(ranked)
	return ranked
}

// succeed moves the first host of another zone than the owner's to the second place.
func (v *View) succeed(ranked []events.HostID) {
	if len(ranked) < 3 {
		return
	}
	zone := v.Members[ranked[0]].Joined.Zone
	for i := 1; i < len(ranked); i++ {
		if v.Members[ranked[i]].Joined.Zone != zone {
			successor := ranked[i]
			copy(ranked[2:i+1], ranked[1:i])
			ranked[1] = successor
			return
		}
	}
}

// RoleProjections is the role of hosts that keep projections besides the roster.
const RoleProjections = "projections"

// Few is how many hosts a cluster has at most in which each keeps every projection; in a larger one two do.
const (
	Few     = 3
	keepers = 2
)

// Keepers returns the hosts that keep a projection up to date, best first; nil: each host does. With few hosts each keeps all of them, and so it
// is if none has the role. Else it is two of those that have: the first two in rank, the second of another zone if there is one.
func (v *View) Keepers(projection string) []events.HostID {
	hash, joined := mix(sum("projection-"+projection)), 0
	var draws []draw
	for _, member := range v.Members {
		if member.State == StateDraining {
			continue
		}
		joined++
		if slices.Contains(member.Joined.Roles, RoleProjections) {
			draws = append(draws, member.draw(hash, true))
		}
	}
	if joined <= Few || len(draws) == 0 {
		return nil
	}
	ranked := v.rank(draws)
	return ranked[:min(keepers, len(ranked))]
}

// holds reports whether a member may hold an entity that is pinned like that.
func (m *Member) holds(pin Pinned, pinned bool) bool {
	if m.State == StateDraining || m.Joined.Weight == 0 && !pinned {
		return false
	}
	for _, label := range pin.To {
		if !m.has(label) {
			return false
		}
	}
	return true
}

func (m *Member) has(label events.Label) bool {
	switch label.Name {
	case labelHost:
		return m.Joined.Name == label.Value
	case labelZone:
		return m.Joined.Zone == label.Value
	}
	return slices.Contains(m.Joined.Labels, label)
}

// draw is what a host drew for an entity: an exponential variable, whose rate is the host's weight. The lowest of several is each one's
// with a probability in proportion to its weight.
type draw struct {
	host   events.HostID
	cost   uint64 // over weight
	weight uint64
}

// draw of a host without a weight, for what is pinned to it, is as if it had the least.
func (m *Member) draw(entity uint64, pinned bool) draw {
	weight := uint64(m.Joined.Weight)
	if pinned {
		weight = max(weight, 1)
	}
	return draw{host: m.ID, cost: negLog2(mix(entity ^ mix(sum(m.Joined.Name)))), weight: weight}
}

// before compares costs over weights; of equal ones, which 2^32 draws may have, the older member's comes first.
func (d draw) before(other draw) bool {
	high, low := bits.Mul64(d.cost, other.weight)
	otherHigh, otherLow := bits.Mul64(other.cost, d.weight)
	switch {
	case high != otherHigh:
		return high < otherHigh
	case low != otherLow:
		return low < otherLow
	}
	return d.host.Joined() < other.host.Joined()
}

// negLog2 is -log2(x/2^64), with 32 binary digits after the point: the logarithm of a square is twice the logarithm.
func negLog2(x uint64) uint64 {
	x |= 1
	zeros := bits.LeadingZeros64(x)
	x <<= zeros
	fraction := uint64(0)
	for range 32 {
		square, _ := bits.Mul64(x, x)
		fraction <<= 1
		if square>>63 == 1 {
			fraction |= 1
			x = square
		} else {
			x = square << 1
		}
	}
	return uint64(zeros+1)<<32 - fraction
}

// sum is FNV-1a. Alone it would spread names that differ in their last letter badly: mix makes good for that.
func sum(text string) uint64 {
	hash := uint64(14695981039346656037)
	for i := range len(text) {
		hash = (hash ^ uint64(text[i])) * 1099511628211
	}
	return hash
}

// mix is a finalizer with full avalanche (SplitMix64's): each bit of the result depends on every bit of x.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
