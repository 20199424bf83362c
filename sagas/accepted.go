package sagas

import (
	"slices"
	"strconv"
	"strings"

	"example.com/life/events"
)

// Accepted remembers a command from outside, so that its retry is recognised.
type Accepted struct {
	ID          events.CommandID `json:"id"`
	Revision    events.Revision  `json:"revision"`         // of its first event
	Fingerprint string           `json:"fingerprint"`      // of what it asked for
	Sum         uint32           `json:"sum"`              // of the id: a search that finds nothing, as nearly all do, reads no strings
	Turn        events.TurnID    `json:"turn,omitempty"`   // that it answered something in
	Digest      string           `json:"digest,omitempty"` // of the arguments that it answered
}

// acceptedWindow is how many of the latest commands of a saga are recognised when they are sent again.
const acceptedWindow = 256

// external reports whether a command came from outside the host.
func external(id events.CommandID) bool {
	return id != "" && !strings.HasPrefix(string(id), InternalPrefix)
}

// known reports a command from outside that was accepted before: as a *DuplicateError, or as a *RefusalError if its id was used for
// something else.
func known(accepted []Accepted, command Command) error {
	id := command.Metadata().ID
	if !external(id) {
		return nil
	}
	sum := sumID(id)
	for i := range accepted {
		if accepted[i].Sum != sum || accepted[i].ID != id {
			continue
		}
		if !asksFor(command, &accepted[i]) {
			return refuse(RefusedReuse, "command id %q was already used for a different command: choose a new id for each command", id)
		}
		return &DuplicateError{Revision: accepted[i].Revision}
	}
	return nil
}

// accept remembers the command of a fact, if it came from outside and the fact is its decision's first.
func accept(accepted []Accepted, fact Fact) []Accepted {
	if !external(fact.Command) || len(accepted) > 0 && accepted[len(accepted)-1].ID == fact.Command {
		return accepted
	}
	if len(accepted) >= 2*acceptedWindow { // moved once in many commands, not for each
		accepted = slices.Clone(accepted[len(accepted)-acceptedWindow:])
	}
	return append(accepted, Accepted{
		ID: fact.Command, Revision: fact.Revision, Fingerprint: fingerprintEvent(fact.Event), Sum: sumID(fact.Command),
	})
}

// sumID is FNV-1a.
func sumID(id events.CommandID) uint32 {
	sum := uint32(2166136261)
	for i := range len(id) {
		sum = (sum ^ uint32(id[i])) * 16777619
	}
	return sum
}

// asksFor reports whether a command asks for what was accepted.
func asksFor(command Command, accepted *Accepted) bool {
	switch c := command.(type) {
	case KeepNotes:
		return slices.Contains(c.fingerprints(), accepted.Fingerprint)
	case Create:
		return accepted.is(c, func(config *events.AgentConfig) Command { c.Config = *config; return c }, c.Config)
	case Configure:
		return accepted.is(c, func(config *events.AgentConfig) Command { c.Config = *config; return c }, c.Config)
	case Approve:
		return fingerprintCommand(c) == accepted.Fingerprint && accepted.answers(c.Turn, c.Digest)
	case Deny:
		return fingerprintCommand(c) == accepted.Fingerprint && accepted.answers(c.Turn, c.Digest)
	case Answer:
		return fingerprintCommand(c) == accepted.Fingerprint && accepted.answers(c.Turn, c.Digest)
	}
	return fingerprintCommand(command) == accepted.Fingerprint
}

// is reports whether a command with a configuration was accepted; by an earlier build, which did not fill in the default of compaction.
func (a *Accepted) is(command Command, with func(*events.AgentConfig) Command, config events.AgentConfig) bool {
	if fingerprintCommand(command) == a.Fingerprint {
		return true
	}
	if config.Compaction != (events.Compaction{Mode: DefaultCompaction}) {
		return false
	}
	config.Compaction = events.Compaction{}
	return fingerprintCommand(with(&config)) == a.Fingerprint
}

// answers reports whether an answer that was accepted is the one with this turn and digest, as far as either says.
func (a *Accepted) answers(turn events.TurnID, digest string) bool {
	return (turn == "" || a.Turn == "" || turn == a.Turn) && (a.Digest == "" || sameDigest(a.Digest, turn, digest))
}

