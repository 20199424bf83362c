package cmd

import (
	"errors"
	"log/slog"
	"math"
	"testing"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/cmd/stores"
	"example.com/life/events"
)

// openStore opens an embedded store below a data directory until the test ends.
func openStore(t *testing.T, data string) *embedded.Store {
	t.Helper()
	opened, err := (stores.Location{Data: data}).Open(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() })
	store, ok := opened.(*embedded.Store)
	if !ok {
		t.Fatalf("a data directory opens as %T", opened)
	}
	return store
}

// TestCopyKeepsWhatIsSaid: what is said about streams is the same in a copy through the protocol and in one into a directory: what
// is kept of them, which are deleted, and which for good; and what other programs wrote is there byte for byte.
func TestCopyKeepsWhatIsSaid(t *testing.T) {
	from := openStore(t, t.TempDir())
	if err := from.Import(t.Context(), placed(foreignEvents())); err != nil {
		t.Fatal(err)
	}
	gone := events.Envelope{ID: uuid.New(), Kind: "k", Version: 1, Time: 1, Data: []byte(`1`), Foreign: &events.Foreign{}}
	if _, err := from.Append(t.Context(), "gone", storage.ExpectNoStream, []events.Envelope{gone}); err != nil {
		t.Fatal(err)
	}
	if _, err := from.Delete(t.Context(), "gone", storage.ExpectAny); err != nil {
		t.Fatal(err)
	}
	server, err := startStoreServerHere(t.TempDir(), anyPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.kill() })
	there, err := (stores.Location{Address: server.address}).Open(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = there.Close() })
	for name, to := range map[string]stores.Journal{"protocol": there, "directory": openStore(t, t.TempDir())} {
		t.Run(name, func(t *testing.T) {
			for _, fresh := range []bool{true, false} { // again it changes nothing
				var report copied
				if err := newCopying(from, to, &meter{}).run(t.Context(), &report); err != nil {
					t.Fatal(err)
				}
				if (report.New > 0) != fresh || report.Events < 5 {
					t.Errorf("copied: %+v", report)
				}
			}
			page, err := to.Read(t.Context(), "gone", 0, storage.Forward, storage.Limit{})
			if err != nil || len(page.Events) > 0 || page.Last != events.NoRevision {
				t.Errorf("the deleted stream: %+v, %v", page, err)
			}
			if _, err := to.Read(t.Context(), "orders-2", 0, storage.Forward, storage.Limit{}); !errors.Is(err, storage.ErrDeleted) {
				t.Errorf("the stream that was deleted for good: %v", err)
			}
			page, err = to.Read(t.Context(), "$$orders-1", math.MaxInt64, storage.Backward, storage.Limit{})
			if err != nil || len(page.Events) != 1 || string(page.Events[0].Data) != `{"$maxCount":5}` {
				t.Errorf("the metadata: %+v, %v", page, err)
			}
		})
	}
}

// TestCopyNamesADifference: a target that is not what was copied is found, whatever is different.
func TestCopyNamesADifference(t *testing.T) {
	into := &appending{}
	of := func(all []events.Envelope) *contents {
		c := newContents()
		for i := range all {
			c.add(&all[i], into)
		}
		return c
	}
	all := placed(foreignEvents())
	for name, change := range map[string]func(all []events.Envelope) []events.Envelope{
		"nothing":        func(all []events.Envelope) []events.Envelope { return all },
		"id":             func(all []events.Envelope) []events.Envelope { all[1].ID = uuid.New(); return all },
		"data":           func(all []events.Envelope) []events.Envelope { all[1].Data = []byte(`{ "a" : 1 }`); return all },
		"kind":           func(all []events.Envelope) []events.Envelope { all[2].Kind = "picture"; return all },
		"order":          func(all []events.Envelope) []events.Envelope { all[0], all[1] = all[1], all[0]; return all },
		"foreign":        func(all []events.Envelope) []events.Envelope { all[1].Foreign = &events.Foreign{}; return all },
		"missing":        func(all []events.Envelope) []events.Envelope { return append(all[:1:1], all[2:]...) },
		"stream":         func(all []events.Envelope) []events.Envelope { all[3].Stream = "orders-3"; return all },
		"stream's rules": func(all []events.Envelope) []events.Envelope { all[4].Data = []byte(`{"$maxCount":6}`); return all },
		"not ended":      func(all []events.Envelope) []events.Envelope { return all[:5] },
	} {
		changed := change(append([]events.Envelope(nil), all...))
		err := of(all).compare(of(changed))
		if (err == nil) != (name == "nothing") || err != nil && !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
