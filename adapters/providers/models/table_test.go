package models

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/life/actors"
	"example.com/life/events"
)

var _ actors.Prices = (*Table)(nil)

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load2(t *testing.T, data, own string) *Table {
	t.Helper()
	table, err := Load(data, own)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestCost: what a usage costs, over the built-in table and a file of the former shape of price files.
func TestCost(t *testing.T) {
	table := load2(t, t.TempDir(), write(t, "prices.yaml", `
as_of: "2026-10"
models:
  openai/gpt-4o: {input: "$3", output: 20}
  local/*: {input: 0.000001, cached: 0, output: 0.000001}
  openai/gpt-4o-2024-08-06: {input: 9, output: 9}
  openai/gpt-4o-mini: {window: 9000}
`))
	usage := func(input, cached, output int64) events.Usage {
		return events.Usage{Input: input, Cached: cached, Output: output}
	}
	for _, test := range []struct {
		model  string
		usage  events.Usage
		cost   events.Money
		priced bool
	}{
		{"openai/gpt-4o-mini", usage(1_000_000, 0, 0), 150_000, true}, // the file says nothing of its price
		{"openai/gpt-4o-mini", usage(1_000_000, 1_000_000, 1_000_000), 675_000, true},
		{"gpt-4o-mini-2024-07-18", usage(1, 0, 0), 1, true}, // 0.15 micro-dollars, rounded up
		{"openai/gpt-4o-mini", usage(0, 0, 0), 0, true},
		{"openai/gpt-4o", usage(1000, 500, 1), 3020, true}, // from the file; cached as dear as input
		{"openai/gpt-4o-2024-08-06", usage(1000, 0, 0), 9000, true},
		{"openai/gpt-4o-2024-99-99", usage(1000, 0, 0), 0, false},
		{"openai-responses/gpt-5-2025-08-07", usage(1000, 0, 0), 1250, true}, // the same model in another dialect
		{"anthropic/claude-opus-4-5-20251101", usage(1000, 0, 0), 5000, true},
		{"anthropic/claude-opus-4-5@20251101", usage(1000, 0, 0), 5000, true},
		{"anthropic/claude-3-5-haiku-latest", usage(1000, 0, 0), 800, true},
		{"anthropic/claude-opus-4-5-20259901", usage(1000, 0, 0), 0, false},
		{"anthropic/-20251101", usage(1000, 0, 0), 0, false},
		{"local/llama", usage(999_999, 0, 2), 2, true}, // one round, at the end
		{"scripted/tour", usage(5000, 0, 5000), 0, true},
		{"openai/unknown", usage(1000, 0, 0), 0, false},
		{"other/gpt-4o", usage(1000, 0, 0), 0, false},
		{"", usage(1000, 0, 0), 0, false},
		{"openai/gpt-5", usage(-5, -6, -7), 0, true},
		{"openai/gpt-5", usage(10, 99, 0), 2, true}, // no more cached than there was
		{"openai/gpt-5", usage(math.MaxInt64, 0, math.MaxInt64), math.MaxInt64, true},
	} {
		cost, priced := table.Cost(test.model, test.usage)
		if cost != test.cost || priced != test.priced {
			t.Errorf("%s %+v costs %d (%v), want %d (%v)", test.model, test.usage, cost, priced, test.cost, test.priced)
		}
	}
	if found, known := table.Find("openai/gpt-4o-mini-2024-07-18"); !known || found.Window != 9000 || found.MaxOutput != 16384 {
		t.Errorf("what the file does not say is gone, or what it says: %v %+v", known, found)
	}
}

// TestEntriesAreDated: each price that is built in names its time and its place, and none is older than it says.
func TestEntriesAreDated(t *testing.T) {
	table := load2(t, "", "")
	for _, name := range table.Names() {
		price := table.models[name].Price
		if price == nil {
			t.Errorf("%s has no price", name)
			continue
		}
		if price.Free() {
			continue
		}
		if _, known := price.date(); !known || !strings.HasPrefix(price.Source, "https://") || price.Origin != Builtin {
			t.Errorf("%s has as_of %q, source %q, origin %q", name, price.AsOf, price.Source, price.Origin)
		}
		if price.Cached > price.Input || price.CacheWrite < price.Input || price.CacheWriteLong < price.CacheWrite || price.Output < price.Input {
			t.Errorf("%s: a price of another kind stands where it does not belong: %+v", name, price.Rate)
		}
		if model := table.models[name]; model.Window < model.MaxOutput || model.MaxOutput == 0 || model.Tools == nil || model.Thinking == nil {
			t.Errorf("%s: %+v", name, model)
		}
	}
}

func TestOld(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		asOf string
		days int
		old  bool
	}{
		{"2026-11-30", 0, false}, {"2026-09-01", 0, false}, {"2026-08-31", 91, true}, {"2026-08", 121, true}, {"2026-09", 0, false}, {"", 0, false}, {"2027-01", 0, false},
	} {
		price := Price{AsOf: test.asOf, Rate: Rate{Input: 1}}
		if days, old := price.Old(now); days != test.days || old != test.old {
			t.Errorf("as of %q: %d days, %v", test.asOf, days, old)
		}
	}
	if _, old := (&Price{AsOf: "2020-01"}).Old(now); old {
		t.Error("what is free gets old")
	}
}

