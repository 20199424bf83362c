package actors_test

import (
	"testing"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// TestClockSetBack has the machine's clock set back by an hour, and by a century, between messages, and between two hosts: the times of a stream
// never go back, turns end as they do with a right clock, and history verifies.
func TestClockSetBack(t *testing.T) {
	memory := actorstest.NewMemory()
	config := actors.Config{Journal: memory, Snapshots: memory, Blobs: actorstest.NewBlobs(), Models: oneModel{actorstest.FakeModel(twoRounds)}, Tools: []actors.Tool{echo()}}
	host := start(t, config)
	made := create("demo", "echo")
	made.At += 100 * 365 * 24 * 60 * events.Minute // when the clock was wrong
	do(t, host, "demo", made)
	for i, back := range []events.Micros{0, 60 * events.Minute, events.Second} {
		if i == 2 {
			host = start(t, config)
		}
		send := say([]string{"c1", "c2", "c3"}[i], "go")
		send.At = storage.Now() - back
		feed := watch(t, host, "demo")
		began := time.Now()
		do(t, host, "demo", send)
		turns := 0
		until(t, feed, func(e events.Event) bool {
			if end, is := e.(events.TurnEnded); is {
				if turns++; end.Outcome != events.Done {
					t.Error(end)
				}
			}
			return turns == i+1 && e.Kind() == "settlement.recorded"
		})
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("turn %d took %s", i+1, took)
		}
	}
	page, err := host.History(t.Context(), "agent-demo", 0, storage.Forward, storage.Limit{Events: 4096})
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(page.Events); i++ {
		if page.Events[i].Time < page.Events[i-1].Time {
			t.Errorf("%s is before %s", page.Events[i].Ref(), page.Events[i-1].Ref())
		}
	}
	verified(t, host)
	do(t, host, "demo", sagas.Retire{Meta: meta("c4")})
}
