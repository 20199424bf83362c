package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/events"
)

// TestACallThatIsNoObjectStaysHarmless: what a model wrote badly never runs, the model is told, and every later request is one that a strict
// endpoint takes.
func TestACallThatIsNoObjectStaysHarmless(t *testing.T) {
	length := func(arguments string) wire {
		return streams(callEvent(`{"index":0,"id":"c1","function":{"name":"read_file","arguments":`+quote(arguments)+`}}`), finishEvent("length"), event(`{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":8192}}`))
	}
	for name, test := range map[string]struct {
		reply wire
		told  string
	}{
		"cut off":                         {callsOne("c1", "read_file", `{"path": "a.t`), "not a JSON object"},
		"cut off by the limit":            {length(`{"path": "a.txt","content":"half`), "met its limit of 8192 tokens"},
		"cut off before its arguments":    {length(``), "met its limit"},
		"cut off, or not":                 {length(`{}`), "met its limit"},
		"a list":                          {callsOne("c1", "read_file", `["a.txt"]`), "not a JSON object"},
		"a text":                          {callsOne("c1", "read_file", `a.txt`), "not a JSON object"},
		"null":                            {callsOne("c1", "read_file", `null`), "not a JSON object"},
		"an object in a text":             {callsOne("c1", "read_file", `"{\"path\":\"a.txt\"}"`), "not a JSON object"},
		"two objects":                     {callsOne("c1", "read_file", `{"path":"a.txt"}{"path":"b.txt"}`), "not a JSON object"},
		"a comma too many":                {callsOne("c1", "read_file", `{"path":"a.txt",}`), "not a JSON object"},
		"limit met, called a normal stop": {streams(callEvent(`{"index":0,"id":"c1","function":{"name":"read_file","arguments":"{\"pa"}}`), finishEvent("tool_calls"), event(`{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":8192}}`)), "met its limit"},
	} {
		t.Run(name, func(t *testing.T) {
			e := &vendor{replies: []wire{test.reply, says("Finished.")}}
			s := newTurns(t, e, nil, nil)
			s.done(s.say("Read it"))
			s.done(s.say("And again"))
			if len(s.ran) > 0 {
				t.Errorf("it ran: %v", s.ran)
			}
			if refused := eventsOf[events.ToolRefused](s); len(refused) != 1 || !strings.Contains(refused[0].Reason, test.told) {
				t.Errorf("refused %v, want one because of %q", refused, test.told)
			}
			if len(e.broken) > 0 || e.asked() != 3 {
				t.Errorf("%d requests, which broke %v", e.asked(), e.broken)
			}
		})
	}
}

// TestAWholeCallBeforeTheCutRuns: of several calls only the last can have been cut.
func TestAWholeCallBeforeTheCutRuns(t *testing.T) {
	e := &vendor{replies: []wire{streams(
		callEvent(`{"index":0,"id":"c1","function":{"name":"read_file","arguments":"{\"path\":\"a.txt\"}"}}`),
		callEvent(`{"index":1,"id":"c2","function":{"name":"read_file","arguments":"{\"path\":\"b."}}`), finishEvent("length")), says("Finished.")}}
	s := newTurns(t, e, nil, nil)
	s.done(s.say("Read both"))
	if len(s.ran) != 1 || !strings.Contains(s.ran[0], "a.txt") || len(eventsOf[events.ToolRefused](s)) != 1 {
		t.Errorf("ran %v\n%s", s.ran, s.story())
	}
}

