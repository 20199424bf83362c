package actors

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"example.com/life/actors/history"
	"example.com/life/actors/projector"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/strictjson"
)

// PeerCommand is a command on its way between hosts. Unlike a command from outside, it holds every field of the command, by the field's name in Go.
type PeerCommand struct {
	Type   string           `json:"type"`
	ID     events.CommandID `json:"id"`
	At     events.Micros    `json:"at,string"`
	Fields json.RawMessage  `json:"fields"`
}

// peerCommands are the commands that are forwarded: those from outside, and those that entities send to each other.
func peerCommands() []sagas.Command {
	return []sagas.Command{
		sagas.Create{},
		sagas.Configure{},
		sagas.Send{},
		sagas.Cancel{},
		sagas.Approve{},
		sagas.Deny{},
		sagas.Compact{},
		sagas.Retire{},
		sagas.Release{},
		sagas.Fork{},
		sagas.OpenWallet{},
		sagas.Credit{},
		sagas.Reserve{},
		sagas.Settle{},
		sagas.Adopt{},
		sagas.KeepNotes{},
		sagas.AddProjection{},
		sagas.RemoveProjection{},
		sagas.SkipEvent{},
		sagas.RecordResult{}, // only in an answer
	}
}

// NewPeerCommand writes a command.
func NewPeerCommand(command sagas.Command) (PeerCommand, error) {
	v := reflect.ValueOf(command)
	if !slices.ContainsFunc(peerCommands(), func(c sagas.Command) bool { return reflect.TypeOf(c) == v.Type() }) {
		return PeerCommand{}, fmt.Errorf("%T is not forwarded to other hosts", command)
	}
	meta := command.Metadata()
	p := PeerCommand{Type: v.Type().Name(), ID: meta.ID, At: meta.At}
	fields := map[string]any{}
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Type != reflect.TypeFor[sagas.Meta]() && !v.Field(i).IsZero() {
			fields[f.Name] = v.Field(i).Interface()
		}
	}
	var err error
	p.Fields, err = events.PlainJSON(fields)
	return p, err
}

// Command reads the command.
func (p *PeerCommand) Command() (sagas.Command, error) {
	all := peerCommands()
	i := slices.IndexFunc(all, func(c sagas.Command) bool { return reflect.TypeOf(c).Name() == p.Type })
	if i < 0 {
		return nil, fmt.Errorf("there is no command %q", events.Clip(p.Type, 80))
	}
	command := reflect.New(reflect.TypeOf(all[i])).Elem()
	if err := readFields(p.Fields, command); err != nil {
		return nil, fmt.Errorf("command %s: %w", p.Type, err)
	}
	command.FieldByName("Meta").Set(reflect.ValueOf(sagas.Meta{ID: p.ID, At: p.At}))
	return command.Interface().(sagas.Command), nil //nolint:errcheck,forcetypeassert // it has the type of a command
}

// readFields reads an object whose fields are named as the struct's, each once.
func readFields(data []byte, into reflect.Value) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return errors.New("its fields are no object")
	}
	var seen []string
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string) //nolint:errcheck // a key is a string
		f, found := into.Type().FieldByName(name)
		if !found || len(f.Index) != 1 || f.Type == reflect.TypeFor[sagas.Meta]() || slices.Contains(seen, name) {
			return fmt.Errorf("field %q does not exist, or is there twice", events.Clip(name, 80))
		}
		seen = append(seen, name)
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return err
		}
		if err := readWhole(value, into.Field(f.Index[0]).Addr().Interface()); err != nil {
			return fmt.Errorf("field %s: %w", name, err)
		}
	}
	_, err := decoder.Token()
	return err
}

func readWhole(data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more than one value")
	}
	return nil
}

// newPeerOutcome writes what an entity decided.
func newPeerOutcome(o outcome) (*PeerOutcome, error) {
	p := &PeerOutcome{Revision: o.revision, Position: o.position}
	for _, event := range o.events {
		e, err := newPeerEvent(event)
		if err != nil {
			return nil, err
		}
		p.Events = append(p.Events, *e)
	}
	return p, nil
}

func (p *PeerOutcome) outcome() outcome {
	o := outcome{revision: p.Revision, position: p.Position}
	for i := range p.Events {
		event, err := p.Events[i].event()
		if err != nil {
			return outcome{err: err}
		}
		o.events = append(o.events, event)
	}
	return o
}

func newPeerEvent(event events.Event) (*PeerEvent, error) {
	data, version, err := events.Encode(event)
	return &PeerEvent{Kind: event.Kind(), Version: version, Data: data}, err
}

