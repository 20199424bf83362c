package actors_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/events"
	"example.com/life/sagas"
)

// signed is a raw form of which every byte counts: spaces, escapes, order, and more than an event holds.
var signed = `{ "type":"thinking","b":1,  "a":"\u003cé\/>", "signature":"` + strings.Repeat("EqQBCkYIBxgC", 4_000) + `" }`

// thinker thinks, calls a tool, and answers; it keeps what it was asked.
type thinker struct {
	mu    sync.Mutex
	asked []actors.ModelRequest
	raw   string
}

func (m *thinker) ask(_ context.Context, q actors.ModelRequest, _ func(actors.Delta)) (actors.ModelResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = append(m.asked, q)
	answer := actors.ModelResponse{Text: "I look. Then I tell.", Stop: events.StopEnd, Usage: events.Usage{Input: 1, Output: 1}}
	if q.Messages[len(q.Messages)-1].Role != sagas.RoleTool {
		answer.Stop = events.StopCalls
		answer.Calls = []events.ModelCall{{ID: "x", Tool: "echo", Arguments: json.RawMessage(`{"text":"hello"}`)}}
		answer.Blocks = []actors.Block{
			{Kind: events.BlockThinking, Text: "What is there?", Raw: m.raw},
			{Kind: events.BlockText, Bytes: 7},
			{Kind: events.BlockItem, Raw: `{"type":"redacted_thinking","data":"x"}`},
			{Kind: events.BlockText, Bytes: 13},
			{Kind: events.BlockCall},
		}
	}
	return answer, nil
}

// first returns the first reply with blocks that the model was sent with its latest question, and whether its text and calls are there.
func (m *thinker) first(t *testing.T) []events.Block {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, message := range m.asked[len(m.asked)-1].Messages {
		if message.Role != sagas.RoleAssistant || len(message.Calls) == 0 {
			continue
		}
		if message.Text.Inline != "I look. Then I tell." || message.Calls[0].Tool != "echo" {
			t.Errorf("text and calls are not there: %+v", message)
		}
		return message.Blocks
	}
	t.Fatal("no reply was sent back")
	return nil
}

func checkOwn(t *testing.T, when string, blocks []events.Block) {
	t.Helper()
	if len(blocks) != 5 || blocks[0].Raw == nil || blocks[0].Raw.Inline != signed || blocks[0].Text.Inline != "What is there?" ||
		blocks[1].Bytes != 7 || blocks[2].Raw == nil || blocks[2].Raw.Inline != `{"type":"redacted_thinking","data":"x"}` || blocks[3].Bytes != 13 {
		t.Errorf("%s: sent back %d blocks, not as they came: %.300v", when, len(blocks), blocks)
	}
}

func checkForeign(t *testing.T, when string, blocks []events.Block) {
	t.Helper()
	for _, block := range blocks {
		if block.Raw != nil {
			t.Errorf("%s: the raw form of %s was sent to another model", when, block.Kind)
		}
	}
}

// TestBlocksGoBackWhereTheyCameFrom: byte for byte over a tool round, a restart and a fork; and to no other model.
func TestBlocksGoBackWhereTheyCameFrom(t *testing.T) {
	model, memory, blobs := &thinker{raw: signed}, actorstest.NewMemory(), actorstest.NewBlobs()
	config := actors.Config{
		Journal: memory, Snapshots: memory, Blobs: blobs, OpeningCredit: events.Dollar,
		Models: oneModel{actorstest.FakeModel(model.ask)}, Tools: []actors.Tool{echo()},
	}
	host := start(t, config)
	do(t, host, "demo", create("demo", "echo"))
	turn := func(agent events.AgentID, id string) {
		t.Helper()
		feed := watch(t, host, agent)
		receipt := do(t, host, agent, say(id, "go on"))
		until(t, feed, func(e events.Event) bool {
			ended, is := e.(events.TurnEnded)
			return is && ended.Turn == receipt.Turn
		})
	}
	turn("demo", "m1")
	checkOwn(t, "after a tool's result", model.first(t))

	if err := host.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	host = start(t, config)
	turn("demo", "m2")
	checkOwn(t, "after a restart", model.first(t))

	for _, fork := range []struct {
		name string
		set  []string
	}{{"same", nil}, {"other", []string{"model=fake/other"}}} {
		forked, err := host.Fork(t.Context(), actors.ForkOrder{
			ID: events.CommandID("f-" + fork.name), Name: events.AgentID("f-" + fork.name), Parent: "demo", At: events.NoRevision, Turns: actors.NoTurns, Set: fork.set,
		}, actors.Origin{})
		if err != nil {
			t.Fatal(err)
		}
		turn(forked.Agent, "m3-"+fork.name)
		if fork.set == nil {
			checkOwn(t, "in a fork", model.first(t))
		} else {
			checkForeign(t, "in a fork onto another model", model.first(t))
		}
	}
	state, err := host.State(t.Context(), "demo", events.NoRevision)
	if err != nil {
		t.Fatal(err)
	}
	changed := state.Agent.Config
	changed.Model = "fake/other"
	do(t, host, "demo", sagas.Configure{Meta: meta("c"), Config: changed})
	turn("demo", "m4")
	checkForeign(t, "after the model was changed", model.first(t))
	if report, err := host.Verify(t.Context(), "", nil); err != nil || len(report.Failures) > 0 {
		t.Errorf("verify: %+v, %v", report, err)
	}
}

// TestSecretsInBlocks: what was thought is masked like what was said; a raw form that holds a secret is not kept, because its provider would refuse it changed.
func TestSecretsInBlocks(t *testing.T) {
	reply := actors.ModelResponse{Text: "It is " + knownWord + ". So.", Stop: events.StopEnd, Blocks: []actors.Block{
		{Kind: events.BlockThinking, Text: "I know " + knownWord, Raw: `{"thinking":"I know ` + knownWord + `","signature":"s"}`},
		{Kind: events.BlockText, Bytes: len("It is " + knownWord + ".")},
		{Kind: events.BlockItem, Raw: `{"data":"x"}`},
		{Kind: events.BlockText, Bytes: len(" So.")},
	}}
	memory := actorstest.NewMemory()
	host := start(t, actors.Config{Journal: memory, Snapshots: memory, Masker: wordMasker{}, Models: oneModel{actorstest.FakeModel(
		func(context.Context, actors.ModelRequest, func(actors.Delta)) (actors.ModelResponse, error) {
			return reply, nil
		},
	)}})
	do(t, host, "demo", create("demo"))
	feed := watch(t, host, "demo")
	do(t, host, "demo", say("m1", "say it"))
	for _, event := range until(t, feed, ended) {
		e, is := event.(events.ModelReplied)
		if !is {
			continue
		}
		stored, err := events.PlainJSON(e)
		if err != nil || strings.Contains(string(stored), knownWord) {
			t.Errorf("stored %s, %v", stored, err)
		}
		if len(e.Blocks) != 4 || e.Blocks[0].Raw != nil || e.Blocks[0].Text == nil || e.Blocks[2].Raw.Inline != `{"data":"x"}` ||
			e.Blocks[1].Bytes+e.Blocks[3].Bytes != len(e.Inline) || e.Blocks[3].Bytes != len(" So.") || len(e.Masked) == 0 {
			t.Errorf("kept %+v of %q", e.Blocks, e.Inline)
		}
	}
}
