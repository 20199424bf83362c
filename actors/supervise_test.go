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
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// slow is a model, or a tool, that works until it is cut off; it reports when it begins and when it is cut off.
type slow struct{ began, cut chan struct{} }

func newSlow() slow { return slow{make(chan struct{}, 16), make(chan struct{}, 16)} }

func (s slow) wait(ctx context.Context) error {
	s.began <- struct{}{}
	<-ctx.Done()
	s.cut <- struct{}{}
	return ctx.Err()
}

func (s slow) model(ctx context.Context, _ actors.ModelRequest, _ func(actors.Delta)) (actors.ModelResponse, error) {
	return actors.ModelResponse{}, s.wait(ctx)
}

func (s slow) tool(repeatable bool) actors.Tool {
	return actorstest.FakeTool{
		Describes: actors.ToolSpec{Name: "echo", Description: "waits", Schema: json.RawMessage(`{"type":"object"}`), Repeatable: repeatable},
		Does: func(ctx context.Context, _ actors.ToolUse) (actors.ToolResult, error) {
			return actors.ToolResult{}, s.wait(ctx)
		},
	}
}

// TestCancelReaches cancels a turn while its model, and while its tool, is at work. Both are cut off, and the turn has ended.
func TestCancelReaches(t *testing.T) {
	for _, what := range []string{"model", "tool"} {
		t.Run(what, func(t *testing.T) {
			s := newSlow()
			config := actors.Config{Journal: actorstest.NewMemory(), Models: oneModel{actorstest.FakeModel(s.model)}}
			if what == "tool" {
				config.Models, config.Tools = oneModel{actorstest.FakeModel(twoRounds)}, []actors.Tool{s.tool(false)}
			}
			host := start(t, config)
			do(t, host, "demo", create("demo", toolNames(config)...))
			do(t, host, "demo", say("c1", "go"))
			<-s.began
			do(t, host, "demo", sagas.Cancel{Meta: meta("c2"), By: "a person"})
			<-s.cut
			seen := until(t, watch(t, host, "demo"), ended)
			if end := seen[len(seen)-1].(events.TurnEnded); end.Outcome != events.Cancelled {
				t.Error(end)
			}
		})
	}
}

// TestCutOffCounts: what a reply had come to when its turn was ended, or when it took too long, is counted and charged, as an estimate. A reply
// of which nothing had come costs nothing.
func TestCutOffCounts(t *testing.T) {
	for name, test := range map[string]struct {
		says  string
		ends  sagas.Command
		input int64
		spent events.Money
	}{
		"cancelled":   {strings.Repeat("word", 25), sagas.Cancel{Meta: meta("c2"), By: "a person"}, 1, 7},
		"interrupted": {strings.Repeat("word", 25), sagas.Send{Meta: meta("c2"), Verb: events.Interrupt, Text: events.Text{Inline: "stop"}}, 1, 7},
		"retired":     {strings.Repeat("word", 25), sagas.Retire{Meta: meta("c2")}, 1, 7},
		"time is up":  {strings.Repeat("word", 25), nil, 1, 7},
		"silent":      {"", sagas.Cancel{Meta: meta("c2")}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				model := actorstest.FakeModel(func(ctx context.Context, q actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
					if last := q.Messages[len(q.Messages)-1]; last.Text.Inline == "stop" {
						return actors.ModelResponse{Text: "I stop.", Stop: events.StopEnd}, nil
					}
					for _, piece := range []string{test.says[:len(test.says)/2], test.says[len(test.says)/2:]} {
						delta(actors.Delta{Kind: events.BlockText, Text: piece})
					}
					<-ctx.Done()
					return actors.ModelResponse{}, ctx.Err()
				})
				host := start(t, actors.Config{Journal: actorstest.NewMemory(), Models: oneModel{model}, Prices: priced{7}, OpeningCredit: events.Dollar})
				made := create("demo")
				made.Config.Limits.Time = 5 * events.Minute
				do(t, host, "demo", made)
				do(t, host, "demo", say("c1", "go"))
				synctest.Wait()
				if test.ends != nil {
					do(t, host, "demo", test.ends)
				}
				<-time.After(6 * time.Minute)
				seen := until(t, watch(t, host, "demo"), ended)
				end := seen[len(seen)-1].(events.TurnEnded)
				if got := end.Usage; got.Input < test.input || got.Input > 20 || got.Output != int64(len(test.says)/4) || got.Estimated != (test.input > 0) || end.Cost != test.spent {
					t.Errorf("%s: %+v %s", end, got, end.Cost)
				}
				synctest.Wait()
				verified(t, host)
			})
		})
	}
}

