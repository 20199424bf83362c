package embedded_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

// clock is set by hand, in microseconds.
type clock struct{ now events.Micros }

func (c *clock) Now() events.Micros { return c.now }

// What metadata say holds from the moment they are answered, for reads in both directions; for reads of everything it never does.
func TestMetadataBoundReads(t *testing.T) {
	now := &clock{now: 100 * events.Second}
	store := open(t, embedded.Config{Dir: t.TempDir()}.Timed(now.Now))
	for i := range 10 { // event i is i seconds old at second 90+i
		e := numbered("s", i)
		e.Time = events.Micros(90+i) * events.Second
		if _, err := store.Append(t.Context(), "s", storage.ExpectAny, []events.Envelope{e}); err != nil {
			t.Fatal(err)
		}
	}
	rows := []struct {
		metadata string
		now      events.Micros
		want     string
	}{
		{`{}`, 100, "0 1 2 3 4 5 6 7 8 9 of 9"},
		{`{"$maxCount":3}`, 100, "7 8 9 of 9"},
		{`{"$maxCount":30}`, 100, "0 1 2 3 4 5 6 7 8 9 of 9"},
		{`{"$tb":4}`, 100, "4 5 6 7 8 9 of 9"},
		{`{"$tb":4,"$maxCount":2}`, 100, "8 9 of 9"},
		{`{"$tb":10}`, 100, "of 9"},
		{`{"$tb":1000}`, 100, "of 9"},
		{`{"$maxAge":5}`, 100, "5 6 7 8 9 of 9"},
		{`{"$maxAge":5}`, 103, "8 9 of 9"},
		{`{"$maxAge":5}`, 200, "of 9"},
		{`{"$maxAge":5,"$maxCount":2}`, 100, "8 9 of 9"},
		{`{"$maxAge":5,"$tb":"x"}`, 100, "0 1 2 3 4 5 6 7 8 9 of 9"},
	}
	for i, row := range rows {
		describe(t, store, "s", row.metadata)
		now.now = row.now * events.Second
		if got := revisions(t, store, "s"); got != row.want {
			t.Errorf("%s at %d: got %s, want %s", row.metadata, row.now, got, row.want)
		}
		if got, want := revisions(t, store, "$$s"), fmt.Sprintf("%d of %d", i, i); got != want {
			t.Errorf("the metadata are %s, want %s", got, want)
		}
	}
	for _, filter := range []storage.Filter{{}, {System: true}} {
		page, err := store.ReadAll(t.Context(), storage.Start(), storage.Forward, filter, storage.Limit{})
		want := 10
		if filter.System {
			want += len(rows)
		}
		if err != nil || len(page.Events) != want {
			t.Errorf("everything through %+v has %d events, %v; want %d", filter, len(page.Events), err, want)
		}
	}
}

// Old events are found by halving, not by a look at all: times along a stream rise.
func TestOldEventsOfALongStream(t *testing.T) {
	now := &clock{now: 1}
	store := open(t, embedded.Config{Dir: t.TempDir()}.Timed(now.Now))
	var times []events.Micros
	for len(times) < 3000 {
		batch := make([]events.Envelope, 1+rand.IntN(5))
		for i := range batch {
			batch[i] = numbered("s", len(times))
			batch[i].Time = events.Micros(len(times)) * events.Second
			times = append(times, batch[i].Time)
		}
		if _, err := store.Append(t.Context(), "s", storage.ExpectAny, batch); err != nil {
			t.Fatal(err)
		}
	}
	describe(t, store, "s", `{"$maxAge":100}`)
	for range 200 {
		now.now = events.Micros(rand.IntN(3300)) * events.Second
		first := events.Revision(len(times))
		for i, time := range times {
			if time >= now.now-100*events.Second {
				first = events.Revision(i)
				break
			}
		}
		from := events.Revision(rand.IntN(len(times)))
		page, err := store.Read(t.Context(), "s", from, storage.Forward, storage.Limit{Events: 3})
		want := max(first, from)
		if err != nil || len(page.Events) == 0 != (want >= events.Revision(len(times))) || len(page.Events) > 0 && page.Events[0].Revision != want {
			t.Fatalf("at %d from %d: %d events, %v; want them from %d", now.now, from, len(page.Events), err, want)
		}
	}
}

func mustNext(t *testing.T, u storage.Subscription) events.Envelope {
	t.Helper()
	e, err := u.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func subscribe(t *testing.T, store *embedded.Store, from storage.From) storage.Subscription {
	t.Helper()
	u, err := store.Subscribe(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	})
	return u
}

