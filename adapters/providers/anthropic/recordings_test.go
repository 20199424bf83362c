package anthropic

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/adapters/providers/endpoint/endpointtest"
	"example.com/life/events"
	"example.com/life/sagas"
)

// wellFormed is how many of the recordings, from the first, end as the vendor ends replies.
const wellFormed = 7

// recordings are replies as the vendor streams them, a frame each: written by its documentation.
func recordings() [][]string {
	cached := `{"input_tokens":3,"cache_creation_input_tokens":120,"cache_read_input_tokens":900,"cache_creation":{"ephemeral_5m_input_tokens":120,"ephemeral_1h_input_tokens":0},"output_tokens":2}`
	whole := func(parts ...[]string) []string {
		return slices.Concat(append([][]string{{start(smallUsage)}}, parts...)...)
	}
	return [][]string{
		whole(text(0, "The answer ", "is 42."), end("end_turn", 8)),
		// Thoughts, a text, a call, and a cache.
		slices.Concat(raw(start(cached), frame("ping", "")), thought(0, "I must ", "look <at> it: ä🙂"), text(1, "I look."), call(2, "toolu_1", "bash", "", `{"comm`, `and": "ls \u00e4"}`), end("tool_use", 60)),
		whole(raw(begins(0, `{"type":"redacted_thinking","data":"redacted:Zm9v"}`), ends(0)), thought(1), text(2, "Done."), end("end_turn", 9)),
		whole(text(0, "I cannot"), refusalEnd(`{"type":"refusal","category":"bio","explanation":"No."}`)),
		whole(text(0, "I search."), raw(begins(1, `{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}`), piece(1, `{"type":"input_json_delta","partial_json":"{\"query\":\"x\"}"}`), ends(1),
			begins(2, `{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[]}`), ends(2)), end("pause_turn", 9)),
		whole(call(0, "toolu_1", "bash", `{"command":"a"}`), call(1, "toolu_2", "list_dir", `{"path"`, `:"b"}`), end("tool_use", 40)),
		whole(refusalEnd(`null`)),
		// And those that end otherwise.
		whole(text(0, "Half a "), raw(frame("error", `"error":{"type":"overloaded_error","message":"Overloaded"}`))),
		whole(call(0, "toolu_1", "bash", `{"command":"three`), end("max_tokens", 4096)),
		whole(thought(0, "Hm"), call(1, "toolu_1", "bash", `{"command":"four"}`), call(2, "toolu_2", "bash"), end("max_tokens", 4096)),
		{`{"type":"message","model":"claude-fake-1","content":[{"type":"text","text":"Whole."},{"type":"tool_use","id":"t","name":"bash","input":{"command":"five"}}],"stop_reason":"tool_use","usage":{"input_tokens":5,"output_tokens":2}}`},
	}
}

// retyped are what frames are retyped by.
var retyped = []string{`"index":0`, `"index":null`, `"toolu_1"`, `7`, `:"{`, `:{"x":"`, `"index":1`, `"index":0`, `text_delta`, `glow_delta`, `"tool_use"`, `"thinking"`, `"end_turn"`, `"refusal"`}

// written reports whether arguments are those of a call that the recordings hold.
func written(arguments json.RawMessage) bool {
	var call struct{ Command, Path string }
	if json.Unmarshal(arguments, &call) != nil {
		return false
	}
	return slices.Contains([]string{"ls ä", "a", "four", "five"}, call.Command) || call.Command == "" && (call.Path == "b" || call.Path == "")
}

// checkReply asks a model whose endpoint answers with that body, and holds what comes to what must be true of every reply: a failure has a
// class and a detail; the pieces are the reply; calls have ids of their own, and arguments that came whole unless they are marked as cut; and
// the conversation that goes on with the reply is one that the vendor takes.
func checkReply(t *testing.T, status int, media, body string, recorded bool) {
	t.Helper()
	heard := &heard{}
	question := actorstest.ModelQuestion("m")
	answer, err := asked(t, &question, status, media, body, heard.take)
	if err != nil {
		var failure *actors.ModelError
		if !errors.As(err, &failure) || failure.Detail == "" || failure.Class == "" {
			t.Fatalf("%q: error %v is no failure of the model with a detail", body, err)
		}
		return
	}
	heard.check(t, &answer)
	if len(answer.Calls) == 0 && strings.TrimSpace(answer.Text) == "" && answer.Fault == "" && answer.Stop == events.StopEnd {
		t.Errorf("%q: an empty reply is done", body)
	}
	if answer.Stop == events.StopFiltered && len(answer.Calls) > 0 {
		t.Errorf("%q: a refused reply calls %v", body, answer.Calls)
	}
	seen := map[string]bool{}
	for _, call := range answer.Calls {
		if !json.Valid(call.Arguments) || call.ID == "" || seen[call.ID] || call.Tool == "" {
			t.Errorf("call %+v", call)
		}
		seen[call.ID] = true
		if recorded && !call.Cut && endpoint.IsObject(string(call.Arguments)) && !written(call.Arguments) {
			t.Errorf("%q: the call %s was never sent", body, call.Arguments)
		}
	}
	question.Messages = append(question.Messages, saidOf(&answer))
	for _, call := range answer.Calls {
		question.Messages = append(question.Messages, sagas.Message{Role: sagas.RoleTool, CallID: call.ID, Tool: call.Tool})
	}
	for _, text := range []string{"Go on.", ""} {
		if text != "" || answer.Stop == events.StopPaused {
			checkQuestion(t, body, question, text)
		}
	}
}

