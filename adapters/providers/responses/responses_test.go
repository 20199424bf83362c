package responses

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/adapters/providers/endpoint/endpointtest"
	"example.com/life/events"
)

func TestResponsesIsAModel(t *testing.T) {
	actorstest.TestModel(t, func(t *testing.T, situation actorstest.ModelSituation) (actors.Model, string) {
		reply := wire{End: endpointtest.Hang}
		switch {
		case situation.Reply != nil:
			reply = playing(*situation.Reply)
		case situation.Failure != nil:
			reply = failing(situation.Failure)
		}
		v := &vendor{replies: []wire{reply}}
		t.Cleanup(func() {
			if len(v.broken) > 0 {
				t.Errorf("requests broke %v", v.broken)
			}
		})
		return newModel(t, v.open(t)), "fake-1"
	})
}

// TestTheQuestionIsSent compares the whole request with testdata/request.json.
func TestTheQuestionIsSent(t *testing.T) {
	var got map[string]any
	config := fake(t, func(r *http.Request, body []byte) wire {
		if err := json.Unmarshal(body, &got); err != nil || r.Header.Get("Authorization") != "Bearer "+endpointtest.Key {
			t.Errorf("%v, Authorization is %q", err, r.Header.Get("Authorization"))
		}
		return says("ok")
	})
	if _, err := newModel(t, config).Ask(t.Context(), actorstest.ModelQuestion("fake-1"), nil); err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadFile("testdata/request.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := json.Unmarshal(golden, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the request differs from testdata/request.json (-want +got):\n%s", diff)
	}
}

// TestThinkingIsAskedFor: the effort, or what a budget is about; the summary is what can be shown.
func TestThinkingIsAskedFor(t *testing.T) {
	for name, test := range map[string]struct {
		thinking events.Thinking
		way      way
		want     string
	}{
		"the model's default": {want: `{"summary":"auto"}`},
		"off":                 {thinking: events.Thinking{Effort: events.EffortOff}, want: `{"effort":"none"}`},
		"off, with a minimum": {thinking: events.Thinking{Effort: events.EffortOff}, way: way{effort: floorMinimal}, want: `{"effort":"minimal"}`},
		"off, and it cannot":  {thinking: events.Thinking{Effort: events.EffortOff}, way: way{effort: floorUnasked}, want: `null`},
		"high":                {thinking: events.Thinking{Effort: events.EffortHigh, Budget: 100}, want: `{"effort":"high","summary":"auto"}`},
		"a small budget":      {thinking: events.Thinking{Budget: 1000}, want: `{"effort":"low","summary":"auto"}`},
		"a budget":            {thinking: events.Thinking{Budget: 10_000}, want: `{"effort":"medium","summary":"auto"}`},
		"a large budget":      {thinking: events.Thinking{Budget: 32_000}, want: `{"effort":"high","summary":"auto"}`},
		"not verified":        {thinking: events.Thinking{Effort: events.EffortLow}, way: way{noSummary: true}, want: `{"effort":"low"}`},
		"no reasoning":        {thinking: events.Thinking{Effort: events.EffortLow}, way: way{noReasoning: true}, want: `null`},
	} {
		got, err := events.PlainJSON(test.way.reasoning(test.thinking))
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %s, %v, want %s", name, got, err, test.want)
		}
	}
}

// reads asks a model whose endpoint streams that, and gives what it says and thinks as it streams in.
func reads(t *testing.T, reply wire) (answer actors.ModelResponse, said, thought string, failure *actors.ModelError) {
	t.Helper()
	model := newModel(t, fake(t, func(*http.Request, []byte) wire { return reply }))
	var text, thinking strings.Builder
	answer, err := model.Ask(t.Context(), actorstest.ModelQuestion("m"), func(piece actors.Delta) {
		switch piece.Kind {
		case events.BlockText:
			text.WriteString(piece.Text)
		case events.BlockThinking:
			thinking.WriteString(piece.Text)
		case events.BlockCall, events.BlockItem:
		}
	})
	if err != nil && !errors.As(err, &failure) {
		t.Fatal(err)
	}
	return answer, text.String(), thinking.String(), failure
}

// frames writes events without the care of a script: each is the JSON of one.
func frames(events ...string) wire {
	var w wire
	for _, one := range events {
		w.Pieces = append(w.Pieces, "data: "+one+"\n\n")
	}
	return w
}

const completed = `{"type":"response.completed","response":{"status":"completed","model":"fake-1","usage":` + someUsage + `}}`

