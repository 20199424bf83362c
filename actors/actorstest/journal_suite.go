// Package actorstest says what an adapter must do to serve as one of the ports of actors, as suites that any adapter can run.
//
// There is one suite for each port: [TestJournal], [TestSnapshots], [TestBlobs], [TestModel] and [TestTool]. An adapter's test
// calls the suite with a way to open it, and passes all of it or does not implement the port. What a port's comments promise is a row
// of its suite; a promise that no row checks is not one.
//
// The package also holds the simplest implementation of each port: [Memory], [Blobs], [FakeModel] and [FakeTool]. They stand
// in for the adapters where a test is about something else, and those that store are held to the same suites. No binary links them.
//
// To add a port: declare it in actors, write its suite here, one row for each promise, and run it on a fake and on the adapter.
package actorstest

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// TestJournal is the conformance suite of storage.Journal. Open returns an empty store, closed by its own clean-up.
func TestJournal(t *testing.T, open func(t *testing.T) storage.Journal) {
	TestJournalWithin(t, storage.MaxAppend, open)
}

// TestJournalWithin is the suite for a journal that may refuse batches of more than greatest bytes, as storage.BatchSize counts them,
// because what it stands for does.
//
// Given the names of rows, it runs these alone, unless LIFE_CONFORMANCE is full: for a journal that differs in them from one that passes
// the whole suite.
func TestJournalWithin(t *testing.T, greatest int, open func(t *testing.T) storage.Journal, names ...string) {
	suite(t, open, names, []row[storage.Journal]{
		{"every expectation in every state", journalExpectations},
		{"an empty batch only checks", journalEmptyBatch},
		{"what is appended comes back", journalFidelity},
		{"bytes belong to their owner", journalOwnership},
		{"batches are whole, revisions contiguous, positions increasing", journalNumbers},
		{"a retry at the same revision succeeds once", journalRetryExact},
		{"a retry without expectation succeeds once", journalRetryAny},
		{"malformed appends are refused", journalMalformed},
		{"a batch of the greatest size", func(t *testing.T, journal storage.Journal) { journalGreatest(t, journal, greatest) }},
		{"an ended context", journalEndedContext},
		{"appends that nobody waits for", journalBegin},
		{"appends that need others", journalNeeds},
		{"two writers never interleave a decision", journalTwoWriters},
		{"many writers on many streams", journalManyWriters},
		{"a stream forward from every revision", journalReadForward},
		{"a stream backward from every revision", journalReadBackward},
		{"a stream that is not there", journalReadMissing},
		{"streams with similar names", journalSimilarNames},
		{"everything from every place", journalReadAll},
		{"places that were not given are refused", journalPlaces},
		{"everything through a filter", journalReadFiltered},
		{"random histories, read at random", journalRandom},
		{"pages bounded by bytes", journalPageBytes},
		{"subscriptions catch up and go on live", journalSubscribeLive},
		{"subscriptions from every point", journalSubscribeFrom},
		{"subscriptions under concurrent writers", journalSubscribeRace},
		{"live subscriptions take all that is appended", journalFollow},
		{"a slow subscriber misses nothing", journalSubscribeSlow},
		{"what is appended is delivered though metadata hide it", journalSubscribeHidden},
		{"waiting for an event ends with its context", journalSubscribeContext},
		{"waiting for an event ends with Close", journalSubscribeClose},
	})
}

// row is one test of a suite of stores.
type row[S any] struct {
	name string
	test func(t *testing.T, store S)
}

// suite runs rows over a store each: those with these names, or all of them if there are none or LIFE_CONFORMANCE is full.
func suite[S any](t *testing.T, open func(t *testing.T) S, names []string, rows []row[S]) {
	t.Helper()
	chosen := 0
	for _, row := range rows {
		if len(names) == 0 || slices.Contains(names, row.name) || os.Getenv("LIFE_CONFORMANCE") == "full" {
			t.Run(row.name, func(t *testing.T) { row.test(t, open(t)) })
		}
		if slices.Contains(names, row.name) {
			chosen++
		}
	}
	if chosen != len(names) {
		t.Errorf("of the rows %q %d exist", names, chosen)
	}
}

