// Package strictjson reads and writes the JSON of commands from outside, over HTTP, on the bus and in files, as the commands' json
// tags say. Where encoding/json would take fields in any case, twice or as null, and leave out what it does not know, this package
// names the field that is wrong.
//
// A field has a json tag with a name, or it is not in the JSON; fields of embedded structs are their struct's. 64-bit numbers have the
// option "string". A second tag says what is otherwise in a command's JSON than in an event's:
//
//	command:"-"       is neither read nor written, and is an error to write when it is set
//	command:"filled"  is neither read nor written: the host fills it in
//	command:"Name"    the struct, or each struct of the slice, is given by its field Name alone
package strictjson

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"example.com/life/events"
)

// Malformed says what in a command's JSON is not as it should be.
type Malformed struct{ Detail string }

// Error gives the detail.
func (m *Malformed) Error() string { return m.Detail }

func malformed(format string, args ...any) error { return &Malformed{fmt.Sprintf(format, args...)} }

// Read reads one JSON value into a struct or a slice. Given several structs, it reads one object whose fields are theirs; a field that
// two of them have is read into both. The errors are *Malformed.
func Read(raw []byte, into ...any) error {
	if err := check(raw); err != nil {
		return err
	}
	r := &reader{json: raw}
	targets := make([]reflect.Value, len(into))
	for i := range into {
		targets[i] = reflect.ValueOf(into[i]).Elem()
	}
	if len(targets) == 1 {
		return r.value(targets[0], "", field{})
	}
	return r.object(targets, "", r.next())
}

// check refuses what is not one JSON value.
func check(raw []byte) error {
	if !utf8.Valid(raw) {
		return malformed("the body is not valid UTF-8")
	}
	if !json.Valid(raw) { // it bounds the depth too, and does not recurse
		var syntax *json.SyntaxError
		if errors.As(json.Unmarshal(raw, &struct{}{}), &syntax) {
			return malformed("the body is not one JSON object: %s, at byte %d", syntax.Error(), syntax.Offset)
		}
		return malformed("the body is not one JSON object")
	}
	return nil
}

// Fields shows the names and values of one JSON object, as they come, until one is an error. Whether a name comes twice is for the caller to notice. What is no
// object is a *Malformed.
func Fields(raw []byte, field func(name string, value []byte) error) error {
	if err := check(raw); err != nil {
		return err
	}
	r := &reader{json: raw}
	if token := r.next(); token != json.Delim('{') {
		return misfit("", token, "an object")
	}
	for r.more() {
		name, _ := r.next().(string) //nolint:errcheck // in valid JSON a key is a string
		if err := field(name, r.skip()); err != nil {
			return err
		}
	}
	return nil
}

// value reads one value, of a field or of an element of one.
func (r *reader) value(v reflect.Value, path string, f field) error {
	if v.Type() == reflect.TypeFor[json.RawMessage]() {
		return r.raw(v, path)
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		return r.value(v.Elem(), path, f)
	}
	if v.Kind() == reflect.Struct && f.only != "" {
		return r.value(v.FieldByName(f.only), path, field{})
	}
	token := r.next()
	if text, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return setText(text, token, path)
	}
	switch v.Kind() {
	case reflect.Struct:
		return r.object([]reflect.Value{v}, path, token)
	case reflect.Slice:
		return r.elements(v, path, token, f)
	}
	return setScalar(v, token, path, f)
}

func setText(into encoding.TextUnmarshaler, token json.Token, path string) error {
	text, ok := token.(string)
	if !ok {
		return misfit(path, token, "a string")
	}
	if err := into.UnmarshalText([]byte(text)); err != nil {
		return malformed("%s does not fit: %s", nameOf(path), err)
	}
	return nil
}

