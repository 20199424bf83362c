package providers

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/events"
)

var _ actors.Prices = (*Prices)(nil)

func TestPrices(t *testing.T) {
	path := write(t, t.TempDir(), "prices.yaml", `
models:
  openai/gpt-4o: {input: "$3", output: 20}
  local/*: {input: 0.000001, cached: 0, output: 0.000001}
  openai/gpt-4o-2024-08-06: {input: 9, output: 9}
`)
	table, err := LoadPrices(path)
	if err != nil {
		t.Fatal(err)
	}
	usage := func(input, cached, output int64) events.Usage {
		return events.Usage{Input: input, Cached: cached, Output: output}
	}
	for _, test := range []struct {
		model  string
		usage  events.Usage
		cost   events.Money
		priced bool
	}{
		{"openai/gpt-4o-mini", usage(1_000_000, 0, 0), 150_000, true},
		{"openai/gpt-4o-mini", usage(1_000_000, 1_000_000, 1_000_000), 675_000, true},
		{"gpt-4o-mini-2024-07-18", usage(1, 0, 0), 1, true}, // 0.15 micro-dollars, rounded up
		{"openai/gpt-4o-mini", usage(0, 0, 0), 0, true},
		{"openai/gpt-4o", usage(1000, 500, 1), 3020, true}, // from the file; cached as dear as input
		{"openai/gpt-4o-2024-08-06", usage(1000, 0, 0), 9000, true},
		{"openai/gpt-4o-2024-99-99", usage(1000, 0, 0), 0, false},
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
}

func TestPriceFileErrors(t *testing.T) {
	dir := t.TempDir()
	for content, says := range map[string]string{
		"":                                      "it is empty",
		"moedls":                                "line 1",
		"models: {gpt: {input: 1, output: 1}}":  "not provider/model",
		"models: {a/b: {input: 1}}":             "a/b: input and output are needed",
		"models: {a/b: {input: -1, output: 1}}": "amount",
		"models: {a/b: {input: 0.0000001, output: 1}}":                        "six decimals",
		"models: {a/b: {input: 1, output: 1, thinking: 1}}":                   "line 1: field thinking",
		"models:\n  a/b: {input: 1, output: 1}\n  a/b: {input: 2, output: 1}": "line 3",
		"# " + strings.Repeat("x", maxPrices):                                 "larger than",
	} {
		path := write(t, dir, "prices.yaml", content)
		if _, err := LoadPrices(path); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%.80q gives %v, want the path and %q", content, err, says)
		}
	}
	if _, err := LoadPrices(filepath.Join(dir, "none")); err == nil {
		t.Error("a missing file is no error")
	}
}

func FuzzPrices(f *testing.F) {
	f.Add(builtinPrices, "gpt-4o", int64(5), int64(1), int64(7))
	f.Add([]byte(`models: {a/*: {input: 9223372036854.775807, output: "$1"}}`), "a/b", int64(math.MaxInt64), int64(0), int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, source []byte, model string, input, cached, output int64) {
		table := &Prices{models: map[string]price{}}
		if table.add(source) != nil {
			return
		}
		usage := events.Usage{Input: input, Cached: cached, Output: output}
		if cost, priced := table.Cost(model, usage); cost < 0 || !priced && cost != 0 {
			t.Errorf("%s %+v costs %d (%v)", model, usage, cost, priced)
		}
	})
}
