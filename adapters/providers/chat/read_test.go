package chat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/adapters/providers/endpoint/endpointtest"
	"example.com/life/events"
)

// askOne asks an endpoint that gives one reply the suite's question, and returns what was heard as well.
func askOne(t *testing.T, reply wire) (answer actors.ModelResponse, heard string, failure *actors.ModelError) {
	t.Helper()
	var pieces strings.Builder
	answer, err := newOpenAI(t, (&vendor{replies: []wire{reply}, rules: rules{}}).open(t)).
		Ask(t.Context(), actorstest.ModelQuestion("m"), func(piece actors.Delta) {
			if piece.Kind == events.BlockText {
				pieces.WriteString(piece.Text)
			}
		})
	if err != nil && !errors.As(err, &failure) {
		t.Fatal(err)
	}
	return answer, pieces.String(), failure
}

// TestEveryShapeOfAText: it is read wherever it stands, and heartbeats are nothing.
func TestEveryShapeOfAText(t *testing.T) {
	delta := func(content string) string {
		return event(`{"choices":[{"index":0,"delta":{"content":` + content + `}}]}`)
	}
	ends := finishEvent("stop")
	for name, pieces := range map[string][]string{
		"a list of parts":           {delta(`[{"type":"text","text":"Hello there"}]`), ends},
		"parts in pieces":           {delta(`[{"type":"text","text":"Hello"}]`), delta(`" "`), delta(`[{"type":"text","text":"the"},{"type":"text","text":"re"}]`), ends},
		"Perplexity's sum of all":   {event(`{"choices":[{"index":0,"delta":{"content":"Hello"},"message":{"role":"assistant","content":"Hello"},"finish_reason":null}]}`), event(`{"choices":[{"index":0,"delta":{"content":" there"},"message":{"role":"assistant","content":"Hello there"},"finish_reason":"stop"}]}`)},
		"Azure's filter before":     {event(`{"choices":[],"prompt_filter_results":[{"prompt_index":0,"content_filter_results":{}}]}`), delta(`"Hello there"`), ends},
		"thinking before":           {delta(`[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]`), delta(`[{"type":"text","text":"Hello there"}]`), ends},
		"thinking as a text":        {delta(`[{"type":"thinking","thinking":"hm"},{"type":"text","text":"Hello there"}]`), ends},
		"one part":                  {delta(`{"type":"text","text":"Hello there"}`), ends},
		"texts in a list":           {delta(`["Hello ","there"]`), ends},
		"output_text":               {delta(`[{"type":"output_text","text":"Hello there"}]`), ends},
		"a message":                 {event(`{"choices":[{"index":0,"message":{"role":"assistant","content":"Hello there"},"finish_reason":"stop"}]}`)},
		"a message and no delta":    {event(`{"choices":[{"index":0,"delta":null,"message":{"content":"Hello there"},"finish_reason":"stop"}]}`)},
		"a message with parts":      {event(`{"choices":[{"message":{"content":[{"type":"text","text":"Hello there"}]},"finish_reason":"stop"}]}`)},
		"a message after its parts": {delta(`"Hello "`), delta(`"there"`), event(`{"choices":[{"index":0,"delta":{},"message":{"role":"assistant","content":"Hello there"},"finish_reason":"stop"}]}`)},
		"a text of completions":     {event(`{"choices":[{"index":0,"text":"Hello there","finish_reason":"stop"}]}`)},
		"empty data":                {"data:\n\n", delta(`"Hello there"`), "data: \n\n", ends, "data:\n\n"},
		"a byte order mark":         {"\ufeff", delta(`"Hello there"`), ends},
		"a mark and a comment":      {"\ufeff: hello\n\n", delta(`"Hello there"`), ends},
		"pings":                     {"event: ping\ndata: {}\n\n", `data: {"type":"ping"}` + "\n\n", delta(`"Hello there"`), "event: heartbeat\n\n", "data: ping\n\n", "data: : keep-alive\n\n", "data: [HEARTBEAT]\n\n", "data: null\n\n", ends},
		"other fields":              {"id: 4\nretry: 100\nevent: message\n" + delta(`"Hello there"`), ends},
		"CR alone":                  {strings.ReplaceAll(delta(`"Hello there"`)+ends+done, "\n", "\r")},
		"no empty lines":            {strings.ReplaceAll(delta(`"Hello "`)+delta(`"there"`)+ends, "\n\n", "\n")},
		"data in several lines":     {"data: {\"choices\":[{\"index\":0,\ndata: \"delta\":{\"content\":\"Hello there\"}}]}\n\n", ends},
		"no space after the colon":  {strings.ReplaceAll(delta(`"Hello there"`)+ends, "data: ", "data:")},
		"a JSON text a line":        {strings.ReplaceAll(delta(`"Hello there"`)+ends, "data: ", "")},
		"no line end at the end":    {delta(`"Hello there"`), strings.TrimRight(ends, "\n")},
		"whole":                     {`{"choices":[{"index":0,"message":{"content":"Hello there"},"finish_reason":"stop"}]}`},
		"whole, for people":         {"{\n  \"choices\": [\n    {\n      \"message\": {\n        \"content\": \"Hello there\"\n      },\n      \"finish_reason\": \"stop\"\n    }\n  ]\n}\n"},
		"bytes of a character":      {delta("\"Hello there \xe2\x82\""), delta("\"\xac\""), ends},
		"no error":                  {event(`{"error":null,"choices":[{"index":0,"delta":{"content":"Hello there"},"finish_reason":"stop"}]}`)},
		"a finish without a number": {delta(`"Hello there"`), event(`{"choices":[{"delta":{},"finish_reason":"stop"}]}`)},
		"null before, empty after":  {event(`{"choices":[{"index":0,"delta":{"content":"Hello there"},"finish_reason":""}]}`), ends, event(`{"choices":null}`), event(`{"choices":[{"index":0,"delta":{},"finish_reason":null}]}`)},
	} {
		t.Run(name, func(t *testing.T) {
			answer, heard, failure := askOne(t, wire{Pieces: pieces})
			want := "Hello there"
			if name == "bytes of a character" {
				want += " €"
			}
			if failure != nil || answer.Text != want || heard != want || answer.Stop != events.StopEnd || answer.Fault != "" {
				t.Errorf("got %+v, heard %q, failure %v", answer, heard, failure)
			}
		})
	}
}

