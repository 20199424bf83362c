package declared

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/expr-lang/expr/types"

	"example.com/life/events"
)

// shape is what a value is in expressions. There are no fractions: money is in micro-dollars and time in microseconds, so that
// every build and every processor computes the same.
type shape int

const (
	unusable shape = iota
	text
	number
	truth
	list
	record
)

// String names the shape as problems do.
func (s shape) String() string {
	return [...]string{"of a kind that expressions cannot use", "text", "a number", "true or false", "a list", "a group of fields"}[s]
}

// leaf is one field of one kind of event, as expressions see it.
type leaf struct {
	shape shape
	typ   types.Type // what expr checks it as
	zero  any        // what it is where an event does not have it
	index []int      // where it is in the struct
	read  conversion
}

// conversion turns a field into what expressions compute with: int, string, bool, and lists of those and of records.
type conversion func(reflect.Value) (any, error)

// leavesOf lists the fields of a struct by their names in JSON; those of structs in it after a dot, as usage.input.
func leavesOf(of reflect.Type) map[string]*leaf {
	leaves := map[string]*leaf{}
	collect(leaves, "", nil, of)
	return leaves
}

func collect(leaves map[string]*leaf, prefix string, index []int, of reflect.Type) {
	for i := range of.NumField() {
		field := of.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		at := append(slices.Clone(index), i)
		inside := field.Type
		if inside.Kind() == reflect.Pointer {
			inside = inside.Elem()
		}
		switch {
		case name == "-" || !field.IsExported():
		case inside.Kind() == reflect.Struct && !isText(inside) && field.Anonymous && name == "":
			collect(leaves, prefix, at, inside)
		case inside.Kind() == reflect.Struct && !isText(inside):
			collect(leaves, prefix+name+".", at, inside)
		default:
			l := leafOf(field.Type)
			l.index = at
			leaves[prefix+name] = &l
		}
	}
}

var (
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]() //nolint:gochecknoglobals // a type, never written to
	rawMessage    = reflect.TypeFor[json.RawMessage]()        //nolint:gochecknoglobals // a type, never written to
)

func isText(t reflect.Type) bool { return t.Implements(textMarshaler) }

// leafOf says what values of a type are in expressions.
func leafOf(t reflect.Type) leaf {
	switch {
	case isText(t):
		return leaf{shape: text, typ: types.String, zero: "", read: marshalled}
	case t == rawMessage:
		return leaf{shape: text, typ: types.String, zero: "", read: func(v reflect.Value) (any, error) { return string(v.Bytes()), nil }}
	}
	switch t.Kind() {
	case reflect.String:
		return leaf{shape: text, typ: types.String, zero: "", read: func(v reflect.Value) (any, error) { return v.String(), nil }}
	case reflect.Bool:
		return leaf{shape: truth, typ: types.Bool, zero: false, read: func(v reflect.Value) (any, error) { return v.Bool(), nil }}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return leaf{shape: number, typ: types.Int, zero: 0, read: func(v reflect.Value) (any, error) { return int(v.Int()), nil }}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return leaf{shape: number, typ: types.Int, zero: 0, read: func(v reflect.Value) (any, error) { return int(min(v.Uint(), math.MaxInt64)), nil }}
	case reflect.Pointer:
		return pointerLeaf(t)
	case reflect.Slice:
		return listLeaf(t)
	case reflect.Struct:
		return recordLeaf(t)
	}
	return leaf{shape: unusable}
}

// marshalled reads what writes itself as text: a digest, a level of risk.
func marshalled(v reflect.Value) (any, error) {
	marshaler, ok := v.Interface().(encoding.TextMarshaler)
	if !ok {
		return "", nil
	}
	written, err := marshaler.MarshalText()
	return string(written), err
}

func pointerLeaf(t reflect.Type) leaf {
	l := leafOf(t.Elem())
	inside := l.read
	l.read = func(v reflect.Value) (any, error) {
		if v.IsNil() {
			return l.zero, nil
		}
		return inside(v.Elem())
	}
	return l
}

