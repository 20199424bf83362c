package actors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
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

// verified fails the test if history does not verify.
func verified(t *testing.T, host *actors.Host) {
	t.Helper()
	report, err := host.Verify(t.Context(), "", nil)
	if err != nil || len(report.Failures) > 0 {
		t.Errorf("verify: %v %+v", err, report.Failures)
	}
}

// stored counts the events of a kind in a stream.
func stored(t *testing.T, host *actors.Host, stream events.Stream, kind events.Kind) int {
	t.Helper()
	page, err := host.History(t.Context(), stream, 0, storage.Forward, storage.Limit{Events: 4096})
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for i := range page.Events {
		if page.Events[i].Kind == kind {
			count++
		}
	}
	return count
}

// bomb is a command at which deciding panics: the third time that somebody looks at it.
type bomb struct{ looks *atomic.Int64 }

func (b bomb) Metadata() sagas.Meta {
	if b.looks.Add(1) == 3 {
		panic("bomb")
	}
	return meta("bomb")
}

// TestExpiriesTogether lets the approvals of one reply expire at the same instant: each is a decision of its own, and no clock spins
// while they are stored.
func TestExpiriesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := actorstest.NewMemory()
		model := actorstest.FakeModel(func(_ context.Context, q actors.ModelRequest, _ func(actors.Delta)) (actors.ModelResponse, error) {
			if q.Messages[len(q.Messages)-1].Role == sagas.RoleTool {
				return actors.ModelResponse{Text: "done", Stop: events.StopEnd}, nil
			}
			answer := actors.ModelResponse{Stop: events.StopCalls}
			for i := range 4 {
				answer.Calls = append(answer.Calls, events.ModelCall{ID: fmt.Sprint(i), Tool: "echo", Arguments: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))})
			}
			return answer, nil
		})
		host := start(t, actors.Config{Journal: memory, Models: oneModel{model}, Tools: []actors.Tool{echo()}})
		made := create("demo", "echo")
		made.Config.Policy.Ask = []string{"*"}
		made.Config.Limits.ApprovalTime = events.Minute
		do(t, host, "demo", made)
		var appends atomic.Int64
		memory.Fail(func(events.Stream, []events.Envelope) error {
			appends.Add(1)
			<-time.After(10 * time.Millisecond) // in the bubble
			return nil
		})
		do(t, host, "demo", say("c1", "go"))
		<-time.After(2 * time.Minute)
		synctest.Wait()
		if n := stored(t, host, "agent-demo", "approval.expired"); n != 4 {
			t.Errorf("%d approvals expired", n)
		}
		verified(t, host)
	})
}

// TestPanicAnswers has deciding panic: whoever sent the command hears of it.
func TestPanicAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := start(t, actors.Config{Journal: actorstest.NewMemory(), Models: oneModel{actorstest.FakeModel(twoRounds)}})
		do(t, host, "demo", create("demo"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := host.Do(ctx, "agent-demo", bomb{new(atomic.Int64)}, actors.Origin{})
		var away *actors.UnavailableError
		if !errors.As(err, &away) {
			t.Error(err)
		}
	})
}

// TestCancelBeforeClaim cancels a turn while its call is being claimed: the call does not begin.
func TestCancelBeforeClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := actorstest.NewMemory()
		tool, runs := counting()
		host := start(t, actors.Config{Journal: memory, Models: oneModel{actorstest.FakeModel(twoRounds)}, Tools: []actors.Tool{tool}})
		do(t, host, "demo", create("demo", "echo"))
		gate := make(chan struct{})
		memory.Fail(func(stream events.Stream, _ []events.Envelope) error {
			if strings.HasPrefix(string(stream), "effect-") {
				<-gate
			}
			return nil
		})
		do(t, host, "demo", say("c1", "go"))
		synctest.Wait()
		do(t, host, "demo", sagas.Cancel{Meta: meta("c2")})
		synctest.Wait()
		close(gate)
		synctest.Wait()
		if runs.Load() != 0 {
			t.Error("a call of a turn that was over began")
		}
	})
}