func delta(index any, id, text string) string {
	return fmt.Sprintf(`{"type":"response.output_text.delta","output_index":%v,"item_id":%q,"content_index":0,"delta":%s}`, index, id, quote(text))
}

func callAdded(index any, id, call, tool string) string {
	return fmt.Sprintf(`{"type":"response.output_item.added","output_index":%v,"item":{"type":"function_call","id":%q,"call_id":%q,"name":%q,"arguments":""}}`, index, id, call, tool)
}

func callDelta(index any, id, text string) string {
	return fmt.Sprintf(`{"type":"response.function_call_arguments.delta","output_index":%v,"item_id":%q,"delta":%s}`, index, id, quote(text))
}

func callDone(index any, id, call, tool, arguments string) string {
	return fmt.Sprintf(`{"type":"response.output_item.done","output_index":%v,"item":{"type":"function_call","id":%q,"call_id":%q,"name":%q,"arguments":%s}}`, index, id, call, tool, quote(arguments))
}

func messageDone(index any, text string) string {
	return fmt.Sprintf(`{"type":"response.output_item.done","output_index":%v,"item":{"type":"message","role":"assistant","content":[{"type":"output_text","text":%s}]}}`, index, quote(text))
}

// TestWhatServersSend: what is said and called is read right, however it is put.
func TestWhatServersSend(t *testing.T) {
	const list, bash = `{"path":"."}`, `{"command":"ls"}`
	crlf := func(w wire) wire {
		return wire{Pieces: []string{strings.ReplaceAll(strings.Join(w.Pieces, ""), "\n", "\r\n")}}
	}
	doubled := begin()
	doubled.message("Hi there.", "")
	doubled.completed()
	for i, frame := range doubled.frames {
		doubled.frames[i] = frame + frame
	}
	mixed := begin()
	mixed.message("one two three", "")
	mixed.completed()
	mixed.frames[3], mixed.frames[4] = mixed.frames[4], mixed.frames[3]
	for name, test := range map[string]struct {
		wire  wire
		text  string
		calls string // tool and arguments of each
	}{
		"single bytes":                 {wire{Pieces: strings.Split(strings.Join(says("Grüße 🙂").Pieces, ""), "")}, "Grüße 🙂", ""},
		"CRLF":                         {crlf(says("Hi.")), "Hi.", ""},
		"a byte order mark":            {wire{Pieces: append([]string{"\ufeff"}, says("Hi.").Pieces...)}, "Hi.", ""},
		"heartbeats":                   {frames(`{"type":"keepalive","sequence_number":3}`, `{"type":"ping"}`, delta(0, "m", "Hi."), `{"type":"response.heartbeat"}`, messageDone(0, "Hi."), completed), "Hi.", ""},
		"comments":                     {wire{Pieces: []string{": alive\n\n", "data: " + delta(0, "m", "Hi.") + "\n\n", ":\n", "data: " + completed + "\n\n"}}, "Hi.", ""},
		"cut after the end":            {wire{Pieces: says("Hi.").Pieces, End: endpointtest.Reset}, "Hi.", ""},
		"open after the end":           {wire{Pieces: says("Hi.").Pieces, End: endpointtest.Hang}, "Hi.", ""},
		"everything twice":             {wire{Pieces: doubled.frames}, "Hi there.", ""},
		"out of order":                 {wire{Pieces: mixed.frames}, "one two three", ""},
		"one number for all":           {frames(`{"type":"response.output_text.delta","sequence_number":0,"output_index":0,"delta":"ha"}`, `{"type":"response.output_text.delta","sequence_number":0,"output_index":0,"delta":"! "}`, `{"type":"response.output_text.delta","sequence_number":0,"output_index":0,"delta":"ha"}`, completed), "ha! ha", ""},
		"deltas alone":                 {frames(delta(0, "m", "Hi "), delta(0, "m", "there."), completed), "Hi there.", ""},
		"no index":                     {frames(delta("null", "m", "Hi "), delta("null", "m", "there."), completed), "Hi there.", ""},
		"index as a text":              {frames(delta(`"0"`, "m", "Hi "), delta(`"0"`, "m", "there."), completed), "Hi there.", ""},
		"another id in each event":     {frames(delta(0, "a", "Hi "), delta(0, "b", "there."), messageDone(0, "Hi there."), completed), "Hi there.", ""},
		"the final response alone":     {frames(`{"type":"response.completed","response":{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"Hi."}]},{"type":"function_call","call_id":"a","name":"bash","arguments":"{}"}]}}`), "Hi.", "bash {}"},
		"done says more":               {frames(delta(0, "m", "Hi "), messageDone(0, "Hi there."), completed), "Hi there.", ""},
		"done says nothing":            {frames(delta(0, "m", "Hi."), `{"type":"response.output_item.done","output_index":0,"item":{"type":"message","content":[]}}`, completed), "Hi.", ""},
		"content is a text":            {frames(`{"type":"response.output_item.done","output_index":0,"item":{"type":"message","content":"Hi."}}`, completed), "Hi.", ""},
		"the final output is empty":    {frames(messageDone(0, "Hi."), `{"type":"response.completed","response":{"status":"completed","output":[]}}`), "Hi.", ""},
		"a final output beside it":     {frames(delta(1, "m", "Hi."), messageDone(1, "Hi."), `{"type":"response.completed","response":{"status":"completed","output":[{"type":"message","id":"x","content":[{"type":"output_text","text":"Hi."}]}]}}`), "Hi.", ""},
		"event names alone":            {wire{Pieces: []string{"event: response.output_text.delta\ndata: {\"output_index\":0,\"delta\":\"Hi.\"}\n\n", "event: response.completed\ndata: {\"response\":{\"status\":\"completed\"}}\n\n"}}, "Hi.", ""},
		"done, and no response in it":  {frames(delta(0, "m", "Hi."), `{"type":"response.done","status":"completed"}`), "Hi.", ""},
		"whole":                        {wire{Header: map[string]string{"Content-Type": "application/json"}, Pieces: []string{`{"id":"r","object":"response","status":"completed","error":null,"output":[{"type":"message","content":[{"type":"output_text","text":"Hi."}]},{"type":"function_call","id":"f","call_id":"a","name":"bash","arguments":"{\"command\":\"ls\"}"}],"usage":` + someUsage + `}`}}, "Hi.", "bash " + bash},
		"whole, over many lines":       {wire{Pieces: []string{"{\n  \"object\": \"response\",\n  \"status\": \"completed\",\n  \"output\": [\n    {\n      \"type\": \"message\",\n      \"content\": [{\"type\": \"output_text\", \"text\": \"Hi.\"}]\n    }\n  ]\n}\n"}}, "Hi.", ""},
		"a list of events":             {wire{Pieces: []string{"data: [" + delta(0, "m", "Hi.") + "," + completed + "]\n\n"}}, "Hi.", ""},
		"split pairs":                  {frames(`{"type":"response.output_text.delta","output_index":0,"delta":"a\ud83d"}`, `{"type":"response.output_text.delta","output_index":0,"delta":"\ude42b"}`, completed), "a🙂b", ""},
		"half a pair":                  {frames(`{"type":"response.output_text.delta","output_index":0,"delta":"a\ud83d"}`, completed), "a\ufffd", ""},
		"invalid UTF-8":                {frames("{\"type\":\"response.output_text.delta\",\"output_index\":0,\"delta\":\"a\xffb\"}", completed), "a\ufffdb", ""},
		"several parts":                {frames(`{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"One."}`, `{"type":"response.output_text.delta","output_index":0,"content_index":1,"delta":" Two."}`, completed), "One. Two.", ""},
		"parts out of order":           {frames(`{"type":"response.output_text.delta","output_index":0,"content_index":1,"delta":" Two."}`, `{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"One."}`, completed), "One. Two.", ""},
		"several messages":             {frames(messageDone(0, "One."), messageDone(1, " Two."), completed), "One. Two.", ""},
		"one index for all":            {frames(callAdded(0, "f1", "a", "list_dir"), callDone(0, "f1", "a", "list_dir", list), callAdded(0, "f2", "b", "bash"), callDone(0, "f2", "b", "bash", bash), completed), "", "list_dir " + list + "; bash " + bash},
		"interleaved":                  {frames(callAdded(0, "f1", "a", "list_dir"), callAdded(1, "f2", "b", "bash"), callDelta(1, "f2", `{"command":`), callDelta(0, "f1", `{"path":`), callDelta(1, "f2", `"ls"}`), callDelta(0, "f1", `"."}`), callDone(1, "f2", "b", "bash", bash), callDone(0, "f1", "a", "list_dir", list), completed), "", "list_dir " + list + "; bash " + bash},
		"calls that are not announced": {frames(callDone(0, "f1", "a", "list_dir", list), callDone(1, "f2", "b", "bash", bash), completed), "", "list_dir " + list + "; bash " + bash},
		"no ids":                       {frames(callDone(0, "", "", "list_dir", list), callDone(1, "", "", "bash", bash), completed), "", "list_dir " + list + "; bash " + bash},
		"one call id":                  {frames(callDone(0, "f1", "a", "list_dir", list), callDone(1, "f2", "a", "list_dir", bash), completed), "", "list_dir " + list + "; list_dir " + bash},
		"the same call twice":          {frames(callDone(0, "f1", "a", "list_dir", list), callDone(0, "f1", "a", "list_dir", list), completed), "", "list_dir " + list},
		"arguments done, not the item": {frames(callAdded(0, "f1", "a", "bash"), `{"type":"response.function_call_arguments.done","output_index":0,"item_id":"f1","arguments":"{\"command\":\"ls\"}"}`, completed), "", "bash " + bash},
		"an object for arguments":      {frames(`{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","call_id":"a","name":"bash","arguments":{"command":"ls"}}}`, completed), "", "bash " + bash},
		"no arguments":                 {frames(callDone(0, "f1", "a", "now", ""), completed), "", "now {}"},
		"pieces, and done is empty":    {frames(callAdded(0, "f1", "a", "bash"), callDelta(0, "f1", bash), callDone(0, "f1", "a", "bash", ""), completed), "", "bash " + bash},
		"done wins":                    {frames(callAdded(0, "f1", "a", "bash"), callDelta(0, "f1", `{"command":"rm"}`), callDone(0, "f1", "a", "bash", bash), completed), "", "bash " + bash},
		"a call of a custom tool":      {frames(`{"type":"response.output_item.done","output_index":0,"item":{"type":"custom_tool_call","id":"ct","call_id":"a","name":"bash","input":"ls -l"}}`, completed), "", `bash "ls -l"`},
		"unknown events and items":     {frames(`{"type":"response.sparkle.delta","delta":{"x":1}}`, `{"type":"response.output_item.done","output_index":0,"item":{"type":"sparkle","id":"s"}}`, `{"type":"response.output_item.done","output_index":1,"item":null}`, messageDone(2, "Hi."), completed), "Hi.", ""},
		"a text and calls":             {frames(messageDone(0, "I look."), callDone(1, "f1", "a", "list_dir", list), completed), "I look.", "list_dir " + list},
	} {
		t.Run(name, func(t *testing.T) {
			answer, said, _, failure := reads(t, test.wire)
			if failure != nil {
				t.Fatal(failure)
			}
			var calls []string
			seen := map[string]bool{"": true}
			for _, call := range answer.Calls {
				calls = append(calls, call.Tool+" "+string(call.Arguments))
				if call.Cut || seen[call.ID] {
					t.Errorf("call %+v is cut, or has no id of its own", call)
				}
				seen[call.ID] = true
			}
			if answer.Text != test.text || strings.Join(calls, "; ") != test.calls || answer.Fault != "" {
				t.Errorf("%q, calls %q, fault %q; want %q, %q", answer.Text, calls, answer.Fault, test.text, test.calls)
			}
			if said != answer.Text && !strings.Contains(name, "out of order") {
				t.Errorf("the deltas say %q, the reply %q", said, answer.Text)
			}
		})
	}
}

