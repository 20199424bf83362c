package actors

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
		sagas.Answer{},
		sagas.Compact{},
		sagas.Undo{},
		sagas.Revoke{},
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

// peerType is how a type of commands is written: an object with the fields of the command, but Meta, by their names in Go.
type peerType struct {
	command reflect.Type
	object  reflect.Type
	fields  []int // of the command, in the order of the object's
}

// peerTypes has them by the command's name.
var peerTypes = newPeerTypes() //nolint:gochecknoglobals // made once, and only read

func newPeerTypes() map[string]*peerType {
	types := map[string]*peerType{}
	for _, command := range peerCommands() {
		p := &peerType{command: reflect.TypeOf(command)}
		var fields []reflect.StructField
		for i := range p.command.NumField() {
			if f := p.command.Field(i); f.Type != reflect.TypeFor[sagas.Meta]() {
				fields = append(fields, reflect.StructField{Name: f.Name, Type: f.Type, Tag: reflect.StructTag(`json:"` + f.Name + `,omitzero"`)})
				p.fields = append(p.fields, i)
			}
		}
		p.object = reflect.StructOf(fields)
		types[p.command.Name()] = p
	}
	return types
}

// NewPeerCommand writes a command.
func NewPeerCommand(command sagas.Command) (PeerCommand, error) {
	v := reflect.ValueOf(command)
	as := peerTypes[v.Type().Name()]
	if as == nil || as.command != v.Type() {
		return PeerCommand{}, fmt.Errorf("%T is not forwarded to other hosts", command)
	}
	object := reflect.New(as.object)
	for to, from := range as.fields {
		object.Elem().Field(to).Set(v.Field(from))
	}
	meta := command.Metadata()
	fields, err := peerJSON(object.Interface())
	return PeerCommand{Type: v.Type().Name(), ID: meta.ID, At: meta.At, Fields: fields}, err
}

// Command reads the command.
func (p *PeerCommand) Command() (sagas.Command, error) {
	as := peerTypes[p.Type]
	if as == nil {
		return nil, fmt.Errorf("there is no command %q", events.Clip(p.Type, 80))
	}
	command := reflect.New(as.command).Elem()
	if err := as.read(p.Fields, command); err != nil {
		return nil, fmt.Errorf("command %s: %w", p.Type, err)
	}
	command.FieldByName("Meta").Set(reflect.ValueOf(sagas.Meta{ID: p.ID, At: p.At}))
	return command.Interface().(sagas.Command), nil //nolint:errcheck,forcetypeassert // it has the type of a command
}

// read reads an object whose fields are named as the command's, each once.
func (p *peerType) read(data []byte, into reflect.Value) error {
	var seen uint64
	return strictjson.Fields(data, func(name string, value []byte) error {
		for i, at := range p.fields {
			if p.command.Field(at).Name != name || seen&(1<<i) != 0 {
				continue
			}
			seen |= 1 << i
			if err := readWhole(value, into.Field(at)); err != nil {
				return fmt.Errorf("field %s: %w", name, err)
			}
			return nil
		}
		return fmt.Errorf("field %q does not exist, or is there twice", events.Clip(name, 80))
	})
}

// readWhole reads one value. Texts and numbers need no decoder, which only structs could have fields for that are not known.
func readWhole(data []byte, into reflect.Value) error {
	switch into.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int64:
		return json.Unmarshal(data, into.Addr().Interface())
	default:
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.DisallowUnknownFields()
		return decoder.Decode(into.Addr().Interface())
	}
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

// faultKind is one kind of error that callers look for on another host as they do here: how it is written, and how it is read again.
type faultKind struct {
	is    string
	write func(error) (PeerFault, bool)
	read  func(*PeerFault) error
}

// faultOf is the kind of errors of a type.
func faultOf[E error](is string, write func(E) PeerFault, read func(*PeerFault) error) faultKind {
	return faultKind{is, func(err error) (PeerFault, bool) {
		typed, found := errors.AsType[E](err)
		if !found {
			return PeerFault{}, false
		}
		fault := write(typed)
		fault.Is = is
		return fault, true
	}, read}
}

// sameFault is the kind of an error that is a value.
func sameFault(is string, value error) faultKind {
	return faultKind{is, func(err error) (PeerFault, bool) { return PeerFault{Is: is}, errors.Is(err, value) }, func(*PeerFault) error { return value }}
}

// faultKinds is the only list of them. What wraps another kind comes before it.
var faultKinds = newFaultKinds() //nolint:gochecknoglobals // made once, and only read

