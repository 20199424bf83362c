package sagas

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
)

// Malformed says what in a command's JSON is not as it should be.
type Malformed struct{ Detail string }

// Error gives the detail.
func (m *Malformed) Error() string { return m.Detail }

func malformed(format string, args ...any) error { return &Malformed{fmt.Sprintf(format, args...)} }

// ReadJSON reads the JSON of a command from outside into a struct, strictly: unknown and repeated fields, nulls, bad UTF-8 and
// whatever follows the JSON are a *Malformed that names the field. encoding/json alone would take fields in any case, twice, or as
// null. The fields of the struct have json tags; there are texts, booleans, whole numbers, structs and slices;
// a json.RawMessage is an object that is read later.
func ReadJSON(raw []byte, into any) error {
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
	s := shape{json.NewDecoder(bytes.NewReader(raw))}
	s.decoder.UseNumber()
	if err := s.value(reflect.TypeOf(into).Elem(), "", ""); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return malformed("the body does not fit: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

// shape holds JSON to a Go type, token by token, and names the path of what does not fit. It goes no deeper than the type does.
type shape struct{ decoder *json.Decoder }

// next is the next token of JSON that is known to be valid.
func (s shape) next() json.Token {
	token, err := s.decoder.Token()
	if err != nil { // not in valid JSON
		return nil
	}
	return token
}

// value checks one value; tag is the json tag of the field that holds it.
func (s shape) value(t reflect.Type, path, tag string) error {
	if t == reflect.TypeFor[json.RawMessage]() {
		return s.raw(path)
	}
	token := s.next()
	misfit := func(want string) error {
		return malformed("%s is %s, want %s", nameOf(path), kindOf(token), want)
	}
	if t.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) || reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		if _, ok := token.(string); !ok {
			return misfit("a string")
		}
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		if token != json.Delim('{') {
			return misfit("an object")
		}
		return s.fields(t, path)
	case reflect.Slice:
		if token != json.Delim('[') {
			return misfit("an array")
		}
		return s.elements(t.Elem(), path)
	case reflect.String:
		if _, ok := token.(string); !ok {
			return misfit("a string")
		}
	case reflect.Bool:
		if _, ok := token.(bool); !ok {
			return misfit("a boolean")
		}
	case reflect.Int, reflect.Int64:
		if strings.HasSuffix(tag, ",string") || strings.Contains(tag, ",string,") {
			text, ok := token.(string)
			if !ok {
				return misfit(`a string: 64-bit numbers are strings, such as "1500000"`)
			}
			return number(path, text)
		}
		plain, ok := token.(json.Number)
		if !ok {
			return misfit("a whole number")
		}
		return number(path, plain.String())
	default:
		return misfit("a field of another kind") // no body has one
	}
	return nil
}

// raw checks an object that is read later, by someone who knows what it is.
func (s shape) raw(path string) error {
	var raw json.RawMessage
	if err := s.decoder.Decode(&raw); err != nil || len(raw) == 0 || raw[0] != '{' {
		return malformed("%s is no object", nameOf(path))
	}
	return nil
}

func (s shape) fields(t reflect.Type, path string) error {
	var seen []string
	for s.decoder.More() {
		name, _ := s.next().(string) //nolint:errcheck // in valid JSON a key is a string
		at := strings.TrimPrefix(path+"."+name, ".")
		field, found := fieldNamed(t, name)
		switch {
		case !found:
			return malformed("there is no field %q; the fields are: %s", clipped(at), strings.Join(fieldNames(t), ", "))
		case slices.Contains(seen, name):
			return malformed("field %q is there twice", at)
		}
		seen = append(seen, name)
		if err := s.value(field.Type, at, field.Tag.Get("json")); err != nil {
			return err
		}
	}
	s.next() // }
	return nil
}

func (s shape) elements(t reflect.Type, path string) error {
	for i := 0; s.decoder.More(); i++ {
		if err := s.value(t, path+"["+strconv.Itoa(i)+"]", ""); err != nil {
			return err
		}
	}
	s.next() // ]
	return nil
}

func fieldNamed(t reflect.Type, name string) (reflect.StructField, bool) {
	for i := range t.NumField() {
		if tagged, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); tagged == name {
			return t.Field(i), true
		}
	}
	return reflect.StructField{}, false
}

func fieldNames(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
	}
	return names
}

// clipped shortens what was sent, for an error.
func clipped(text string) string {
	const most = 200
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

func number(path, text string) error {
	if n, err := strconv.ParseInt(text, 10, 64); err != nil || strconv.FormatInt(n, 10) != text {
		return malformed("%s is %q, want a whole number of at most 64 bits, written plainly", nameOf(path), clipped(text))
	}
	return nil
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