func setScalar(v reflect.Value, token json.Token, path string, f field) error {
	switch v.Kind() {
	case reflect.String:
		text, ok := token.(string)
		if !ok {
			return misfit(path, token, "a string")
		}
		v.SetString(text)
	case reflect.Bool:
		yes, ok := token.(bool)
		if !ok {
			return misfit(path, token, "a boolean")
		}
		v.SetBool(yes)
	case reflect.Float64:
		number, ok := token.(json.Number)
		if !ok {
			return misfit(path, token, "a number")
		}
		n, err := number.Float64()
		if err != nil {
			return malformed("%s is %s, want a number that fits into 64 bits", nameOf(path), events.Clip(number.String(), 200))
		}
		v.SetFloat(n)
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return setWhole(v, token, path, f)
	default:
		return misfit(path, token, "a field of another kind") // no command has one
	}
	return nil
}

// setWhole reads a whole number, which is a string if the field's tag says so.
func setWhole(v reflect.Value, token json.Token, path string, f field) error {
	text, isText := token.(string)
	number, isNumber := token.(json.Number)
	switch {
	case f.quoted && !isText:
		return misfit(path, token, `a string: 64-bit numbers are strings, such as "1500000"`)
	case !f.quoted && !isNumber:
		return misfit(path, token, "a whole number")
	case !f.quoted:
		text = number.String()
	}
	if v.Kind() == reflect.Uint64 {
		if n, err := strconv.ParseUint(text, 10, 64); err == nil && strconv.FormatUint(n, 10) == text {
			v.SetUint(n)
			return nil
		}
	} else if n, err := strconv.ParseInt(text, 10, 64); err == nil && strconv.FormatInt(n, 10) == text {
		v.SetInt(n)
		return nil
	}
	return malformed("%s is %q, want a whole number of at most 64 bits, written plainly", nameOf(path), events.Clip(text, 200))
}

// raw keeps an object that is read later, when it is known what it is.
func (r *reader) raw(v reflect.Value, path string) error {
	raw := r.skip()
	if raw[0] != '{' {
		return malformed("%s is no object", nameOf(path))
	}
	v.SetBytes(bytes.Clone(raw))
	return nil
}

// object reads one object into all of the targets that have its fields.
func (r *reader) object(targets []reflect.Value, path string, token json.Token) error {
	if token != json.Delim('{') {
		return misfit(path, token, "an object")
	}
	seen, fields := make([]string, 0, 8), make([][]field, len(targets))
	for i, target := range targets {
		fields[i] = fieldsOf(target.Type())
	}
	for r.more() {
		name, _ := r.next().(string) //nolint:errcheck // in valid JSON a key is a string
		at := strings.TrimPrefix(path+"."+name, ".")
		if slices.Contains(seen, name) {
			return malformed("field %q is there twice", at)
		}
		seen = append(seen, name)
		var first reflect.Value
		for i, target := range targets {
			f := named(fields[i], name)
			switch {
			case f == nil:
			case first.IsValid():
				target.FieldByIndex(f.index).Set(first)
			default:
				first = target.FieldByIndex(f.index)
				if err := r.value(first, at, *f); err != nil {
					return err
				}
			}
		}
		if !first.IsValid() {
			return malformed("there is no field %q; the fields are: %s", events.Clip(at, 200), strings.Join(namesOf(targets), ", "))
		}
	}
	r.next() // }
	return nil
}

func (r *reader) elements(v reflect.Value, path string, token json.Token, f field) error {
	if token != json.Delim('[') {
		return misfit(path, token, "an array")
	}
	all := reflect.MakeSlice(v.Type(), 0, 0)
	for i := 0; r.more(); i++ {
		next := reflect.New(v.Type().Elem()).Elem()
		if err := r.value(next, path+"["+strconv.Itoa(i)+"]", field{only: f.only}); err != nil {
			return err
		}
		all = reflect.Append(all, next)
	}
	v.Set(all)
	r.next() // ]
	return nil
}

func misfit(path string, token json.Token, want string) error {
	return malformed("%s is %s, want %s", nameOf(path), kindOf(token), want)
}

func nameOf(path string) string {
	if path == "" {
		return "the body"
	}
	return "field " + strconv.Quote(path)
}

func kindOf(token json.Token) string {
	switch t := token.(type) {
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case bool:
		return "a boolean"
	case json.Delim:
		if t == '[' {
			return "an array"
		}
		return "an object"
	}
	return "null (leave the field out instead)"
}
