package anthropic

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/adapters/providers/endpoint/endpointtest"
	"example.com/life/events"
	"example.com/life/sagas"
)

// TestIsSentTheQuestion compares the whole request with testdata/request.json.
func TestIsSentTheQuestion(t *testing.T) {
	question := actorstest.ModelQuestion("claude-fake-1")
	params, err := params(&question, way{}, true, 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(params, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadFile("testdata/request.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(golden)), string(got)); diff != "" {
		t.Errorf("the request differs from testdata/request.json (-want +got):\n%s", diff)
	}
}

func said(role sagas.Role, words string) sagas.Message {
	return sagas.Message{Role: role, Text: events.Text{Inline: words}}
}

func called(words string, calls ...events.ModelCall) sagas.Message {
	m := said(sagas.RoleAssistant, words)
	m.Calls = calls
	return m
}

func result(id, words string) sagas.Message {
	m := said(sagas.RoleTool, words)
	m.CallID, m.Tool = id, "bash"
	return m
}

func theCall(id string, arguments string) events.ModelCall {
	return events.ModelCall{ID: id, Tool: "bash", Arguments: json.RawMessage(arguments)}
}

func inline(words string) *events.Text { return &events.Text{Inline: words} }

// TestConversations: whatever a conversation holds, what is sent is what the vendor takes. shape is its roles and blocks.
func TestConversations(t *testing.T) {
	user, assistant := sagas.RoleUser, sagas.RoleAssistant
	signed := events.Block{Kind: events.BlockThinking, Text: inline("Hm <b>"), Raw: inline(`{"type":"thinking","thinking":"Hm <b>","signature":"` + sign("Hm <b>") + `"}`)}
	empty := events.Block{Kind: events.BlockThinking, Raw: inline(`{"type":"thinking","thinking":"","signature":"` + sign("") + `"}`)}
	unsigned := events.Block{Kind: events.BlockThinking, Text: inline("Hm"), Raw: inline(`{"type":"thinking","thinking":"Hm","signature":""}`)}
	redacted := events.Block{Kind: events.BlockItem, Raw: inline(`{"type":"redacted_thinking","data":"redacted:x"}`)}
	refusal := events.Block{Kind: events.BlockItem, Text: inline("cyber"), Raw: inline(`{"type":"refusal","category":"cyber"}`)}
	with := func(m sagas.Message, blocks ...events.Block) sagas.Message {
		m.Blocks, m.Model = blocks, "anthropic/claude-fake-1"
		return m
	}
	text := func(n int) events.Block { return events.Block{Kind: events.BlockText, Bytes: n} }
	aCall := events.Block{Kind: events.BlockCall}
	for name, test := range map[string]struct {
		messages []sagas.Message
		shape    string
	}{
		"one message":                {[]sagas.Message{said(user, "Hi")}, "user: Hi"},
		"several in a row":           {[]sagas.Message{said(user, "Hi"), said(sagas.RoleContext, "Notes."), said(user, "So?")}, "user: Hi|Notes.|So?"},
		"empty texts":                {[]sagas.Message{said(user, " \n"), said(user, "Hi"), said(assistant, ""), said(assistant, " "), said(user, "So?")}, "user: Hi|So?"},
		"it begins within":           {[]sagas.Message{said(assistant, "Yes."), said(user, "So?")}, "user: [What came before is left out here.] / assistant: Yes. / user: So?"},
		"results together":           {[]sagas.Message{said(user, "Hi"), called("I look.", theCall("a", `{}`), theCall("b", `{}`)), result("b", "B"), said(user, "Be quick"), result("a", "A"), said(user, "Well?")}, "user: Hi / assistant: I look.|call a|call b / user: a=A|b=B|Be quick|Well?"},
		"no result":                  {[]sagas.Message{said(user, "Hi"), called("", theCall("a", `{}`)), said(user, "Well?")}, "user: Hi / assistant: call a / user: a=(the result is not known)!|Well?"},
		"no result at all":           {[]sagas.Message{said(user, "Hi"), called("", theCall("a", `{}`)), said(assistant, "Done."), said(user, "Well?")}, "user: Hi / assistant: call a / user: a=(the result is not known)! / assistant: Done. / user: Well?"},
		"an empty result":            {[]sagas.Message{said(user, "Hi"), called("", theCall("a", `{}`)), result("a", "\n")}, "user: Hi / assistant: call a / user: a=(no output)"},
		"a stray result":             {[]sagas.Message{result("z", "Z"), said(user, "Hi")}, "user: [Result of bash:]\nZ|Hi"},
		"ids of others":              {[]sagas.Message{said(user, "Hi"), called("", theCall("functions.bash:0", `{}`)), result("functions.bash:0", "A"), called("", theCall("functions.bash:0", `{}`), theCall("", `{}`)), result("", "C"), result("functions.bash:0", "B")}, "user: Hi / assistant: call functions_bash_0 / user: functions_bash_0=A / assistant: call functions_bash_0_2|call _ / user: functions_bash_0_2=B|_=C"},
		"bad arguments":              {[]sagas.Message{said(user, "Hi"), called("", theCall("a", `"{\"half"`), theCall("b", `[1]`), theCall("c", `null`)), result("a", "no"), result("b", "no"), result("c", "no")}, "user: Hi / assistant: call a|call b|call c / user: a=no|b=no|c=no"},
		"thoughts":                   {[]sagas.Message{said(user, "Hi"), with(called("I look.", theCall("a", `{}`)), signed, empty, redacted, text(7), aCall), result("a", "A")}, "user: Hi / assistant: thinks Hm <b>|thinks |redacted|I look.|call a / user: a=A"},
		"between calls":              {[]sagas.Message{said(user, "Hi"), with(called("AB", theCall("a", `{}`), theCall("b", `{}`)), signed, text(1), aCall, empty, text(1), aCall), result("a", "A"), result("b", "B")}, "user: Hi / assistant: thinks Hm <b>|A|call a|thinks |B|call b / user: a=A|b=B"},
		"thoughts unsigned":          {[]sagas.Message{said(user, "Hi"), with(called("", theCall("a", `{}`)), unsigned, aCall), result("a", "A")}, "user: Hi / assistant: call a / user: a=A"},
		"thoughts at the end":        {[]sagas.Message{said(user, "Hi"), with(said(assistant, "Yes."), text(4), signed), said(user, "So?")}, "user: Hi / assistant: Yes. / user: So?"},
		"thoughts alone":             {[]sagas.Message{said(user, "Hi"), with(said(assistant, ""), signed, redacted), said(user, "So?")}, "user: Hi|So?"},
		"another model's":            {[]sagas.Message{said(user, "Hi"), with(called("I look.", theCall("a", `{}`)), events.Block{Kind: events.BlockThinking, Text: inline("Hm")}, events.Block{Kind: events.BlockItem}, text(7), aCall), result("a", "A")}, "user: Hi / assistant: I look.|call a / user: a=A"},
		"another dialect's":          {[]sagas.Message{said(user, "Hi"), with(said(assistant, "Yes."), events.Block{Kind: events.BlockItem, Raw: inline(`{"reasoning_content":"Hm"}`)}), said(user, "So?")}, "user: Hi / assistant: Yes. / user: So?"},
		"a layout that does not fit": {[]sagas.Message{said(user, "Hi"), with(called("Yes.", theCall("a", `{}`)), text(99), aCall, aCall, text(3)), result("a", "A")}, "user: Hi / assistant: Yes.|call a / user: a=A"},
		"more than the layout":       {[]sagas.Message{said(user, "Hi"), with(called("Yes. No.", theCall("a", `{}`), theCall("b", `{}`)), text(4), aCall), result("a", "A"), result("b", "B")}, "user: Hi / assistant: Yes.|call a| No.|call b / user: a=A|b=B"},
		"paused":                     {[]sagas.Message{said(user, "Hi"), with(said(assistant, "I search."), text(9), events.Block{Kind: events.BlockItem, Raw: inline(`{"type":"server_tool_use","id":"s","name":"web_search","input":{}}`)})}, "user: Hi / assistant: I search.|server_tool_use"},
		"paused, and went on":        {[]sagas.Message{said(user, "Hi"), with(said(assistant, "I search."), text(9), events.Block{Kind: events.BlockItem, Raw: inline(`{"type":"server_tool_use","id":"s","name":"web_search","input":{}}`)}), said(assistant, "Found."), said(user, "So?")}, "user: Hi / assistant: I search.|server_tool_use|Found. / user: So?"},
		"paused elsewhere":           {[]sagas.Message{said(user, "Hi"), said(assistant, "I search. ")}, "user: Hi / assistant: I search.  / user: Go on."},
		"refused":                    {[]sagas.Message{said(user, "Hi"), said(assistant, "Hello."), said(user, "Evil"), said(sagas.RoleContext, "Notes."), with(said(assistant, "I"), text(1), refusal), said(user, "Good")}, "user: Hi / assistant: Hello. / user: [A message and the work on it are left out here: the provider refused to go on with them. Its reason: cyber.]|Good"},
		"refused after work":         {[]sagas.Message{said(user, "Evil"), called("", theCall("a", `{}`)), result("a", "A"), with(said(assistant, ""), refusal), said(user, "Good")}, "user: [A message and the work on it are left out here: the provider refused to go on with them. Its reason: cyber.]|Good"},
		"refused by another":         {[]sagas.Message{said(user, "Evil"), with(said(assistant, "I cannot"), events.Block{Kind: events.BlockItem, Text: inline("cyber")}), said(user, "Good")}, "user: Evil / assistant: I cannot / user: Good"},
	} {
		t.Run(name, func(t *testing.T) {
			question := actors.ModelRequest{Model: "claude-fake-1", Messages: test.messages}
			if slices.ContainsFunc(test.messages, func(m sagas.Message) bool { return len(m.Calls) > 0 }) {
				question.Tools = actorstest.ModelQuestion("m").Tools
			}
			sent := sentAs(t, &question, way{}, true)
			if broken := sent.check(false); len(broken) > 0 {
				t.Errorf("it breaks %v", broken)
			}
			if got := shapeOf(sent); got != test.shape {
				t.Errorf("sent %s\nwant %s", got, test.shape)
			}
		})
	}
}

// shapeOf is a conversation in short.
func shapeOf(sent sentRequest) string {
	var messages []string
	for _, m := range sent.Messages {
		var blocks []string
		for _, b := range m.Content {
			switch b["type"] {
			case "text":
				blocks = append(blocks, fmt.Sprint(b["text"]))
			case "thinking":
				blocks = append(blocks, fmt.Sprint("thinks ", b["thinking"]))
			case "redacted_thinking":
				blocks = append(blocks, "redacted")
			case "tool_use":
				blocks = append(blocks, fmt.Sprint("call ", b["id"]))
			case "tool_result":
				content, _ := b["content"].([]any)
				inner, _ := content[0].(map[string]any)
				failed := ""
				if b["is_error"] == true {
					failed = "!"
				}
				blocks = append(blocks, fmt.Sprint(b["tool_use_id"], "=", inner["text"], failed))
			default:
				blocks = append(blocks, fmt.Sprint(b["type"]))
			}
		}
		messages = append(messages, m.Role+": "+strings.Join(blocks, "|"))
	}
	return strings.Join(messages, " / ")
}

// TestNoConversation: there is nothing to ask.
func TestNoConversation(t *testing.T) {
	for _, messages := range [][]sagas.Message{nil, {said(sagas.RoleUser, " ")}, {said("oracle", "Hi")}} {
		if _, err := params(&actors.ModelRequest{Model: "m", Messages: messages}, way{}, true, 0); err == nil {
			t.Errorf("%v is sent", messages)
		}
	}
}

// TestToolsThatAreGone: past calls are sent with stubs of their tools, which cannot be called.
func TestToolsThatAreGone(t *testing.T) {
	question := actorstest.ModelQuestion("m")
	question.Tools = nil
	sent := sentAs(t, &question, way{}, true)
	if broken := sent.check(false); len(broken) > 0 || len(sent.Tools) != 2 || sent.Choice["type"] != "none" {
		t.Errorf("broken %v, tools %v, choice %v", broken, sent.Tools, sent.Choice)
	}
}

// TestSchemas: the vendor takes objects only, and gets a schema as its tool wrote it.
func TestSchemas(t *testing.T) {
	for given, want := range map[string]string{
		`{"type":"object","required":["b","a"],"properties":{"b":{},"a":{}},"$defs":{}}`: `{"type":"object","required":["b","a"],"properties":{"b":{},"a":{}},"$defs":{}}`,
		``:                    `{"type":"object"}`,
		`{}`:                  `{"type":"object"}`,
		`{"properties":{}}`:   `{"type":"object","properties":{}}`,
		`{"type":["object"]}`: `{"type":"object"}`,
		`{"title":"<&>"}`:     `{"type":"object","title":"<&>"}`,
	} {
		tool, err := paramTool(&actors.ToolSpec{Name: "a", Schema: json.RawMessage(given)})
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(tool.InputSchema)
		var a, b any
		if err != nil || json.Unmarshal(got, &a) != nil || json.Unmarshal([]byte(want), &b) != nil || !cmp.Equal(a, b) {
			t.Errorf("%s is sent as %s, want %s (%v)", given, got, want, err)
		}
	}
	if _, err := paramTool(&actors.ToolSpec{Name: "a", Schema: json.RawMessage(`[`)}); err == nil || !strings.Contains(err.Error(), "tool a") {
		t.Errorf("a schema that is no JSON: %v", err)
	}
}

// TestLimits: the protocol wants a limit with every request.
func TestLimits(t *testing.T) {
	for _, test := range []struct{ reply, most, learnt, want int64 }{
		{0, 0, 0, DefaultReply}, {0, 64_000, 0, 64_000}, {500, 64_000, 0, 500}, {100_000, 64_000, 0, 64_000}, {100_000, 0, 4096, 4096}, {500, 0, 4096, 500}, {0, 0, 4096, 4096},
	} {
		if got := (way{reply: test.learnt}).limit(&actors.ModelRequest{Reply: test.reply}, test.most); got != test.want {
			t.Errorf("%+v: %d", test, got)
		}
	}
}

// TestThinkingIsAskedFor: as hard, as long, or not at all.
func TestThinkingIsAskedFor(t *testing.T) {
	adaptive := `{"display":"summarized","type":"adaptive"}`
	for _, test := range []struct {
		thinking events.Thinking
		way      way
		reply    int64
		want     string
		effort   string
	}{
		{events.Thinking{}, way{}, 8192, `null`, ``},
		{events.Thinking{Effort: events.EffortOff}, way{}, 8192, `{"type":"disabled"}`, ``},
		{events.Thinking{Effort: events.EffortLow}, way{}, 8192, adaptive, `low`},
		{events.Thinking{Effort: events.EffortHigh}, way{noEffort: true}, 8192, adaptive, ``},
		{events.Thinking{Effort: events.EffortHigh}, way{noDisplay: true}, 8192, `{"type":"adaptive"}`, `high`},
		{events.Thinking{Effort: events.EffortHigh}, way{noThinking: true}, 8192, `null`, ``},
		{events.Thinking{Budget: 2000}, way{}, 8192, `{"budget_tokens":2000,"display":"summarized","type":"enabled"}`, ``},
		{events.Thinking{Budget: 2000, Effort: events.EffortLow}, way{adaptive: true}, 8192, adaptive, `low`},
		{events.Thinking{Budget: 20_000}, way{}, 8192, `{"budget_tokens":6144,"display":"summarized","type":"enabled"}`, ``},
		{events.Thinking{Budget: 20_000}, way{}, 1200, `null`, ``},
		{events.Thinking{Effort: events.EffortMedium}, way{budget: true}, 64_000, `{"budget_tokens":16384,"display":"summarized","type":"enabled"}`, `medium`},
	} {
		question := actors.ModelRequest{Model: "m", Thinking: test.thinking, Reply: test.reply, Messages: []sagas.Message{said(sagas.RoleUser, "Hi")}}
		sent := sentAs(t, &question, test.way, true)
		got, err := json.Marshal(sent.Thinking)
		effort, _ := sent.Output["effort"].(string)
		if err != nil || string(got) != test.want || effort != test.effort || len(sent.check(false)) > 0 {
			t.Errorf("%+v with %+v: %s, %q, broken %v", test.thinking, test.way, got, effort, sent.check(false))
		}
	}
}

// TestBreakpoints: each request finds in the cache what the one before it wrote.
func TestBreakpoints(t *testing.T) {
	question := actorstest.ModelQuestion("m")
	marked := func() (at []string) {
		sent := sentAs(t, &question, way{}, true)
		for i, tool := range sent.Tools {
			if tool["cache_control"] != nil {
				at = append(at, fmt.Sprintf("tool %d", i))
			}
		}
		for i, system := range sent.System {
			if system["cache_control"] != nil {
				at = append(at, fmt.Sprintf("system %d", i))
			}
		}
		for i, message := range sent.Messages {
			for j, block := range message.Content {
				if block["cache_control"] != nil {
					at = append(at, fmt.Sprintf("message %d.%d of %d", i, j, len(message.Content)))
				}
			}
		}
		return at
	}
	if got, want := marked(), []string{"tool 1", "system 0", "message 2.1 of 2", "message 4.0 of 1"}; !slices.Equal(got, want) {
		t.Errorf("marked %v, want %v", got, want)
	}
	question.Messages = append(question.Messages, called("", theCall("z", `{}`)), result("z", "Z"))
	if got, want := marked(), []string{"tool 1", "system 0", "message 4.0 of 1", "message 6.0 of 1"}; !slices.Equal(got, want) {
		t.Errorf("marked %v after another round, want %v", got, want)
	}
	question.Messages, question.System, question.Tools = question.Messages[:1], "", nil
	if got, want := marked(), []string{"message 0.0 of 1"}; !slices.Equal(got, want) {
		t.Errorf("marked %v of one message, want %v", got, want)
	}
}

// TestWaysOfAsking: each refusal that names the way is met with another one, once, and the next question is asked so from the beginning
// unless the refusal was about the conversation.
func TestWaysOfAsking(t *testing.T) {
	refuse := func(message string) *wire {
		w := refusing(400, "invalid_request_error", message)
		return &w
	}
	cached := func(q *sentRequest) bool {
		return q.Messages[0].Content[0]["cache_control"] != nil || q.System[0]["cache_control"] != nil
	}
	thinks := func(q *sentRequest) bool {
		return slices.ContainsFunc(q.Messages, func(m sentMessage) bool {
			return m.Role == "assistant" && strings.HasSuffix(fmt.Sprint(m.Content[0]["type"]), "thinking")
		})
	}
	for name, test := range map[string]struct {
		refuses  func(q *sentRequest) *wire
		thinking events.Thinking
		requests []int // of the first question, and of the second
	}{
		"no cache": {func(q *sentRequest) *wire {
			if cached(q) {
				return refuse("system.0.cache_control: Extra inputs are not permitted")
			}
			return nil
		}, events.Thinking{}, []int{2, 1}},
		"a low limit": {func(q *sentRequest) *wire {
			if q.MaxTokens > 2000 {
				return refuse("max_tokens: 4096 > 2000, which is the maximum allowed number of output tokens for claude-fake-1")
			}
			return nil
		}, events.Thinking{}, []int{2, 1}},
		"no room": {func(q *sentRequest) *wire {
			if q.MaxTokens > 984 {
				return refuse("input length and `max_tokens` exceed context limit: 199000 + 4096 > 200000, decrease input length or `max_tokens` and try again")
			}
			return nil
		}, events.Thinking{}, []int{2, 2}},
		"no budgets": {func(q *sentRequest) *wire {
			if q.Thinking["type"] == "enabled" {
				return refuse("\"thinking.type.enabled\" is not supported for this model. Use \"thinking.type.adaptive\" and \"output_config.effort\" to control thinking behavior.")
			}
			return nil
		}, events.Thinking{Budget: 2000}, []int{2, 1}},
		"budgets only": {func(q *sentRequest) *wire {
			switch {
			case q.Output["effort"] != nil:
				return refuse("This model does not support the effort parameter.")
			case q.Thinking["type"] == "adaptive":
				return refuse("adaptive thinking is not supported on this model")
			}
			return nil
		}, events.Thinking{Effort: events.EffortLow}, []int{3, 1}},
		"no thinking": {func(q *sentRequest) *wire {
			if q.Thinking != nil {
				return refuse("thinking: this model does not support thinking")
			}
			return nil
		}, events.Thinking{Budget: 2000}, []int{2, 1}},
		"no display": {func(q *sentRequest) *wire {
			if q.Thinking["display"] != nil {
				return refuse("thinking.adaptive.display: Extra inputs are not permitted")
			}
			return nil
		}, events.Thinking{Effort: events.EffortLow}, []int{2, 1}},
		"a signature of another time": {func(q *sentRequest) *wire {
			if thinks(q) {
				return refuse("messages.1.content.0: Invalid `signature` in `thinking` block")
			}
			return nil
		}, events.Thinking{}, []int{2, 2}},
		"no thoughts where it wants some": {func(q *sentRequest) *wire {
			if q.Thinking != nil {
				return refuse("messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`. When `thinking` is enabled, a final `assistant` message must start with a thinking block")
			}
			return nil
		}, events.Thinking{Budget: 2000}, []int{3, 3}},
		"no streams": {func(q *sentRequest) *wire {
			if q.Stream {
				return refuse("streaming is not supported with tools")
			}
			w := endpointtest.Whole(200, `{"type":"message","model":"claude-fake-1","content":[{"type":"text","text":"Hello."}],"stop_reason":"end_turn","usage":{"input_tokens":5,"output_tokens":2}}`)
			return &w
		}, events.Thinking{}, []int{2, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			v := &vendor{replies: []wire{says("Hello.")}, answer: test.refuses}
			model := newModel(t, v.config(t))
			for _, want := range test.requests {
				question := actorstest.ModelQuestion("claude-fake-1")
				question.Thinking = test.thinking
				question.Messages[1].Blocks = []events.Block{{Kind: events.BlockThinking, Raw: inline(`{"type":"thinking","thinking":"","signature":"` + sign("") + `"}`)}}
				before := v.asked()
				answer, err := model.Ask(t.Context(), question, nil)
				if asked := v.asked() - before; err != nil || answer.Text != "Hello." || asked != want {
					t.Errorf("%q, %v after %d requests, want %d", answer.Text, err, asked, want)
				}
			}
		})
	}
	t.Run("older servers", func(t *testing.T) {
		v := &vendor{replies: []wire{says("Hello.")}, former: true}
		v.answer = func(*sentRequest) *wire {
			switch header := v.headers[len(v.headers)-1]; {
			case header.Get("X-Api-Key") != endpointtest.Key || header.Get("Authorization") != "":
				w := refusing(401, "authentication_error", "x-api-key header is required")
				return &w
			case header.Get("Anthropic-Version") != formerVersion:
				return refuse("anthropic-version: \"2026-10-21\" is not a valid version")
			}
			return nil
		}
		model := newModel(t, v.config(t))
		for _, want := range []int{3, 1} {
			before := v.asked()
			if _, err := model.Ask(t.Context(), actorstest.ModelQuestion("m"), nil); err != nil || v.asked()-before != want {
				t.Errorf("%v after %d requests, want %d", err, v.asked()-before, want)
			}
		}
	})
	t.Run("nothing helps", func(t *testing.T) {
		v := &vendor{answer: func(*sentRequest) *wire { return refuse("thinking: this is not supported, whatever you do") }}
		if _, err := newModel(t, v.config(t)).Ask(t.Context(), actorstest.ModelQuestion("m"), nil); err == nil || v.asked() > 3 {
			t.Errorf("after %d requests: %v", v.asked(), err)
		}
	})
}
