package anthropic

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/google/go-cmp/cmp"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/adapters/providers/endpoint/endpointtest"
	"example.com/life/events"
)

func newModel(t testing.TB, config endpoint.Config) actors.Model {
	t.Helper()
	model, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return model
}

// streamOf is an answer as the vendor streams it.
func streamOf(answer *actors.ModelResponse) wire {
	u := answer.Usage
	pieces := []string{start(fmt.Sprintf(`{"input_tokens":%d,"cache_creation_input_tokens":%d,"cache_read_input_tokens":%d,"cache_creation":{"ephemeral_5m_input_tokens":%d,"ephemeral_1h_input_tokens":%d},"output_tokens":1}`,
		u.Input-u.Cached-u.CacheWrite-u.CacheWriteLong, u.CacheWrite+u.CacheWriteLong, u.Cached, u.CacheWrite, u.CacheWriteLong))}
	said, calls, index := answer.Text, answer.Calls, 0
	add := func(frames []string) {
		pieces = append(pieces, frames...)
		index++
	}
	callOf := func() {
		written := string(calls[0].Arguments)
		var text string
		if json.Unmarshal(calls[0].Arguments, &text) == nil {
			written = text
		}
		add(call(index, calls[0].ID, calls[0].Tool, "", written[:len(written)/2], written[len(written)/2:]))
		calls = calls[1:]
	}
	for _, block := range answer.Blocks {
		switch block.Kind {
		case events.BlockText:
			add(text(index, said[:block.Bytes]))
			said = said[block.Bytes:]
		case events.BlockThinking:
			add(thought(index, block.Text))
		case events.BlockCall:
			callOf()
		case events.BlockItem:
			add(raw(begins(index, block.Raw), ends(index)))
		}
	}
	if said != "" {
		add(text(index, strings.SplitAfter(said, " ")...))
	}
	for len(calls) > 0 {
		callOf()
	}
	reason := map[events.StopReason]string{
		events.StopEnd: "end_turn", events.StopCalls: "tool_use", events.StopLength: "max_tokens", events.StopFiltered: "refusal", events.StopPaused: "pause_turn",
	}[answer.Stop]
	return wire{Pieces: append(pieces, frame("ping", ""),
		frame("message_delta", fmt.Sprintf(`"delta":{"stop_reason":%q},"usage":{"output_tokens":%d,"output_tokens_details":{"thinking_tokens":%d}}`, reason, u.Output, u.Reasoning)),
		frame("message_stop", ""))}
}