// event makes an envelope as a writer fills it.
func event(kind events.Kind, data string) events.Envelope {
	return events.Envelope{
		ID: uuid.New(), Kind: kind, Version: 1, Time: 1_760_000_000_000_000, Actor: "suite", Command: "c-1",
		Digest: events.Digest{}.Next(kind, []byte(data)), Data: []byte(data),
	}
}

// batch makes n events whose data name what they are.
func batch(name string, n int) []events.Envelope {
	made := make([]events.Envelope, n)
	for i := range made {
		made[i] = event("suite.happened", fmt.Sprintf(`{"batch":%q,"index":%d}`, name, i))
	}
	return made
}

func mustAppend(t *testing.T, journal storage.Journal, stream events.Stream, expected storage.Expected, batch []events.Envelope) storage.Appended {
	t.Helper()
	appended, err := journal.Append(t.Context(), stream, expected, batch)
	if err != nil {
		t.Fatalf("append %d events to %s expecting %s: %v", len(batch), stream, expected, err)
	}
	return appended
}

// mustConflict fails unless the append is refused because the stream is at actual.
func mustConflict(t *testing.T, journal storage.Journal, stream events.Stream, expected storage.Expected, batch []events.Envelope, actual events.Revision) {
	t.Helper()
	_, err := journal.Append(t.Context(), stream, expected, batch)
	var conflict *storage.ConflictError
	if !errors.As(err, &conflict) {
		t.Fatalf("append to %s expecting %s: the error is %v, want a conflict", stream, expected, err)
	}
	if want := (storage.ConflictError{Stream: stream, Expected: expected, Actual: actual}); *conflict != want {
		t.Fatalf("append to %s: the conflict is %+v, want %+v", stream, *conflict, want)
	}
}

// wholeStream reads a stream to its end in small pages.
func wholeStream(t *testing.T, journal storage.Journal, stream events.Stream) []events.Envelope {
	t.Helper()
	var all []events.Envelope
	for {
		page, err := journal.Read(t.Context(), stream, events.Revision(len(all)), storage.Forward, storage.Limit{Events: 7})
		if err != nil {
			t.Fatalf("read %s from %d: %v", stream, len(all), err)
		}
		all = append(all, page.Events...)
		if page.End {
			return all
		}
	}
}

// everything reads the whole store to its end in small pages.
func everything(t *testing.T, journal storage.Journal, filter storage.Filter) []events.Envelope {
	t.Helper()
	var all []events.Envelope
	from := storage.Start()
	for {
		page, err := journal.ReadAll(t.Context(), from, storage.Forward, filter, storage.Limit{Events: 9})
		if err != nil {
			t.Fatalf("read everything from %s: %v", from, err)
		}
		all = append(all, page.Events...)
		if page.End {
			return all
		}
		if page.Next.Position <= from.Position {
			t.Fatalf("read everything from %s: the next page begins %s", from, page.Next)
		}
		from = page.Next
	}
}

// take receives the next n events; a subscription that stays silent for a minute fails the test.
func take(t *testing.T, subscription storage.Subscription, n int) []events.Envelope {
	t.Helper()
	ctx, cancel := contextWithin(t, time.Minute)
	defer cancel()
	taken := make([]events.Envelope, 0, n)
	for len(taken) < n {
		e, err := subscription.Next(ctx)
		if err != nil {
			t.Fatalf("event %d of %d of the subscription: %v", len(taken)+1, n, err)
		}
		taken = append(taken, e)
	}
	return taken
}

func subscribe(t *testing.T, journal storage.Journal, from storage.From) storage.Subscription {
	t.Helper()
	subscription, err := journal.Subscribe(t.Context(), from)
	if err != nil {
		t.Fatalf("subscribe from %+v: %v", from, err)
	}
	t.Cleanup(func() {
		if err := subscription.Close(); err != nil {
			t.Errorf("close the subscription: %v", err)
		}
	})
	return subscription
}

func sameEvents(t *testing.T, what string, got, want []events.Envelope) {
	t.Helper()
	if len(got) == 0 && len(want) == 0 {
		return
	}
	if !reflect.DeepEqual(got, want) { // cmp alone would take most of the suite's time
		t.Fatalf("%s (-want +got):\n%s", what, cmp.Diff(want, got))
	}
}