// TestParallelCallsStayApart: each has its own arguments and its own result, however they are numbered.
func TestParallelCallsStayApart(t *testing.T) {
	const a, b = `{"index":%s"function":{"name":"read_file","arguments":"{\"path\":\"a.txt\"}"}}`, `{"index":%s"function":{"name":"read_file","arguments":"{\"path\":\"b.txt\"}"}}`
	for name, ids := range map[string][2]string{
		"no ids": {`0,`, `0,`}, "empty ids": {`0,"id":"",`, `0,"id":"",`}, "one id": {`0,"id":"call",`, `0,"id":"call",`},
		"null ids": {`0,"id":null,`, `0,"id":null,`}, "one without": {`0,"id":"x",`, `0,`}, "no numbers": {`null,`, `null,`},
		"numbers as texts": {`"0",`, `"1",`}, "one id, two numbers": {`0,"id":"call",`, `1,"id":"call",`},
	} {
		for _, together := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " together ", together), func(t *testing.T) {
				first, second := fmt.Sprintf(a, ids[0]), fmt.Sprintf(b, ids[1])
				pieces := []string{callEvent(first), callEvent(second)}
				if together {
					pieces = []string{callEvent(first + "," + second)}
				}
				e := &vendor{replies: []wire{streams(append(pieces, finishEvent("stop"), event(smallUsage))...), says("Finished.")}}
				s := newTurns(t, e, nil, nil)
				s.done(s.say("Read both"))
				if ran := strings.Join(s.ran, " "); len(s.ran) != 2 || !strings.Contains(ran, "a.txt") || !strings.Contains(ran, "b.txt") {
					t.Errorf("ran %v", s.ran)
				}
				if len(e.broken) > 0 {
					t.Errorf("the requests broke %v", e.broken)
				}
			})
		}
	}
}

// TestAnEndpointThatTakesToolsOnlyWhole: the refusal of a stream is met with a whole request, at once and from then on.
func TestAnEndpointThatTakesToolsOnlyWhole(t *testing.T) {
	call := `{"choices":[{"finish_reason":"tool_calls","index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"type":"function",` +
		`"function":{"name":"read_file","arguments":"{\"path\":\"a.txt\"}"},"id":""}]}}],"model":"tiny","usage":{"completion_tokens":12,"prompt_tokens":300,"total_tokens":312}}`
	text := `{"choices":[{"finish_reason":"stop","index":0,"message":{"role":"assistant","content":"It says alpha."}}],"usage":{"completion_tokens":5,"prompt_tokens":340,"total_tokens":345}}`
	e := &vendor{replies: []wire{whole(call), whole(text)}, rules: rules{wholeOnly: true}}
	s := newTurns(t, e, nil, nil)
	s.done(s.say("What does a.txt say?"))
	s.done(s.say("Sure?"))
	replies := eventsOf[events.ModelReplied](s)
	if len(replies) != 3 || replies[1].Inline != "It says alpha." || replies[0].Calls[0].ID == "" || len(s.ran) != 1 {
		t.Fatalf("replies %v, ran %v", replies, s.ran)
	}
	if failed := eventsOf[events.ModelFailed](s); len(failed) > 0 || e.asked() != 4 {
		t.Errorf("%d requests, failures %v: want one refused request, and no failure", e.asked(), failed)
	}
}

