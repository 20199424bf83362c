package actors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// meddle has another writer add an event to the demo agent's stream.
func meddle(t *testing.T, memory *actorstest.Memory) {
	t.Helper()
	page, err := memory.Read(t.Context(), "agent-demo", 1<<62, storage.Backward, storage.Limit{Events: 1})
	if err != nil {
		t.Fatal(err)
	}
	event := events.AgentConfigured{Config: events.AgentConfig{Model: "fake/two", Wallet: sagas.DefaultWallet, Tenant: sagas.DefaultTenant}}
	data, version, err := events.Encode(event)
	if err != nil {
		t.Fatal(err)
	}
	last := page.Events[0]
	if _, err := memory.Append(t.Context(), "agent-demo", storage.ExpectAny, []events.Envelope{{
		ID: uuid.New(), Kind: event.Kind(), Version: version, Command: events.CommandID(fmt.Sprintf("meddle%d", last.Revision)),
		Digest: last.Digest.Next(event.Kind(), data), Data: data,
	}}); err != nil {
		t.Fatal(err)
	}
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
		host := start(t, actors.Config{Journal: memory, Models: oneModel{actorstest.FakeModel(twoRounds)}}.Within(actors.Limits{Waiting: 4}))
		do(t, host, "demo", create("demo"))
		gate := make(chan struct{})
		memory.Fail(func(events.Stream, []events.Envelope) error { <-gate; return nil })
		var refused, accepted atomic.Int64
		for i := range 20 {
			go func() {
				_, err := host.Do(t.Context(), "agent-demo", say(fmt.Sprintf("c%d", i), "hello"), actors.Origin{})
				var over *actors.OverloadedError
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
		config := actors.Config{Journal: memory, Blobs: actorstest.NewBlobs(), Masker: actorstest.Unmasked{}, OpeningCredit: events.Dollar, Models: oneModel{actorstest.FakeModel(s.model)}}
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
// both want a turn has the time for a decision, the model is asked once, and the circuit stays closed.
func TestFencesBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := actorstest.NewMemory()
		var asked atomic.Int64
		model := actorstest.FakeModel(func(context.Context, actors.ModelRequest, func(actors.Delta)) (actors.ModelResponse, error) {
			asked.Add(1)
			return actors.ModelResponse{Text: "done", Stop: events.StopEnd}, nil
		})
		host := start(t, actors.Config{Journal: memory, Models: oneModel{model}})
		do(t, host, "demo", create("demo"))
		at := time.Now()
		var waits []time.Duration
		memory.Fail(func(stream events.Stream, batch []events.Envelope) error {
			replied := slices.ContainsFunc(batch, func(e events.Envelope) bool { return e.Kind == "model.replied" })
			if stream == "agent-demo" && replied && len(waits) < 7 {
				waits, at = append(waits, time.Since(at)), time.Now()
				meddle(t, memory)
			}
			return nil
		})
		do(t, host, "demo", say("c1", "go"))
		until(t, watch(t, host, "demo"), ended)
		if len(waits) < 7 || waits[6] < 3*time.Second || asked.Load() != 1 {
			t.Errorf("the agent came back after %v, and the model was asked %d times", waits, asked.Load())
		}
		if n := stored(t, host, "agent-demo", "agent.quarantined"); n != 0 {
			t.Error("fences opened the circuit")
		}
	})
}

// TestStoreFailuresOpenNoCircuit has the store fail an agent's appends, and then one decision panic: the agent is not given up for
// what the store did.
func TestStoreFailuresOpenNoCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := actorstest.NewMemory()
		host := start(t, actors.Config{Journal: memory, Models: oneModel{actorstest.FakeModel(twoRounds)}})
		do(t, host, "demo", create("demo"))
		memory.Fail(func(events.Stream, []events.Envelope) error { return storage.ErrClosed })
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
		if _, err := memory.Append(t.Context(), "agent-demo", storage.ExpectNoStream, []events.Envelope{{
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

func (c countedReads) Read(ctx context.Context, stream events.Stream, from events.Revision, d storage.Direction, l storage.Limit) (storage.Page, error) {
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
