// Package filter chooses events of $all as EventStoreDB 24.10 does: by the beginning of their stream's name or of their type, or by a .NET
// regular expression. Reads, subscriptions and consumer groups share it.
package filter

import (
	"fmt"
	"slices"
	"strings"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// The most that a rule may have.
const (
	MaxExpression = 4 << 10 // bytes
	MaxPrefixes   = 1024
)

// Rule says which events are chosen: those whose stream's name, or type, begins with a prefix or matches an expression. Links are looked at
// themselves, not what they point at. It is also the form in which consumer groups store their filter.
type Rule struct {
	ByKind     bool     `json:"by_kind,omitempty"`
	Prefixes   []string `json:"prefixes,omitempty"`
	Expression string   `json:"expression,omitempty"` // .NET's; in place of prefixes
	RE2        bool     `json:"re2,omitempty"`        // the expression is RE2's instead: of groups that builds made that took those
}

// Filter is a rule made ready. It is safe for concurrent use. The nil Filter chooses everything but what is hidden.
type Filter struct {
	byKind     bool
	prefixes   []string
	expression matcher // in place of prefixes
}

// matcher searches a text for an expression.
type matcher interface {
	matches(text string) (bool, error)
}

// New checks a rule. An expression that is a plain prefix becomes one. The error says what is wrong with the rule.
func New(rule Rule) (*Filter, error) {
	f, err := newFilter(rule)
	if err != nil || f.prefixes != nil || rule.Expression == "" {
		return f, err
	}
	if rule.RE2 {
		f.expression, err = compileRE2(rule.Expression)
	} else {
		f.expression, err = compile(rule.Expression)
	}
	return f, err
}

// newFilter is a filter without its expression, unless that is a plain prefix.
func newFilter(rule Rule) (*Filter, error) {
	f := &Filter{byKind: rule.ByKind}
	if len(rule.Expression) > MaxExpression {
		return nil, fmt.Errorf("the filter's expression has %d bytes, at most %d are allowed", len(rule.Expression), MaxExpression)
	}
	if rule.Expression != "" {
		if prefix, ok := plainPrefix(rule.Expression); ok {
			f.prefixes = []string{prefix}
		}
		return f, nil
	}
	if f.prefixes = rule.Prefixes; len(f.prefixes) > MaxPrefixes {
		return nil, fmt.Errorf("the filter has %d prefixes, at most %d are allowed", len(f.prefixes), MaxPrefixes)
	}
	return f, nil
}

// Chooses reports whether an event of $all is chosen. The error, ErrExpensive, is an expression's that takes too long on this event.
func (f *Filter) Chooses(e *events.Envelope) (bool, error) {
	if Hidden(e.Stream) {
		return false, nil
	}
	if f == nil {
		return true, nil
	}
	text := string(e.Stream)
	if f.byKind {
		text = string(e.Kind)
	}
	if f.expression != nil {
		chosen, err := f.expression.matches(text)
		if err != nil {
			return false, fmt.Errorf("event %s: %w", e.Ref(), err)
		}
		return chosen, nil
	}
	return slices.ContainsFunc(f.prefixes, func(prefix string) bool { return strings.HasPrefix(text, prefix) }), nil
}

// Pushed is the part of the filter that the store can decide, so that what is not chosen need not be decoded.
func (f *Filter) Pushed() storage.Filter {
	all := storage.Filter{System: true}
	switch {
	case f == nil || f.expression != nil:
	case f.byKind:
		all.Kinds = f.prefixes
	default:
		all.Streams = f.prefixes
	}
	return all
}

// Hidden reports a stream that $all never shows: a consumer group on $all would be given its own notes, for ever.
func Hidden(stream events.Stream) bool {
	name, its := strings.CutPrefix(string(stream), "$persistentsubscription-$all::")
	return its && (strings.HasSuffix(name, "-checkpoint") || strings.HasSuffix(name, "-parked"))
}
