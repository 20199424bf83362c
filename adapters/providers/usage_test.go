package providers

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/adapters/providers/models"
	"example.com/life/events"
)

// TestUsageCostsAlikeInEveryDialect: each dialect reports the same usage in its own words, and it costs the same, to the micro-dollar, as by hand. Prices are in dollars
// per million tokens, so a token costs that many micro-dollars.
func TestUsageCostsAlikeInEveryDialect(t *testing.T) {
	prices := filepath.Join(t.TempDir(), "prices.yaml")
	if err := os.WriteFile(prices, []byte(`
as_of: 2026-11
models:
  box/m:
    {input: 3, cached: 0.3, cache_write: 3.75, cache_write_1h: 6, output: 15,
     tiers: [{above: 200000, input: 6, cached: 0.6, cache_write: 7.5, cache_write_1h: 12, output: 22.5}]}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	table, err := models.Load(t.TempDir(), prices)
	if err != nil {
		t.Fatal(err)
	}
	replies := map[string]string{
		"chat":      `{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":%s}`,
		"responses": `{"object":"response","status":"completed","output":[{"type":"message","id":"m","status":"completed","content":[{"type":"output_text","text":"hi"}]}],"usage":%s}`,
		"anthropic": `{"type":"message","role":"assistant","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":%s}`,
	}
	for name, test := range map[string]struct {
		reported map[string]string
		want     events.Usage
		cost     events.Money
	}{
		"plain": {map[string]string{
			"chat":      `{"prompt_tokens":1000,"completion_tokens":200,"total_tokens":1200}`,
			"responses": `{"input_tokens":1000,"output_tokens":200,"total_tokens":1200}`,
			"anthropic": `{"input_tokens":1000,"output_tokens":200}`,
		}, events.Usage{Input: 1000, Output: 200}, 1000*3 + 200*15},
		"mostly from the cache": {map[string]string{
			"chat":      `{"prompt_tokens":10000,"completion_tokens":100,"total_tokens":10100,"prompt_tokens_details":{"cached_tokens":9000}}`,
			"responses": `{"input_tokens":10000,"output_tokens":100,"total_tokens":10100,"input_tokens_details":{"cached_tokens":9000}}`,
			"anthropic": `{"input_tokens":1000,"cache_read_input_tokens":9000,"output_tokens":100}`,
		}, events.Usage{Input: 10_000, Cached: 9000, Output: 100}, 1000*3 + 2700 + 100*15},
		"reasoning counts once": {map[string]string{
			"chat":      `{"prompt_tokens":1000,"completion_tokens":500,"total_tokens":1500,"completion_tokens_details":{"reasoning_tokens":400}}`,
			"responses": `{"input_tokens":1000,"output_tokens":500,"total_tokens":1500,"output_tokens_details":{"reasoning_tokens":400}}`,
			"anthropic": `{"input_tokens":1000,"output_tokens":500,"output_tokens_details":{"thinking_tokens":400}}`,
		}, events.Usage{Input: 1000, Output: 500, Reasoning: 400}, 1000*3 + 500*15},
		"reasoning beside the completion": {map[string]string{
			"chat":      `{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1500,"completion_tokens_details":{"reasoning_tokens":400}}`,
			"responses": `{"input_tokens":1000,"output_tokens":100,"total_tokens":1500,"output_tokens_details":{"reasoning_tokens":400}}`,
		}, events.Usage{Input: 1000, Output: 500, Reasoning: 400}, 1000*3 + 500*15},
		"written to the cache, for minutes and for an hour": {map[string]string{
			"responses": `{"input_tokens":7000,"output_tokens":10,"total_tokens":7010,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":6000,"cache_write_tokens_details":{"ttl_12h_tokens":4000}}}`,
			"anthropic": `{"input_tokens":1000,"cache_creation_input_tokens":6000,"cache_creation":{"ephemeral_5m_input_tokens":2000,"ephemeral_1h_input_tokens":4000},"output_tokens":10}`,
		}, events.Usage{Input: 7000, Output: 10, CacheWrite: 2000, CacheWriteLong: 4000}, 1000*3 + 7500 + 4000*6 + 10*15},
		"the tier of a long prompt, by all of it": {map[string]string{
			"chat":      `{"prompt_tokens":250000,"completion_tokens":1000,"total_tokens":251000,"prompt_tokens_details":{"cached_tokens":200000}}`,
			"responses": `{"input_tokens":250000,"output_tokens":1000,"total_tokens":251000,"input_tokens_details":{"cached_tokens":200000}}`,
			"anthropic": `{"input_tokens":50000,"cache_read_input_tokens":200000,"output_tokens":1000}`,
		}, events.Usage{Input: 250_000, Cached: 200_000, Output: 1000}, 50_000*6 + 120_000 + 22_500},
		"rounded up, once": {map[string]string{
			"chat":      `{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4,"prompt_tokens_details":{"cached_tokens":1}}`,
			"responses": `{"input_tokens":3,"output_tokens":1,"total_tokens":4,"input_tokens_details":{"cached_tokens":1}}`,
			"anthropic": `{"input_tokens":2,"cache_read_input_tokens":1,"output_tokens":1}`,
		}, events.Usage{Input: 3, Cached: 1, Output: 1}, 22}, // 6 + 0.3 + 15
	} {
		for dialect, usage := range test.reported {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprintf(w, replies[dialect], usage)
			}))
			d, err := dialectOf(dialect)
			if err != nil {
				t.Fatal(err)
			}
			model, err := d.open(endpoint.Config{Name: "box", BaseURL: server.URL, Client: server.Client()})
			if err != nil {
				t.Fatal(err)
			}
			question := actors.ModelRequest{Model: "m", Messages: actorstest.ModelQuestion("m").Messages[:1]}
			answer, err := model.Ask(t.Context(), question, nil)
			if err != nil || answer.Usage != test.want {
				t.Errorf("%s, %s: %+v, want %+v; %v", name, dialect, answer.Usage, test.want, err)
			}
			if cost, priced := table.Cost("box/m", answer.Usage); cost != test.cost || !priced {
				t.Errorf("%s, %s: costs %d, by hand %d", name, dialect, cost, test.cost)
			}
			server.Close()
		}
	}
}
