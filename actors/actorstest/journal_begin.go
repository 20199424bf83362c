package actorstest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// begunAnswer is what an append that nobody waits for is answered.
type begunAnswer struct {
	appended storage.Appended
	err      error
}

// starter begins appends to a journal that takes them in line; for others the test is skipped.
func starter(t *testing.T, journal storage.Journal) func(context.Context, storage.Begun) <-chan begunAnswer {
	t.Helper()
	beginner, can := journal.(storage.Beginner)
	if !can {
		t.Skip("appends to this journal are waited for")
	}
	return func(ctx context.Context, b storage.Begun) <-chan begunAnswer {
		answers := make(chan begunAnswer, 2)
		beginner.Begin(ctx, b, func(appended storage.Appended, err error) { answers <- begunAnswer{appended, err} })
		return answers
	}
}

// journalBegin holds a journal to one answer for each append, the one that Append would give.
func journalBegin(t *testing.T, journal storage.Journal) {
	const streams, rounds = 8, 20
	begin := starter(t, journal)
	for round := range rounds {
		var waiting [streams]<-chan begunAnswer
		for i := range waiting {
			stream, expected := events.Stream(fmt.Sprint("begin-", i)), storage.ExpectRevision(events.Revision(2*round-1))
			waiting[i] = begin(t.Context(), storage.Begun{Stream: stream, Expected: expected, Batch: batch("begun", 2)})
		}
		for i, answers := range waiting {
			want := events.Revision(2*round + 1)
			if got := <-answers; got.err != nil || got.appended.First != want-1 || got.appended.Last != want {
				t.Fatalf("append %d to begin-%d: %+v; want it to end at revision %d", round, i, got, want)
			}
			if len(answers) > 0 {
				t.Fatalf("append %d to begin-%d has a second answer", round, i)
			}
		}
	}
	var conflict *storage.ConflictError
	got := <-begin(t.Context(), storage.Begun{Stream: "begin-0", Expected: 3, Batch: batch("late", 1)})
	if !errors.As(got.err, &conflict) || conflict.Actual != 2*rounds-1 {
		t.Errorf("begun at a revision that has passed: %+v", got)
	}
	if got := <-begin(t.Context(), storage.Begun{Expected: storage.ExpectAny, Batch: batch("nowhere", 1)}); !errors.Is(got.err, storage.ErrInvalidAppend) {
		t.Errorf("begun on no stream: %+v", got)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	ticket := new(storage.Ticket)
	got = <-begin(ended, storage.Begun{Stream: "begin-ended", Expected: storage.ExpectNoStream, Batch: batch("ended", 1), Ticket: ticket})
	if !errors.Is(got.err, context.Canceled) {
		t.Errorf("begun when the time was over: %+v", got)
	}
	got = <-begin(t.Context(), storage.Begun{Stream: "begin-0", Expected: storage.ExpectAny, Batch: batch("x", 1), Needs: []*storage.Ticket{ticket}})
	if !errors.Is(got.err, storage.ErrNeeded) {
		t.Errorf("begun on the strength of an append that was not: %+v", got)
	}
}

// journalNeeds begins appends on the strength of others, of the same stream and of other ones, some of which are refused.
func journalNeeds(t *testing.T, journal storage.Journal) {
	begin := starter(t, journal)
	const chains, long = 60, 4
	choose := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // choices of a test
	type link struct {
		stream  events.Stream
		batch   []events.Envelope
		answers <-chan begunAnswer
		refused bool
	}
	var all [chains][long]link
	next := map[events.Stream]events.Revision{}
	for c := range all {
		broken, ticket := choose.IntN(2*long), (*storage.Ticket)(nil) // from there on nothing is stored; half of the chains are whole
		for i := range all[c] {
			l := &all[c][i]
			l.stream, l.refused = events.Stream(fmt.Sprint("needs-", choose.IntN(5))), i >= broken
			l.batch = batch(fmt.Sprintf("%d.%d", c, i), 1+choose.IntN(3))
			b := storage.Begun{Stream: l.stream, Expected: storage.ExpectNoStream, Batch: l.batch, Ticket: new(storage.Ticket)}
			if at := next[l.stream]; at > 0 {
				b.Expected = storage.ExpectRevision(at - 1)
			}
			if i == broken {
				b.Expected = 1 << 40
			}
			if ticket != nil {
				b.Needs = []*storage.Ticket{ticket}
			}
			if !l.refused {
				next[l.stream] += events.Revision(len(l.batch))
			}
			ticket, l.answers = b.Ticket, begin(t.Context(), b)
		}
	}
	at := map[events.EventID]events.Position{}
	for _, e := range everything(t, journal, storage.Filter{}) { // while they are on their way: there is nothing without what it needs
		at[e.ID] = e.Position
	}
	look := func(when string) {
		for c := range all {
			for i := 1; i < long; i++ {
				before, this := at[all[c][i-1].batch[0].ID], at[all[c][i].batch[0].ID]
				if this != 0 && (before == 0 || before > this) {
					t.Errorf("%s: chain %d has append %d at position %d, and the one that it needs at %d", when, c, i, this, before)
				}
			}
		}
	}
	look("under way")
	for c := range all {
		failed := false
		for i, l := range all[c] {
			var conflict *storage.ConflictError
			switch got := <-l.answers; {
			case !l.refused && got.err != nil, l.refused && !failed && !errors.As(got.err, &conflict), failed && !errors.Is(got.err, storage.ErrNeeded):
				t.Errorf("chain %d, append %d, to be refused %t: %v", c, i, l.refused, got.err)
			}
			failed = l.refused
		}
	}
	for _, e := range everything(t, journal, storage.Filter{}) {
		at[e.ID] = e.Position
	}
	look("at the end")
	for stream, want := range next {
		if n := len(wholeStream(t, journal, stream)); events.Revision(n) != want {
			t.Errorf("%s holds %d events, want %d", stream, n, want)
		}
	}
}