// TestRefusedTwice has a wallet refuse the same request twice in a row, as the first answer was lost: history verifies.
func TestRefusedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := actorstest.NewMemory()
		host := start(t, actors.Config{Journal: memory, Models: oneModel{actorstest.FakeModel(twoRounds)}, OpeningCredit: 1})
		do(t, host, "demo", create("demo"))
		var failed atomic.Bool
		memory.Fail(func(_ events.Stream, batch []events.Envelope) error {
			for i := range batch {
				if batch[i].Kind == "budget.refused" && !failed.Swap(true) {
					return storage.ErrClosed
				}
			}
			return nil
		})
		do(t, host, "demo", say("c1", "go"))
		<-time.After(time.Minute)
		if n := stored(t, host, "wallet-main", "funds.refused"); n != 2 {
			t.Errorf("the wallet refused %d times", n)
		}
		verified(t, host)
	})
}

// TestLingeringIsBounded sends an agent a known command again and again while a decision lingers: it is stored soon.
func TestLingeringIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := actorstest.NewMemory()
		host := start(t, actors.Config{Journal: waitedFor{memory}, Models: oneModel{actorstest.FakeModel(twoRounds)}})
		do(t, host, "demo", create("demo"))
		gate := make(chan struct{})
		memory.Fail(func(stream events.Stream, _ []events.Envelope) error {
			if stream == "wallet-main" {
				<-gate
			}
			return nil
		})
		do(t, host, "demo", say("c1", "go"))
		for range 20 {
			go func() {
				if _, err := host.Do(t.Context(), "agent-demo", say("c1", "go"), actors.Origin{}); err != nil {
					t.Error(err)
				}
			}()
			<-time.After(10 * time.Millisecond)
		}
		if n := stored(t, host, "agent-demo", "advice.given"); n != 1 {
			t.Error("the advice still waits")
		}
		close(gate)
	})
}

// TestRefusalNotFromHistory fails the append of a decision because of which another command was refused: that one is not told of
// something that never happened.
func TestRefusalNotFromHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := actorstest.NewMemory()
		host := start(t, actors.Config{Journal: memory, Models: oneModel{actorstest.FakeModel(twoRounds)}})
		do(t, host, "demo", create("demo"))
		gate := make(chan struct{})
		var appends atomic.Int64
		memory.Fail(func(stream events.Stream, _ []events.Envelope) error {
			if stream != "agent-demo" {
				return nil
			}
			if appends.Add(1) == 1 {
				<-gate
				return nil
			}
			return storage.ErrClosed
		})
		results := make(chan error, 2)
		for i, command := range []sagas.Command{say("c1", "one"), sagas.Retire{Meta: meta("c2")}, say("c3", "two")} {
			go func() {
				_, err := host.Do(t.Context(), "agent-demo", command, actors.Origin{})
				if i > 0 {
					results <- err
				}
			}()
			synctest.Wait()
		}
		close(gate)
		for range 2 {
			var refused *sagas.RefusalError
			if err := <-results; err == nil || errors.As(err, &refused) {
				t.Error(err)
			}
		}
		memory.Fail(nil)
	})
}

// unreadable is a cache of snapshots that is out of order.
type unreadable struct{ *actorstest.Memory }

func (unreadable) Load(context.Context, string, events.Stream, events.Revision) (storage.Snapshot, bool, error) {
	return storage.Snapshot{}, false, errors.New("out of order")
}

// TestSnapshotsOutOfOrder runs a turn without a single snapshot that can be read: they are a cache.
func TestSnapshotsOutOfOrder(t *testing.T) {
	memory := actorstest.NewMemory()
	host := start(t, actors.Config{Journal: memory, Snapshots: unreadable{memory}, Models: oneModel{actorstest.FakeModel(twoRounds)}})
	do(t, host, "demo", create("demo"))
	do(t, host, "demo", say("c1", "go"))
	until(t, watch(t, host, "demo"), ended)
}

