package embedded_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

// exported makes n events as another store might have had them, the same for the same seed: of several streams, with gaps
// between positions, some of them foreign, one stream ended.
func exported(seed uint64, n int) []events.Envelope {
	r := rand.New(rand.NewPCG(seed, 3))
	all, next := make([]events.Envelope, n), map[events.Stream]events.Revision{}
	position := events.Position(0)
	for i := range all {
		stream := events.Stream(fmt.Sprint("from-", r.IntN(5)))
		if r.IntN(20) == 0 {
			stream = "$$" + stream
		}
		e := numbered(stream, i)
		e.Stream, e.Revision, e.Time = stream, next[stream], events.Micros(i*1000)
		if position++; r.IntN(4) == 0 {
			position += events.Position(r.IntN(1000))
		}
		e.Position = position
		switch {
		case stream[0] == '$':
			e.Kind, e.Foreign, e.Data = "$metadata", &events.Foreign{}, []byte(`{"$maxCount":1000}`)
		case r.IntN(5) == 0:
			e.Foreign = &events.Foreign{Metadata: []byte(`{"m":1}`)}
		case r.IntN(5) == 0:
			e.Foreign, e.Data = &events.Foreign{ContentType: "application/octet-stream", Base64: true}, []byte(`"AAEC/w=="`)
		}
		next[stream]++
		all[i] = e
	}
	end := &all[n-1]
	end.Stream, end.Kind, end.Revision = "ended", "$streamDeleted", 1<<63-1
	end.Foreign, end.Data = &events.Foreign{ContentType: "application/octet-stream", Base64: true}, []byte(`""`)
	return all
}

func importAll(t *testing.T, store *embedded.Store, all []events.Envelope, size int) {
	t.Helper()
	for batch := range slices.Chunk(slices.Clone(all), size) {
		if err := store.Import(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
}

// wholeStore reads everything forward, verifies that it is the same backward, and that a check and the counts agree.
func wholeStore(t *testing.T, store *embedded.Store) (all []events.Envelope) {
	t.Helper()
	var back []events.Envelope
	limit := storage.Limit{Events: 1 + rand.IntN(500)}
	filter := storage.Filter{System: true}
	for from := storage.Start(); ; {
		page, err := store.ReadAll(t.Context(), from, storage.Forward, filter, limit)
		if err != nil {
			t.Fatal(err)
		}
		all, from = append(all, page.Events...), page.Next
		if page.End {
			break
		}
	}
	for from := storage.End(); ; {
		page, err := store.ReadAll(t.Context(), from, storage.Backward, filter, limit)
		if err != nil {
			t.Fatal(err)
		}
		back, from = append(back, page.Events...), page.Next
		if page.End {
			break
		}
	}
	slices.Reverse(back)
	if !reflect.DeepEqual(all, back) {
		t.Fatalf("forward there are %d events, backward %d others", len(all), len(back))
	}
	report, err := store.Check(t.Context(), nil)
	stats, statsErr := store.Stats(t.Context())
	if err != nil || statsErr != nil || len(report.Damage) > 0 || report.Events != uint64(len(all)) || stats.Events != uint64(len(all)) {
		t.Fatalf("%d events; the check says %+v, %v; the counts are %+v, %v", len(all), report, err, stats, statsErr)
	}
	return all
}

func TestImportKeepsEverything(t *testing.T) {
	config := embedded.Config{Dir: t.TempDir(), Memory: 128 << 10}
	all := exported(1, 6000)
	store, err := embedded.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	importAll(t, store, all[:4000], 1500)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store = open(t, config)
	importAll(t, store, all[2000:], 5000) // what is there is passed over
	importAll(t, store, all, len(all))    // all of it is there
	if got := wholeStore(t, store); !reflect.DeepEqual(got, all) {
		t.Fatalf("%d events came back as %d others", len(all), len(got))
	}
	if got := revisions(t, store, "ended"); got != "ended" {
		t.Errorf("the stream that was ended reads as %s", got)
	}
	if m, err := store.Metadata(t.Context(), "from-1"); err != nil || m.MaxCount != 1000 {
		t.Errorf("the metadata are %+v, %v", m, err)
	}
	// Pages begin between any two events, and nowhere else.
	for range 300 {
		i := rand.IntN(len(all) - 1)
		gap := uint64(all[i+1].Position - all[i].Position)
		if between := all[i].Position + events.Position(rand.Uint64N(gap)); between != all[i].Position {
			if page, err := store.ReadAll(t.Context(), storage.After(between), storage.Forward, storage.Filter{}, storage.Limit{}); !errors.Is(err, storage.ErrPlace) {
				t.Fatalf("from between two events: %+v, %v", page, err)
			}
		}
		for _, from := range []storage.Place{storage.After(all[i].Position), storage.Before(all[i+1].Position)} {
			page, err := store.ReadAll(t.Context(), from, storage.Backward, storage.Filter{System: true}, storage.Limit{Events: 1})
			if err != nil || page.Events[0].Position != all[i].Position {
				t.Fatalf("backward from %s: %+v, %v; want position %d", from, page, err, all[i].Position)
			}
			page, err = store.ReadAll(t.Context(), from, storage.Forward, storage.Filter{System: true}, storage.Limit{Events: 1})
			if err != nil || page.Events[0].Position != all[i+1].Position {
				t.Fatalf("forward from %s: %+v, %v; want position %d", from, page, err, all[i+1].Position)
			}
		}
	}
	// And life goes on behind it.
	mustPlay(t, store, "new", "0em1 1e0")
	if got := wholeStore(t, store); got[len(got)-1].Position != all[len(all)-1].Position+2 {
		t.Errorf("the newest event is at %d", got[len(got)-1].Position)
	}
}

func TestImportRefusesWhatDoesNotFit(t *testing.T) {
	change := func(change func(batch []events.Envelope)) []events.Envelope {
		batch := exported(2, 60)[20:40]
		change(batch)
		return batch
	}
	rows := []struct {
		name  string
		batch []events.Envelope
		want  error
	}{
		{"another id", change(func(b []events.Envelope) { b[0].ID = uuid.New() }), embedded.ErrImport},
		{"another stream", change(func(b []events.Envelope) { b[0].Stream = "x" }), embedded.ErrImport},
		{"another position", change(func(b []events.Envelope) { b[0].Position--; b[0].ID = uuid.New() }), embedded.ErrImport},
		{"a revision left out", change(func(b []events.Envelope) { b[19].Revision++ }), embedded.ErrImport},
		{"a revision again", change(func(b []events.Envelope) { b[19].Revision-- }), embedded.ErrImport},
		{"positions that fall", change(func(b []events.Envelope) { b[19].Position = b[18].Position }), embedded.ErrImport},
		{"no position", change(func(b []events.Envelope) { b[0].Position = 0 }), embedded.ErrImport},
		{"a negative revision", change(func(b []events.Envelope) { b[0].Revision = -1 }), embedded.ErrImport},
		{"no id", change(func(b []events.Envelope) { b[3].ID = uuid.Nil }), storage.ErrInvalidAppend},
		{"no kind", change(func(b []events.Envelope) { b[3].Kind = "" }), storage.ErrInvalidAppend},
		{"no stream", change(func(b []events.Envelope) { b[3].Stream = "" }), storage.ErrInvalidAppend},
	}
	store := open(t, embedded.Config{Dir: t.TempDir()})
	all := exported(2, 60)
	importAll(t, store, all[:30], 7)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			err := store.Import(t.Context(), row.batch)
			if !errors.Is(err, row.want) {
				t.Errorf("the answer is %v, want %v", err, row.want)
			}
			t.Log(err)
			if got := wholeStore(t, store); !reflect.DeepEqual(got, all[:30]) {
				t.Fatalf("the store has %d events, had %d", len(got), 30)
			}
		})
	}
	importAll(t, store, all, 60)
	more := exported(2, 60)[59:]
	more[0].Position++
	if err := store.Import(t.Context(), more); !errors.Is(err, storage.ErrDeleted) {
		t.Errorf("an event after the end of its stream: %v", err)
	}
}

