package models

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"example.com/life/events"
)

// maxLiteLLM bounds the file of others, in bytes. It has about two megabytes.
const maxLiteLLM = 64 << 20

// Refusal is an entry that makes no sense, and why.
type Refusal struct {
	Model string `json:"model"`
	Why   string `json:"why"`
}

// Read is what was read of a file of others.
type Read struct {
	File    *File
	Refused []Refusal // entries that make no sense
	Skipped int       // entries of models that reply in other ways than by text, or that have no price for tokens
}

// ReadLiteLLM reads a copy of LiteLLM's model_prices_and_context_window.json. The file has no date: asOf is when it was fetched, empty
// meaning that it was when it was last changed. Keys that are not known are skipped.
func ReadLiteLLM(path, asOf string) (*Read, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: it is not a file", path)
	}
	source, err := readBounded(path, maxLiteLLM)
	if err != nil {
		return nil, err
	}
	if asOf == "" {
		asOf = info.ModTime().UTC().Format("2006-01-02")
	}
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(bytes.TrimPrefix(source, []byte("\uFEFF")), &entries); err != nil {
		return nil, fmt.Errorf("read %s: it is not a JSON object with an entry for each model, as LiteLLM's model_prices_and_context_window.json is: %w", path, err)
	}
	read := &Read{File: &File{AsOf: asOf, Source: "LiteLLM, model_prices_and_context_window.json", Models: map[string]Entry{}}}
	delete(entries, "sample_spec") // which explains the others
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		read.take(name, entries[name])
	}
	if len(read.File.Models) == 0 {
		return nil, fmt.Errorf("read %s: none of its %d entries has prices that make sense: is it LiteLLM's model_prices_and_context_window.json?%s",
			path, len(entries), firstOf(read.Refused))
	}
	return read, nil
}

func firstOf(refused []Refusal) string {
	if len(refused) == 0 {
		return ""
	}
	return fmt.Sprintf(" The first that does not: %s: %s", refused[0].Model, refused[0].Why)
}

func (r *Read) take(name string, raw json.RawMessage) {
	name = strings.ToValidUTF8(name, "\uFFFD")
	refuse := func(err error) {
		r.Refused = append(r.Refused, Refusal{events.Clip(name, 100), err.Error()})
	}
	var theirs liteLLM
	if err := json.Unmarshal(raw, &theirs.fields); err != nil {
		refuse(errors.New("it is not a JSON object"))
		return
	}
	mode, _ := theirs.text("mode")
	switch mode {
	case "", "chat", "completion", "responses":
	default:
		r.Skipped++
		return
	}
	if !theirs.priced() {
		r.Skipped++
		return
	}
	provider, _ := theirs.text("litellm_provider")
	if provider != "" && !strings.HasPrefix(name, provider+"/") {
		name = provider + "/" + name
	}
	entry, err := theirs.entry()
	if err == nil {
		err = CheckName(name)
	}
	if err == nil {
		_, err = entry.model()
	}
	if err != nil {
		refuse(err)
		return
	}
	r.File.Models[name] = entry
}

// liteLLM is one entry of theirs.
type liteLLM struct{ fields map[string]json.RawMessage }

func (l *liteLLM) text(key string) (text string, is bool) {
	return text, json.Unmarshal(l.fields[key], &text) == nil
}

func (l *liteLLM) has(key string) bool {
	raw, is := l.fields[key]
	return is && string(raw) != "null"
}

func (l *liteLLM) priced() bool {
	return l.has("input_cost_per_token") || l.has("output_cost_per_token") || l.has("tiered_pricing")
}

func (l *liteLLM) entry() (Entry, error) {
	var entry Entry
	tiers, err := l.tiers()
	if err != nil {
		return entry, err
	}
	if entry.Rates, err = l.rates(""); err != nil {
		return entry, err
	}
	if len(tiers) > 0 && tiers[0].Above == 0 {
		if entry.Input == "" { // all prices stand in its tiers
			entry.Rates = tiers[0].Rates
		}
		tiers = tiers[1:]
	}
	entry.Tiers = tiers
	// Their limit of the prompt is at most the window.
	for key, into := range map[string]*int64{"max_input_tokens": &entry.Window, "max_output_tokens": &entry.MaxOutput} {
		if *into, err = l.tokens(key); err != nil {
			return entry, err
		}
	}
	for key, into := range map[string]**bool{"supports_reasoning": &entry.Thinking, "supports_function_calling": &entry.Tools} {
		var can bool
		if json.Unmarshal(l.fields[key], &can) == nil && l.has(key) {
			*into = &can
		}
	}
	if source, is := l.text("source"); is && strings.HasPrefix(source, "https://") {
		entry.Source = events.Clip(source, maxName)
	}
	return entry, nil
}

