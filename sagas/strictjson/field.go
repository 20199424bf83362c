package strictjson

import (
	"reflect"
	"slices"
	"strings"
)

// field is what the tags of a struct's field say.
type field struct {
	name   string
	index  []int
	omit   bool   // left out when it is zero
	quoted bool   // a whole number that is a string in JSON
	only   string // the field that alone gives a struct
	unsent bool   // never in a command's JSON, and an error to write
}

// fieldsOf lists a struct's fields that its tags name, without those that the host fills in.
func fieldsOf(t reflect.Type) []field {
	var all []field
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		role := f.Tag.Get("command")
		if name == "" || name == "-" || role == "filled" {
			continue
		}
		listed := strings.Split(options, ",")
		next := field{
			name: name, index: f.Index, quoted: slices.Contains(listed, "string"),
			omit: slices.Contains(listed, "omitempty") || slices.Contains(listed, "omitzero"), unsent: role == "-",
		}
		if !next.unsent {
			next.only = role
		}
		all = append(all, next)
	}
	return all
}

func fieldNamed(t reflect.Type, name string) (field, bool) {
	for _, f := range fieldsOf(t) {
		if f.name == name && !f.unsent {
			return f, true
		}
	}
	return field{}, false
}

// namesOf lists the fields of structs, each once.
func namesOf(values []reflect.Value) []string {
	var names []string
	for _, v := range values {
		for _, f := range fieldsOf(v.Type()) {
			if !f.unsent && !slices.Contains(names, f.name) {
				names = append(names, f.name)
			}
		}
	}
	return names
}
