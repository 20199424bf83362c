package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/sagas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// models knows one model, which does what the last message says: "call" calls the tool, "wait" waits until it is cut off, and
// anything else is said back, in two pieces.
type models struct{}

func (models) Lookup(name string) (actors.Model, string, error) {
	if name != "fake/one" {
		return nil, "", fmt.Errorf("there is no model %q", name)
	}
	return actorstest.FakeModel(answer), "one", nil
}

func answer(ctx context.Context, q actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
	usage := events.Usage{Input: 10, Output: 5}
	last := q.Messages[len(q.Messages)-1]
	switch {
	case last.Role == sagas.RoleTool:
		return actors.ModelResponse{Text: "done", Stop: events.StopEnd, Usage: usage}, nil
	case last.Text.Inline == "call":
		return actors.ModelResponse{
			Calls: []events.ModelCall{{ID: "x", Tool: "echo", Arguments: json.RawMessage(`{"text":"<hello> & more"}`)}},
			Stop:  events.StopCalls, Usage: usage,
		}, nil
	case last.Text.Inline == "wait":
		delta(actors.Delta{Kind: events.BlockText, Text: "waiting"})
		<-ctx.Done()
		return actors.ModelResponse{}, ctx.Err()
	}
	delta(actors.Delta{Kind: events.BlockText, Text: "you said "})
	delta(actors.Delta{Kind: events.BlockText, Offset: 9, Text: last.Text.Inline})
	return actors.ModelResponse{Text: "you said " + last.Text.Inline, Stop: events.StopEnd, Usage: usage}, nil
}

func echo() actors.Tool {
	return actorstest.FakeTool{
		Describes: actors.ToolSpec{
			Name: "echo", Description: "says it back", Schema: json.RawMessage(`{"type":"object"}`), Risk: events.RiskLow, Repeatable: true,
		},
		Does: func(_ context.Context, use actors.ToolUse) (actors.ToolResult, error) {
			return actors.ToolResult{Text: string(use.Arguments)}, nil
		},
	}
}

// startHost runs a host until the test ends.
func startHost(t *testing.T) whole {
	t.Helper()
	memory := actorstest.NewMemory()
	host, err := actors.New(t.Context(), actors.Config{
		Masker:  actorstest.Unmasked{},
		Journal: memory, Snapshots: memory, Blobs: actorstest.NewBlobs(), Models: models{}, Tools: []actors.Tool{echo()},
		OpeningCredit: 100 * events.Dollar,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeHost(t, host) })
	return whole{host, &fakeBus{}}
}

func closeHost(t *testing.T, host *actors.Host) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := host.Close(ctx); err != nil {
		t.Error(err)
	}
}

// whole is a host with a bus that takes everything, and a store that nothing is wrong with.
type whole struct {
	*actors.Host
	*fakeBus
}

func (whole) CheckStore(context.Context, func(checked, total int64)) (api.StoreReport, error) {
	return api.StoreReport{}, nil
}

func (whole) AuditSecrets(context.Context, events.MaskingLevel, func(checked, total int64)) (api.SecretsReport, error) {
	return api.SecretsReport{Findings: []api.SecretFinding{{Stream: "agent-ada", Revision: 3, Field: "text", Rule: "github-pat", Count: 1}}}, nil
}

// serve serves a port until the test ends.
func serve(t *testing.T, host api.Host, change ...func(*api.Config)) *httptest.Server {
	t.Helper()
	config := api.Config{Host: host, Health: api.Health{Name: "life", Version: "test", PID: 7, Data: "somewhere"}}
	for _, c := range change {
		c(&config)
	}
	handler, err := api.New(config)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

func newClient(t *testing.T, config api.ClientConfig) *api.Client {
	t.Helper()
	client, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// asked is a request and what came of it.
type asked struct {
	*http.Response
	body string
}

// request sends a request as it is, with headers given as name, value, name, value.
func request(t *testing.T, server *httptest.Server, method, path, body string, headers ...string) asked {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if r.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	answer, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return asked{answer, string(content)}
}

// wantProblem holds an answer to a status and code, and to being a problem at all.
func (a asked) wantProblem(t *testing.T, status int, code, inDetail string) {
	t.Helper()
	var p api.Problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Errorf("status %d, no problem: %s", a.StatusCode, a.body)
		return
	}
	if a.StatusCode != status || p.Status != status || p.Code != code || !strings.Contains(p.Detail, inDetail) {
		t.Errorf("status %d, want %d; code %q, want %q; detail %q, want one with %q", a.StatusCode, status, p.Code, code, p.Detail, inDetail)
	}
	if media := a.Header.Get("Content-Type"); media != "application/problem+json" {
		t.Errorf("Content-Type %q", media)
	}
	if p.Type != "urn:life:problem:"+code || p.Title == "" {
		t.Errorf("type %q, title %q", p.Type, p.Title)
	}
}

func (a asked) want(t *testing.T, status int, into any) {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("status %d, want %d: %s", a.StatusCode, status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
}

// until reads a feed to the first event of a kind, and returns all events to it.
func until(t *testing.T, feed actors.Feed, kind events.Kind) []events.Envelope {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var seen []events.Envelope
	for {
		item, err := feed.Next(ctx)
		if err != nil {
			t.Fatalf("the feed ended after %d events: %v", len(seen), err)
		}
		if item.Event == nil {
			continue
		}
		if seen = append(seen, *item.Event); item.Event.Kind == kind {
			return seen
		}
	}
}

func watch(t *testing.T, agents api.Host, agent events.AgentID, after events.Revision) actors.Feed {
	t.Helper()
	feed, err := agents.Watch(t.Context(), agent, after)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = feed.Close() })
	return feed
}

func do(t *testing.T, agents api.Host, stream events.Stream, command sagas.Command) actors.Receipt {
	t.Helper()
	receipt, err := agents.Do(t.Context(), stream, command, actors.Origin{Actor: "test"})
	if err != nil {
		t.Fatalf("%T: %v", command, err)
	}
	return receipt
}

func meta(id string) sagas.Meta { return sagas.Meta{ID: events.CommandID(id), At: storage.Now()} }

func create(agent events.AgentID) sagas.Create {
	return sagas.Create{Meta: meta("create-" + string(agent)), Agent: agent, Config: events.AgentConfig{
		Model: "fake/one", Prompt: "be <brief> & kind", Tools: []events.ToolGrant{{Name: "echo"}}, Policy: events.Policy{Ask: []string{"echo"}},
		Limits: events.Limits{Tokens: 5000, Rounds: 9},
	}}
}

func say(id, text string) sagas.Send {
	return sagas.Send{Meta: meta(id), Verb: events.Collect, From: "ann", Text: events.Text{Inline: text}}
}
