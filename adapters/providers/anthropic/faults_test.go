package anthropic

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/adapters/providers/endpoint/endpointtest"
	"example.com/life/events"
)

// TestSortsFaults: whatever goes wrong is a failure of the class that says what can be done, with words that say what.
func TestSortsFaults(t *testing.T) {
	begun := []string{start(smallUsage), begins(0, `{"type":"text","text":""}`), piece(0, `{"type":"text_delta","text":"a"}`)}
	within := func(frames ...string) wire { return wire{Pieces: append(slices.Clone(begun), frames...)} }
	failed := func(kind, message string) string {
		return frame("error", `"error":{"type":`+quote(kind)+`,"message":`+quote(message)+`}`)
	}
	header := func(w wire, name, value string) wire {
		w.Header[name] = value
		return w
	}
	coded := func(status int, kind, code string) wire {
		return endpointtest.Whole(status, `{"type":"error","error":{"type":`+quote(kind)+`,"message":"No more.","details":{"error_code":`+quote(code)+`}}}`)
	}
	openCall := begins(0, `{"type":"tool_use","id":"c1","name":"bash","input":{}}`)
	var many strings.Builder
	for i := range 10_000 {
		many.WriteString(strings.Join(call(i, fmt.Sprintf("c%d", i), "bash", `{}`), ""))
	}
	deep := strings.Repeat("[", 100_000)
	type fault struct {
		wire  wire
		class events.ErrorClass
		says  string
	}
	faults := map[string]fault{
		// Refusals.
		"400":                  {refusing(400, "invalid_request_error", "temperature: Extra inputs are not permitted"), events.ErrorInvalid, "temperature"},
		"401":                  {refusing(401, "authentication_error", "invalid x-api-key"), events.ErrorAuth, "invalid x-api-key"},
		"402":                  {refusing(402, "billing_error", "pay first"), events.ErrorAuth, "pay first"},
		"403":                  {refusing(403, "permission_error", "not yours"), events.ErrorAuth, "not yours"},
		"404 model":            {refusing(404, "not_found_error", "model: claude-nope"), events.ErrorInvalid, "is the model's name right? (--model)"},
		"404 page":             {wire{Status: 404, Header: map[string]string{"Content-Type": "text/plain"}, Pieces: []string{"404 page not found"}}, events.ErrorInvalid, "ANTHROPIC_BASE_URL"},
		"405":                  {wire{Status: 405, Header: map[string]string{"Content-Type": "text/plain"}, Pieces: []string{"Method Not Allowed"}}, events.ErrorInvalid, "ANTHROPIC_BASE_URL"},
		"413":                  {refusing(413, "request_too_large", "Request exceeds the maximum size"), events.ErrorContext, "maximum size"},
		"429":                  {refusing(429, "rate_limit_error", "slow down"), events.ErrorRateLimited, "slow down"},
		"429 contract spend":   {coded(429, "rate_limit_error", "contract_spend_limit_reached"), events.ErrorAuth, "No more."},
		"429 enforced spend":   {coded(429, "rate_limit_error", "enforced_spend_limit_reached"), events.ErrorAuth, "No more."},
		"429 ramp":             {coded(429, "rate_limit_error", "ramp_limit_exceeded"), events.ErrorAuth, "No more."},
		"400 credit":           {refusing(400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API."), events.ErrorAuth, "credit balance"},
		"400 too long":         {refusing(400, "invalid_request_error", "prompt is too long: 204857 tokens > 200000 maximum"), events.ErrorContext, "--limit-context-tokens"},
		"400 no room":          {refusing(400, "invalid_request_error", "input length and `max_tokens` exceed context limit: 199990 + 4096 > 200000, decrease input length or `max_tokens` and try again"), events.ErrorContext, "exceed context limit"},
		"400 filtered":         {refusing(400, "invalid_request_error", "Output blocked by content filtering policy"), events.ErrorRefused, "content filtering"},
		"500":                  {refusing(500, "api_error", "Internal server error"), events.ErrorOverloaded, "Internal server error"},
		"502 plain":            {wire{Status: 502, Header: map[string]string{"Content-Type": "text/plain"}, Pieces: []string{"bad \xff gateway"}}, events.ErrorOverloaded, "bad � gateway"},
		"503 page":             {wire{Status: 503, Header: map[string]string{"Content-Type": "text/html"}, Pieces: []string{"<html>down</html>"}}, events.ErrorOverloaded, "503"},
		"504":                  {refusing(504, "timeout_error", "took too long"), events.ErrorTimeout, "took too long"},
		"529":                  {refusing(529, "overloaded_error", "Overloaded"), events.ErrorOverloaded, "Overloaded"},
		"a redirect":           {wire{Status: 307, Header: map[string]string{"Location": "http://127.0.0.1:1/"}}, events.ErrorInvalid, "307"},
		"endless 500":          {wire{Status: 500, Header: map[string]string{"Content-Type": "text/plain"}, Pieces: []string{strings.Repeat("x", 128<<10)}, End: endpointtest.Hang}, events.ErrorOverloaded, "xxx"},
		"a page with 200":      {wire{Header: map[string]string{"Content-Type": "text/html"}, Pieces: []string{"<html>"}}, events.ErrorInvalid, "text/html"},
		"a page called stream": {wire{Pieces: []string{"<!DOCTYPE html>\n<html>\n"}}, events.ErrorInvalid, "DOCTYPE"},
		"an error with 200":    {endpointtest.Whole(200, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`), events.ErrorOverloaded, "Overloaded"},
		"chat completions":     {wire{Pieces: []string{"data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n"}}, events.ErrorInvalid, "chat completions"},
		// Errors within an accepted stream.
		"overloaded first":      {wire{Pieces: []string{failed("overloaded_error", "Overloaded")}}, events.ErrorOverloaded, "Overloaded"},
		"overloaded within":     {within(failed("overloaded_error", "Overloaded")), events.ErrorOverloaded, "Overloaded"},
		"api_error within":      {within(failed("api_error", "oops")), events.ErrorOverloaded, "oops"},
		"rate limit within":     {within(failed("rate_limit_error", "slow")), events.ErrorRateLimited, "slow"},
		"timeout within":        {within(failed("timeout_error", "late")), events.ErrorTimeout, "late"},
		"authentication within": {within(failed("authentication_error", "expired")), events.ErrorAuth, "expired"},
		"permission within":     {within(failed("permission_error", "no")), events.ErrorAuth, "no"},
		"billing within":        {within(failed("billing_error", "pay")), events.ErrorAuth, "pay"},
		"invalid within":        {within(failed("invalid_request_error", "odd")), events.ErrorInvalid, "odd"},
		"not found within":      {within(failed("not_found_error", "gone")), events.ErrorInvalid, "gone"},
		"too large within":      {within(failed("request_too_large", "big")), events.ErrorContext, "big"},
		"an error in words":     {within("event: error\ndata: the engine died\n\n"), events.ErrorOverloaded, "the engine died"},
		"a bare error":          {within("data: {\"error\":\"rate limit reached\"}\n\n"), events.ErrorRateLimited, "rate limit reached"},
		"a gateway's error":     {within("data: {\"error\":{\"message\":\"no\",\"code\":401}}\n\n"), events.ErrorAuth, "401 Unauthorized: no"},
		// Streams that end or break.
		"nothing":                         {wire{}, events.ErrorTruncated, "before the reply"},
		"only a beginning":                {wire{Pieces: []string{start(smallUsage)}}, events.ErrorTruncated, "before the reply"},
		"EOF within a text":               {within(), events.ErrorTruncated, "within the reply"},
		"EOF within a call":               {wire{Pieces: []string{start(smallUsage), openCall, piece(0, `{"type":"input_json_delta","partial_json":"{\"a\":1}"}`)}}, events.ErrorTruncated, "within call 1"},
		"EOF after a call":                {wire{Pieces: slices.Concat(raw(start(smallUsage)), call(0, "c1", "bash", `{}`))}, events.ErrorTruncated, "within call 1"},
		"EOF after the reason":            {wire{Pieces: streams(text(0, "hi"), end("end_turn", 1)[:1]).Pieces}, events.ErrorTruncated, "message_stop"},
		"DONE after the reason":           {wire{Pieces: append(streams(text(0, "hi"), end("end_turn", 1)[:1]).Pieces, "data: [DONE]\n\n")}, events.ErrorTruncated, "message_stop"},
		"an end without a reason":         {streams(text(0, "hi"), raw(frame("message_stop", ""))), events.ErrorTruncated, "did not say why it stopped"},
		"an empty reason":                 {streams(text(0, "hi"), end("", 1)), events.ErrorTruncated, "did not say why it stopped"},
		"an unknown reason":               {streams(text(0, "hi"), end("eclipse", 1)), events.ErrorTruncated, "eclipse"},
		"a provider that gave up":         {streams(text(0, "hi"), end("error", 1)), events.ErrorOverloaded, "broke the reply off"},
		"RST before the reply":            {wire{End: endpointtest.Reset}, events.ErrorTruncated, "before the reply"},
		"RST within the reply":            {wire{Pieces: begun, End: endpointtest.Reset}, events.ErrorTruncated, "broke within the reply"},
		"tool_use without a call":         {streams(text(0, "I look."), end("tool_use", 1)), events.ErrorTruncated, "sent no call"},
		"the window met before the reply": {streams(end("model_context_window_exceeded", 0)), events.ErrorContext, "no room for a reply"},
		// Frames that cannot be.
		"no JSON":                   {within("data: {\"type\": oops\n\n"), events.ErrorInvalid, "not JSON"},
		"a list":                    {within("data: [1]\n\n", "data: {}\n\n"), events.ErrorInvalid, "not JSON"},
		"half a frame":              {within("data: {\"type\":\"content_block_delta\",\"ind"), events.ErrorTruncated, "within the reply"},
		"deep JSON":                 {within("data: " + deep + "\n\n"), events.ErrorInvalid, "not JSON"},
		"deep JSON in a block":      {within("data: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"x\",\"y\":" + deep + "}}\n\n"), events.ErrorInvalid, "not JSON"},
		"a second beginning":        {within(start(smallUsage)), events.ErrorTruncated, "second reply"},
		"a block that is nothing":   {within(frame("content_block_start", `"index":1`)), events.ErrorTruncated, "without saying what it is"},
		"a block that is a text":    {within(frame("content_block_start", `"index":1,"content_block":"x"`)), events.ErrorTruncated, "without saying what it is"},
		"an index again in a call":  {wire{Pieces: []string{start(smallUsage), openCall, piece(0, `{"type":"input_json_delta","partial_json":"{\"a"}`), openCall}}, events.ErrorTruncated, "began again within its call"},
		"arguments of no call":      {within(piece(0, `{"type":"input_json_delta","partial_json":"{}"}`)), events.ErrorTruncated, "had not begun"},
		"arguments of a closed one": {streams(call(0, "c1", "bash", `{}`), raw(piece(0, `{"type":"input_json_delta","partial_json":"{}"}`))), events.ErrorTruncated, "had not begun"},
		"a call without a name":     {streams(raw(begins(0, `{"type":"tool_use","id":"c1","input":{}}`), ends(0)), end("tool_use", 1)), events.ErrorTruncated, "names no tool"},
		// Too much.
		"10,000 calls":     {wire{Pieces: []string{start(smallUsage), many.String()}, End: endpointtest.Hang}, events.ErrorInvalid, "more than 64 calls"},
		"too many blocks":  {wire{Pieces: []string{start(smallUsage), strings.Repeat(begins(0, `{"type":"text","text":""}`)+ends(0), 1100)}, End: endpointtest.Hang}, events.ErrorInvalid, "more than 1000 blocks"},
		"17 MiB of text":   {wire{Pieces: []string{start(smallUsage), begins(0, `{"type":"text","text":""}`), strings.Repeat(piece(0, `{"type":"text_delta","text":`+quote(strings.Repeat("x", 1<<16))+`}`), 17<<4)}, End: endpointtest.Hang}, events.ErrorInvalid, "larger than 16 MiB"},
		"one endless line": {wire{Pieces: []string{"data: " + strings.Repeat("x", endpoint.MaxReply+100)}, End: endpointtest.Hang}, events.ErrorInvalid, "larger than 16 MiB"},
		"a small bomb":     {wire{Gzip: true, Pieces: []string{strings.Repeat(": "+strings.Repeat("z", 1000)+"\n", endpoint.MaxReply/1000)}, End: endpointtest.Hang}, events.ErrorInvalid, "larger than 16 MiB"},
	}
	retry := map[string]struct {
		wire wire
		want time.Duration
	}{
		"Retry-After":    {header(refusing(429, "rate_limit_error", "slow"), "Retry-After", "7"), 7 * time.Second},
		"Retry-After-Ms": {header(refusing(529, "overloaded_error", "busy"), "Retry-After-Ms", "1500"), 1500 * time.Millisecond},
		"in words":       {refusing(429, "rate_limit_error", "slow. Try again in 20 seconds."), 20 * time.Second},
		"in the stream":  {within(failed("rate_limit_error", "retry after 9 seconds")), 9 * time.Second},
		"not said":       {refusing(529, "overloaded_error", "busy"), 0},
	}
	if len(faults)+len(retry) < 50 {
		t.Errorf("%d faults", len(faults)+len(retry))
	}
	ask := func(t *testing.T, w wire) *actors.ModelError {
		t.Helper()
		v := &vendor{replies: []wire{w}}
		config := v.config(t)
		if w.Status == 401 {
			config.Settings.BaseURL = ""
		}
		_, err := newModel(t, config).Ask(t.Context(), actorstest.ModelQuestion("m"), nil)
		var failure *actors.ModelError
		if !errors.As(err, &failure) {
			t.Fatalf("got %v, want a failure of the model", err)
		}
		if len(failure.Detail) > 500+len("…") || failure.Detail == "" {
			t.Errorf("the detail has %d bytes", len(failure.Detail))
		}
		return failure
	}
	for name, test := range faults {
		t.Run(name, func(t *testing.T) {
			if failure := ask(t, test.wire); failure.Class != test.class || !strings.Contains(failure.Detail, test.says) {
				t.Errorf("got %v, want class %s and %q", failure, test.class, test.says)
			}
		})
	}
	for name, test := range retry {
		t.Run("again: "+name, func(t *testing.T) {
			if failure := ask(t, test.wire); failure.RetryAfter != test.want || !failure.Class.Retryable() {
				t.Errorf("got %v after %s, want after %s", failure, failure.RetryAfter, test.want)
			}
		})
	}
}

// TestBrokenRepliesCount: what came of a reply that broke off is paid for.
func TestBrokenRepliesCount(t *testing.T) {
	for name, w := range map[string]wire{
		"EOF":   {Pieces: []string{start(smallUsage), begins(0, `{"type":"text","text":""}`), piece(0, `{"type":"text_delta","text":`+quote(strings.Repeat("word ", 400))+`}`)}},
		"error": streams(raw(begins(0, `{"type":"text","text":`+quote(strings.Repeat("word ", 400))+`}`), frame("error", `"error":{"type":"overloaded_error","message":"Overloaded"}`))),
		"twice": streams(text(0, strings.Repeat("word ", 400)), raw(start(smallUsage))),
	} {
		_, err := newModel(t, (&vendor{replies: []wire{w}}).config(t)).Ask(t.Context(), actorstest.ModelQuestion("m"), nil)
		var failure *actors.ModelError
		if !errors.As(err, &failure) || failure.Usage.Input != 10 || failure.Usage.Output != 500 || !failure.Usage.Estimated {
			t.Errorf("%s: %v, %+v", name, err, failure)
		}
	}
}

// TestCannotBeReached: nobody listens there.
func TestCannotBeReached(t *testing.T) {
	_, err := newModel(t, anthropicConfig(endpoint.Config{BaseURL: "http://127.0.0.1:1", Client: &http.Client{}})).Ask(t.Context(), actorstest.ModelQuestion("m"), nil)
	var failure *actors.ModelError
	if !errors.As(err, &failure) || failure.Class != events.ErrorOverloaded {
		t.Errorf("got %v, want overloaded", err)
	}
}
