package embedded

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// everything bounds a look at all that was applied, be it on disk or not: only the committer may see so far.
const everything = events.Position(math.MaxUint64)

// descriptions holds what streams' metadata say, of those that were read lately. Whoever reads a stream gets the end of the store
// and what was said about the stream at that end together: so a stream is never seen half deleted or half brought back.
type descriptions struct {
	any     atomic.Bool // some stream has metadata; set before the first can be seen
	mu      sync.Mutex
	known   *recent[events.Stream, Metadata]
	changes uint64 // of metadata, so far
}

// publish makes a group visible.
func (d *descriptions) publish(s *Store, g *group) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, stream := range g.metadata {
		d.known.forget(stream)
		d.any.Store(true)
		d.changes++
	}
	s.stored = g.stored
	s.durable.Store(uint64(g.last))
}

// end is the last position, and how many events there are up to it.
func (s *Store) end() (last events.Position, stored uint64) {
	s.metadata.mu.Lock()
	defer s.metadata.mu.Unlock()
	return s.last(), s.stored
}

// visible returns the end of the store for a reader of a stream, and what is said about the stream there.
func (s *Store) visible(stream events.Stream) (bound events.Position, m Metadata, err error) {
	m.Revision = events.NoRevision
	if _, ok := original(stream); ok {
		m.MaxCount = 1 // only the newest metadata mean anything
		return s.last(), m, nil
	}
	if bound = s.last(); !s.metadata.any.Load() { // in this order: what is said at the bound was noted before it was reached
		return bound, m, nil
	}
	d := &s.metadata
	d.mu.Lock()
	bound = s.last()
	known, found := d.known.get(stream)
	changes := d.changes
	d.mu.Unlock()
	if found {
		return bound, known, nil
	}
	if m, err = s.metadataAt(stream, bound); err != nil {
		return bound, m, err
	}
	d.mu.Lock()
	if d.changes == changes { // else it may be older than what is said now
		d.known.put(stream, m)
	}
	d.mu.Unlock()
	return bound, m, nil
}

// Metadata returns what is said about a stream now; its Revision is NoRevision when nothing is. It belongs to the store and must
// not be changed.
func (s *Store) Metadata(ctx context.Context, stream events.Stream) (Metadata, error) {
	if err := storage.CheckStream(stream); err != nil {
		return Metadata{}, err
	}
	done, err := s.reading(ctx)
	if err != nil {
		return Metadata{}, err
	}
	defer done()
	_, m, err := s.visible(stream)
	return m, err
}

// metadataAt reads what was said about a stream at a bound: nothing any more about one that was ended for good.
func (s *Store) metadataAt(stream events.Stream, bound events.Position) (Metadata, error) {
	none := Metadata{Revision: events.NoRevision}
	if _, ok := original(stream); ok {
		return none, nil
	}
	e, found, err := s.newest(metastream(stream), bound)
	if err != nil || !found {
		return none, err
	}
	if ended, err := s.ended(stream, bound); ended || err != nil {
		return none, err
	}
	return parseMetadata(&e), nil
}

// ended reports whether a stream was ended for good, up to a bound.
func (s *Store) ended(stream events.Stream, bound events.Position) (ended bool, err error) {
	v, err := s.streamView(stream, bound)
	if err != nil {
		return false, err
	}
	newest, found, err := v.last()
	return found && newest.last() == tombstoneRevision, errors.Join(err, v.close())
}

// newest returns the last event of a stream, up to a bound.
func (s *Store) newest(stream events.Stream, bound events.Position) (e events.Envelope, found bool, err error) {
	v, err := s.streamView(stream, bound)
	if err != nil {
		return e, false, err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	if _, found, err = v.last(); err != nil || !found {
		return e, false, err
	}
	rec, err := v.record(s, storage.Backward)
	if err != nil {
		return e, false, err
	}
	err = rec.each(stream, func(next *events.Envelope) bool {
		e = *next
		return true
	})
	if err != nil {
		return e, false, damaged(fmt.Sprintf("the record of %s", events.NewRef(stream, rec.first)), err)
	}
	return e, true, nil
}

// hasMetadata looks for any stream's metadata.
func (s *Store) hasMetadata() (found bool, err error) {
	index, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{indexPrefix, '$', '$'}, UpperBound: []byte{indexPrefix, '$', '$' + 1}})
	if err != nil {
		return false, damaged("the index of metadata", err)
	}
	found = index.First()
	if err := errors.Join(index.Error(), index.Close()); err != nil {
		return false, damaged("the index of metadata", err)
	}
	return found, nil
}