// TestWhatAnEndpointWantsBack: what came with calls goes back with them, to the model that it came from and to no other.
func TestWhatAnEndpointWantsBack(t *testing.T) {
	thinking := func(field string) wire {
		return streams(event(`{"choices":[{"index":0,"delta":{"content":null,`+quote(field)+`:"I look "}}]}`), event(`{"choices":[{"index":0,"delta":{`+quote(field)+`:"at it."}}]}`),
			callEvent(`{"index":0,"id":"c1","function":{"name":"read_file","arguments":"{\"path\":\"a.txt\"}"}}`), finishEvent("tool_calls"), event(smallUsage))
	}
	t.Run("reasoning", func(t *testing.T) {
		e := &vendor{replies: []wire{thinking("reasoning_content"), says("Finished.")}, rules: rules{echo: "reasoning_content"}}
		s := newTurns(t, e, nil, nil)
		s.done(s.say("Read it"))
		s.done(s.say("Again"))
		if got := e.requests[1].Messages[1].Reasoning; len(e.broken) > 0 || got == nil || *got != "I look at it." {
			t.Errorf("sent back %v, broken %v", got, e.broken)
		}
	})
	t.Run("a signature", func(t *testing.T) {
		e := &vendor{replies: []wire{streams(callEvent(`{"index":0,"id":"c1","extra_content":{"google":{"thought_signature":"c2ln"}},`+
			`"function":{"name":"read_file","arguments":"{\"path\":\"a.txt\"}"}},{"index":1,"id":"c2","function":{"name":"read_file","arguments":"{\"path\":\"b.txt\"}"}}`),
			finishEvent("tool_calls")), says("Finished.")}, rules: rules{signature: true}}
		s := newTurns(t, e, nil, nil)
		s.done(s.say("Read both"))
		if got := e.requests[1].Messages[1].ToolCalls; len(e.broken) > 0 || got[0].Extra.Google["thought_signature"] != "c2ln" || got[1].Extra.Google != nil {
			t.Errorf("sent back %+v, broken %v", got, e.broken)
		}
	})
	t.Run("details and parts", func(t *testing.T) {
		e := &vendor{replies: []wire{streams(
			event(`{"choices":[{"index":0,"delta":{"reasoning_details":[{"type":"reasoning.text","index":0,"text":"I "}]}}]}`),
			event(`{"choices":[{"index":0,"delta":{"reasoning_details":[{"type":"reasoning.text","index":0,"text":"look","signature":"s"}],`+
				`"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"So:"}]}}]}`),
			callEvent(`{"index":0,"id":"c1","function":{"name":"read_file","arguments":"{\"path\":\"a.txt\"}"}}`), finishEvent("tool_calls")), says("Finished.")}}
		s := newTurns(t, e, nil, nil)
		s.done(s.say("Read it"))
		sent := e.requests[1].raw["messages"].([]any)[1].(map[string]any)
		got, _ := json.Marshal([]any{sent["reasoning_details"], sent["content"]})
		want := `[[{"index":0,"signature":"s","text":"I look","type":"reasoning.text"}],[{"thinking":[{"text":"hm","type":"text"}],"type":"thinking"},{"text":"So:","type":"text"}]]`
		if string(got) != want || eventsOf[events.ModelReplied](s)[0].Inline != "So:" {
			t.Errorf("sent back %s, want %s", got, want)
		}
	})
	t.Run("another model's", func(t *testing.T) {
		e := &vendor{replies: []wire{thinking("reasoning_content"), says("Finished.")}}
		other := &vendor{replies: []wire{says("Hello.")}, rules: rules{noExtra: true}}
		s := newTurns(t, e, nil, map[string]actors.Model{"other/one": newOpenAI(t, other.open(t))})
		s.done(s.say("Read it"))
		s.configure(func(c *events.AgentConfig) { c.Model = "other/one" })
		s.done(s.say("Again"))
		if len(other.broken) > 0 {
			t.Errorf("the other model was sent what is not its own: %v", other.broken)
		}
	})
	t.Run("a conversation with another model before", func(t *testing.T) {
		for name, want := range map[string]rules{"reasoning": {echo: "reasoning_content"}, "signature": {signature: true}} {
			e := &vendor{replies: []wire{callsOne("c1", "read_file", `{"path":"a.txt"}`), says("Finished.")}}
			strict := &vendor{replies: []wire{says("Hello.")}, rules: want}
			s := newTurns(t, e, nil, map[string]actors.Model{"other/one": newOpenAI(t, strict.open(t))})
			s.done(s.say("Read it"))
			s.configure(func(c *events.AgentConfig) { c.Model = "other/one" })
			s.done(s.say("Again"))
			if strict.asked() != 2 {
				t.Errorf("%s: %d requests, want one refused and one that has what is wanted", name, strict.asked())
			}
		}
	})
	t.Run("one that refuses it", func(t *testing.T) {
		e := &vendor{replies: []wire{thinking("reasoning_content"), says("Finished.")}, rules: rules{noExtra: true}}
		s := newTurns(t, e, nil, nil)
		s.done(s.say("Read it"))
		if e.asked() != 3 {
			t.Errorf("%d requests, want 3", e.asked())
		}
	})
	t.Run("without calls", func(t *testing.T) {
		e := &vendor{replies: []wire{streams(event(`{"choices":[{"index":0,"delta":{"reasoning_content":"Hm","content":"Yes."}}]}`), finishEvent("stop")), says("Finished.")}, rules: rules{noExtra: true}}
		s := newTurns(t, e, nil, nil)
		s.done(s.say("Is it?"))
		s.done(s.say("Sure?"))
		if blocks := eventsOf[events.ModelReplied](s)[0].Blocks; len(blocks) != 2 || blocks[0].Text.Inline != "Hm" || blocks[1].Bytes != 4 || len(e.broken) > 0 {
			t.Errorf("kept %v, broken %v: it is kept, and not sent back", blocks, e.broken)
		}
	})
}

