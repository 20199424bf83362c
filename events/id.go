package events

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// Every identity has its own type, so that a turn can never be passed where a call is meant.
type (
	// AgentID names an agent: 1 to 64 of a-z 0-9 . _ -, starting with a letter or digit. Chosen by whoever creates it.
	AgentID string
	// TurnID names one turn of one agent: "<agent>/<number>", numbers from 1. Derived, never random.
	TurnID string
	// CallID names one tool call within a turn: "<round>.<index>", both from 1. The provider's own id is kept beside it.
	CallID string
	// MessageID names a message an agent received: "m<number>", numbers from 1 in the agent's stream.
	MessageID string
	// WalletID names a wallet; the same alphabet as AgentID.
	WalletID string
	// TenantID names a tenant, whose homeostasis rules and policies its agents share; the same alphabet as AgentID.
	TenantID string
	// CommandID is chosen by the sender of a command and makes its retries idempotent: 1 to 128 printable ASCII characters.
	CommandID string
	// RequestID names a request a saga recorded: "<stream>@<revision>" of the event that recorded it.
	RequestID string
	// Ref points at one event: "<stream>@<revision>". It is how causation is written down.
	Ref string
	// EventID is random for each attempt to append, and kept for the retries of that attempt.
	EventID = uuid.UUID
)

// Revision counts the events of one stream from 0. NoRevision means the stream has none yet.
type Revision int64

// NoRevision is the revision of a stream without events.
const NoRevision Revision = -1

// Position orders the events of the whole store: strictly increasing, not contiguous, never 0 for a stored event.
type Position uint64

// Micros is wall time, in microseconds since the Unix epoch, or a length of time in microseconds.
type Micros int64

// Micros of common lengths of time.
const (
	Millisecond Micros = 1_000
	Second      Micros = 1_000_000
	Minute             = 60 * Second
)

// ErrInvalidID is wrapped by every error about a malformed identity.
var ErrInvalidID = errors.New("invalid id")

// Validate reports whether id can name an agent.
func (id AgentID) Validate() error { return validName("agent", string(id)) }

// Validate reports whether id can name a wallet.
func (id WalletID) Validate() error { return validName("wallet", string(id)) }

// Validate reports whether id can name a tenant.
func (id TenantID) Validate() error { return validName("tenant", string(id)) }

// Validate reports whether id can identify a command.
func (id CommandID) Validate() error {
	if id == "" || len(id) > 128 {
		return fmt.Errorf("%w: command id has %d characters, want 1 to 128", ErrInvalidID, len(id))
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return fmt.Errorf("%w: command id has a character outside printable ASCII at byte %d", ErrInvalidID, i)
		}
	}
	return nil
}

// NewTurnID derives the identity of an agent's turn from its number, from 1.
func NewTurnID(agent AgentID, number int) TurnID {
	return TurnID(string(agent) + "/" + strconv.Itoa(number))
}

// Agent returns the agent whose turn it is; empty when the id is malformed.
func (id TurnID) Agent() AgentID {
	agent, _, found := strings.Cut(string(id), "/")
	if !found {
		return ""
	}
	return AgentID(agent)
}

// Number returns which of its agent's turns it is, from 1; 0 when the id is malformed.
func (id TurnID) Number() int {
	_, digits, _ := strings.Cut(string(id), "/")
	number, err := strconv.Atoi(digits)
	if err != nil || number < 1 || strconv.Itoa(number) != digits {
		return 0
	}
	return number
}

// NewCallID derives the identity of a tool call from its round and place in the model's reply, both from 1.
func NewCallID(round, index int) CallID {
	return CallID(strconv.Itoa(round) + "." + strconv.Itoa(index))
}

// NewRef points at the event of a stream at a revision.
func NewRef(stream Stream, revision Revision) Ref {
	return Ref(string(stream) + "@" + strconv.FormatInt(int64(revision), 10))
}

// Split takes a reference apart; the error names what is malformed.
func (r Ref) Split() (Stream, Revision, error) {
	at := strings.LastIndexByte(string(r), '@')
	if at < 1 {
		return "", NoRevision, fmt.Errorf("%w: reference %q is not <stream>@<revision>", ErrInvalidID, Clip(string(r), 200))
	}
	revision, err := strconv.ParseInt(string(r[at+1:]), 10, 64)
	if err != nil || revision < 0 {
		return "", NoRevision, fmt.Errorf("%w: reference %q has no revision after @", ErrInvalidID, Clip(string(r), 200))
	}
	if NewRef(Stream(r[:at]), Revision(revision)) != r { // "+7" and "07" would be second names of one event
		return "", NoRevision, fmt.Errorf("%w: reference %q does not write its revision plainly", ErrInvalidID, Clip(string(r), 200))
	}
	return Stream(r[:at]), Revision(revision), nil
}

func validName(what, name string) error {
	if name == "" || len(name) > 64 {
		return fmt.Errorf("%w: %s name %q has %d characters, want 1 to 64", ErrInvalidID, what, Clip(name, 80), len(name))
	}
	for i := range len(name) {
		c := name[i]
		alphanumeric := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alphanumeric && (i == 0 || c != '.' && c != '_' && c != '-') {
			return fmt.Errorf("%w: %s name %q may hold a-z 0-9 . _ - and starts with a letter or digit", ErrInvalidID, what, name)
		}
	}
	return nil
}