// fingerprintCommand identifies what a command from outside asks for, so that an id used twice for different things is noticed.
// It equals fingerprintEvent of the first event that the command causes.
func fingerprintCommand(command Command) string {
	switch c := command.(type) {
	case Send:
		return fingerprintEvent(events.MessageReceived{Verb: c.Verb, From: c.From, Text: c.Text})
	case Approve:
		if c.Call == "" {
			return fingerprintEvent(events.TurnResumed{})
		}
		return fingerprintEvent(events.ApprovalGranted{Call: c.Call, Arguments: c.Arguments})
	case Deny:
		return fingerprintEvent(events.ApprovalDenied{Call: c.Call, Reason: c.Reason})
	case Answer:
		return fingerprintEvent(events.QuestionAnswered{Call: c.Call, Answer: c.Answer})
	case Fork:
		return fingerprintEvent(events.AgentForked{Agent: c.Agent, Parent: c.Parent, Tape: c.Tape, Edit: c.Edit, Config: c.Config})
	case Create:
		return fingerprintEvent(events.AgentCreated{Agent: c.Agent, Config: c.Config})
	case Configure:
		return fingerprintEvent(events.AgentConfigured{Config: c.Config})
	case Cancel:
		return fingerprintEvent(events.TurnEnded{})
	case Revoke:
		return fingerprintEvent(events.PermissionRevoked{Remembered: c.Remembered})
	case Compact:
		return fingerprintEvent(events.CompactionRequested{})
	case Undo:
		return fingerprintEvent(events.UndoRequested{To: c.To, Force: c.Force})
	case Retire:
		return fingerprintEvent(events.AgentRetired{})
	case Quarantine:
		return fingerprintEvent(events.AgentQuarantined{})
	case Release:
		return fingerprintEvent(events.AgentReleased{})
	case OpenWallet:
		return fingerprintEvent(events.WalletOpened{Wallet: c.Wallet, Credit: c.Credit})
	case Credit:
		return fingerprintEvent(events.WalletCredited{Amount: c.Amount, Memo: c.Memo})
	case Adopt:
		return fingerprintEvent(events.RulesAdopted{Rules: c.Rules})
	case AddProjection:
		return fingerprintEvent(events.ProjectionAdded{Name: c.Name, Version: c.Version, Source: c.Source})
	case RemoveProjection:
		return fingerprintEvent(events.ProjectionRemoved{Name: c.Name})
	case SkipEvent:
		return fingerprintEvent(events.ProjectionSkipped{Name: c.Name, Position: c.Position, Reason: c.Reason})
	}
	return ""
}

// fingerprintEvent digests the part of a command's first event that the sender chose.
func fingerprintEvent(event events.Event) string {
	b := appendField(nil, string(event.Kind()))
	switch e := event.(type) {
	case events.MessageReceived:
		b = appendField(b, string(e.Verb))
		b = appendField(b, valid(e.From))
		b = appendField(b, valid(e.Inline))
		if e.Blob != nil {
			b = appendField(b, e.Blob.Hash)
		}
	case events.ApprovalGranted:
		b = appendField(b, string(e.Call))
		if len(e.Arguments) > 0 {
			b = appendField(b, string(CanonicalArguments(e.Arguments)))
		}
	case events.PermissionRevoked:
		b = appendField(b, string(e.Remembered))
	case events.UndoRequested:
		b = appendField(appendField(b, strconv.FormatInt(int64(e.To), 10)), strconv.FormatBool(e.Force))
	case events.ApprovalDenied:
		b = appendField(appendField(b, string(e.Call)), valid(e.Reason))
	case events.QuestionAnswered:
		b = appendField(appendField(b, string(e.Call)), valid(e.Answer))
	case events.AgentCreated:
		b = appendJSON(appendField(b, string(e.Agent)), e.Config)
	case events.AgentForked:
		b = appendField(b, string(e.Agent))
		b = appendField(b, string(e.Parent))
		b = appendField(b, string(e.Tape))
		b = appendJSON(b, e.Edit)
		b = appendJSON(b, e.Config)
	case events.AgentConfigured:
		b = appendJSON(b, e.Config)
	case events.WalletOpened:
		b = appendField(b, string(e.Wallet))
		b = appendField(b, e.Credit.String())
	case events.WalletCredited:
		b = appendField(b, e.Amount.String())
		b = appendField(b, valid(e.Memo))
	case events.RulesAdopted:
		b = appendJSON(b, e.Rules)
	case events.NoteWritten:
		b = appendField(b, noteDigest(&e.Note))
	case events.NoteRemoved:
		b = appendField(appendField(b, string(e.Note)), e.Reason)
	case events.ProjectionAdded:
		b = appendJSON(b, events.ProjectionAdded{Name: e.Name, Version: e.Version, Source: validText(e.Source)})
	case events.ProjectionRemoved:
		b = appendField(b, e.Name)
	case events.ProjectionSkipped:
		b = appendField(b, e.Name)
		b = appendJSON(b, events.ProjectionSkipped{Position: e.Position, Reason: valid(e.Reason)})
	}
	return events.HashBytes(b)[:16]
}

func appendJSON(b []byte, value any) []byte {
	encoded, err := events.PlainJSON(value)
	if err != nil { // only of configurations and rules that are refused, and never recorded
		return b
	}
	return appendField(b, string(encoded))
}