// TestRecordings: the whole of what a reply is.
func TestRecordings(t *testing.T) {
	enc := "gAAAAABo" + strings.Repeat("Zm9vYmFyYmF6", 6) + "=="
	for name, want := range map[string]actors.ModelResponse{
		"text": {
			Text: "Größe: 4 µm — 日本語 🙂, \"quoted\" <tags> & a $dollar.\nTwo lines.", Stop: events.StopEnd, Usage: events.Usage{Input: 1200, Output: 34, Cached: 1024, Reasoning: 21},
			Blocks: []actors.Block{
				{Kind: events.BlockThinking, Raw: `{"id":"rs_1","type":"reasoning","encrypted_content":"` + enc + `","summary":[]}`},
				{Kind: events.BlockText, Bytes: 74, Raw: `{"id":"msg_1","phase":"final_answer"}`},
			},
		},
		"length":   {Text: "And so it", Stop: events.StopLength, Met: events.BoundEndpoint, Usage: events.Usage{Input: 80, Output: 16}, Blocks: []actors.Block{{Kind: events.BlockText, Bytes: 9, Raw: `{"id":"msg_1"}`}}},
		"filtered": {Text: "This is how", Stop: events.StopFiltered, Usage: events.Usage{Input: 40, Output: 5}, Blocks: []actors.Block{{Kind: events.BlockText, Bytes: 11, Raw: `{"id":"msg_1"}`}}},
		"refusal":  {Text: "I can't help with that.", Stop: events.StopFiltered, Usage: events.Usage{Input: 40, Output: 9}, Blocks: []actors.Block{{Kind: events.BlockText, Bytes: 23, Raw: `{"id":"msg_1"}`}}},
		"messages": {Text: "One. Two.", Stop: events.StopEnd, Usage: events.Usage{Input: 40, Output: 5}, Blocks: []actors.Block{
			{Kind: events.BlockText, Bytes: 4, Raw: `{"id":"msg_1"}`}, {Kind: events.BlockText, Bytes: 5, Raw: `{"id":"msg_2","phase":"final_answer"}`},
		}},
		"search": {Text: "See https://example.com/ for it. It rains.", Stop: events.StopEnd, Usage: events.Usage{Input: 900, Output: 30}, Blocks: []actors.Block{
			{Kind: events.BlockItem, Raw: `{"id":"ws_1","type":"web_search_call","status":"completed","action":{"type":"search","query":"weather"}}`}, {Kind: events.BlockText, Bytes: 42, Raw: `{"id":"msg_1"}`},
		}},
		"cut-call": {Stop: events.StopLength, Met: events.BoundEndpoint, Usage: events.Usage{Input: 80, Output: 16}, Blocks: []actors.Block{{Kind: events.BlockCall, Raw: `{"id":"fc_1"}`}, {Kind: events.BlockCall}}, Calls: []events.ModelCall{
			{ID: "call_a", Tool: "read_file", Arguments: json.RawMessage(`{"path":"a.txt"}`)}, {ID: "call_b", Tool: "bash", Arguments: json.RawMessage(`"{\"command\":\"rm -r bui"`), Cut: true},
		}},
		"calls": {Text: "I look first. ", Stop: events.StopCalls, Usage: events.Usage{Input: 320, Output: 120, Reasoning: 64}, Blocks: []actors.Block{
			{Kind: events.BlockThinking, Text: "**Looking**\n\nI list the directory.\n\nAnd I read the file.", Raw: `{"id":"rs_1","type":"reasoning","encrypted_content":"` + enc + `","summary":[{"type":"summary_text","text":"**Looking**\n\nI list the directory."},{"type":"summary_text","text":"And I read the file."}]}`},
			{Kind: events.BlockText, Bytes: 14, Raw: `{"id":"msg_1","phase":"commentary"}`},
			{Kind: events.BlockThinking, Raw: `{"id":"rs_2","type":"reasoning","encrypted_content":"AA` + strings.Repeat("6FmYyFmYv9mZ", 6) + `oBAAAAAg","summary":[]}`},
			{Kind: events.BlockCall, Raw: `{"id":"fc_1"}`},
			{Kind: events.BlockCall, Raw: `{"id":"fc_2"}`},
		}, Calls: []events.ModelCall{
			{ID: "call_a", Tool: "list_dir", Arguments: json.RawMessage(`{"path":"."}`)}, {ID: "call_b", Tool: "read_file", Arguments: json.RawMessage(`{"path":"ä.md","limit":10}`)},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			want.Model = "gpt-6-astra"
			answer, said, thought, failure := reads(t, wire{Pieces: []string{recording(t, name)}})
			if failure != nil {
				t.Fatal(failure)
			}
			if diff := cmp.Diff(want, answer); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			thinking := ""
			for _, b := range want.Blocks {
				thinking += b.Text
			}
			if said != want.Text || thought != thinking {
				t.Errorf("the deltas say %q and think %q", said, thought)
			}
		})
	}
}