// TestDeadlineCounts: an attempt that takes too long counts what had come of it, and the turn goes on.
func TestDeadlineCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		model := actorstest.FakeModel(func(ctx context.Context, _ actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
			if calls++; calls > 1 {
				return actors.ModelResponse{Text: "Done.", Stop: events.StopEnd, Usage: events.Usage{Input: 3, Output: 2}}, nil
			}
			delta(actors.Delta{Kind: events.BlockThinking, Text: strings.Repeat("hm, ", 10)})
			<-ctx.Done()
			return actors.ModelResponse{}, ctx.Err()
		})
		host := start(t, actors.Config{Journal: actorstest.NewMemory(), Models: oneModel{model}, Prices: priced{7}, OpeningCredit: events.Dollar}.Within(actors.Limits{Model: time.Minute}))
		do(t, host, "demo", create("demo"))
		do(t, host, "demo", say("c1", "go"))
		<-time.After(5 * time.Minute)
		seen := until(t, watch(t, host, "demo"), ended)
		if end := seen[len(seen)-1].(events.TurnEnded); end.Usage.Output != 12 || !end.Usage.Estimated || end.Cost != 14 || end.Outcome != events.Done {
			t.Errorf("%s %+v", end, end.Usage)
		}
		verified(t, host)
	})
}

func toolNames(c actors.Config) []string {
	var names []string
	for _, tool := range c.Tools {
		names = append(names, tool.Spec().Name)
	}
	return names
}

// TestDeadlines has a model and a tool that never answer: both are cut off in time, and the turn goes on as after a failure.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow()
		calls := 0
		model := actorstest.FakeModel(func(ctx context.Context, q actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
			if calls++; calls == 1 {
				return s.model(ctx, q, delta)
			}
			return twoRounds(ctx, q, delta)
		})
		host := start(t, actors.Config{
			Journal: actorstest.NewMemory(), Models: oneModel{model}, Tools: []actors.Tool{s.tool(true)},
		}.Within(actors.Limits{Model: time.Minute, Tool: 2 * time.Minute}))
		do(t, host, "demo", create("demo", "echo"))
		began := time.Now()
		do(t, host, "demo", say("c1", "go"))
		feed := watch(t, host, "demo")
		var seen []events.Event
		for len(seen) == 0 || !ended(seen[len(seen)-1]) {
			item, err := feed.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if item.Event != nil {
				event, _ := item.Event.Event()
				seen = append(seen, event)
			}
		}
		if took := time.Since(began); took < 3*time.Minute || took > 4*time.Minute {
			t.Errorf("took %v", took)
		}
		text := fmt.Sprint(seen)
		for _, want := range []string{"the model failed (timeout): no reply within 1m0s", "attempt 2", "cut off after 2m0s", "ended: done"} {
			if !strings.Contains(text, want) {
				t.Errorf("history has no %q:\n%s", want, text)
			}
		}
	})
}

// TestPassivation lets an idle agent leave memory: the next message brings it back, with everything it knew.
func TestPassivation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := actorstest.NewMemory()
		host := start(t, actors.Config{
			Journal: memory, Snapshots: memory, Models: oneModel{actorstest.FakeModel(twoRounds)}, Tools: []actors.Tool{echo()}, Idle: time.Minute,
		})
		do(t, host, "demo", create("demo", "echo"))
		do(t, host, "demo", say("c1", "one"))
		<-time.After(10 * time.Minute) // in the bubble: nothing waits
		synctest.Wait()
		if live := host.Live(); live != 0 {
			t.Errorf("%d entities live after ten idle minutes", live)
		}
		if again := do(t, host, "demo", say("c1", "one")); !again.Duplicate {
			t.Error("the agent forgot a command while it was away")
		}
		if receipt := do(t, host, "demo", say("c2", "two")); receipt.Turn != "demo/2" {
			t.Errorf("%+v", receipt)
		}
		synctest.Wait()
		report, err := host.Verify(t.Context(), "", nil)
		if err != nil || len(report.Failures) > 0 {
			t.Errorf("%v %+v", err, report)
		}
	})
}

// TestCircuit gives an agent a history that it cannot be brought to life from. It is tried a few times, later and later, and then
// not any more, with the reason on record.
func TestCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := actorstest.NewMemory()
		host := start(t, actors.Config{Journal: memory, Models: oneModel{actorstest.FakeModel(twoRounds)}})
		data := json.RawMessage(`{"agent":7}`)
		if _, err := memory.Append(t.Context(), "agent-demo", storage.ExpectNoStream, []events.Envelope{{
			ID: events.EventID{1}, Kind: "agent.created", Version: 1, Digest: events.Digest{}.Next("agent.created", data), Data: data,
		}}); err != nil {
			t.Fatal(err)
		}
		for i := range 60 {
			_, err := host.Do(t.Context(), "agent-demo", say(fmt.Sprintf("c%d", i), "hello"), actors.Origin{})
			var away *actors.UnavailableError
			if !errors.As(err, &away) {
				t.Fatalf("command %d: %v", i, err)
			}
			<-time.After(time.Second) // in the bubble
		}
		synctest.Wait()
		page, err := host.History(t.Context(), "agent-demo", 0, storage.Forward, storage.Limit{})
		if err != nil || len(page.Events) != 2 || page.Events[1].Kind != "agent.quarantined" {
			t.Fatalf("%v, history %+v", err, page.Events)
		}
		if !strings.Contains(string(page.Events[1].Data), "agent.created") {
			t.Errorf("the record does not give the reason: %s", page.Events[1].Data)
		}
	})
}