func TestFileErrors(t *testing.T) {
	for content, says := range map[string]string{
		"":                                      "it is empty",
		"moedls":                                "line 1",
		"models: {gpt: {input: 1, output: 1}}":  "not provider/model",
		"models: {a/b: {input: 1}}":             "a/b: input and output are needed",
		"models: {a/b: {input: -1, output: 1}}": "amount",
		"models: {a/b: {input: 0.0000001, output: 1}}":                                   "six decimals",
		"models: {a/b: {input: 1, output: 1, thinkin: 1}}":                               "line 1: field thinkin",
		"models:\n  a/b: {input: 1, output: 1}\n  a/b: {input: 2, output: 1}":            "line 3",
		"models: {a/b: {input: 10001, output: 1}}":                                       "dollars per million",
		"models: {a/b: {input: 1, output: 1, as_of: lately}}":                            "not a date",
		"models: {a/b: {window: -1}}":                                                    "window",
		"models: {a/b: {input: 1, output: 1, tiers: [{above: 5}]}}":                      "tier above 5: input and output",
		"models: {a/b: {input: 1, output: 1, tiers: [{above: 0, input: 1, output: 1}]}}": "grows",
		"models: {a/b: {tiers: [{above: 5, input: 1, output: 1}]}}":                      "input and output are needed",
		"models: {\"a/b c\": {window: 1}}":                                               "without spaces",
		`{"models": {"a/b": {"input": 1, "output": 1, "thinkin": 1}}}`:                   "thinkin",
		`{"models": {"a/b": {"input": {}, "output": 1}}}`:                                "amount",
		"# " + strings.Repeat("x", maxFile):                                              "larger than",
	} {
		path := write(t, "prices.yaml", content)
		if _, err := Load("", path); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%.80q gives %v, want the path and %q", content, err, says)
		}
	}
	if _, err := Load("", filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing file is no error")
	}
}

// TestLayers: what was listed lies under what was updated, and a person's own file over both; each says where it is from.
func TestLayers(t *testing.T) {
	data := t.TempDir()
	put := func(path string, models map[string]Entry) {
		t.Helper()
		if err := WriteFile(path, &File{AsOf: "2026-11-29", Models: models}); err != nil {
			t.Fatal(err)
		}
	}
	yes := true
	put(ListedPath(data), map[string]Entry{"groq/new": {Window: 8192, Tools: &yes}, "openai/gpt-5": {Window: 1}})
	put(PricesPath(data), map[string]Entry{"groq/new": {Rates: Rates{Input: "1", Output: "2"}}, "openai/gpt-5": {Rates: Rates{Input: "1", Output: "2"}, Window: 2}})
	own := write(t, "own.json", `{"models": {"openai/gpt-5": {"input": 7, "output": "8"}}}`)
	table := load2(t, data, own)
	if m, _ := table.Find("groq/new"); m.Window != 8192 || !*m.Tools || m.Price.Output != 2_000_000 || m.Price.Origin != PricesPath(data) || m.Price.AsOf != "2026-11-29" {
		t.Errorf("%+v %+v", m, m.Price)
	}
	if m, _ := table.Find("openai/gpt-5"); m.Window != 2 || m.Price.Input != 7_000_000 || m.Price.Cached != 7_000_000 || m.Price.Origin != own || m.Price.AsOf != "" {
		t.Errorf("%+v %+v", m, m.Price)
	}
	if err := os.WriteFile(PricesPath(data), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(data, ""); err == nil || !strings.Contains(err.Error(), "life prices update") {
		t.Errorf("a broken file of our own gives %v, want what to do", err)
	}
	if entries, err := os.ReadDir(filepath.Join(data, "models")); err != nil || len(entries) != 2 {
		t.Errorf("files are left over: %v %v", entries, err)
	}
}

func FuzzCost(f *testing.F) {
	f.Add(builtin, "gpt-4o", int64(5), int64(1), int64(7))
	f.Add([]byte(`models: {a/*: {input: 10000, output: "$1", tiers: [{above: 1, input: 1, output: 2}]}}`), "a/b", int64(math.MaxInt64), int64(0), int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, source []byte, model string, input, cached, output int64) {
		table := &Table{models: map[string]Model{}}
		file, err := parse(source)
		if err != nil || table.lay(file, "") != nil {
			return
		}
		usage := events.Usage{Input: input, Cached: cached, Output: output}
		if cost, priced := table.Cost(model, usage); cost < 0 || !priced && cost != 0 {
			t.Errorf("%s %+v costs %d (%v)", model, usage, cost, priced)
		}
	})
}