func (p *PeerEvent) event() (events.Event, error) {
	event, err := events.Decode(p.Kind, p.Version, p.Data)
	if unknown, is := event.(events.Unknown); is && err == nil {
		return nil, fmt.Errorf("the host answered with %s version %d, which this build does not know: run a newer one", unknown.Of, unknown.Version)
	}
	return event, err
}

// PeerError is an error as the other host has it: its text, and everything in its chain that callers look for.
type PeerError struct {
	Text  string      `json:"text"`
	Chain []PeerFault `json:"chain,omitempty"`
}

// PeerFault is one typed error. Which fields are set follows from Is.
type PeerFault struct {
	Is         string            `json:"is"`
	Code       sagas.RefusalCode `json:"code,omitempty"`
	Detail     string            `json:"detail,omitempty"`
	Stream     events.Stream     `json:"stream,omitempty"`
	Waiting    int               `json:"waiting,omitempty"`
	Revision   events.Revision   `json:"revision,string,omitempty"`
	Last       events.Revision   `json:"last,string,omitempty"`
	Same       bool              `json:"same,omitempty"`
	Event      *PeerEvent        `json:"event,omitempty"`
	Ref        events.Ref        `json:"ref,omitempty"`
	Of         events.Kind       `json:"of,omitempty"`
	Host       events.HostID     `json:"host,omitempty"`
	Projection string            `json:"projection,omitempty"`
}

// The kinds of [PeerFault] that are error types.
const (
	faultRefused     = "refused"
	faultKnown       = "known"
	faultOverloaded  = "overloaded"
	faultUnavailable = "unavailable"
	faultUnreadable  = "unreadable"
	faultGone        = "gone"
	faultForeign     = "foreign"
	faultFenced      = "fenced"
	faultIneligible  = "ineligible"
	faultMoved       = "moved"
	faultSilent      = "silent"
	faultProjection  = "projection"
	faultMalformed   = "malformed"
)

// peerSentinels are the errors that are values.
func peerSentinels() []sentinel {
	return []sentinel{
		{"stale", sagas.ErrStale},
		{"no_member", ErrNotMember},
		{"closed", storage.ErrClosed},
		{"full", storage.ErrFull},
		{"read_only", storage.ErrReadOnly},
		{"corrupt", storage.ErrCorrupt},
		{"deleted", storage.ErrDeleted},
		{"place", storage.ErrPlace},
		{"needed", storage.ErrNeeded},
		{"invalid_append", storage.ErrInvalidAppend},
		{"timeout", context.DeadlineExceeded},
		{"cancelled", context.Canceled},
	}
}

type sentinel struct {
	is  string
	err error
}

// newPeerError writes an error.
func newPeerError(err error) *PeerError {
	p := &PeerError{Text: events.Clip(strings.ToValidUTF8(err.Error(), "\uFFFD"), events.InlineLimit)}
	for _, typed := range []func(error) (PeerFault, bool){refusalFault, entityFault, historyFault} {
		if fault, is := typed(err); is {
			p.Chain = append(p.Chain, fault)
		}
	}
	var gone *history.GoneError
	if errors.As(err, &gone) {
		p.Chain = append(p.Chain, PeerFault{Is: faultGone, Stream: gone.Stream, Revision: gone.First, Last: gone.Last})
	}
	for _, sentinel := range peerSentinels() {
		if errors.Is(err, sentinel.err) {
			p.Chain = append(p.Chain, PeerFault{Is: sentinel.is})
		}
	}
	return p
}

func refusalFault(err error) (PeerFault, bool) {
	var (
		refused   *sagas.RefusalError
		known     *sagas.DuplicateError
		malformed *strictjson.Malformed
	)
	switch {
	case errors.As(err, &refused):
		return PeerFault{Is: faultRefused, Code: refused.Code, Detail: refused.Detail}, true
	case errors.As(err, &known):
		fault := PeerFault{Is: faultKnown, Revision: known.Revision, Same: known.Same}
		if known.Event != nil {
			if event, err := newPeerEvent(known.Event); err == nil {
				fault.Event = event
			}
		}
		return fault, true
	case errors.As(err, &malformed):
		return PeerFault{Is: faultMalformed, Detail: malformed.Detail}, true
	}
	return PeerFault{}, false
}

func entityFault(err error) (PeerFault, bool) {
	var (
		overloaded *OverloadedError
		ineligible *IneligibleError
		moved      *MovedError
		away       *UnavailableError
		fenced     *FencedError
		silent     *silentError
	)
	switch {
	case errors.As(err, &silent):
		return PeerFault{Is: faultSilent, Host: silent.to, Detail: silent.why}, true
	case errors.As(err, &overloaded):
		return PeerFault{Is: faultOverloaded, Stream: overloaded.Stream, Waiting: overloaded.Waiting}, true
	case errors.As(err, &ineligible):
		return PeerFault{Is: faultIneligible, Stream: ineligible.Stream, Host: ineligible.Host, Detail: ineligible.Reason}, true
	case errors.As(err, &moved):
		return PeerFault{Is: faultMoved, Stream: moved.Stream, Host: moved.To}, true
	case errors.As(err, &away):
		return PeerFault{Is: faultUnavailable, Stream: away.Stream, Detail: away.Reason}, true
	case errors.As(err, &fenced):
		return PeerFault{Is: faultFenced, Stream: fenced.Stream}, true
	}
	return PeerFault{}, false
}

