package sagas

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"example.com/life/events"
)

// Homeostasis is the fold of a tenant's rule sets. Its advice is a pure function of the rules, the state vector and the last mode.
type Homeostasis struct {
	Revision events.Revision `json:"revision"`
	Rules    []events.Rule   `json:"rules,omitempty"`    // empty: DefaultRules
	Accepted []Accepted      `json:"accepted,omitempty"` // the latest commands from outside
}

// NewHomeostasis returns homeostasis as it is before any rules were adopted.
func NewHomeostasis() Homeostasis { return Homeostasis{Revision: events.NoRevision} }

// DefaultRules hold until a tenant adopts its own. The first rule that matches decides.
func DefaultRules() []events.Rule {
	atLeast := func(name, measure string, threshold float64, mode events.OperatingMode) events.Rule {
		return events.Rule{Name: name, Measure: measure, AtLeast: &threshold, Mode: mode}
	}
	atMost := func(name, measure string, threshold float64, mode events.OperatingMode) events.Rule {
		return events.Rule{Name: name, Measure: measure, AtMost: &threshold, Mode: mode}
	}
	return []events.Rule{
		atMost("errors nearly spent", "errors_left", 2, events.ModeAskHuman),
		atLeast("repeated failures", "error_streak", 2, events.ModeRecover),
		atMost("tokens spent", "tokens_left", 0, events.ModeSleep),
		atLeast("mostly side effects", "side_effect_pressure", 0.7, events.ModeVerify),
		atLeast("mostly failures", "uncertainty", 0.5, events.ModeExplore),
		atLeast("making progress", "progress", 0.2, events.ModeExecute),
	}
}

//nolint:gochecknoglobals // never written to
var defaultRules = DefaultRules()

// measures are what rules can look at, by name.
//
//nolint:gochecknoglobals // never written to
var measures = map[string]func(*events.AgentStateVector) float64{
	"progress":             func(v *events.AgentStateVector) float64 { return v.Progress },
	"uncertainty":          func(v *events.AgentStateVector) float64 { return v.Uncertainty },
	"risk":                 func(v *events.AgentStateVector) float64 { return float64(v.Risk) },
	"error_streak":         func(v *events.AgentStateVector) float64 { return float64(v.ErrorStreak) },
	"context_pressure":     func(v *events.AgentStateVector) float64 { return v.ContextPressure },
	"side_effect_pressure": func(v *events.AgentStateVector) float64 { return v.SideEffectPressure },
	"human_dependency":     func(v *events.AgentStateVector) float64 { return v.HumanDependency },
	"tokens_left":          func(v *events.AgentStateVector) float64 { return float64(v.Budget.Tokens) },
	"dollars_left":         func(v *events.AgentStateVector) float64 { return float64(v.Budget.Money) / float64(events.Dollar) },
	"tool_calls_left":      func(v *events.AgentStateVector) float64 { return float64(v.Budget.ToolCalls) },
	"errors_left":          func(v *events.AgentStateVector) float64 { return float64(v.Budget.Errors) },
}

// Advise returns the mode to work in and the rules that fired. With none, a mode of trouble falls back to explore and every other
// mode stays.
func (h Homeostasis) Advise(v events.AgentStateVector, last events.OperatingMode) (events.OperatingMode, []string) {
	rules := h.Rules
	if len(rules) == 0 {
		rules = defaultRules
	}
	for i := range rules {
		value := 0.0
		if of, known := measures[rules[i].Measure]; known {
			value = of(&v)
		}
		if (rules[i].AtLeast == nil || value >= *rules[i].AtLeast) && (rules[i].AtMost == nil || value <= *rules[i].AtMost) {
			return rules[i].Mode, []string{rules[i].Name}
		}
	}
	switch last {
	case events.ModeExplore, events.ModeExecute, events.ModeVerify:
		return last, nil
	case events.ModeRecover, events.ModeAskHuman, events.ModeSleep:
	}
	return events.ModeExplore, nil
}

// Decide implements [Saga].
func (h Homeostasis) Decide(command Command) ([]events.Event, error) {
	c, ok := command.(Adopt)
	if !ok {
		return nil, refuse(RefusedInvalid, "homeostasis cannot decide %T", command)
	}
	if err := known(h.Accepted, c); err != nil {
		return nil, err
	}
	if err := validateRules(c.Rules); err != nil {
		return nil, err
	}
	return []events.Event{events.RulesAdopted{Rules: c.Rules, By: c.By}}, nil
}

func validateRules(rules []events.Rule) error {
	if len(rules) == 0 || len(rules) > 100 {
		return refuse(RefusedInvalid, "%d rules, want 1 to 100", len(rules))
	}
	for i, rule := range rules {
		if _, ok := measures[rule.Measure]; !ok {
			return refuse(RefusedInvalid, "rule %d (%s) measures %q; the measures are: %s", i+1, rule.Name, rule.Measure,
				strings.Join(slices.Sorted(maps.Keys(measures)), ", "))
		}
		if unordered(rule.AtLeast) || unordered(rule.AtMost) {
			return refuse(RefusedInvalid, "rule %d (%s) has a threshold that is no finite number", i+1, rule.Name)
		}
		if rule.AtLeast == nil && rule.AtMost == nil {
			return refuse(RefusedInvalid, "rule %d (%s) has no threshold: give at_least or at_most", i+1, rule.Name)
		}
		if err := rule.Mode.Validate(); err != nil {
			return refuse(RefusedInvalid, "rule %d (%s): %v", i+1, rule.Name, err)
		}
	}
	return nil
}

// unordered reports a threshold that JSON cannot hold.
func unordered(threshold *float64) bool {
	return threshold != nil && (math.IsNaN(*threshold) || math.IsInf(*threshold, 0))
}

// Apply implements [Saga].
func (h Homeostasis) Apply(fact Fact) Homeostasis {
	h.Revision = fact.Revision
	h.Accepted = accept(h.Accepted, fact)
	if e, ok := fact.Event.(events.RulesAdopted); ok {
		h.Rules = e.Rules
	}
	return h
}

// Ready implements [Saga]: homeostasis asks nothing of anyone.
func (h Homeostasis) Ready() []Request { return nil }

// Recall implements [Saga].
func (h Homeostasis) Recall(facts []Fact) (Command, error) {
	if len(facts) == 0 {
		return nil, fmt.Errorf("recall a command: no facts")
	}
	e, ok := facts[0].Event.(events.RulesAdopted)
	if !ok {
		return nil, fmt.Errorf("recall a command: no decision begins with %s", facts[0].Kind())
	}
	return Adopt{Meta: Meta{ID: facts[0].Command, At: facts[0].Time}, Rules: e.Rules, By: e.By}, nil
}
