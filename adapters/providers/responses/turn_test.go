package responses

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// turns is an agent whose model is an endpoint.
type turns struct {
	t      *testing.T
	config actors.Config
	host   *actors.Host
	mu     sync.Mutex
	ran    []string // calls that ran
	orders int
}

// theModels are models by their providers' names.
type theModels map[string]actors.Model

func (m theModels) Lookup(name string) (actors.Model, string, error) {
	provider, model, _ := strings.Cut(name, "/")
	return m[provider], model, nil
}

// newTurns creates agent a, with a tool that reads.
func newTurns(t *testing.T, models theModels) *turns {
	t.Helper()
	s := &turns{t: t}
	s.config = actors.Config{
		Journal: actorstest.NewMemory(), Blobs: actorstest.NewBlobs(), Masker: actorstest.Unmasked{}, OpeningCredit: 100 * events.Dollar, Models: models,
		Tools: []actors.Tool{actorstest.FakeTool{
			Describes: actors.ToolSpec{Name: "read_file", Description: "reads", Schema: json.RawMessage(`{"type":"object"}`), Repeatable: true},
			Does: func(_ context.Context, use actors.ToolUse) (actors.ToolResult, error) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.ran = append(s.ran, string(use.Arguments))
				return actors.ToolResult{Text: "alpha"}, nil
			},
		}},
	}
	s.start()
	t.Cleanup(func() { s.stop() })
	s.do("a", sagas.Create{Meta: s.meta(), Agent: "a", Config: events.AgentConfig{Model: "one/m", Tools: []events.ToolGrant{{Name: "read_file"}}}})
	return s
}

func (s *turns) start() {
	s.t.Helper()
	var err error
	if s.host, err = actors.New(s.t.Context(), s.config); err != nil {
		s.t.Fatal(err)
	}
}

func (s *turns) stop() {
	s.t.Helper()
	if err := s.host.Close(context.Background()); err != nil {
		s.t.Error(err)
	}
}

func (s *turns) meta() sagas.Meta {
	s.orders++
	return sagas.Meta{ID: events.CommandID(fmt.Sprintf("c%d", s.orders)), At: storage.Now()}
}

func (s *turns) do(agent events.AgentID, command sagas.Command) {
	s.t.Helper()
	if _, err := s.host.Do(s.t.Context(), events.AgentStream(agent), command, actors.Origin{Actor: "test"}); err != nil {
		s.t.Fatal(err)
	}
}

// say gives an agent a message, and waits until its turn is done.
func (s *turns) say(agent events.AgentID, text string) {
	s.t.Helper()
	feed, err := s.host.Watch(s.t.Context(), agent, events.Revision(len(s.events(agent))-1))
	if err != nil {
		s.t.Fatal(err)
	}
	defer feed.Close()
	s.do(agent, sagas.Send{Meta: s.meta(), Verb: events.Collect, Text: events.Text{Inline: text}})
	for {
		item, err := feed.Next(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		if item.Event == nil {
			continue
		}
		event, err := item.Event.Event()
		if err != nil {
			s.t.Fatal(err)
		}
		switch e := event.(type) {
		case events.TurnEnded:
			if e.Outcome != events.Done {
				s.t.Fatalf("the turn ended so: %s\n%s", e, s.story(agent))
			}
			return
		case events.TurnPaused:
			s.t.Fatalf("the turn paused: %s\n%s", e, s.story(agent))
		}
	}
}

// events are those of an agent so far.
func (s *turns) events(agent events.AgentID) []events.Event {
	s.t.Helper()
	page, err := s.config.Journal.Read(s.t.Context(), events.AgentStream(agent), 0, storage.Forward, storage.Limit{Events: 10_000})
	if err != nil {
		s.t.Fatal(err)
	}
	var all []events.Event
	for i := range page.Events {
		event, err := page.Events[i].Event()
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, event)
	}
	return all
}

// story is all that happened.
func (s *turns) story(agent events.AgentID) string {
	var lines []string
	for _, event := range s.events(agent) {
		lines = append(lines, event.String())
	}
	return strings.Join(lines, "\n")
}

// use changes the agent's model.
func (s *turns) use(model string) {
	s.t.Helper()
	created, ok := s.events("a")[0].(events.AgentCreated)
	if !ok {
		s.t.Fatal("the agent was not created first")
	}
	created.Config.Model = model
	s.do("a", sagas.Configure{Meta: s.meta(), Config: created.Config})
}

