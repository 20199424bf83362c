package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/life/actors"
	"example.com/life/actors/history"
	"example.com/life/actors/projector"
	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// fake is a host that answers everything with one error, or with nothing.
type fake struct {
	api.Host // what a test must not ask
	err      error
	mu       sync.Mutex
	got      []any // commands, with their origins
}

func (f *fake) Do(_ context.Context, stream events.Stream, command sagas.Command, origin actors.Origin) (actors.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, command, origin)
	return actors.Receipt{Stream: stream}, f.err
}

func (f *fake) Agents(context.Context, projections.AgentFilter) ([]projections.AgentSummary, error) {
	return nil, f.err
}

func (f *fake) State(context.Context, events.AgentID, events.Revision) (history.AgentState, error) {
	return history.AgentState{}, f.err
}

func (f *fake) History(context.Context, events.Stream, events.Revision, storage.Direction, storage.Limit) (storage.Page, error) {
	return storage.Page{}, f.err
}

func (f *fake) Watch(context.Context, events.AgentID, events.Revision) (actors.Feed, error) {
	return endedFeed{storage.ErrClosed}, f.err
}

func (f *fake) Wallet(context.Context, events.WalletID) (sagas.Wallet, error) {
	return sagas.Wallet{}, f.err
}

func (f *fake) Projections(context.Context) ([]projector.Status, error) { return nil, f.err }

func (f *fake) Projection(context.Context, string) (projector.Status, error) {
	return projector.Status{}, f.err
}

func (f *fake) Rebuild(context.Context, []string, func(at, head events.Position)) (projector.Rebuilt, error) {
	return projector.Rebuilt{}, f.err
}

func (f *fake) Step(context.Context, string, events.Position, int) ([]projector.Step, error) {
	return nil, f.err
}

func (f *fake) Query(context.Context, projector.Question, func(int64)) (projector.Answer, error) {
	return projector.Answer{}, f.err
}

func (f *fake) Verify(context.Context, events.AgentID, func(int64, int64)) (history.VerifyReport, error) {
	return history.VerifyReport{}, f.err
}

// endedFeed is a feed that has ended.
type endedFeed struct{ err error }

func (f endedFeed) Next(context.Context) (actors.Item, error) { return actors.Item{}, f.err }
func (f endedFeed) Close() error                              { return nil }

// TestErrorsRoundTrip sends every error of the ports through server and client: what comes out has the same type and content.
func TestErrorsRoundTrip(t *testing.T) {
	secret := errors.New("open /var/secret: permission denied")
	for _, test := range []struct {
		err    error
		status int
		code   string
		again  string // Retry-After
		want   any    // a value to equal, or an error to match
	}{
		{&sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: "d"}, 400, "invalid", "", nil},
		{&sagas.RefusalError{Code: sagas.RefusedMissing, Detail: "d"}, 404, "not_found", "", nil},
		{&sagas.RefusalError{Code: sagas.RefusedExists, Detail: "d"}, 409, "exists", "", nil},
		{&sagas.RefusalError{Code: sagas.RefusedState, Detail: "d"}, 409, "conflict", "", nil},
		{&sagas.RefusalError{Code: sagas.RefusedMismatch, Detail: "d"}, 409, "not_the_same", "", nil},
		{&sagas.RefusalError{Code: sagas.RefusedQueue, Detail: "d"}, 429, "queue_full", "5", nil},
		{&sagas.RefusalError{Code: sagas.RefusedReuse, Detail: "d"}, 422, "id_reused", "", nil},
		{&history.UnreadableError{Err: errors.New("d")}, 409, "unreadable", "", nil},
		{&actors.OverloadedError{Stream: "agent-ada", Waiting: 9}, 429, "overloaded", "1", nil},
		{&actors.UnavailableError{Stream: "agent-ada", Reason: "it failed"}, 503, "unavailable", "1", nil},
		{&actors.FencedError{Stream: "agent-ada"}, 503, "fenced", "1", nil},
		{fmt.Errorf("read: %w", storage.ErrClosed), 503, "closed", "5", storage.ErrClosed},
		{fmt.Errorf("append: %w", storage.ErrFull), 507, "full", "", storage.ErrFull},
		{fmt.Errorf("append: %w: %w", storage.ErrReadOnly, storage.ErrFull), 507, "full", "", storage.ErrFull},
		{fmt.Errorf("append: %w", storage.ErrReadOnly), 507, "read_only", "", storage.ErrReadOnly},
		{fmt.Errorf("read: %w", storage.ErrCorrupt), 500, "corrupt", "", storage.ErrCorrupt},
		{fmt.Errorf("%w: no name", storage.ErrInvalidAppend), 400, "invalid_stream", "", storage.ErrInvalidAppend},
		{fmt.Errorf("wait: %w", context.DeadlineExceeded), 504, "timeout", "1", context.DeadlineExceeded},
		{secret, 500, "internal", "", nil},
	} {
		t.Run(test.code, func(t *testing.T) {
			log := &strings.Builder{}
			port := &fake{err: test.err}
			server := serve(t, port, func(c *api.Config) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
			raw := request(t, server, http.MethodPost, "/v1/agents/ada/cancel", "")
			raw.wantProblem(t, test.status, test.code, "")
			if again := raw.Header.Get("Retry-After"); again != test.again {
				t.Errorf("Retry-After %q, want %q", again, test.again)
			}
			if strings.Contains(raw.body, "secret") {
				t.Errorf("the answer shows internals: %s", raw.body)
			}
			if test.status == 500 != strings.Contains(log.String(), test.err.Error()) {
				t.Errorf("logged: %s", log)
			}
			client := newClient(t, api.ClientConfig{BaseURL: server.URL})
			for name, err := range everyCall(t, client) {
				var p *api.Problem
				switch target, ok := test.want.(error); {
				case ok:
					if !errors.Is(err, target) {
						t.Errorf("%s: got %v, want %v", name, err, target)
					}
				case test.err == secret: //nolint:errorlint // this very value
					if !errors.As(err, &p) || p.Status != 500 {
						t.Errorf("%s: got %#v", name, err)
					}
				default:
					same := cmp.Comparer(func(a, b *history.UnreadableError) bool { return a.Error() == b.Error() })
					if diff := cmp.Diff(test.err, err, same); diff != "" {
						t.Errorf("%s: %s", name, diff)
					}
				}
			}
		})
	}
}

