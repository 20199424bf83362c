package embedded

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

func openTestCache(t *testing.T, fs vfs.FS) *Cache {
	t.Helper()
	cache, err := OpenSnapshots(Config{Dir: "cache", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cache.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return cache
}

// stateAt is a state that tells its revision, of a size that tells it too.
func stateAt(revision events.Revision) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%08d", revision), 1+int(revision*7919)%(400<<10))
}

// TestTornSnapshots takes away what was not yet on disk while large snapshots are written and replaced: of what is found afterwards
// every one is whole, and saving goes on.
func TestTornSnapshots(t *testing.T) {
	mem := vfs.NewCrashableMem()
	random := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // a test that can be repeated
	cache := openTestCache(t, mem)
	found := 0
	for i := range events.Revision(25) {
		save := func(cache *Cache) {
			if err := cache.Save(t.Context(), "f/1", "s", storage.Snapshot{Revision: i, Events: int64(i+1) * 30_000, State: stateAt(i)}); err != nil {
				t.Fatal(err)
			}
		}
		save(cache)
		clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: random.IntN(101), RNG: random})
		after := openTestCache(t, clone)
		for until := i; ; {
			s, ok, err := after.Load(t.Context(), "f/1", "s", until)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			if !bytes.Equal(s.State, stateAt(s.Revision)) {
				t.Fatalf("the snapshot at %d is not what was saved", s.Revision)
			}
			found, until = found+1, s.Revision-1
		}
		save(after)
		if s, ok, err := after.Load(t.Context(), "f/1", "s", i); err != nil || !ok || !bytes.Equal(s.State, stateAt(i)) {
			t.Fatalf("saved after the crash: found %t, %v", ok, err)
		}
		if err := after.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if found == 0 {
		t.Error("no snapshot ever survived: this test proves nothing")
	}
}

// TestPiecesWithoutHead leaves what a death between the pieces and the head leaves: it goes at the next save beside it.
func TestPiecesWithoutHead(t *testing.T) {
	cache := openTestCache(t, vfs.NewMem())
	db, place := cache.snapshots.db, snapshotPlace("f/1", "s")
	for _, revision := range []events.Revision{2500, 3500, 9000} {
		if err := db.Set(append(snapshotKey(pieceKeys, place, revision), 0, 0, 0, 0), []byte("lost"), pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	for _, revision := range []events.Revision{3000, 6000, 9000} {
		if err := cache.Save(t.Context(), "f/1", "s", storage.Snapshot{Revision: revision, State: []byte("state")}); err != nil {
			t.Fatal(err)
		}
		if s, ok, err := cache.Load(t.Context(), "f/1", "s", revision); err != nil || !ok || string(s.State) != "state" {
			t.Fatalf("load: %+v, %t, %v", s, ok, err)
		}
	}
	pieces, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{pieceKeys}})
	if err != nil {
		t.Fatal(err)
	}
	defer pieces.Close()
	count := 0
	for more := pieces.First(); more; more = pieces.Next() {
		count++
	}
	if count != 3 {
		t.Errorf("%d pieces are stored, want 3", count)
	}
}

// TestDamagedPieces damages the newest snapshot: an earlier one is found, and the damaged one is dropped.
func TestDamagedPieces(t *testing.T) {
	damage := map[string]func(db *pebble.DB, place []byte) error{
		"a piece is missing": func(db *pebble.DB, place []byte) error {
			return db.Delete(append(snapshotKey(pieceKeys, place, 4000), 0, 0, 0, 1), pebble.NoSync)
		},
		"a piece is another": func(db *pebble.DB, place []byte) error {
			return db.Set(append(snapshotKey(pieceKeys, place, 4000), 0, 0, 0, 0), bytes.Repeat([]byte{1}, snapshotPiece), pebble.NoSync)
		},
		"the head claims too much": func(db *pebble.DB, place []byte) error {
			h := heading{bytes: 1 << 60}
			return db.Set(snapshotKey(headKeys, place, 4000), h.append(nil), pebble.NoSync)
		},
		"the head is cut off": func(db *pebble.DB, place []byte) error {
			return db.Set(snapshotKey(headKeys, place, 4000), []byte("head"), pebble.NoSync)
		},
	}
	for name, hurt := range damage {
		t.Run(name, func(t *testing.T) {
			cache := openTestCache(t, vfs.NewMem())
			for _, revision := range []events.Revision{2000, 4000} {
				if err := cache.Save(t.Context(), "f/1", "s", storage.Snapshot{Revision: revision, Events: int64(revision * 100), State: make([]byte, 1<<20+5)}); err != nil {
					t.Fatal(err)
				}
			}
			if err := hurt(cache.snapshots.db, snapshotPlace("f/1", "s")); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				s, ok, err := cache.Load(t.Context(), "f/1", "s", 5000)
				if err != nil || !ok || s.Revision != 2000 || len(s.State) != 1<<20+5 {
					t.Errorf("load: revision %d, %t, %v; want revision 2000", s.Revision, ok, err)
				}
			}
			if found, err := cache.snapshots.any(snapshotKey(pieceKeys, snapshotPlace("f/1", "s"), 4000), []byte{pieceKeys + 1}); err != nil || found {
				t.Errorf("pieces of the damaged one are left: %t, %v", found, err)
			}
		})
	}
}

// TestSnapshotsOfAnotherFormat opens a cache that an older build left, and one of a newer build: both are dropped, and no more.
func TestSnapshotsOfAnotherFormat(t *testing.T) {
	for name, key := range map[string]string{"older": "agent-demo\x00agent/1", "newer": formatKey} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewMem()
			old, err := pebble.Open("cache/snapshots", &pebble.Options{FS: mem, FormatMajorVersion: tableFormat})
			if err != nil {
				t.Fatal(err)
			}
			if err := old.Set([]byte(key), []byte("something"), pebble.Sync); err != nil {
				t.Fatal(err)
			}
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			cache := openTestCache(t, mem)
			if _, ok, err := cache.Load(t.Context(), "agent/1", "agent-demo", 1<<62); ok || err != nil {
				t.Errorf("load: %t, %v; want nothing", ok, err)
			}
			if err := cache.Save(t.Context(), "agent/1", "agent-demo", storage.Snapshot{Revision: 5, State: []byte("state")}); err != nil {
				t.Fatal(err)
			}
			if err := cache.Close(); err != nil {
				t.Fatal(err)
			}
			if s, ok, err := openTestCache(t, mem).Load(t.Context(), "agent/1", "agent-demo", 1<<62); !ok || err != nil || string(s.State) != "state" {
				t.Errorf("load: %+v, %t, %v", s, ok, err)
			}
		})
	}
}
