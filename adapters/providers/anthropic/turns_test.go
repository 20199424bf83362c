package anthropic

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

// Turns is an agent, named a, whose models are endpoints. Its tools read files and print 25,000 letters.
type Turns struct {
	Host *actors.Host

	t       *testing.T
	journal *actorstest.Memory
	config  actors.Config
	mu      sync.Mutex
	ran     []string
}

// Models are models by name.
type Models map[string]actors.Model

// Lookup implements actors.Config's Models.
func (m Models) Lookup(name string) (actors.Model, string, error) {
	model, ok := m[name]
	if !ok {
		return nil, "", fmt.Errorf("there is no model %s", name)
	}
	_, bare, _ := strings.Cut(name, "/")
	return model, bare, nil
}

// perToken prices every token at a micro-dollar.
type perToken struct{}

func (perToken) Cost(_ string, usage events.Usage) (cost events.Money, priced bool) {
	return events.Money(usage.Total()), true
}

// NewTurns creates the agent.
func NewTurns(t *testing.T, models Models, config events.AgentConfig) *Turns {
	t.Helper()
	s := &Turns{t: t, journal: actorstest.NewMemory()}
	files := map[string]string{"a.txt": "alpha", "b.txt": "beta"}
	s.config = actors.Config{
		Masker:  actorstest.Unmasked{},
		Journal: s.journal, Blobs: actorstest.NewBlobs(), OpeningCredit: 100 * events.Dollar, Prices: perToken{}, Models: models,
		Tools: []actors.Tool{
			s.tool("read_file", func(arguments map[string]any) string { return files[fmt.Sprint(arguments["path"])] }),
			s.tool("bash", func(map[string]any) string { return strings.Repeat("y", 25_000) }),
		},
	}
	s.start()
	t.Cleanup(func() { s.stop() })
	if config.Tools == nil {
		config.Tools = []events.ToolGrant{{Name: "read_file"}, {Name: "bash"}}
	}
	s.Do("a", sagas.Create{Meta: s.meta("a"), Agent: "a", Config: config})
	return s
}

func (s *Turns) start() {
	s.t.Helper()
	host, err := actors.New(s.t.Context(), s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Host = host
}

func (s *Turns) stop() {
	if err := s.Host.Close(context.Background()); err != nil {
		s.t.Error(err)
	}
}

// Restart ends the host and starts another one on the same history.
func (s *Turns) Restart() {
	s.t.Helper()
	s.stop()
	s.start()
}

func (s *Turns) tool(name string, does func(arguments map[string]any) string) actors.Tool {
	return actorstest.FakeTool{
		Describes: actors.ToolSpec{Name: name, Description: "does " + name, Schema: json.RawMessage(`{"type":"object"}`), Repeatable: true},
		Does: func(_ context.Context, use actors.ToolUse) (actors.ToolResult, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.ran = append(s.ran, name+" "+string(use.Arguments))
			var arguments map[string]any
			if err := json.Unmarshal(use.Arguments, &arguments); err != nil {
				return actors.ToolResult{}, err
			}
			return actors.ToolResult{Text: does(arguments)}, nil
		},
	}
}

// Ran are the calls that ran.
func (s *Turns) Ran() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.ran...)
}

func (s *Turns) meta(agent events.AgentID) sagas.Meta {
	return sagas.Meta{ID: events.CommandID(fmt.Sprintf("%s-%d", agent, len(s.Events(agent)))), At: storage.Now()}
}

// Do executes a command of an agent.
func (s *Turns) Do(agent events.AgentID, command sagas.Command) {
	s.t.Helper()
	if _, err := s.Host.Do(s.t.Context(), events.AgentStream(agent), command, actors.Origin{Actor: "test"}); err != nil {
		s.t.Fatal(err)
	}
}

// Say gives agent a a message, and waits until its turn has ended or paused.
func (s *Turns) Say(text string) events.Event { return s.SayTo("a", text) }

// SayTo gives an agent a message, and waits until its turn has ended or paused.
func (s *Turns) SayTo(agent events.AgentID, text string) events.Event {
	s.t.Helper()
	feed, err := s.Host.Watch(s.t.Context(), agent, events.Revision(len(s.Events(agent))-1))
	if err != nil {
		s.t.Fatal(err)
	}
	defer feed.Close()
	s.Do(agent, sagas.Send{Meta: s.meta(agent), Verb: events.Collect, Text: events.Text{Inline: text}})
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

// Done checks that a turn ended well.
func (s *Turns) Done(ended events.Event) {
	s.t.Helper()
	if e, ok := ended.(events.TurnEnded); !ok || e.Outcome != events.Done {
		s.t.Fatalf("the turn ended so: %s\n%s", ended, s.Story())
	}
}

// Configure changes agent a.
func (s *Turns) Configure(change func(*events.AgentConfig)) {
	s.t.Helper()
	created, ok := s.Events("a")[0].(events.AgentCreated)
	if !ok {
		s.t.Fatal("the agent was not created first")
	}
	change(&created.Config)
	s.Do("a", sagas.Configure{Meta: s.meta("a"), Config: created.Config})
}

// Events are those of an agent so far.
func (s *Turns) Events(agent events.AgentID) []events.Event {
	s.t.Helper()
	page, err := s.journal.Read(s.t.Context(), events.AgentStream(agent), 0, storage.Forward, storage.Limit{Events: 10_000})
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

// Story is all that happened to agent a.
func (s *Turns) Story() string {
	var lines []string
	for _, event := range s.Events("a") {
		lines = append(lines, event.String())
	}
	return strings.Join(lines, "\n")
}

// Of are agent a's events of one kind.
func Of[E events.Event](s *Turns) []E {
	var of []E
	for _, event := range s.Events("a") {
		if e, ok := event.(E); ok {
			of = append(of, e)
		}
	}
	return of
}
