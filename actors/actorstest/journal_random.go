package actorstest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// journalRandom plays a random history, and reads what is in it from random places in random pages: what comes is what was appended, from
// no place more and from no place less. A seed that fails is in the log.
func journalRandom(t *testing.T, journal storage.Journal) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := randomHistory{t: t, journal: journal, random: rand.New(rand.NewPCG(seed, 0)), last: map[events.Stream]events.Revision{}} //nolint:gosec // no secret
	for range 12 {
		for range 1 + r.random.IntN(8) {
			r.append()
		}
		all := everything(t, journal, storage.Filter{})
		if len(all) != len(r.ids) {
			t.Fatalf("the store has %d events, want %d", len(all), len(r.ids))
		}
		for i := range all {
			if all[i].ID != r.ids[i] {
				t.Fatalf("event %d of the store is not the one appended %d.", i, i)
			}
		}
		for range 12 {
			r.read(all)
		}
		r.guess(all)
	}
}

type randomHistory struct {
	t       *testing.T
	journal storage.Journal
	random  *rand.Rand
	last    map[events.Stream]events.Revision // of streams that exist
	ids     []events.EventID                  // in order
}

func (r *randomHistory) append() {
	stream := events.Stream(fmt.Sprint("random-", r.random.IntN(4)))
	expected := storage.ExpectNoStream
	if last, there := r.last[stream]; there {
		expected = storage.ExpectRevision(last)
	}
	if r.random.IntN(3) == 0 {
		expected = storage.ExpectAny
	}
	made := batch("random", r.random.IntN(6))
	for i := range made {
		made[i].Kind = events.Kind([]string{"odd.happened", "even.happened", "even.stopped"}[r.random.IntN(3)])
		r.ids = append(r.ids, made[i].ID)
	}
	if appended := mustAppend(r.t, r.journal, stream, expected, made); len(made) > 0 {
		r.last[stream] = appended.Last
	}
}

// read compares one way of reading everything with the same choice of all events.
func (r *randomHistory) read(all []events.Envelope) {
	filter := []storage.Filter{{}, {Kinds: []string{"even."}}, {Streams: []string{"random-1", "random-2"}}, {Streams: []string{"random-0"}, Kinds: []string{"odd"}}}[r.random.IntN(4)]
	places := placesAt(all, r.random.IntN(len(all)+2)-1)
	from := places[r.random.IntN(len(places))]
	keep := func(e events.Envelope) bool { return filter.Chooses(e.Stream, e.Kind) }
	want, direction := chosen(all[from.behind:], keep), storage.Forward
	if r.random.IntN(2) == 0 {
		want, direction = chosen(all[:from.behind], keep), storage.Backward
		slices.Reverse(want)
	}
	walkAll(r.t, r.journal, from.place, direction, filter, 1+r.random.IntN(9), want)
	if direction == storage.Forward && !from.place.Before && from.place != storage.End() {
		feed := subscribe(r.t, r.journal, storage.From{Position: from.place.Position, Filter: filter})
		sameEvents(r.t, "a subscription "+from.place.String(), take(r.t, feed, len(want)), want)
	}
}

// guess reads from positions that nothing has.
func (r *randomHistory) guess(all []events.Envelope) {
	if len(all) == 0 {
		return
	}
	system := everything(r.t, r.journal, storage.Filter{System: true})
	end := system[len(system)-1].Position
	for range 12 {
		position := events.Position(1 + r.random.Uint64N(uint64(2*end)))
		if slices.ContainsFunc(system, func(e events.Envelope) bool { return e.Position == position }) {
			continue
		}
		for _, place := range []storage.Place{storage.Before(position), storage.After(position)} {
			direction := storage.Direction(r.random.IntN(2))
			if page, err := r.journal.ReadAll(r.t.Context(), place, direction, storage.Filter{}, storage.Limit{}); !errors.Is(err, storage.ErrPlace) {
				r.t.Fatalf("read from %s, direction %d: %d events, %v; want %v", place, direction, len(page.Events), err, storage.ErrPlace)
			}
		}
	}
}
