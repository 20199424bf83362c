package chat

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/life/actors"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/events"
)

const testKey = "sk-test/Zm9v+YmFy=<0123456789>"

// wire is what the fake endpoint does with a request: it sends the body in these pieces, each flushed, and then ends.
type wire struct {
	status int
	header map[string]string
	pieces []string
	gzip   bool
	end    func(w http.ResponseWriter, r *http.Request) // nil: a clean end
}

// openAI is a configuration of openai.
func openAI(config endpoint.Config) endpoint.Config {
	config.Name, config.Default = "openai", BaseURL
	config.Settings = endpoint.Settings{BaseURL: "OPENAI_BASE_URL", Key: "OPENAI_API_KEY", KeyFile: "OPENAI_API_KEY_FILE"}
	return config
}

// fakeOpenAI is an endpoint on loopback. It decides by the request alone, refuses what a strict server would, and keeps
// the last body it got.
func fakeOpenAI(t *testing.T, answer func(r *http.Request, body map[string]any) wire) endpoint.Config {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		content, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(content, &body) != nil || body["stream"] != true || r.URL.Path != "/v1/chat/completions" {
			http.Error(w, "the fake takes streaming chat completions only", http.StatusTeapot)
			return
		}
		answer(r, body).send(w, r)
	}))
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	return endpoint.Config{BaseURL: server.URL + "/v1", Key: testKey, Client: &http.Client{Transport: transport}}
}

func (s wire) send(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	for name, value := range s.header {
		w.Header().Set(name, value)
	}
	var out io.Writer = w
	flush := http.NewResponseController(w).Flush
	if s.gzip && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		zip := gzip.NewWriter(w)
		defer zip.Close()
		out = zip
		flush = func() error { return zip.Flush() }
	}
	if s.status != 0 {
		w.WriteHeader(s.status)
	}
	for _, piece := range s.pieces {
		if _, err := io.WriteString(out, piece); err != nil {
			return
		}
		if flush() != nil {
			return
		}
	}
	if s.end != nil {
		_ = http.NewResponseController(w).Flush() // so that the client has the headers
		s.end(w, r)
	}
}

// hang says nothing more until the client has gone.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// reset cuts the connection with a RST.
func reset(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
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

func quote(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(quoted)
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
		return wire{pieces: []string{textEvent("The sentence st")}}
	}
	refusal := wire{
		status: status, header: map[string]string{"Content-Type": "application/json"},
		pieces: []string{fmt.Sprintf(`{"error":{"message":%q,"code":%q,"type":"x"}}`, failure.Detail, code)},
	}
	if failure.RetryAfter > 0 {
		refusal.header["Retry-After"] = fmt.Sprint(int(failure.RetryAfter / time.Second))
	}
	return refusal
}