func newFaultKinds() []faultKind {
	return slices.Concat(decisionFaults(), entityFaults(), historyFaults(), []faultKind{
		sameFault("stale", sagas.ErrStale),
		sameFault("no_member", ErrNotMember),
		sameFault("closed", storage.ErrClosed),
		sameFault("full", storage.ErrFull),
		sameFault("read_only", storage.ErrReadOnly),
		sameFault("corrupt", storage.ErrCorrupt),
		sameFault("deleted", storage.ErrDeleted),
		sameFault("place", storage.ErrPlace),
		sameFault("needed", storage.ErrNeeded),
		sameFault("invalid_append", storage.ErrInvalidAppend),
		sameFault("timeout", context.DeadlineExceeded),
		sameFault("cancelled", context.Canceled),
	})
}

func decisionFaults() []faultKind {
	return []faultKind{
		faultOf("refused",
			func(e *sagas.RefusalError) PeerFault { return PeerFault{Code: e.Code, Detail: e.Detail} },
			func(f *PeerFault) error { return &sagas.RefusalError{Code: f.Code, Detail: f.Detail} }),
		faultOf("known", writeKnown, readKnown),
		faultOf("malformed",
			func(e *strictjson.Malformed) PeerFault { return PeerFault{Detail: e.Detail} },
			func(f *PeerFault) error { return &strictjson.Malformed{Detail: f.Detail} }),
	}
}

func writeKnown(known *sagas.DuplicateError) PeerFault {
	fault := PeerFault{Revision: known.Revision, Same: known.Same}
	if known.Event != nil {
		if event, err := newPeerEvent(known.Event); err == nil {
			fault.Event = event
		}
	}
	return fault
}

func readKnown(f *PeerFault) error {
	known := &sagas.DuplicateError{Revision: f.Revision, Same: f.Same}
	if f.Event != nil {
		event, err := f.Event.event()
		if err != nil {
			return err
		}
		known.Event = event
	}
	return known
}

func entityFaults() []faultKind {
	return []faultKind{
		faultOf("silent",
			func(e *silentError) PeerFault { return PeerFault{Host: e.to, Detail: e.why} },
			func(f *PeerFault) error { return &silentError{to: f.Host, why: f.Detail} }),
		faultOf("overloaded",
			func(e *OverloadedError) PeerFault { return PeerFault{Stream: e.Stream, Waiting: e.Waiting} },
			func(f *PeerFault) error { return &OverloadedError{Stream: f.Stream, Waiting: f.Waiting} }),
		faultOf("ineligible",
			func(e *IneligibleError) PeerFault { return PeerFault{Stream: e.Stream, Host: e.Host, Detail: e.Reason} },
			func(f *PeerFault) error { return &IneligibleError{Stream: f.Stream, Host: f.Host, Reason: f.Detail} }),
		faultOf("moved",
			func(e *MovedError) PeerFault { return PeerFault{Stream: e.Stream, Host: e.To} },
			func(f *PeerFault) error { return &MovedError{Stream: f.Stream, To: f.Host} }),
		faultOf("unavailable",
			func(e *UnavailableError) PeerFault { return PeerFault{Stream: e.Stream, Detail: e.Reason} },
			func(f *PeerFault) error { return &UnavailableError{Stream: f.Stream, Reason: f.Detail} }),
		faultOf("fenced",
			func(e *FencedError) PeerFault { return PeerFault{Stream: e.Stream} },
			func(f *PeerFault) error { return &FencedError{Stream: f.Stream} }),
	}
}

func historyFaults() []faultKind {
	return []faultKind{
		faultOf("foreign",
			func(e *sagas.ForeignError) PeerFault { return PeerFault{Ref: e.Event, Of: e.Of} },
			func(f *PeerFault) error { return &sagas.ForeignError{Event: f.Ref, Of: f.Of} }),
		faultOf("unreadable",
			func(e *history.UnreadableError) PeerFault { return PeerFault{Detail: e.Error()} },
			func(f *PeerFault) error { return &history.UnreadableError{Err: errors.New(f.Detail)} }),
		faultOf("projection",
			func(e *projector.BehindError) PeerFault { return PeerFault{Projection: e.Projection, Detail: e.Reason} },
			func(f *PeerFault) error { return &projector.BehindError{Projection: f.Projection, Reason: f.Detail} }),
		faultOf("gone",
			func(e *history.GoneError) PeerFault {
				return PeerFault{Stream: e.Stream, Revision: e.First, Last: e.Last}
			},
			func(f *PeerFault) error { return &history.GoneError{Stream: f.Stream, First: f.Revision, Last: f.Last} }),
	}
}

// newPeerError writes an error. What an error that was written already wraps when it is read again is not written beside it.
func newPeerError(err error) *PeerError {
	p := &PeerError{Text: events.Clip(strings.ToValidUTF8(err.Error(), "\uFFFD"), events.InlineLimit)}
	var said error
	for _, kind := range faultKinds {
		fault, is := kind.write(err)
		if !is {
			continue
		}
		if _, known := kind.write(said); known {
			continue
		}
		p.Chain = append(p.Chain, fault)
		said = errors.Join(said, kind.read(&fault))
	}
	return p
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
	for _, kind := range faultKinds {
		if kind.is == f.Is {
			return kind.read(f)
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
