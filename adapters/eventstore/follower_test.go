package eventstore

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// TestFollower holds, for any history, any checkpoints that servers of several versions send, and connections that end anywhere, that a
// subscription is given every event once and in order.
func TestFollower(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var places []uint64 // where records begin, and at the end where the next one will
		at := uint64(0)
		for _, gap := range rapid.SliceOfN(rapid.Uint64Range(1, 5), 1, 30).Draw(t, "gaps") {
			at += gap
			places = append(places, at)
		}
		chosen := rapid.SliceOfN(rapid.Bool(), len(places), len(places)).Draw(t, "chosen")
		chosen[len(places)-1] = false // it is not written yet
		from := logPosition{}
		if begin := rapid.IntRange(-1, len(places)-2).Draw(t, "begin"); begin >= 0 {
			from = logPosition{places[begin], places[begin]}
		}
		f := newFollower(storage.From{Position: events.Position(from.commit), Filter: storage.Filter{Kinds: []string{"k"}}}, &target{})
		q := &queue{news: make(chan struct{}, 1), room: make(chan struct{}, 1)}
		for session := 0; ; session++ {
			// EventStoreDB sends what is greater than the pair, by both numbers.
			resumed := f.resume
			left := rapid.IntRange(1, 10).Draw(t, fmt.Sprintf("messages of session %d", session))
			whole := session > 20
			for i, place := range places {
				here := logPosition{place, place}
				if here.compare(resumed) <= 0 {
					continue
				}
				if left--; left < 0 && !whole {
					break
				}
				if chosen[i] {
					e := events.Envelope{Stream: "s", Kind: "k", Revision: events.Revision(i), Position: events.Position(place)}
					f.take(t.Context(), &answer{content: contentEvent, hasEvent: true, event: e, at: here}, q)
				}
				if i == len(places)-1 {
					break
				}
				switch rapid.IntRange(0, 5).Draw(t, "checkpoint") {
				case 0: // 24.10.5: what was looked at last
					f.take(t.Context(), &answer{content: contentCheckpoint, at: here}, q)
				case 1: // 25.0.0: where the next page begins
					f.take(t.Context(), &answer{content: contentCheckpoint, at: logPosition{places[i+1], 0}}, q)
				case 2: // 24.10.4: where this page began
					f.take(t.Context(), &answer{content: contentCheckpoint, at: logPosition{place, 0}}, q)
				case 3: // 24.10.4: the end
					f.take(t.Context(), &answer{content: contentCheckpoint, at: logPosition{math.MaxUint64, math.MaxUint64}}, q)
				}
			}
			if whole {
				break
			}
		}
		var want, got []events.Position
		for i, place := range places {
			if chosen[i] && place > from.commit {
				want = append(want, events.Position(place))
			}
		}
		for _, e := range q.held {
			got = append(got, e.Position)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("given %v, want %v", got, want)
		}
	})
}
