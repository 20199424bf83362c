package server

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

func newWide(t *testing.T) wireStore {
	t.Helper()
	own, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	})
	store, err := newWireStore(t.Context(), own)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// TestWireStore: a store whose positions are spread is a journal like others.
func TestWireStore(t *testing.T) {
	actorstest.TestJournal(t, func(t *testing.T) storage.Journal { return newWide(t) })
}

// TestWirePositions: each position is the store's own times 128, wherever it is handed out.
func TestWirePositions(t *testing.T) {
	store := newWide(t)
	ctx := t.Context()
	batch := func(n int) []events.Envelope {
		made := make([]events.Envelope, n)
		for i := range made {
			made[i] = events.Envelope{ID: events.EventID{byte(n), byte(i), 1}, Kind: "happened", Version: 1, Data: []byte(`{}`)}
		}
		return made
	}
	follower, err := store.Follow(ctx, storage.From{Filter: storage.Filter{System: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer follower.Close()
	one, err := store.Append(ctx, "s", storage.ExpectAny, batch(3))
	if err != nil || one.Position != 3*spread {
		t.Fatalf("appended %+v: %v", one, err)
	}
	deleted, err := store.Delete(ctx, "s", storage.ExpectAny)
	if err != nil || deleted.Position != 4*spread {
		t.Fatalf("deleted %+v: %v", deleted, err)
	}
	ended, err := store.Tombstone(ctx, "s", storage.ExpectAny)
	if err != nil || ended.Position != 5*spread {
		t.Fatalf("ended %+v: %v", ended, err)
	}
	page, err := store.ReadAll(ctx, storage.End(), storage.Backward, storage.Filter{System: true}, storage.Limit{})
	if err != nil || len(page.Events) != 5 {
		t.Fatalf("read %d events: %v", len(page.Events), err)
	}
	for i := range page.Events {
		want := events.Position(i+1) * spread
		if read := &page.Events[4-i]; read.Position != want {
			t.Errorf("%s is at %d, want %d", read.Ref(), read.Position, want)
		}
		if e, found, err := follower.Poll(ctx); !found || err != nil || e.Position != want {
			t.Errorf("%s came at %d, want %d: %v", e.Ref(), e.Position, want, err)
		}
	}
	own, err := store.store.ReadAll(ctx, storage.Start(), storage.Forward, storage.Filter{System: true}, storage.Limit{})
	if err != nil || own.Events[4].Position != 5 {
		t.Errorf("in process the last event is %+v: %v", own.Events, err)
	}
}

// TestNoRoom: a store whose positions would not fit when they are spread is refused at once.
func TestNoRoom(t *testing.T) {
	own, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	first := events.Envelope{ID: events.EventID{1}, Stream: "s", Position: 1, Kind: "happened", Version: 1, Data: []byte(`{}`)}
	far := first
	far.ID, far.Revision, far.Position = events.EventID{2}, 1, math.MaxInt64/spread
	if err := own.Import(t.Context(), []events.Envelope{first, far}); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Store: own, Listen: "127.0.0.1:0", Insecure: true}); err == nil || !strings.Contains(err.Error(), "position") {
		t.Errorf("it is served: %v", err)
	}
}

// TestImportedPositions: what came from a server that spreads its positions keeps them, so that places its clients stored go on to be
// good, and no export and import makes positions grow.
func TestImportedPositions(t *testing.T) {
	own, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	imported := make([]events.Envelope, 3)
	for i, position := range []events.Position{167, 1788, 3386} {
		imported[i] = events.Envelope{
			ID: events.EventID{byte(i + 1)}, Stream: "s", Revision: events.Revision(i), Position: position, Kind: "happened", Version: 1, Data: []byte(`{}`),
		}
	}
	if err := own.Import(t.Context(), imported); err != nil {
		t.Fatal(err)
	}
	store, err := newWireStore(t.Context(), own)
	if err != nil {
		t.Fatal(err)
	}
	page, err := store.ReadAll(t.Context(), storage.After(1788), storage.Forward, storage.Filter{}, storage.Limit{})
	if err != nil || len(page.Events) != 1 || page.Events[0].Position != 3386 {
		t.Errorf("after an imported position: %+v, %v", page, err)
	}
	if page, err := store.ReadAll(t.Context(), storage.After(1789), storage.Forward, storage.Filter{}, storage.Limit{}); !errors.Is(err, storage.ErrPlace) {
		t.Errorf("from between two imported events: %+v, %v", page, err)
	}
}

// Methods lists every method that is registered.
func (s *Server) Methods() (all []string) {
	for name, service := range s.grpc.GetServiceInfo() {
		for _, method := range service.Methods {
			all = append(all, "/"+name+"/"+method.Name)
		}
	}
	slices.Sort(all)
	return all
}