// failureOf is a failure as the vendor reports it.
func failureOf(failure *actors.ModelError) wire {
	switch failure.Class {
	case events.ErrorRateLimited:
		refusal := refusing(429, "rate_limit_error", failure.Detail)
		refusal.Header["Retry-After"] = fmt.Sprint(int(failure.RetryAfter / time.Second))
		return refusal
	case events.ErrorOverloaded:
		return refusing(529, "overloaded_error", failure.Detail)
	case events.ErrorContext:
		return refusing(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")
	case events.ErrorAuth:
		return refusing(401, "authentication_error", failure.Detail)
	case events.ErrorRefused:
		return refusing(400, "invalid_request_error", "Output blocked by content filtering policy")
	case events.ErrorTimeout:
		return refusing(504, "timeout_error", failure.Detail)
	case events.ErrorInvalid, events.ErrorCancelled:
	case events.ErrorTruncated:
		return wire{Pieces: []string{start(smallUsage), begins(0, `{"type":"text","text":"The sentence st"}`)}}
	}
	return refusing(400, "invalid_request_error", failure.Detail)
}

func TestAnthropicIsAModel(t *testing.T) {
	actorstest.TestModel(t, func(t *testing.T, situation actorstest.ModelSituation) (actors.Model, string) {
		v := &vendor{}
		switch {
		case situation.Reply != nil:
			v.replies = []wire{streamOf(situation.Reply)}
		case situation.Failure != nil:
			v.replies = []wire{failureOf(situation.Failure)}
		default:
			v.replies = []wire{{End: endpointtest.Hang}}
		}
		t.Cleanup(func() {
			if len(v.broken) > 0 {
				t.Errorf("the suite's question breaks the vendor's rules: %v", v.broken)
			}
		})
		return newModel(t, v.config(t)), "claude-fake-1"
	})
}

// TestEnvironmentHasNoEffect: the vendor's package reads keys, addresses, headers and profiles from variables; of these models none has an
// effect that is not configured.
func TestEnvironmentHasNoEffect(t *testing.T) {
	for name, value := range map[string]string{
		"ANTHROPIC_API_KEY": "sk-of-somebody", "ANTHROPIC_AUTH_TOKEN": "sk-of-somebody", "ANTHROPIC_BASE_URL": "http://127.0.0.1:1", "ANTHROPIC_PROFILE": "missing",
		"ANTHROPIC_CUSTOM_HEADERS": "X-Of-Somebody: yes", "ANTHROPIC_CONFIG_DIR": "/nowhere", "ANTHROPIC_FEDERATION_RULE_ID": "r", "ANTHROPIC_ORGANIZATION_ID": "o",
		"ANTHROPIC_IDENTITY_TOKEN": "sk-of-somebody", "ANTHROPIC_SERVICE_ACCOUNT_ID": "s", "ANTHROPIC_WORKSPACE_ID": "w", "ANTHROPIC_WEBHOOK_SIGNING_KEY": "k",
		"ANTHROPIC_OPEN_TELEMETRY": "true", "ANTHROPIC_OPEN_TELEMETRY_PROPAGATION": "true", "ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE": "full",
	} {
		t.Setenv(name, value)
	}
	v := &vendor{replies: []wire{says("Hello.")}}
	for _, key := range []string{endpointtest.Key, ""} {
		config := v.config(t)
		if config.Key = key; key == "" {
			config.Default = BaseURL // the vendor's own does not answer without one
		}
		if _, err := newModel(t, config).Ask(t.Context(), actorstest.ModelQuestion("claude-fake-1"), nil); err != nil {
			t.Fatal(err)
		}
		header := v.headers[len(v.headers)-1]
		want := "Bearer " + key
		if key == "" {
			want = ""
		}
		if header.Get("Authorization") != want || header.Get("Anthropic-Version") != version {
			t.Errorf("Authorization %q, version %q", header.Get("Authorization"), header.Get("Anthropic-Version"))
		}
		for name, values := range header {
			if all := strings.Join(values, " "); strings.Contains(all, "somebody") || strings.HasPrefix(name, "X-Of") || strings.HasPrefix(name, "Traceparent") ||
				strings.HasPrefix(name, "Anthropic-Workspace") || name == "X-Api-Key" {
				t.Errorf("the environment sets %s: %s", name, all)
			}
		}
	}
}

func TestBaseURL(t *testing.T) {
	v := &vendor{replies: []wire{says("Hello.")}, former: true}
	config := v.config(t)
	for _, path := range []string{"", "/", "/v1", "/v1/", "/v1/messages"} {
		at := config
		at.BaseURL += path
		if _, err := newModel(t, at).Ask(t.Context(), actorstest.ModelQuestion("claude-fake-1"), nil); err != nil {
			t.Errorf("base URL with %q: %v", path, err)
		}
	}
	config.BaseURL += "/typo"
	_, err := newModel(t, config).Ask(t.Context(), actorstest.ModelQuestion("claude-fake-1"), nil)
	var failure *actors.ModelError
	if !errors.As(err, &failure) || failure.Class != events.ErrorInvalid || !strings.Contains(failure.Detail, "ANTHROPIC_BASE_URL") {
		t.Errorf("got %v, want invalid with the setting", err)
	}
	if _, err := New(anthropicConfig(endpoint.Config{})); err == nil || !strings.Contains(err.Error(), "set ANTHROPIC_API_KEY, or ANTHROPIC_API_KEY_FILE") {
		t.Errorf("without a key: %v", err)
	}
	if _, err := New(anthropicConfig(endpoint.Config{Key: "a\nb"})); err == nil || strings.Contains(err.Error(), "a\nb") {
		t.Errorf("a key with a newline: %v", err)
	}
}

// TestReadsWhatServersSend: streams of the vendor, and of servers and gateways that do otherwise.
func TestReadsWhatServersSend(t *testing.T) {
	long := strings.Repeat("x", 600)
	said := func(words string) actors.ModelResponse {
		return actors.ModelResponse{Text: words, Stop: events.StopEnd, Model: "claude-fake-1"}
	}
	calls := func(calls ...events.ModelCall) actors.ModelResponse {
		return actors.ModelResponse{Calls: calls, Stop: events.StopCalls, Model: "claude-fake-1"}
	}
	of := func(id, tool, arguments string) events.ModelCall {
		return events.ModelCall{ID: id, Tool: tool, Arguments: json.RawMessage(arguments)}
	}
	cut := func(c events.ModelCall) events.ModelCall {
		c.Cut = true
		return c
	}
	with := func(answer actors.ModelResponse, change func(*actors.ModelResponse)) actors.ModelResponse {
		change(&answer)
		return answer
	}
	crlf := func(w wire) wire {
		for i := range w.Pieces {
			w.Pieces[i] = strings.ReplaceAll(w.Pieces[i], "\n", "\r\n")
		}
		return w
	}
	everyByte := strings.Split(`{"path":"ä.md"}`, "")
	text0, call0 := begins(0, `{"type":"text","text":""}`), begins(0, `{"type":"tool_use","id":"c1","name":"bash","input":{}}`)
	hi := piece(0, `{"type":"text_delta","text":"hi"}`)
	for name, test := range map[string]struct {
		wire wire
		want actors.ModelResponse
	}{
		"single bytes":        {wire{Pieces: endpointtest.Bytes(says("Grüße 🙂").Pieces...)}, said("Grüße 🙂")},
		"gzip":                {wire{Pieces: says("hi").Pieces, Gzip: true}, said("hi")},
		"CRLF":                {crlf(says("hi")), said("hi")},
		"comments, ping":      {wire{Pieces: []string{": alive\n\n", start(smallUsage), frame("ping", ""), text0, ": alive\n", hi, "data: ping\n\n", ends(0), strings.Join(end("end_turn", 2), ":\n\n")}}, said("hi")},
		"no event names":      {wire{Pieces: []string{strings.NewReplacer("event: message_start\n", "", "event: content_block_start\n", "", "event: content_block_delta\n", "", "event: content_block_stop\n", "", "event: message_delta\n", "", "event: message_stop\n", "").Replace(strings.Join(says("hi").Pieces, ""))}}, said("hi")},
		"names only":          {wire{Pieces: []string{strings.NewReplacer(`"type":"message_start",`, "", `"type":"content_block_start",`, "", `"type":"content_block_delta",`, "", `"type":"message_delta",`, "").Replace(strings.Join(says("hi").Pieces, ""))}}, said("hi")},
		"a byte order mark":   {wire{Pieces: append([]string{"\ufeff"}, says("hi").Pieces...)}, said("hi")},
		"RST after the end":   {wire{Pieces: says("hi").Pieces, End: endpointtest.Reset}, said("hi")},
		"hangs after the end": {wire{Pieces: says("hi").Pieces, End: endpointtest.Hang}, said("hi")},
		"a whole message": {
			endpointtest.Whole(200, `{"id":"m","type":"message","role":"assistant","model":"claude-fake-1","content":[{"type":"text","text":"I look."},{"type":"tool_use","id":"c1","name":"bash","input":{"command":"ls"}}],"stop_reason":"tool_use","usage":{"input_tokens":7,"output_tokens":9}}`),
			with(calls(of("c1", "bash", `{"command":"ls"}`)), func(a *actors.ModelResponse) { a.Text = "I look." }),
		},
		"a split pair":             {streams(raw(text0, piece(0, `{"type":"text_delta","text":"a\ud83d"}`), piece(0, `{"type":"text_delta","text":"\ude42b"}`), ends(0)), end("end_turn", 2)), said("a🙂b")},
		"a lone half":              {streams(raw(text0, piece(0, `{"type":"text_delta","text":"a\ud83d"}`), ends(0)), end("end_turn", 2)), said("a\ufffd")},
		"bytes that are no UTF-8":  {streams(raw(text0, "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\xff\"}}\n\n", ends(0)), end("end_turn", 2)), said("a\ufffd")},
		"arguments at every byte":  {streams(call(0, "c1", "bash", everyByte...), end("tool_use", 9)), calls(of("c1", "bash", `{"path":"ä.md"}`))},
		"no arguments":             {streams(call(0, "c1", "bash"), end("tool_use", 9)), calls(of("c1", "bash", `{}`))},
		"input with the beginning": {streams(raw(begins(0, `{"type":"tool_use","id":"c1","name":"bash","input":{"a":1}}`), ends(0)), end("tool_use", 9)), calls(of("c1", "bash", `{"a":1}`))},
		"no input at all":          {streams(raw(begins(0, `{"type":"tool_use","id":"c1","name":"bash"}`), ends(0)), end("tool_use", 9)), calls(of("c1", "bash", `{}`))},
		"the same id twice": {
			streams(call(0, "c1", "bash", `{"a":1}`), call(1, "c1", "bash", `{"a":2}`), call(2, "", "bash", `{"a":3}`), end("tool_use", 9)),
			calls(of("c1", "bash", `{"a":1}`), of("call-6-2", "bash", `{"a":2}`), of("call-6-3", "bash", `{"a":3}`)),
		},
		"interleaved": {
			streams(raw(call0, begins(1, `{"type":"tool_use","id":"c2","name":"list_dir","input":{}}`),
				piece(1, `{"type":"input_json_delta","partial_json":"{\"b\""}`), piece(0, `{"type":"input_json_delta","partial_json":"{\"a\""}`),
				piece(1, `{"type":"input_json_delta","partial_json":":2}"}`), piece(0, `{"type":"input_json_delta","partial_json":":1}"}`), ends(1), ends(0)), end("tool_use", 9)),
			calls(of("c1", "bash", `{"a":1}`), of("c2", "list_dir", `{"b":2}`)),
		},
		"one index for all": {
			streams(text(0, "I look."), call(0, "c1", "bash", `{"a":1}`), call(0, "c2", "bash", `{"a":2}`), end("tool_use", 9)),
			with(calls(of("c1", "bash", `{"a":1}`), of("c2", "bash", `{"a":2}`)), func(a *actors.ModelResponse) { a.Text = "I look." }),
		},
		"no end of the blocks": {
			streams(raw(text0, hi), raw(strings.Replace(call0, `"index":0`, `"index":1`, 1), piece(1, `{"type":"input_json_delta","partial_json":"{\"a\":1}"}`)), end("tool_use", 9)),
			with(calls(of("c1", "bash", `{"a":1}`)), func(a *actors.ModelResponse) { a.Text = "hi" }),
		},
		"half a call, and a normal stop": {streams(raw(call0, piece(0, `{"type":"input_json_delta","partial_json":"{\"a\""}`)), end("tool_use", 9)), calls(cut(of("c1", "bash", `"{\"a\""`)))},
		"a call that only began":         {streams(raw(call0), end("tool_use", 9)), calls(cut(of("c1", "bash", `{}`)))},
		"cut by the limit": {
			streams(call(0, "c1", "bash", `{"a":1}`), raw(begins(1, `{"type":"tool_use","id":"c2","name":"bash","input":{}}`), piece(1, `{"type":"input_json_delta","partial_json":"{\"a"}`), ends(1)), end("max_tokens", 4096)),
			with(calls(of("c1", "bash", `{"a":1}`), cut(of("c2", "bash", `"{\"a"`))), func(a *actors.ModelResponse) { a.Stop = events.StopLength }),
		},
		"cut by the limit before the arguments": {
			streams(call(0, "c1", "bash"), end("max_tokens", 4096)),
			with(calls(cut(of("c1", "bash", `{}`))), func(a *actors.ModelResponse) { a.Stop = events.StopLength }),
		},
		"the limit met, called a normal stop": {streams(call(0, "c1", "bash", `{"a"`), end("tool_use", 4096)), calls(cut(of("c1", "bash", `"{\"a\""`)))},
		"a text without a beginning":          {streams(raw(hi), end("end_turn", 2)), said("hi")},
		"a text in a block of a call": {
			streams(raw(call0, piece(0, `{"type":"input_json_delta","partial_json":"{}"}`), piece(0, `{"type":"text_delta","text":"hi"}`), ends(0)), end("tool_use", 2)),
			with(calls(of("c1", "bash", `{}`)), func(a *actors.ModelResponse) {
				a.Text, a.Blocks = "hi", []actors.Block{{Kind: events.BlockCall}, {Kind: events.BlockText, Bytes: 2}}
			}),
		},
		"unknown events, deltas and fields": {
			streams(raw(frame("turn_metrics", `"message":"fine","code":7`), "event: notice\ndata: {\"note\":1}\n\n", text0, piece(0, `{"type":"glow_delta","glow":1}`), hi, piece(7, `{"type":"glow_delta"}`), ends(0), ends(9)), end("end_turn", 2)),
			with(said("hi"), func(*actors.ModelResponse) {}),
		},
		"a block of an unknown kind": {
			streams(raw(begins(0, `{"type":"hologram","beam":"a"}`), piece(0, `{"type":"hologram_delta","beam":"b"}`), ends(0)), text(1, "hi"), end("end_turn", 2)),
			with(said("hi"), func(a *actors.ModelResponse) {
				a.Blocks = []actors.Block{{Kind: events.BlockItem, Raw: `{"beam":"ab","type":"hologram"}`}, {Kind: events.BlockText, Bytes: 2}}
			}),
		},
		"a second beginning before anything": {wire{Pieces: append([]string{start(smallUsage)}, says("hi").Pieces...)}, said("hi")},
		"stop_sequence":                      {streams(text(0, "hi"), end("stop_sequence", 2)), said("hi")},
		"a gateway's reason":                 {streams(text(0, "hi"), end("stop", 2)), said("hi")},
		"paused": {
			streams(text(0, "I search."), raw(begins(1, `{"type":"server_tool_use","id":"s1","name":"web_search","input":{}}`), piece(1, `{"type":"input_json_delta","partial_json":"{\"query\":\"x\"}"}`), ends(1)), end("pause_turn", 3)),
			with(said("I search."), func(a *actors.ModelResponse) {
				a.Stop = events.StopPaused
				a.Blocks = []actors.Block{{Kind: events.BlockText, Bytes: 9}, {Kind: events.BlockItem, Raw: `{"id":"s1","input":{"query":"x"},"name":"web_search","type":"server_tool_use"}`}}
			}),
		},
		"the window met within the reply": {streams(text(0, "And so"), end("model_context_window_exceeded", 3)), with(said("And so"), func(a *actors.ModelResponse) { a.Stop, a.Met = events.StopLength, events.BoundWindow })},
		"thoughts, signed": {streams(thought(0, "Hm. ", long), thought(1), text(2, "Yes."), end("end_turn", 9)), with(said("Yes."), func(a *actors.ModelResponse) {
			a.Blocks = []actors.Block{
				{Kind: events.BlockThinking, Text: "Hm. " + long, Raw: `{"signature":"` + sign("Hm. "+long) + `","thinking":"Hm. ` + long + `","type":"thinking"}`},
				{Kind: events.BlockThinking, Raw: `{"signature":"` + sign("") + `","thinking":"","type":"thinking"}`},
				{Kind: events.BlockText, Bytes: 4},
			}
		})},
		"redacted thoughts": {
			streams(raw(begins(0, `{"type":"redacted_thinking","data":"redacted:<x>&"}`), ends(0)), call(1, "c1", "bash", `{}`), end("tool_use", 9)),
			with(calls(of("c1", "bash", `{}`)), func(a *actors.ModelResponse) {
				a.Blocks = []actors.Block{{Kind: events.BlockItem, Raw: `{"data":"redacted:<x>&","type":"redacted_thinking"}`}, {Kind: events.BlockCall}}
			}),
		},
		"thoughts that were cut off": {
			streams(raw(begins(0, `{"type":"thinking","thinking":"","signature":""}`), piece(0, `{"type":"thinking_delta","thinking":"Hm"}`)), end("max_tokens", 4096)),
			with(said(""), func(a *actors.ModelResponse) {
				a.Stop, a.Blocks = events.StopLength, []actors.Block{{Kind: events.BlockThinking, Text: "Hm"}}
			}),
		},
		"citations": {streams(raw(text0, hi, piece(0, `{"type":"citations_delta","citation":{"type":"page_location","n":1}}`), ends(0)), end("end_turn", 2)), with(said("hi"), func(a *actors.ModelResponse) {
			a.Blocks = []actors.Block{{Kind: events.BlockText, Bytes: 2, Raw: `{"citations":[{"type":"page_location","n":1}],"text":"hi","type":"text"}`}}
		})},
		"a caller of a call": {
			streams(raw(begins(0, `{"type":"tool_use","id":"c1","name":"bash","input":{},"caller":{"type":"code_execution","tool_id":"x"}}`), ends(0)), end("tool_use", 2)),
			with(calls(of("c1", "bash", `{}`)), func(a *actors.ModelResponse) {
				a.Blocks = []actors.Block{{Kind: events.BlockCall, Raw: `{"caller":{"type":"code_execution","tool_id":"x"},"type":"tool_use"}`}}
			}),
		},
		"refused": {streams(text(0, "I cannot"), call(1, "c1", "bash", `{"a":1}`), refusalEnd(`{"type":"refusal","category":"cyber","explanation":"No exploits."}`)), actors.ModelResponse{
			Text: "I cannot", Stop: events.StopFiltered, Model: "claude-fake-1", Blocks: []actors.Block{
				{Kind: events.BlockText, Bytes: 8},
				{Kind: events.BlockItem, Raw: `{"caller":{"type":"direct"},"id":"c1","input":{"a":1},"name":"bash","type":"tool_use"}`},
				{Kind: events.BlockItem, Text: "cyber: No exploits.", Raw: `{"category":"cyber","explanation":"No exploits.","type":"refusal"}`},
			},
		}},
		"refused before any output": {streams(refusalEnd(`null`)), actors.ModelResponse{
			Stop: events.StopFiltered, Model: "claude-fake-1", Blocks: []actors.Block{{Kind: events.BlockItem, Raw: `{"type":"refusal"}`}},
		}},
		"nothing": {streams(end("end_turn", 0)), with(said(""), func(a *actors.ModelResponse) { a.Fault = events.FaultEmpty })},
		"thoughts alone": {streams(thought(0, "Hm."), end("end_turn", 3)), with(said(""), func(a *actors.ModelResponse) {
			a.Fault, a.Blocks = events.FaultEmpty, []actors.Block{{Kind: events.BlockThinking, Text: "Hm.", Raw: `{"signature":"` + sign("Hm.") + `","thinking":"Hm.","type":"thinking"}`}}
		})},
		"a call in the text": {says("<tool_call>\n{\"name\":\"bash\""), with(said("<tool_call>\n{\"name\":\"bash\""), func(a *actors.ModelResponse) { a.Fault = events.FaultCall })},
	} {
		t.Run(name, func(t *testing.T) {
			heard := &heard{}
			answer, err := newModel(t, (&vendor{former: true, replies: []wire{test.wire}}).config(t)).Ask(t.Context(), actorstest.ModelQuestion("m"), heard.take)
			if err != nil {
				t.Fatal(err)
			}
			answer.Usage = events.Usage{}
			if diff := cmp.Diff(test.want, answer); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			heard.check(t, &answer)
		})
	}
}

// heard collects the pieces of a reply.
type heard struct {
	texts map[int]string
	kinds map[int]events.BlockKind
	wrong string
}

func (h *heard) take(d actors.Delta) {
	if h.texts == nil {
		h.texts, h.kinds = map[int]string{}, map[int]events.BlockKind{}
	}
	if d.Offset != len(h.texts[d.Block]) || (d.Text == "") != (d.Tool != "" || d.Done) || h.kinds[d.Block] != "" && h.kinds[d.Block] != d.Kind {
		h.wrong = fmt.Sprintf("%+v after %q", d, h.texts[d.Block])
	}
	h.texts[d.Block] += d.Text
	h.kinds[d.Block] = d.Kind
}

// check compares the pieces with the reply.
func (h *heard) check(t *testing.T, answer *actors.ModelResponse) {
	t.Helper()
	said, thought, thoughts := "", "", ""
	for at := range 2 * maxBlocks {
		switch h.kinds[at] {
		case events.BlockText:
			said += h.texts[at]
		case events.BlockThinking:
			thought += h.texts[at]
		case events.BlockCall, events.BlockItem:
		}
		if at < len(answer.Blocks) && answer.Blocks[at].Kind == events.BlockThinking {
			thoughts += answer.Blocks[at].Text
		}
	}
	if said != answer.Text || thought != thoughts || h.wrong != "" {
		t.Errorf("the pieces say %q and think %q, the reply %q and %q; out of place: %s", said, thought, answer.Text, thoughts, h.wrong)
	}
}

// TestUsage: the vendor's counts are cumulative, and stand beside each other.
func TestUsage(t *testing.T) {
	delta := func(usage string) []string {
		return raw(frame("message_delta", `"delta":{"stop_reason":"end_turn"},"usage":`+usage), frame("message_stop", ""))
	}
	full := `{"input_tokens":100,"cache_creation_input_tokens":30,"cache_read_input_tokens":1000,"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},"output_tokens":2}`
	want := events.Usage{Input: 1130, Output: 50, Cached: 1000, CacheWrite: 10, CacheWriteLong: 20, Reasoning: 40}
	for name, test := range map[string]struct {
		start string
		end   []string
		want  events.Usage
	}{
		"the vendor's":           {full, delta(`{"input_tokens":100,"cache_creation_input_tokens":30,"cache_read_input_tokens":1000,"output_tokens":50,"output_tokens_details":{"thinking_tokens":40}}`), want},
		"zeros after":            {full, delta(`{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":50,"output_tokens_details":{"thinking_tokens":40}}`), want},
		"nulls after":            {full, delta(`{"input_tokens":null,"cache_read_input_tokens":null,"output_tokens":50,"output_tokens_details":{"thinking_tokens":40}}`), want},
		"only at the end":        {`{"input_tokens":0,"output_tokens":0}`, delta(`{"input_tokens":100,"output_tokens":50}`), events.Usage{Input: 100, Output: 50}},
		"a guess first":          {`{"input_tokens":999,"output_tokens":0}`, delta(`{"input_tokens":100,"output_tokens":50}`), events.Usage{Input: 100, Output: 50}},
		"several":                {full, slices.Concat(raw(frame("message_delta", `"delta":{},"usage":{"output_tokens":20}`)), delta(`{"output_tokens":50,"output_tokens_details":{"thinking_tokens":40}}`)), want},
		"writes without a life":  {`{"input_tokens":1,"cache_creation_input_tokens":30,"output_tokens":1}`, delta(`{"output_tokens":50}`), events.Usage{Input: 31, Output: 50, CacheWrite: 30}},
		"writes in parts alone":  {`{"input_tokens":1,"cache_creation":{"ephemeral_1h_input_tokens":20},"output_tokens":1}`, delta(`{"output_tokens":50}`), events.Usage{Input: 21, Output: 50, CacheWriteLong: 20}},
		"more thought than said": {`{"input_tokens":10,"output_tokens":1}`, delta(`{"output_tokens":5,"output_tokens_details":{"thinking_tokens":40}}`), events.Usage{Input: 10, Output: 5, Reasoning: 5}},
		"none":                   {`null`, delta(`null`), events.Usage{Input: 119, Output: 2, Estimated: true}},
		"nonsense":               {`{"input_tokens":-5,"output_tokens":"x"}`, delta(`[]`), events.Usage{Input: 119, Output: 2, Estimated: true}},
		"texts":                  {`{"input_tokens":"12","output_tokens":"3"}`, delta(`{"output_tokens":"9"}`), events.Usage{Input: 12, Output: 9}},
	} {
		t.Run(name, func(t *testing.T) {
			v := &vendor{replies: []wire{{Pieces: slices.Concat(raw(start(test.start)), text(0, "hello"), test.end)}}}
			answer, err := newModel(t, v.config(t)).Ask(t.Context(), actorstest.ModelQuestion("m"), nil)
			if err != nil || answer.Usage != test.want {
				t.Errorf("%+v, %v; want %+v", answer.Usage, err, test.want)
			}
		})
	}
}

// TestWatchesForSilence: thinking that is not shown is silent but for its pings.
func TestWatchesForSilence(t *testing.T) {
	const idle = time.Minute
	ask := func(t *testing.T, wait time.Duration, pieces ...string) (actors.ModelResponse, time.Duration, error) {
		t.Helper()
		model := newModel(t, anthropicConfig(endpoint.Config{BaseURL: "http://model.test", Idle: idle, Client: &http.Client{Transport: &endpointtest.Steps{Pieces: pieces, Wait: wait}}}))
		started := time.Now()
		answer, err := model.Ask(t.Context(), actorstest.ModelQuestion("m"), nil)
		return answer, time.Since(started), err
	}
	t.Run("pings", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			answer, took, err := ask(t, idle-time.Second, slices.Concat(raw(start(smallUsage), frame("ping", ""), frame("ping", "")), text(0, "hi"), end("end_turn", 1))...)
			if err != nil || answer.Text != "hi" || took < 4*idle {
				t.Errorf("got %+v, %v after %s", answer, err, took)
			}
		})
	})
	t.Run("silent within the reply", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, took, err := ask(t, time.Second, start(smallUsage), begins(0, `{"type":"text","text":"hi"}`))
			var failure *actors.ModelError
			if !errors.As(err, &failure) || failure.Class != events.ErrorTimeout || took > idle+3*time.Second || failure.Usage.Input != 10 {
				t.Errorf("got %v (%+v) after %s, want a timeout after %s of silence", err, failure, took, idle)
			}
		})
	})
	t.Run("silent after the reply", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			answer, _, err := ask(t, time.Second, says("hi").Pieces...)
			if err != nil || answer.Text != "hi" {
				t.Errorf("got %+v, %v: a finished reply is complete", answer, err)
			}
		})
	})
}

