// Package sagas makes decisions. A saga is a fold of one stream's events with three methods:
//
//	Decide(Command) ([]events.Event, error)   the events that a command causes, given everything that happened so far
//	Apply(Fact) S                             the saga after one more fact
//	Ready() []Request                         the outstanding requests: recorded, but without a response yet
//
// Decide records each request as an event and Ready derives the outstanding ones from the fold, so recovery after a crash is
// "replay, call Ready, send again", and no recovery code exists. The host of a saga stores Decide's events before it acts on Ready.
//
// There are five: [Agent] with its turn, [Wallet], [Homeostasis], [Knowledge] and [Catalogue]. Read turn.go for the turn from top to
// bottom; testdata/*.txt holds readable transcripts of decisions, which go test -rewrite updates.
//
// The package is pure: no context, clock, randomness, goroutine, I/O or log. Time arrives in commands. Decide never changes the
// saga. Apply may reuse the memory of the saga it is called on, as append does: go on with the returned one only.
package sagas

import (
	"errors"
	"fmt"
	"reflect"

	"example.com/life/events"
)

// Saga is what the shell that runs one needs; S is the saga's own type.
type Saga[S any] interface {
	// Decide returns the events that the command causes. The errors are ErrStale, *DuplicateError and *RefusalError; none changes anything.
	Decide(command Command) ([]events.Event, error)
	// Apply returns the saga after a fact. Facts arrive in order, each once.
	Apply(fact Fact) S
	// Ready returns the requests that are outstanding, in the order they were recorded.
	Ready() []Request
	// Recall reads the command of one decision back from its facts, which follow on this saga's last fact.
	Recall(facts []Fact) (Command, error)
}

// Advancer is a saga that applies what it decides while it decides, for a decision goes on from what it has recorded so far.
type Advancer interface {
	// Advance decides a command at a time and leaves the saga as Apply does after each of the events; after an error, and a copy of it in any case,
	// as it was.
	Advance(command Command, at events.Micros) ([]events.Event, error)
}

// Fact is an event with the part of its envelope that folds may depend on.
type Fact struct {
	events.Event
	Revision events.Revision
	Time     events.Micros
	Command  events.CommandID
}

// FactOf reads a stored event as a fact. An event that this build does not know is an error, and so is one that another program wrote,
// whatever kind it claims to be: a saga must not guess.
func FactOf(envelope *events.Envelope) (Fact, error) {
	if envelope.Foreign != nil {
		return Fact{}, &ForeignError{Event: envelope.Ref(), Of: envelope.Kind}
	}
	event, err := envelope.Event()
	if err != nil {
		return Fact{}, err
	}
	if unknown, ok := event.(events.Unknown); ok {
		return Fact{}, &UnknownEventError{Event: envelope.Ref(), Of: unknown.Of, Version: unknown.Version}
	}
	return Fact{Event: event, Revision: envelope.Revision, Time: envelope.Time, Command: envelope.Command}, nil
}

// ForeignError says that another program wrote into a stream of which Life is the only writer.
type ForeignError struct {
	Event events.Ref
	Of    events.Kind
}

// Error names the event, and says how to go on without it.
func (f *ForeignError) Error() string {
	text := fmt.Sprintf("event %s (%q) is not Life's: another program wrote it into a stream of which Life is the only writer",
		f.Event, events.Clip(string(f.Of), 80))
	stream, revision, err := f.Event.Split()
	if agent, ok := stream.Agent(); err == nil && ok && revision > 0 {
		return fmt.Sprintf("%s; what came before it is intact: continue from there with life fork %s --at %d --name NAME", text, agent, revision-1)
	}
	return text + "; restore the stream from a backup (life store import)"
}

// UnknownEventError says that a stream holds an event that a newer build wrote.
type UnknownEventError struct {
	Event   events.Ref
	Of      events.Kind
	Version int
}

// Error names the event, and what to do.
func (u *UnknownEventError) Error() string {
	return fmt.Sprintf("%s holds %s version %d, which this build does not know: run a newer one", u.Event, u.Of, u.Version)
}