// TestPanics has a model and a tool panic: the call fails, the host lives.
func TestPanics(t *testing.T) {
	panics := actorstest.FakeTool{
		Describes: actors.ToolSpec{Name: "echo", Description: "panics", Schema: json.RawMessage(`{"type":"object"}`), Repeatable: true},
		Does:      func(context.Context, actors.ToolUse) (actors.ToolResult, error) { panic("oh") },
	}
	host := start(t, actors.Config{
		Journal: actorstest.NewMemory(), Models: oneModel{actorstest.FakeModel(twoRounds)}, Tools: []actors.Tool{panics},
	})
	do(t, host, "demo", create("demo", "echo"))
	do(t, host, "demo", say("c1", "go"))
	seen := fmt.Sprint(until(t, watch(t, host, "demo"), ended))
	if !strings.Contains(seen, "the tool failed: oh") || !strings.Contains(seen, "ended: done") {
		t.Error(seen)
	}
	mad := start(t, actors.Config{
		Journal: actorstest.NewMemory(),
		Models: oneModel{actorstest.FakeModel(func(context.Context, actors.ModelRequest, func(actors.Delta)) (actors.ModelResponse, error) {
			panic("oh")
		})},
	})
	do(t, mad, "demo", create("demo"))
	do(t, mad, "demo", say("c1", "go"))
	if seen := fmt.Sprint(until(t, watch(t, mad, "demo"), ended)); !strings.Contains(seen, "the provider panicked: oh") {
		t.Error(seen)
	}
}

// TestAdmission refuses commands beyond the limit while an agent cannot decide, and loses none that it accepted.
func TestAdmission(t *testing.T) {
	memory := actorstest.NewMemory()
	host := start(t, actors.Config{Journal: memory, Models: oneModel{actorstest.FakeModel(twoRounds)}}.Within(actors.Limits{Waiting: 4}))
	do(t, host, "demo", create("demo"))
	gate := make(chan struct{})
	memory.Fail(func(events.Stream, []events.Envelope) error { <-gate; return nil })
	const sent = 50
	results := make(chan error, sent)
	var refused atomic.Int64
	for i := range sent {
		go func() {
			send := say(fmt.Sprintf("c%d", i), "hello")
			_, err := host.Do(t.Context(), "agent-demo", send, actors.Origin{})
			results <- err
		}()
	}
	accepted := 0
	close(gate)
	for range sent {
		err := <-results
		var over *actors.OverloadedError
		switch {
		case err == nil:
			accepted++
		case errors.As(err, &over):
			refused.Add(1)
		default:
			t.Error(err)
		}
	}
	state, err := host.State(t.Context(), "demo", events.NoRevision)
	if err != nil || state.Agent.Received != accepted {
		t.Errorf("%v: %d accepted, %d in history, %d refused", err, accepted, state.Agent.Received, refused.Load())
	}
}

// TestCloseWaits closes a host while a call that cannot be repeated runs: the call may finish and is recorded, and the turn goes on
// at the next start.
func TestCloseWaits(t *testing.T) {
	memory := actorstest.NewMemory()
	began, finish := make(chan struct{}), make(chan struct{})
	var runs atomic.Int64
	tool := actorstest.FakeTool{
		Describes: actors.ToolSpec{Name: "echo", Description: "pays", Schema: json.RawMessage(`{"type":"object"}`), Risk: events.RiskHigh},
		Does: func(context.Context, actors.ToolUse) (actors.ToolResult, error) {
			runs.Add(1)
			close(began)
			<-finish
			return actors.ToolResult{Text: "paid"}, nil
		},
	}
	config := actors.Config{
		Journal: memory, Blobs: actorstest.NewBlobs(), Masker: actorstest.Unmasked{}, Models: oneModel{actorstest.FakeModel(twoRounds)}, Tools: []actors.Tool{tool},
		OpeningCredit: events.Dollar,
	}
	first, err := actors.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	do(t, first, "demo", create("demo", "echo"))
	do(t, first, "demo", say("c1", "go"))
	<-began
	closed := make(chan error)
	go func() { closed <- first.Close(t.Context()) }()
	close(finish)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if _, err := first.Do(t.Context(), "agent-demo", say("c2", "late"), actors.Origin{}); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("a command to a closed host: %v", err)
	}
	second := start(t, config)
	seen := fmt.Sprint(until(t, watch(t, second, "demo"), ended))
	if runs.Load() != 1 || !strings.Contains(seen, "paid") || strings.Contains(seen, "lost") {
		t.Errorf("%d runs:\n%s", runs.Load(), seen)
	}
}
