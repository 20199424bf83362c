package providers_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/adapters/providers"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/adapters/providers/models"
	"example.com/life/events"
	"example.com/life/sagas"
)

const smallWindow = 8192

// smallEndpoint speaks chat completions, and refuses what does not fit its window, as strict endpoints do.
type smallEndpoint struct{ asked, refused, summaries atomic.Int64 }

func (s *smallEndpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var sent struct{ Messages []struct{ Content string } }
	if err = errors.Join(err, json.Unmarshal(body, &sent)); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	size, says := 0, "Noted."
	for _, m := range sent.Messages {
		size += len(m.Content)
	}
	s.asked.Add(1)
	if tokens := size / 4; tokens+smallWindow/4 > smallWindow {
		s.refused.Add(1)
		http.Error(w, fmt.Sprintf(`{"error":{"code":"context_length_exceeded","message":"maximum context length is %d tokens, you requested %d"}}`, smallWindow, tokens), http.StatusBadRequest)
		return
	}
	if strings.Contains(string(body), "memory of an agent") {
		s.summaries.Add(1)
		says = "Parts of a report came in."
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":%q}}],"usage":{"prompt_tokens":%d,"completion_tokens":3}}`, says, size/4)
}

// TestWindowOfTheTable: a conversation with a model whose window the table knows is compacted before the endpoint refuses it. What the configuration
// says of the endpoint counts more than the table, and what the agent's own configuration says counts more than both.
func TestWindowOfTheTable(t *testing.T) {
	for name, c := range map[string]struct {
		table   string
		narrow  map[string]int64
		context int64 // of the agent's limits
		refused bool  // by the endpoint
	}{
		"of the model":                    {table: "box/small: {window: 8192}"},
		"of all models of the endpoint":   {table: "box/*: {window: 8192}"},
		"of the endpoint's configuration": {table: "box/small: {window: 400000}", narrow: map[string]int64{"box": smallWindow}},
		"not known":                       {table: "box/other: {window: 8192}", refused: true},
		"larger in the agent's limits":    {table: "box/small: {window: 8192}", context: 60_000, refused: true},
		"too small to be true":            {table: "box/small: {window: 300}", refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			served := &smallEndpoint{}
			server := httptest.NewServer(served)
			defer server.Close()
			seen := talk(t, server.URL, c.table, c.narrow, c.context)
			compacted, failed, done := 0, 0, 0
			for _, event := range seen {
				switch e := event.(type) {
				case events.ConversationCompacted:
					compacted++
				case events.ModelFailed:
					if failed++; e.Class != events.ErrorContext || strings.Contains(e.Detail, "not asked") == c.refused {
						t.Error(e)
					}
				case events.TurnEnded:
					if e.Outcome == events.Done {
						done++
					}
				}
			}
			if refused := served.refused.Load(); (refused > 0) != c.refused || compacted == 0 || served.summaries.Load() == 0 || failed != 1 || done != 20 {
				t.Errorf("%d of %d requests were refused, %d failed, %d compactions, %d summaries, %d turns done", refused, served.asked.Load(), failed, compacted, served.summaries.Load(), done)
			}
		})
	}
}

// talk has an agent with the model box/small take in a long report in 20 messages, and returns what happened.
func talk(t *testing.T, address, table string, narrow map[string]int64, context int64) (seen []events.Event) {
	t.Helper()
	own := filepath.Join(t.TempDir(), "models.yaml")
	if err := os.WriteFile(own, []byte("models:\n  "+table+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	known, err := models.Load("", own)
	if err != nil {
		t.Fatal(err)
	}
	known.Narrow(narrow)
	set, err := providers.New(providers.Config{
		Endpoints: []providers.Endpoint{{Dialect: "chat", Config: endpoint.Config{Name: "box", BaseURL: address}}},
		Window:    func(model string) int64 { found, _ := known.Find(model); return found.Window },
	})
	if err != nil {
		t.Fatal(err)
	}
	host, err := actors.New(t.Context(), actors.Config{
		Journal: actorstest.NewMemory(), Blobs: actorstest.NewBlobs(), Models: set, OpeningCredit: events.Dollar, Masker: actorstest.Unmasked{},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if report, err := host.Verify(t.Context(), "", nil); err != nil || len(report.Failures) > 0 {
			t.Errorf("verify: %v %+v", err, report.Failures)
		}
		if err := host.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	do := func(command sagas.Command) {
		if _, err := host.Do(t.Context(), events.AgentStream("a"), command, actors.Origin{}); err != nil {
			t.Fatal(err)
		}
	}
	do(sagas.Create{Meta: sagas.Meta{ID: "create"}, Agent: "a", Config: events.AgentConfig{Model: "box/small", Limits: events.Limits{ContextTokens: context}}})
	feed, err := host.Watch(t.Context(), "a", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	for i := range 20 {
		do(sagas.Send{Meta: sagas.Meta{ID: events.CommandID(fmt.Sprint("part", i))}, Verb: events.Collect, Text: events.Text{Inline: fmt.Sprintf("Part %d. %s", i, strings.Repeat("the ship lay at anchor ", 120))}})
		for ended := false; !ended; {
			item, err := feed.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if item.Event == nil {
				continue
			}
			event, err := item.Event.Event()
			if err != nil {
				t.Fatal(err)
			}
			seen = append(seen, event)
			_, ended = event.(events.TurnEnded)
		}
	}
	return seen
}