// thinking is a reply that thinks, says something, thinks, and calls; and its like that finishes.
func thinking(n int, long string) []wire {
	first := begin()
	first.thought(fmt.Sprintf("rs_%d", n), "gAAA"+long, "I **look** at <it> & think.")
	first.message("I look.", fmt.Sprintf(`,"id":"msg_%d","phase":"commentary"`, n))
	first.thought(fmt.Sprintf("rs_%d", n+1), "gBBB", "")
	first.call(fmt.Sprintf("call_%d", n), "read_file", `{"path":"a.txt"}`, fmt.Sprintf(`,"id":"fc_%d","namespace":"files"`, n))
	first.call(fmt.Sprintf("call_%d", n+1), "read_file", `{"path":"b.txt"}`, fmt.Sprintf(`,"id":"fc_%d"`, n+1))
	last := begin()
	last.thought(fmt.Sprintf("rs_%d", n+2), "gCCC", "So it is.")
	last.message("It says alpha.", fmt.Sprintf(`,"id":"msg_%d","phase":"final_answer"`, n+1))
	return []wire{first.completed(), last.completed()}
}

// TestBlocksSurvive: what the provider gave goes back to it byte for byte, in its order: after a tool's round, a restart, in a fork, and after a
// turn with another vendor, which gets none of it.
func TestBlocksSurvive(t *testing.T) {
	long := strings.Repeat("Zm9v", 20_000) // it is stored apart
	one := &vendor{replies: append(append(append(thinking(1, long), thinking(11, "")...), thinking(21, "")...), thinking(31, "")...)}
	other := &vendor{replies: []wire{callsOne("x1", "read_file", `{"path":"c.txt"}`), says("Hello.")}, rules: rules{foreign: true}}
	s := newTurns(t, theModels{"one": newModel(t, one.open(t)), "other": newModel(t, other.open(t))})
	kept := func(v *vendor, items int) {
		t.Helper()
		if len(v.broken) > 0 {
			t.Fatalf("requests broke %.3000s", v.broken)
		}
		n := 0
		for _, it := range v.requests[len(v.requests)-1].items() {
			if it.ID != "" {
				n++
			}
			if strings.Contains(it.raw, `"fc_1"`) && !strings.Contains(it.raw, `"namespace":"files"`) || strings.Contains(it.raw, `"msg_1"`) && it.Phase != "commentary" {
				t.Errorf("it lost a field: %s", it.raw)
			}
		}
		if n != items {
			t.Errorf("%d items went back as what they were, want %d", n, items)
		}
	}
	s.say("a", "Read them")
	kept(one, 5)
	s.stop()
	s.start()
	s.say("a", "Once more")
	kept(one, 7+5)
	if _, err := s.host.Fork(t.Context(), actors.ForkOrder{ID: "fork", Parent: "a", At: events.NoRevision, Name: "b", Workspace: actors.NoWorkspace, Turns: actors.NoTurns}, actors.Origin{Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	s.say("b", "And you?")
	kept(one, 2*7+5)
	s.use("other/m")
	s.say("a", "Somebody else")
	kept(other, 0)
	s.use("one/m")
	s.say("a", "And you again")
	kept(one, 2*7+5)
	if len(s.ran) != 2*4+1 {
		t.Errorf("%d calls ran", len(s.ran))
	}
}

// TestACallThatIsNoObjectStaysHarmless: what a model wrote badly never runs, the model is told, and every later request is one that a strict
// endpoint takes.
func TestACallThatIsNoObjectStaysHarmless(t *testing.T) {
	cut := func(arguments string) wire {
		s := begin()
		s.thought("rs_1", "gAAA", "I write.")
		s.call("c1", "read_file", arguments, `,"id":"fc_1"`)
		return s.end("incomplete", usageJSON(events.Usage{Input: 10, Output: 8192}), `,"incomplete_details":{"reason":"max_output_tokens"}`)
	}
	for name, test := range map[string]struct {
		reply wire
		told  string
	}{
		"cut off by the limit": {cut(`{"path": "a.txt","content":"half`), "met its limit"},
		"cut off, or not":      {cut(`{}`), "met its limit"},
		"cut off":              {callsOne("c1", "read_file", `{"path": "a.t`), "not a JSON object"},
		"a list":               {callsOne("c1", "read_file", `["a.txt"]`), "not a JSON object"},
		"null":                 {callsOne("c1", "read_file", `null`), "not a JSON object"},
		"two objects":          {callsOne("c1", "read_file", `{"path":"a"}{"path":"b"}`), "not a JSON object"},
		"pieces alone":         {frames(callAdded(0, "f1", "c1", "read_file"), callDelta(0, "f1", `{"path":"a.txt"}`), completed), ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := &vendor{replies: []wire{test.reply, says("Finished.")}}
			s := newTurns(t, theModels{"one": newModel(t, v.open(t))})
			s.say("a", "Read it")
			s.say("a", "And again")
			if len(s.ran) > 0 || len(v.broken) > 0 || v.asked() != 3 {
				t.Errorf("ran %v; %d requests, which broke %v", s.ran, v.asked(), v.broken)
			}
			refused := 0
			for _, event := range s.events("a") {
				if e, ok := event.(events.ToolRefused); ok && strings.Contains(e.Reason, test.told) {
					refused++
				}
			}
			if refused != 1 {
				t.Errorf("%d calls refused because of %q\n%s", refused, test.told, s.story("a"))
			}
		})
	}
}

// TestAReplyThatIsNoAnswer: the model is told, and the turn is done only with an answer.
func TestAReplyThatIsNoAnswer(t *testing.T) {
	alone := begin()
	alone.thought("rs_1", "gAAA", "Hm.")
	for name, reply := range map[string]wire{
		"nothing":            frames(completed),
		"thoughts alone":     alone.completed(),
		"an empty message":   frames(messageDone(0, " "), completed),
		"a call in the text": says("I read it.\n<tool_call>\n{\"name\": \"read_file\", \"arguments\": {\"path\": \"a.txt\"}}\n</tool_call>"),
		"an item alone":      frames(`{"type":"response.output_item.done","output_index":0,"item":{"type":"shell_call","id":"sh_1","call_id":"x","action":{}}}`, completed),
	} {
		t.Run(name, func(t *testing.T) {
			v := &vendor{replies: []wire{reply, says("Finished.")}}
			s := newTurns(t, theModels{"one": newModel(t, v.open(t))})
			s.say("a", "Read it")
			if len(v.broken) > 0 || v.asked() != 2 || len(s.ran) > 0 {
				t.Errorf("%d requests, which broke %v", v.asked(), v.broken)
			}
		})
	}
}

// TestWhatAnEndpointCannotReadAgain: reasoning that the endpoint refuses is left out, and with it the ids by which it would be missed.
func TestWhatAnEndpointCannotReadAgain(t *testing.T) {
	plain := begin()
	plain.item(`{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":null}`)
	plain.call("c1", "read_file", `{"path":"a.txt"}`, `,"id":"fc_1"`)
	for name, test := range map[string]struct {
		first wire
		rules rules
		asked int
	}{
		"it takes none":           {thinking(1, "")[0], rules{items: true}, 3},
		"it lost its key":         {thinking(1, "")[0], rules{lost: true}, 3},
		"it encrypted nothing":    {plain.completed(), rules{foreign: true}, 2},
		"it takes what was given": {thinking(1, "")[0], rules{}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			v := &vendor{replies: []wire{test.first, says("Finished.")}, rules: test.rules}
			s := newTurns(t, theModels{"one": newModel(t, v.open(t))})
			s.say("a", "Read it")
			if v.asked() != test.asked || len(v.broken) > 0 {
				t.Errorf("%d requests, which broke %v", v.asked(), v.broken)
			}
		})
	}
}

