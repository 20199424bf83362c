package events_test

import (
	"encoding"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"example.com/life/events"
)

// TestKinds holds the names, which are permanent, to their form.
func TestKinds(t *testing.T) {
	form := regexp.MustCompile(`^[a-z]+\.[a-z]+$`)
	irregular := map[string]bool{"given": true, "lost": true, "written": true, "left": true, "draining": true} // a host that drained has left
	seen := map[events.Kind]bool{}
	for _, spec := range events.Catalog {
		_, participle, _ := strings.Cut(string(spec.Kind), ".")
		switch {
		case !form.MatchString(string(spec.Kind)):
			t.Errorf("kind %q: write <family>.<past participle>, lower case, such as turn.started", spec.Kind)
		case !strings.HasSuffix(participle, "ed") && !irregular[participle]:
			t.Errorf("kind %q says %q: an event is named by a past participle; if it is an irregular one, list it in this test", spec.Kind, participle)
		case seen[spec.Kind]:
			t.Errorf("kind %q is in the catalogue twice: kinds are unique and permanent", spec.Kind)
		case spec.Version < 1:
			t.Errorf("%s has version %d: versions count from 1", spec.Kind, spec.Version)
		case len(spec.Upcasts) != spec.Version-1:
			t.Errorf("%s has version %d and %d upcasts, want %d: one from each older version to the next",
				spec.Kind, spec.Version, len(spec.Upcasts), spec.Version-1)
		case spec.Zero == nil || spec.Zero.Kind() != spec.Kind:
			t.Errorf("%s: the zero event is %v, want one of its kind", spec.Kind, spec.Zero)
		}
		if family, _, _ := strings.Cut(string(spec.Kind), "."); spec.Kind.Family() != family {
			t.Errorf("family of %s is %q, want %q", spec.Kind, spec.Kind.Family(), family)
		}
		seen[spec.Kind] = true
	}
}

// TestShapes holds every type in the catalogue, and the envelope, to what can be stored for decades and read by any language.
func TestShapes(t *testing.T) {
	checked := map[reflect.Type]bool{}
	for _, spec := range events.Catalog {
		for _, problem := range shapeProblems(reflect.TypeOf(spec.Zero), checked) {
			t.Error(problem)
		}
	}
	for _, other := range []any{events.Envelope{}, events.AgentStateVector{}} {
		for _, problem := range shapeProblems(reflect.TypeOf(other), checked) {
			t.Error(problem)
		}
	}
}

// TestShapesTeach shows that the check above finds what it looks for.
func TestShapesTeach(t *testing.T) {
	type bad struct {
		Big    int64 `json:"big"`
		Bare   string
		Any    map[string]any        `json:"any"`
		Nested []struct{ F float64 } `json:"nested"`
		List   []int64               `json:"list"`
		_      int
	}
	var found []string
	for _, problem := range shapeProblems(reflect.TypeFor[bad](), map[reflect.Type]bool{}) {
		field, _, _ := strings.Cut(problem, " ")
		found = append(found, field)
	}
	const want = "bad.Big bad.Bare bad.Any .F .F bad.List bad._"
	if got := strings.Join(found, " "); got != want {
		t.Errorf("found %s, want %s", got, want)
	}
}

// shapeProblems explains what is wrong with a stored struct and the structs in it.
func shapeProblems(typ reflect.Type, checked map[reflect.Type]bool) []string {
	if checked[typ] {
		return nil
	}
	checked[typ] = true
	var problems []string
	for i := range typ.NumField() {
		field := typ.Field(i)
		name, tag := typ.Name()+"."+field.Name, field.Tag.Get("json")
		jsonName, options, _ := strings.Cut(tag, ",")
		switch {
		case field.Anonymous && field.Type.Kind() == reflect.Struct && tag == "":
			// embedded: its fields stand among the others
		case !field.IsExported():
			problems = append(problems, name+" is not exported, so it would not be stored: export it or take it out")
		case jsonName == "":
			problems = append(problems, name+" has no json name: add `json:\"snake_case\"`, or the Go name becomes part of history")
		}
		problems = append(problems, typeProblems(name, field.Type, strings.Contains(options, "string"), checked)...)
	}
	return problems
}

func typeProblems(name string, typ reflect.Type, quoted bool, checked map[reflect.Type]bool) []string {
	if typ.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return nil // stored as text
	}
	switch typ.Kind() {
	case reflect.Int64, reflect.Uint64:
		if !quoted {
			return []string{name + " is a 64-bit " + typ.String() + ": add `,string` to its json tag, or readers that use doubles lose digits above 2^53"}
		}
	case reflect.Float32, reflect.Float64:
		if !floatAllowed(name) {
			return []string{name + " is a float: use events.Money, events.Micros or an int, which add up exactly"}
		}
	case reflect.Map, reflect.Interface, reflect.Func, reflect.Chan, reflect.Complex64, reflect.Complex128:
		return []string{name + " is a " + typ.String() + ": write a struct with named fields; what was stored must say what it means"}
	case reflect.Pointer, reflect.Slice, reflect.Array:
		if elem := typ.Elem(); elem.Kind() == reflect.Int64 || elem.Kind() == reflect.Uint64 {
			return []string{name + " is a list of 64-bit numbers, which json cannot quote: give each a struct with a `,string` field"}
		}
		return typeProblems(name, typ.Elem(), false, checked)
	case reflect.Struct:
		return shapeProblems(typ, checked)
	}
	return nil
}

// floatAllowed names the only ratios: a rule's thresholds, and the vector they are compared with.
func floatAllowed(name string) bool {
	return name == "Rule.AtLeast" || name == "Rule.AtMost" || strings.HasPrefix(name, "AgentStateVector.")
}
