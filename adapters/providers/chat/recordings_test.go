package chat

import (
	"encoding/json"
	"net/http"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/adapters/providers/endpoint/endpointtest"
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

func dialect() *endpointtest.Dialect {
	return &endpointtest.Dialect{
		Recordings: recordings(), Retyped: retyped, Question: actorstest.ModelQuestion("m"),
		Model: func(t testing.TB, transport http.RoundTripper) actors.Model {
			return newOpenAI(t, endpoint.Config{BaseURL: "http://model.test/v1", Client: &http.Client{Transport: transport}})
		},
		Reply: func(question *actors.ModelRequest, delta func(actors.Delta)) endpoint.Reply {
			return newReply(*question, delta)
		},
		Breaks: func(t testing.TB, question *actors.ModelRequest) []string {
			params, err := params(*question, way{}, false)
			if err != nil {
				t.Fatalf("the conversation cannot go on: %v", err)
			}
			encoded, err := json.Marshal(params)
			if err != nil {
				t.Fatalf("the conversation cannot be sent: %v", err)
			}
			var sent sentRequest
			if err := json.Unmarshal(encoded, &sent); err != nil {
				t.Fatalf("%s: %v", encoded, err)
			}
			return rules{alternate: true}.check(&sent)
		},
	}
}

func TestBorders(t *testing.T)              { dialect().Borders(t) }
func TestEveryCutOfARecording(t *testing.T) { dialect().Cuts(t) }
func TestMutatedRecordings(t *testing.T)    { dialect().Mutations(t) }

func FuzzMutatedRecordings(f *testing.F) {
	f.Add(uint64(1), 200, "text/event-stream", event(`{"error":[1]}`))
	f.Add(uint64(1), 200, "", event(`{"choices":[{"delta":{"content":"\ud83d","tool_calls":[{"index":-1,"id":7,"function":{"name":"x","arguments":"\ud83d"}},null]},"finish_reason":"x"}],"usage":[]}`))
	dialect().Fuzz(f)
}
