package models

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A file of the shape of LiteLLM's, in our own words: names, numbers and nonsense are made up, but for the keys.
const theirs = `{
  "sample_spec": {"max_tokens": "how many tokens, or nothing", "input_cost_per_token": 0.0, "mode": "one of chat, embedding"},
  "gpt-9": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05,
    "cache_read_input_token_cost": 1.25e-07, "max_input_tokens": 272000, "max_output_tokens": 128000, "max_tokens": 128000,
    "supports_reasoning": true, "supports_function_calling": true, "supports_vision": true, "search_context_cost_per_query": {"low": 0.01},
    "source": "https://vendor.example/prices"},
  "claude-9-20260101": {"litellm_provider": "anthropic", "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05,
    "cache_read_input_token_cost": 3e-07, "cache_creation_input_token_cost": 3.75e-06, "cache_creation_input_token_cost_above_1hr": 6e-06,
    "input_cost_per_token_above_200k_tokens": 6e-06, "output_cost_per_token_above_200k_tokens": 2.25e-05,
    "cache_read_input_token_cost_above_200k_tokens": 6e-07, "cache_creation_input_token_cost_above_200k_tokens": 7.5e-06,
    "mode": "chat", "max_input_tokens": 2e5, "max_output_tokens": "64000"},
  "groq/llama-9": {"litellm_provider": "groq", "mode": "chat", "input_cost_per_token": "5.1e-08", "output_cost_per_token": 0.00000008},
  "steps/qwen-9": {"litellm_provider": "steps", "mode": "chat", "tiered_pricing": [
    {"range": [0, 32000], "input_cost_per_token": 1e-06, "output_cost_per_token": 5e-06},
    {"range": [32000, 128000], "input_cost_per_token": 1.8e-06, "output_cost_per_token": 9e-06}]},
  "onetier": {"litellm_provider": "p", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06, "input_cost_per_token_above_128k_tokens": 2e-06},
  "gratis/local": {"litellm_provider": "gratis", "input_cost_per_token": 0, "output_cost_per_token": 0.0},
  "pictures": {"litellm_provider": "p", "mode": "image_generation", "output_cost_per_image": 0.04},
  "words-to-numbers": {"litellm_provider": "p", "mode": "embedding", "input_cost_per_token": 1e-07},
  "by-the-hour": {"litellm_provider": "p", "mode": "chat", "input_cost_per_second": 0.01},
  "negative": {"litellm_provider": "p", "input_cost_per_token": -1e-06, "output_cost_per_token": 1e-06},
  "per-million": {"litellm_provider": "p", "input_cost_per_token": 3.0, "output_cost_per_token": 15.0},
  "words": {"litellm_provider": "p", "input_cost_per_token": "cheap", "output_cost_per_token": 1e-06},
  "half": {"litellm_provider": "p", "input_cost_per_token": 1e-06},
  "endless": {"litellm_provider": "p", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06, "max_input_tokens": 1e300},
  "a list": {"litellm_provider": "p", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06},
  "no object": 5
}`