// TestOutputsFollowTheirCalls: whatever stood behind a call in its reply, its output follows it, and reasoning stays before what it led to.
func TestOutputsFollowTheirCalls(t *testing.T) {
	call := func(s *script, id string) { s.call(id, "read_file", `{"path":"a.txt"}`, `,"id":"f`+id+`"`) }
	sparkle := `{"type":"function_cal","id":"sp_1","name":"read_file"}`
	for name, test := range map[string]struct {
		says func(s *script)
		want string
	}{
		"an unknown item":   {func(s *script) { call(s, "c1"); s.item(sparkle) }, "function_cal function_call:c1 function_call_output:c1"},
		"a text":            {func(s *script) { call(s, "c1"); s.message("I read it.", "") }, "message function_call:c1 function_call_output:c1"},
		"a thought and it":  {func(s *script) { s.thought("r1", "g", ""); call(s, "c1"); s.thought("r2", "g", ""); s.item(sparkle) }, "reasoning function_cal reasoning function_call:c1 function_call_output:c1"},
		"thoughts of calls": {func(s *script) { s.thought("r1", "g", ""); call(s, "c1"); s.thought("r2", "g", ""); call(s, "c2") }, "reasoning function_call:c1 function_call_output:c1 reasoning function_call:c2 function_call_output:c2"},
		"two calls":         {func(s *script) { call(s, "c1"); call(s, "c2"); s.message("I read both.", "") }, "message function_call:c1 function_call:c2 function_call_output:c1 function_call_output:c2"},
	} {
		t.Run(name, func(t *testing.T) {
			first := begin()
			test.says(first)
			again := begin() // with the ids of the first reply's calls, as some endpoints give them
			call(again, "c1")
			v := &vendor{replies: []wire{first.completed(), again.completed(), says("Finished.")}}
			s := newTurns(t, theModels{"one": newModel(t, v.open(t))})
			s.say("a", "Read it")
			var got []string
			for _, it := range v.requests[len(v.requests)-1].items()[1:] {
				got = append(got, strings.TrimSuffix(it.Type+":"+it.CallID, ":"))
			}
			want := test.want + " function_call:c1 function_call_output:c1"
			if len(v.broken) > 0 || strings.Join(got, " ") != want {
				t.Errorf("broke %v; sent %q, want %q", v.broken, got, want)
			}
		})
	}
}