// TestNeverShowsTheKey lets the endpoint echo everything it was sent in every place an error could come from.
func TestNeverShowsTheKey(t *testing.T) {
	for name, answer := range map[string]func(said string) wire{
		"401":     func(said string) wire { return refusing(401, "authentication_error", said) },
		"404":     func(string) wire { return refusing(404, "not_found_error", strings.Repeat("x", 405)+endpointtest.Key) },
		"400 raw": func(said string) wire { return endpointtest.Whole(400, `{"error":{"message":`+quote(said)+` oops`) },
		"500":     func(said string) wire { return wire{Status: 500, Pieces: []string{said}} },
		"within": func(said string) wire {
			return wire{Pieces: []string{frame("error", `"error":{"type":"api_error","message":`+quote(said)+`}`)}}
		},
		"after a beginning": func(said string) wire {
			return streams(text(0, "a"), raw(frame("error", `"error":{"type":"api_error","message":`+quote(said)+`}`)))
		},
		"bad event":               func(said string) wire { return wire{Pieces: []string{"data: {" + said + "\n\n"}} },
		"stop reason":             func(string) wire { return streams(text(0, "a"), end(strings.Repeat("x", 70)+endpointtest.Key, 1)) },
		"stop reason, and no end": func(string) wire { return streams(text(0, "a"), end(strings.Repeat("x", 30)+endpointtest.Key, 1)[:1]) },
		"a bad event that is cut": func(string) wire {
			return wire{Pieces: []string{"data: {" + strings.Repeat("x", 110) + endpointtest.Key + "\n\n"}}
		},
		"no events, and cut": func(string) wire { return wire{Pieces: []string{strings.Repeat("x", 190) + endpointtest.Key + "\n"}} },
		"tool": func(said string) wire {
			return streams(raw(begins(0, `{"type":"tool_use","id":"x","name":`+quote(said)+`}`), begins(0, `{"type":"text"}`)))
		},
		"no events": func(said string) wire { return wire{Pieces: []string{said + "\n"}} },
	} {
		t.Run(name, func(t *testing.T) {
			config := endpointtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				answer(strings.Repeat("x", 500-20)+fmt.Sprint(r.Header)).Send(w, r) // cut in the middle of the key if it were cut first
			}))
			_, err := newModel(t, anthropicConfig(config)).Ask(t.Context(), actorstest.ModelQuestion("m"), nil)
			if err == nil {
				t.Fatal("no error")
			}
			shown := fmt.Sprintf("%v %+v %#v", err, err, err)
			for _, part := range []string{endpointtest.Key, endpointtest.Key[:12], endpoint.InsideJSON(endpointtest.Key), "0123456789"} {
				if strings.Contains(shown, part) {
					t.Errorf("the error shows %q of the key: %s", part, shown)
				}
			}
		})
	}
}

