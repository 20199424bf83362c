package strictjson

import (
	"reflect"
	"slices"
	"strings"
	"sync"
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

// read has the fields of each struct type that was read or written before: a program has few, and a type's tags never change.
var read sync.Map //nolint:gochecknoglobals // reflect.Type to []field, which nobody writes to

// fieldsOf lists a struct's fields that its tags name, without those that the host fills in.
func fieldsOf(t reflect.Type) []field {
	if before, ok := read.Load(t); ok {
		return before.([]field) //nolint:forcetypeassert,errcheck // nothing else is stored
	}
	fields := readFields(t)
	read.Store(t, fields)
	return fields
}

func readFields(t reflect.Type) []field {
	all := make([]field, 0, t.NumField())
	for _, f := range visible(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		role := f.Tag.Get("command")
		if name == "" || name == "-" || role == "filled" {
			continue
		}
		next := field{name: name, index: f.Index, unsent: role == "-"}
		for option := range strings.SplitSeq(options, ",") {
			next.quoted = next.quoted || option == "string"
			next.omit = next.omit || option == "omitempty" || option == "omitzero"
		}
		if !next.unsent {
			next.only = role
		}
		all = append(all, next)
	}
	return all
}

// visible is reflect.VisibleFields, which is slow, and needed only where structs are embedded.
func visible(t reflect.Type) []reflect.StructField {
	fields := make([]reflect.StructField, t.NumField())
	for i := range fields {
		if fields[i] = t.Field(i); fields[i].Anonymous {
			return reflect.VisibleFields(t)
		}
	}
	return fields
}

// named returns the field of a name that can be read; nil if there is none.
func named(fields []field, name string) *field {
	for i := range fields {
		if fields[i].name == name && !fields[i].unsent {
			return &fields[i]
		}
	}
	return nil
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