// TestAReplyThatIsNoAnswer: the model is told, and the turn is done only with an answer.
func TestAReplyThatIsNoAnswer(t *testing.T) {
	reason := event(`{"choices":[{"index":0,"delta":{"reasoning_content":"Now <tool_call>{\"name\":\"read_file\"}"}}]}`)
	for name, test := range map[string]struct {
		reply wire
		fault events.Fault
	}{
		"nothing":             {streams(finishEvent("stop")), events.FaultEmpty},
		"space":               {says(" \n"), events.FaultEmpty},
		"thoughts alone":      {streams(event(`{"choices":[{"index":0,"delta":{"reasoning":"Hm."}}]}`), finishEvent("stop")), events.FaultEmpty},
		"a call in the text":  {says("I read it.\n<tool_call>\n{\"name\": \"read_file\", \"arguments\": {\"path\": \"a.txt\"}}\n</tool_call>"), events.FaultCall},
		"a call that was cut": {streams(textEvent("[TOOL_CALLS][{\"name\": \"read_f"), finishEvent("length")), events.FaultCall},
		"a call in thoughts":  {streams(reason, finishEvent("stop")), events.FaultCall},
	} {
		t.Run(name, func(t *testing.T) {
			e := &vendor{replies: []wire{test.reply, says("Finished.")}, rules: rules{alternate: true}}
			s := newTurns(t, e, nil, nil)
			s.done(s.say("Read it"))
			replies := eventsOf[events.ModelReplied](s)
			if len(replies) != 2 || replies[0].Fault != test.fault || replies[1].Inline != "Finished." || len(s.ran) > 0 {
				t.Errorf("%s", s.story())
			}
			last := e.requests[1].Messages[len(e.requests[1].Messages)-1]
			if said, _ := last.Content.(string); last.Role != "user" || !strings.Contains(said, "[The last reply") || len(e.broken) > 0 {
				t.Errorf("the model is told %v, broken %v", last, e.broken)
			}
		})
	}
	t.Run("again and again", func(t *testing.T) {
		e := &vendor{replies: []wire{streams(finishEvent("stop"))}}
		s := newTurns(t, e, nil, nil)
		if ended, ok := s.say("Read it").(events.TurnEnded); !ok || ended.Outcome != events.Failed || !strings.Contains(ended.Detail, "neither text nor calls") || e.asked() != 3 {
			t.Errorf("after %d requests: %v", e.asked(), ended)
		}
	})
}

// TestUsageThatIsNotToldCounts: an endpoint that reports none does not run for nothing.
func TestUsageThatIsNotToldCounts(t *testing.T) {
	e := &vendor{}
	for i := range 60 {
		e.replies = append(e.replies, streams(callEvent(fmt.Sprintf(`{"index":0,"id":"k%d","function":{"name":"read_file","arguments":"{\"path\":\"a.txt\",\"limit\":%d}"}}`, i, i)), finishEvent("tool_calls")))
	}
	s := newTurns(t, e, func(c *events.AgentConfig) { c.Limits = events.Limits{Tokens: 100, Money: 1} }, nil)
	paused, ok := s.say("Read it, again and again, and tell me every time what you think of every line that you find there").(events.TurnPaused)
	if !ok || e.asked() > 3 {
		t.Errorf("after %d requests: %v", e.asked(), paused)
	}
	reply := eventsOf[events.ModelReplied](s)[0]
	if !reply.Usage.Estimated || reply.Usage.Input == 0 || reply.Usage.Output == 0 || reply.Cost == 0 || !reply.Priced || !strings.Contains(reply.String(), "estimated") {
		t.Errorf("%+v: %s", reply, reply)
	}
}