// TestTheVendorsPackageReadsTheSame: the accumulator of the vendor's package makes the same of the recordings that it can read.
func TestTheVendorsPackageReadsTheSame(t *testing.T) {
	for _, frames := range recordings()[:wellFormed] {
		var message sdk.Message
		for _, frame := range frames {
			_, data, found := strings.Cut(frame, "data: ")
			if !found {
				continue
			}
			var event sdk.MessageStreamEventUnion
			if err := json.Unmarshal([]byte(data), &event); err != nil {
				t.Fatal(err)
			}
			if err := message.Accumulate(event); err != nil {
				t.Fatalf("%s: %v", data, err)
			}
		}
		answer, err := newModel(t, (&vendor{replies: []wire{{Pieces: frames}}}).config(t)).Ask(t.Context(), actorstest.ModelQuestion("m"), nil)
		if err != nil {
			t.Fatal(err)
		}
		said, calls := "", 0
		for _, block := range message.Content {
			said += block.Text
			if block.Type == "tool_use" && answer.Stop != events.StopFiltered {
				if got := answer.Calls[calls]; got.ID != block.ID || got.Tool != block.Name || string(got.Arguments) != string(block.Input) {
					t.Errorf("call %+v, theirs %s %s %s", got, block.ID, block.Name, block.Input)
				}
				calls++
			}
		}
		u := message.Usage
		if said != answer.Text || calls != len(answer.Calls) || u.InputTokens+u.CacheReadInputTokens+u.CacheCreationInputTokens != answer.Usage.Input && answer.Usage.Input > 0 {
			t.Errorf("we read %+v, they %q, %d calls, %+v", answer, said, calls, u)
		}
	}
}
