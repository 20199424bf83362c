package events

import "fmt"

// AgentStateVector is what homeostasis sees of an agent: a fold of its events, never stored. Ratios run from 0 to 1.
type AgentStateVector struct {
	Progress           float64   `json:"progress"`             // share of the turn's calls that succeeded, weighted to the latest
	Uncertainty        float64   `json:"uncertainty"`          // share of the turn's calls that failed, were refused or repeated
	Risk               RiskLevel `json:"risk"`                 // the strongest effect any call of the turn asked for
	Budget             Budget    `json:"budget"`               // what is left of the turn's limits
	ErrorStreak        int       `json:"error_streak"`         // failures in a row, model's and tools' together
	ContextPressure    float64   `json:"context_pressure"`     // share of the context window in use
	SideEffectPressure float64   `json:"side_effect_pressure"` // share of the turn's calls that change something
	HumanDependency    float64   `json:"human_dependency"`     // share of the turn's calls that waited for a person
}

// Budget is what a turn may still use. A field is negative when it has been overdrawn by the call that crossed it.
type Budget struct {
	Tokens    int64  `json:"tokens,string"`
	Money     Money  `json:"micro_dollars,string"`
	Time      Micros `json:"time_us,string"`
	ToolCalls int    `json:"tool_calls"`
	Errors    int    `json:"errors"`
}

// RiskLevel orders how much harm an action could do. It is stored as none, low, medium or high.
type RiskLevel int

// The levels of risk, from none upward.
const (
	RiskNone   RiskLevel = iota // nothing but words
	RiskLow                     // reads
	RiskMedium                  // changes files in the workspace
	RiskHigh                    // runs commands or cannot be repeated
)

// String returns the level's name.
func (r RiskLevel) String() string {
	switch r {
	case RiskNone:
		return "none"
	case RiskLow:
		return "low"
	case RiskMedium:
		return "medium"
	case RiskHigh:
		return "high"
	}
	return fmt.Sprintf("risk(%d)", int(r))
}

// MarshalText writes the level's name; a number that is no level is an error, because it could not be read back.
func (r RiskLevel) MarshalText() ([]byte, error) {
	if r < RiskNone || r > RiskHigh {
		return nil, fmt.Errorf("unknown risk level %d", int(r))
	}
	return []byte(r.String()), nil
}

// UnmarshalText reads a level's name; an unknown one is an error.
func (r *RiskLevel) UnmarshalText(text []byte) error {
	for level := RiskNone; level <= RiskHigh; level++ {
		if level.String() == string(text) {
			*r = level
			return nil
		}
	}
	return fmt.Errorf("unknown risk level %q", Clip(string(text), 40))
}

// OperatingMode is how an agent works at the moment; homeostasis advises it, the turn applies it.
type OperatingMode string

// The operating modes.
const (
	ModeExplore  OperatingMode = "explore"   // look around before changing anything
	ModeExecute  OperatingMode = "execute"   // do the work
	ModeVerify   OperatingMode = "verify"    // check what was done
	ModeRecover  OperatingMode = "recover"   // after failures: smaller steps, repair first
	ModeAskHuman OperatingMode = "ask_human" // every call that changes something waits for a person
	ModeSleep    OperatingMode = "sleep"     // the turn pauses before the next model call
)

// Validate reports an operating mode that this build does not know.
func (m OperatingMode) Validate() error {
	switch m {
	case ModeExplore, ModeExecute, ModeVerify, ModeRecover, ModeAskHuman, ModeSleep:
		return nil
	}
	return fmt.Errorf("unknown operating mode %q", Clip(string(m), 40))
}
