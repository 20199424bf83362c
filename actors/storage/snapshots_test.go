package storage_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// TestRetain saves at any revisions in any order: what is kept costs no more than the events allow, and it makes no difference
// whether Retain sees all snapshots or those around the new one.
func TestRetain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var kept []storage.Mark
		for range rapid.IntRange(1, 60).Draw(t, "saves") {
			m := storage.Mark{Revision: events.Revision(rapid.IntRange(0, 40_000).Draw(t, "revision")), Bytes: rapid.IntRange(0, 1<<20).Draw(t, "bytes")}
			m.Events = int64(m.Revision) + 1
			keep, drop := storage.Retain(kept, m)
			at, _ := slices.BinarySearchFunc(kept, m, func(a, b storage.Mark) int { return int(a.Revision - b.Revision) })
			around := kept[max(0, at-2):min(len(kept), at+2)]
			if keepToo, dropToo := storage.Retain(around, m); keepToo != keep || dropToo != drop {
				t.Fatalf("of all: %t, %d; of those around: %t, %d", keep, drop, keepToo, dropToo)
			}
			newest := len(kept) == 0 || m.Revision >= kept[len(kept)-1].Revision
			if newest && !keep {
				t.Fatal("the newest is not kept")
			}
			if !keep {
				continue
			}
			kept = slices.DeleteFunc(kept, func(k storage.Mark) bool { return k.Revision == m.Revision || k.Revision == drop })
			kept = append(kept, m)
			slices.SortFunc(kept, func(a, b storage.Mark) int { return int(a.Revision - b.Revision) })
		}
		var before, bytes int64
		for _, m := range kept[:len(kept)-1] {
			if m.Events-before < storage.SnapshotSpacing(m.Bytes) {
				t.Fatalf("the snapshot at %d stands %d events after the one before it", m.Revision, m.Events-before)
			}
			before, bytes = m.Events, bytes+int64(m.Bytes)
		}
		if most := 64 * before; bytes > most {
			t.Fatalf("%d bytes are kept of %d events", bytes, before)
		}
	})
}
