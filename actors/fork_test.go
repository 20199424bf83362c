package actors_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// forkWorld is a store with the agent "demo", which had three turns: one in which a person approved a call, one that was interrupted
// while its model was asked, and one after a model's failure.
type forkWorld struct {
	config actors.Config
	memory *actorstest.Memory
	asked  atomic.Int64 // models
	ran    *atomic.Int64
	hang   chan struct{} // while it is open, the model does not answer "wait"
}

func newForkWorld(t *testing.T) *forkWorld {
	t.Helper()
	w := &forkWorld{memory: actorstest.NewMemory(), hang: make(chan struct{})}
	tool, runs := counting()
	w.ran = runs
	w.config = actors.Config{
		Journal: w.memory, Snapshots: w.memory, Blobs: actorstest.NewBlobs(), Masker: actorstest.Unmasked{}, OpeningCredit: events.Dollar,
		Models: oneModel{actorstest.FakeModel(w.ask)}, Tools: []actors.Tool{tool},
	}
	host, err := actors.New(t.Context(), w.config)
	if err != nil {
		t.Fatal(err)
	}
	made := create("demo", "echo")
	made.Config.Policy.Ask = []string{"echo"}
	do(t, host, "demo", made)
	feed := watch(t, host, "demo")
	do(t, host, "demo", say("m1", "go"))
	until(t, feed, func(e events.Event) bool { return e.Kind() == "approval.requested" })
	do(t, host, "demo", sagas.Approve{Meta: meta("yes"), Call: "1.1", By: "ann"})
	until(t, feed, ended)
	do(t, host, "demo", say("m2", "wait"))
	until(t, feed, func(e events.Event) bool { return e.Kind() == "model.requested" })
	do(t, host, "demo", sagas.Send{Meta: meta("m3"), Verb: events.Interrupt, Text: events.Text{Inline: "fail once"}})
	until(t, feed, ended)
	until(t, feed, func(e events.Event) bool { return e.Kind() == "approval.requested" })
	do(t, host, "demo", sagas.Deny{Meta: meta("no"), Call: "1.1", By: "ann", Reason: "once is enough"})
	until(t, feed, ended)
	until(t, feed, func(e events.Event) bool { return e.Kind() == "settlement.recorded" })
	w.close(t, host)
	close(w.hang)
	return w
}

// ask is twoRounds, with a failure and a wait for those who want one.
func (w *forkWorld) ask(ctx context.Context, q actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
	asked := w.asked.Add(1)
	switch last := q.Messages[len(q.Messages)-1]; {
	case last.Text.Inline == "wait":
		select {
		case <-w.hang:
		case <-ctx.Done():
			return actors.ModelResponse{}, ctx.Err()
		}
	case last.Text.Inline == "fail once" && asked == 4:
		return actors.ModelResponse{}, &actors.ModelError{Class: events.ErrorOverloaded, Detail: "busy"}
	}
	return twoRounds(ctx, q, delta)
}

func (w *forkWorld) close(t *testing.T, host *actors.Host) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := host.Close(ctx); err != nil {
		t.Error(err)
	}
}

func order(at events.Revision, set ...string) actors.ForkOrder {
	return actors.ForkOrder{ID: "order", Parent: "demo", Name: "fork", At: at, Set: set}
}

func fork(t *testing.T, host *actors.Host, order actors.ForkOrder) history.AgentState {
	t.Helper()
	if _, err := host.Fork(t.Context(), order, actors.Origin{Actor: "test"}); err != nil {
		t.Fatalf("fork: %v", err)
	}
	return followed(t, host)
}

func followed(t *testing.T, host *actors.Host) history.AgentState {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	state, err := awaitFork(ctx, host, "fork")
	if err != nil {
		now, stateErr := host.State(t.Context(), "fork", events.NoRevision)
		t.Fatalf("await: %v (%v)\n%+v\n%s", err, stateErr, now.Agent.Fork, strings.Join(told(t, host, "fork", 0), "\n"))
	}
	return state
}

// told is an agent's history from a revision on, without identities, times and what only forks record.
func told(t *testing.T, host *actors.Host, agent events.AgentID, from events.Revision) []string {
	t.Helper()
	lines := []string{}
	page, err := host.History(t.Context(), events.AgentStream(agent), from, storage.Forward, storage.Limit{Events: 4096})
	if err != nil || !page.End {
		t.Fatalf("read history: %v", err)
	}
	for i := range page.Events {
		e := &page.Events[i]
		if e.Kind.Family() == "fork" || e.Kind == "agent.forked" {
			continue
		}
		var fields map[string]any
		if err := json.Unmarshal(e.Data, &fields); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"request", "expires", "retry_at", "wallet", "before", "tree"} {
			delete(fields, name)
		}
		text, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(e.Kind)+" "+strings.ReplaceAll(string(text), `"`+string(agent)+`/`, `"/`))
	}
	return lines
}