// everyCall calls every method of the client and returns the errors. A missing stream is no error of History's.
func everyCall(t *testing.T, c *api.Client) map[string]error {
	t.Helper()
	ctx, failures := t.Context(), map[string]error{}
	_, failures["do"] = c.Do(ctx, "agent-ada", sagas.Cancel{Meta: meta("c")}, actors.Origin{})
	_, failures["agents"] = c.Agents(ctx, projections.AgentFilter{})
	_, failures["state"] = c.State(ctx, ada, 1)
	_, failures["watch"] = c.Watch(ctx, ada, 1)
	_, failures["wallet"] = c.Wallet(ctx, savings)
	_, failures["verify"] = c.Verify(ctx, "", nil)
	if _, err := c.History(ctx, "agent-ada", 1, storage.Forward, storage.Limit{}); err != nil {
		failures["history"] = err
	}
	return failures
}

// TestNotThisAPI: whatever stands between client and server may answer instead of it.
func TestNotThisAPI(t *testing.T) {
	for name, serve := range map[string]http.HandlerFunc{
		"a proxy's page": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<h1>bad gateway</h1>", http.StatusBadGateway)
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusFound)
		},
		"something else": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") },
		"half an answer": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"progress":{"checked":"1"}}`) },
		"a broken off reply": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "{")
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(serve)
			defer server.Close()
			c := newClient(t, api.ClientConfig{BaseURL: server.URL})
			if report, err := c.Verify(t.Context(), "", nil); err == nil {
				t.Errorf("verify: %v", report)
			}
			if state, err := c.State(t.Context(), ada, 1); err == nil && name != "half an answer" {
				t.Errorf("state: %v", state)
			}
		})
	}
	c := newClient(t, api.ClientConfig{BaseURL: "http://127.0.0.1:1"})
	if _, err := c.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "reach 127.0.0.1:1") {
		t.Errorf("nobody there: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Health(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
}

func TestConfigure(t *testing.T) {
	for name, config := range map[string]api.ClientConfig{
		"no URL":      {},
		"no scheme":   {BaseURL: "localhost:4777"},
		"no host":     {BaseURL: "http://"},
		"a bad URL":   {BaseURL: "http://[::1"},
		"a bad token": {BaseURL: "http://localhost", Token: "a b"},
		"a timeout":   {BaseURL: "http://localhost", HTTP: &http.Client{Timeout: 1}},
	} {
		if _, err := api.NewClient(config); err == nil {
			t.Errorf("client with %s: no error", name)
		}
	}
	port := &fake{}
	for name, config := range map[string]api.Config{
		"nothing":           {},
		"a negative size":   {Host: port, MaxBody: -1},
		"a slow heartbeat":  {Host: port, Heartbeat: 1 << 40},
		"a negative time":   {Host: port, SlowWrite: -1},
		"a malformed token": {Host: port, Token: "a\nb"},
	} {
		if _, err := api.New(config); err == nil {
			t.Errorf("server with %s: no error", name)
		}
	}
}
