// Package models knows about language models what their endpoints do not tell with every reply: what they cost, how much they read and
// write, and what they can do. A [Table] is the built-in one (models.yaml) with others laid over it: what endpoints said when they were
// asked ([Listed]), prices read from a file of others ([ReadLiteLLM]), and a person's own file.
package models

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"math/bits"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.com/life/events"
)

//go:embed models.yaml
var builtin []byte

// Builtin is the origin of what the built-in table says.
const Builtin = "built in"

// Table says what is known of models. It implements actors.Prices. A model is named as "provider/model"; a bare name means OpenAI's.
type Table struct {
	models  map[string]Model
	windows map[string]int64 // of providers, as the configuration says
}

// Narrow says what the windows of providers' models hold, whatever is known of the models.
func (t *Table) Narrow(windows map[string]int64) { t.windows = windows }

// Model is what is known of one model. Zero values are unknown.
type Model struct {
	Price     *Price `json:"price,omitempty"`
	Window    int64  `json:"window,omitempty"`     // tokens of prompt and reply together
	MaxOutput int64  `json:"max_output,omitempty"` // tokens of a reply
	Thinking  *bool  `json:"thinking,omitempty"`
	Tools     *bool  `json:"tools,omitempty"`

	Editor events.Editor `json:"editor,omitempty"` // that it does best with
}

// Price is what a model costs, and where that is from.
type Price struct {
	AsOf   string `json:"as_of,omitempty"`
	Source string `json:"source,omitempty"`
	Origin string `json:"origin"` // Builtin, or the file
	Rate
	Tiers []Tier `json:"tiers,omitempty"` // by rising prompt
}

// Rate is in micro-dollars per million tokens.
type Rate struct {
	Input          events.Money `json:"input,string"`
	Cached         events.Money `json:"cached,string"`
	CacheWrite     events.Money `json:"cache_write,string"`
	CacheWriteLong events.Money `json:"cache_write_1h,string"`
	Output         events.Money `json:"output,string"`

	assumed struct{ cached, write, long bool } // not said
}

// Said are the prices of tokens read from the cache, written to it, and written for an hour, as far as they were said; what was assumed is
// negative.
func (r *Rate) Said() (cached, write, long events.Money) {
	cached, write, long = r.Cached, r.CacheWrite, r.CacheWriteLong
	if r.assumed.cached {
		cached = -1
	}
	if r.assumed.write {
		write = -1
	}
	if r.assumed.long {
		long = -1
	}
	return cached, write, long
}

func (r *Rate) free() bool {
	return max(r.Input, r.Cached, r.CacheWrite, r.CacheWriteLong, r.Output) == 0
}

// Tier is the rate of requests whose prompt has more tokens than Above: of the whole request.
type Tier struct {
	Above int64 `json:"above"`
	Rate
}

// The files in the data directory that life writes itself.
const (
	listedName = "models/listed.json" // by life models refresh
	pricesName = "models/prices.json" // by life prices update
)

// ListedPath is where what endpoints listed is kept.
func ListedPath(data string) string { return filepath.Join(data, listedName) }

// PricesPath is where prices that were read from others' files are kept.
func PricesPath(data string) string { return filepath.Join(data, pricesName) }

// Load returns the built-in table with what is kept in the data directory laid over it, and over that the person's file. Empty paths mean
// that there is none.
func Load(data, own string) (*Table, error) { return load(data, own, "", nil) }

// load is Load with a file in place of what is at the path that it will replace.
func load(data, own, replaced string, by *File) (*Table, error) {
	table := &Table{models: map[string]Model{}}
	file, err := parse(builtin)
	if err == nil {
		err = table.lay(file, Builtin)
	}
	if err != nil {
		return nil, fmt.Errorf("read the built-in table of models: %w", err)
	}
	if data != "" {
		for _, path := range []string{ListedPath(data), PricesPath(data)} {
			if path == replaced {
				err = table.lay(by, path)
			} else {
				err = table.layFile(path)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) { // of a data directory that is none the store speaks
				return nil, fmt.Errorf("%w; delete it, or write it again with life models refresh or life prices update", err)
			}
		}
	}
	if own != "" {
		if err := table.layFile(own); err != nil {
			return nil, fmt.Errorf("prices: %w", err)
		}
	}
	return table, nil
}

func (t *Table) layFile(path string) error {
	file, err := ReadFile(path)
	if err != nil {
		return err
	}
	return t.lay(file, path)
}

// lay lays a file over the table: what an entry says of prices is taken as a whole, everything else each by itself.
func (t *Table) lay(file *File, origin string) error {
	entries, err := file.entries()
	if err != nil {
		return err
	}
	for name, model := range entries {
		if model.Price != nil {
			model.Price.Origin = origin
		}
		t.models[name] = model.over(t.models[name])
	}
	return nil
}

