package actorstest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// seeded stores 23 events in batches of 1 to 5 over two streams, and returns everything.
func seeded(t *testing.T, journal storage.Journal) []events.Envelope {
	t.Helper()
	for i := range 8 {
		stream := events.Stream([]string{"seed-a", "seed-b"}[i%2])
		made := batch(fmt.Sprint(i), i%5+1)
		for k := range made {
			made[k].Kind = events.Kind([]string{"odd.happened", "even.happened", "even.stopped"}[(i+k)%3])
		}
		mustAppend(t, journal, stream, storage.ExpectAny, made)
	}
	return everything(t, journal, storage.Filter{})
}

func chosen(all []events.Envelope, keep func(e events.Envelope) bool) []events.Envelope {
	return slices.DeleteFunc(slices.Clone(all), func(e events.Envelope) bool { return !keep(e) })
}

func journalReadForward(t *testing.T, journal storage.Journal) {
	all := chosen(seeded(t, journal), func(e events.Envelope) bool { return e.Stream == "seed-b" })
	last := events.Revision(len(all) - 1)
	for from := events.Revision(-1); from <= last+2; from++ {
		for _, count := range []int{1, 2, 3, 5, 100, 0} {
			page, err := journal.Read(t.Context(), "seed-b", from, storage.Forward, storage.Limit{Events: count})
			if err != nil {
				t.Fatalf("read from %d: %v", from, err)
			}
			want := all[min(max(0, int(from)), len(all)):]
			if count > 0 {
				want = want[:min(count, len(want))]
			}
			sameEvents(t, fmt.Sprintf("%d events from %d", count, from), page.Events, want)
			end := len(want) == 0 || want[len(want)-1].Revision == last
			if page.End != end || page.Last != last {
				t.Fatalf("%d events from %d: end %t at %d, want %t at %d", count, from, page.End, page.Last, end, last)
			}
		}
	}
}

func journalReadBackward(t *testing.T, journal storage.Journal) {
	all := chosen(seeded(t, journal), func(e events.Envelope) bool { return e.Stream == "seed-a" })
	last := events.Revision(len(all) - 1)
	for _, from := range []events.Revision{-1, 0, 1, 2, 3, 4, 5, 6, last - 1, last, last + 1, math.MaxInt64} {
		for _, count := range []int{1, 2, 3, 5, 100, 0} {
			page, err := journal.Read(t.Context(), "seed-a", from, storage.Backward, storage.Limit{Events: count})
			if err != nil {
				t.Fatalf("read backward from %d: %v", from, err)
			}
			want := slices.Clone(all[:min(from, last)+1])
			slices.Reverse(want)
			if count > 0 {
				want = want[:min(count, len(want))]
			}
			sameEvents(t, fmt.Sprintf("%d events backward from %d", count, from), page.Events, want)
			end := len(want) == 0 || want[len(want)-1].Revision == 0
			if page.End != end || page.Last != last {
				t.Fatalf("%d events backward from %d: end %t at %d, want %t at %d", count, from, page.End, page.Last, end, last)
			}
		}
	}
}

func journalReadMissing(t *testing.T, journal storage.Journal) {
	check := func() {
		t.Helper()
		for _, direction := range []storage.Direction{storage.Forward, storage.Backward} {
			page, err := journal.Read(t.Context(), "missing", 0, direction, storage.Limit{})
			if err != nil || len(page.Events) != 0 || page.Last != events.NoRevision || !page.End {
				t.Errorf("read a missing stream: %+v, %v; want an empty page at the end", page, err)
			}
		}
	}
	check()
	for _, direction := range []storage.Direction{storage.Forward, storage.Backward} {
		for _, place := range []storage.Place{storage.Start(), storage.End()} {
			page, err := journal.ReadAll(t.Context(), place, direction, storage.Filter{}, storage.Limit{})
			if err != nil || len(page.Events) != 0 || !page.End {
				t.Errorf("read an empty store from %s: %+v, %v; want an empty page at the end", place, page, err)
			}
		}
	}
	seeded(t, journal)
	check()
}

