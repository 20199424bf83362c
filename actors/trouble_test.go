package actors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
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
	page, err := host.History(t.Context(), stream, 0, actors.Forward, actors.Limit{Events: 4096})
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

// meddle has another writer add an event to the demo agent's stream.
func meddle(t *testing.T, memory *actorstest.Memory) {
	t.Helper()
	page, err := memory.Read(t.Context(), "agent-demo", 1<<62, actors.Backward, actors.Limit{Events: 1})
	if err != nil {
		t.Fatal(err)
	}
	event := events.AgentConfigured{Config: events.AgentConfig{Model: "fake/two", Wallet: actors.DefaultWallet, Tenant: actors.DefaultTenant}}
	data, version, err := events.Encode(event)
	if err != nil {
		t.Fatal(err)
	}
	last := page.Events[0]
	id := last.ID
	id[0] ^= 0xff
	if _, err := memory.Append(t.Context(), "agent-demo", actors.ExpectAny, []events.Envelope{{
		ID: id, Kind: event.Kind(), Version: version, Command: events.CommandID(fmt.Sprintf("meddle%d", last.Revision)),
		Digest: last.Digest.Next(event.Kind(), data), Data: data,
	}}); err != nil {
		t.Fatal(err)
	}
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
		model := actorstest.FakeModel(func(_ context.Context, q actors.Question, _ func(string)) (actors.Answer, error) {
			if q.Messages[len(q.Messages)-1].Role == sagas.RoleTool {
				return actors.Answer{Text: "done", Stop: events.StopEnd}, nil
			}
			answer := actors.Answer{Stop: events.StopCalls}
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
		var away *actors.Unavailable
		if !errors.As(err, &away) {
			t.Error(err)
		}
	})
}

// TestReleaseCloses opens an agent's circuit and releases the agent: from then on it is like any other, also after it was idle.
func TestReleaseCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := start(t, actors.Config{Journal: actorstest.NewMemory(), Models: oneModel{actorstest.FakeModel(twoRounds)}, Idle: time.Minute})
		do(t, host, "demo", create("demo"))
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			_, err := host.Do(ctx, "agent-demo", bomb{new(atomic.Int64)}, actors.Origin{})
			cancel()
			if err == nil {
				t.Fatal("the bomb did not go off")
			}
			<-time.After(5 * time.Second)
		}
		if n := stored(t, host, "agent-demo", "agent.quarantined"); n != 1 {
			t.Fatalf("%d quarantines", n)
		}
		do(t, host, "demo", sagas.Release{Meta: meta("release"), By: "a person"})
		<-time.After(10 * time.Minute)
		do(t, host, "demo", say("c1", "hello"))
		synctest.Wait()
		verified(t, host)
	})
}

// TestOverload refuses what comes for an agent whose store hangs, instead of keeping all of it.
func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := actorstest.NewMemory()
		host := start(t, actors.Config{Journal: memory, Models: oneModel{actorstest.FakeModel(twoRounds)}, Admit: 4})
		do(t, host, "demo", create("demo"))
		gate := make(chan struct{})
		memory.Fail(func(events.Stream, []events.Envelope) error { <-gate; return nil })
		var refused, accepted atomic.Int64
		for i := range 20 {
			go func() {
				_, err := host.Do(t.Context(), "agent-demo", say(fmt.Sprintf("c%d", i), "hello"), actors.Origin{})
				var over *actors.Overloaded
				switch {
				case errors.As(err, &over):
					refused.Add(1)
				case err == nil:
					accepted.Add(1)
				default:
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		close(gate)
		synctest.Wait()
		if refused.Load() != 15 || accepted.Load() != 5 { // one is being stored, four wait
			t.Errorf("%d refused, %d accepted", refused.Load(), accepted.Load())
		}
		do(t, host, "demo", say("after", "hello"))
	})
}

// TestFencedAtRecovery has another writer come between an agent's loading and its first append: the turn goes on nonetheless.
func TestFencedAtRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := actorstest.NewMemory()
		s := newSlow()
		config := actors.Config{Journal: memory, Blobs: actorstest.NewBlobs(), OpeningCredit: events.Dollar, Models: oneModel{actorstest.FakeModel(s.model)}}
		first, err := actors.New(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		do(t, first, "demo", create("demo"))
		do(t, first, "demo", say("c1", "go"))
		<-s.began
		if err := first.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		var meddled atomic.Bool
		memory.Fail(func(stream events.Stream, _ []events.Envelope) error {
			if stream == "agent-demo" && !meddled.Swap(true) {
				meddle(t, memory)
			}
			return nil
		})
		start(t, config)
		select {
		case <-s.began:
		case <-time.After(time.Minute):
			t.Error("nobody went on with the turn")
		}
	})
}

