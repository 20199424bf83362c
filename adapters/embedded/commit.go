package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"example.com/life/events"
)

const (
	groupRequests = 1024    // most appends of one group
	groupBytes    = 4 << 20 // after which a group is closed
)

// committer decides every append, alone: what it owns needs no lock.
type committer struct {
	store     *Store
	groups    chan<- *group
	next      events.Position              // of the next event
	skipped   uint64                       // positions before it that no event has
	described bool                         // some stream has metadata
	heads     *recent[events.Stream, head] // as they will be when everything pending is on disk
	ids       lately                       // which appends without a revision look at
	group     *group                       // being built
	width     int                          // the most requests it can have
	key       []byte                       // scratch
	value     []byte                       // scratch
}

// head is the end of a stream.
type head struct {
	revision events.Revision // NoRevision when there is none, tombstoneRevision when the stream was ended for good
	position events.Position // of that event
	deleted  bool            // its metadata say that it reads as one that is not there
}

func (h head) ended() bool { return h.revision == tombstoneRevision }

// idKey is an event id in a stream: what is stored twice in one stream is a repetition, in two streams it is not. Of the stream there is
// a hash, because names are long; what is found by it is compared.
type idKey struct {
	stream uint64
	id     events.EventID
}

// idPlace is where an event id was stored lately.
type idPlace struct {
	revision events.Revision
	position events.Position
}

func newCommitter(s *Store, groups chan<- *group) *committer {
	return &committer{
		store: s, groups: groups, next: s.last() + 1,
		skipped: uint64(s.last()) - s.stored, described: s.metadata.any.Load(),
		heads: newRecent[events.Stream, head](keepHeads),
		ids:   newLately(),
	}
}

// run serves the queue until it is closed and empty.
func (c *committer) run() {
	defer close(c.groups)
	var taken []*request
	for {
		if taken = c.store.queue.take(taken); len(taken) == 0 {
			return
		}
		for rest := taken; len(rest) > 0; {
			rest = rest[c.commit(rest):]
		}
		clear(taken)
	}
}

// commit decides and applies as many requests as make a group, and returns how many.
func (c *committer) commit(requests []*request) int {
	c.group = &group{}
	c.width = min(len(requests), groupRequests)
	full, done := c.store.disk.room(), 0
	for _, r := range requests[:min(len(requests), groupRequests)] {
		if full != nil {
			r.decided = answer{err: fmt.Errorf("append to %s: %w", r.stream, full)}
		} else if !c.decide(r) {
			break
		}
		if r.decided.err == nil {
			r.ticket.Accept()
		}
		if done++; c.group.batch != nil && c.group.batch.Len() > groupBytes {
			break
		}
	}
	c.group.requests = append(make([]*request, 0, done), requests[:done]...)
	c.group.last, c.group.stored = c.next-1, uint64(c.next-1)-c.skipped
	if c.group.batch != nil {
		c.group.err = c.store.apply(c.group.batch)
	}
	// True from here on: later groups are decided as if this one were on disk. If it never gets there, neither do they.
	c.groups <- c.group
	return done
}

// apply hands a batch to Pebble without waiting for the disk. After a failure nothing is handed over any more.
func (s *Store) apply(batch *pebble.Batch) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("write the group: %v", p)
		}
		if err != nil {
			s.disk.fail(err)
		}
	}()
	if err := s.disk.failure(); err != nil {
		return err
	}
	if err := s.db.ApplyNoSyncWait(batch, pebble.Sync); err != nil {
		return fmt.Errorf("write the group: %w", err)
	}
	return s.disk.failure()
}

// put writes a piece's record and index entry into the group's batch. Positions between the newest event and the piece stay empty.
func (c *committer) put(p *piece) {
	if c.group.batch == nil {
		c.group.batch = c.store.db.NewBatch()
		c.group.pieces = make([]*piece, 0, c.width)
	}
	where := place{first: p.first, gap: uint64(p.position - c.next), forms: p.forms, hosts: p.hosts}
	c.key = recordKey(c.key[:0], p.position)
	record := c.group.batch.SetDeferred(recordKeySize, recordSize(where, len(p.body)))
	copy(record.Key, c.key)
	putRecord(record.Value, c.key, where, p.body)
	c.key = indexKey(c.key[:0], p.stream, p.first)
	c.value = appendIndexValue(c.value[:0], p.position, len(p.batch))
	err := errors.Join(record.Finish(), c.group.batch.Set(c.key, c.value, nil))
	if where.gap > 0 {
		c.skipped += where.gap
		c.value = binary.AppendUvarint(c.value[:0], c.skipped)
		err = errors.Join(err, c.group.batch.Set([]byte{gapsPrefix}, c.value, nil))
	}
	if err != nil { // only a batch that was misused answers with an error
		c.store.disk.fail(err)
	}
	stream := c.ids.hash(p.stream)
	for i := range p.batch {
		c.ids.add(idKey{stream, p.batch[i].ID}, idPlace{p.first + events.Revision(i), p.position + events.Position(i)})
	}
	c.next = p.end() + 1
	c.group.pieces = append(c.group.pieces, p)
}

// head is where a stream ends, with everything that was decided so far.
func (c *committer) head(stream events.Stream) (head, error) {
	if h, found := c.heads.get(stream); found {
		return h, nil
	}
	// The cache holds more streams than one group can touch: what is not in it has been applied, and the index knows.
	v, err := c.store.streamView(stream, math.MaxUint64)
	if err != nil {
		return head{}, err
	}
	last, found, err := v.last()
	if err = errors.Join(err, v.close()); err != nil {
		return head{}, err
	}
	h := head{revision: events.NoRevision}
	if found {
		h = head{revision: last.last(), position: last.end()}
	}
	if c.described && !h.ended() {
		// Whoever writes metadata has their stream's head in the cache first: these have been applied, too.
		m, err := c.store.metadataAt(stream, math.MaxUint64)
		if err != nil {
			return head{}, err
		}
		h.deleted = m.Deleted()
	}
	c.heads.put(stream, h)
	return h, nil
}
