package actorstest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

func journalSubscribeLive(t *testing.T, journal storage.Journal) {
	mustAppend(t, journal, "sub-a", storage.ExpectNoStream, batch("before", 3))
	one := subscribe(t, journal, storage.From{Stream: "sub-a", Revision: events.NoRevision})
	all := subscribe(t, journal, storage.From{})
	later := subscribe(t, journal, storage.From{Stream: "sub-later", Revision: events.NoRevision})
	sameEvents(t, "the stream so far", take(t, one, 3), wholeStream(t, journal, "sub-a"))
	take(t, all, 3)
	for i := range 10 {
		// Each waits before the events are there.
		got := make([][]events.Envelope, 3)
		var wait sync.WaitGroup
		for k, subscription := range []storage.Subscription{one, all, later} {
			wait.Go(func() { got[k] = take(t, subscription, []int{2, 3, 1}[k]) })
		}
		mustAppend(t, journal, "sub-a", storage.ExpectAny, batch(fmt.Sprint(i), 2))
		mustAppend(t, journal, "sub-later", storage.ExpectAny, batch(fmt.Sprint(i), 1))
		wait.Wait()
		sameEvents(t, "the stream, live", got[0], wholeStream(t, journal, "sub-a")[3+2*i:])
		sameEvents(t, "everything, live", got[1], everything(t, journal, storage.Filter{})[3+3*i:])
		sameEvents(t, "a stream made later, live", got[2], wholeStream(t, journal, "sub-later")[i:])
	}
}

func journalSubscribeFrom(t *testing.T, journal storage.Journal) {
	all := seeded(t, journal)
	stream := chosen(all, func(e events.Envelope) bool { return e.Stream == "seed-a" })
	for i := range stream {
		got := take(t, subscribe(t, journal, storage.From{Stream: "seed-a", Revision: events.Revision(i) - 1}), len(stream)-i)
		sameEvents(t, fmt.Sprintf("seed-a after %d", i-1), got, stream[i:])
	}
	filter := storage.Filter{Kinds: []string{"even."}}
	for _, e := range all {
		after := chosen(all, func(other events.Envelope) bool { return other.Position > e.Position })
		got := take(t, subscribe(t, journal, storage.From{Position: e.Position}), len(after))
		sameEvents(t, fmt.Sprintf("everything after %d", e.Position), got, after)
		after = chosen(after, func(other events.Envelope) bool { return filter.Chooses(other.Stream, other.Kind) })
		got = take(t, subscribe(t, journal, storage.From{Position: e.Position, Filter: filter}), len(after))
		sameEvents(t, fmt.Sprintf("the chosen after %d", e.Position), got, after)
	}
	// Beyond the end it waits for what comes.
	beyond := subscribe(t, journal, storage.From{Stream: "seed-a", Revision: events.Revision(len(stream))})
	mustAppend(t, journal, "seed-a", storage.ExpectAny, batch("more", 3))
	sameEvents(t, "from beyond the end", take(t, beyond, 2), wholeStream(t, journal, "seed-a")[len(stream)+1:])
}

