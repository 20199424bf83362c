package responses

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"example.com/life/actors"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/adapters/providers/endpoint/endpointtest"
	"example.com/life/events"
)

type wire = endpointtest.Wire

var quote = endpointtest.Quote

// named is a configuration of openai-responses.
func named(config endpoint.Config) endpoint.Config {
	config.Name, config.Default = "openai-responses", endpoint.OpenAIBase
	config.Settings = endpoint.Settings{BaseURL: "OPENAI_BASE_URL", Key: "OPENAI_API_KEY", KeyFile: "OPENAI_API_KEY_FILE"}
	return config
}

func newModel(t testing.TB, config endpoint.Config) actors.Model {
	t.Helper()
	model, err := New(named(config))
	if err != nil {
		t.Fatal(err)
	}
	return model
}

// fake is an endpoint on loopback that answers as it is told.
func fake(t testing.TB, answer func(r *http.Request, body []byte) wire) endpoint.Config {
	t.Helper()
	config := endpointtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !json.Valid(body) || r.URL.Path != "/v1/responses" || r.Method != http.MethodPost {
			http.Error(w, "this is no request for a response", http.StatusTeapot)
			return
		}
		answer(r, body).Send(w, r)
	}))
	config.BaseURL += "/v1"
	return config
}

// script writes a stream as a well-behaved endpoint does.
type script struct {
	frames []string
	output []string // the items that are done
}

// event adds an event. fields is the inside of its JSON.
func (s *script) event(kind, fields string) {
	s.frames = append(s.frames, fmt.Sprintf("event: response.%s\ndata: {\"type\":\"response.%s\",\"sequence_number\":%d,%s}\n\n", kind, kind, len(s.frames), fields))
}

func begin() *script {
	s := &script{}
	s.event("created", `"response":{"object":"response","status":"in_progress","model":"fake-1","output":[],"usage":null,"error":null}`)
	return s
}

// item adds an item that is done.
func (s *script) item(raw string) {
	s.event("output_item.done", fmt.Sprintf(`"output_index":%d,"item":%s`, len(s.output), raw))
	s.output = append(s.output, raw)
}

// message adds a message, word by word. more are further fields of it, each with a comma before it.
func (s *script) message(text, more string) {
	at := len(s.output)
	s.event("output_item.added", fmt.Sprintf(`"output_index":%d,"item":{"type":"message","role":"assistant","status":"in_progress","content":[]%s}`, at, more))
	for word := range strings.SplitAfterSeq(text, " ") {
		s.event("output_text.delta", fmt.Sprintf(`"output_index":%d,"content_index":0,"delta":%s`, at, quote(word)))
	}
	s.event("output_text.done", fmt.Sprintf(`"output_index":%d,"content_index":0,"text":%s`, at, quote(text)))
	s.item(fmt.Sprintf(`{"type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","text":%s,"annotations":[]}]%s}`, quote(text), more))
}

// call adds a call, in two pieces.
func (s *script) call(id, tool, arguments, more string) {
	at := len(s.output)
	s.event("output_item.added", fmt.Sprintf(`"output_index":%d,"item":{"type":"function_call","status":"in_progress","call_id":%q,"name":%q,"arguments":""%s}`, at, id, tool, more))
	for _, half := range []string{arguments[:len(arguments)/2], arguments[len(arguments)/2:]} {
		s.event("function_call_arguments.delta", fmt.Sprintf(`"output_index":%d,"delta":%s`, at, quote(half)))
	}
	s.event("function_call_arguments.done", fmt.Sprintf(`"output_index":%d,"arguments":%s`, at, quote(arguments)))
	s.item(fmt.Sprintf(`{"type":"function_call","status":"completed","call_id":%q,"name":%q,"arguments":%s%s}`, id, tool, quote(arguments), more))
}

// thought adds reasoning, with its summary.
func (s *script) thought(id, encrypted, summary string) {
	at := len(s.output)
	s.event("output_item.added", fmt.Sprintf(`"output_index":%d,"item":{"type":"reasoning","id":%q,"summary":[]}`, at, id))
	for word := range strings.SplitAfterSeq(summary, " ") {
		s.event("reasoning_summary_text.delta", fmt.Sprintf(`"output_index":%d,"item_id":%q,"summary_index":0,"delta":%s`, at, id, quote(word)))
	}
	s.item(thoughtItem(id, encrypted, summary))
}