// TestCostsByHand: conversations whose cost was worked out on paper, to the micro-dollar.
func TestCostsByHand(t *testing.T) {
	table := load2(t, "", "")
	for name, test := range map[string]struct {
		model  string
		rounds []events.Usage
		cost   events.Money // of all rounds
	}{
		// Sonnet 4.5: 3, 0.30 from the cache, 3.75 and 6 into it, 15.
		"cached": {"anthropic/claude-sonnet-4-5-20250929", []events.Usage{
			// 8,200 = 200 fresh + 6,000 written + 2,000 for an hour; 300 said: 600 + 22,500 + 12,000 + 4,500 = 39,600
			{Input: 8_200, CacheWrite: 6_000, CacheWriteLong: 2_000, Output: 300},
			// 8,533 = 33 fresh + 8,000 read + 500 written; 101 said: 99 + 2,400 + 1,875 + 1,515 = 5,889
			{Input: 8_533, Cached: 8_000, CacheWrite: 500, Output: 101},
			// 8,635 = 135 fresh + 8,500 read; 7 said: 405 + 2,550 + 105 = 3,060
			{Input: 8_635, Cached: 8_500, Output: 7},
		}, 39_600 + 5_889 + 3_060},
		// GPT-5: 1.25, 0.125 from the cache, 10.
		"reasoning": {"openai-responses/gpt-5-2025-08-07", []events.Usage{
			// 1,001 fresh; 1,523 said, 1,400 of them thought: 1,251.25 + 15,230 = 16,481.25, rounded up
			{Input: 1_001, Output: 1_523, Reasoning: 1_400},
			// 2,600 = 1,320 fresh + 1,280 read; 64 said, all of them thought: 1,650 + 160 + 640 = 2,450
			{Input: 2_600, Cached: 1_280, Output: 64, Reasoning: 64},
		}, 16_482 + 2_450},
		// Sonnet 4.5, above 200,000 tokens of prompt: 6, 0.60, 7.50, 12, 22.50 for the whole request.
		"tiered": {"anthropic/claude-sonnet-4-5", []events.Usage{
			// exactly 200,000 is not above: 600,000 + 1,000*15 = 615,000
			{Input: 200_000, Output: 1_000},
			// one more, most of it read: 1 fresh, 200,000 read: 6 + 120,000 + 22,500 = 142,506
			{Input: 200_001, Cached: 200_000, Output: 1_000},
			// 250,000 = 10,000 fresh + 190,000 read + 40,000 written + 10,000 for an hour; 333 said:
			// 60,000 + 114,000 + 300,000 + 120,000 + 7,492.5 = 601,492.5, rounded up
			{Input: 250_000, Cached: 190_000, CacheWrite: 40_000, CacheWriteLong: 10_000, Output: 333},
		}, 615_000 + 142_506 + 601_493},
	} {
		sum := events.Money(0)
		for _, usage := range test.rounds {
			cost, priced := table.Cost(test.model, usage)
			if !priced {
				t.Fatalf("%s is not priced", test.model)
			}
			sum += cost
		}
		if sum != test.cost {
			t.Errorf("%s costs %d, by hand %d", name, sum, test.cost)
		}
	}
}

// TestCostLies: parts that are more than the whole, negative or huge, never make a reply cheaper than nothing or dearer than its dearest
// tokens.
func TestCostLies(t *testing.T) {
	table := load2(t, "", "")
	odd := []int64{math.MinInt64, -1, 0, 1, 999, 250_000, math.MaxInt64}
	for _, input := range odd {
		for _, cached := range odd {
			for _, written := range odd {
				for _, long := range odd {
					usage := events.Usage{Input: input, Cached: cached, CacheWrite: written, CacheWriteLong: long, Output: -5, Reasoning: math.MaxInt64}
					cost, _ := table.Cost("anthropic/claude-sonnet-4-5", usage)
					most := events.Money(math.MaxInt64)
					if input < math.MaxInt64/12 {
						most = events.Money(max(input, 0)) * 12
					}
					if cost < 0 || cost > most {
						t.Fatalf("%+v costs %d, at most %d", usage, cost, most)
					}
				}
			}
		}
	}
}