func journalSubscribeRace(t *testing.T, journal storage.Journal) {
	const writers, rounds = 4, 60
	streams := []events.Stream{"race-a", "race-b", "race-c"}
	total := 0
	for i := range writers * rounds {
		total += i%3 + 1
	}
	type feed struct {
		name string
		from storage.From
		got  []events.Envelope
	}
	feeds := []*feed{{name: "everything"}}
	for _, stream := range streams {
		feeds = append(feeds,
			&feed{name: string(stream), from: storage.From{Stream: stream, Revision: events.NoRevision}},
			&feed{name: "only " + string(stream), from: storage.From{Filter: storage.Filter{Streams: []string{string(stream)}}}})
	}
	var readers, writing sync.WaitGroup
	half := make(chan struct{}, len(feeds)+1)
	// One set of feeds begins before the writers, one in their midst.
	for set := range 2 {
		if set == 1 {
			feeds = append(feeds, &feed{name: "everything, late"}, &feed{name: "race-b, late", from: storage.From{Stream: "race-b", Revision: events.NoRevision}})
		}
		for i, f := range feeds {
			if set == 1 && i < len(feeds)-2 {
				continue
			}
			readers.Go(func() {
				if set == 1 {
					<-half
				}
				f.got = takeUntilLast(t, subscribe(t, journal, f.from))
			})
		}
	}
	for w := range writers {
		writing.Go(func() {
			for round := range rounds {
				i := w*rounds + round
				if _, err := journal.Append(t.Context(), streams[i%len(streams)], storage.ExpectAny, batch(fmt.Sprint(i), i%3+1)); err != nil {
					t.Errorf("append %d: %v", i, err)
				}
				if i == rounds/2 {
					half <- struct{}{}
					half <- struct{}{}
				}
			}
		})
	}
	writing.Wait()
	for _, stream := range streams {
		mustAppend(t, journal, stream, storage.ExpectAny, []events.Envelope{event("suite.ended", `{}`)})
	}
	readers.Wait()
	all := everything(t, journal, storage.Filter{})
	if len(all) != total+len(streams) {
		t.Fatalf("the store has %d events, want %d", len(all), total+len(streams))
	}
	checkOrder(t, all)
	for _, f := range feeds {
		want := chosen(all, func(e events.Envelope) bool {
			return (f.from.Stream == "" || e.Stream == f.from.Stream) && f.from.Filter.Chooses(e.Stream, e.Kind)
		})
		// A feed of everything stops at the first stream's last event.
		sameEvents(t, f.name, f.got, want[:min(len(f.got), len(want))])
		if f.from.Stream != "" && len(f.got) != len(want) || len(f.got) < len(want)-len(streams) {
			t.Errorf("%s gave %d events, want %d", f.name, len(f.got), len(want))
		}
	}
}

// takeUntilLast receives until an event of kind suite.ended.
func takeUntilLast(t *testing.T, subscription storage.Subscription) []events.Envelope {
	ctx, cancel := contextWithin(t, time.Minute)
	defer cancel()
	var taken []events.Envelope
	for {
		e, err := subscription.Next(ctx)
		if err != nil {
			t.Errorf("event %d of the subscription: %v", len(taken), err)
			return taken
		}
		if taken = append(taken, e); e.Kind == "suite.ended" {
			return taken
		}
	}
}

func journalSubscribeSlow(t *testing.T, journal storage.Journal) {
	subscription := subscribe(t, journal, storage.From{})
	mustAppend(t, journal, "slow-a", storage.ExpectAny, batch("first", 1))
	got := take(t, subscription, 1)
	for i := range 40 {
		mustAppend(t, journal, "slow-a", storage.ExpectAny, batch(fmt.Sprint(i), 50))
	}
	got = append(got, take(t, subscription, 40*50)...)
	sameEvents(t, "a slow subscriber's feed", got, wholeStream(t, journal, "slow-a"))
}

// journalFollow has live subscriptions take what several writers append: everything, one stream, and what a filter chooses. One of
// them looks only when all is stored.
func journalFollow(t *testing.T, journal storage.Journal) {
	const writers, rounds = 4, 400
	size := func(writer, round int) int { return 1 + (writer+round)%5 }
	name := func(writer, round int) string { return fmt.Sprintf("%d-%d", writer, round) }
	ends := map[string]bool{} // data of the events that end an append
	for w := range writers {
		for r := range rounds {
			all := batch(name(w, r), size(w, r))
			ends[string(all[len(all)-1].Data)] = true
		}
	}
	ends["{}"] = true
	odd := storage.Filter{Kinds: []string{"odd."}}
	froms := []storage.From{{}, {}, {Stream: "follow-1", Revision: events.NoRevision}, {Filter: odd}}
	feeds, got := make([]storage.Live, len(froms)), make([][]events.Envelope, len(froms))
	for i, from := range froms {
		subscription, err := journal.Subscribe(t.Context(), from)
		if err != nil {
			t.Fatal(err)
		}
		feeds[i] = storage.Follow(subscription)
		defer func() {
			if err := feeds[i].Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}()
	}
	var readers, writing sync.WaitGroup
	follow := func(i int) {
		readers.Go(func() { got[i] = follows(t, feeds[i], ends) })
	}
	follow(0)
	follow(2)
	follow(3)
	for w := range writers {
		writing.Go(func() {
			for r := range rounds {
				all := batch(name(w, r), size(w, r))
				for i := range all {
					if (r+i)%3 == 0 {
						all[i].Kind = "odd.happened"
					}
				}
				if _, err := journal.Append(t.Context(), events.Stream(fmt.Sprint("follow-", w)), storage.ExpectAny, all); err != nil {
					t.Errorf("append: %v", err)
				}
			}
		})
	}
	writing.Wait()
	for _, last := range []events.Envelope{event("suite.ended", `{}`), event("odd.ended", `{}`)} {
		mustAppend(t, journal, "follow-1", storage.ExpectAny, []events.Envelope{last})
	}
	follow(1)
	readers.Wait()
	all := everything(t, journal, storage.Filter{})
	for i, from := range froms {
		want := chosen(all, func(e events.Envelope) bool {
			return (from.Stream == "" || e.Stream == from.Stream) && from.Filter.Chooses(e.Stream, e.Kind)
		})
		sameEvents(t, fmt.Sprintf("feed %d", i), got[i], want)
	}
}