func mustPlay(t *testing.T, store *embedded.Store, stream events.Stream, sequence string) {
	t.Helper()
	if _, err := play(t, store, stream, sequence); err != nil {
		t.Fatal(err)
	}
}

func TestSubscriptionsToTruncatedStreams(t *testing.T) {
	store := open(t, embedded.Config{Dir: t.TempDir()})
	mustPlay(t, store, "s", "0any 1any 2any 3any")
	describe(t, store, "s", `{"$maxCount":2}`)
	u := subscribe(t, store, storage.From{Stream: "s", Revision: events.NoRevision})
	meta := subscribe(t, store, storage.From{Stream: "$$s", Revision: events.NoRevision})
	for want := events.Revision(2); want < 4; want++ {
		if e := mustNext(t, u); e.Revision != want {
			t.Fatalf("got %s, want revision %d", e.Ref(), want)
		}
	}
	if e := mustNext(t, meta); e.Revision != 0 {
		t.Fatalf("got %s", e.Ref())
	}
	// What is delivered live is what was appended, hidden or not.
	mustPlay(t, store, "s", "4any 5any 6any 7any")
	if e := mustNext(t, u); e.Revision < 4 {
		t.Fatalf("got %s", e.Ref())
	}
	if _, err := store.Delete(t.Context(), "s", storage.ExpectAny); err != nil {
		t.Fatal(err)
	}
	mustPlay(t, store, "s", "8em1")
	e := mustNext(t, u)
	for e.Revision < 8 {
		e = mustNext(t, u)
	}
	if e.Revision != 8 {
		t.Fatalf("got %s", e.Ref())
	}
	if e := mustNext(t, meta); e.Revision < 1 || e.Kind != "$metadata" {
		t.Fatalf("got %s", e.Ref())
	}
}

func TestSubscriptionsToStreamsThatEnd(t *testing.T) {
	store := open(t, embedded.Config{Dir: t.TempDir()})
	mustPlay(t, store, "s", "0any 1any")
	describe(t, store, "s", `{}`)
	live := subscribe(t, store, storage.From{Stream: "s", Revision: events.NoRevision})
	behind := subscribe(t, store, storage.From{Stream: "s", Revision: events.NoRevision})
	meta := subscribe(t, store, storage.From{Stream: "$$s", Revision: 0})
	for range 2 {
		mustNext(t, live)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := meta.Next(context.WithoutCancel(t.Context()))
		ended <- err
	}()
	if _, err := store.Tombstone(t.Context(), "s", storage.ExpectAny); err != nil {
		t.Fatal(err)
	}
	for name, u := range map[string]storage.Subscription{"live": live, "behind": behind} {
		if e := mustNext(t, u); e.Kind != "$streamDeleted" || e.Revision != 1<<63-1 || string(e.Data) != `""` {
			t.Errorf("%s: got %s of kind %s", name, e.Ref(), e.Kind)
		}
		for range 2 {
			if e, err := u.Next(t.Context()); !errors.Is(err, storage.ErrDeleted) {
				t.Errorf("%s: got %s, %v", name, e.Ref(), err)
			}
		}
	}
	if err := <-ended; !errors.Is(err, storage.ErrDeleted) {
		t.Errorf("the metadata of the ended stream: %v", err)
	}
	for _, stream := range []events.Stream{"s", "$$s"} {
		late := subscribe(t, store, storage.From{Stream: stream, Revision: events.NoRevision})
		if e, err := late.Next(t.Context()); !errors.Is(err, storage.ErrDeleted) {
			t.Errorf("a late subscription to %s got %s, %v", stream, e.Ref(), err)
		}
	}
}

func mustFollow(t *testing.T, store *embedded.Store, from storage.From) embedded.Follower {
	t.Helper()
	u, err := store.Follow(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.Close() })
	return u
}

