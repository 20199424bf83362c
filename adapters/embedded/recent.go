package embedded

import (
	"hash/maphash"

	"example.com/life/events"
)

const (
	keepHeads = 32 << 10 // streams whose heads are kept in memory, in each of two generations
	keepIDs   = 64 << 10 // events whose ids are, likewise
)

// lately knows the ids stored lately, and of one that a stream has twice the first place, as EventStoreDB 24.10 does. Hardly anyone
// asks: only appends without a revision do. So ids are kept in a list, and put into the index when somebody does.
type lately struct {
	seed  maphash.Seed
	index *recent[idKey, idPlace]
	fresh []freshID // not in the index yet; the oldest are overwritten
	next  int
}

type freshID struct {
	key   idKey
	place idPlace
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
	return l.index.get(key)
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
