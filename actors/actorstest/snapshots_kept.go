package actorstest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

func mustSave(t *testing.T, snapshots storage.Snapshots, at place, snapshot storage.Snapshot) {
	t.Helper()
	snapshot.Revision = at.until
	if err := snapshots.Save(t.Context(), at.fold, at.stream, snapshot); err != nil {
		t.Fatalf("save %v: %v", at, err)
	}
}

// sample is a snapshot that shows its revision.
func sample(revision events.Revision, size int) storage.Snapshot {
	state := fmt.Appendf(nil, "state at %d ", revision)
	return storage.Snapshot{
		Revision: revision, Digest: events.Digest{byte(revision), 31: byte(revision >> 8)},
		State: append(state, bytes.Repeat([]byte{byte(revision)}, max(0, size-len(state)))...),
	}
}

// snapshotsPast saves from the latest to the earliest and back, as somebody does who looks about in the past.
func snapshotsPast(t *testing.T, snapshots storage.Snapshots) {
	const step = 2000
	for _, i := range []events.Revision{9, 3, 1, 6, 5, 8} {
		mustSave(t, snapshots, place{"f/1", "s", i * step}, sample(i*step, 100))
	}
	want := map[events.Revision]events.Revision{
		step: 1, step + 1: 1, 3*step - 1: 1, 3 * step: 3, 5*step - 1: 3, 5 * step: 5, 7 * step: 6, 8*step + 1: 8, 9*step - 1: 8, 9 * step: 9, latest: 9,
	}
	for until, i := range want {
		kept := sample(i*step, 100)
		mustLoadUntil(t, snapshots, place{"f/1", "s", until}, &kept)
	}
	mustLoadUntil(t, snapshots, place{"f/1", "s", step - 1}, nil)
	mustLoadUntil(t, snapshots, place{"f/1", "s", 0}, nil)
	mustLoadUntil(t, snapshots, place{"f/1", "s", events.NoRevision}, nil)
}

func snapshotsReplaced(t *testing.T, snapshots storage.Snapshots) {
	for _, size := range []int{3 << 20, 10, 0, 700 << 10} {
		sent := sample(7, size)
		mustSave(t, snapshots, place{"f/1", "s", 7}, sent)
		mustLoad(t, snapshots, "f/1", "s", &sent)
		mustLoadUntil(t, snapshots, place{"f/1", "s", 6}, nil)
	}
}

// snapshotsLarge keeps states as large as those of projections, of a fold of the whole store whose revisions are positions.
func snapshotsLarge(t *testing.T, snapshots storage.Snapshots) {
	state := make([]byte, 24<<20)
	noise := rand.NewChaCha8([32]byte{1})
	_, _ = noise.Read(state) //nolint:errcheck // never fails
	for i, size := range []int{len(state), 6<<20 - 1, 6<<20 + 1} {
		sent := storage.Snapshot{Revision: 1e9 + events.Revision(i)*1000, Events: 500_000 * int64(i+1), State: state[:size]}
		mustSave(t, snapshots, place{"graph/1", "$all", sent.Revision}, sent)
		mustLoad(t, snapshots, "graph/1", "$all", &sent)
	}
	first := storage.Snapshot{Revision: 1e9, Events: 500_000, State: state}
	mustLoadUntil(t, snapshots, place{"graph/1", "$all", 1e9 + 999}, &first)
}

// snapshotsBounded saves far more often than it should, on the way and again in between.
func snapshotsBounded(t *testing.T, snapshots storage.Snapshots) {
	const end = 30_000
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test that can be repeated
	newest := storage.Snapshot{}
	for revision := events.Revision(0); revision < end; revision += events.Revision(1 + random.IntN(400)) {
		newest = sample(revision, random.IntN(400<<10))
		mustSave(t, snapshots, place{"f/1", "s", revision}, newest)
		past := events.Revision(random.IntN(int(revision) + 1))
		if past < revision {
			mustSave(t, snapshots, place{"f/1", "s", past}, sample(past, random.IntN(400<<10)))
		}
	}
	kept, previous := 0, mustLoad(t, snapshots, "f/1", "s", &newest)
	for {
		earlier, found, err := snapshots.Load(t.Context(), "f/1", "s", previous.Revision-1)
		if err != nil {
			t.Fatal(err)
		}
		// All but the newest stand as far apart as their size demands.
		if previous.Revision != newest.Revision && previous.Events-earlier.Events < storage.SnapshotSpacing(len(previous.State)) {
			t.Errorf("the snapshot at %d has %d bytes and stands %d events after the one before it",
				previous.Revision, len(previous.State), previous.Events-earlier.Events)
		}
		if !found {
			break
		}
		if want := sample(earlier.Revision, len(earlier.State)); !bytes.Equal(want.State, earlier.State) {
			t.Errorf("the snapshot at %d is not what was saved", earlier.Revision)
		}
		kept, previous = kept+1, earlier
	}
	if kept < 5 {
		t.Errorf("%d snapshots of %d events are kept besides the newest", kept, end)
	}
}

func snapshotsDropped(t *testing.T, snapshots storage.Snapshots) {
	for i := range events.Revision(6) {
		mustSave(t, snapshots, place{"f/1", "s", i * 5000}, sample(i*5000, 1000))
		mustSave(t, snapshots, place{"f/2", "s", i * 5000}, sample(i*5000, 1000))
	}
	drop := func(fold string, from events.Revision) {
		if err := snapshots.Drop(t.Context(), fold, "s", from); err != nil {
			t.Fatalf("drop %s from %d: %v", fold, from, err)
		}
	}
	kept, last := sample(10_000, 1000), sample(25_000, 1000)
	drop("f/1", 15_000)
	mustLoad(t, snapshots, "f/1", "s", &kept)
	drop("f/1", 10_001)
	mustLoad(t, snapshots, "f/1", "s", &kept)
	drop("f/1", 0)
	mustLoad(t, snapshots, "f/1", "s", nil)
	mustLoad(t, snapshots, "f/2", "s", &last)
	again := sample(15_000, 10)
	mustSave(t, snapshots, place{"f/1", "s", 15_000}, again)
	mustLoad(t, snapshots, "f/1", "s", &again)
}

func snapshotsOutdated(t *testing.T, snapshots storage.Snapshots) {
	only := sample(3000, 10)
	for _, at := range []place{{"f/1", "s", 3000}, {"f/1", "t", 3000}, {"ff/1", "s", 3000}, {"f", "s", 3000}, {"f/2", "s", 3000}} {
		mustSave(t, snapshots, at, only)
	}
	for _, fold := range []string{"f/1", "f", "f/2"} { // a build with the version before may still be used
		mustLoad(t, snapshots, fold, "s", &only)
	}
	for _, fold := range []string{"f/3", "f/9", "f/10"} {
		mustSave(t, snapshots, place{fold, "s", 3000}, only)
	}
	for _, at := range []place{{"f/10", "s", latest}, {"f/9", "s", latest}, {"ff/1", "s", latest}, {"f", "s", latest}, {"f/1", "t", latest}} {
		mustLoadUntil(t, snapshots, at, &only)
	}
	for _, fold := range []string{"f/1", "f/2", "f/3"} {
		mustLoad(t, snapshots, fold, "s", nil)
	}
}