// TestFinishReasons: a reply that was cut off, filtered or broken off is no finished answer, by whatever name.
func TestFinishReasons(t *testing.T) {
	for reason, want := range map[string]any{
		"stop": events.StopEnd, "STOP": events.StopEnd, "eos": events.StopEnd, "end_turn": events.StopEnd, "COMPLETE": events.StopEnd, "stop_sequence": events.StopEnd,
		"length": events.StopLength, "max_tokens": events.StopLength, "MAX_TOKENS": events.StopLength, "model_length": events.StopLength,
		"max_output_tokens": events.StopLength, "model_context_window_exceeded": events.StopLength,
		"content_filter": events.StopFiltered, "SAFETY": events.StopFiltered, "recitation": events.StopFiltered, "content-filter": events.StopFiltered,
		"refusal": events.StopFiltered, "sensitive": events.StopFiltered, "function_call_filter: PROHIBITED_CONTENT": events.StopFiltered, "guardrail_intervened": events.StopFiltered,
		"insufficient_system_resource": events.ErrorOverloaded, "network_error": events.ErrorOverloaded, "error": events.ErrorOverloaded, "abort": events.ErrorOverloaded, "cancelled": events.ErrorOverloaded,
		"timeout": events.ErrorTimeout,
		"function_call_filter: MALFORMED_FUNCTION_CALL": events.ErrorTruncated, "UNEXPECTED_TOOL_CALL": events.ErrorTruncated, "what": events.ErrorTruncated, "tool_calls": events.ErrorTruncated,
	} {
		answer, _, failure := askOne(t, streams(textEvent("The first half of an"), finishEvent(reason), event(smallUsage)))
		switch want := want.(type) {
		case events.StopReason:
			if failure != nil || answer.Stop != want {
				t.Errorf("%s: got %v, %v, want %s", reason, answer.Stop, failure, want)
			}
		case events.ErrorClass:
			if failure == nil || failure.Class != want || !failure.Class.Retryable() || failure.Usage.Input != 10 {
				t.Errorf("%s: got %+v, %v, want %s", reason, answer, failure, want)
			}
		}
	}
	if _, _, failure := askOne(t, streams(textEvent("half"), finishEvent("what"))); failure == nil || !strings.Contains(failure.Detail, "what") {
		t.Errorf("an unknown reason is not said: %v", failure)
	}
	answer, _, failure := askOne(t, streams(textEvent("half"), finishEvent("length"), finishEvent("stop")))
	if failure != nil || answer.Stop != events.StopLength {
		t.Errorf("of two reasons the worse counts, got %v, %v", answer.Stop, failure)
	}
}

