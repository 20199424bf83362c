package embedded

import (
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"example.com/life/actors"
	"example.com/life/events"
)

const (
	groupRequests = 1024     // most appends of one group
	groupBytes    = 4 << 20  // after which a group is closed
	keepHeads     = 32 << 10 // streams whose heads are kept in memory, in each of two generations
	keepIDs       = 64 << 10 // events whose ids are, likewise
)

// committer decides every append, alone: what it owns needs no lock.
type committer struct {
	store  *Store
	groups chan<- *group
	next   events.Position              // of the next event
	heads  *recent[events.Stream, head] // as they will be when everything pending is on disk
	ids    lately                       // which appends without a revision look at
	group  *group                       // being built
	key    []byte                       // scratch
	value  []byte                       // scratch
}

// head is the end of a stream.
type head struct {
	revision events.Revision // NoRevision when there is none
	position events.Position // of that event
}

// idPlace is where an event id was stored lately.
type idPlace struct {
	revision events.Revision
	position events.Position
}

func newCommitter(s *Store, groups chan<- *group) *committer {
	return &committer{
		store: s, groups: groups, next: s.last() + 1,
		heads: newRecent[events.Stream, head](keepHeads),
		ids:   lately{index: newRecent[events.EventID, idPlace](keepIDs)},
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
	full, done := c.store.disk.room(), 0
	for _, r := range requests[:min(len(requests), groupRequests)] {
		if full != nil {
			r.decided = answer{err: fmt.Errorf("append to %s: %w", r.stream, full)}
		} else if !c.decide(r) {
			break
		}
		if done++; c.group.batch != nil && c.group.batch.Len() > groupBytes {
			break
		}
	}
	c.group.requests = append(make([]*request, 0, done), requests[:done]...)
	c.group.last = c.next - 1
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

// decide settles one request: what it will be told, and what goes into the group's batch. False means that it must wait for
// the group to be applied, because it has to look at what the group may hold.
func (c *committer) decide(r *request) bool {
	h, err := c.head(r.stream)
	if err != nil {
		r.decided = answer{err: fmt.Errorf("append to %s: %w", r.stream, err)}
		return true
	}
	conflict := &actors.Conflict{Stream: r.stream, Expected: r.expected, Actual: h.revision}
	at, exact := events.Revision(r.expected), r.expected >= actors.ExpectNoStream
	switch {
	case r.expected == actors.ExpectExists && h.revision == events.NoRevision,
		exact && at > h.revision,
		exact && at < h.revision && (len(r.ids) == 0 || events.Revision(len(r.ids)) > h.revision-at):
		r.decided = answer{err: conflict}
	case len(r.ids) == 0:
		r.decided = answer{appended: actors.Appended{First: h.revision, Last: h.revision, Position: h.position}}
	case exact && at == h.revision, !exact && !c.known(r.ids[0]):
		c.write(r, h)
	case c.group.batch != nil:
		return false
	case exact:
		r.decided = c.retried(r, at+1, conflict)
	default:
		c.decideAny(r, h, conflict)
	}
	return true
}

// retried compares an append with the events that stand where it would: the same ids are a retry, anything else a conflict.
func (c *committer) retried(r *request, first events.Revision, conflict error) answer {
	same, i := true, 0
	appended := actors.Appended{First: first, Last: first + events.Revision(len(r.ids)) - 1}
	err := c.store.scan(r.stream, first, func(e *events.Envelope) bool {
		same = e.ID == r.ids[i]
		appended.Position = e.Position
		i++
		return same && i < len(r.ids)
	})
	switch {
	case err != nil:
		return answer{err: fmt.Errorf("append to %s: compare with what is stored: %w", r.stream, err)}
	case !same || i < len(r.ids):
		return answer{err: conflict}
	}
	return answer{appended: appended}
}

// decideAny settles an append without a revision. Only ids stored lately are recognised: this is best effort, as the port says.
func (c *committer) decideAny(r *request, h head, conflict error) {
	first, found, err := c.lately(r.stream, r.ids[0])
	last := first
	for i := 1; err == nil && found && i < len(r.ids); i++ {
		var other bool
		if last, other, err = c.lately(r.stream, r.ids[i]); err == nil && !other {
			err = conflict
		}
	}
	switch {
	case errors.Is(err, conflict):
		r.decided = answer{err: conflict}
	case err != nil:
		r.decided = answer{err: fmt.Errorf("append to %s: compare with what is stored: %w", r.stream, err)}
	case found:
		r.decided = answer{appended: actors.Appended{First: first.revision, Last: last.revision, Position: last.position}}
	default:
		c.write(r, h)
	}
}

func (c *committer) known(id events.EventID) bool {
	_, found := c.ids.get(id)
	return found
}

// lately finds an id among those that this stream got lately.
func (c *committer) lately(stream events.Stream, id events.EventID) (idPlace, bool, error) {
	place, found := c.ids.get(id)
	if !found {
		return place, false, nil
	}
	same := false
	err := c.store.scan(stream, place.revision, func(e *events.Envelope) bool {
		same = e.ID == id && e.Position == place.position
		return false
	})
	return place, same, err
}

// write puts a request's record and index entry into the group's batch.
func (c *committer) write(r *request, h head) {
	if c.group.batch == nil {
		c.group.batch = c.store.db.NewBatch()
	}
	count := len(r.ids)
	first, position := h.revision+1, c.next
	h = head{revision: h.revision + events.Revision(count), position: position + events.Position(count) - 1}
	c.next = h.position + 1

	c.key = recordKey(c.key[:0], position)
	record := c.group.batch.SetDeferred(recordKeySize, recordSize(first, len(r.body)))
	copy(record.Key, c.key)
	putRecord(record.Value, c.key, first, r.body)
	c.key = indexKey(c.key[:0], r.stream, first)
	c.value = appendIndexValue(c.value[:0], position, count)
	err := errors.Join(record.Finish(), c.group.batch.Set(c.key, c.value, nil))
	if err != nil { // only a batch that was misused answers with an error
		c.store.disk.fail(err)
	}

	c.heads.put(r.stream, h)
	for i, id := range r.ids {
		c.ids.add(id, idPlace{first + events.Revision(i), position + events.Position(i)})
	}
	r.written = true
	r.decided = answer{appended: actors.Appended{First: first, Last: h.revision, Position: h.position}}
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
	c.heads.put(stream, h)
	return h, nil
}

// lately knows the ids stored lately. Hardly anyone asks: only appends without a revision do. So ids are kept in a list, and put
// into the index when somebody does.
type lately struct {
	index *recent[events.EventID, idPlace]
	fresh []freshID // not in the index yet; the oldest are overwritten
	next  int
}

type freshID struct {
	id    events.EventID
	place idPlace
}

func (l *lately) add(id events.EventID, place idPlace) {
	if len(l.fresh) < keepIDs {
		l.fresh = append(l.fresh, freshID{id, place})
		return
	}
	l.fresh[l.next] = freshID{id, place}
	l.next = (l.next + 1) % keepIDs
}

func (l *lately) get(id events.EventID) (idPlace, bool) {
	for i := range l.fresh {
		oldest := l.fresh[(l.next+i)%len(l.fresh)]
		l.index.put(oldest.id, oldest.place)
	}
	l.fresh, l.next = l.fresh[:0], 0
	return l.index.get(id)
}

// recent is a map that keeps at least the last limit keys put, and forgets older ones.
type recent[K comparable, V any] struct {
	limit      int
	young, old map[K]V
}

func newRecent[K comparable, V any](limit int) *recent[K, V] {
	return &recent[K, V]{limit: limit, young: map[K]V{}, old: map[K]V{}}
}

func (r *recent[K, V]) get(key K) (V, bool) {
	value, found := r.young[key]
	if !found {
		if value, found = r.old[key]; found {
			r.put(key, value)
		}
	}
	return value, found
}

func (r *recent[K, V]) put(key K, value V) {
	if len(r.young) >= r.limit {
		r.young, r.old = r.old, r.young
		clear(r.young)
	}
	r.young[key] = value
}