func journalSimilarNames(t *testing.T, journal storage.Journal) {
	names := []events.Stream{"s", "s-", "s-1", "s-10", "s-1\x01", "s-1\U0010ffff", "s-1/\U0010ffff\U0010ffff", "s-2"}
	for round := range 3 {
		for _, name := range names {
			mustAppend(t, journal, name, storage.ExpectRevision(events.Revision(round-1)), batch(fmt.Sprintf("%q", name), 1))
		}
	}
	for _, name := range names {
		all := wholeStream(t, journal, name)
		if len(all) != 3 {
			t.Errorf("%q has %d events, want 3", name, len(all))
		}
		for _, e := range all {
			if e.Stream != name {
				t.Errorf("%q holds an event of %q", name, e.Stream)
			}
		}
		page, err := journal.Read(t.Context(), name, math.MaxInt64, storage.Backward, storage.Limit{})
		if err != nil || len(page.Events) != 3 || page.Last != 2 {
			t.Errorf("%q backward: %d events, last %d, %v; want 3 and 2", name, len(page.Events), page.Last, err)
		}
	}
}

func journalReadAll(t *testing.T, journal storage.Journal) {
	all := seeded(t, journal)
	for i := -1; i <= len(all); i++ {
		for _, from := range placesAt(all, i) {
			behind, before := slices.Clone(all[max(from.behind, 0):]), slices.Clone(all[:max(from.behind, 0)])
			slices.Reverse(before)
			counts := []int{2, 4, 100}
			if i == -1 || i == len(all) {
				counts = append(counts, 1) // which stops at every place
			}
			for _, count := range counts {
				walkAll(t, journal, from.place, storage.Forward, storage.Filter{}, count, behind)
				walkAll(t, journal, from.place, storage.Backward, storage.Filter{}, count, before)
			}
		}
	}
}

// given is a place that the store gave, and how many events are before it.
type given struct {
	place  storage.Place
	behind int
}

// placesAt are the places that the event at an index gives; those before the first and after the last have no event.
func placesAt(all []events.Envelope, index int) []given {
	switch index {
	case -1:
		return []given{{storage.Start(), 0}}
	case len(all):
		return []given{{storage.End(), len(all)}}
	}
	return []given{{storage.Before(all[index].Position), index}, {storage.After(all[index].Position), index + 1}}
}

// journalPlaces shows that the journal refuses every place that it did not give, and takes those of answers to appends.
func journalPlaces(t *testing.T, journal storage.Journal) {
	seeded(t, journal)
	all := everything(t, journal, storage.Filter{System: true})
	there := map[events.Position]bool{}
	for _, e := range all {
		there[e.Position] = true
	}
	end := all[len(all)-1].Position
	refused := []events.Position{end + 1, end + 2, 2 * end, 1 << 62, math.MaxInt64, 1 << 63, math.MaxUint64 - 1}
	sparse := end/100 + 1 // where there are more numbers between events than there is time for
	for position := events.Position(1); position < end; position++ {
		beside := there[position-1] || there[position+1]
		if !there[position] && (beside || position%sparse == 0) {
			refused = append(refused, position)
		}
	}
	for _, position := range refused {
		for _, place := range []storage.Place{storage.After(position), storage.Before(position)} {
			for _, direction := range []storage.Direction{storage.Forward, storage.Backward} {
				page, err := journal.ReadAll(t.Context(), place, direction, storage.Filter{}, storage.Limit{})
				if !errors.Is(err, storage.ErrPlace) {
					t.Fatalf("read from %s, direction %d: %d events, %v; want %v", place, direction, len(page.Events), err, storage.ErrPlace)
				}
			}
		}
	}
	for _, position := range refused[:4] {
		refuses(t, journal, storage.From{Position: position})
		refuses(t, journal, storage.From{Position: position, Filter: storage.Filter{Kinds: []string{"even."}}})
	}
	appended := mustAppend(t, journal, "seed-c", storage.ExpectNoStream, batch("later", 3))
	walkAll(t, journal, storage.After(appended.Position), storage.Forward, storage.Filter{}, 5, nil)
	more := mustAppend(t, journal, "seed-c", storage.ExpectAny, batch("last", 2))
	walkAll(t, journal, storage.After(appended.Position), storage.Forward, storage.Filter{}, 5, wholeStream(t, journal, "seed-c")[3:])
	walkAll(t, journal, storage.After(more.Position), storage.Forward, storage.Filter{}, 5, nil)
}

