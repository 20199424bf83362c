package actors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// counting returns a tool that must not run twice, and how often it ran.
func counting() (actors.Tool, *atomic.Int64) {
	var runs atomic.Int64
	return actorstest.FakeTool{
		Describes: actors.ToolSpec{Name: "echo", Description: "counts", Schema: json.RawMessage(`{"type":"object"}`), Risk: events.RiskHigh},
		Does: func(context.Context, actors.ToolUse) (actors.ToolResult, error) {
			runs.Add(1)
			return actors.ToolResult{Text: "counted"}, nil
		},
	}, &runs
}

// waitedFor is a journal that takes no appends in line, as EventStoreDB's does not.
type waitedFor struct{ storage.Journal }

// death is what a store still does when it dies at an append.
type death int

const (
	unstored  death = iota // that append is not stored, and none after it
	untold                 // it is stored, and perhaps others that were begun, but nobody learns of it
	inBetween              // it is stored, nobody learns of it, and nothing after it is stored though it may have been begun
)

func (d death) String() string {
	return [...]string{"not stored", "stored", "stored, none after it"}[d]
}

// TestCrash lets the store die at every append, in every way, and starts another host on what is left. Whatever was accepted ends exactly
// once, and what cannot be repeated is not.
func TestCrash(t *testing.T) {
	for _, inLine := range []bool{true, false} {
		for _, how := range []death{unstored, untold, inBetween} {
			for n := 1; n <= 12; n++ {
				t.Run(fmt.Sprintf("append %d, %s, in line %t", n, how, inLine), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { crashAt(t, n, how, inLine) })
				})
			}
		}
	}
}

func crashAt(t *testing.T, n int, how death, inLine bool) {
	memory := actorstest.NewMemory()
	var journal storage.Journal = memory
	if !inLine {
		journal = waitedFor{memory}
	}
	tool, runs := counting()
	config := actors.Config{
		Journal: journal, Snapshots: memory, Blobs: actorstest.NewBlobs(), Masker: actorstest.Unmasked{}, OpeningCredit: events.Dollar,
		Models: oneModel{actorstest.FakeModel(twoRounds)}, Tools: []actors.Tool{tool},
	}
	made := create("demo", "echo")
	made.Config.Policy.OnLost = events.LostTell
	sendErr := dieWorking(t, memory, config, made, n, how)
	second := start(t, config)
	do(t, second, "demo", say("c1", "go")) // the sender tries again: accepted once
	seen := until(t, watch(t, second, "demo"), func(e events.Event) bool { return e.Kind() == "settlement.recorded" })
	checkCrash(t, second, seen, sendErr, runs.Load())
}

// dieWorking has a host make an agent and send it a message, and die at an append from then on.
func dieWorking(t *testing.T, memory *actorstest.Memory, config actors.Config, made sagas.Create, n int, how death) (sendErr error) {
	t.Helper()
	dieDoing(t, memory, config, n, how, func(host *actors.Host) { do(t, host, "demo", made) }, func(host *actors.Host) {
		_, sendErr = host.Do(t.Context(), events.AgentStream("demo"), say("c1", "go"), actors.Origin{})
	})
	return sendErr
}

// dieDoing has a host do something before, and something else in which it dies at an append.
func dieDoing(t *testing.T, memory *actorstest.Memory, config actors.Config, n int, how death, before, doing func(*actors.Host)) {
	t.Helper()
	first, err := actors.New(t.Context(), config.Within(actors.Limits{Append: 20 * time.Millisecond}))
	if err != nil {
		t.Fatal(err)
	}
	before(first)
	dead := dieAt(memory, n, how)
	doing(first)
	select {
	case <-dead:
	case <-time.After(200 * time.Millisecond): // fewer appends than n: it ran to its end
	}
	memory.Fail(nil)
	memory.FailAfter(func(events.Stream, []events.Envelope) error { return storage.ErrClosed })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := first.Close(ctx); err != nil {
		t.Fatal(err)
	}
	memory.FailAfter(nil)
}

func checkCrash(t *testing.T, host *actors.Host, seen []events.Event, sendErr error, runs int64) {
	t.Helper()
	received, endings, lost := 0, 0, false
	for _, event := range seen {
		switch e := event.(type) {
		case events.MessageReceived:
			received++
		case events.TurnEnded:
			endings++
			if e.Outcome != events.Done {
				t.Errorf("turn ended %s: %s", e.Outcome, e)
			}
		case events.ToolLost:
			lost = true
		}
	}
	if received != 1 || endings != 1 {
		t.Errorf("%d messages and %d endings (send said %v):\n%v", received, endings, sendErr, seen)
	}
	if runs > 1 || runs == 0 && !lost {
		t.Errorf("the tool ran %d times, lost %t:\n%v", runs, lost, seen)
	}
	report, err := host.Verify(t.Context(), "", nil)
	if err != nil || len(report.Failures) > 0 {
		t.Errorf("verify: %v %+v", err, report.Failures)
	}
	wallet, err := host.Wallet(t.Context(), sagas.DefaultWallet)
	if err != nil || wallet.Held != 0 || wallet.Balance != events.Dollar {
		t.Errorf("wallet: %v %+v", err, wallet)
	}
}

