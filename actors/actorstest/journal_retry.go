package actorstest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

func journalRetryExact(t *testing.T, journal storage.Journal) {
	const stream = events.Stream("retry-exact")
	first, second := batch("first", 2), batch("second", 3)
	a := mustAppend(t, journal, stream, storage.ExpectNoStream, first)
	b := mustAppend(t, journal, stream, 1, second)
	both := slices.Concat(first, second)

	same := func(what string, expected storage.Expected, batch []events.Envelope, want storage.Appended) {
		t.Helper()
		if got := mustAppend(t, journal, stream, expected, batch); got != want {
			t.Errorf("%s: the answer is %+v, want %+v", what, got, want)
		}
	}
	same("the first batch again", storage.ExpectNoStream, first, a)
	same("the second batch again", 1, second, b)
	same("part of a batch", 1, second[:1], storage.Appended{First: 2, Last: 2, Position: wholeStream(t, journal, stream)[2].Position})
	same("both at once", storage.ExpectNoStream, both, storage.Appended{First: 0, Last: 4, Position: b.Position})
	same("part of each", 0, both[1:4], storage.Appended{First: 1, Last: 3, Position: wholeStream(t, journal, stream)[3].Position})

	longer := slices.Concat(second, batch("more", 1))
	other := slices.Clone(second)
	other[2].ID = uuid.New()
	swapped := []events.Envelope{second[1], second[0], second[2]}
	mustConflict(t, journal, stream, 1, longer, 4)
	mustConflict(t, journal, stream, 1, other, 4)
	mustConflict(t, journal, stream, 1, swapped, 4)
	mustConflict(t, journal, stream, storage.ExpectNoStream, second, 4)
	mustConflict(t, journal, stream, 0, second, 4)
	mustConflict(t, journal, stream, 3, second, 4)
	mustConflict(t, journal, stream, 5, second, 4)
	mustConflict(t, journal, stream, 6, batch("x", 1), 4)
	if n := len(wholeStream(t, journal, stream)); n != 5 {
		t.Fatalf("the stream has %d events, want 5", n)
	}

	// At the stream's end nothing is compared: the same ids are new events.
	if got := mustAppend(t, journal, stream, 4, second); got.First != 5 || got.Last != 7 {
		t.Errorf("the second batch at the end: %+v, want 5 to 7", got)
	}
}

func journalRetryAny(t *testing.T, journal storage.Journal) {
	for _, expected := range []storage.Expected{storage.ExpectAny, storage.ExpectExists} {
		stream := events.Stream(fmt.Sprintf("retry-any%d", expected))
		first, second := batch("first", 2), batch("second", 3)
		a := mustAppend(t, journal, stream, storage.ExpectNoStream, first)
		b := mustAppend(t, journal, stream, storage.ExpectAny, second)
		for range 2 {
			if got := mustAppend(t, journal, stream, expected, first); got != a {
				t.Errorf("the first batch again expecting %s: %+v, want %+v", expected, got, a)
			}
			if got := mustAppend(t, journal, stream, expected, second); got != b {
				t.Errorf("the second batch again expecting %s: %+v, want %+v", expected, got, b)
			}
		}
		mustConflict(t, journal, stream, expected, slices.Concat(second, batch("more", 1)), 4)
		if n := len(wholeStream(t, journal, stream)); n != 5 {
			t.Fatalf("the stream has %d events, want 5", n)
		}
		// An unknown first id is appended whatever follows it, and ids of another stream are unknown.
		if got := mustAppend(t, journal, stream, expected, slices.Concat(batch("new", 1), first)); got.First != 5 || got.Last != 7 {
			t.Errorf("a new event and old ones: %+v, want 5 to 7", got)
		}
		if got := mustAppend(t, journal, stream+"-other", storage.ExpectAny, first); got.First != 0 || got.Last != 1 {
			t.Errorf("the first batch in another stream: %+v, want 0 to 1", got)
		}
	}
}

func journalTwoWriters(t *testing.T, journal storage.Journal) {
	const stream, rounds, size = events.Stream("agent-raced"), 100, 3
	names := []string{"left", "right"}
	last := events.NoRevision
	wins := make([]int, len(names))
	for round := range rounds {
		errs := make([]error, len(names))
		var wait sync.WaitGroup
		for i, name := range names {
			wait.Go(func() {
				_, errs[i] = journal.Append(t.Context(), stream, storage.ExpectRevision(last), batch(fmt.Sprint(name, round), size))
			})
		}
		wait.Wait()
		winner := slices.Index(errs, nil)
		if winner < 0 {
			t.Fatalf("round %d: nobody won: %v", round, errs)
		}
		var conflict *storage.ConflictError
		if loser := errs[1-winner]; !errors.As(loser, &conflict) || conflict.Actual != last+size {
			t.Fatalf("round %d: the loser was told %v, want a conflict at revision %d", round, loser, last+size)
		}
		wins[winner]++
		last += size
	}
	t.Logf("%s won %d, %s won %d", names[0], wins[0], names[1], wins[1])
	all := wholeStream(t, journal, stream)
	if len(all) != rounds*size {
		t.Fatalf("the stream has %d events, want %d", len(all), rounds*size)
	}
	checkWhole(t, all, size)
}

// checkWhole fails unless the events are whole batches of this size, one after the other.
func checkWhole(t *testing.T, all []events.Envelope, size int) {
	t.Helper()
	for i, e := range all {
		first := string(all[i-i%size].Data)
		want := first[:len(first)-len("0}")] + fmt.Sprint(i%size) + "}"
		if string(e.Data) != want {
			t.Fatalf("event %d is %s, want %s: a batch was torn apart", i, e.Data, want)
		}
	}
}

func journalManyWriters(t *testing.T, journal storage.Journal) {
	const writers, streams, rounds, size = 8, 3, 25, 4
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			for round := range rounds {
				stream := events.Stream(fmt.Sprintf("many-%d", (w+round)%streams))
				if _, err := journal.Append(t.Context(), stream, storage.ExpectAny, batch(fmt.Sprintf("%d-%d", w, round), size)); err != nil {
					t.Errorf("writer %d, round %d: %v", w, round, err)
					return
				}
			}
		})
	}
	wait.Wait()
	all := everything(t, journal, storage.Filter{})
	if len(all) != writers*rounds*size {
		t.Fatalf("the store has %d events, want %d", len(all), writers*rounds*size)
	}
	checkOrder(t, all)
	checkWhole(t, all, size) // in the order of the whole store, too, a batch is in one piece
}