// TestForkOnTape: a fork with unchanged settings asks nobody and ends with an equal history, wherever it begins; its parent's wallet is
// not touched, and everything verifies.
func TestForkOnTape(t *testing.T) {
	w := newForkWorld(t)
	host := start(t, w.config)
	page, err := host.History(t.Context(), "agent-demo", 0, storage.Forward, storage.Limit{})
	if err != nil {
		t.Fatal(err)
	}
	before, err := host.Wallet(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	asked, ran := w.asked.Load(), w.ran.Load()
	for at, e := range page.Events {
		name := events.AgentID(fmt.Sprintf("fork-%d", at))
		forked, err := host.Fork(t.Context(), actors.ForkOrder{ID: events.CommandID(name), Parent: "demo", Name: name, At: e.Revision}, actors.Origin{})
		if err != nil {
			t.Fatalf("fork at %d: %v", at, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		state, err := awaitFork(ctx, host, name)
		cancel()
		if err != nil {
			t.Fatalf("await %s: %v\n%s", name, err, strings.Join(told(t, host, name, 0), "\n"))
		}
		if l := state.Agent.Fork; l.Live != 0 || l.Skipped != 0 || l.Diverged != nil || !l.Finished {
			t.Fatalf("forked at %d: %+v", at, l)
		}
		if at == 0 {
			if diff := cmp.Diff(told(t, host, "demo", 1), told(t, host, name, 1)); diff != "" {
				t.Errorf("another history:\n%s", diff)
			}
		}
		again, err := host.Fork(t.Context(), actors.ForkOrder{ID: events.CommandID(name), Parent: "demo", Name: name, At: e.Revision}, actors.Origin{})
		if err != nil || !again.Duplicate || again.At != forked.At {
			t.Errorf("ordered again: %+v, %v", again, err)
		}
	}
	if w.asked.Load() != asked || w.ran.Load() != ran {
		t.Errorf("%d models were asked, %d tools ran", w.asked.Load()-asked, w.ran.Load()-ran)
	}
	if after, err := host.Wallet(t.Context(), "main"); err != nil || after.Revision != before.Revision {
		t.Errorf("the parent's wallet went from revision %d to %d, %v", before.Revision, after.Revision, err)
	}
	if report, err := host.Verify(t.Context(), "", nil); err != nil || len(report.Failures) > 0 {
		t.Errorf("verify: %v %+v", err, report.Failures)
	}
}

// TestForkCrash lets the host die at every append of a fork that follows its parent; the next host goes on with the tape.
func TestForkCrash(t *testing.T) {
	for _, how := range []death{unstored, untold, inBetween} {
		for n := 1; n <= 41; n += 5 {
			t.Run(fmt.Sprintf("append %d, %s", n, how), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { forkCrashAt(t, n, how) })
			})
		}
	}
}

func forkCrashAt(t *testing.T, n int, how death) {
	w := newForkWorld(t)
	asked, ran := w.asked.Load(), w.ran.Load()
	first, err := actors.New(t.Context(), w.config.Within(actors.Limits{Append: 20 * time.Millisecond}))
	if err != nil {
		t.Fatal(err)
	}
	dead := dieAt(w.memory, n, how)
	_, forkErr := first.Fork(t.Context(), order(0), actors.Origin{Actor: "test"})
	select {
	case <-dead:
	case <-time.After(300 * time.Millisecond):
	}
	w.memory.Fail(nil)
	w.memory.FailAfter(func(events.Stream, []events.Envelope) error { return storage.ErrClosed })
	w.close(t, first)
	w.memory.FailAfter(nil)

	second := start(t, w.config)
	if forkErr != nil { // whoever ordered it orders it again
		if _, err := second.Fork(t.Context(), order(0), actors.Origin{Actor: "test"}); err != nil {
			t.Fatalf("order again after %v: %v", forkErr, err)
		}
	}
	state := followed(t, second)
	if l := state.Agent.Fork; l.Live != 0 || l.Skipped != 0 || l.Diverged != nil {
		t.Errorf("the fork: %+v", l)
	}
	if w.asked.Load() != asked || w.ran.Load() != ran {
		t.Errorf("%d models were asked, %d tools ran", w.asked.Load()-asked, w.ran.Load()-ran)
	}
	if diff := cmp.Diff(told(t, second, "demo", 1), told(t, second, "fork", 1)); diff != "" {
		t.Errorf("another history:\n%s", diff)
	}
}

// TestForkDiverges: with another prompt the first request is another, and from there on whoever is asked answers.
func TestForkDiverges(t *testing.T) {
	w := newForkWorld(t)
	host := start(t, w.config)
	asked := w.asked.Load()
	state := fork(t, host, order(0, "prompt=Be brief."))
	d := state.Agent.Fork.Diverged
	if d == nil || d.Turn != "fork/1" || d.Round != 1 || d.Call != "" || d.Detail != "the prompt is another" {
		t.Errorf("diverged: %+v", d)
	}
	if l := state.Agent.Fork; l.Taped != 0 || int64(l.Live) != w.asked.Load()-asked+1 || !l.Finished { // and one call of a tool
		t.Errorf("%+v, and %d models were asked", l, w.asked.Load()-asked)
	}
	if w.ran.Load() != 2 {
		t.Errorf("the tool ran %d times", w.ran.Load())
	}
}

// TestForkOffline: nobody is asked, whatever differs: the run stops there.
func TestForkOffline(t *testing.T) {
	w := newForkWorld(t)
	host := start(t, w.config)
	asked := w.asked.Load()
	o := order(0, "limits.reply_tokens=77")
	o.Tape = events.TapeOffline
	state := fork(t, host, o)
	if last := state.Agent.Last; last == nil || last.Reason != events.ReasonOffline || w.asked.Load() != asked || !state.Agent.Fork.Finished {
		t.Errorf("%+v, %d models were asked", last, w.asked.Load()-asked)
	}
}

// awaitFork waits until a fork has followed its parent to the end, and returns it as it is then.
func awaitFork(ctx context.Context, host *actors.Host, fork events.AgentID) (history.AgentState, error) {
	feed, err := host.Watch(ctx, fork, events.NoRevision)
	if err != nil {
		return history.AgentState{}, err
	}
	defer feed.Close()
	for {
		item, err := feed.Next(ctx)
		if err != nil {
			return history.AgentState{}, err
		}
		if item.Event != nil && item.Event.Kind == (events.ForkFinished{}).Kind() {
			return host.State(ctx, fork, events.NoRevision)
		}
	}
}
