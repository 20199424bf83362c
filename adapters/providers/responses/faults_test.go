package responses

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/adapters/providers/endpoint/endpointtest"
	"example.com/life/events"
)

// failedBy is the end of a response that failed.
func failedBy(code, message string) wire {
	return frames(`{"type":"response.created","response":{"status":"in_progress"}}`,
		`{"type":"response.failed","response":{"status":"failed","error":{"code":"`+code+`","message":"`+message+`"}}}`)
}

// errorEvent is an error within the stream.
func errorEvent(code, message string) wire {
	return frames(delta(0, "m", "Some"), `{"type":"error","code":"`+code+`","message":"`+message+`","param":null,"sequence_number":7}`)
}

// TestFaults: whatever goes wrong has the class that says what can be done about it, and words.
func TestFaults(t *testing.T) {
	plain := map[string]string{"Content-Type": "text/plain"}
	html := map[string]string{"Content-Type": "text/html; charset=utf-8"}
	announced := `{"type":"response.output_item.added","output_index":0,"item":{"type":"message","id":"m","content":[]}}`
	many := func(n int, one string) wire {
		return wire{Pieces: []string{strings.Repeat("data: "+one+"\n\n", n)}, End: endpointtest.Hang}
	}
	var items []string
	for i := range 10_000 {
		items = append(items, fmt.Sprintf(`data: {"type":"response.output_item.done","item":{"type":"sparkle","id":"%d"}}`+"\n\n", i))
	}
	incomplete := func(details string) wire {
		return frames(delta(0, "m", "Some"), `{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":`+details+`}}`)
	}
	for name, test := range map[string]struct {
		wire  wire
		class events.ErrorClass
		says  string
	}{
		// The stream.
		"nothing":                      {wire{}, events.ErrorTruncated, "before the model said"},
		"created alone":                {frames(`{"type":"response.created","response":{"status":"in_progress"}}`), events.ErrorTruncated, "before the reply"},
		"a text without an end":        {frames(delta(0, "m", "Some")), events.ErrorTruncated, "within the reply"},
		"an item without an end":       {frames(messageDone(0, "All of it.")), events.ErrorTruncated, "within the reply"},
		"a call without an end":        {frames(callDone(0, "f", "a", "bash", "{}")), events.ErrorTruncated, "within call 1"},
		"DONE and no end":              {wire{Pieces: []string{"data: " + delta(0, "m", "Some") + "\n\n", "data: [DONE]\n\n"}}, events.ErrorTruncated, "before the model said"},
		"reset within":                 {wire{Pieces: frames(delta(0, "m", "Some")).Pieces, End: endpointtest.Reset}, events.ErrorTruncated, "broke within the reply"},
		"reset before":                 {wire{End: endpointtest.Reset}, events.ErrorTruncated, "broke before the reply"},
		"cut within a frame":           {wire{Pieces: []string{`data: {"type":"response.output_te`}}, events.ErrorTruncated, "before the model said"},
		"no JSON":                      {frames(`{"type": oops`, completed), events.ErrorInvalid, "not JSON"},
		"words in the stream":          {wire{Pieces: []string{"upstream connect error\n\n"}}, events.ErrorInvalid, "upstream connect error"},
		"one endless line":             {wire{Pieces: []string{"data: " + strings.Repeat("x", endpoint.MaxReply+100)}, End: endpointtest.Hang}, events.ErrorInvalid, "larger than 16 MiB"},
		"17 MiB":                       {many(17<<10, delta(0, "m", strings.Repeat("x", 1000))), events.ErrorInvalid, "larger than 16 MiB"},
		"10,000 items":                 {wire{Pieces: items, End: endpointtest.Hang}, events.ErrorInvalid, "more than 1000 items"},
		"10,000 calls":                 {many(10_000, callAdded("null", "", "", "bash")), events.ErrorInvalid, "more than 64 calls"},
		"deep JSON":                    {frames(`{"type":"response.output_item.done","item":`+strings.Repeat(`{"a":`, 20_000)+`1`+strings.Repeat(`}`, 20_000)+`}`, completed), events.ErrorInvalid, "not JSON"},
		"chat completions":             {frames(`{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hi"}}]}`), events.ErrorInvalid, "dialect: chat"},
		"chat completions, whole":      {refusing(200, `{"object":"chat.completion","choices":[]}`), events.ErrorInvalid, "dialect: chat"},
		"not finished":                 {refusing(200, `{"object":"response","status":"queued","output":[]}`), events.ErrorTruncated, "status queued"},
		"a call without a name":        {frames(callDone(0, "f", "a", "", "{}"), completed), events.ErrorTruncated, "names no tool"},
		"two versions of a call":       {frames(callDone(0, "f", "a", "bash", `{"command":"ls"}`), `{"type":"response.completed","response":{"status":"completed","output":[{"type":"function_call","id":"f","call_id":"a","name":"bash","arguments":"{\"command\":\"rm\"}"}]}}`), events.ErrorTruncated, "differ between the stream and the final response"},
		"incomplete, who knows why":    {incomplete(`null`), events.ErrorTruncated, "does not say why"},
		"incomplete, for a new reason": {incomplete(`{"reason":"steered"}`), events.ErrorTruncated, "steered"},
		"incomplete, it says finished": {incomplete(`{"reason":"stop"}`), events.ErrorTruncated, "(stop)"},
		"cancelled":                    {frames(announced, `{"type":"response.cancelled","response":{"status":"cancelled"}}`), events.ErrorOverloaded, "cancelled"},
		// Failures within the stream.
		"failed":                     {failedBy("server_error", "The server had an error."), events.ErrorOverloaded, "The server had an error"},
		"failed, and not why":        {frames(`{"type":"response.failed","response":{"status":"failed","error":null}}`), events.ErrorOverloaded, "does not say why"},
		"failed, said otherwise":     {frames(`{"type":"response.completed","response":{"status":"failed","error":{"code":"server_error","message":"Broken."}}}`), events.ErrorOverloaded, "Broken."},
		"failed, whole":              {refusing(200, `{"object":"response","status":"failed","error":{"code":"rate_limit_exceeded","message":"Slow down."}}`), events.ErrorRateLimited, "Slow down."},
		"failed, no response in it":  {frames(`{"type":"response.failed","error":{"message":"Broken."}}`), events.ErrorOverloaded, "Broken."},
		"rate limit within":          {failedBy("rate_limit_exceeded", "Rate limit reached. Please try again in 20s."), events.ErrorRateLimited, "Rate limit"},
		"an invalid prompt":          {failedBy("invalid_prompt", "Your prompt was flagged as potentially violating our usage policy."), events.ErrorRefused, "flagged"},
		"against a policy":           {failedBy("bio_policy", "This cannot be discussed."), events.ErrorRefused, "discussed"},
		"misaligned":                 {failedBy("misalignment_policy_violation", "Stopped."), events.ErrorRefused, "Stopped"},
		"a picture":                  {failedBy("invalid_image_format", "No such format."), events.ErrorInvalid, "No such format"},
		"a region":                   {failedBy("data_residency_mismatch", "Not in this region."), events.ErrorInvalid, "region"},
		"a slow store":               {failedBy("vector_store_timeout", "It timed out."), events.ErrorTimeout, "timed out"},
		"the window, within":         {failedBy("context_length_exceeded", "Your input exceeds the context window of this model."), events.ErrorContext, "--limit-context-tokens"},
		"quota, within":              {failedBy("insufficient_quota", "You exceeded your current quota."), events.ErrorAuth, "quota"},
		"an error event":             {errorEvent("server_error", "Broken."), events.ErrorOverloaded, "Broken."},
		"an error event of overload": {errorEvent("overloaded_error", "Overloaded."), events.ErrorOverloaded, "Overloaded."},
		"an error event of a limit":  {errorEvent("rate_limit_exceeded", "Slow."), events.ErrorRateLimited, "Slow."},
		"an error event, nested":     {frames(`{"type":"error","error":{"type":"invalid_request_error","message":"No.","code":"x"}}`), events.ErrorInvalid, "No."},
		"an error without a type":    {frames(`{"error":{"message":"No key.","code":401}}`), events.ErrorAuth, "401 Unauthorized: No key."},
		"an error by its name":       {wire{Pieces: []string{"event: error\ndata: it broke\n\n"}}, events.ErrorOverloaded, "it broke"},
		"a field of an error":        {wire{Pieces: []string{"error: {\"message\":\"it broke\"}\n\n"}}, events.ErrorOverloaded, "it broke"},
		"an error of a response":     {frames(`{"type":"response.error","error":{"message":"it broke"}}`), events.ErrorOverloaded, "it broke"},
		"a detail":                   {frames(`{"detail":"Too many requests"}`), events.ErrorRateLimited, "Too many"},
		// Refusals.
		"400":                {refusal("Invalid schema for function 'bash'.", "tools[0].parameters"), events.ErrorInvalid, "Invalid schema"},
		"401":                {refusing(401, `{"error":{"message":"Incorrect API key provided: `+endpointtest.Key+`","code":"invalid_api_key"}}`), events.ErrorAuth, "[key]"},
		"402":                {refusing(402, `{"error":{"message":"pay"}}`), events.ErrorAuth, "pay"},
		"403":                {refusing(403, `{"error":"no"}`), events.ErrorAuth, "no"},
		"404, no such model": {refusing(404, `{"error":{"message":"The model 'm' does not exist","code":"model_not_found"}}`), events.ErrorInvalid, "--model"},
		"404, no such route": {wire{Status: 404, Header: plain, Pieces: []string{"404 page not found"}}, events.ErrorInvalid, "404"},
		"408":                {refusing(408, ``), events.ErrorTimeout, "408"},
		"409":                {refusing(409, `{"error":{"message":"busy"}}`), events.ErrorOverloaded, "busy"},
		"413":                {refusing(413, `{"message":"big"}`), events.ErrorContext, "big"},
		"422":                {refusing(422, `{"detail":[{"loc":["body","tools",0],"msg":"field required"}]}`), events.ErrorInvalid, "field required"},
		"429":                {refusing(429, `{"error":{"message":"slow","code":"rate_limit_exceeded"}}`), events.ErrorRateLimited, "slow"},
		"429, quota":         {refusing(429, `{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}`), events.ErrorAuth, "quota"},
		"500":                {refusing(500, `{"error":{"message":"The server had an error"}}`), events.ErrorOverloaded, "500"},
		"502":                {wire{Status: 502, Header: html, Pieces: []string{"<html>Bad Gateway</html>"}}, events.ErrorOverloaded, "502"},
		"503":                {wire{Status: 503, Header: plain, Pieces: []string{"\xff"}}, events.ErrorOverloaded, "503"},
		"504":                {refusing(504, ``), events.ErrorTimeout, "504"},
		"529":                {refusing(529, `{}`), events.ErrorOverloaded, "529"},
		"endless 500":        {wire{Status: 500, Header: plain, Pieces: []string{strings.Repeat("x", 128<<10)}, End: endpointtest.Hang}, events.ErrorOverloaded, "xxx"},
		"a page":             {wire{Header: html, Pieces: []string{"<html>Sign in</html>"}}, events.ErrorInvalid, "text/html"},
		"a redirect":         {wire{Status: 307, Header: map[string]string{"Location": "http://127.0.0.1:1/"}}, events.ErrorInvalid, "307"},
		"the window":         {refusing(400, `{"error":{"message":"Your input exceeds the context window of this model.","code":"context_length_exceeded"}}`), events.ErrorContext, "--limit-context-tokens"},
		"the policy":         {refusing(400, `{"error":{"message":"Your request was rejected as a result of our safety system.","code":"content_policy_violation"}}`), events.ErrorRefused, "safety"},
	} {
		t.Run(name, func(t *testing.T) {
			model := newModel(t, fake(t, func(*http.Request, []byte) wire { return test.wire }))
			answer, err := model.Ask(t.Context(), actorstest.ModelQuestion("m"), nil)
			var failure *actors.ModelError
			if !errors.As(err, &failure) || failure.Class != test.class || !strings.Contains(failure.Detail, test.says) {
				t.Fatalf("got %+v, %v, want class %s and %q", answer, err, test.class, test.says)
			}
			if len(failure.Detail) > 500+len("…") || strings.Contains(failure.Detail, endpointtest.Key) {
				t.Errorf("the detail: %s", failure.Detail)
			}
		})
	}
}