// refuses fails unless a subscription from there is refused when it begins, or instead of its first event.
func refuses(t *testing.T, journal storage.Journal, from storage.From) {
	t.Helper()
	subscription, err := journal.Subscribe(t.Context(), from)
	if err == nil {
		ctx, cancel := contextWithin(t, time.Minute)
		defer cancel()
		_, err = subscription.Next(ctx)
		defer subscription.Close()
	}
	if !errors.Is(err, storage.ErrPlace) {
		t.Fatalf("subscribe after position %d: %v; want %v", from.Position, err, storage.ErrPlace)
	}
}

// walkAll reads page after page to the end, and fails unless that gives these events.
func walkAll(t *testing.T, journal storage.Journal, from storage.Place, direction storage.Direction, filter storage.Filter, count int, want []events.Envelope) {
	t.Helper()
	var got []events.Envelope
	what := fmt.Sprintf("everything from %s, direction %d, %d at a time", from, direction, count)
	for range len(want) + 100 {
		page, err := journal.ReadAll(t.Context(), from, direction, filter, storage.Limit{Events: count})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if len(page.Events) > count {
			t.Fatalf("%s: a page of %d events", what, len(page.Events))
		}
		got = append(got, page.Events...)
		from = page.Next
		if page.End {
			sameEvents(t, what, got, want)
			return
		}
	}
	t.Fatalf("%s: no end after %d events", what, len(got))
}

func journalReadFiltered(t *testing.T, journal storage.Journal) {
	all := seeded(t, journal)
	end := all[len(all)-1].Position
	filters := []storage.Filter{
		{Streams: []string{"seed-a"}},
		{Streams: []string{"seed-"}},
		{Kinds: []string{"even."}},
		{Kinds: []string{"even.stopped", "odd"}},
		{Streams: []string{"seed-a"}, Kinds: []string{"even.stopped"}},
		{Streams: []string{"nothing-"}},
	}
	for _, filter := range filters {
		keep := func(e events.Envelope) bool {
			begins := func(s string, prefixes []string) bool {
				return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
			}
			return begins(string(e.Stream), filter.Streams) || begins(string(e.Kind), filter.Kinds)
		}
		want := chosen(all, keep)
		walkAll(t, journal, storage.Start(), storage.Forward, filter, 3, want)
		// Where a page ends there is nothing more; what is appended next is found from there, without looking at the rest again.
		page, err := journal.ReadAll(t.Context(), storage.Before(end), storage.Forward, filter, storage.Limit{})
		if err != nil || !page.End || page.Next != storage.After(end) {
			t.Fatalf("filter %+v at the end: %+v, %v; want the end, and to go on after %d", filter, page, err, end)
		}
		for i := range all {
			rest := chosen(all[i+1:], keep)
			walkAll(t, journal, storage.After(all[i].Position), storage.Forward, filter, 3, rest)
		}
		slices.Reverse(want)
		walkAll(t, journal, storage.End(), storage.Backward, filter, 3, want)
	}
}

func journalPageBytes(t *testing.T, journal storage.Journal) {
	const stream = events.Stream("wide-a")
	made := batch("wide", 6)
	for i := range made {
		made[i].Data = []byte(`{"pad":"` + strings.Repeat("x", 1000) + `"}`)
	}
	mustAppend(t, journal, stream, storage.ExpectNoStream, made[:3])
	mustAppend(t, journal, stream, 2, made[3:])
	for _, row := range []struct{ bytes, events int }{{1, 1}, {1500, 1}, {2100, 2}, {4500, 4}, {0, 6}} {
		limit := storage.Limit{Bytes: row.bytes}
		for _, direction := range []storage.Direction{storage.Forward, storage.Backward} {
			from := events.Revision(0)
			if direction == storage.Backward {
				from = 5
			}
			page, err := journal.Read(t.Context(), stream, from, direction, limit)
			if err != nil || len(page.Events) != row.events || page.End != (row.events == 6) {
				t.Errorf("a page of %d bytes, direction %d: %d events, end %t, %v; want %d", row.bytes, direction, len(page.Events), page.End, err, row.events)
			}
		}
		page, err := journal.ReadAll(t.Context(), storage.Start(), storage.Forward, storage.Filter{}, limit)
		if err != nil || len(page.Events) != row.events || page.End != (row.events == 6) {
			t.Errorf("a page of everything of %d bytes: %d events, end %t, %v; want %d", row.bytes, len(page.Events), page.End, err, row.events)
		}
	}
}
