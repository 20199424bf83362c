package models

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"example.com/life/events"
)

// Bounds of a file, so that no file takes much memory or time.
const (
	maxFile  = 16 << 20 // bytes
	maxName  = 200      // bytes of a model's name
	maxCount = 1 << 40  // tokens
	maxTiers = 16
	// MaxPrice is the highest price of a million tokens; more is a mistake of units.
	MaxPrice = 10_000 * events.Dollar
)

// File is a table as it is written down. What an entry does not say of its price's origin, the file says for all.
type File struct {
	AsOf   string           `yaml:"as_of,omitempty" json:"as_of,omitempty"`
	Source string           `yaml:"source,omitempty" json:"source,omitempty"`
	Models map[string]Entry `yaml:"models" json:"models"`
}

// Entry is what a file says of one model.
type Entry struct {
	AsOf   string `yaml:"as_of,omitempty" json:"as_of,omitempty"`
	Source string `yaml:"source,omitempty" json:"source,omitempty"`
	Rates  `yaml:",inline"`

	Tiers     []TierEntry   `yaml:"tiers,omitempty" json:"tiers,omitempty"`
	Window    int64         `yaml:"window,omitempty" json:"window,omitempty"`
	MaxOutput int64         `yaml:"max_output,omitempty" json:"max_output,omitempty"`
	Editor    events.Editor `yaml:"editor,omitempty" json:"editor,omitempty"`
	Thinking  *bool         `yaml:"thinking,omitempty" json:"thinking,omitempty"`
	Tools     *bool         `yaml:"tools,omitempty" json:"tools,omitempty"`
}

// TierEntry is what a file says of one tier.
type TierEntry struct {
	Above int64 `yaml:"above" json:"above"`
	Rates `yaml:",inline"`
}

// Rates are prices as a file writes them: dollars per million tokens, with at most six decimals.
type Rates struct {
	Input          Amount `yaml:"input,omitempty" json:"input,omitempty"`
	Cached         Amount `yaml:"cached,omitempty" json:"cached,omitempty"`
	CacheWrite     Amount `yaml:"cache_write,omitempty" json:"cache_write,omitempty"`
	CacheWriteLong Amount `yaml:"cache_write_1h,omitempty" json:"cache_write_1h,omitempty"`
	Output         Amount `yaml:"output,omitempty" json:"output,omitempty"`
}

// Amount is dollars in decimal digits.
type Amount string

// UnmarshalJSON implements json.Unmarshaler: a number or a text.
func (a *Amount) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		var text string
		err := json.Unmarshal(data, &text)
		*a = Amount(text)
		return err
	}
	*a = Amount(data)
	return nil
}

// ReadFile reads a file of the shape of the built-in table, in YAML or JSON. The former shape, of prices alone, is a part of it.
func ReadFile(path string) (*File, error) {
	source, err := readBounded(path, maxFile)
	if err != nil {
		return nil, err
	}
	file, err := parse(source)
	if err == nil {
		_, err = file.entries()
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return file, nil
}

func readBounded(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	source, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(source)) > most {
		return nil, fmt.Errorf("read %s: it is larger than %d bytes", path, most)
	}
	return source, nil
}

func parse(source []byte) (*File, error) {
	file := &File{}
	if trimmed := bytes.TrimSpace(source); len(trimmed) > 0 && trimmed[0] == '{' && json.Valid(trimmed) { // as life writes it: many times faster
		decoder := json.NewDecoder(bytes.NewReader(trimmed))
		decoder.DisallowUnknownFields()
		return file, decoder.Decode(file)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(source))
	decoder.KnownFields(true)
	if err := decoder.Decode(file); errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty")
	} else if err != nil {
		return nil, err
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("it holds more than one YAML document")
	}
	return file, nil
}

// entries checks all entries.
func (f *File) entries() (map[string]Model, error) {
	checked := make(map[string]Model, len(f.Models))
	for _, name := range slices.Sorted(maps.Keys(f.Models)) {
		entry := f.Models[name]
		if err := CheckName(name); err != nil {
			return nil, fmt.Errorf("models: %w", err)
		}
		if entry.AsOf == "" {
			entry.AsOf = f.AsOf
		}
		if entry.Source == "" {
			entry.Source = f.Source
		}
		model, err := entry.model()
		if err != nil {
			return nil, fmt.Errorf("models: %s: %w", name, err)
		}
		checked[name] = model
	}
	return checked, nil
}

// DateEntries gives each entry the date that the file says for all. So entries can be replaced, and the others keep their own.
func (f *File) DateEntries() {
	if f.Models == nil {
		f.Models = map[string]Entry{}
	}
	for name, entry := range f.Models {
		if entry.AsOf == "" {
			entry.AsOf = f.AsOf
			f.Models[name] = entry
		}
	}
	f.AsOf = ""
}