// over is the model with what it does not say from another.
func (m Model) over(below Model) Model {
	if m.Price == nil {
		m.Price = below.Price
	}
	if m.Window == 0 {
		m.Window = below.Window
	}
	m.Editor = cmp.Or(m.Editor, below.Editor)
	if m.MaxOutput == 0 {
		m.MaxOutput = below.MaxOutput
	}
	if m.Thinking == nil {
		m.Thinking = below.Thinking
	}
	if m.Tools == nil {
		m.Tools = below.Tools
	}
	return m
}

// Find returns what is known of a model; false: nothing is. What is not said of the name itself, its undated name says, and then the
// entry for all of its provider's models.
func (t *Table) Find(name string) (Model, bool) {
	found, known := Model{}, false
	for _, name := range candidates(name) {
		if model, is := t.models[name]; is {
			found, known = found.over(model), true
		}
	}
	provider, _, _ := strings.Cut(name, "/")
	if window := t.windows[provider]; window > 0 {
		found.Window, known = window, true
	}
	return found, known
}

// candidates are the names under which a model may stand in the table, the most specific first.
func candidates(model string) []string {
	if !strings.Contains(model, "/") {
		model = "openai/" + model
	}
	provider, name, _ := strings.Cut(model, "/")
	providers := []string{provider}
	if provider == "openai-responses" { // the same models in another dialect
		providers = append(providers, "openai")
	}
	var names []string
	for _, provider := range providers {
		names = append(names, provider+"/"+name)
		if plain := undated(name); plain != name {
			names = append(names, provider+"/"+plain)
		}
	}
	for _, provider := range providers {
		names = append(names, provider+"/*")
	}
	return names
}

// undated takes a date such as -2024-08-06, -20251101 or @20251101, or the word -latest, off the end of a model's name.
func undated(model string) string {
	if plain, is := strings.CutSuffix(model, "-latest"); is && plain != "" {
		return plain
	}
	for _, date := range []string{"-2006-01-02", "-20060102", "@20060102"} {
		at := len(model) - len(date)
		if at <= 0 {
			continue
		}
		if _, err := time.Parse(date, model[at:]); err == nil {
			return model[:at]
		}
	}
	return model
}

// Names are those of all entries, sorted.
func (t *Table) Names() []string { return slices.Sorted(maps.Keys(t.models)) }

// Cost prices a usage, rounded up to the next micro-dollar; priced is false for a model whose price is unknown. Each token counts once:
// cached and written ones are part of the input, reasoning is part of the output. The length of the whole prompt chooses the tier, and
// the tier prices the whole request, as vendors do.
func (t *Table) Cost(model string, usage events.Usage) (cost events.Money, priced bool) {
	found, _ := t.Find(model)
	if found.Price == nil {
		return 0, false
	}
	return found.Price.cost(usage), true
}

// Editor is how agents of a model edit files: by text where nothing is known.
func (t *Table) Editor(model string) events.Editor {
	found, _ := t.Find(model)
	return cmp.Or(found.Editor, events.EditByText)
}

func (p *Price) cost(usage events.Usage) events.Money {
	input, output := max(usage.Input, 0), max(usage.Output, 0)
	rate := p.Rate
	for _, tier := range p.Tiers {
		if input > tier.Above {
			rate = tier.Rate
		}
	}
	fresh := input
	part := func(tokens int64) int64 { // no more than is left of the input
		tokens = min(max(tokens, 0), fresh)
		fresh -= tokens
		return tokens
	}
	cached, long, short := part(usage.Cached), part(usage.CacheWriteLong), part(usage.CacheWrite)
	var total amount
	total.add(fresh, rate.Input)
	total.add(cached, rate.Cached)
	total.add(short, rate.CacheWrite)
	total.add(long, rate.CacheWriteLong)
	total.add(output, rate.Output)
	return total.money()
}

// amount is a sum of tokens times micro-dollars per million, in 128 bits: neither factor is negative, and five products fit.
type amount struct{ high, low uint64 }

func (a *amount) add(tokens int64, rate events.Money) {
	high, low := bits.Mul64(uint64(tokens), uint64(rate)) //nolint:gosec // neither is negative
	var carry uint64
	a.low, carry = bits.Add64(a.low, low, 0)
	a.high += high + carry
}

// money is the amount in micro-dollars, rounded up; what is more than any money is the most there is.
func (a *amount) money() events.Money {
	const million = 1_000_000
	if a.high >= million {
		return math.MaxInt64
	}
	whole, rest := bits.Div64(a.high, a.low, million)
	if rest > 0 && whole < math.MaxInt64 {
		whole++
	}
	return events.Money(min(whole, math.MaxInt64)) //nolint:gosec // no more than fits
}

// maxDays is how old a price may be before it is said.
const maxDays = 90

// Free reports whether nothing is ever charged.
func (p *Price) Free() bool {
	return p.free() && !slices.ContainsFunc(p.Tiers, func(t Tier) bool { return !t.free() })
}

// Old reports how many days old a price is, if those are more than 90. A price without a date is not known to be old.
func (p *Price) Old(now time.Time) (days int, old bool) {
	date, known := p.date()
	if days = int(now.Sub(date) / (24 * time.Hour)); !known || p.Free() || days <= maxDays {
		return 0, false
	}
	return days, true
}
