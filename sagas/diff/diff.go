// Package diff says what differs between two states of an agent, path by path, and which event was the last to change each path. Like the saga that it
// looks at it is pure: it is given states and facts.
package diff

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	"example.com/life/events"
	"example.com/life/sagas"
)

// Change is one place in an agent's state that is not as it was.
//
// Its path is written as the state's JSON is: turn.round, config.tools[bash], conversation.messages[12]. Parts that have a name of
// their own stand under it, messages under their number in the whole conversation.
type Change struct {
	Path   string          `json:"path"`
	Before json.RawMessage `json:"before,omitempty"` // absent: there was nothing
	After  json.RawMessage `json:"after,omitempty"`  // absent: there is nothing any more
	Unit   Unit            `json:"unit,omitempty"`
}

// Unit says what a number counts.
type Unit string

// The units.
const (
	UnitMoney Unit = "micro_dollars"
	UnitTime  Unit = "microseconds" // since 1970, or long
)

// Between lists what differs between two states of one agent, in the order of the state's fields. Left out are the revision, the
// digest of the conversation and the memory of past commands, which every event changes. Of a turn that is over only its
// beginning is told, of one that is new not what it copied from the configuration.
func Between(before, after *sagas.Agent) []Change {
	changes := []Change{}
	w := newWalk(func(at path, before, after reflect.Value) {
		changes = append(changes, Change{Path: at.String(), Before: shown(before), After: shown(after), Unit: unitOf(before, after)})
	})
	w.agents(before, after)
	return changes
}

// path is the way to a leaf. Its text is made only when something differs there.
type path []step

type step struct {
	name string
	key  bool // in brackets
}

func (p path) String() string {
	text := make([]byte, 0, 64)
	for i, s := range p {
		switch {
		case s.key:
			text = append(append(append(text, '['), s.name...), ']')
		case i > 0:
			text = append(append(text, '.'), s.name...)
		default:
			text = append(text, s.name...)
		}
	}
	return string(text)
}

// walk goes through two states side by side and visits where they differ. What is not there is the zero Value.
type walk struct {
	visit  func(at path, before, after reflect.Value)
	at     path
	fields map[reflect.Type][]field
}

// field is a field of a struct as JSON names it; the name is empty for one whose own fields stand in its place.
type field struct {
	index int
	name  string
}

func newWalk(visit func(at path, before, after reflect.Value)) *walk {
	return &walk{visit: visit, fields: map[reflect.Type][]field{}}
}

func (w *walk) agents(before, after *sagas.Agent) {
	w.compare(reflect.ValueOf(before).Elem(), reflect.ValueOf(after).Elem())
}

func (w *walk) compare(a, b reflect.Value) {
	switch {
	case a.Kind() == reflect.Pointer && !a.IsNil() && !b.IsNil():
		w.compare(a.Elem(), b.Elem())
	case a.Type() == reflect.TypeFor[sagas.Conversation]():
		w.conversations(a.Addr().Interface().(*sagas.Conversation), b.Addr().Interface().(*sagas.Conversation)) //nolint:errcheck,forcetypeassert // it is one
	case a.Type() == reflect.TypeFor[sagas.Turn]():
		w.turns(a, b)
	case a.Kind() == reflect.Struct:
		w.structs(a, b)
	case a.Kind() == reflect.Slice && a.Type().Elem().Kind() != reflect.Uint8:
		w.lists(a, b)
	case !equal(a, b):
		w.visit(w.at, present(a), present(b))
	}
}

// equal compares what has no parts.
func equal(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.String:
		return a.String() == b.String()
	case reflect.Int, reflect.Int64:
		return a.Int() == b.Int()
	case reflect.Bool:
		return a.Bool() == b.Bool()
	case reflect.Float64:
		return a.Float() == b.Float()
	case reflect.Slice:
		return bytes.Equal(a.Bytes(), b.Bytes())
	default:
		return reflect.DeepEqual(a.Interface(), b.Interface())
	}
}

// present is the value, or the zero Value when nothing is there. A number is always there.
func present(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Pointer, reflect.String, reflect.Slice, reflect.Map, reflect.Struct, reflect.Array:
		if v.IsZero() || (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0 {
			return reflect.Value{}
		}
	default:
	}
	return v
}

func (w *walk) structs(a, b reflect.Value) {
	for _, f := range w.fieldsOf(a.Type()) {
		x, y := a.Field(f.index), b.Field(f.index)
		if f.name == "" {
			w.compare(x, y)
			continue
		}
		w.at = append(w.at, step{name: f.name})
		w.compare(x, y)
		w.at = w.at[:len(w.at)-1]
	}
}