// TestAWindowThatIsTooSmall: the turn goes on with what fits, and so does the next one.
func TestAWindowThatIsTooSmall(t *testing.T) {
	t.Run("a long result", func(t *testing.T) {
		e := &vendor{replies: []wire{callsOne("c1", "bash", `{"command":"print"}`), says("Finished.")}, rules: rules{window: 20_000}}
		s := newTurns(t, e, nil, nil)
		s.done(s.say("Print much"))
		s.done(s.say("Thanks"))
		failed, asked := eventsOf[events.ModelFailed](s), eventsOf[events.ModelRequested](s)
		if len(failed) != 1 || failed[0].Class != events.ErrorContext || failed[0].Room == 0 || !strings.Contains(failed[0].Detail, "--limit-context-tokens") {
			t.Errorf("failures: %v", failed)
		}
		if len(asked) != 4 || asked[2].Room == 0 || asked[2].Shortened != 1 {
			t.Errorf("requests: %+v", asked)
		}
		if sent := fmt.Sprint(e.requests[2].Messages); !strings.Contains(sent, "bytes are left out here") {
			t.Errorf("the model is not told what is left out: %s", sent)
		}
	})
	t.Run("many turns", func(t *testing.T) {
		e := &vendor{replies: []wire{says(strings.Repeat("words and words ", 200))}, rules: rules{window: 12_000}}
		s := newTurns(t, e, nil, nil)
		for i := range 12 {
			s.done(s.say(fmt.Sprintf("Question %d: %s", i, strings.Repeat("what of it? ", 100))))
		}
		if failed := eventsOf[events.ModelFailed](s); len(failed) == 0 || len(failed) > 3 {
			t.Errorf("%d failures, want few: what was learnt holds", len(failed))
		}
	})
	t.Run("no number told", func(t *testing.T) {
		e := &vendor{replies: []wire{callsOne("c1", "bash", `{"command":"print"}`), says("Finished.")}}
		e.rules.refusal = func(q sentRequest, _ []string) *wire {
			if len(fmt.Sprint(q.Messages)) > 9_000 {
				return refusing(400, "Please reduce the length of the messages or completion.")
			}
			return nil
		}
		s := newTurns(t, e, nil, nil)
		s.done(s.say("Print much"))
		if failed := eventsOf[events.ModelFailed](s); len(failed) == 0 || len(failed) > 3 {
			t.Errorf("failures: %v", failed)
		}
	})
	t.Run("smaller than the prompt", func(t *testing.T) {
		e := &vendor{replies: []wire{says("Finished.")}}
		e.rules.refusal = func(sentRequest, []string) *wire {
			return refusing(400, "This model's maximum context length is 1024 tokens. However, your messages resulted in 5000 tokens.")
		}
		s := newTurns(t, e, func(c *events.AgentConfig) { c.Prompt = strings.Repeat("Mind this. ", 2000) }, nil)
		ended, ok := s.say("Hello").(events.TurnEnded)
		if !ok || ended.Outcome != events.Failed || !strings.Contains(ended.Detail, "the prompt and the tools alone") || e.asked() != 1 {
			t.Errorf("after %d requests: %v", e.asked(), ended)
		}
	})
}