// TestCutCalls: a call that did not come whole is cut, whatever it looks like.
func TestCutCalls(t *testing.T) {
	limit := `{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}}`
	for name, test := range map[string]struct {
		wire wire
		cut  string // of each call: whether it is
	}{
		"the last one at the limit":      {frames(callDone(0, "f1", "a", "bash", "{}"), callDone(1, "f2", "b", "bash", "{}"), limit), "false true"},
		"whole, and reasoning cut":       {frames(callDone(0, "f1", "a", "bash", "{}"), `{"type":"response.output_item.added","output_index":1,"item":{"type":"reasoning","id":"r"}}`, limit), "false"},
		"pieces alone":                   {frames(callAdded(0, "f1", "a", "bash"), callDelta(0, "f1", `{"command":"ls"}`), completed), "true"},
		"announced alone":                {frames(callAdded(0, "f1", "a", "bash"), completed), "true"},
		"it says so":                     {frames(`{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","status":"incomplete","call_id":"a","name":"bash","arguments":"{}"}}`, completed), "true"},
		"done while in progress":         {frames(`{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","status":"in_progress","call_id":"a","name":"bash","arguments":"{}"}}`, completed), "true"},
		"pieces, and then the final one": {frames(callAdded(0, "f1", "a", "bash"), callDelta(0, "f1", `{"comm`), `{"type":"response.completed","response":{"status":"completed","output":[{"type":"function_call","id":"f1","call_id":"a","name":"bash","arguments":"{\"command\":\"ls\"}"}]}}`), "false"},
	} {
		answer, _, _, failure := reads(t, test.wire)
		if failure != nil {
			t.Errorf("%s: %v", name, failure)
			continue
		}
		var cut []string
		for _, call := range answer.Calls {
			cut = append(cut, fmt.Sprint(call.Cut))
		}
		if got := strings.Join(cut, " "); got != test.cut {
			t.Errorf("%s: cut %s, want %s", name, got, test.cut)
		}
	}
}

