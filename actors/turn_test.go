package actors_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// oneModel answers every name with one model.
type oneModel struct{ model actors.Model }

func (m oneModel) Lookup(name string) (actors.Model, string, error) { return m.model, name, nil }

// noModels has none.
type noModels struct{}

func (noModels) Lookup(string) (actors.Model, string, error) { return nil, "", context.Canceled }

// twoRounds calls the tool echo once and then says done.
func twoRounds(_ context.Context, q actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
	usage := events.Usage{Input: 10, Output: 5}
	if last := q.Messages[len(q.Messages)-1]; last.Role == sagas.RoleTool {
		delta(actors.Delta{Kind: events.BlockText, Text: "done"})
		return actors.ModelResponse{Text: "done", Stop: events.StopEnd, Usage: usage}, nil
	}
	return actors.ModelResponse{
		Calls: []events.ModelCall{{ID: "x", Tool: "echo", Arguments: json.RawMessage(`{"text":"hello"}`)}},
		Stop:  events.StopCalls, Usage: usage,
	}, nil
}

func echo() actors.Tool {
	return actorstest.FakeTool{
		Describes: actors.ToolSpec{Name: "echo", Description: "says it back", Schema: json.RawMessage(`{"type":"object"}`), Repeatable: true},
		Does: func(_ context.Context, use actors.ToolUse) (actors.ToolResult, error) {
			return actors.ToolResult{Text: string(use.Arguments)}, nil
		},
	}
}

// start runs a host on a journal until the test ends.
func start(t *testing.T, config actors.Config) *actors.Host {
	t.Helper()
	if config.Blobs == nil {
		config.Blobs = actorstest.NewBlobs()
	}
	if config.Masker == nil {
		config.Masker = actorstest.Unmasked{}
	}
	if config.OpeningCredit == 0 {
		config.OpeningCredit = 100 * events.Dollar
	}
	host, err := actors.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := host.Close(ctx); err != nil {
			t.Error(err)
		}
		<-time.After(time.Millisecond) // protoactor notes messages to stopped actors in a goroutine that ends a moment later
	})
	return host
}

func do(t *testing.T, host *actors.Host, agent events.AgentID, command sagas.Command) actors.Receipt {
	t.Helper()
	receipt, err := host.Do(t.Context(), events.AgentStream(agent), command, actors.Origin{Actor: "test"})
	if err != nil {
		t.Fatalf("%T: %v", command, err)
	}
	return receipt
}

func meta(id string) sagas.Meta { return sagas.Meta{ID: events.CommandID(id), At: storage.Now()} }

func create(agent events.AgentID, tools ...string) sagas.Create {
	c := sagas.Create{Meta: meta("create"), Agent: agent, Config: events.AgentConfig{Model: "fake/two"}}
	for _, tool := range tools {
		c.Config.Tools = append(c.Config.Tools, events.ToolGrant{Name: tool})
	}
	return c
}

func say(id, text string) sagas.Send {
	return sagas.Send{Meta: meta(id), Verb: events.Collect, Text: events.Text{Inline: text}}
}

// until reads a feed up to the first event that wanted accepts, and returns all events up to it.
func until(t *testing.T, feed actors.Feed, wanted func(events.Event) bool) []events.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var seen []events.Event
	for {
		item, err := feed.Next(ctx)
		if err != nil {
			t.Fatalf("feed ended after %d events: %v\n%v", len(seen), err, seen)
		}
		if item.Event == nil {
			continue
		}
		event, err := item.Event.Event()
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, event)
		if wanted(event) {
			return seen
		}
	}
}

func ended(event events.Event) bool {
	_, ok := event.(events.TurnEnded)
	return ok
}

func watch(t *testing.T, host *actors.Host, agent events.AgentID) actors.Feed {
	t.Helper()
	feed, err := host.Watch(t.Context(), agent, events.NoRevision)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = feed.Close() })
	return feed
}

func TestTurn(t *testing.T) {
	memory := actorstest.NewMemory()
	host := start(t, actors.Config{
		Journal: memory, Snapshots: memory, Models: oneModel{actorstest.FakeModel(twoRounds)}, Tools: []actors.Tool{echo()},
	})
	do(t, host, "demo", create("demo", "echo"))
	feed := watch(t, host, "demo")
	receipt := do(t, host, "demo", say("c1", "hello"))
	if receipt.Turn != "demo/1" || receipt.Message != "m1" {
		t.Errorf("receipt %+v", receipt)
	}
	seen := until(t, feed, func(e events.Event) bool { return e.Kind() == "settlement.recorded" })
	for _, event := range seen {
		t.Log(event)
	}
	report, err := host.Verify(t.Context(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Failures) > 0 || report.Streams != 2 {
		t.Errorf("verify: %+v", report)
	}
	if again := do(t, host, "demo", say("c1", "hello")); !again.Duplicate || again.Revision != receipt.Revision {
		t.Errorf("the same command again: %+v", again)
	}
}

// TestPolicyOfUnknownTools refuses a policy that would protect nothing.
func TestPolicyOfUnknownTools(t *testing.T) {
	host := start(t, actors.Config{
		Journal: actorstest.NewMemory(), Models: oneModel{actorstest.FakeModel(twoRounds)}, Tools: []actors.Tool{echo()},
	})
	made := create("demo", "echo")
	made.Config.Policy.Deny = []string{"ecko"}
	var refused *sagas.RefusalError
	_, err := host.Do(t.Context(), events.AgentStream("demo"), made, actors.Origin{})
	if !errors.As(err, &refused) || refused.Code != sagas.RefusedInvalid {
		t.Errorf("a misspelt tool: %v", err)
	}
	made.Config.Policy.Deny = []string{"*"}
	do(t, host, "demo", made)
}