// TestFencesBackOff has another writer fence an agent again and again: it comes back later and later, so that one of two hosts that
// both want a turn gets to the end of a call, and the circuit stays closed.
func TestFencesBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := actorstest.NewMemory()
		began := make(chan struct{}, 1)
		model := actorstest.FakeModel(func(ctx context.Context, q actors.Question, delta func(string)) (actors.Answer, error) {
			began <- struct{}{}
			<-time.After(5 * time.Second)
			return twoRounds(ctx, q, delta)
		})
		host := start(t, actors.Config{Journal: memory, Models: oneModel{model}})
		do(t, host, "demo", create("demo"))
		do(t, host, "demo", say("c1", "go"))
		<-began
		at := time.Now()
		var waits []time.Duration
		for range 7 {
			meddle(t, memory)
			<-began
			waits, at = append(waits, time.Since(at)-5*time.Second), time.Now()
		}
		if last := waits[len(waits)-1]; last < 5*time.Second {
			t.Errorf("the agent came back after %v", waits)
		}
		if n := stored(t, host, "agent-demo", "agent.quarantined"); n != 0 {
			t.Error("fences opened the circuit")
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
					return actors.ErrClosed
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

// TestCompanyWaitIsBounded sends an agent a known command again and again while a decision waits for company: it is stored soon.
func TestCompanyWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := actorstest.NewMemory()
		host := start(t, actors.Config{Journal: memory, Models: oneModel{actorstest.FakeModel(twoRounds)}})
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
			return actors.ErrClosed
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
			var refused *sagas.Refusal
			if err := <-results; err == nil || errors.As(err, &refused) {
				t.Error(err)
			}
		}
		memory.Fail(nil)
	})
}

// unreadable is a cache of snapshots that is out of order.
type unreadable struct{ *actorstest.Memory }

func (unreadable) Load(context.Context, string, events.Stream) (actors.Snapshot, bool, error) {
	return actors.Snapshot{}, false, errors.New("out of order")
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
		for i := range actors.MaxAppend/events.InlineLimit + 10 {
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

// TestStoreFailuresOpenNoCircuit has the store fail an agent's appends, and then one decision panic: the agent is not given up for
// what the store did.
func TestStoreFailuresOpenNoCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := actorstest.NewMemory()
		host := start(t, actors.Config{Journal: memory, Models: oneModel{actorstest.FakeModel(twoRounds)}})
		do(t, host, "demo", create("demo"))
		memory.Fail(func(events.Stream, []events.Envelope) error { return actors.ErrClosed })
		for range 6 {
			if _, err := host.Do(t.Context(), "agent-demo", say("c1", "hello"), actors.Origin{}); err == nil {
				t.Fatal("stored nowhere")
			}
			<-time.After(5 * time.Second)
		}
		memory.Fail(nil)
		if _, err := host.Do(t.Context(), "agent-demo", bomb{new(atomic.Int64)}, actors.Origin{}); err == nil {
			t.Fatal("the bomb did not go off")
		}
		<-time.After(time.Minute)
		do(t, host, "demo", say("c1", "hello"))
	})
}

// TestQuarantinedOnce starts a second host on an agent that a first one put on record as failing: it fails there too, and history
// says so once.
func TestQuarantinedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := actorstest.NewMemory()
		data := json.RawMessage(`{"agent":7}`)
		if _, err := memory.Append(t.Context(), "agent-demo", actors.ExpectNoStream, []events.Envelope{{
			ID: events.EventID{1}, Kind: "agent.created", Version: 1, Digest: events.Digest{}.Next("agent.created", data), Data: data,
		}}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			host := start(t, actors.Config{Journal: memory, Models: oneModel{actorstest.FakeModel(twoRounds)}})
			for i := range 10 {
				if _, err := host.Do(t.Context(), "agent-demo", say(fmt.Sprint(i), "hello"), actors.Origin{}); err == nil {
					t.Fatal("decided from what cannot be read")
				}
				<-time.After(5 * time.Second)
			}
			if n := stored(t, host, "agent-demo", "agent.quarantined"); n != 1 {
				t.Errorf("%d quarantines", n)
			}
		}
	})
}

// countedReads counts the reads of one stream.
type countedReads struct {
	*actorstest.Memory
	stream events.Stream
	reads  *atomic.Int64
}

func (c countedReads) Read(ctx context.Context, stream events.Stream, from events.Revision, d actors.Direction, l actors.Limit) (actors.Page, error) {
	if stream == c.stream {
		c.reads.Add(1)
	}
	return c.Memory.Read(ctx, stream, from, d, l)
}

// TestAdvisingIsNotIdle asks homeostasis for advice all the time: it stays in memory.
func TestAdvisingIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := countedReads{actorstest.NewMemory(), "homeostasis-local", new(atomic.Int64)}
		host := start(t, actors.Config{Journal: memory, Models: oneModel{actorstest.FakeModel(twoRounds)}, Idle: time.Minute})
		do(t, host, "demo", create("demo"))
		for i := range 20 {
			do(t, host, "demo", say(fmt.Sprint(i), "hello"))
			<-time.After(30 * time.Second)
		}
		if n := memory.reads.Load(); n != 1 {
			t.Errorf("read %d times", n)
		}
	})
}

// countedSaves counts snapshots.
type countedSaves struct {
	*actorstest.Memory
	saves *atomic.Int64
}

func (c countedSaves) Save(ctx context.Context, fold string, stream events.Stream, snapshot actors.Snapshot) error {
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
