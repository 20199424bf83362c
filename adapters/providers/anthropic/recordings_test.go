package anthropic

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/adapters/providers/endpoint/endpointtest"
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

func dialect() *endpointtest.Dialect {
	return &endpointtest.Dialect{
		Recordings: recordings(), Retyped: retyped, Question: actorstest.ModelQuestion("m"),
		Model: func(t testing.TB, transport http.RoundTripper) actors.Model {
			return newModel(t, anthropicConfig(endpoint.Config{BaseURL: "http://model.test", Client: &http.Client{Transport: transport}}))
		},
		Reply: func(question *actors.ModelRequest, delta func(actors.Delta)) endpoint.Reply {
			return newReply(question, delta)
		},
		Breaks: func(t testing.TB, question *actors.ModelRequest) []string {
			broken := brokenBy(t, question, way{}, false)
			taken := func(rule string) bool {
				return !strings.Contains(rule, "Input tag") && !strings.Contains(rule, "`redacted_thinking` block")
			}
			if len(broken) > 0 && !slices.ContainsFunc(broken, taken) { // it is asked so after that refusal: TestABlockThatIsNotTakenBack
				broken = brokenBy(t, question, way{plain: true}, false)
			}
			return broken
		},
	}
}

// brokenBy lists the rules that a question breaks as it is sent.
func brokenBy(t testing.TB, question *actors.ModelRequest, way way, own bool) []string {
	t.Helper()
	sent := sentAs(t, question, way, own)
	return sent.check(!own)
}

func sentAs(t testing.TB, question *actors.ModelRequest, way way, own bool) sentRequest {
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

func TestBorders(t *testing.T)              { dialect().Borders(t) }
func TestEveryCutOfARecording(t *testing.T) { dialect().Cuts(t) }
func TestMutatedRecordings(t *testing.T)    { dialect().Mutations(t) }
func FuzzRecordings(f *testing.F)           { dialect().Fuzz(f) }
