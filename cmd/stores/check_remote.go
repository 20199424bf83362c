package stores

import (
	"context"
	"fmt"
	"math"
	"strings"

	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/events"
)

// mostDamage is how much of what is wrong a check lists; the rest is counted.
const mostDamage = 1000

// remoteCheck verifies what can be seen of a store without its files: positions rise, the revisions of each stream follow one
// another, Life's own events have ids and form an unbroken chain of digests, and each stream ends where the whole says it does.
//
// A chain of digests shows also what is there twice. Bytes that nobody reads, replicas, and what a scavenge took away cannot be
// seen from here.
type remoteCheck struct {
	journal  storage.Journal
	report   api.StoreReport
	first    events.Position
	last     events.Position
	position events.Position
	streams  map[events.Stream]*streamEnd
}

// streamEnd is how far a stream was read.
type streamEnd struct {
	revision events.Revision
	digest   events.Digest
	foreign  bool // another program wrote to it, so it has no chain
	ended    bool // deleted for good
}

func newRemoteCheck(ctx context.Context, journal storage.Journal) (*remoteCheck, error) {
	last, err := LastPosition(ctx, journal)
	return &remoteCheck{
		journal: journal, last: last, streams: map[events.Stream]*streamEnd{}, report: api.StoreReport{
			Damage: []api.StoreDamage{}, Unchecked: []string{"the store's files and replicas, which the store checks itself", "events that a scavenge removed"},
		},
	}, err
}

// total guesses how many events there are, from how far along the positions this one is.
func (c *remoteCheck) total(at events.Position) int64 {
	if c.first == 0 {
		c.first = at
	}
	done := float64(at-c.first+1) / float64(max(c.last, at)-c.first+1)
	return int64(float64(c.report.Events) / done)
}

func (c *remoteCheck) damage(e *events.Envelope, format string, args ...any) {
	if len(c.report.Damage) == mostDamage {
		c.report.More++
		return
	}
	problem := fmt.Sprintf("%s, position %d: %s", e.Ref(), e.Position, fmt.Sprintf(format, args...))
	c.report.Damage = append(c.report.Damage, api.StoreDamage{Stream: e.Stream, Revision: e.Revision, Problem: problem})
}

func (c *remoteCheck) event(e *events.Envelope) {
	c.report.Events++
	if e.Position <= c.position {
		c.damage(e, "it comes after position %d", c.position)
	}
	c.position = e.Position
	s, known := c.streams[e.Stream]
	if !known {
		s = &streamEnd{revision: events.NoRevision}
		c.streams[e.Stream] = s
	}
	own := e.Foreign == nil
	s.foreign = s.foreign || !own
	switch {
	case e.Kind == TombstoneKind && e.Revision == math.MaxInt64:
		s.ended = true
		return
	case s.ended:
		c.damage(e, "the stream was permanently deleted before it")
	case e.Revision <= s.revision:
		c.damage(e, "it comes after revision %d", s.revision)
	case own && e.Revision != s.revision+1:
		c.damage(e, "it follows revision %d", s.revision)
	}
	if own && e.ID == (events.EventID{}) {
		c.damage(e, "it has no id")
	}
	if own && !s.foreign && e.Digest != s.digest.Next(e.Kind, e.Data) {
		c.damage(e, "the digest does not match: this event or an earlier one was changed")
	}
	s.revision, s.digest = e.Revision, e.Digest
}

// ends compares the end of each stream with what the whole had of it. Streams may have grown meanwhile, but not shrunk.
func (c *remoteCheck) ends(ctx context.Context) error {
	for name, s := range c.streams {
		if s.ended || strings.HasPrefix(string(name), "$") {
			continue // nothing can be read from it, or the store alone knows what is kept of it
		}
		page, err := c.journal.Read(ctx, name, math.MaxInt64, storage.Backward, storage.Limit{Events: 1})
		if err != nil {
			return fmt.Errorf("read the end of %s: %w", name, err)
		}
		if len(page.Events) > 0 && page.Events[0].Revision < s.revision || len(page.Events) == 0 && !s.foreign {
			c.damage(&events.Envelope{Stream: name, Revision: s.revision}, "the stream itself ends before it, at revision %d", page.Last)
		}
	}
	return nil
}