// ListedOn is the latest date of a provider's entries; empty when it has none.
func (f *File) ListedOn(provider string) string {
	latest := ""
	for name := range f.Models {
		if strings.HasPrefix(name, provider+"/") {
			latest = max(latest, f.Models[name].AsOf)
		}
	}
	return latest
}

// CheckName refuses what cannot be the name of a model.
func CheckName(name string) error {
	provider, model, found := strings.Cut(name, "/")
	switch {
	case !found || provider == "" || model == "":
		return fmt.Errorf("%q is not provider/model", events.Clip(name, 100))
	case len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\uFFFD' }):
		return fmt.Errorf("%q is no name of at most %d characters without spaces", events.Clip(name, 100), maxName)
	}
	return nil
}

func (e *Entry) model() (Model, error) {
	model := Model{Window: e.Window, MaxOutput: e.MaxOutput, Thinking: e.Thinking, Tools: e.Tools, Editor: e.Editor}
	switch e.Editor {
	case "", events.EditByAnchors, events.EditByText, events.EditByBoth:
	default:
		return model, fmt.Errorf("editor is %q, want hashline, str_replace or both", events.Clip(string(e.Editor), 40))
	}
	if min(e.Window, e.MaxOutput) < 0 || max(e.Window, e.MaxOutput) > maxCount {
		return model, fmt.Errorf("window and max_output must be between 0 and %d tokens", int64(maxCount))
	}
	if e.Rates == (Rates{}) && len(e.Tiers) == 0 {
		return model, nil // it says nothing of prices
	}
	rate, err := e.rate()
	if err != nil {
		return model, err
	}
	model.Price = &Price{AsOf: e.AsOf, Source: e.Source, Rate: rate}
	if _, known := model.Price.date(); e.AsOf != "" && !known {
		return model, fmt.Errorf("as_of is %q, which is not a date such as 2025-11-24 or 2025-11", events.Clip(e.AsOf, 40))
	}
	if len(e.Tiers) > maxTiers {
		return model, fmt.Errorf("it has %d tiers; at most %d are allowed", len(e.Tiers), maxTiers)
	}
	above := int64(0)
	for _, tier := range e.Tiers {
		if tier.Above <= above || tier.Above > maxCount {
			return model, errors.New("tiers: above must be a number of tokens that grows from tier to tier")
		}
		above = tier.Above
		rate, err := tier.rate()
		if err != nil {
			return model, fmt.Errorf("tier above %d: %w", above, err)
		}
		model.Price.Tiers = append(model.Price.Tiers, Tier{Above: above, Rate: rate})
	}
	return model, nil
}

func (r *Rates) rate() (Rate, error) {
	var rate Rate
	if r.Input == "" || r.Output == "" {
		return rate, errors.New("input and output are needed, in dollars per million tokens")
	}
	for _, part := range []struct {
		text Amount
		into *events.Money
	}{
		{r.Input, &rate.Input}, {r.Cached, &rate.Cached}, {r.CacheWrite, &rate.CacheWrite}, {r.CacheWriteLong, &rate.CacheWriteLong}, {r.Output, &rate.Output},
	} {
		if part.text == "" {
			continue
		}
		amount, err := events.ParseMoney(string(part.text))
		if err != nil {
			return rate, err
		}
		if amount > MaxPrice {
			return rate, fmt.Errorf("%s for a million tokens is more than %s: prices are in dollars per million tokens", amount, MaxPrice)
		}
		*part.into = amount
	}
	if r.Cached == "" {
		rate.Cached, rate.assumed.cached = rate.Input, true
	}
	if r.CacheWrite == "" {
		rate.CacheWrite, rate.assumed.write = (rate.Input*5+3)/4, true
	}
	if r.CacheWriteLong == "" {
		rate.CacheWriteLong, rate.assumed.long = rate.Input*2, true
	}
	return rate, nil
}

// WriteFile writes a file in place of the former one, whole or not at all.
func WriteFile(path string, file *File) error {
	text, err := json.MarshalIndent(file, "", " ")
	if err != nil {
		return err
	}
	if len(text) > maxFile {
		return fmt.Errorf("write %s: it would be larger than %d bytes, which is more than life reads", path, maxFile)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	whole, err := os.CreateTemp(dir, filepath.Base(path)+".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = whole.Write(append(text, '\n'))
	err = errors.Join(err, whole.Sync(), whole.Close())
	if err == nil {
		err = os.Rename(whole.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(whole.Name()))
	}
	return nil
}

// date reads when a price was read.
func (p *Price) date() (time.Time, bool) {
	for _, layout := range []string{time.DateOnly, "2006-01"} {
		if date, err := time.Parse(layout, p.AsOf); err == nil {
			return date, true
		}
	}
	return time.Time{}, false
}
