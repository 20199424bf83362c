package embedded_test

import (
	"errors"
	"testing"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
)

func open(t *testing.T, config embedded.Config) *embedded.Store {
	t.Helper()
	store, err := embedded.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return store
}

func TestJournal(t *testing.T) {
	actorstest.TestJournal(t, func(t *testing.T) storage.Journal { return open(t, embedded.Config{Dir: t.TempDir()}) })
}

func TestSnapshots(t *testing.T) {
	actorstest.TestSnapshots(t, func(t *testing.T) storage.Snapshots { return open(t, embedded.Config{Dir: t.TempDir()}) })
}

func openCache(t *testing.T, config embedded.Config) *embedded.Cache {
	t.Helper()
	cache, err := embedded.OpenSnapshots(config)
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

// What holds the snapshots without a journal keeps them as the store does.
func TestSnapshotsAlone(t *testing.T) {
	actorstest.TestSnapshots(t, func(t *testing.T) storage.Snapshots { return openCache(t, embedded.Config{Dir: t.TempDir()}) },
		"the newest one comes back", "a past one comes back", "dropped ones are gone", "older versions of a fold go", "an ended context", "many at once")
}

func TestSnapshotsAloneHaveOneHolder(t *testing.T) {
	config := embedded.Config{Dir: t.TempDir()}
	cache := openCache(t, config)
	held := &embedded.HeldError{}
	if _, err := embedded.OpenSnapshots(config); !errors.As(err, &held) {
		t.Errorf("open what is open: %v", err)
	}
	if err := cache.Save(t.Context(), "f", "s", storage.Snapshot{Revision: 4, State: []byte("state")}); err != nil {
		t.Fatal(err)
	}
	if err := cache.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := cache.Load(t.Context(), "f", "s", 4); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("load after Close: %v", err)
	}
	if err := cache.Save(t.Context(), "f", "s", storage.Snapshot{}); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("save after Close: %v", err)
	}
	if err := cache.Drop(t.Context(), "f", "s", 0); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("drop after Close: %v", err)
	}
	snapshot, found, err := openCache(t, config).Load(t.Context(), "f", "s", 4)
	if err != nil || !found || string(snapshot.State) != "state" {
		t.Errorf("load: %+v, %t, %v", snapshot, found, err)
	}
	if _, err := embedded.OpenSnapshots(embedded.Config{}); err == nil {
		t.Error("no directory was no error")
	}
}

func TestProjector(t *testing.T) {
	actorstest.TestProjector(t, 2, func(t *testing.T) (storage.Journal, storage.Snapshots) {
		store := open(t, embedded.Config{Dir: t.TempDir()})
		return store, store
	})
}
