package responses

import (
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/adapters/providers/endpoint/endpointtest"
)

// recordings are replies as endpoints stream them, a frame each.
func recordings(t testing.TB) [][]string {
	t.Helper()
	names, err := filepath.Glob("testdata/*.sse")
	if err != nil || len(names) < 8 {
		t.Fatalf("%d recordings, %v", len(names), err)
	}
	var all [][]string
	for _, name := range names {
		all = append(all, strings.SplitAfter(recording(t, strings.TrimSuffix(filepath.Base(name), ".sse")), "\n\n"))
	}
	return append(all,
		callsOne("c1", "bash", `{"command": "echo one"}`).Pieces,
		frames(callAdded(0, "f1", "c1", "bash"), callDelta(0, "f1", `{"command": "echo `), callDelta(0, "f1", `two"}`), callDone(0, "f1", "c1", "bash", `{"command": "echo two"}`), completed).Pieces,
		frames(delta(0, "m", "<tool_call>{\"name\": \"bash\""), `{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}}`).Pieces,
		failedBy("server_error", "Broken.").Pieces,
		[]string{`{"object":"response","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"Whole."}]}],"usage":` + someUsage + `}`},
	)
}

// retyped are what frames are retyped by.
var retyped = []string{
	`"output_index":0`, `"output_index":null`, `"output_index":1`, `"output_index":"0"`, `"fc_1"`, `7`, `"arguments":"{`, `"arguments":{"x":"`,
	`"content":[`, `"content":{`, `"type":"reasoning"`, `"type":"sparkle"`, `"sequence_number":`, `"number":`,
}

func dialect(t testing.TB) *endpointtest.Dialect {
	return &endpointtest.Dialect{
		Recordings: recordings(t), Retyped: retyped, Question: actorstest.ModelQuestion("m"),
		Model: func(t testing.TB, transport http.RoundTripper) actors.Model {
			return newModel(t, endpoint.Config{BaseURL: "http://model.test/v1", Client: &http.Client{Transport: transport}})
		},
		Reply: func(question *actors.ModelRequest, delta func(actors.Delta)) endpoint.Reply {
			return newReply(*question, delta)
		},
		Breaks: func(t testing.TB, question *actors.ModelRequest) []string {
			broken := brokenBy(t, question, way{})
			if len(broken) > 0 && strings.HasPrefix(broken[0], "Unknown parameter: '") { // it is asked so after that refusal: TestRefusalsInOtherWords
				broken = brokenBy(t, question, way{noItems: true})
			}
			return broken
		},
	}
}

// brokenBy lists the rules that a question breaks as it is sent.
func brokenBy(t testing.TB, question *actors.ModelRequest, way way) []string {
	t.Helper()
	encoded, err := body(question, way, true)
	if err != nil {
		t.Fatalf("the conversation cannot go on: %v", err)
	}
	var q sent
	if err := errors.Join(json.Unmarshal(encoded, &q), json.Unmarshal(encoded, &q.raw)); err != nil {
		t.Fatalf("%s: %v", encoded, err)
	}
	v := &vendor{gave: map[string]givenRow{}}
	for _, it := range q.items() { // items of kinds that are not known are taken here as they are
		if _, has := known[it.Type]; !has && it.Type != typeReasoning {
			v.gave[it.ID] = givenRow{raw: it.raw}
		}
	}
	return v.check(&q)
}

func TestBorders(t *testing.T)              { dialect(t).Borders(t) }
func TestEveryCutOfARecording(t *testing.T) { dialect(t).Cuts(t) }
func TestMutatedRecordings(t *testing.T)    { dialect(t).Mutations(t) }

func FuzzMutatedRecordings(f *testing.F) {
	f.Add(uint64(1), 200, "", `data: {"type":"response.output_item.done","item":{"type":7,"id":{},"content":[null,1,"x",{"type":"output_text","text":"\ud83d"}]}}`+"\n\n")
	dialect(f).Fuzz(f)
}