// TestAReplyOfNoToken: LM Studio answers a prompt that its window does not hold with an empty stream. It is asked once more, as it might be an accident, and then
// with less; a short prompt is never cut for that.
func TestAReplyOfNoToken(t *testing.T) {
	nothing := streams(event(`{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}`), finishEvent("stop"), event(`{"choices":[],"usage":{"prompt_tokens":9100,"completion_tokens":0,"total_tokens":9100}}`))
	for name, test := range map[string]struct {
		text   string
		failed int
		asked  int
	}{
		"long":  {strings.Repeat("words and words ", 2000), 1, 4},
		"short": {"Hello", 0, 3},
	} {
		t.Run(name, func(t *testing.T) {
			e := &vendor{replies: []wire{nothing, nothing, says("Finished.")}}
			s := newTurns(t, e, nil, nil)
			s.done(s.say(test.text))
			failed := eventsOf[events.ModelFailed](s)
			if len(failed) != test.failed || e.asked() != test.asked {
				t.Fatalf("after %d requests: %v", e.asked(), failed)
			}
			for _, f := range failed {
				if f.Class != events.ErrorContext || f.Room == 0 || !strings.Contains(f.Detail, "LM Studio") {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

// TestAReplyThatMeetsALimit: the turn's end says which limit it was, and so does what the model is told of a call that was cut off.
func TestAReplyThatMeetsALimit(t *testing.T) {
	counted := func(tokens int) string {
		return event(fmt.Sprintf(`{"choices":[],"usage":{"prompt_tokens":3900,"completion_tokens":%d}}`, tokens))
	}
	lower := func(limit int, says string) func(q sentRequest, _ []string) *wire {
		return func(q sentRequest, _ []string) *wire {
			if asked, _ := q.raw[limitOld].(float64); int(asked) > limit {
				return refusing(400, says)
			}
			return nil
		}
	}
	window := "This model's maximum context length is 4352 tokens. However, you requested 12096 tokens (3904 in the messages, 8192 in the completion)."
	for name, test := range map[string]struct {
		wire wire
		rule func(q sentRequest, _ []string) *wire
		met  events.Bound
		says string
	}{
		"its own":             {streams(textEvent("And so"), finishEvent("length"), counted(8192)), nil, "", "raise reply_tokens"},
		"nothing is counted":  {streams(textEvent("And so"), finishEvent("length")), nil, "", "raise reply_tokens"},
		"the endpoint's":      {streams(textEvent("And so"), finishEvent("length"), counted(196)), nil, events.BoundEndpoint, "raise the limit at the endpoint"},
		"the model's":         {streams(textEvent("And so"), finishEvent("length"), counted(4096)), lower(4096, "max_tokens is too large: 8192. This model supports at most 4096 completion tokens."), events.BoundEndpoint, "fewer tokens in one reply than reply_tokens allows"},
		"the window's":        {streams(textEvent("And so"), finishEvent("model_length"), counted(196)), nil, events.BoundWindow, "--limit-context-tokens"},
		"lowered to the room": {streams(textEvent("And so"), finishEvent("length"), counted(432)), lower(432, window), events.BoundWindow, "--limit-context-tokens"},
	} {
		t.Run(name, func(t *testing.T) {
			e := &vendor{replies: []wire{test.wire}, rules: rules{refusal: test.rule}}
			s := newTurns(t, e, nil, nil)
			ended, ok := s.say("Go on").(events.TurnEnded)
			replied := eventsOf[events.ModelReplied](s)
			if !ok || ended.Reason != events.ReasonTruncated || !strings.Contains(ended.Detail, test.says) || len(replied) != 1 || replied[0].Met != test.met {
				t.Errorf("%v, %+v", ended, replied)
			}
		})
	}
	t.Run("within a call", func(t *testing.T) {
		call := callEvent(`{"index":0,"id":"c1","function":{"name":"read_file","arguments":"{\"pa"}}`)
		e := &vendor{replies: []wire{streams(call, finishEvent("model_length"), counted(196)), says("Finished.")}}
		s := newTurns(t, e, nil, nil)
		s.done(s.say("Go on"))
		if refused := eventsOf[events.ToolRefused](s); len(refused) != 1 || !strings.Contains(refused[0].Reason, "filled the window") {
			t.Errorf("%v", refused)
		}
	})
	t.Run("before anything", func(t *testing.T) {
		e := &vendor{replies: []wire{streams(finishEvent("model_length"), counted(0)), says("Finished.")}}
		s := newTurns(t, e, nil, nil)
		s.done(s.say(strings.Repeat("words and words ", 2000)))
		if failed := eventsOf[events.ModelFailed](s); len(failed) != 1 || failed[0].Class != events.ErrorContext || failed[0].Room == 0 {
			t.Errorf("%v", failed)
		}
	})
}

// TestAnEndpointThatCutsSilently: what it counts tells; the reply does not count, and what fits is asked.
func TestAnEndpointThatCutsSilently(t *testing.T) {
	var words strings.Builder
	for i := range 6000 {
		fmt.Fprintf(&words, "word%d ", i%700)
	}
	counts := func(tokens int) wire {
		return streams(textEvent("Done."), finishEvent("stop"), event(fmt.Sprintf(`{"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":3}}`, tokens)))
	}
	e := &vendor{replies: []wire{counts(4014), counts(2900)}}
	s := newTurns(t, e, nil, nil)
	s.done(s.say(words.String()))
	s.done(s.say("And now?"))
	failed, asked := eventsOf[events.ModelFailed](s), eventsOf[events.ModelRequested](s)
	if len(failed) != 1 || failed[0].Class != events.ErrorContext || !strings.Contains(failed[0].Detail, "read 4014 of about") || failed[0].Usage.Input != 4014 {
		t.Fatalf("failures: %v", failed)
	}
	if len(asked) != 3 || asked[1].Shortened != 1 || asked[1].Room == 0 || asked[1].Room > 4014 {
		t.Errorf("requests: %+v", asked)
	}
	for name, tokens := range map[string]int{"whole": 9_000, "another tokenizer's": 6_500, "nonsense": 10} {
		e := &vendor{replies: []wire{counts(tokens)}}
		s := newTurns(t, e, nil, nil)
		s.done(s.say(words.String()))
		if failed := eventsOf[events.ModelFailed](s); len(failed) > 0 {
			t.Errorf("%s: %v", name, failed)
		}
	}
	t.Run("a cache explains it", func(t *testing.T) {
		e := &vendor{replies: []wire{counts(9_000), counts(1_200)}} // older servers do not count what they have cached
		s := newTurns(t, e, nil, nil)
		s.done(s.say(words.String()))
		s.done(s.say("And now?"))
		if failed := eventsOf[events.ModelFailed](s); len(failed) > 0 {
			t.Errorf("%v", failed)
		}
	})
}

// TestAnEndpointsWayOfAsking: each refusal that names it is met with another way, once.
func TestAnEndpointsWayOfAsking(t *testing.T) {
	for name, rules := range map[string]rules{
		"options of streams": {noOptions: true}, "the newer limit": {limitName: limitNew}, "no limit": {limitName: limitNone},
		"no system message": {noSystem: true}, "several": {noOptions: true, noSystem: true, limitName: limitNew},
		"ids of nine signs": {refusal: func(q sentRequest, _ []string) *wire {
			for _, id := range q.callIDs() {
				if len(id) != 9 || strings.ContainsAny(id, "-_") {
					return refusing(400, "Tool call id was "+id+" but must be a-z, A-Z, 0-9, with a length of 9.")
				}
			}
			return nil
		}},
		"ids of forty signs": {refusal: func(q sentRequest, _ []string) *wire {
			for _, id := range q.callIDs() {
				if len(id) > 40 {
					return refusing(400, "Invalid 'messages[2].tool_calls[0].id': string too long. Expected a string with maximum length 40, but got a string with length 58 instead.")
				}
			}
			return nil
		}},
		"a low limit": {refusal: func(q sentRequest, _ []string) *wire {
			if limit, _ := q.raw[limitOld].(float64); limit > 4096 {
				return refusing(400, "max_tokens is too large: 8192. This model supports at most 4096 completion tokens.")
			}
			return nil
		}},
		"TGI's window": {refusal: func(q sentRequest, _ []string) *wire {
			if limit, _ := q.raw[limitOld].(float64); limit+1500 > 4096 {
				return refusing(422, fmt.Sprintf("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 1500 `inputs` tokens and %.0f `max_new_tokens`", limit))
			}
			return nil
		}},
		"vLLM's window": {refusal: func(q sentRequest, _ []string) *wire {
			if limit, _ := q.raw[limitOld].(float64); limit+1200 > 4096 {
				return refusing(400, fmt.Sprintf("'max_tokens' or 'max_completion_tokens' is too large: %.0f. This model's maximum context length is 4096 tokens and your request has 1200 input tokens (%.0f > 4096 - 1200).", limit, limit))
			}
			return nil
		}},
		"a limit beyond the window": {refusal: func(q sentRequest, _ []string) *wire {
			if limit, _ := q.raw[limitOld].(float64); limit > 8060 {
				return refusing(400, "This model's maximum context length is 8192 tokens. However, you requested 8324 tokens (132 in the messages, 8192 in the completion).")
			}
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			e := &vendor{replies: []wire{says("Finished.")}, rules: rules}
			if strings.HasPrefix(name, "ids") {
				long := callEvent(`{"index":0,"id":"call_` + strings.Repeat("thought", 8) + `","function":{"name":"read_file","arguments":"{}"}}`)
				e.replies = []wire{streams(long, finishEvent("tool_calls")), says("Finished.")}
			}
			s := newTurns(t, e, func(c *events.AgentConfig) { c.Prompt = "Be brief." }, nil)
			s.done(s.say("Go"))
			if failed := eventsOf[events.ModelFailed](s); len(failed) > 0 {
				t.Errorf("%v", failed)
			}
			before := e.asked()
			s.done(s.say("On"))
			if again := e.asked() - before; again != 1 && !strings.Contains(name, "window") {
				t.Errorf("%d requests for the second message: what was learnt is forgotten", again)
			}
		})
	}
	t.Run("nothing helps", func(t *testing.T) {
		e := &vendor{replies: []wire{*refusing(500, "streaming is not supported, tools require --jinja flag")}}
		_, err := newOpenAI(t, e.open(t)).Ask(context.Background(), actors.ModelRequest{Model: "m"}, nil)
		if err == nil || !strings.Contains(err.Error(), "invalid") || !strings.Contains(err.Error(), "start the server with --jinja") || e.asked() > 3 {
			t.Errorf("after %d requests: %v", e.asked(), err)
		}
	})
}