func TestReadLiteLLM(t *testing.T) {
	path := write(t, "theirs.json", theirs)
	read, err := ReadLiteLLM(path, "2026-11-29")
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	want := map[string]Entry{
		"openai/gpt-9": {
			Source: "https://vendor.example/prices", Rates: Rates{Input: "1.25", Cached: "0.125", Output: "10"},
			Window: 272000, MaxOutput: 128000, Thinking: &yes, Tools: &yes,
		},
		"anthropic/claude-9-20260101": {
			Rates:  Rates{Input: "3", Cached: "0.3", CacheWrite: "3.75", CacheWriteLong: "6", Output: "15"},
			Tiers:  []TierEntry{{Above: 200000, Rates: Rates{Input: "6", Cached: "0.6", CacheWrite: "7.5", Output: "22.5"}}},
			Window: 200000, MaxOutput: 64000,
		},
		"groq/llama-9": {Rates: Rates{Input: "0.051", Output: "0.08"}},
		"steps/qwen-9": {Rates: Rates{Input: "1", Output: "5"}, Tiers: []TierEntry{{Above: 32000, Rates: Rates{Input: "1.8", Output: "9"}}}},
		"p/onetier":    {Rates: Rates{Input: "1", Output: "2"}, Tiers: []TierEntry{{Above: 128000, Rates: Rates{Input: "2", Output: "2"}}}},
		"gratis/local": {Rates: Rates{Input: "0", Output: "0"}},
	}
	if diff := cmp.Diff(want, read.File.Models); diff != "" {
		t.Errorf("(- want, + read)\n%s", diff)
	}
	var refused []string
	for _, r := range read.Refused {
		refused = append(refused, r.Model)
		if r.Why == "" {
			t.Errorf("%s is refused without a reason", r.Model)
		}
	}
	if got := strings.Join(refused, ", "); got != "p/a list, p/endless, p/half, p/negative, no object, p/per-million, p/words" || read.Skipped != 3 {
		t.Errorf("refused: %s; skipped %d", got, read.Skipped)
	}
	// What was read is what is written and read again.
	data := t.TempDir()
	if err := WriteFile(PricesPath(data), read.File); err != nil {
		t.Fatal(err)
	}
	table := load2(t, data, "")
	m, _ := table.Find("anthropic/claude-9")
	if m.Price != nil {
		t.Error("an undated name has the price of a dated one")
	}
	m, _ = table.Find("anthropic/claude-9-20260101")
	if m.Price.AsOf != "2026-11-29" || m.Price.Tiers[0].CacheWriteLong != 12_000_000 {
		t.Errorf("%+v", m.Price)
	}
}

// TestLiteLLMDate: a file has no date of its own; when it was changed is when it was fetched.
func TestLiteLLMDate(t *testing.T) {
	path := write(t, "theirs.json", theirs)
	if err := os.Chtimes(path, time.Time{}, time.Date(2026, 5, 4, 23, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	read, err := ReadLiteLLM(path, "")
	if err != nil || read.File.AsOf != "2026-05-04" {
		t.Errorf("%v %+v", err, read)
	}
}

func TestLiteLLMErrors(t *testing.T) {
	for content, says := range map[string]string{
		"":                "not a JSON object",
		"[]":              "not a JSON object",
		"<html>":          "not a JSON object",
		"{}":              "none of its 0 entries",
		`{"x": {"y": 1}}`: "none of its 1 entries",
		`{"a/b": {"input_cost_per_token": 1, "output_cost_per_token": 1}}`: "more than any model costs",
	} {
		path := write(t, "theirs.json", content)
		if _, err := ReadLiteLLM(path, ""); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q gives %v, want the path and %q", content, err, says)
		}
	}
	if _, err := ReadLiteLLM(t.TempDir(), ""); err == nil {
		t.Error("a directory is no error")
	}
}

func TestChanges(t *testing.T) {
	data := t.TempDir()
	before := load2(t, data, "")
	file := &File{AsOf: "2026-11-29", Models: map[string]Entry{
		"openai/gpt-5":  {Rates: Rates{Input: "1.25", Cached: "0.125", Output: "10"}}, // as it was
		"openai/gpt-4o": {Rates: Rates{Input: "2", Output: "10"}},
		"openai/new":    {Rates: Rates{Input: "2", Output: "10"}},
		"openai/mine":   {Rates: Rates{Input: "2", Output: "10"}},
	}}
	own := write(t, "own.yaml", "models: {openai/mine: {input: 1, output: 1}}")
	after, hidden, err := With(data, own, PricesPath(data), file)
	if err != nil {
		t.Fatal(err)
	}
	var changed []string
	for _, c := range Changes(before, after) {
		changed = append(changed, c.Model)
	}
	if got := strings.Join(changed, " "); got != "openai/gpt-4o openai/mine openai/new" {
		t.Errorf("changed: %s", got)
	}
	if strings.Join(hidden, " ") != "openai/mine" {
		t.Errorf("hidden: %v", hidden)
	}
}

func FuzzLiteLLM(f *testing.F) {
	f.Add([]byte(theirs))
	f.Fuzz(func(t *testing.T, source []byte) {
		path := write(t, "f.json", string(source))
		read, err := ReadLiteLLM(path, "2026-01-01")
		if err != nil {
			return
		}
		if _, err := read.File.entries(); err != nil {
			t.Errorf("what was read cannot be used: %v", err)
		}
	})
}
