package anthropic

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas"
)

const (
	theModel = "anthropic/claude-fake-1"
	tinyArgs = `{"path":"a.txt"}`
)

// reads is a reply that thinks, and reads a file: three blocks that its provider wants back, and a call.
func reads(id string) wire {
	return streams(thought(0, "Hm. <b>", "Größe ", "🙂"), raw(begins(1, `{"type":"redacted_thinking","data":"redacted:Zm9v<>&"}`), ends(1)), thought(2),
		text(3, "I look."), call(4, id, "read_file", tinyArgs), end("tool_use", 20))
}

const readsShape = "thinks Hm. <b>Größe 🙂|redacted|thinks |I look.|call toolu_1"

func oneAgent(t *testing.T, v *vendor, others Models) *Turns {
	t.Helper()
	models := Models{theModel: newModel(t, v.config(t))}
	for name, model := range others {
		models[name] = model
	}
	return NewTurns(t, models, events.AgentConfig{Model: theModel})
}

// TestBlocksSurvive: what a model thought goes back byte for byte after a tool round, in later turns, after a restart and in a fork, and to
// another model not at all.
func TestBlocksSurvive(t *testing.T) {
	v := &vendor{replies: []wire{reads("toolu_1"), says("It says alpha.")}}
	other := &vendor{replies: []wire{says("Hello.")}, former: true}
	s := oneAgent(t, v, Models{"other/one": newModel(t, other.config(t))})
	s.Done(s.Say("What does a.txt say?"))
	want := "user: What does a.txt say? / assistant: " + readsShape + " / user: toolu_1=alpha"
	if got := shapeOf(v.last()); got != want {
		t.Errorf("after the round: %s\nwant %s", got, want)
	}
	reply := Of[events.ModelReplied](s)[0]
	if kinds := kindsOf(reply.Blocks); kinds != "thinking item thinking text call" || reply.Blocks[0].Text.Inline != "Hm. <b>Größe 🙂" {
		t.Errorf("blocks: %s, %+v", kinds, reply.Blocks)
	}
	want += " / assistant: It says alpha. / user: "
	s.Done(s.Say("Sure?"))
	if got := shapeOf(v.last()); got != want+"Sure?" {
		t.Errorf("in the next turn: %s", got)
	}
	s.Restart()
	s.Done(s.Say("Still?"))
	if got := shapeOf(v.last()); !strings.HasPrefix(got, want+"Sure?") || !strings.HasSuffix(got, "user: Still?") {
		t.Errorf("after a restart: %s", got)
	}
	forked, err := s.Host.Fork(t.Context(), actors.ForkOrder{ID: "fork-1", Parent: "a", At: events.Revision(len(s.Events("a")) - 1), Name: "f", Workspace: actors.NoWorkspace, Turns: actors.NoTurns}, actors.Origin{Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	s.Done(s.SayTo(forked.Agent, "And here?"))
	if got := shapeOf(v.last()); !strings.HasPrefix(got, want+"Sure?") || !strings.HasSuffix(got, "user: And here?") {
		t.Errorf("in a fork: %s", got)
	}
	s.Configure(func(c *events.AgentConfig) { c.Model = "other/one" })
	s.Done(s.Say("And you?"))
	if got := shapeOf(other.last()); !strings.HasPrefix(got, "user: What does a.txt say? / assistant: I look.|call toolu_1 / user: toolu_1=alpha / ") || strings.Contains(got, "thinks") {
		t.Errorf("to another model: %s", got)
	}
	s.Configure(func(c *events.AgentConfig) { c.Model = theModel })
	s.Done(s.Say("Back?"))
	if got := shapeOf(v.last()); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "assistant: Hello. / user: Back?") {
		t.Errorf("back again: %s", got)
	}
	if len(v.broken)+len(other.broken) > 0 {
		t.Errorf("broken: %v, %v", v.broken, other.broken)
	}
}

func kindsOf(blocks []events.Block) string {
	var kinds []string
	for _, b := range blocks {
		kinds = append(kinds, string(b.Kind))
	}
	return strings.Join(kinds, " ")
}

// TestLargeThoughts: thoughts that are too large for an event go back whole.
func TestLargeThoughts(t *testing.T) {
	long := strings.Repeat("I think of it again, and again. ", 3000)
	v := &vendor{replies: []wire{streams(thought(0, long), call(1, "toolu_1", "read_file", tinyArgs), end("tool_use", 20)), says("Done.")}}
	s := oneAgent(t, v, nil)
	s.Done(s.Say("Read it"))
	if got := shapeOf(v.last()); !strings.Contains(got, "thinks "+long) || len(v.broken) > 0 {
		t.Errorf("sent back %d bytes; broken %v", len(got), v.broken)
	}
	if raw := Of[events.ModelReplied](s)[0].Blocks[0].Raw; raw.Blob == nil {
		t.Error("the thoughts stand in the event")
	}
}

// TestACallThatIsNotWholeStaysHarmless: it never runs, the model is told, and every later request is one that the vendor takes.
func TestACallThatIsNotWholeStaysHarmless(t *testing.T) {
	for name, test := range map[string]struct {
		reply wire
		told  string
	}{
		"cut off":                      {streams(call(0, "c1", "read_file", `{"path": "a.t`), end("tool_use", 5)), "not a JSON object"},
		"cut off by the limit":         {streams(call(0, "c1", "read_file", `{"path": "a.txt"`), end("max_tokens", 8192)), "met its limit of 8192 tokens"},
		"cut off before its arguments": {streams(call(0, "c1", "read_file"), end("max_tokens", 8192)), "met its limit"},
		"a list":                       {streams(call(0, "c1", "read_file", `["a.txt"]`), end("tool_use", 5)), "not a JSON object"},
		"null":                         {streams(call(0, "c1", "read_file", `null`), end("tool_use", 5)), "not a JSON object"},
		"two objects":                  {streams(call(0, "c1", "read_file", tinyArgs, tinyArgs), end("tool_use", 5)), "not a JSON object"},
		"never ended":                  {streams(raw(begins(0, `{"type":"tool_use","id":"c1","name":"read_file","input":{}}`)), end("tool_use", 5)), "ended"},
		"half, never ended":            {streams(raw(begins(0, `{"type":"tool_use","id":"c1","name":"read_file","input":{}}`), piece(0, `{"type":"input_json_delta","partial_json":"{\"pa"}`)), end("tool_use", 5)), "ended"},
	} {
		t.Run(name, func(t *testing.T) {
			v := &vendor{replies: []wire{test.reply, says("Finished.")}}
			s := oneAgent(t, v, nil)
			s.Done(s.Say("Read it"))
			s.Done(s.Say("And again"))
			if ran := s.Ran(); len(ran) > 0 {
				t.Errorf("it ran: %v", ran)
			}
			if refused := Of[events.ToolRefused](s); len(refused) != 1 || test.told != "ended" && !strings.Contains(refused[0].Reason, test.told) {
				t.Errorf("refused %v, want one because of %q", refused, test.told)
			}
			if len(v.broken) > 0 || v.asked() != 3 {
				t.Errorf("%d requests, which broke %v", v.asked(), v.broken)
			}
		})
	}
}

// TestARefusedTurnIsLeftOut: a turn that the provider refused ends with its reason, and is not sent again.
func TestARefusedTurnIsLeftOut(t *testing.T) {
	v := &vendor{replies: []wire{
		says("Hello."), reads("toolu_1"),
		streams(text(0, "I"), call(1, "toolu_2", "bash", `{"command":"x"}`), refusalEnd(`{"type":"refusal","category":"cyber","explanation":"Exploits are not written."}`)), says("Good."),
	}}
	s := oneAgent(t, v, nil)
	s.Done(s.Say("Hi"))
	ended, ok := s.Say("Evil").(events.TurnEnded)
	if !ok || ended.Outcome != events.Stopped || ended.Reason != events.ReasonFiltered || !strings.Contains(ended.Detail, "declined to answer: cyber: Exploits are not written.") {
		t.Errorf("the turn ended so: %v", ended)
	}
	if ran := s.Ran(); !slices.Equal(ran, []string{"read_file " + tinyArgs}) {
		t.Errorf("ran %v: a withdrawn call is none", ran)
	}
	s.Done(s.Say("Good"))
	want := "user: Hi / assistant: Hello. / user: [A message and the work on it are left out here: the provider refused to go on with them. Its reason: cyber.]|Good"
	if got := shapeOf(v.last()); got != want || len(v.broken) > 0 {
		t.Errorf("sent %s\nwant %s\nbroken %v", got, want, v.broken)
	}
}

// TestAPausedReplyGoesOn: what came goes back, and the reply is continued as another round.
func TestAPausedReplyGoesOn(t *testing.T) {
	v := &vendor{replies: []wire{
		streams(text(0, "I search."), raw(begins(1, `{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}`), piece(1, `{"type":"input_json_delta","partial_json":"{\"query\":\"x\"}"}`), ends(1)), end("pause_turn", 9)),
		says("Found."),
	}}
	s := oneAgent(t, v, nil)
	s.Done(s.Say("Search"))
	if got := shapeOf(v.last()); got != "user: Search / assistant: I search.|server_tool_use" || len(v.broken) > 0 || v.asked() != 2 {
		t.Errorf("sent %s after %d requests, broken %v", got, v.asked(), v.broken)
	}
	s.Done(s.Say("And?"))
	if got := shapeOf(v.last()); got != "user: Search / assistant: I search.|server_tool_use|Found. / user: And?" || len(v.broken) > 0 {
		t.Errorf("sent %s, broken %v", got, v.broken)
	}
}

// TestABlockThatIsNotTakenBack: a gateway gives a block that it refuses in the next request, for its kind or for what it holds. The conversation
// goes on without it.
func TestABlockThatIsNotTakenBack(t *testing.T) {
	for refusal, block := range map[string]string{
		"Input tag 'hologram' found using 'type' does not match any of the expected tags: 'text', 'tool_use'": `{"type":"hologram","beam":"ab"}`,
		"Invalid `data` in `redacted_thinking` block":                                                         `{"type":"redacted_thinking","data":"redacted:x"}`,
	} {
		v := &vendor{replies: []wire{streams(raw(begins(0, block), ends(0)), text(1, "Hello."), end("end_turn", 9)), says("Good."), says("Better.")}}
		refusals := 0
		v.answer = func(q *sentRequest) *wire {
			if shape := shapeOf(*q); !strings.Contains(shape, "hologram") && !strings.Contains(shape, "redacted") {
				return nil
			}
			refusals++
			refused := refusing(400, "invalid_request_error", "messages.1.content.0: "+refusal)
			return &refused
		}
		s := oneAgent(t, v, nil)
		for _, message := range []string{"Hi", "And?", "So?"} {
			s.Done(s.Say(message))
		}
		if got := shapeOf(v.last()); got != "user: Hi / assistant: Hello. / user: And? / assistant: Good. / user: So?" || refusals == 0 {
			t.Errorf("%s: sent %s after %d refusals", refusal, got, refusals)
		}
	}
}

// TestAReplyThatIsNoAnswer: the model is told, and the turn is done only with an answer.
func TestAReplyThatIsNoAnswer(t *testing.T) {
	for name, reply := range map[string]wire{
		"nothing": streams(end("end_turn", 0)), "space": says(" \n"), "thoughts alone": streams(thought(0, "Hm."), end("end_turn", 3)),
		"a call in the text": says("I read it.\n<tool_call>\n{\"name\": \"read_file\""),
	} {
		t.Run(name, func(t *testing.T) {
			v := &vendor{replies: []wire{reply, says("Finished.")}}
			s := oneAgent(t, v, nil)
			s.Done(s.Say("Read it"))
			if got := v.last(); !strings.Contains(got.Messages[len(got.Messages)-1].texts(), "[The last reply") || len(v.broken) > 0 || len(s.Ran()) > 0 {
				t.Errorf("sent %s, broken %v, ran %v", shapeOf(got), v.broken, s.Ran())
			}
		})
	}
}

// TestAWindowThatIsTooSmall: the turn goes on with what fits.
func TestAWindowThatIsTooSmall(t *testing.T) {
	v := &vendor{replies: []wire{streams(call(0, "toolu_1", "bash", `{"command":"print"}`), end("tool_use", 5)), says("Finished.")}}
	v.answer = func(q *sentRequest) *wire {
		if size := len(shapeOf(*q)); size > 20_000 {
			w := refusing(400, "invalid_request_error", fmt.Sprintf("prompt is too long: %d tokens > 5000 maximum", size/4))
			return &w
		}
		return nil
	}
	s := oneAgent(t, v, nil)
	s.Done(s.Say("Print much"))
	s.Done(s.Say("Thanks"))
	failed := Of[events.ModelFailed](s)
	if len(failed) != 1 || failed[0].Class != events.ErrorContext || failed[0].Room == 0 || !strings.Contains(failed[0].Detail, "--limit-context-tokens") || len(v.broken) > 0 {
		t.Errorf("failures: %v, broken %v", failed, v.broken)
	}
	if sent := shapeOf(v.requests[2]); !strings.Contains(sent, "bytes are left out here") {
		t.Errorf("the model is not told what is left out: %.300s", sent)
	}
}

// TestThinkingIsConfigured: what the agent's configuration says of thinking is asked for.
func TestThinkingIsConfigured(t *testing.T) {
	v := &vendor{replies: []wire{streams(thought(0, "Hm."), text(1, "Yes."), end("end_turn", 9))}}
	s := oneAgent(t, v, nil)
	s.Configure(func(c *events.AgentConfig) { c.Thinking = events.Thinking{Effort: events.EffortHigh} })
	s.Done(s.Say("Think"))
	if got := v.last(); got.Thinking["type"] != "adaptive" || got.Output["effort"] != "high" {
		t.Errorf("asked for %v, %v", got.Thinking, got.Output)
	}
	s.Configure(func(c *events.AgentConfig) { c.Thinking = events.Thinking{Effort: events.EffortOff} })
	s.Done(s.Say("Do not"))
	if got := v.last(); got.Thinking["type"] != "disabled" {
		t.Errorf("asked for %v", got.Thinking)
	}
}

// TestConversationsFromElsewhere: what other models left behind is sent in a form that the vendor takes.
func TestConversationsFromElsewhere(t *testing.T) {
	question := actors.ModelRequest{Model: "m", Tools: []actors.ToolSpec{{Name: "bash"}}, Messages: []sagas.Message{
		said(sagas.RoleUser, "Hi"),
		called("", events.ModelCall{ID: "functions.bash:0", Tool: "functions.bash", Arguments: json.RawMessage(`{}`)}, theCall("functions.bash:0", `"{"`)),
		result("functions.bash:0", "one"), result("functions.bash:0", "two"), called("", theCall(strings.Repeat("ä", 200), `{}`)), result(strings.Repeat("ä", 200), "three"),
	}}
	if broken := brokenBy(t, &question, way{}, true); len(broken) > 0 {
		t.Errorf("it breaks %v", broken)
	}
}