// TestUsage: counts are taken as they are meant.
func TestUsage(t *testing.T) {
	ends := func(usage string) string {
		return `{"type":"response.completed","response":{"status":"completed","usage":` + usage + `}}`
	}
	for name, test := range map[string]struct {
		events []string
		want   events.Usage
	}{
		"all of it":                {[]string{ends(`{"input_tokens":100,"input_tokens_details":{"cached_tokens":60,"cache_write_tokens":30,"cache_write_tokens_details":{"ttl_30m_tokens":20,"ttl_12h_tokens":10}},"output_tokens":50,"output_tokens_details":{"reasoning_tokens":40},"total_tokens":150}`)}, events.Usage{Input: 100, Cached: 60, CacheWrite: 20, CacheWriteLong: 10, Output: 50, Reasoning: 40}},
		"reasoning beside":         {[]string{ends(`{"input_tokens":100,"output_tokens":10,"output_tokens_details":{"reasoning_tokens":40},"total_tokens":150}`)}, events.Usage{Input: 100, Output: 50, Reasoning: 40}},
		"reasoning within":         {[]string{ends(`{"input_tokens":100,"output_tokens":50,"output_tokens_details":{"reasoning_tokens":40}}`)}, events.Usage{Input: 100, Output: 50, Reasoning: 40}},
		"zeros after real figures": {[]string{`{"type":"response.in_progress","response":{"usage":{"input_tokens":100,"output_tokens":50}}}`, ends(`{"input_tokens":0,"output_tokens":0,"total_tokens":0}`)}, events.Usage{Input: 100, Output: 50}},
		"the other dialect's":      {[]string{ends(`{"prompt_tokens":100,"completion_tokens":50,"prompt_tokens_details":{"cached_tokens":60}}`)}, events.Usage{Input: 100, Output: 50, Cached: 60}},
		"nonsense":                 {[]string{ends(`{"input_tokens":-5,"output_tokens":"7","input_tokens_details":[1],"output_tokens_details":null}`)}, events.Usage{Input: 120, Output: 7, Estimated: true}},
		"not told":                 {[]string{ends(`null`)}, events.Usage{Input: 120, Output: 3, Estimated: true}},
		"more cached than sent":    {[]string{ends(`{"input_tokens":10,"output_tokens":5,"input_tokens_details":{"cached_tokens":60,"cache_write_tokens":7}}`)}, events.Usage{Input: 10, Cached: 10, Output: 5}},
	} {
		answer, _, _, failure := reads(t, frames(append([]string{delta(0, "m", "Hello there")}, test.events...)...))
		if failure != nil {
			t.Errorf("%s: %v", name, failure)
			continue
		}
		if answer.Usage.Estimated && answer.Usage.Input > 100 {
			answer.Usage.Input = test.want.Input // of about the question's size
		}
		if diff := cmp.Diff(test.want, answer.Usage); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestItCannotBeReached(t *testing.T) {
	model := newModel(t, endpoint.Config{BaseURL: "http://127.0.0.1:1/v1", Key: endpointtest.Key})
	_, err := model.Ask(t.Context(), actorstest.ModelQuestion("m"), nil)
	var failure *actors.ModelError
	if !errors.As(err, &failure) || failure.Class != events.ErrorOverloaded {
		t.Errorf("got %v, want overloaded", err)
	}
}
