package chat

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/adapters/providers/endpoint/endpointtest"
	"example.com/life/events"
	"example.com/life/sagas"
)

// recordings are replies as endpoints stream them, a frame each.
func recordings() [][]string {
	call := `{"index":0,"id":"c1","function":{"name":"bash","arguments":"{\"command\": \"echo `
	return [][]string{
		{textEvent("The answer "), textEvent("is 42."), finishEvent("stop"), event(smallUsage), done},
		{event(`{"choices":[{"index":0,"delta":{"reasoning_content":"Hm."}}]}`), callEvent(call + `one\"}"}}`), finishEvent("tool_calls"), event(smallUsage), done},
		{callEvent(call + `"}}`), callEvent(`{"index":0,"function":{"arguments":"two\"}"}}`), finishEvent("tool_calls"), done},
		{callEvent(`{"index":0,"function":{"name":"bash","arguments":"{\"command\":\"a\"}"}}`), callEvent(`{"index":0,"function":{"name":"list_dir","arguments":"{\"path\":\"b\"}"}}`), finishEvent("stop"), done},
		{callEvent(call + `three`), finishEvent("length"), event(smallUsage), done},
		{event(`{"choices":[{"index":0,"delta":{"content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"So."}]}}]}`), finishEvent("stop"), done},
		{"data:\n\n", ": alive\n\n", textEvent("<tool_call>{\"name\": \"bash\""), finishEvent("length"), done},
		{event(`{"object":"error","message":"the engine died","code":500}`), done},
		{`{"choices":[{"message":{"content":"Whole."},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":2}}`},
	}
}

// retyped are what frames are retyped by.
var retyped = []string{`"index":0`, `"index":null`, `"c1"`, `7`, `:"{`, `:{"x":"`}

// checkReply asks a model whose endpoint answers with that body, and holds what comes to what must be true of every reply: a failure has a
// class and a detail; the deltas are the text; calls have ids of their own and arguments that are JSON; no call is sent on that the
// recording did not hold; and the conversation that goes on with the reply is one that a strict endpoint takes.
func checkReply(t *testing.T, status int, media, body string) {
	t.Helper()
	model := newOpenAI(t, endpoint.Config{BaseURL: "http://model.test/v1", Client: &http.Client{Transport: endpointtest.Canned{
		Status: status, Media: media, Body: io.NopCloser(strings.NewReader(body)),
	}}})
	var heard strings.Builder
	question := actorstest.ModelQuestion("m")
	answer, err := model.Ask(context.Background(), question, func(piece actors.Delta) {
		if piece.Kind == events.BlockText {
			heard.WriteString(piece.Text)
		}
	})
	if err != nil {
		var failure *actors.ModelError
		if !errors.As(err, &failure) || failure.Detail == "" || failure.Class == "" {
			t.Fatalf("%q: error %v is no failure of the model with a detail", body, err)
		}
		return
	}
	if heard.String() != answer.Text {
		t.Errorf("the deltas say %q, the reply %q", heard.String(), answer.Text)
	}
	if len(answer.Calls) == 0 && strings.TrimSpace(answer.Text) == "" && answer.Fault == "" && answer.Stop == events.StopEnd {
		t.Errorf("%q: an empty reply is done", body)
	}
	seen := map[string]bool{}
	for _, call := range answer.Calls {
		if !json.Valid(call.Arguments) || call.ID == "" || seen[call.ID] || call.Tool == "" {
			t.Errorf("call %+v", call)
		}
		seen[call.ID] = true
	}
	said := sagas.Message{Role: sagas.RoleAssistant, Text: events.Text{Inline: answer.Text}, Calls: answer.Calls}
	for _, b := range answer.Blocks {
		said.Blocks = append(said.Blocks, events.Block{Kind: b.Kind, Bytes: b.Bytes, Text: &events.Text{Inline: b.Text}})
		if b.Raw != "" {
			said.Blocks[len(said.Blocks)-1].Raw = &events.Text{Inline: b.Raw}
		}
	}
	question.Messages = append(question.Messages, said)
	for _, call := range answer.Calls {
		question.Messages = append(question.Messages, sagas.Message{Role: sagas.RoleTool, CallID: call.ID, Tool: call.Tool})
	}
	question.Messages = append(question.Messages, sagas.Message{Role: sagas.RoleUser, Text: events.Text{Inline: "Go on."}})
	params, err := params(question, way{}, false)
	if err != nil {
		t.Fatalf("%q: the conversation cannot go on: %v", body, err)
	}
	encoded, err := json.Marshal(params)
	if err != nil {
		t.Fatalf("%q: the conversation cannot be sent: %v", body, err)
	}
	var sent sentRequest
	if err := json.Unmarshal(encoded, &sent); err != nil {
		t.Fatalf("%s: %v", encoded, err)
	}
	if broken := (rules{alternate: true}).check(&sent); len(broken) > 0 {
		t.Errorf("%q makes a conversation that breaks %v", body, broken)
	}
}

// TestBorders cuts each recording in two at every byte, as networks do.
func TestBorders(t *testing.T) {
	endpointtest.Borders(t, recordings(), actorstest.ModelQuestion("m"), func(transport http.RoundTripper) actors.Model {
		return newOpenAI(t, endpoint.Config{BaseURL: "http://model.test/v1", Client: &http.Client{Transport: transport}})
	})
}

// TestEveryCutOfARecording cuts each recording at every byte. What ends before the model said why is no reply.
func TestEveryCutOfARecording(t *testing.T) {
	for _, frames := range recordings() {
		whole := strings.Join(frames, "")
		for at := range len(whole) {
			checkReply(t, 200, "text/event-stream", whole[:at])
		}
	}
}

// TestMutatedRecordings tries many mutations, the same each time.
func TestMutatedRecordings(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		all := recordings()
		checkReply(t, 200, "text/event-stream", endpointtest.Mutated(all[r.IntN(len(all))], r, retyped...))
	}
}

// FuzzMutatedRecordings tries mutations of any number, and any bytes.
func FuzzMutatedRecordings(f *testing.F) {
	for i, frames := range recordings() {
		f.Add(uint64(i), strings.Join(frames, ""))
	}
	f.Fuzz(func(t *testing.T, seed uint64, body string) {
		checkReply(t, 200, "text/event-stream", body)
		frames := strings.SplitAfter(body, "\n\n")
		checkReply(t, 200, "text/event-stream", endpointtest.Mutated(frames, rand.New(rand.NewPCG(seed, 1)), retyped...))
	})
}