// Meta is what every command carries.
type Meta struct {
	// ID makes retries of a command idempotent. Ids that begin with InternalPrefix belong to the host.
	ID events.CommandID
	// At is the time of the decision.
	At events.Micros
}

// InternalPrefix begins the ids of commands that come from the host itself: answers to requests, and timers.
const InternalPrefix = "~"

// DefaultWallet is the wallet of agents that name none; DefaultTenant the tenant.
const (
	DefaultWallet events.WalletID = "main"
	DefaultTenant events.TenantID = "local"
)

// Command asks a saga to decide.
type Command interface {
	Metadata() Meta
}

// Metadata returns the command's id and time.
func (m Meta) Metadata() Meta { return m }

// Identified returns a command with another id and time.
func Identified(command Command, meta Meta) Command {
	switch c := command.(type) { // those that are many
	case Send:
		c.Meta = meta
		return c
	case RecordAdvice:
		c.Meta = meta
		return c
	case RecordReservation:
		c.Meta = meta
		return c
	case RecordReply:
		c.Meta = meta
		return c
	case RecordResult:
		c.Meta = meta
		return c
	case RecordSettlement:
		c.Meta = meta
		return c
	case Reserve:
		c.Meta = meta
		return c
	case Settle:
		c.Meta = meta
		return c
	}
	identified := reflect.New(reflect.TypeOf(command)).Elem()
	identified.Set(reflect.ValueOf(command))
	identified.FieldByName("Meta").Set(reflect.ValueOf(meta))
	return identified.Interface().(Command) //nolint:errcheck,forcetypeassert // it has the type of a command
}

// Maker is a command that makes the entity of its stream, and says its id.
type Maker interface {
	Makes() *string
}

// Makes implements [Maker].
func (c *Create) Makes() *string { return (*string)(&c.Agent) }

// Makes implements [Maker].
func (c *OpenWallet) Makes() *string { return (*string)(&c.Wallet) }

// Request is something a saga needs done. Receivers are idempotent by its id.
type Request interface {
	RequestID() events.RequestID
}

// Outstanding identifies a request: the stream and revision of the event that recorded it.
type Outstanding struct {
	ID events.RequestID
}

// RequestID returns the request's identity.
func (o Outstanding) RequestID() events.RequestID { return o.ID }

// ErrStale says that a command answers something that is no longer outstanding. Delivery is at least once, so whoever sees it
// drops the command without complaint.
var ErrStale = errors.New("nothing waits for this answer any more")

// DuplicateError says that a command with this id was already accepted, or that all it asks for is so already.
type DuplicateError struct {
	Revision events.Revision // of the first event it caused
	Event    events.Event    // a wallet's answer to the same request; nil otherwise
	Same     bool            // the command may be new, but nothing that it asks for is; Revision is that of the latest event about it
}

// Error says so.
func (d *DuplicateError) Error() string {
	if d.Same {
		return fmt.Sprintf("all that the command asks for is so already, at revision %d", d.Revision)
	}
	return fmt.Sprintf("the command was already accepted, at revision %d", d.Revision)
}

// RefusalError says why a command is not accepted.
type RefusalError struct {
	Code   RefusalCode
	Detail string
}

// RefusalCode sorts refusals by what the sender can do.
type RefusalCode string

// The codes.
const (
	RefusedInvalid  RefusalCode = "invalid"   // the command makes no sense
	RefusedMissing  RefusalCode = "not_found" // what it names does not exist
	RefusedExists   RefusalCode = "exists"    // what it creates exists already
	RefusedState    RefusalCode = "conflict"  // not now: retired, quarantined, nothing to cancel or to approve
	RefusedQueue    RefusalCode = "queue_full"
	RefusedReuse    RefusalCode = "id_reused"    // the command id was used for something else
	RefusedMismatch RefusalCode = "not_the_same" // the approval is for other arguments than those that wait
)

// Error gives the code and the detail.
func (r *RefusalError) Error() string { return string(r.Code) + ": " + r.Detail }

func refuse(code RefusalCode, format string, args ...any) error {
	return &RefusalError{Code: code, Detail: fmt.Sprintf(format, args...)}
}
