package eventstoretest

import (
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// Acknowledged is an append of which a client was told that it is stored.
type Acknowledged struct {
	Stream      string
	First, Last int64 // revisions
	Place       uint64
	IDs         []uuid.UUID
}

// Check compares what clients were told with what is stored: everything acknowledged is there, where its writer was told, and nothing of
// anybody is there twice. Appends whose outcome nobody was told may be there, or not.
func (c *Cluster) Check(acknowledged []Acknowledged) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := map[uuid.UUID]*record{}
	for _, r := range c.log.records {
		if r.hidden {
			continue
		}
		if before := at[r.id]; before != nil {
			return fmt.Errorf("event %s is stored twice: at %d of %s and at %d of %s", r.id, before.revision, before.stream, r.revision, r.stream)
		}
		at[r.id] = r
	}
	for _, a := range acknowledged {
		if n := int64(len(a.IDs)); a.Last-a.First+1 != n {
			return fmt.Errorf("%d events were acknowledged in %s as %d to %d", n, a.Stream, a.First, a.Last)
		}
		for i, id := range a.IDs {
			r := at[id]
			switch {
			case r == nil:
				return fmt.Errorf("event %s of %s was acknowledged as %d and is not stored", id, a.Stream, a.First+int64(i))
			case r.stream != a.Stream || r.revision != a.First+int64(i):
				return fmt.Errorf("event %s was acknowledged as %d of %s and is %d of %s", id, a.First+int64(i), a.Stream, r.revision, r.stream)
			case id == a.IDs[len(a.IDs)-1] && r.begin != a.Place:
				return fmt.Errorf("event %s of %s was acknowledged at %d and begins at %d", id, a.Stream, a.Place, r.begin)
			}
		}
	}
	return nil
}

// Events are the ids of the events of all streams whose names begin so, in the store's order; without the server's own, whose names begin with $.
func (c *Cluster) Events(prefix string) []uuid.UUID {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []uuid.UUID
	for _, r := range c.log.records {
		if !r.hidden && strings.HasPrefix(r.stream, prefix) && !strings.HasPrefix(r.stream, "$") {
			ids = append(ids, r.id)
		}
	}
	return ids
}

// Counts is what clients have asked for.
type Counts struct {
	Repeated int // appends that begin with an event that came before
	Joined   int // consumers that were confirmed
	Followed int // subscriptions that had caught up
	Elected  int // leaders
}

// Counts returns what was counted since the cluster began.
func (c *Cluster) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := c.counts
	counts.Elected = c.elected
	return counts
}

// count notes an append. The lock is held.
func (c *Cluster) count(w *write) {
	id := eventID{w.stream, w.records[0].id}
	if c.came[id] {
		c.counts.Repeated++
	}
	c.came[id] = true
}