func historyFault(err error) (PeerFault, bool) {
	var (
		unreadable *history.UnreadableError
		foreign    *sagas.ForeignError
		behind     *projector.BehindError
	)
	switch {
	case errors.As(err, &foreign):
		return PeerFault{Is: faultForeign, Ref: foreign.Event, Of: foreign.Of}, true
	case errors.As(err, &unreadable):
		return PeerFault{Is: faultUnreadable, Detail: unreadable.Error()}, true
	case errors.As(err, &behind):
		return PeerFault{Is: faultProjection, Projection: behind.Projection, Detail: behind.Reason}, true
	}
	return PeerFault{}, false
}

// Err is the error as this host has it.
func (p *PeerError) Err() error {
	chain := make([]error, 0, len(p.Chain))
	for i := range p.Chain {
		if err := p.Chain[i].err(); err != nil {
			chain = append(chain, err)
		}
	}
	if len(chain) == 1 && chain[0].Error() == p.Text {
		return chain[0]
	}
	return &remoteError{p.Text, chain}
}

// err is one typed error; nil for one that this build does not know.
func (f *PeerFault) err() error {
	switch f.Is {
	case faultRefused:
		return &sagas.RefusalError{Code: f.Code, Detail: f.Detail}
	case faultKnown:
		known := &sagas.DuplicateError{Revision: f.Revision, Same: f.Same}
		if f.Event != nil {
			event, err := f.Event.event()
			if err != nil {
				return err
			}
			known.Event = event
		}
		return known
	case faultMalformed:
		return &strictjson.Malformed{Detail: f.Detail}
	case faultOverloaded:
		return &OverloadedError{Stream: f.Stream, Waiting: f.Waiting}
	case faultIneligible:
		return &IneligibleError{Stream: f.Stream, Host: f.Host, Reason: f.Detail}
	case faultSilent:
		return &silentError{to: f.Host, why: f.Detail}
	case faultMoved:
		return &MovedError{Stream: f.Stream, To: f.Host}
	case faultUnavailable:
		return &UnavailableError{Stream: f.Stream, Reason: f.Detail}
	case faultFenced:
		return &FencedError{Stream: f.Stream}
	}
	return f.historyErr()
}

func (f *PeerFault) historyErr() error {
	switch f.Is {
	case faultUnreadable:
		return &history.UnreadableError{Err: errors.New(f.Detail)}
	case faultForeign:
		return &sagas.ForeignError{Event: f.Ref, Of: f.Of}
	case faultGone:
		return &history.GoneError{Stream: f.Stream, First: f.Revision, Last: f.Last}
	case faultProjection:
		return &projector.BehindError{Projection: f.Projection, Reason: f.Detail}
	}
	for _, sentinel := range peerSentinels() {
		if sentinel.is == f.Is {
			return sentinel.err
		}
	}
	return nil
}

// remoteError is another host's error, whose text is its own.
type remoteError struct {
	text  string
	chain []error
}

func (r *remoteError) Error() string   { return r.text }
func (r *remoteError) Unwrap() []error { return r.chain }

// IneligibleError says that a host cannot hold an entity, because of what it has or is. It changed nothing.
type IneligibleError struct {
	Stream events.Stream
	Host   events.HostID // empty: a host without a cluster
	Reason string
}

// Error names the stream, the host and the reason.
func (i *IneligibleError) Error() string {
	if i.Host == "" {
		return fmt.Sprintf("this host cannot hold %s: %s", i.Stream, i.Reason)
	}
	return fmt.Sprintf("host %s cannot hold %s: %s", i.Host, i.Stream, i.Reason)
}

// Unwrap says to callers that the entity is not available.
func (i *IneligibleError) Unwrap() error {
	return &UnavailableError{Stream: i.Stream, Reason: i.Error()}
}

// MovedError says that an entity lives on another host. The command was not looked at.
type MovedError struct {
	Stream events.Stream
	To     events.HostID // empty: there is no host for it
}

// Error names both.
func (m *MovedError) Error() string {
	if m.To == "" {
		return fmt.Sprintf("no host of the cluster can hold %s", m.Stream)
	}
	return fmt.Sprintf("%s lives on host %s", m.Stream, m.To)
}
