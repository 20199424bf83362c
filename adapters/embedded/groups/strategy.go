package groups

import (
	"fmt"
	"hash/fnv"
	"slices"

	"example.com/life/adapters/embedded/link"
)

// Strategy is how a group chooses the consumer of an event. The values are the protocol's.
type Strategy string

// The strategies.
const (
	RoundRobin          Strategy = "RoundRobin"          // each in turn
	DispatchToSingle    Strategy = "DispatchToSingle"    // one, until it is full
	Pinned              Strategy = "Pinned"              // the same one for all events of a stream
	PinnedByCorrelation Strategy = "PinnedByCorrelation" // the same one for all events with a correlation id
)

// chooser carries a strategy out. Consumers are told to it as they come and go, in the order of the group's list.
type chooser interface {
	choose(m *message) *consumer // nil when nobody who may have it has room
	chosen(c *consumer)          // it was given the message
	joined(c *consumer)
	left(c *consumer)
}

func (s Strategy) validate() error {
	if known := []Strategy{RoundRobin, DispatchToSingle, Pinned, PinnedByCorrelation}; !slices.Contains(known, s) {
		return fmt.Errorf("consumer strategy %q does not exist; there are %v", s, known)
	}
	return nil
}

func (s Strategy) chooser() chooser {
	switch s {
	case DispatchToSingle:
		return &single{}
	case Pinned:
		return &pinned{key: sourceStream}
	case PinnedByCorrelation:
		return &pinned{key: correlation}
	case RoundRobin:
	}
	return &roundRobin{}
}

// roundRobin goes round among those that have room.
type roundRobin struct {
	consumers []*consumer
	next      int
}

func (r *roundRobin) choose(*message) *consumer { return firstWithRoom(r.consumers, r.next) }

func firstWithRoom(consumers []*consumer, from int) *consumer {
	for i := range consumers {
		if c := consumers[(from+i)%len(consumers)]; c.hasRoom() {
			return c
		}
	}
	return nil
}

func (r *roundRobin) chosen(c *consumer) { r.next = slices.Index(r.consumers, c) + 1 }
func (r *roundRobin) joined(c *consumer) { r.consumers = append(r.consumers, c) }
func (r *roundRobin) left(c *consumer)   { r.consumers = without(r.consumers, c) }

// single stays with one as long as it has room.
type single struct {
	consumers []*consumer
	at        int
}

func (s *single) choose(*message) *consumer { return firstWithRoom(s.consumers, s.at) }
func (s *single) chosen(c *consumer)        { s.at = slices.Index(s.consumers, c) }
func (s *single) joined(c *consumer)        { s.consumers = append(s.consumers, c) }
func (s *single) left(c *consumer) {
	if slices.Index(s.consumers, c) < s.at {
		s.at--
	}
	s.consumers = without(s.consumers, c)
}

func without(consumers []*consumer, c *consumer) []*consumer {
	return slices.DeleteFunc(consumers, func(other *consumer) bool { return other == c })
}

// buckets is how many parts the keys are dealt into: each belongs to one consumer, and moves only when somebody comes or goes.
const buckets = 1024

// pinned gives a key's messages to the consumer of its bucket, and waits for that one when it is full.
type pinned struct {
	key     func(m *message) string
	owners  [buckets]*consumer
	shares  map[*consumer]int
	inOrder []*consumer // of joining, so that what happens does not depend on a map's order
}

func (p *pinned) choose(m *message) *consumer {
	hash := fnv.New64a()
	hash.Write([]byte(p.key(m)))
	if c := p.owners[hash.Sum64()%buckets]; c != nil && c.hasRoom() {
		return c
	}
	return nil
}

func (p *pinned) chosen(*consumer) {}

// joined takes from each what it has over its new share.
func (p *pinned) joined(c *consumer) {
	if p.shares == nil {
		p.shares = map[*consumer]int{}
	}
	p.inOrder = append(p.inOrder, c)
	share := buckets / len(p.inOrder)
	for i, owner := range p.owners {
		if p.shares[c] < share && (owner == nil || p.shares[owner] > share) {
			p.give(i, c)
		}
	}
}

// left deals what the consumer had to those that have least.
func (p *pinned) left(c *consumer) {
	p.inOrder = without(p.inOrder, c)
	for i, owner := range p.owners {
		if owner == c {
			p.give(i, p.poorest())
		}
	}
	delete(p.shares, c)
}

func (p *pinned) give(bucket int, c *consumer) {
	if owner := p.owners[bucket]; owner != nil {
		p.shares[owner]--
	}
	if p.owners[bucket] = c; c != nil {
		p.shares[c]++
	}
}

func (p *pinned) poorest() (poorest *consumer) {
	for _, c := range p.inOrder {
		if poorest == nil || p.shares[c] < p.shares[poorest] {
			poorest = c
		}
	}
	return poorest
}

// sourceStream is the stream an event is from; of a link, the one that it points at.
func sourceStream(m *message) string {
	if m.event == nil || m.event.Kind == link.Kind {
		if to, isLink, err := link.Parse(m.original()); isLink && err == nil {
			return string(to.Stream)
		}
	}
	if m.event == nil {
		return string(m.link.Stream)
	}
	return string(m.event.Stream)
}

// correlation is an event's correlation id; without one, the stream it is from.
func correlation(m *message) string {
	if m.event != nil && m.event.Correlation != "" {
		return m.event.Correlation
	}
	return sourceStream(m)
}