// TestTwoHostsOneStream has two hosts drive one agent on one store. Every decision is whole and stands on the one before it; the
// host whose append is refused gives up its activation and reads what happened.
func TestTwoHostsOneStream(t *testing.T) {
	memory := actorstest.NewMemory()
	tool, runs := counting()
	config := actors.Config{
		Journal: memory, Models: oneModel{actorstest.FakeModel(twoRounds)}, Tools: []actors.Tool{tool},
	}
	one, two := start(t, config), start(t, config)
	made := create("demo", "echo")
	made.Config.Policy.OnLost = events.LostTell
	do(t, one, "demo", made)
	const messages = 20
	for i := range messages {
		host := one
		if i%2 == 1 {
			host = two
		}
		send := say(fmt.Sprintf("c%d", i), "go")
		send.Verb = events.Followup
		for {
			_, err := host.Do(t.Context(), events.AgentStream("demo"), send, actors.Origin{})
			var fenced *actors.FencedError
			var away *actors.UnavailableError
			if err == nil {
				break
			} else if !errors.As(err, &fenced) && !errors.As(err, &away) {
				t.Fatal(err)
			}
		}
	}
	endings := 0
	until(t, watch(t, one, "demo"), func(e events.Event) bool {
		if ended(e) {
			endings++
		}
		return endings == messages
	})
	if report, err := one.Verify(t.Context(), "", nil); err != nil || len(report.Failures) > 0 {
		t.Errorf("verify: %v %+v", err, report.Failures)
	}
	if n := runs.Load(); n > messages {
		t.Errorf("%d runs of a tool that %d turns called once each", n, messages)
	}
}

// TestLooking folds the history at every revision, and wakes nothing.
func TestLooking(t *testing.T) {
	memory := actorstest.NewMemory()
	var asked atomic.Int64
	model := actorstest.FakeModel(func(ctx context.Context, q actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
		asked.Add(1)
		return twoRounds(ctx, q, delta)
	})
	tool, runs := counting()
	host := start(t, actors.Config{Journal: memory, Snapshots: memory, Models: oneModel{model}, Tools: []actors.Tool{tool}})
	do(t, host, "demo", create("demo", "echo"))
	feed := watch(t, host, "demo")
	do(t, host, "demo", say("c1", "go"))
	seen := until(t, feed, func(e events.Event) bool { return e.Kind() == "settlement.recorded" })
	before, ran := asked.Load(), runs.Load()
	page, err := host.History(t.Context(), events.AgentStream("demo"), 0, storage.Forward, storage.Limit{})
	if err != nil {
		t.Fatal(err)
	}
	saga := sagas.NewAgent()
	for n := range seen {
		fact, err := sagas.FactOf(&page.Events[n])
		if err != nil {
			t.Fatal(err)
		}
		saga = saga.Apply(fact)
		state, err := host.State(t.Context(), "demo", events.Revision(n))
		if err != nil {
			t.Fatal(err)
		}
		want, _ := json.Marshal(saga)
		got, _ := json.Marshal(state.Agent)
		if string(want) != string(got) {
			t.Fatalf("state at %d\n got %s\nwant %s", n, got, want)
		}
	}
	if asked.Load() != before || runs.Load() != ran {
		t.Error("looking asked a model or ran a tool")
	}
	var refused *sagas.RefusalError
	if _, err := host.State(t.Context(), "demo", 999); !errors.As(err, &refused) {
		t.Errorf("state after the end: %v", err)
	}
	if _, err := host.State(t.Context(), "nobody", events.NoRevision); !errors.As(err, &refused) {
		t.Errorf("state of nobody: %v", err)
	}
}

// dieAt has the n-th append from now, and all after it, fail.
func dieAt(memory *actorstest.Memory, n int, how death) (dead chan struct{}) {
	dead = make(chan struct{})
	count := func(at func() error) func(events.Stream, []events.Envelope) error {
		var appends atomic.Int64
		return func(events.Stream, []events.Envelope) error {
			switch count := appends.Add(1); {
			case count < int64(n):
				return nil
			case count > int64(n):
				return storage.ErrClosed
			}
			return at()
		}
	}
	dies := func(err error) func() error { return func() error { close(dead); return err } }
	switch how {
	case unstored:
		memory.Fail(count(dies(storage.ErrClosed)))
	case inBetween:
		memory.Fail(count(func() error { return nil }))
		fallthrough
	case untold:
		memory.FailAfter(count(dies(errors.New("the answer was lost"))))
	}
	return dead
}
