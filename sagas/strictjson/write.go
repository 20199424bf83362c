package strictjson

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"example.com/life/events"
)

// Write writes a struct as [Read] reads it. Given several, it writes one object with the fields of all; a field that two of them have
// is the first one's. What is no UTF-8 is replaced, and "<" stays as it is. It is an error if something is set that is not in a
// command's JSON.
func Write(values ...any) ([]byte, error) {
	structs := make([]reflect.Value, len(values))
	for i := range values {
		structs[i] = reflect.Indirect(reflect.ValueOf(values[i]))
	}
	return object(nil, structs, "")
}

// object appends one object.
func object(b []byte, structs []reflect.Value, path string) ([]byte, error) {
	var written []string
	b = append(b, '{')
	for _, s := range structs {
		for _, f := range fieldsOf(s.Type()) {
			v := s.FieldByIndex(f.index)
			at := strings.TrimPrefix(path+"."+f.name, ".")
			switch {
			case f.unsent && !v.IsZero():
				return nil, fmt.Errorf("a command has no field %q", at)
			case f.unsent, f.omit && empty(v), slices.Contains(written, f.name):
				continue
			}
			if len(written) > 0 {
				b = append(b, ',')
			}
			written = append(written, f.name)
			b = append(append(append(b, '"'), f.name...), '"', ':')
			var err error
			if b, err = value(b, v, at, f); err != nil {
				return nil, err
			}
		}
	}
	return append(b, '}'), nil
}

func empty(v reflect.Value) bool {
	return v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0
}

// value appends the value of a field, or of an element of one.
func value(b []byte, v reflect.Value, path string, f field) ([]byte, error) {
	if v.Kind() == reflect.Pointer {
		return value(b, v.Elem(), path, f)
	}
	if v.Kind() == reflect.Struct && f.only != "" {
		for _, other := range fieldsOf(v.Type()) {
			if found, ok := v.Type().FieldByName(f.only); ok && !slices.Equal(found.Index, other.index) && !v.FieldByIndex(other.index).IsZero() {
				return nil, fmt.Errorf("a command has no field %q", path+"."+other.name)
			}
		}
		return value(b, v.FieldByName(f.only), path, field{})
	}
	if _, raw := v.Interface().(json.RawMessage); raw || textual(v) {
		return plain(b, v.Interface(), path)
	}
	switch v.Kind() {
	case reflect.Struct:
		return object(b, []reflect.Value{v}, path)
	case reflect.Slice:
		return elements(b, v, path, f)
	case reflect.String:
		return plain(b, strings.ToValidUTF8(v.String(), "\ufffd"), path)
	case reflect.Int, reflect.Int64:
		return whole(b, strconv.FormatInt(v.Int(), 10), f), nil
	case reflect.Uint64:
		return whole(b, strconv.FormatUint(v.Uint(), 10), f), nil
	}
	return plain(b, v.Interface(), path)
}

func whole(b []byte, digits string, f field) []byte {
	if f.quoted {
		return append(append(append(b, '"'), digits...), '"')
	}
	return append(b, digits...)
}

func textual(v reflect.Value) bool {
	_, ok := v.Interface().(encoding.TextMarshaler)
	return ok
}

func elements(b []byte, v reflect.Value, path string, f field) ([]byte, error) {
	b = append(b, '[')
	for i := range v.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = value(b, v.Index(i), path+"["+strconv.Itoa(i)+"]", field{only: f.only}); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

// plain appends what encoding/json writes.
func plain(b []byte, v any, path string) ([]byte, error) {
	written, err := events.PlainJSON(v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", nameOf(path), err)
	}
	return append(b, written...), nil
}
