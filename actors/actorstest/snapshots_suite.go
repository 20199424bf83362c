package actorstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/life/actors"
	"example.com/life/events"
)

// TestSnapshots is the conformance suite of actors.Snapshots. Open returns an empty store, closed by its own clean-up.
func TestSnapshots(t *testing.T, open func(t *testing.T) actors.Snapshots) {
	t.Run("the newest one comes back", func(t *testing.T) { snapshotsNewest(t, open(t)) })
	t.Run("folds and streams are apart", func(t *testing.T) { snapshotsApart(t, open(t)) })
	t.Run("bytes belong to their owner", func(t *testing.T) { snapshotsOwnership(t, open(t)) })
	t.Run("an ended context", func(t *testing.T) { snapshotsEndedContext(t, open(t)) })
	t.Run("many at once", func(t *testing.T) { snapshotsConcurrent(t, open(t)) })
}

func snapshotsNewest(t *testing.T, snapshots actors.Snapshots) {
	mustLoad(t, snapshots, "agent@1", "agent-a", nil)
	for i, size := range []int{0, 1, 1000, 3 << 20, 10} {
		sent := actors.Snapshot{Revision: events.Revision(i), Digest: events.Digest{byte(i), 31: 7}, State: bytes.Repeat([]byte{byte(i)}, size)}
		if err := snapshots.Save(t.Context(), "agent@1", "agent-a", sent); err != nil {
			t.Fatalf("save %d bytes: %v", size, err)
		}
		mustLoad(t, snapshots, "agent@1", "agent-a", &sent)
	}
}

func snapshotsApart(t *testing.T, snapshots actors.Snapshots) {
	folds, streams := []string{"a", "a@2", "ab"}, []events.Stream{"s", "s-a", "s-ab", "b"}
	made := func(i, k int) *actors.Snapshot {
		return &actors.Snapshot{Revision: events.Revision(i), State: fmt.Appendf(nil, "%d %d", i, k)}
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

func snapshotsOwnership(t *testing.T, snapshots actors.Snapshots) {
	state := []byte("state")
	want := actors.Snapshot{State: bytes.Clone(state)}
	if err := snapshots.Save(t.Context(), "f", "s", actors.Snapshot{State: state}); err != nil {
		t.Fatalf("save: %v", err)
	}
	state[0] = '#'
	loaded := mustLoad(t, snapshots, "f", "s", &want)
	loaded.State[0] = '#'
	mustLoad(t, snapshots, "f", "s", &want)
}

func snapshotsEndedContext(t *testing.T, snapshots actors.Snapshots) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := snapshots.Save(ctx, "f", "s", actors.Snapshot{}); !errors.Is(err, context.Canceled) {
		t.Errorf("save: the error is %v, want %v", err, context.Canceled)
	}
	if _, _, err := snapshots.Load(ctx, "f", "s"); !errors.Is(err, context.Canceled) {
		t.Errorf("load: the error is %v, want %v", err, context.Canceled)
	}
}

func snapshotsConcurrent(t *testing.T, snapshots actors.Snapshots) {
	var wait sync.WaitGroup
	for w := range 8 {
		wait.Go(func() {
			stream := events.Stream(fmt.Sprintf("agent-%d", w))
			for i := range 50 {
				sent := actors.Snapshot{Revision: events.Revision(i), State: fmt.Appendf(nil, "%d of %d", i, w)}
				if err := snapshots.Save(t.Context(), "f", stream, sent); err != nil {
					t.Errorf("save: %v", err)
					return
				}
				loaded, found, err := snapshots.Load(t.Context(), "f", stream)
				if err != nil || !found || !cmp.Equal(loaded, sent) {
					t.Errorf("load: %+v, %t, %v; want %+v", loaded, found, err, sent)
				}
			}
		})
	}
	wait.Wait()
}

// mustLoad fails unless this is what is there; nil is nothing.
func mustLoad(t *testing.T, snapshots actors.Snapshots, fold string, stream events.Stream, want *actors.Snapshot) actors.Snapshot {
	t.Helper()
	got, found, err := snapshots.Load(t.Context(), fold, stream)
	if err != nil {
		t.Fatalf("load %s of %s: %v", fold, stream, err)
	}
	if found != (want != nil) {
		t.Fatalf("load %s of %s: found %t, want %t", fold, stream, found, want != nil)
	}
	if want != nil && (got.Revision != want.Revision || got.Digest != want.Digest || !bytes.Equal(got.State, want.State)) {
		t.Fatalf("load %s of %s: revision %d and %d bytes, want revision %d and %d bytes", fold, stream, got.Revision, len(got.State), want.Revision, len(want.State))
	}
	return got
}