// TestWhatWasPaidForCounts: a reply that broke off has what came of it.
func TestWhatWasPaidForCounts(t *testing.T) {
	for name, reply := range map[string]wire{
		"broken off": frames(delta(0, "m", strings.Repeat("many words ", 40))),
		"an error":   errorEvent("server_error", "Broken."),
		"failed":     frames(`{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error"},"usage":` + someUsage + `}}`),
	} {
		_, _, _, failure := reads(t, reply)
		if failure == nil || failure.Usage.Input == 0 || failure.Usage.Output == 0 {
			t.Errorf("%s: %+v", name, failure)
		}
	}
	if _, _, _, failure := reads(t, refusal("No.", "")); failure == nil || failure.Usage != (events.Usage{}) {
		t.Errorf("a refusal: %+v", failure)
	}
}

// TestAskedAnotherWay: a refusal of the way of asking is met with another way, once, and so is every later request.
func TestAskedAnotherWay(t *testing.T) {
	off := events.Thinking{Effort: events.EffortOff}
	for name, test := range map[string]struct {
		rules    rules
		thinking events.Thinking
		most     int // requests for the first answer
		has      string
		hasNot   string
	}{
		"store":             {rules: rules{refuses: []string{"store"}}, most: 2, hasNot: "store"},
		"include":           {rules: rules{refuses: []string{"include"}}, most: 2, hasNot: "include"},
		"reasoning":         {rules: rules{refuses: []string{"reasoning"}}, most: 2, hasNot: "reasoning"},
		"effort":            {rules: rules{refuses: []string{"reasoning.effort"}}, thinking: events.Thinking{Effort: events.EffortHigh}, most: 2, hasNot: "effort"},
		"summary":           {rules: rules{refuses: []string{"reasoning.summary"}}, most: 2, hasNot: "summary"},
		"not verified":      {rules: rules{verified: true}, most: 2, hasNot: "summary"},
		"no less effort":    {rules: rules{efforts: []string{"low", "medium", "high"}}, thinking: off, most: 3, has: `"low"`},
		"minimal effort":    {rules: rules{efforts: []string{"minimal", "low", "medium", "high"}}, thinking: off, most: 2, has: "minimal"},
		"high effort alone": {rules: rules{efforts: []string{"high"}}, thinking: events.Thinking{Effort: events.EffortLow}, most: 2, hasNot: "effort"},
		"the limit":         {rules: rules{refuses: []string{"max_output_tokens"}}, most: 2, hasNot: "max_output_tokens"},
		"a low limit":       {rules: rules{most: 1000}, most: 2, has: "1000"},
		"instructions":      {rules: rules{refuses: []string{"instructions"}}, most: 2, has: "system", hasNot: "instructions"},
		"streams":           {rules: rules{whole: true}, most: 2, hasNot: `"stream"`},
		"several":           {rules: rules{refuses: []string{"store", "include", "reasoning", "max_output_tokens"}}, most: 5, hasNot: "store"},
	} {
		t.Run(name, func(t *testing.T) {
			v := &vendor{replies: []wire{says("Fine.")}, rules: test.rules}
			model := newModel(t, v.open(t))
			question := actorstest.ModelQuestion("m")
			question.Thinking = test.thinking
			for range 2 {
				if answer, err := model.Ask(t.Context(), question, nil); err != nil || answer.Text != "Fine." {
					t.Fatalf("%+v, %v", answer, err)
				}
			}
			last, err := events.PlainJSON(v.requests[len(v.requests)-1].raw)
			if err != nil || v.asked() != test.most+1 {
				t.Errorf("%d requests, %v, want %d and then one", v.asked(), err, test.most)
			}
			if !strings.Contains(string(last), test.has) || test.hasNot != "" && strings.Contains(string(last), `"`+strings.Trim(test.hasNot, `"`)+`":`) {
				t.Errorf("asked so: %s", last)
			}
			if len(v.broken) > 0 {
				t.Errorf("requests broke %v", v.broken)
			}
			if other, err := model.Ask(t.Context(), actors.ModelRequest{Model: "other", Messages: question.Messages}, nil); err != nil || other.Text != "Fine." {
				t.Errorf("another model: %+v, %v", other, err)
			}
		})
	}
	t.Run("nothing helps", func(t *testing.T) {
		v := &vendor{replies: []wire{refusal("Unsupported parameter: everything about store, include, reasoning, stream and max_output_tokens.", "")}}
		_, err := newModel(t, v.open(t)).Ask(t.Context(), actorstest.ModelQuestion("m"), nil)
		var failure *actors.ModelError
		if !errors.As(err, &failure) || failure.Class != events.ErrorInvalid || v.asked() > endpoint.MaxChanges+1 {
			t.Errorf("after %d requests: %v", v.asked(), err)
		}
	})
}
