package embedded

import (
	"hash/maphash"

	"example.com/life/events"
)

const (
	keepHeads = 32 << 10 // streams whose heads are kept in memory, in each of two generations
	keepIDs   = 64 << 10 // events whose ids are, likewise

	recallEvents = 4 << 10 // of a stream whose ids are read back after the store was opened, at most,
	recallBytes  = 4 << 20 // and of their data
)

// lately knows the ids stored lately, and of one that a stream has twice the first place, as EventStoreDB 24.10 does. Hardly anyone
// asks: only appends without a revision do. So ids are kept in a list, and put into the index when somebody does. What a stream got before the store
// was opened is read back when somebody asks about that stream: a command that is published again after a restart is the same command.
type lately struct {
	seed     maphash.Seed
	index    *recent[idKey, idPlace]
	fresh    []freshID // not in the index yet; the oldest are overwritten
	next     int
	recalled *recent[uint64, struct{}] // streams that were read back,
	before   *recent[idKey, idPlace]   // and their ids: apart, so that they drive out none that came since
}

type freshID struct {
	key   idKey
	place idPlace
}

func newLately() lately {
	return lately{
		seed: maphash.MakeSeed(), index: newRecent[idKey, idPlace](keepIDs),
		recalled: newRecent[uint64, struct{}](keepHeads), before: newRecent[idKey, idPlace](keepIDs),
	}
}

func (l *lately) hash(stream events.Stream) uint64 { return maphash.String(l.seed, string(stream)) }

func (l *lately) add(key idKey, place idPlace) {
	if len(l.fresh) < keepIDs {
		l.fresh = append(l.fresh, freshID{key, place})
		return
	}
	l.fresh[l.next] = freshID{key, place}
	l.next = (l.next + 1) % keepIDs
}

func (l *lately) get(key idKey) (idPlace, bool) {
	for i := range l.fresh {
		oldest := l.fresh[(l.next+i)%len(l.fresh)]
		if _, found := l.index.get(oldest.key); !found {
			l.index.put(oldest.key, oldest.place)
		}
	}
	l.fresh, l.next = l.fresh[:0], 0
	if place, found := l.before.get(key); found {
		return place, true
	}
	return l.index.get(key)
}

// recall reads the ids back, once, that a stream got before the store was opened, the latest first. Where the stream is damaged it ends: reads and Check name
// the damage, and it is no reason to take nothing more.
func (l *lately) recall(s *Store, stream events.Stream) {
	hash := l.hash(stream)
	if _, done := l.recalled.get(hash); done {
		return
	}
	l.recalled.put(hash, struct{}{})
	count, bytes := 0, 0
	err := s.scanBack(stream, s.opened, func(e *events.Envelope) bool {
		l.before.put(idKey{hash, e.ID}, idPlace{e.Revision, e.Position})
		count, bytes = count+1, bytes+dataSize(e)
		return count < recallEvents && bytes < recallBytes
	})
	if err != nil {
		s.config.Log.Warn("read ids back: what is published again is not recognised beyond here", "stream", stream, "events", count, "error", err)
	}
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

func (r *recent[K, V]) forget(key K) {
	delete(r.young, key)
	delete(r.old, key)
}
