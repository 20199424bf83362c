package groups

import (
	"strings"
	"testing"

	"example.com/life/adapters/embedded/filter"
	"example.com/life/events"
)

// TestFilters: what is asked for is .NET's; what was stored by builds that took RE2's goes on.
func TestFilters(t *testing.T) {
	for _, rule := range []*Filter{nil, {Prefixes: []string{""}}, {Expression: `^(?!\$)`}, {Expression: `(a)\1`, ByKind: true}} {
		if _, err := readyFilter(rule, filter.New); err != nil {
			t.Errorf("%+v: %v", rule, err)
		}
	}
	for _, rule := range []*Filter{{}, {Expression: "("}, {Expression: `(?P<n>a)`}, {Expression: strings.Repeat("a", filter.MaxExpression+1)}} {
		if _, err := readyFilter(rule, filter.New); err == nil {
			t.Errorf("%+v is accepted", rule)
		}
	}
	older, err := readyFilter(&Filter{Expression: `^(?P<n>a)`}, filter.Stored)
	if err != nil {
		t.Fatal(err)
	}
	if yes, err := older.Chooses(&events.Envelope{Stream: "ab"}); !yes || err != nil {
		t.Errorf("it does not choose: %v", err)
	}
}