// thoughtItem is written as no encoder of ours would: it must come back as it is.
func thoughtItem(id, encrypted, summary string) string {
	return fmt.Sprintf(`{"id": %q,  "type":"reasoning", "summary":[{"type":"summary_text","text":%s}],"encrypted_content":%q, "x_order":1.50e0}`, id, quote(summary), encrypted)
}

const someUsage = `{"input_tokens":10,"input_tokens_details":{"cached_tokens":0},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":15}`

// end ends the stream. more are further fields of the response, each with a comma before it.
func (s *script) end(status, usage, more string) wire {
	s.event(status, fmt.Sprintf(`"response":{"object":"response","status":%q,"model":"fake-1","output":[%s],"usage":%s%s}`, status, strings.Join(s.output, ","), usage, more))
	return wire{Pieces: s.frames}
}

func (s *script) completed() wire { return s.end("completed", someUsage, "") }

func says(text string) wire {
	s := begin()
	s.message(text, "")
	return s.completed()
}

func callsOne(id, tool, arguments string) wire {
	s := begin()
	s.call(id, tool, arguments, "")
	return s.completed()
}

func usageJSON(u events.Usage) string {
	return fmt.Sprintf(`{"input_tokens":%d,"input_tokens_details":{"cached_tokens":%d,"cache_write_tokens":%d},"output_tokens":%d,"output_tokens_details":{"reasoning_tokens":%d},"total_tokens":%d}`,
		u.Input, u.Cached, u.CacheWrite, u.Output, u.Reasoning, u.Total())
}

// playing is an answer as a well-behaved endpoint streams it.
func playing(answer actors.ModelResponse) wire {
	s := begin()
	for i, block := range answer.Blocks {
		if block.Kind == events.BlockThinking {
			s.thought(fmt.Sprint("rs_", i), "gAAA", block.Text)
		}
	}
	if answer.Text != "" {
		s.message(answer.Text, "")
	}
	for _, call := range answer.Calls {
		written := string(call.Arguments)
		var text string
		if json.Unmarshal(call.Arguments, &text) == nil {
			written = text
		}
		s.call(call.ID, call.Tool, written, "")
	}
	switch answer.Stop {
	case events.StopLength:
		return s.end("incomplete", usageJSON(answer.Usage), `,"incomplete_details":{"reason":"max_output_tokens"}`)
	case events.StopFiltered:
		return s.end("incomplete", usageJSON(answer.Usage), `,"incomplete_details":{"reason":"content_filter"}`)
	case events.StopEnd, events.StopCalls, events.StopPaused:
	}
	return s.end("completed", usageJSON(answer.Usage), "")
}

// failing is a failure as an endpoint would report it.
func failing(failure *actors.ModelError) wire {
	status := map[events.ErrorClass]int{
		events.ErrorRateLimited: 429, events.ErrorOverloaded: 503, events.ErrorContext: 400,
		events.ErrorAuth: 401, events.ErrorRefused: 400, events.ErrorInvalid: 400, events.ErrorTimeout: 408,
	}[failure.Class]
	code := map[events.ErrorClass]string{events.ErrorContext: "context_length_exceeded", events.ErrorRefused: "content_policy_violation"}[failure.Class]
	if failure.Class == events.ErrorTruncated {
		s := begin()
		s.message("The sentence st", "")
		return wire{Pieces: s.frames[:len(s.frames)-2]}
	}
	refusal := refusing(status, fmt.Sprintf(`{"error":{"message":%q,"code":%q,"type":"x","param":null}}`, failure.Detail, code))
	if failure.RetryAfter > 0 {
		refusal.Header["Retry-After"] = fmt.Sprint(int(failure.RetryAfter / time.Second))
	}
	return refusal
}

func refusing(status int, body string) wire {
	return wire{Status: status, Header: map[string]string{"Content-Type": "application/json"}, Pieces: []string{body}}
}

// refusal is one of OpenAI's.
func refusal(message, param string) wire {
	return refusing(400, fmt.Sprintf(`{"error":{"message":%s,"type":"invalid_request_error","param":%q,"code":"unsupported_parameter"}}`, quote(message), param))
}

// recording is a file of testdata: a stream as OpenAI sends it.
func recording(t testing.TB, name string) string {
	t.Helper()
	content, err := os.ReadFile("testdata/" + name + ".sse")
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