// Subscriptions see what is imported as what is appended.
func TestImportIsDelivered(t *testing.T) {
	store := open(t, embedded.Config{Dir: t.TempDir()})
	one := subscribe(t, store, storage.From{Stream: "from-1", Revision: events.NoRevision})
	every := subscribe(t, store, storage.From{Filter: storage.Filter{System: true}})
	all := exported(3, 500)
	importAll(t, store, all, 50)
	for _, want := range all {
		if e := mustNext(t, every); !reflect.DeepEqual(e, want) {
			t.Fatalf("got %+v, want %+v", e, want)
		}
		if want.Stream == "from-1" {
			if e := mustNext(t, one); !reflect.DeepEqual(e, want) {
				t.Fatalf("got %+v, want %+v", e, want)
			}
		}
	}
}

// Whatever order imports, appends and deletes come in, what was stored is what is read.
func TestImportsAmongAppends(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		store, err := embedded.Open(embedded.Config{Dir: "store", FS: vfs.NewMem(), Memory: 64 << 10, Reserve: -1})
		if err != nil {
			r.Fatal(err)
		}
		next, last, serial := map[events.Stream]events.Revision{}, events.Position(0), 0
		var ids []events.EventID
		for range rapid.IntRange(1, 12).Draw(r, "steps") {
			n := rapid.IntRange(1, 6).Draw(r, "events")
			batch := make([]events.Envelope, n)
			stream := events.Stream(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "stream"))
			imports := rapid.Bool().Draw(r, "imports")
			for i := range batch {
				serial++
				batch[i] = numbered("any", serial)
				ids = append(ids, batch[i].ID)
				last++
				if imports {
					last += events.Position(rapid.SampledFrom([]int{0, 0, 0, 1, 300}).Draw(r, "gap"))
				}
				batch[i].Stream, batch[i].Position, batch[i].Revision = stream, last, next[stream]
				next[stream]++
			}
			if imports {
				err = store.Import(t.Context(), batch)
			} else {
				_, err = store.Append(t.Context(), stream, storage.ExpectRevision(next[stream]-events.Revision(n)-1), batch)
			}
			if err != nil {
				r.Fatal(err)
			}
		}
		all := wholeStore(t, store)
		if len(all) != len(ids) || all[len(all)-1].Position != last {
			r.Fatalf("%d events up to %d, want %d up to %d", len(all), all[len(all)-1].Position, len(ids), last)
		}
		for i := range all {
			if all[i].ID != ids[i] {
				r.Fatalf("event %d is another", i)
			}
		}
		if err := store.Close(); err != nil {
			r.Fatal(err)
		}
	})
}
