package actorstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// TestSnapshots is the conformance suite of storage.Snapshots. Open returns an empty store, closed by its own clean-up. Names of rows are as
// in TestJournalWithin.
func TestSnapshots(t *testing.T, open func(t *testing.T) storage.Snapshots, names ...string) {
	suite(t, open, names, []row[storage.Snapshots]{
		{"the newest one comes back", snapshotsNewest},
		{"a past one comes back", snapshotsPast},
		{"the last of a revision counts", snapshotsReplaced},
		{"large ones", snapshotsLarge},
		{"growth is bounded", snapshotsBounded},
		{"dropped ones are gone", snapshotsDropped},
		{"older versions of a fold go", snapshotsOutdated},
		{"folds and streams are apart", snapshotsApart},
		{"bytes belong to their owner", snapshotsOwnership},
		{"an ended context", snapshotsEndedContext},
		{"many at once", snapshotsConcurrent},
	})
}

func snapshotsNewest(t *testing.T, snapshots storage.Snapshots) {
	mustLoad(t, snapshots, "agent@1", "agent-a", nil)
	for i, size := range []int{0, 1, 1000, 3 << 20, 10} {
		sent := storage.Snapshot{Revision: events.Revision(i), Digest: events.Digest{byte(i), 31: 7}, State: bytes.Repeat([]byte{byte(i)}, size)}
		if err := snapshots.Save(t.Context(), "agent@1", "agent-a", sent); err != nil {
			t.Fatalf("save %d bytes: %v", size, err)
		}
		mustLoad(t, snapshots, "agent@1", "agent-a", &sent)
	}
}

func snapshotsApart(t *testing.T, snapshots storage.Snapshots) {
	folds, streams := []string{"a", "a@2", "ab"}, []events.Stream{"s", "s-a", "s-ab", "b"}
	made := func(i, k int) *storage.Snapshot {
		return &storage.Snapshot{Revision: events.Revision(i), State: fmt.Appendf(nil, "%d %d", i, k)}
	}
	for i, fold := range folds {
		for k, stream := range streams {
			if err := snapshots.Save(t.Context(), fold, stream, *made(i, k)); err != nil {
				t.Fatalf("save %s of %s: %v", fold, stream, err)
			}
		}
	}
	for i, fold := range folds {
		for k, stream := range streams {
			mustLoad(t, snapshots, fold, stream, made(i, k))
		}
	}
	mustLoad(t, snapshots, "a@3", "s", nil)
	mustLoad(t, snapshots, "a", "s-", nil)
}

func snapshotsOwnership(t *testing.T, snapshots storage.Snapshots) {
	state := []byte("state")
	want := storage.Snapshot{State: bytes.Clone(state)}
	if err := snapshots.Save(t.Context(), "f", "s", storage.Snapshot{State: state}); err != nil {
		t.Fatalf("save: %v", err)
	}
	state[0] = '#'
	loaded := mustLoad(t, snapshots, "f", "s", &want)
	loaded.State[0] = '#'
	mustLoad(t, snapshots, "f", "s", &want)
}

func snapshotsEndedContext(t *testing.T, snapshots storage.Snapshots) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := snapshots.Save(ctx, "f", "s", storage.Snapshot{}); !errors.Is(err, context.Canceled) {
		t.Errorf("save: the error is %v, want %v", err, context.Canceled)
	}
	if err := snapshots.Drop(ctx, "f", "s", 0); !errors.Is(err, context.Canceled) {
		t.Errorf("drop: the error is %v, want %v", err, context.Canceled)
	}
	if _, _, err := snapshots.Load(ctx, "f", "s", latest); !errors.Is(err, context.Canceled) {
		t.Errorf("load: the error is %v, want %v", err, context.Canceled)
	}
}

func snapshotsConcurrent(t *testing.T, snapshots storage.Snapshots) {
	var wait sync.WaitGroup
	for w := range 8 {
		wait.Go(func() {
			stream := events.Stream(fmt.Sprintf("agent-%d", w))
			for i := range 50 {
				sent := storage.Snapshot{Revision: events.Revision(i), State: fmt.Appendf(nil, "%d of %d", i, w)}
				if err := snapshots.Save(t.Context(), "f", stream, sent); err != nil {
					t.Errorf("save: %v", err)
					return
				}
				loaded, found, err := snapshots.Load(t.Context(), "f", stream, latest)
				sent.Events = int64(i) + 1
				if err != nil || !found || !cmp.Equal(loaded, sent) {
					t.Errorf("load: %+v, %t, %v; want %+v", loaded, found, err, sent)
				}
			}
		})
	}
	wait.Wait()
}

// latest is a revision after all.
const latest events.Revision = 1 << 62

// mustLoad fails unless this is the newest one; nil is nothing.
func mustLoad(t *testing.T, snapshots storage.Snapshots, fold string, stream events.Stream, want *storage.Snapshot) storage.Snapshot {
	t.Helper()
	return mustLoadUntil(t, snapshots, place{fold, stream, latest}, want)
}

// place is what is asked for.
type place struct {
	fold   string
	stream events.Stream
	until  events.Revision
}

func mustLoadUntil(t *testing.T, snapshots storage.Snapshots, at place, want *storage.Snapshot) storage.Snapshot {
	t.Helper()
	got, found, err := snapshots.Load(t.Context(), at.fold, at.stream, at.until)
	if err != nil {
		t.Fatalf("load %v: %v", at, err)
	}
	if found != (want != nil) {
		t.Fatalf("load %v: found %t, want %t", at, found, want != nil)
	}
	if want != nil && (got.Revision != want.Revision || got.Digest != want.Digest || got.Events != want.Mark().Events || !bytes.Equal(got.State, want.State)) {
		t.Fatalf("load %v: revision %d, events %d and %d bytes, want revision %d, events %d and %d bytes",
			at, got.Revision, got.Events, len(got.State), want.Revision, want.Mark().Events, len(want.State))
	}
	return got
}