// TestErrorsWithinAStream: they are understood in every shape, sorted, and what was said before them counts.
func TestErrorsWithinAStream(t *testing.T) {
	for name, test := range map[string]struct {
		data  string
		class events.ErrorClass
		says  string
		after time.Duration
	}{
		"vLLM":              {`data: {"object":"error","message":"the request failed in the engine","type":"InternalServerError","code":500}`, events.ErrorOverloaded, "the request failed in the engine", 0},
		"vLLM, the prompt":  {`data: {"object":"error","message":"no such thing","type":"BadRequestError","code":400}`, events.ErrorInvalid, "no such thing", 0},
		"detail":            {`data: {"detail":"Internal Server Error"}`, events.ErrorOverloaded, "Internal Server Error", 0},
		"a list of details": {`data: {"detail":[{"loc":["body"],"msg":"field required","type":"value_error"}]}`, events.ErrorOverloaded, "field required", 0},
		"a message":         {`data: {"message":"Rate limit reached, try again in 2s","code":"rate_limit_exceeded"}`, events.ErrorRateLimited, "Rate limit reached", 2 * time.Second},
		"a type":            {`data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, events.ErrorOverloaded, "Overloaded", 0},
		"an event":          {"event: error\ndata: {\"reason\":\"engine died\"}", events.ErrorOverloaded, "engine died", 0},
		"an event of text":  {"event: error\ndata: engine died", events.ErrorOverloaded, "engine died", 0},
		"llama.cpp":         {`error: {"code":500,"message":"slot failed","type":"server_error"}`, events.ErrorOverloaded, "slot failed", 0},
		"bare":              {`{"error":{"message":"out of memory","code":503}}`, events.ErrorOverloaded, "out of memory", 0},
		"with a choice":     {`data: {"error":{"code":502,"message":"Upstream error"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}`, events.ErrorOverloaded, "Upstream error", 0},
		"a list":            {`data: [{"error":{"code":429,"message":"Quota","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"3s"}]}}]`, events.ErrorRateLimited, "Quota", 3 * time.Second},
		"errors":            {`data: {"errors":[{"message":"broke","code":8000}]}`, events.ErrorOverloaded, "broke", 0},
		"a text":            {`data: {"error":"Model is too busy"}`, events.ErrorOverloaded, "too busy", 0},
		"LM Studio":         {"event: error\ndata: {\"error\":{\"message\":\"Trying to keep the first 4617 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough.\"},\"message\":\"Trying\"}", events.ErrorContext, "only 4096 tokens", 0},
		"LM Studio, MLX":    {"event: error\ndata: {\"error\":\"Context size has been exceeded.\"}", events.ErrorContext, "--limit-context-tokens", 0},
		"LM Studio, killed": {"event: error\ndata: {\"error\":{\"message\":\"The model has crashed without additional information. (Exit code: 18446744072635810000)\"}}", events.ErrorOverloaded, "crashed", 0},
		"llama.cpp, filled": {`error: {"code":500,"message":"Context size has been exceeded.","type":"server_error"}`, events.ErrorContext, "--limit-context-tokens", 0},
		"MiniMax":           {`data: {"base_resp":{"status_code":1002,"status_msg":"rate limit"},"choices":null}`, events.ErrorRateLimited, "rate limit", 0},
		"a provider's":      {`data: {"error":{"code":503,"message":"Provider returned error","metadata":{"raw":"no capacity","provider_name":"x"}}}`, events.ErrorOverloaded, "no capacity", 0},
	} {
		for _, before := range []string{"", textEvent("Hal")} {
			_, _, failure := askOne(t, streams(before, test.data+"\n\n"))
			if failure == nil || failure.Class != test.class || !strings.Contains(failure.Detail, test.says) || failure.RetryAfter != test.after {
				t.Errorf("%s: got %+v, want %s, %q, after %s", name, failure, test.class, test.says, test.after)
			}
			if failure != nil && (failure.Room > 0) != (test.class == events.ErrorContext) {
				t.Errorf("%s: room for %d tokens", name, failure.Room)
			}
			if failure != nil && (failure.Usage.Output > 0) != (before != "") {
				t.Errorf("%s: what had come counts, got %+v", name, failure.Usage)
			}
		}
	}
	if answer, _, failure := askOne(t, streams(event(`{"base_resp":{"status_code":0,"status_msg":""},"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}`))); failure != nil || answer.Text != "hi" {
		t.Errorf("no error: %+v, %v", answer, failure)
	}
}

// TestWhenToAskAgain: the time is obeyed wherever it stands.
func TestWhenToAskAgain(t *testing.T) {
	in := func(name, value string) map[string]string {
		return map[string]string{"Content-Type": "application/json", name: value}
	}
	none := in("X-Nothing", "1")
	for name, test := range map[string]struct {
		status int
		header map[string]string
		body   string
		least  time.Duration
		says   string
	}{
		"Google's":        {429, none, `[{"error":{"code":429,"message":"You exceeded your current quota. Please retry in 20.5s.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"20s"}]}}]`, 20500 * time.Millisecond, "You exceeded your current quota"},
		"words":           {429, none, `{"error":{"message":"Rate limit reached for x. Please try again in 1m2.5s."}}`, 62500 * time.Millisecond, "Rate limit"},
		"ms":              {429, none, `{"error":{"message":"Please try again in 240ms."}}`, 240 * time.Millisecond, ""},
		"Azure's":         {429, none, `{"error":{"code":"429","message":"Please retry after 59 seconds."}}`, 59 * time.Second, ""},
		"minutes":         {503, none, `{"message":"Loading. Wait 2 minutes"}`, 2 * time.Minute, "Loading"},
		"a field":         {429, none, `{"error":{"message":"slow"},"retry_after":7}`, 7 * time.Second, "slow"},
		"deep":            {429, none, `{"error":{"message":"slow","metadata":{"headers":{"Retry-After":"9"}}}}`, 9 * time.Second, ""},
		"a field of ms":   {429, none, `{"error":{"message":"slow","retry_after_ms":1500}}`, 1500 * time.Millisecond, ""},
		"a header":        {429, in("Retry-After", "4"), `{}`, 4 * time.Second, ""},
		"header and body": {429, in("Retry-After", "4"), `{"error":{"message":"try again in 6s"}}`, 6 * time.Second, ""},
		"a limit's reset": {429, map[string]string{"Content-Type": "application/json", "X-Ratelimit-Remaining-Tokens": "0", "X-Ratelimit-Reset-Tokens": "6m0s"}, `{}`, 6 * time.Minute, ""},
		"a duration":      {503, in("Retry-After", "1m"), `{}`, time.Minute, ""},
		"nothing":         {429, none, `{"error":{"message":"try again later; code 20"}}`, 0, ""},
	} {
		_, _, failure := askOne(t, wire{Status: test.status, Header: test.header, Pieces: []string{test.body}})
		if failure == nil || failure.RetryAfter != test.least || !strings.Contains(failure.Detail, test.says) || strings.Contains(failure.Detail, `{"error"`) {
			t.Errorf("%s: got %+v, want %s and %q", name, failure, test.least, test.says)
		}
	}
	epoch := fmt.Sprint(time.Now().Add(30 * time.Second).UnixMilli())
	_, _, failure := askOne(t, wire{Status: 429, Header: none, Pieces: []string{`{"error":{"message":"slow","metadata":{"headers":{"X-RateLimit-Reset":"` + epoch + `"}}}}`}})
	if failure == nil || failure.RetryAfter < 10*time.Second || failure.RetryAfter > 31*time.Second {
		t.Errorf("a time since 1970: %+v", failure)
	}
}

// TestUsage: what is reported counts once, and what is not is estimated and says so.
func TestUsage(t *testing.T) {
	usage := func(json string) []string {
		return []string{textEvent("Hi"), finishEvent("stop"), event(`{"choices":[],"usage":` + json + `}`)}
	}
	inChoice := `{"choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":1000,"completion_tokens":500,"total_tokens":1500}}]}`
	const sent = 119 // estimated
	for name, test := range map[string]struct {
		pieces []string
		want   events.Usage
	}{
		"beside":              {usage(`{"prompt_tokens":100,"completion_tokens":10,"total_tokens":1110,"completion_tokens_details":{"reasoning_tokens":1000}}`), events.Usage{Input: 100, Output: 1010, Reasoning: 1000}},
		"within":              {usage(`{"prompt_tokens":100,"completion_tokens":1010,"total_tokens":1110,"completion_tokens_details":{"reasoning_tokens":1000}}`), events.Usage{Input: 100, Output: 1010, Reasoning: 1000}},
		"in the total alone":  {usage(`{"prompt_tokens":100,"completion_tokens":10,"total_tokens":1110}`), events.Usage{Input: 100, Output: 1010}},
		"beside, no total":    {usage(`{"prompt_tokens":100,"completion_tokens":10,"completion_tokens_details":{"reasoning_tokens":1000}}`), events.Usage{Input: 100, Output: 1010, Reasoning: 1000}},
		"within, no total":    {usage(`{"prompt_tokens":100,"completion_tokens":1010,"completion_tokens_details":{"reasoning_tokens":1000}}`), events.Usage{Input: 100, Output: 1010, Reasoning: 1000}},
		"within the choice":   {[]string{textEvent("Hi"), event(inChoice)}, events.Usage{Input: 1000, Output: 500}},
		"Groq's":              {[]string{textEvent("Hi"), event(`{"choices":[{"delta":{},"finish_reason":"stop"}],"x_groq":{"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}}`)}, events.Usage{Input: 7, Output: 3}},
		"llama.cpp's timings": {[]string{textEvent("Hi"), event(`{"choices":[{"delta":{},"finish_reason":"stop"}],"timings":{"prompt_n":5,"cache_n":30,"predicted_n":3,"prompt_ms":1.5}}`)}, events.Usage{Input: 35, Output: 3, Cached: 30}},
		"zeros after":         {append(usage(`{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}`), event(`{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}`)), events.Usage{Input: 9, Output: 4}},
		"growing":             {append([]string{event(`{"choices":[{"delta":{"content":"H"}}],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}`)}, usage(`{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}`)...), events.Usage{Input: 9, Output: 4}},
		"DeepSeek's cache":    {usage(`{"prompt_tokens":50,"completion_tokens":4,"prompt_cache_hit_tokens":40,"prompt_cache_miss_tokens":10}`), events.Usage{Input: 50, Output: 4, Cached: 40}},
		"a cache beside":      {usage(`{"prompt_tokens":10,"completion_tokens":4,"total_tokens":54,"cache_read_input_tokens":40}`), events.Usage{Input: 50, Output: 4, Cached: 40}},
		"other names":         {usage(`{"input_tokens":50,"output_tokens":4}`), events.Usage{Input: 50, Output: 4}},
		"texts and fractions": {usage(`{"prompt_tokens":"50","completion_tokens":4.0}`), events.Usage{Input: 50, Output: 4}},
		"none":                {[]string{textEvent("Hi"), finishEvent("stop")}, events.Usage{Input: sent, Output: 1, Estimated: true}},
		"null":                {usage(`null`), events.Usage{Input: sent, Output: 1, Estimated: true}},
		"zeros":               {usage(`{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}`), events.Usage{Input: sent, Output: 1, Estimated: true}},
		"no completion":       {usage(`{"prompt_tokens":50,"completion_tokens":0}`), events.Usage{Input: 50, Output: 1, Estimated: true}},
		"no prompt":           {usage(`{"completion_tokens":3}`), events.Usage{Input: sent, Output: 3, Estimated: true}},
		"nonsense":            {usage(`{"prompt_tokens":-5,"completion_tokens":"many","total_tokens":1e300}`), events.Usage{Input: sent, Output: 1, Estimated: true}},
	} {
		answer, _, failure := askOne(t, streams(test.pieces...))
		if failure != nil || answer.Usage != test.want {
			t.Errorf("%s: got %+v, %v, want %+v", name, answer.Usage, failure, test.want)
		}
	}
	_, _, failure := askOne(t, wire{Pieces: []string{textEvent(strings.Repeat("half a reply ", 40))}})
	if failure == nil || failure.Usage.Output != 130 || !failure.Usage.Estimated {
		t.Errorf("a broken reply counts what came, got %+v", failure)
	}
}

// TestCallsInTexts: what is a call is recognised in every format, whole or cut; what speaks of calls is none.
func TestCallsInTexts(t *testing.T) {
	tools := []actors.ToolSpec{{Name: "read_file"}, {Name: "bash"}}
	for _, text := range []string{
		"<tool_call>{\"name\": \"read_file\", \"arguments\": {\"path\": \"a\"}}</tool_call>", "<tool_call>{\"na", "<tool_call>", "I look.\n\n<tool_call>\n{\"name\"",
		"<tool_call>\n<function=read_file>\n<parameter=path>\na", "<function=read_file>{\"path\":\"a\"}</function>", "<function=rea", "<tool_call>read_file\n<arg_key>path",
		"[TOOL_CALLS][{\"name\": \"read_file\"", "[TOOL_CALLS]read_file[ARGS]{\"path\"", "[TOOL_CALLS]", "<|python_tag|>{\"name\": \"bash\"", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function",
		"<|tool_calls_section_begin|><|tool_call_begin|>functions.bash:0", "<function_calls>\n<invoke name=\"bash\">", "<invoke name=\"bash\">", "<minimax:tool_call>\n<invoke",
		"<|tool_call|>[{\"name\"", "<TOOLCALL>[{\"name\"", "<tool_calls>[{", "```tool_code\nread_file(path='a')\n```", "<|channel|>commentary to=functions.bash <|constrain|>json<|message|>{}",
		`{"name": "read_file", "parameters": {"path": "a"}}`, `{"name": "read_file", "argum`, `{"name": "read_f`, `[{"name": "bash", "arguments": {}}]`, `{"type": "function", "function": {"name": "bash", "arguments": "{}"}}`,
		`{"function": "bash", "parameters": {"command": "ls"}}`, "```json\n{\"name\": \"bash\", \"arguments\": {\"command\": \"ls\"}}\n```", `{"name": "bash"}`,
	} {
		if !endpoint.CallInText(text, tools) {
			t.Errorf("no call is seen in %q", text)
		}
		if endpoint.CallInText(text, nil) {
			t.Errorf("without tools %q is no call", text)
		}
	}
	for _, text := range []string{
		"Finished.", "", "A call looks like `<tool_call>{…}</tool_call>` in Hermes' format.", "The tag <tool_call> begins one.",
		"So:\n```xml\n<tool_call>\n{\"name\": \"read_file\"}\n</tool_call>\n```\nThat is all.", `{"name": "Ada", "parameters": {}}`, `{"path": "a"}`, `{"name": "read_file", "size": 4}`,
		"[1, 2]", "Use bash: {\"name\": \"bash\", \"arguments\": {}}", "x < y and [TOOLS]", `{"name": ""`, "function read_file() {}",
	} {
		if endpoint.CallInText(text, tools) {
			t.Errorf("a call is seen in %q", text)
		}
	}
}

// TestASlowFirstByte: a model that is long in coming is waited for, silence within a reply is not; both are settings.
func TestASlowFirstByte(t *testing.T) {
	ask := func(t *testing.T, config endpoint.Config, wait time.Duration, pieces ...string) (actors.ModelResponse, error) {
		t.Helper()
		config.BaseURL, config.Client = "http://model.test/v1", &http.Client{Transport: &endpointtest.Steps{Pieces: pieces, Wait: wait}}
		return newOpenAI(t, config).Ask(context.Background(), actorstest.ModelQuestion("m"), nil)
	}
	t.Run("200 s before, and then quick", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			answer, err := ask(t, endpoint.Config{}, 200*time.Second, textEvent("Finished.")+finishEvent("stop")+done)
			if err != nil || answer.Text != "Finished." {
				t.Errorf("got %+v, %v", answer, err)
			}
		})
	})
	t.Run("a role before is no beginning", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			answer, err := ask(t, endpoint.Config{}, 5*time.Minute, event(`{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}`), textEvent("Finished.")+finishEvent("stop")+done)
			if err != nil || answer.Text != "Finished." {
				t.Errorf("got %+v, %v", answer, err)
			}
		})
	})
	for name, test := range map[string]struct {
		config endpoint.Config
		says   string
		after  time.Duration
	}{
		"longer than the setting": {endpoint.Config{FirstByte: time.Minute}, "nothing came for 1m0s (LIFE_MODEL_FIRST_BYTE)", time.Minute},
		"by default":              {endpoint.Config{}, "nothing came for 15m0s (LIFE_MODEL_FIRST_BYTE)", endpoint.DefaultFirstByte},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				started := time.Now()
				_, err := ask(t, test.config, time.Hour, textEvent("late"))
				var failure *actors.ModelError
				if !errors.As(err, &failure) || failure.Class != events.ErrorTimeout || failure.Detail != test.says || time.Since(started) != test.after {
					t.Errorf("after %s: %v, want %q", time.Since(started), err, test.says)
				}
			})
		})
	}
}

