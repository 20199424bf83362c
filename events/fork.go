package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// AgentForked is the first event of an agent that goes on from another's history as of a revision. Nothing of that history is copied:
// the fork's fold begins with the parent's.
type AgentForked struct {
	Agent   AgentID      `json:"agent"`
	Parent  AgentID      `json:"parent"`
	At      Revision     `json:"at,string"`
	Digest  Digest       `json:"digest"`            // of the parent's event at At, so that a parent that was changed is noticed
	Time    Micros       `json:"time_us,string"`    // of that event: time limits go on from there
	Until   Revision     `json:"until,string"`      // the parent's last revision when it was forked: its recording ends there
	Inputs  Revision     `json:"inputs,string"`     // what people sent the parent after At and up to here is given to the fork too
	Tape    TapeMode     `json:"tape"`              //
	Edit    *MessageEdit `json:"edit,omitempty"`    // a message that the fork is given with another text
	Paper   bool         `json:"paper,omitempty"`   // the wallet is the fork's own, and holds nothing real
	Changed []string     `json:"changed,omitempty"` // parts of the configuration that are the fork's own: another than the parent's, or set as the same
	Config  AgentConfig  `json:"config"`
	Masked  []Masked     `json:"masked,omitempty"` // in the configuration
}

// MessageEdit replaces the text of a message that the parent received.
type MessageEdit struct {
	Revision Revision `json:"revision,string"` // of the parent's message.received
	Text
}

// TapeMode says who answers a fork's requests.
type TapeMode string

// The modes.
const (
	TapeFirst   TapeMode = "tape"    // the parent's recording, up to the first difference; after it, whoever is asked
	TapeLive    TapeMode = "live"    // whoever is asked
	TapeOffline TapeMode = "offline" // the recording alone: at the first difference the run stops
)

// ForkDiverged records the first request of a fork that its parent's recording does not answer, before anybody else is asked.
type ForkDiverged struct {
	Turn   TurnID `json:"turn"`
	Round  int    `json:"round"`
	Call   CallID `json:"call,omitempty"` // empty: the model's reply
	Detail string `json:"detail"`         // what differs
}

// ForkSkipped records that the fork did not accept what its parent was sent.
type ForkSkipped struct {
	At     Revision `json:"at,string"` // in the parent's stream
	What   Kind     `json:"what"`      // it became there
	Reason string   `json:"reason"`
}

// ForkFinished records that a fork has been given everything it was to be given and rests: from here on it is an agent like any other.
type ForkFinished struct {
	Taped   int `json:"taped"`             // calls of models and tools that the recording answered
	Live    int `json:"live"`              // that were made
	Skipped int `json:"skipped,omitempty"` // of what the parent was sent
}

// Kind returns the permanent name.
func (AgentForked) Kind() Kind  { return "agent.forked" }
func (ForkDiverged) Kind() Kind { return "fork.diverged" }
func (ForkSkipped) Kind() Kind  { return "fork.skipped" }
func (ForkFinished) Kind() Kind { return "fork.finished" }

func (e AgentForked) String() string {
	changed := ""
	if len(e.Changed) > 0 {
		changed = ", with its own " + strings.Join(e.Changed, ", ")
	}
	if e.Edit != nil {
		changed += ", with the message at revision " + fmt.Sprint(e.Edit.Revision) + " edited"
	}
	return sentence("agent %s was forked from %s at revision %d (%s)%s", e.Agent, e.Parent, e.At, e.Tape, changed)
}

func (e ForkDiverged) String() string {
	place := fmt.Sprintf("round %d", e.Round)
	if e.Call != "" {
		place = "call " + string(e.Call)
	}
	return sentence("the fork left its parent's recording in turn %s, %s%s", e.Turn, place, because(e.Detail))
}

func (e ForkSkipped) String() string {
	return sentence("the fork did not take the parent's %s of revision %d%s", e.What, e.At, because(e.Reason))
}

func (e ForkFinished) String() string {
	return sentence("the fork has followed its parent: %d calls from the tape, %d live", e.Taped, e.Live)
}

// forkedV2 gives what version 1 did not say: such a fork asks anew, and is given nothing.
func forkedV2(data json.RawMessage) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	if fields == nil {
		return nil, errors.New("the data is null, want a JSON object")
	}
	if at, found := fields["at"]; found {
		fields["until"], fields["inputs"] = at, at
	}
	fields["tape"] = json.RawMessage(`"live"`)
	return json.Marshal(fields)
}
