package events

import "strings"

// RulesAdopted replaces a tenant's homeostasis rules. The first matching rule decides the mode.
type RulesAdopted struct {
	Rules []Rule `json:"rules"`
	By    string `json:"by,omitempty"`
}

// Rule advises a mode when its measure of the state vector is at least, or at most, a threshold.
type Rule struct {
	Name    string        `json:"name"`
	Measure string        `json:"measure"` // a field of AgentStateVector by its JSON name; see sagas.Measures
	AtLeast *float64      `json:"at_least,omitempty"`
	AtMost  *float64      `json:"at_most,omitempty"`
	Mode    OperatingMode `json:"mode"`
}

// AdviceRequested records that the turn asks homeostasis which mode to work in.
type AdviceRequested struct {
	Turn TurnID `json:"turn"`
}

// AdviceGiven records the advised mode and the rules that led to it.
type AdviceGiven struct {
	Request RequestID     `json:"request"`
	Mode    OperatingMode `json:"mode"`
	Because []string      `json:"because,omitempty"` // names of the rules that fired
}

// AdviceMissed records that no advice came in time; the turn goes on in its last mode.
type AdviceMissed struct {
	Request RequestID     `json:"request"`
	Mode    OperatingMode `json:"mode"`
	Detail  string        `json:"detail,omitempty"`
}

// Kind returns the permanent name.
func (RulesAdopted) Kind() Kind    { return "rules.adopted" }
func (AdviceRequested) Kind() Kind { return "advice.requested" }
func (AdviceGiven) Kind() Kind     { return "advice.given" }
func (AdviceMissed) Kind() Kind    { return "advice.missed" }

func (e RulesAdopted) String() string {
	return sentence("%d homeostasis rules were adopted%s", len(e.Rules), by(e.By))
}

func (e AdviceRequested) String() string {
	return sentence("turn %s asked homeostasis for advice", e.Turn)
}

func (e AdviceGiven) String() string {
	return sentence("homeostasis advised %s%s", e.Mode, because(strings.Join(e.Because, ", ")))
}

func (e AdviceMissed) String() string {
	return sentence("no advice came in time, the mode stays %s%s", e.Mode, because(e.Detail))
}