// rates are the prices whose keys end with that: nothing, or a tier's.
func (l *liteLLM) rates(end string) (Rates, error) {
	var rates Rates
	for _, part := range []struct {
		keys []string
		into *Amount
	}{
		{[]string{"input_cost_per_token" + end}, &rates.Input},
		{[]string{"output_cost_per_token" + end}, &rates.Output},
		{[]string{"cache_read_input_token_cost" + end}, &rates.Cached},
		{[]string{"cache_creation_input_token_cost" + end}, &rates.CacheWrite},
		{[]string{"cache_creation_input_token_cost_above_1hr" + end}, &rates.CacheWriteLong},
	} {
		for _, key := range part.keys {
			if !l.has(key) {
				continue
			}
			amount, err := perMillion(l.fields[key])
			if err != nil {
				return rates, fmt.Errorf("%s: %w", key, err)
			}
			*part.into = amount
		}
	}
	return rates, nil
}

var aboveKey = regexp.MustCompile(`^(?:input|output)_cost_per_token(_above_(\d{1,6})k_tokens)$`)

// tiers finds the prices of long prompts, in both ways in which they are written.
func (l *liteLLM) tiers() ([]TierEntry, error) {
	ends := map[int64]string{}
	for key := range l.fields {
		if found := aboveKey.FindStringSubmatch(key); found != nil && l.has(key) {
			thousands, err := strconv.ParseInt(found[2], 10, 64)
			if err != nil {
				return nil, err
			}
			ends[thousands*1000] = found[1]
		}
	}
	var tiers []TierEntry
	for _, above := range slices.Sorted(maps.Keys(ends)) {
		rates, err := l.rates(ends[above])
		if err != nil {
			return nil, err
		}
		tiers = append(tiers, TierEntry{Above: above, Rates: rates})
	}
	if !l.has("tiered_pricing") {
		return tiers, l.fill(tiers)
	}
	var listed []map[string]json.RawMessage
	if err := json.Unmarshal(l.fields["tiered_pricing"], &listed); err != nil || len(listed) > maxTiers {
		return nil, errors.New("tiered_pricing is not a short list of objects")
	}
	for _, fields := range listed {
		tier := liteLLM{fields}
		var reach []json.Number
		if err := json.Unmarshal(fields["range"], &reach); err != nil || len(reach) != 2 {
			continue // by results or by the search, which are not tokens
		}
		above, err := wholeNumber(reach[0].String())
		if err != nil {
			return nil, fmt.Errorf("tiered_pricing: range: %w", err)
		}
		rates, err := tier.rates("")
		if err != nil {
			return nil, fmt.Errorf("tiered_pricing: %w", err)
		}
		tiers = append(tiers, TierEntry{Above: above, Rates: rates})
	}
	return tiers, nil
}

// fill gives tiers what their entry says and they do not: a price that does not change with the prompt's length.
func (l *liteLLM) fill(tiers []TierEntry) error {
	base, err := l.rates("")
	if err != nil {
		return err
	}
	for i := range tiers {
		if tiers[i].Input == "" {
			tiers[i].Input = base.Input
		}
		if tiers[i].Output == "" {
			tiers[i].Output = base.Output
		}
	}
	return nil
}

// tokens reads a number of tokens; what is not said, or is said in words, is unknown.
func (l *liteLLM) tokens(key string) (int64, error) {
	if !l.has(key) {
		return 0, nil
	}
	text := strings.Trim(string(l.fields[key]), `"`)
	count, err := wholeNumber(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", key, err)
	}
	return count, nil
}

func wholeNumber(text string) (int64, error) {
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || value < 0 || value > maxCount || value != math.Trunc(value) {
		return 0, fmt.Errorf("%q is not a number of tokens", events.Clip(text, 40))
	}
	return int64(value), nil
}

// perMillion turns dollars per token, a number such as 1.5e-07, into dollars per million tokens, to the micro-dollar.
func perMillion(raw json.RawMessage) (Amount, error) {
	text := strings.Trim(string(raw), `" `)
	value, err := strconv.ParseFloat(text, 64)
	micros := math.Round(value * 1e12)
	switch {
	case err != nil, math.IsNaN(value), value < 0:
		return "", fmt.Errorf("%q is not a price", events.Clip(text, 40))
	case micros > float64(MaxPrice):
		return "", fmt.Errorf("%s dollars per token is more than any model costs", events.Clip(text, 40))
	case micros == 0 && value > 0:
		micros = 1
	}
	return Amount(decimal(events.Money(micros))), nil
}

// decimal writes money as dollars, without the zeros at its end.
func decimal(m events.Money) string {
	text := fmt.Sprintf("%d.%06d", m/events.Dollar, m%events.Dollar)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}