// TestAServerThatLoadsIsWaitedFor: a large model takes minutes to be loaded, and a route does not leave its server for that.
func TestAServerThatLoadsIsWaitedFor(t *testing.T) {
	reply := wire{Status: 503, Header: map[string]string{"Content-Type": "application/json"}, Pieces: []string{`{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}`}}
	if _, _, failure := askOne(t, reply); failure == nil || failure.RetryAfter != 20*time.Second {
		t.Errorf("%+v", failure)
	}
}

// TestThinkingBetweenTags: what a server sends as text and the model thought is thinking, however it is cut; what only looks like it is text.
func TestThinkingBetweenTags(t *testing.T) {
	for whole, want := range map[string][2]string{
		"<think>\nSix by seven.\n</think>\n\n42.":                {"\nSix by seven.\n", "42."},
		"\n <think></think>\n\n42.":                              {"", "42."},
		"<thinking>Six</thinking>42. <think>no</think>":          {"Six", "42. <think>no</think>"},
		"Six by seven.\nThat is so.\n</think>\n\n42.":            {"Six by seven.\nThat is so.", "42."},
		"<think>a < b </thin </think>42":                         {"a < b </thin ", "42"},
		"<thin is a tag that no one knows":                       {"", "<thin is a tag that no one knows"},
		"42, and <think>no</think>":                              {"", "42, and <think>no</think>"},
		"The tag `</think>` ends it.":                            {"", "The tag `</think>` ends it."},
		"It is shown so:\n```\n<b>\n</think>\n```\nThat is all.": {"", "It is shown so:\n```\n<b>\n</think>\n```\nThat is all."},
	} {
		for size := 1; size <= len(whole); size++ {
			var pieces []string
			for rest := []rune(whole); len(rest) > 0; {
				n := min(size, len(rest))
				pieces = append(pieces, textEvent(string(rest[:n])))
				rest = rest[n:]
			}
			answer, _, failure := askOne(t, streams(append(pieces, finishEvent("stop"))...))
			thought := ""
			for _, b := range answer.Blocks {
				thought += b.Text
			}
			if failure != nil || answer.Text != want[1] || thought != want[0] {
				t.Fatalf("%q in pieces of %d: said %q, thought %q, want %q; %v", whole, size, answer.Text, thought, want, failure)
			}
			if size > 3 && size < len(whole) { // every place of a cut was tried
				size = len(whole) - 1
			}
		}
	}
	if answer, _, _ := askOne(t, streams(textEvent("<think>It never ends"), finishEvent("stop"))); answer.Fault != events.FaultEmpty {
		t.Errorf("thinking that does not end: %+v", answer)
	}
}