// TestManyLargeCommands has more wait for one agent than one append may hold: all of it is stored.
func TestManyLargeCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := actorstest.NewMemory()
		host := start(t, actors.Config{Journal: memory, Models: oneModel{actorstest.FakeModel(twoRounds)}})
		do(t, host, "demo", create("demo"))
		gate := make(chan struct{})
		memory.Fail(func(events.Stream, []events.Envelope) error { <-gate; return nil })
		large := strings.Repeat("x", events.InlineLimit)
		for i := range storage.MaxAppend/events.InlineLimit + 10 {
			send := say(fmt.Sprintf("c%d", i), large)
			send.Verb = events.Interrupt
			go func() {
				if _, err := host.Do(t.Context(), "agent-demo", send, actors.Origin{}); err != nil {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		close(gate)
		synctest.Wait()
	})
}

// countedSaves counts snapshots.
type countedSaves struct {
	*actorstest.Memory
	saves *atomic.Int64
}

func (c countedSaves) Save(ctx context.Context, fold string, stream events.Stream, snapshot storage.Snapshot) error {
	c.saves.Add(1)
	return c.Memory.Save(ctx, fold, stream, snapshot)
}

// TestBusySnapshots keeps a wallet so busy that commands wait for it at all times: it is saved nonetheless.
func TestBusySnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := countedSaves{actorstest.NewMemory(), new(atomic.Int64)}
		host := start(t, actors.Config{Journal: memory, Snapshots: memory, Models: oneModel{actorstest.FakeModel(twoRounds)}})
		memory.Fail(func(events.Stream, []events.Envelope) error { <-time.After(time.Millisecond); return nil })
		const senders, each = 64, 100
		var sent, saved atomic.Int64
		done := make(chan struct{}, senders)
		for s := range senders {
			go func() {
				for i := range each {
					credit := sagas.Credit{Meta: meta(fmt.Sprintf("c%d.%d", s, i)), Amount: 1}
					if _, err := host.Do(t.Context(), "wallet-main", credit, actors.Origin{}); err != nil {
						t.Error(err)
					}
					if sent.Add(1) == senders*each/2 {
						saved.Store(memory.saves.Load())
					}
				}
				done <- struct{}{}
			}()
			<-time.After(100 * time.Microsecond)
		}
		for range senders {
			<-done
		}
		if saved.Load() == 0 {
			t.Error("never saved while it was busy")
		}
	})
}

// filled is a journal that may be full.
type filled struct {
	*actorstest.Memory
	full atomic.Bool
}

func (f *filled) Room() error {
	if f.full.Load() {
		return storage.ErrFull
	}
	return nil
}

// TestFullIsAnsweredAtOnce: a store that says that it is full has commands from outside answered with that at once, reads go on, and what the
// host has to store itself waits for room: the turn that runs is done in the end, and the agent was never given up.
func TestFullIsAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := &filled{Memory: actorstest.NewMemory()}
		journal.Fail(func(events.Stream, []events.Envelope) error {
			return journal.Room()
		})
		asked, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		host := start(t, actors.Config{Journal: journal, Tools: []actors.Tool{echo()}, Models: oneModel{actorstest.FakeModel(
			func(ctx context.Context, q actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
				once.Do(func() {
					close(asked)
					<-goOn
				})
				return twoRounds(ctx, q, delta)
			})}})
		do(t, host, "demo", create("demo", "echo"))
		do(t, host, "demo", say("c1", "one"))
		<-asked
		journal.full.Store(true)
		close(goOn)
		for i := range 4 {
			began := time.Now()
			if _, err := host.Do(t.Context(), events.AgentStream("demo"), say(fmt.Sprintf("c2-%d", i), "two"), actors.Origin{}); !errors.Is(err, storage.ErrFull) {
				t.Errorf("a message to a full store: %v", err)
			}
			if took := time.Since(began); took > 0 {
				t.Errorf("it is refused after %s", took)
			}
			if _, err := host.State(t.Context(), "demo", 0); err != nil {
				t.Errorf("its state: %v", err)
			}
			<-time.After(5 * time.Second) // more than 15 s in all
		}
		journal.full.Store(false)
		until(t, watch(t, host, "demo"), func(e events.Event) bool { return e.Kind() == "settlement.recorded" })
		do(t, host, "demo", say("c3", "three"))
	})
}
