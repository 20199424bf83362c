package actors_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
)

// TestClockSetBack has the machine's clock set back by a second, an hour and a century after an agent was created: the times of a stream never go back, turns end as
// they do with a right clock, and history verifies.
func TestClockSetBack(t *testing.T) {
	for _, back := range []events.Micros{events.Second, 60 * events.Minute, 100 * 365 * 24 * 60 * events.Minute} {
		memory := actorstest.NewMemory()
		config := actors.Config{Journal: memory, Snapshots: memory, Blobs: actorstest.NewBlobs(), Models: oneModel{actorstest.FakeModel(twoRounds)}, Tools: []actors.Tool{echo()}}
		memory.Fail(func(_ events.Stream, batch []events.Envelope) error {
			for i := range batch {
				batch[i].Time += back
			}
			return nil
		})
		do(t, start(t, config), "demo", create("demo", "echo"))
		memory.Fail(nil)
		host := start(t, config)
		for turn, id := range []string{"c1", "c2"} {
			began := time.Now()
			do(t, host, "demo", say(id, "go"))
			turns := 0
			until(t, watch(t, host, "demo"), func(e events.Event) bool {
				if end, is := e.(events.TurnEnded); is {
					if turns++; end.Outcome != events.Done {
						t.Error(end)
					}
				}
				return turns == turn+1 && e.Kind() == "settlement.recorded"
			})
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("turn %d took %s", turn+1, took)
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
	}
}

// TestCommandWaits has a message wait for an hour before it is decided: its turn has all its time from when it began.
func TestCommandWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := actorstest.NewMemory()
		host := start(t, actors.Config{Journal: memory, Models: oneModel{actorstest.FakeModel(twoRounds)}, Tools: []actors.Tool{echo()}})
		made := create("demo", "echo")
		made.Config.Limits.Time = events.Minute
		do(t, host, "demo", made)
		waits := say("c1", "go")
		<-time.After(time.Hour)
		do(t, host, "demo", waits)
		until(t, watch(t, host, "demo"), func(e events.Event) bool {
			end, is := e.(events.TurnEnded)
			if is && end.Outcome != events.Done {
				t.Error(end)
			}
			return is
		})
		page, err := host.History(t.Context(), "agent-demo", 0, storage.Forward, storage.Limit{Events: 4096})
		if err != nil {
			t.Fatal(err)
		}
		for i := range page.Events {
			if e := &page.Events[i]; e.Kind == "turn.started" && e.Time < waits.At+60*events.Minute {
				t.Errorf("the turn began at %d, an hour before it was decided", e.Time)
			}
		}
	})
}

// TestHostAwayLong stops a host while a model is asked, or a tool runs, and starts the next one ten hours later, or when the clock says so: the turn goes on, for
// its work took no such time, and its time limit holds from there. A message that comes when it is over has the machine's time.
func TestHostAwayLong(t *testing.T) {
	for _, during := range []string{"model", "tool"} {
		t.Run(during, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { awayDuring(t, during) }) })
	}
}

func awayDuring(t *testing.T, during string) {
	var cut, hang atomic.Bool
	cut.Store(true)
	asked := make(chan struct{})
	memory := actorstest.NewMemory()
	cutOff := func(ctx context.Context, here string) bool {
		if here != during || !cut.CompareAndSwap(true, false) {
			return false
		}
		close(asked)
		<-ctx.Done()
		return true
	}
	model := actorstest.FakeModel(func(ctx context.Context, q actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
		if hang.Load() {
			<-ctx.Done()
		}
		if cutOff(ctx, "model") {
			return actors.ModelResponse{}, ctx.Err()
		}
		<-time.After(time.Second) // time enough for a limit that was met long ago
		return twoRounds(ctx, q, delta)
	})
	tool := actorstest.FakeTool{Describes: echo().Spec(), Does: func(ctx context.Context, use actors.ToolUse) (actors.ToolResult, error) {
		if cutOff(ctx, "tool") {
			return actors.ToolResult{}, ctx.Err()
		}
		return echo().Run(ctx, use)
	}}
	config := actors.Config{Journal: memory, Snapshots: memory, Blobs: actorstest.NewBlobs(), Models: oneModel{model}, Tools: []actors.Tool{tool}, OpeningCredit: events.Dollar, Masker: actorstest.Unmasked{}}
	first, err := actors.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	made := create("demo", "echo")
	made.Config.Limits.Time = 10 * events.Second
	do(t, first, "demo", made)
	do(t, first, "demo", say("c1", "go"))
	<-asked
	memory.Fail(func(events.Stream, []events.Envelope) error { return storage.ErrClosed })
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-time.After(10 * time.Hour)
	memory.Fail(nil)

	second := start(t, config)
	ended := func(turn events.TurnID) (end events.TurnEnded) {
		until(t, watch(t, second, "demo"), func(e events.Event) bool {
			if last, is := e.(events.TurnEnded); is {
				end = last
			}
			return end.Turn == turn
		})
		return end
	}
	do(t, second, "demo", say("c1", "go"))
	if end := ended("demo/1"); end.Outcome != events.Done {
		t.Error(end)
	}
	hang.Store(true)
	began := storage.Now()
	do(t, second, "demo", say("c2", "again"))
	if end := ended("demo/2"); end.Reason != events.ReasonTime {
		t.Error(end)
	}
	page, err := second.History(t.Context(), "agent-demo", 0, storage.Forward, storage.Limit{Events: 4096})
	if err != nil {
		t.Fatal(err)
	}
	for i := range page.Events {
		if e := &page.Events[i]; e.Kind == "message.received" && e.Command == "c2" && e.Time != began {
			t.Errorf("the second message is at %d, want %d", e.Time, began)
		}
	}
	verified(t, second)
}