// asked reads a body: as the network gives it, or a stream of which nothing but the reading is to be tried, without the vendor's package.
func asked(t *testing.T, question *actors.ModelRequest, status int, media, body string, delta func(actors.Delta)) (actors.ModelResponse, error) {
	t.Helper()
	config := anthropicConfig(endpoint.Config{BaseURL: "http://model.test", Client: &http.Client{Transport: endpointtest.Canned{Status: status, Media: media, Body: io.NopCloser(strings.NewReader(body))}}})
	model := newModel(t, config)
	m, ok := model.(*messages)
	if !ok || status != 200 || media != "" {
		return model.Ask(context.Background(), *question, delta)
	}
	_, call := m.Begin(context.Background())
	defer call.End()
	return m.read(call, question, io.NopCloser(strings.NewReader(body)), delta)
}

// saidOf is a reply as a message of the conversation.
func saidOf(answer *actors.ModelResponse) sagas.Message {
	said := sagas.Message{Role: sagas.RoleAssistant, Text: events.Text{Inline: answer.Text}, Calls: answer.Calls}
	for _, b := range answer.Blocks {
		block := events.Block{Kind: b.Kind, Bytes: b.Bytes}
		if b.Text != "" {
			block.Text = &events.Text{Inline: b.Text}
		}
		if b.Raw != "" {
			block.Raw = &events.Text{Inline: b.Raw}
		}
		said.Blocks = append(said.Blocks, block)
	}
	return said
}

// checkQuestion holds a conversation, and what the user says next, to the vendor's rules.
func checkQuestion(t *testing.T, body string, question actors.ModelRequest, next string) {
	t.Helper()
	if next != "" {
		question.Messages = append(slices.Clone(question.Messages), sagas.Message{Role: sagas.RoleUser, Text: events.Text{Inline: next}})
	}
	broken := brokenBy(t, &question, way{}, false)
	taken := func(rule string) bool {
		return !strings.Contains(rule, "Input tag") && !strings.Contains(rule, "`redacted_thinking` block")
	}
	if len(broken) > 0 && !slices.ContainsFunc(broken, taken) { // it is asked so after that refusal: TestABlockThatIsNotTakenBack
		broken = brokenBy(t, &question, way{plain: true}, false)
	}
	if len(broken) > 0 {
		t.Errorf("it breaks %v to go on after %q", broken, body)
	}
}

// brokenBy lists the rules that a question breaks as it is sent.
func brokenBy(t *testing.T, question *actors.ModelRequest, way way, own bool) []string {
	t.Helper()
	sent := sentAs(t, question, way, own)
	return sent.check(!own)
}

func sentAs(t *testing.T, question *actors.ModelRequest, way way, own bool) sentRequest {
	t.Helper()
	params, err := params(question, way, own, 0)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(params)
	if err != nil {
		t.Fatal(err)
	}
	var sent sentRequest
	if err := json.Unmarshal(encoded, &sent); err != nil {
		t.Fatalf("%s: %v", encoded, err)
	}
	return sent
}

// TestBorders cuts each recording in two at every byte, as networks do.
func TestBorders(t *testing.T) {
	endpointtest.Borders(t, recordings(), actorstest.ModelQuestion("m"), func(transport http.RoundTripper) actors.Model {
		return newModel(t, anthropicConfig(endpoint.Config{BaseURL: "http://model.test", Client: &http.Client{Transport: transport}}))
	})
}

// TestEveryCutOfARecording cuts each recording at every byte. What ends before the reply's end is no reply.
func TestEveryCutOfARecording(t *testing.T) {
	for _, frames := range recordings() {
		whole := strings.Join(frames, "")
		for at := range len(whole) {
			checkReply(t, 200, "", whole[:at], true)
		}
		checkReply(t, 200, "", strings.ReplaceAll(whole, "\n", "\r\n"), true)
	}
}

// TestMutatedRecordings tries many mutations, the same each time.
func TestMutatedRecordings(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		all := recordings()
		checkReply(t, 200, "", endpointtest.Mutated(all[r.IntN(len(all))], r, retyped...), false)
	}
}

// FuzzRecordings tries mutations of any number, and any bytes.
func FuzzRecordings(f *testing.F) {
	for i, frames := range recordings() {
		f.Add(uint64(i), 200, "text/event-stream", strings.Join(frames, ""))
	}
	f.Add(uint64(1), 429, "text/plain", "\xff\x00")
	f.Add(uint64(1), 400, "application/json", `{"type":"error","error":{"type":{},"details":[]}}`)
	f.Fuzz(func(t *testing.T, seed uint64, status int, media, body string) {
		if status < 200 || status > 599 {
			status = 200
		}
		checkReply(t, status, media, body, false)
		checkReply(t, 200, "", endpointtest.Mutated(strings.SplitAfter(body, "\n\n"), rand.New(rand.NewPCG(seed, 1)), retyped...), false)
	})
}
