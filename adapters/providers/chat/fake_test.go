package chat

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
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

// openAI is a configuration of openai.
func openAI(config endpoint.Config) endpoint.Config {
	config.Name, config.Default = "openai", endpoint.OpenAIBase
	config.Settings = endpoint.Settings{BaseURL: "OPENAI_BASE_URL", Key: "OPENAI_API_KEY", KeyFile: "OPENAI_API_KEY_FILE"}
	return config
}

// fakeOpenAI is an endpoint on loopback. It decides by the request alone, refuses what a strict server would, and keeps
// the last body it got.
func fakeOpenAI(t *testing.T, answer func(r *http.Request, body map[string]any) wire) endpoint.Config {
	t.Helper()
	config := endpointtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		content, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(content, &body) != nil || body["stream"] != true || r.URL.Path != "/v1/chat/completions" {
			http.Error(w, "the fake takes streaming chat completions only", http.StatusTeapot)
			return
		}
		answer(r, body).Send(w, r)
	}))
	config.BaseURL += "/v1"
	return config
}

// event frames one piece of a stream.
func event(data string) string { return "data: " + data + "\n\n" }

const (
	done   = "data: [DONE]\n\n"
	finish = `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`
)

func textEvent(text string) string {
	return event(`{"id":"x","object":"chat.completion.chunk","model":"fake-1","choices":[{"index":0,"delta":{"content":` + quote(text) + `},"finish_reason":null}]}`)
}

// callEvent frames one piece of the tool calls: the JSON of one element of tool_calls.
func callEvent(piece string) string {
	return event(`{"model":"fake-1","choices":[{"index":0,"delta":{"tool_calls":[` + piece + `]}}]}`)
}

func finishEvent(reason string) string {
	return event(`{"model":"fake-1","choices":[{"index":0,"delta":{},"finish_reason":` + quote(reason) + `}]}`)
}

// streamOf is an answer as a well-behaved endpoint streams it.
func streamOf(answer actors.ModelResponse) []string {
	pieces := []string{event(`{"model":"fake-1","choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":null}`)}
	for word := range strings.SplitAfterSeq(answer.Text, " ") {
		pieces = append(pieces, textEvent(word))
	}
	for i, call := range answer.Calls {
		written := string(call.Arguments)
		var text string
		if json.Unmarshal(call.Arguments, &text) == nil {
			written = text
		}
		pieces = append(pieces,
			callEvent(fmt.Sprintf(`{"index":%d,"id":%q,"type":"function","function":{"name":%q,"arguments":""}}`, i, call.ID, call.Tool)),
			callEvent(fmt.Sprintf(`{"index":%d,"function":{"arguments":%s}}`, i, quote(written[:len(written)/2]))),
			callEvent(fmt.Sprintf(`{"index":%d,"function":{"arguments":%s}}`, i, quote(written[len(written)/2:]))))
	}
	reasons := map[events.StopReason]string{
		events.StopEnd: "stop", events.StopCalls: "tool_calls",
		events.StopLength: "length", events.StopFiltered: "content_filter",
	}
	usage := fmt.Sprintf(`{"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d}}}`,
		answer.Usage.Input, answer.Usage.Output, answer.Usage.Total(), answer.Usage.Cached)
	return append(pieces, finishEvent(reasons[answer.Stop]), event(usage), done)
}

// failureOf is a failure as an endpoint would report it.
func failureOf(failure *actors.ModelError) wire {
	status := map[events.ErrorClass]int{
		events.ErrorRateLimited: 429, events.ErrorOverloaded: 503, events.ErrorContext: 400,
		events.ErrorAuth: 401, events.ErrorRefused: 400, events.ErrorInvalid: 400, events.ErrorTimeout: 408,
	}[failure.Class]
	code := map[events.ErrorClass]string{events.ErrorContext: "context_length_exceeded", events.ErrorRefused: "content_policy_violation"}[failure.Class]
	if failure.Class == events.ErrorTruncated {
		return wire{Pieces: []string{textEvent("The sentence st")}}
	}
	refusal := wire{
		Status: status, Header: map[string]string{"Content-Type": "application/json"},
		Pieces: []string{fmt.Sprintf(`{"error":{"message":%q,"code":%q,"type":"x"}}`, failure.Detail, code)},
	}
	if failure.RetryAfter > 0 {
		refusal.Header["Retry-After"] = fmt.Sprint(int(failure.RetryAfter / time.Second))
	}
	return refusal
}