// follows takes until the event odd.ended, and holds what is said to end a decision to end an append.
func follows(t *testing.T, live storage.Live, ends map[string]bool) (taken []events.Envelope) {
	ctx, cancel := contextWithin(t, time.Minute)
	defer cancel()
	for {
		batches, whole, err := live.Take(ctx)
		if err != nil {
			t.Errorf("take after %d events: %v", len(taken), err)
			return taken
		}
		if len(batches) == 0 {
			select {
			case <-live.More():
			case <-ctx.Done():
			}
			continue
		}
		for _, batch := range batches {
			taken = append(taken, batch...)
		}
		last := taken[len(taken)-1]
		if whole && !ends[string(last.Data)] {
			t.Errorf("said to end a decision: %s, %s", last.Ref(), last.Data)
		}
		if last.Kind == "odd.ended" {
			return taken
		}
	}
}

// A store may keep metadata of a stream in "$$" and its name, which let only the newest events be read; what a subscription is there to see
// appended, it delivers.
func journalSubscribeHidden(t *testing.T, journal storage.Journal) {
	mustAppend(t, journal, "hidden-a", storage.ExpectNoStream, batch("before", 2))
	mustAppend(t, journal, "$$hidden-a", storage.ExpectAny, []events.Envelope{event("$metadata", `{"$maxCount":1}`)})
	subscription := subscribe(t, journal, storage.From{Stream: "hidden-a", Revision: 1})
	for i, n := range []int{1, 3, 2} { // one at first, so that it has caught up
		mustAppend(t, journal, "hidden-a", storage.ExpectAny, batch(fmt.Sprint(i), n))
		for _, e := range take(t, subscription, n) {
			if want := fmt.Sprintf(`"batch":"%d"`, i); !strings.Contains(string(e.Data), want) {
				t.Fatalf("batch %d: delivered is %s, %s", i, e.Ref(), e.Data)
			}
		}
	}
}

func journalSubscribeContext(t *testing.T, journal storage.Journal) {
	subscription := subscribe(t, journal, storage.From{Stream: "ctx-a", Revision: events.NoRevision})
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan error, 1)
	go func() {
		_, err := subscription.Next(ctx)
		answer <- err
	}()
	cancel()
	if err := <-answer; !errors.Is(err, context.Canceled) {
		t.Fatalf("the error is %v, want %v", err, context.Canceled)
	}
	// The subscription goes on where it was.
	mustAppend(t, journal, "ctx-a", storage.ExpectNoStream, batch("x", 2))
	sameEvents(t, "after a cancelled wait", take(t, subscription, 2), wholeStream(t, journal, "ctx-a"))
}

func journalSubscribeClose(t *testing.T, journal storage.Journal) {
	for _, from := range []storage.From{{}, {Stream: "close-a", Revision: events.NoRevision}} {
		subscription := subscribe(t, journal, from)
		answer := make(chan error, 1)
		go func() {
			_, err := subscription.Next(context.WithoutCancel(t.Context()))
			answer <- err
		}()
		if err := subscription.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
		if err := <-answer; !errors.Is(err, storage.ErrClosed) {
			t.Fatalf("the error is %v, want %v", err, storage.ErrClosed)
		}
		if err := subscription.Close(); err != nil {
			t.Fatalf("close again: %v", err)
		}
		if _, err := subscription.Next(t.Context()); !errors.Is(err, storage.ErrClosed) {
			t.Fatalf("after Close the error is %v, want %v", err, storage.ErrClosed)
		}
	}
}