func listLeaf(t reflect.Type) leaf {
	element := leafOf(t.Elem())
	switch element.shape {
	case text:
		return leaf{shape: list, typ: types.Array(types.String), zero: []string{}, read: elements[string](element.read)}
	case number, truth, record:
		return leaf{shape: list, typ: types.Array(element.typ), zero: []any{}, read: elements[any](element.read)}
	case unusable, list:
	}
	return leaf{shape: unusable}
}

// elements reads a list, which has an end.
func elements[T any](read conversion) conversion {
	return func(v reflect.Value) (any, error) {
		if v.Len() > maxList {
			return nil, fmt.Errorf("a list has %d elements, at most %d can be read", v.Len(), maxList)
		}
		all := make([]T, v.Len())
		for i := range all {
			value, err := read(v.Index(i))
			if err != nil {
				return nil, err
			}
			all[i], _ = value.(T) //nolint:errcheck // the type of the element says so
		}
		return all, nil
	}
}

// recordLeaf is a struct in a list: its fields are named after a dot, as in any(calls, .tool == "bash").
func recordLeaf(t reflect.Type) leaf {
	inside, shapes, names := leavesOf(t), types.Map{}, []string{}
	for name, l := range inside {
		if l.shape != unusable && !strings.Contains(name, ".") {
			shapes[name] = l.typ
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return leaf{shape: record, typ: shapes, zero: map[string]any{}, read: func(v reflect.Value) (any, error) {
		fields := make(map[string]any, len(names))
		for _, name := range names {
			value, err := inside[name].from(v)
			if err != nil {
				return nil, err
			}
			fields[name] = value
		}
		return fields, nil
	}}
}

// from reads the field of an event, or of a record; what is behind a pointer to nothing is its zero.
func (l *leaf) from(v reflect.Value) (any, error) {
	for _, i := range l.index {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return l.zero, nil
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return l.read(v)
}

// shapeOf says what a type of expr's is.
func shapeOf(t reflect.Type) shape {
	if t == nil {
		return unusable
	}
	switch t.Kind() {
	case reflect.String:
		return text
	case reflect.Int:
		return number
	case reflect.Bool:
		return truth
	case reflect.Slice:
		return list
	case reflect.Map:
		return record
	}
	return unusable
}

// envelopeField is what every event has, whatever its kind.
type envelopeField struct {
	name string
	zero any // its type
	read func(*events.Envelope) any
}

// envelopeFields lists them. The agent, the wallet and the turn are also taken from what the event says, where its envelope does
// not name them.
func envelopeFields() []envelopeField {
	return []envelopeField{
		{"ref", "", func(e *events.Envelope) any { return string(e.Ref()) }},
		{"kind", "", func(e *events.Envelope) any { return string(e.Kind) }},
		{"version", 0, func(e *events.Envelope) any { return e.Version }},
		{"stream", "", func(e *events.Envelope) any { return string(e.Stream) }},
		{"revision", 0, func(e *events.Envelope) any { return int(e.Revision) }},
		{"position", 0, func(e *events.Envelope) any { return int(min(e.Position, math.MaxInt64)) }},
		{"time", 0, func(e *events.Envelope) any { return int(e.Time) }},
		{"actor", "", func(e *events.Envelope) any { return e.Actor }},
		{"command", "", func(e *events.Envelope) any { return string(e.Command) }},
		{"correlation", "", func(e *events.Envelope) any { return e.Correlation }},
		{"causation", "", func(e *events.Envelope) any { return string(e.Causation) }},
		{"turn", "", turnOf},
		{"agent", "", agentOf},
		{"wallet", "", walletOf},
	}
}

// turnOf is the turn that led to the event, where it did.
func turnOf(e *events.Envelope) any {
	if turn := events.TurnID(e.Correlation); turn.Number() > 0 {
		return string(turn)
	}
	return ""
}

// agentOf is the agent whose stream it is; elsewhere, as in a wallet's, the agent whose turn led to the event.
func agentOf(e *events.Envelope) any {
	if agent, ok := e.Stream.Agent(); ok {
		return string(agent)
	}
	if turn := events.TurnID(e.Correlation); turn.Number() > 0 {
		return string(turn.Agent())
	}
	return ""
}

func walletOf(e *events.Envelope) any {
	if category, id := e.Stream.Split(); category == events.WalletCategory {
		return id
	}
	return ""
}
