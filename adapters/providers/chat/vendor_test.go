package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/adapters/providers/endpoint/endpointtest"
	"example.com/life/events"
	"example.com/life/sagas"
)

// vendor plays replies, the last one again and again, to requests that it checks as strict vendors do.
type vendor struct {
	replies []wire
	rules   rules

	mu       sync.Mutex
	requests []sentRequest
	broken   []string // rules that requests broke
}

// rules are those that a vendor has beside everybody's.
type rules struct {
	alternate bool   // no two messages of the user in a row, no system message but the first
	noSystem  bool   // none at all
	echo      string // a field that messages with calls must have
	signature bool   // calls must have Gemini's
	noExtra   bool   // none of either
	wholeOnly bool   // a streamed request with tools is refused
	limitName string // the other name of the reply's limit is refused
	noOptions bool   // stream_options is refused
	window    int    // characters of all texts
	refusal   func(q sentRequest, broken []string) *wire
}

type sentRequest struct {
	Stream   bool          `json:"stream"`
	Messages []sentMessage `json:"messages"`
	Tools    []any         `json:"tools"`
	raw      map[string]any
}

type sentMessage struct {
	Role      string `json:"role"`
	Content   any    `json:"content"`
	CallID    string `json:"tool_call_id"`
	ToolCalls []struct {
		ID       string `json:"id"`
		Function struct{ Name, Arguments string }
		Extra    struct {
			Google map[string]string `json:"google"`
		} `json:"extra_content"`
	} `json:"tool_calls"`
	Reasoning *string `json:"reasoning_content"`
}

// check lists the rules that a request breaks.
func (r rules) check(q *sentRequest) []string {
	var broken []string
	breaks := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	var open []string
	size, before := 0, ""
	for i, m := range q.Messages {
		text, _ := m.Content.(string)
		size += len(text)
		if m.Role == "tool" {
			if at := slices.Index(open, m.CallID); at >= 0 {
				open = slices.Delete(open, at, at+1)
			} else {
				breaks("message %d answers no call: %q", i, m.CallID)
			}
		} else if len(open) > 0 {
			breaks("message %d comes while calls are open: %v", i, open)
		}
		if text == "" && len(m.ToolCalls) == 0 {
			if _, list := m.Content.([]any); !list {
				breaks("message %d is empty", i)
			}
		}
		for j, c := range m.ToolCalls {
			if c.ID == "" || slices.Contains(open, c.ID) {
				breaks("message %d: the id %q is empty or there twice", i, c.ID)
			}
			open = append(open, c.ID)
			if !endpoint.IsObject(c.Function.Arguments) {
				breaks("message %d: the arguments are no object: %s", i, c.Function.Arguments)
			}
			if r.signature && j == 0 && c.Extra.Google["thought_signature"] == "" {
				breaks("Function call is missing a thought_signature in functionCall parts")
			}
		}
		if r.alternate && m.Role == "user" && before == "user" {
			breaks("Conversation roles must alternate user/assistant/user/assistant")
		}
		if m.Role == "system" && (r.noSystem || i > 0) {
			breaks("System role not supported")
		}
		if r.echo != "" && len(m.ToolCalls) > 0 && (m.Reasoning == nil || *m.Reasoning == "") {
			breaks("The reasoning_content in the thinking mode must be passed back to the API")
		}
		if r.noExtra && m.Reasoning != nil {
			breaks("messages.%d.reasoning_content: Extra inputs are not permitted", i)
		}
		before = m.Role
	}
	if len(open) > 0 {
		breaks("calls stay open: %v", open)
	}
	if r.window > 0 && size > r.window {
		breaks("This model's maximum context length is %d tokens. However, your messages resulted in %d tokens. code: context_length_exceeded", r.window/4, size/4)
	}
	return broken
}

func refusing(status int, message string) *wire {
	return &wire{
		Status: status, Header: map[string]string{"Content-Type": "application/json"},
		Pieces: []string{`{"error":{"type":"invalid_request_error","message":` + quote(message) + `}}`},
	}
}

