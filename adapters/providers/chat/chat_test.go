package chat

import (
	"encoding/json"
	"errors"
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
	"example.com/life/sagas"
)

func newOpenAI(t testing.TB, config endpoint.Config) actors.Model {
	t.Helper()
	model, err := New(openAI(config))
	if err != nil {
		t.Fatal(err)
	}
	return model
}

func TestOpenAIIsAModel(t *testing.T) {
	actorstest.TestModel(t, func(t *testing.T, situation actorstest.ModelSituation) (actors.Model, string) {
		return newOpenAI(t, fakeOpenAI(t, func(*http.Request, map[string]any) wire {
			switch {
			case situation.Reply != nil:
				return wire{Pieces: streamOf(*situation.Reply)}
			case situation.Failure != nil:
				return failureOf(situation.Failure)
			}
			return wire{End: endpointtest.Hang}
		})), "fake-1"
	})
}

// TestOpenAIIsSentTheQuestion compares the whole request with testdata/request.json.
func TestOpenAIIsSentTheQuestion(t *testing.T) {
	var got map[string]any
	config := fakeOpenAI(t, func(r *http.Request, body map[string]any) wire {
		got = body
		if r.Header.Get("Authorization") != "Bearer "+endpointtest.Key {
			t.Errorf("Authorization is %q", r.Header.Get("Authorization"))
		}
		return wire{Pieces: []string{textEvent("ok"), event(finish), done}}
	})
	if _, err := newOpenAI(t, config).Ask(t.Context(), actorstest.ModelQuestion("fake-1"), nil); err != nil {
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

// each cuts a stream into single bytes.
func each(pieces ...string) []string { return strings.Split(strings.Join(pieces, ""), "") }

// bytesOf cuts a stream into single bytes, within characters too.
func bytesOf(pieces ...string) []string {
	whole := strings.Join(pieces, "")
	cut := make([]string, len(whole))
	for i := range len(whole) {
		cut[i] = whole[i : i+1]
	}
	return cut
}

func TestOpenAIReadsWhatServersSend(t *testing.T) {
	call := func(id, tool, arguments string) events.ModelCall {
		return events.ModelCall{ID: id, Tool: tool, Arguments: json.RawMessage(arguments)}
	}
	calls := func(calls ...events.ModelCall) actors.ModelResponse {
		return actors.ModelResponse{Calls: calls, Stop: events.StopCalls, Model: "fake-1"}
	}
	said := func(text string) actors.ModelResponse {
		return actors.ModelResponse{Text: text, Stop: events.StopEnd, Model: "fake-1"}
	}
	var everyByte []string
	for _, b := range each(`{"path":"a.md"}`) {
		everyByte = append(everyByte, callEvent(`{"index":0,"function":{"arguments":`+quote(b)+`}}`))
	}
	full := actors.ModelResponse{Text: "Grüße 🙂", Stop: events.StopEnd, Model: "fake-1", Usage: events.Usage{Input: 5, Output: 3, Cached: 1}}
	crlf := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	for name, test := range map[string]struct {
		wire wire
		want actors.ModelResponse
	}{
		"single bytes":     {wire{Pieces: bytesOf(streamOf(full)...)}, full},
		"gzip":             {wire{Pieces: streamOf(full), Gzip: true}, full},
		"CRLF":             {wire{Pieces: []string{crlf(textEvent("hi")), crlf(finishEvent("stop")), crlf(done)}}, said("hi")},
		"comments":         {wire{Pieces: []string{": keep-alive\n\n", textEvent("hi"), ":\n\n", ": x\n" + finishEvent("stop"), done}}, said("hi")},
		"no DONE":          {wire{Pieces: []string{textEvent("hi"), finishEvent("stop")}}, said("hi")},
		"cut after finish": {wire{Pieces: []string{textEvent("hi"), finishEvent("stop")}, End: endpointtest.Reset}, said("hi")},
		"split pair":       {wire{Pieces: []string{event(`{"model":"fake-1","choices":[{"index":0,"delta":{"content":"a\ud83d"}}]}`), event(`{"choices":[{"index":0,"delta":{"role":"assistant"}}]}`), event(`{"choices":[{"index":0,"delta":{"content":"\ude42b \\\\ud83d"}}]}`), finishEvent("stop")}}, said(`a🙂b \\ud83d`)},
		"lone half":        {wire{Pieces: []string{event(`{"model":"fake-1","choices":[{"index":0,"delta":{"content":"a\ud83d"}}]}`), finishEvent("stop")}}, said("a\ufffd")},
		"no index, no id, no role": {wire{Pieces: []string{
			callEvent(`{"function":{"name":"list_dir","arguments":"{\"path\":\".\"}"}}`),
			callEvent(`{"function":{"name":"bash","arguments":"{\"command\":"}}`), callEvent(`{"function":{"arguments":"\"ls\"}"}}`),
			finishEvent("stop"),
		}}, calls(call("call-6-1", "list_dir", `{"path":"."}`), call("call-6-2", "bash", `{"command":"ls"}`))},
		"arguments split at every byte": {wire{Pieces: append(append([]string{callEvent(`{"index":0,"id":"q","function":{"name":"read_file","arguments":""}}`)}, everyByte...),
			finishEvent("tool_calls"), done)}, calls(call("q", "read_file", `{"path":"a.md"}`))},
		"interleaved": {wire{Pieces: []string{
			callEvent(`{"index":0,"id":"a","function":{"name":"list_dir","arguments":"{\"pa"}},{"index":1,"id":"b","function":{"name":"bash","arguments":"{\"com"}}`),
			callEvent(`{"index":1,"function":{"arguments":"mand\":1}"}}`), callEvent(`{"index":0,"function":{"arguments":"th\":2}"}}`),
			finishEvent("tool_calls"), done,
		}}, calls(call("a", "list_dir", `{"path":2}`), call("b", "bash", `{"command":1}`))},
		"one index for all": {wire{Pieces: []string{
			callEvent(`{"index":0,"id":"a","function":{"name":"list_dir","arguments":"{}"}}`),
			callEvent(`{"index":0,"id":"b","function":{"name":"bash","arguments":"{}"}}`),
			finishEvent("tool_calls"), done,
		}}, calls(call("a", "list_dir", `{}`), call("b", "bash", `{}`))},
		"ids only, names repeated": {wire{Pieces: []string{
			callEvent(`{"id":"a","function":{"name":"list_dir","arguments":"{\"x\""}}`), callEvent(`{"id":"b","function":{"name":"bash","arguments":"{\"y\""}}`),
			callEvent(`{"id":"a","function":{"name":"list_dir","arguments":":1}"}}`), callEvent(`{"id":"b","function":{"name":"bash","arguments":":2}"}}`),
			finishEvent("stop"),
		}}, calls(call("a", "list_dir", `{"x":1}`), call("b", "bash", `{"y":2}`))},
		"no arguments, the same id twice": {wire{Pieces: []string{
			callEvent(`{"index":0,"id":"a","function":{"name":"now"}}`), callEvent(`{"index":1,"id":"a","function":{"name":"now","arguments":" "}}`),
			finishEvent("tool_calls"),
		}}, calls(call("a", "now", `{}`), call("call-6-2", "now", `{}`))},
		"a refusal": {
			wire{Pieces: []string{event(`{"model":"fake-1","choices":[{"index":0,"delta":{"refusal":"No."}}]}`), finishEvent("stop")}},
			actors.ModelResponse{Text: "No.", Stop: events.StopFiltered, Model: "fake-1"},
		},
		"other choices, odd usage": {
			wire{Pieces: []string{textEvent("hi"), event(`{"choices":[{"index":1,"delta":{"content":"no"},"finish_reason":"length"}],"usage":{"prompt_tokens":-4,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":9}}}`), finishEvent("eos")}},
			actors.ModelResponse{Text: "hi", Stop: events.StopEnd, Model: "fake-1", Usage: events.Usage{Input: 119, Output: 2, Estimated: true}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			model := newOpenAI(t, fakeOpenAI(t, func(*http.Request, map[string]any) wire { return test.wire }))
			var heard strings.Builder
			answer, err := model.Ask(t.Context(), actorstest.ModelQuestion("m"), func(piece actors.Delta) {
				if piece.Kind == events.BlockText {
					heard.WriteString(piece.Text)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if (test.want.Usage == events.Usage{}) && answer.Usage.Estimated {
				answer.Usage = events.Usage{} // not told: TestUsage looks at what is estimated
			}
			if diff := cmp.Diff(test.want, answer); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if heard.String() != answer.Text {
				t.Errorf("the deltas say %q, the reply %q", heard.String(), answer.Text)
			}
		})
	}
}

func TestOpenAISortsFailures(t *testing.T) {
	plain := map[string]string{"Content-Type": "text/plain"}
	jsonHeader := map[string]string{"Content-Type": "application/json"}
	refuse := func(status int, body string) wire {
		return wire{Status: status, Header: jsonHeader, Pieces: []string{body}}
	}
	for name, test := range map[string]struct {
		wire  wire
		class events.ErrorClass
		says  string
	}{
		"EOF before anything":           {wire{}, events.ErrorTruncated, "before the model said"},
		"DONE without a reason":         {wire{Pieces: []string{textEvent("a"), done}}, events.ErrorTruncated, "before the model said"},
		"RST within the reply":          {wire{Pieces: []string{textEvent("a")}, End: endpointtest.Reset}, events.ErrorTruncated, "broke within the reply"},
		"RST before the reply":          {wire{End: endpointtest.Reset}, events.ErrorTruncated, "broke before the reply"},
		"overload within":               {wire{Pieces: []string{textEvent("a"), event(`{"error":{"message":"The server is overloaded","type":"server_error","code":null}}`)}}, events.ErrorOverloaded, "overloaded"},
		"rate limit within":             {wire{Pieces: []string{event(`{"error":{"message":"slow","type":"rate_limit_error"}}`)}}, events.ErrorRateLimited, "slow"},
		"code within":                   {wire{Pieces: []string{event(`{"error":{"message":"no","code":401}}`)}}, events.ErrorAuth, "401 Unauthorized: no"},
		"filter within":                 {wire{Pieces: []string{event(`{"error":{"message":"no","code":"content_filter"}}`)}}, events.ErrorRefused, "no"},
		"no JSON within":                {wire{Pieces: []string{event(`{"choices": oops`)}}, events.ErrorInvalid, "not JSON"},
		"a call without a name":         {wire{Pieces: []string{callEvent(`{"index":0,"function":{"arguments":"{}"}}`), finishEvent("tool_calls")}}, events.ErrorTruncated, "names no tool"},
		"too many calls":                {wire{Pieces: []string{strings.Repeat(callEvent(`{"function":{"name":"a"}}`), 65)}, End: endpointtest.Hang}, events.ErrorInvalid, "more than 64 calls"},
		"one endless line":              {wire{Pieces: []string{"data: " + strings.Repeat("x", endpoint.MaxReply+100)}, End: endpointtest.Hang}, events.ErrorInvalid, "larger than 16 MiB"},
		"a small bomb":                  {wire{Gzip: true, Pieces: []string{strings.Repeat(": "+strings.Repeat("z", 1000)+"\n", endpoint.MaxReply/1000)}, End: endpointtest.Hang}, events.ErrorInvalid, "larger than 16 MiB"},
		"no stream":                     {refuse(200, `{"choices":[]}`), events.ErrorTruncated, "before the model said why it stopped"},
		"a web page":                    {wire{Header: map[string]string{"Content-Type": "text/html"}, Pieces: []string{"<html>"}}, events.ErrorInvalid, "text/html"},
		"an error with status 200":      {refuse(200, `{"error":"rate limit reached"}`), events.ErrorRateLimited, "rate limit reached"},
		"a redirect":                    {wire{Status: 307, Header: map[string]string{"Location": "http://127.0.0.1:1/"}}, events.ErrorInvalid, "307"},
		"quota":                         {refuse(429, `{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}`), events.ErrorAuth, "quota"},
		"plain 502":                     {wire{Status: 502, Header: plain, Pieces: []string{"bad \xff gateway"}}, events.ErrorOverloaded, "bad � gateway"},
		"endless 500":                   {wire{Status: 500, Header: plain, Pieces: []string{strings.Repeat("x", 64<<10*2)}, End: endpointtest.Hang}, events.ErrorOverloaded, "xxx"},
		"529":                           {refuse(529, `{"error":{}}`), events.ErrorOverloaded, "529"},
		"504":                           {refuse(504, ``), events.ErrorTimeout, "504"},
		"413":                           {refuse(413, `{"message":"big"}`), events.ErrorContext, "big"},
		"403":                           {refuse(403, `{"error":"no"}`), events.ErrorAuth, "no"},
		"local context":                 {refuse(400, `{"error":{"code":400,"message":"the request exceeds the available context size"}}`), events.ErrorContext, "context size"},
		"Gemini, the key":               {refuse(400, `[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]`), events.ErrorAuth, "API key not valid"},
		"xAI, the key":                  {refuse(400, `{"code":"Client specified an invalid argument","error":"Incorrect API key provided: ab***yz."}`), events.ErrorAuth, "Incorrect API key"},
		"Groq, a bad call":              {refuse(400, `{"error":{"message":"Failed to call a function. Please adjust your prompt.","type":"invalid_request_error","code":"tool_use_failed","failed_generation":"<function=bash"}}`), events.ErrorTruncated, "Failed to call a function"},
		"Ollama, a bad call":            {refuse(500, `{"error":{"message":"error parsing tool call: raw='{\"a\":' err=unexpected end of JSON input","type":"api_error"}}`), events.ErrorTruncated, "error parsing tool call"},
		"Ollama, a bad call of another": {refuse(500, `{"error":"failed to parse JSON: unexpected end of JSON input"}`), events.ErrorTruncated, "failed to parse JSON"},
		"llama.cpp, a bad call":         {refuse(500, `{"error":{"code":500,"message":"Failed to parse input at pos 12: <tool_call>{","type":"server_error"}}`), events.ErrorTruncated, "Failed to parse input"},
		"llama.cpp, the template":       {refuse(500, `{"error":{"code":500,"message":"Value is not callable: null at row 1, column 72:\n{%- if messages %}","type":"server_error"}}`), events.ErrorInvalid, "not callable"},
		"llama.cpp, Jinja":              {refuse(500, `{"error":{"code":500,"message":"Jinja Exception: Only user and assistant roles are supported!","type":"server_error"}}`), events.ErrorInvalid, "chat template"},
		"llama.cpp, the parser":         {refuse(400, `{"error":{"code":400,"message":"Unable to generate parser for this template. Automatic parser generation failed: While executing CallExpression at line 2","type":"invalid_request_error"}}`), events.ErrorInvalid, "chat template"},
		"llama.cpp loads":               {refuse(503, `{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}`), events.ErrorOverloaded, "Loading model"},
		"llama.cpp, too long":           {refuse(400, `{"error":{"code":400,"message":"request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":4390,"n_ctx":4096}}`), events.ErrorContext, "4096"},
		"llama.cpp, exceeded":           {refuse(500, `{"error":{"code":500,"message":"Context size has been exceeded.","type":"server_error"}}`), events.ErrorContext, "exceeded"},
		"llama.cpp, a router":           {refuse(400, `{"error":{"code":400,"message":"model 'qwen9' not found","type":"invalid_request_error"}}`), events.ErrorInvalid, "--model"},
		"Ollama, not pulled":            {refuse(404, `{"error":{"message":"model 'llama9' not found","type":"not_found_error"}}`), events.ErrorInvalid, "ollama pull NAME"},
		"Ollama, not pulled before":     {refuse(404, `{"error":{"message":"model \"llama9\" not found, try pulling it first","type":"api_error"}}`), events.ErrorInvalid, "ollama pull NAME"},
		"Ollama, no tools":              {refuse(400, `{"error":{"message":"registry.ollama.ai/library/gemma:2b does not support tools","type":"api_error"}}`), events.ErrorInvalid, "--tools none"},
		"LM Studio, too long":           {refuse(400, `{"error":"The number of tokens to keep from the initial prompt is greater than the context length. Try to load the model with a larger context length"}`), events.ErrorContext, "context length"},
		"DashScope, too long":           {refuse(400, `{"error":{"code":"invalid_parameter_error","message":"<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 6144]"}}`), events.ErrorContext, "6144"},
		"GitHub Models, too long":       {refuse(413, `{"error":{"code":"tokens_limit_reached","message":"Request body too large for gpt-4o model. Max size: 8000 tokens."}}`), events.ErrorContext, "8000"},
		"Mistral, too long":             {refuse(400, `{"object":"error","message":"Prompt contains 9000 tokens and 0 draft tokens, too large for model with 8192 maximum context length","type":"invalid_request_prompt_too_long","code":"3051"}`), events.ErrorContext, "8192"},
		"Groq, a minute's tokens":       {refuse(413, `{"error":{"message":"Request too large for model on tokens per minute (TPM): Limit 6000, Requested 9012, please reduce your message size and try again.","type":"tokens","code":"rate_limit_exceeded"}}`), events.ErrorContext, "Limit 6000"},
		"Zhipu, by its filter":          {refuse(400, `{"contentFilter":[{"level":0,"role":"assistant"}],"error":{"code":"1301","message":"系统检测到输入或生成内容可能包含不安全或敏感内容"}}`), events.ErrorRefused, "敏感内容"},
		"z.ai, a wrong path":            {refuse(200, `{"code":500,"msg":"404 NOT_FOUND","success":false}`), events.ErrorInvalid, "is the base URL right?"},
		"Moonshot, overloaded":          {refuse(429, `{"error":{"type":"engine_overloaded_error","message":"The engine is currently overloaded, please try again later"}}`), events.ErrorRateLimited, "overloaded"},
		"a proxy's page":                {wire{Status: 502, Header: map[string]string{"Content-Type": "text/html"}, Pieces: []string{"<html>\r\n<head><title>502 Bad Gateway</title></head></html>"}}, events.ErrorOverloaded, "502 Bad Gateway"},
		"Cloudflare's own dialect":      {wire{Pieces: []string{event(`{"response":"Hel"}`), event(`{"response":"lo"}`), done}}, events.ErrorInvalid, "is its dialect another one"},
		"Anthropic's dialect":           {wire{Pieces: []string{"event: message_start\n" + event(`{"type":"message_start","message":{"role":"assistant"}}`)}}, events.ErrorInvalid, "message_start"},
		"pings alone":                   {wire{Pieces: []string{event(`{"type":"ping"}`)}}, events.ErrorTruncated, "before the reply"},
		"unknown model":                 {refuse(404, `{"error":{"message":"no such model","code":"model_not_found"}}`), events.ErrorInvalid, "no such model"},
	} {
		t.Run(name, func(t *testing.T) {
			model := newOpenAI(t, fakeOpenAI(t, func(*http.Request, map[string]any) wire { return test.wire }))
			_, err := model.Ask(t.Context(), actorstest.ModelQuestion("m"), nil)
			var failure *actors.ModelError
			if !errors.As(err, &failure) || failure.Class != test.class || !strings.Contains(failure.Detail, test.says) {
				t.Errorf("got %v, want class %s and %q", err, test.class, test.says)
			}
			if failure != nil && len(failure.Detail) > 500+len("…") {
				t.Errorf("the detail has %d bytes", len(failure.Detail))
			}
		})
	}
}

func TestOpenAICannotBeReached(t *testing.T) {
	model := newOpenAI(t, endpoint.Config{BaseURL: "http://127.0.0.1:1/v1", Key: endpointtest.Key})
	_, err := model.Ask(t.Context(), actorstest.ModelQuestion("m"), nil)
	var failure *actors.ModelError
	if !errors.As(err, &failure) || failure.Class != events.ErrorOverloaded {
		t.Errorf("got %v, want overloaded", err)
	}
}

// TestContextIsSent: what the host adds to the conversation reaches an OpenAI model after what was said, in the same message: many templates take no two in a row.
func TestContextIsSent(t *testing.T) {
	params, err := params(actors.ModelRequest{Model: "m", Messages: []sagas.Message{
		{Role: sagas.RoleUser, Text: events.Text{Inline: "How hot?"}},
		{Role: sagas.RoleContext, Text: events.Text{Inline: "Notes: very."}},
	}}, way{}, true)
	if err != nil {
		t.Fatal(err)
	}
	sent, err := json.Marshal(params.Messages)
	if err != nil || string(sent) != `[{"content":"How hot?\n\nNotes: very.","role":"user"}]` {
		t.Errorf("%s, %v", sent, err)
	}
}