// drained polls until nothing more is stored, and returns the revisions.
func drained(t *testing.T, u embedded.Follower) (revisions []events.Revision) {
	t.Helper()
	for {
		e, found, err := u.Poll(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !found {
			return revisions
		}
		revisions = append(revisions, e.Revision)
	}
}

// A subscription that has caught up is given every event that is appended, also what metadata hide at once (recorded rule 8 of
// EventStoreDB 24.10). What it reads, because it catches up or has fallen behind, is what may be read.
func TestHiddenEventsAreDeliveredLive(t *testing.T) {
	for name, metadata := range map[string]string{"$maxCount": `{"$maxCount":1}`, "$tb": `{"$tb":100}`, "$maxAge": `{"$maxAge":1,"$maxCount":1}`} {
		t.Run(name, func(t *testing.T) {
			store := open(t, embedded.Config{Dir: t.TempDir()})
			mustPlay(t, store, "s", "0any 1any 2any")
			describe(t, store, "s", metadata)
			u := mustFollow(t, store, storage.From{Stream: "s", Revision: events.NoRevision})
			before := drained(t, u)
			if name == "$maxCount" && !slices.Equal(before, []events.Revision{2}) || name == "$tb" && len(before) > 0 {
				t.Fatalf("caught up with %v", before)
			}
			mustPlay(t, store, "s", "S3any 4any 5anyE 6any")
			if got := drained(t, u); !slices.Equal(got, []events.Revision{3, 4, 5, 6}) {
				t.Fatalf("live came %v", got)
			}
			// Deleted and begun anew: nothing is left out in between either.
			if _, err := store.Delete(t.Context(), "s", storage.ExpectAny); err != nil {
				t.Fatal(err)
			}
			again := mustFollow(t, store, storage.From{Stream: "s", Revision: events.NoRevision})
			if got := drained(t, again); len(got) > 0 {
				t.Fatalf("of a deleted stream came %v", got)
			}
			describe(t, store, "s", metadata)
			mustPlay(t, store, "s", "S7any 8anyE")
			for _, u := range []embedded.Follower{u, again} {
				if got := drained(t, u); !slices.Equal(got, []events.Revision{7, 8}) {
					t.Fatalf("after the deletion came %v", got)
				}
			}
			if name != "$maxCount" {
				return
			}
			for i := range 300 {
				mustPlay(t, store, "s", fmt.Sprintf("%dany", 9+i))
			}
			if got := drained(t, u); !slices.Equal(got, []events.Revision{308}) {
				t.Fatalf("from behind came %v", got)
			}
		})
	}
}

// What was appended before the end comes before it, also when both are news at once.
func TestTheEndComesLast(t *testing.T) {
	store := open(t, embedded.Config{Dir: t.TempDir()})
	mustPlay(t, store, "s", "0any")
	u := mustFollow(t, store, storage.From{Stream: "s", Revision: events.NoRevision})
	drained(t, u)
	mustPlay(t, store, "s", "1any 2any")
	if _, err := store.Tombstone(t.Context(), "s", storage.ExpectAny); err != nil {
		t.Fatal(err)
	}
	for _, want := range []events.Revision{1, 2, 1<<63 - 1} {
		if e := mustNext(t, u); e.Revision != want {
			t.Fatalf("got %s, want revision %d", e.Ref(), want)
		}
	}
	if e, err := u.Next(t.Context()); !errors.Is(err, storage.ErrDeleted) {
		t.Fatalf("got %s, %v", e.Ref(), err)
	}
}

// A subscription to everything leaves the store's own streams out, and moves past them.
func TestEverythingWithoutTheStoresOwn(t *testing.T) {
	store := open(t, embedded.Config{Dir: t.TempDir()})
	for i := range 3 {
		mustPlay(t, store, "s", fmt.Sprintf("%dany", i))
		describe(t, store, "s", `{}`)
		if _, err := store.Append(t.Context(), "$users", storage.ExpectAny, []events.Envelope{{ID: uuid.New(), Kind: "$User", Data: json.RawMessage(`{}`)}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, filter := range []storage.Filter{{}, {Streams: []string{"s", "$"}}, {Kinds: []string{"$", "test."}}} {
		u := subscribe(t, store, storage.From{Filter: filter})
		own := filter
		own.System = true
		all := subscribe(t, store, storage.From{Filter: own})
		for i := range 9 {
			if e := mustNext(t, all); e.Position != events.Position(i+1) {
				t.Fatalf("%+v: got %s at position %d, want %d", own, e.Ref(), e.Position, i+1)
			}
			if i%3 == 0 {
				if e := mustNext(t, u); e.Position != events.Position(i+1) {
					t.Fatalf("%+v: got %s at position %d, want %d", filter, e.Ref(), e.Position, i+1)
				}
			}
		}
		page, err := store.ReadAll(t.Context(), storage.End(), storage.Backward, filter, storage.Limit{})
		if err != nil || len(page.Events) != 3 || !page.End {
			t.Errorf("%+v backward: %d events, end %t, %v", filter, len(page.Events), page.End, err)
		}
	}
}