func (e *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q sentRequest
	content, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(content, &q) != nil || json.Unmarshal(content, &q.raw) != nil || r.URL.Path != "/v1/chat/completions" {
		http.Error(w, "this is no request for a chat completion", http.StatusTeapot)
		return
	}
	e.reply(q).Send(w, r)
}

func (e *vendor) reply(q sentRequest) wire {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.requests = append(e.requests, q)
	broken := e.rules.check(&q)
	e.broken = append(e.broken, broken...)
	switch {
	case e.rules.wholeOnly && q.Stream && len(q.Tools) > 0:
		return *refusing(500, "Cannot use tools with stream")
	case e.rules.noOptions && q.raw["stream_options"] != nil:
		return *refusing(400, "Unrecognized request argument supplied: stream_options")
	case e.rules.limitName == limitNew && q.raw[limitOld] != nil:
		return *refusing(400, "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.")
	case e.rules.limitName == limitNone && (q.raw[limitOld] != nil || q.raw[limitNew] != nil):
		return *refusing(422, "max_tokens, max_completion_tokens: Extra inputs are not permitted")
	case len(broken) > 0:
		return *refusing(400, broken[0])
	}
	if e.rules.refusal != nil {
		if refused := e.rules.refusal(q, broken); refused != nil {
			return *refused
		}
	}
	next := e.replies[0]
	if len(e.replies) > 1 {
		e.replies = e.replies[1:]
	}
	return next
}

// asked is how many requests came.
func (e *vendor) asked() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.requests)
}

// open serves the endpoint.
func (e *vendor) open(t testing.TB) endpoint.Config {
	t.Helper()
	server, transport := httptest.NewServer(e), &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	return endpoint.Config{BaseURL: server.URL + "/v1", Key: endpointtest.Key, Client: &http.Client{Transport: transport}}
}

// Replies of an endpoint.

const smallUsage = `{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}`

func streams(pieces ...string) wire { return wire{Pieces: append(pieces, done)} }

func says(text string) wire { return streams(textEvent(text), finishEvent("stop"), event(smallUsage)) }

func callsOne(id, tool, arguments string) wire {
	return streams(callEvent(fmt.Sprintf(`{"index":0,"id":%q,"function":{"name":%q,"arguments":%s}}`, id, tool, quote(arguments))),
		finishEvent("tool_calls"), event(smallUsage))
}

func whole(body string) wire {
	return wire{Header: map[string]string{"Content-Type": "application/json"}, Pieces: []string{body}}
}

// turns is an agent whose model is an endpoint.
type turns struct {
	t       *testing.T
	host    *actors.Host
	journal *actorstest.Memory
	ran     []string // calls that ran
}

type theModels struct {
	model actors.Model
	names map[string]actors.Model
}

func (m theModels) Lookup(name string) (actors.Model, string, error) {
	if other, ok := m.names[name]; ok {
		return other, "other", nil
	}
	return m.model, strings.TrimPrefix(name, "openai/"), nil
}

// perToken prices every token at a micro-dollar.
type perToken struct{}

func (perToken) Cost(_ string, usage events.Usage) (cost events.Money, priced bool) {
	return events.Money(usage.Total()), true
}

