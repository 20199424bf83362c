package groups

import (
	"encoding/json"
	"strings"
	"testing"

	"example.com/life/adapters/embedded/filter"
	"example.com/life/events"
)

// TestFilters: what is asked for is .NET's; what was stored by builds that took RE2's goes on.
func TestFilters(t *testing.T) {
	for _, rule := range []*Filter{nil, {Prefixes: []string{""}}, {Expression: `^(?!\$)`}, {Expression: `(a)\1`, ByKind: true}} {
		if _, err := readyFilter(rule); err != nil {
			t.Errorf("%+v: %v", rule, err)
		}
	}
	for _, rule := range []*Filter{{}, {Expression: "("}, {Expression: `(?P<n>a)`}, {Expression: strings.Repeat("a", filter.MaxExpression+1)}} {
		if _, err := readyFilter(rule); err == nil {
			t.Errorf("%+v is accepted", rule)
		}
	}
	// Of [[:alpha:]] .NET would make something else, without an error.
	raw := []byte(`{"stream":"$all","group":"g","historyBufferSize":2,"namedConsumerStrategy":"RoundRobin","filter":{"expression":"^(?P<n>[[:alpha:]])$"}}`)
	log := settingsLog{config: &Config{Spread: 1}}
	stored, err := log.parseEntry(raw, true)
	if err != nil {
		t.Fatal(err)
	}
	rewritten, err := json.Marshal(newStoredEntry(stored))
	if err == nil {
		stored, err = log.parseEntry(rewritten, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	older, err := readyFilter(stored.settings.Filter)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[events.Stream]bool{"a": true, ":": false, "ab": false} {
		if yes, err := older.Chooses(&events.Envelope{Stream: name}); yes != want || err != nil {
			t.Errorf("it chooses %s: %v, %v", name, yes, err)
		}
	}
}