// fieldsOf lists the fields to compare.
func (w *walk) fieldsOf(t reflect.Type) []field {
	if known, ok := w.fields[t]; ok {
		return known
	}
	fields := []field{}
	for i := range t.NumField() {
		f := t.Field(i)
		name := nameOfField(&f)
		switch t {
		case reflect.TypeFor[sagas.Agent]():
			if name == "revision" || name == "accepted" {
				continue
			}
		case reflect.TypeFor[sagas.Turn]():
			if name == "config" || name == "limits" {
				continue // see turns
			}
		}
		if name != "-" {
			fields = append(fields, field{i, name})
		}
	}
	w.fields[t] = fields
	return fields
}

// nameOfField is a field's name in JSON: empty for an embedded struct without one.
func nameOfField(f *reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "" && !f.Anonymous {
		return strings.ToLower(f.Name)
	}
	return name
}

// turns compares the running turns.
func (w *walk) turns(a, b reflect.Value) {
	x, y := a.Addr().Interface().(*sagas.Turn), b.Addr().Interface().(*sagas.Turn) //nolint:errcheck,forcetypeassert // they are
	switch {
	case x.ID == "" && y.ID == "":
		return
	case y.ID == "":
		began := struct {
			ID    events.TurnID `json:"id"`
			Round int           `json:"round"`
		}{x.ID, x.Round}
		w.visit(w.at, reflect.ValueOf(began), reflect.Value{})
		return
	}
	w.structs(a, b)
	if x.ID == y.ID {
		w.copied("config", &x.Config, &y.Config)
		w.copied("limits", &x.Limits, &y.Limits)
	}
}

// copied compares what a turn copied when it began.
func (w *walk) copied(name string, a, b any) {
	w.at = append(w.at, step{name: name})
	w.compare(reflect.ValueOf(a), reflect.ValueOf(b))
	w.at = w.at[:len(w.at)-1]
}

// conversations compares what was added. What is kept was never changed, and what was dropped is counted.
func (w *walk) conversations(a, b *sagas.Conversation) {
	added := b.Dropped + len(b.Messages) - a.Dropped - len(a.Messages)
	w.copied("dropped", &a.Dropped, &b.Dropped)
	w.copied("bytes", &a.Bytes, &b.Bytes)
	w.summaries(a.Summary, b.Summary)
	for i := max(0, len(b.Messages)-added); i < len(b.Messages); i++ {
		w.at = append(w.at, step{name: "messages"}, step{strconv.Itoa(b.Dropped + i), true})
		w.visit(w.at, reflect.Value{}, reflect.ValueOf(&b.Messages[i]).Elem())
		w.at = w.at[:len(w.at)-2]
	}
}

// summaries compares what stands for the messages that were compacted.
func (w *walk) summaries(a, b *sagas.Summary) {
	if a == b {
		return
	}
	zero := sagas.Summary{}
	if a == nil {
		a = &zero
	}
	if b == nil {
		b = &zero
	}
	w.at = append(w.at, step{name: "summary"})
	w.structs(reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem())
	w.at = w.at[:len(w.at)-1]
}

// lists compares parts by their names.
func (w *walk) lists(a, b reflect.Value) {
	if a.Len() == b.Len() && a.UnsafePointer() == b.UnsafePointer() {
		return
	}
	for i := range b.Len() {
		name := partName(b.Index(i), i)
		w.at = append(w.at, step{name, true})
		if before := named(a, name, i); before.IsValid() {
			w.compare(before, b.Index(i))
		} else {
			w.visit(w.at, reflect.Value{}, b.Index(i))
		}
		w.at = w.at[:len(w.at)-1]
	}
	for i := range a.Len() {
		if name := partName(a.Index(i), i); !named(b, name, i).IsValid() {
			w.at = append(w.at, step{name, true})
			w.visit(w.at, a.Index(i), reflect.Value{})
			w.at = w.at[:len(w.at)-1]
		}
	}
}

// partName is what a part is called among its like.
func partName(v reflect.Value, index int) string {
	switch part := v.Addr().Interface().(type) {
	case *string:
		return *part
	case *sagas.Call:
		return string(part.ID)
	case *sagas.Waiting:
		return string(part.ID)
	case *sagas.AskSettle:
		return string(part.ID)
	case *events.ToolGrant:
		return part.Name
	}
	return strconv.Itoa(index)
}

// named finds a part, first where it is likely to be.
func named(list reflect.Value, name string, likely int) reflect.Value {
	if likely < list.Len() && partName(list.Index(likely), likely) == name {
		return list.Index(likely)
	}
	for i := range list.Len() {
		if partName(list.Index(i), i) == name {
			return list.Index(i)
		}
	}
	return reflect.Value{}
}

func unitOf(before, after reflect.Value) Unit {
	if !after.IsValid() {
		after = before
	}
	switch after.Type() {
	case reflect.TypeFor[events.Money]():
		return UnitMoney
	case reflect.TypeFor[events.Micros]():
		return UnitTime
	}
	return ""
}