// newTurns creates agent a, with tools that read files and print 25,000 letters.
func newTurns(t *testing.T, e *vendor, change func(*events.AgentConfig), others map[string]actors.Model) *turns {
	t.Helper()
	s := &turns{t: t, journal: actorstest.NewMemory()}
	var mu sync.Mutex
	tool := func(name, schema string, does func(use actors.ToolUse) string) actors.Tool {
		return actorstest.FakeTool{
			Describes: actors.ToolSpec{Name: name, Description: "does " + name, Schema: json.RawMessage(schema), Repeatable: true},
			Does: func(_ context.Context, use actors.ToolUse) (actors.ToolResult, error) {
				mu.Lock()
				defer mu.Unlock()
				s.ran = append(s.ran, name+" "+string(use.Arguments))
				return actors.ToolResult{Text: does(use)}, nil
			},
		}
	}
	files := map[string]string{"a.txt": "alpha", "b.txt": "beta"}
	var err error
	s.host, err = actors.New(t.Context(), actors.Config{
		Journal: s.journal, Blobs: actorstest.NewBlobs(), Masker: actorstest.Unmasked{}, OpeningCredit: 100 * events.Dollar, Prices: perToken{},
		Models: theModels{newOpenAI(t, e.open(t)), others},
		Tools: []actors.Tool{
			tool("read_file", `{"type":"object"}`, func(use actors.ToolUse) string {
				var arguments struct{ Path string }
				if json.Unmarshal(use.Arguments, &arguments) != nil {
					return "?"
				}
				return files[arguments.Path]
			}),
			tool("bash", `{"type":"object"}`, func(actors.ToolUse) string { return strings.Repeat("y", 25_000) }),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeHost(t, s.host) })
	config := events.AgentConfig{Model: "openai/gpt-4o-mini", Tools: []events.ToolGrant{{Name: "read_file"}, {Name: "bash"}}}
	if change != nil {
		change(&config)
	}
	s.do(sagas.Create{Meta: s.meta(), Agent: "a", Config: config})
	return s
}

func (s *turns) meta() sagas.Meta {
	return sagas.Meta{ID: events.CommandID(fmt.Sprintf("c%d", len(s.events()))), At: storage.Now()}
}

func (s *turns) do(command sagas.Command) {
	s.t.Helper()
	if _, err := s.host.Do(s.t.Context(), events.AgentStream("a"), command, actors.Origin{Actor: "test"}); err != nil {
		s.t.Fatal(err)
	}
}

// say gives the agent a message, and waits until its turn has ended or paused.
func (s *turns) say(text string) events.Event {
	s.t.Helper()
	feed, err := s.host.Watch(s.t.Context(), "a", events.Revision(len(s.events())-1))
	if err != nil {
		s.t.Fatal(err)
	}
	defer feed.Close()
	s.do(sagas.Send{Meta: s.meta(), Verb: events.Collect, Text: events.Text{Inline: text}})
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
		switch event.(type) {
		case events.TurnEnded, events.TurnPaused:
			return event
		}
	}
}

// events are those of the agent so far.
func (s *turns) events() []events.Event {
	s.t.Helper()
	page, err := s.journal.Read(s.t.Context(), events.AgentStream("a"), 0, storage.Forward, storage.Limit{Events: 10_000})
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

// done checks that a turn ended well.
func (s *turns) done(ended events.Event) {
	s.t.Helper()
	if e, ok := ended.(events.TurnEnded); !ok || e.Outcome != events.Done {
		s.t.Fatalf("the turn ended so: %s\n%s", ended, s.story())
	}
}

// story is all that happened.
func (s *turns) story() string {
	var lines []string
	for _, event := range s.events() {
		lines = append(lines, event.String())
	}
	return strings.Join(lines, "\n")
}

func eventsOf[E events.Event](s *turns) []E {
	var of []E
	for _, event := range s.events() {
		if e, ok := event.(E); ok {
			of = append(of, e)
		}
	}
	return of
}

func closeHost(t *testing.T, host *actors.Host) {
	if err := host.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// configure changes the agent.
func (s *turns) configure(change func(*events.AgentConfig)) {
	s.t.Helper()
	created, ok := s.events()[0].(events.AgentCreated)
	if !ok {
		s.t.Fatal("the agent was not created first")
	}
	change(&created.Config)
	s.do(sagas.Configure{Meta: s.meta(), Config: created.Config})
}

// callIDs are the ids of calls and of their results.
func (q *sentRequest) callIDs() (ids []string) {
	for _, m := range q.Messages {
		if m.CallID != "" {
			ids = append(ids, m.CallID)
		}
		for _, call := range m.ToolCalls {
			ids = append(ids, call.ID)
		}
	}
	return ids
}
