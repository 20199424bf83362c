package diff

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strconv"

	"example.com/life/events"
)

// shown writes a part of a state as JSON in which 64-bit numbers are strings and what is empty is left out; nil for nothing.
func shown(v reflect.Value) json.RawMessage {
	if !v.IsValid() {
		return nil
	}
	return appendShown(nil, v)
}

func appendShown(dst []byte, v reflect.Value) []byte {
	if raw, is := v.Interface().(json.RawMessage); is && json.Valid(raw) {
		return append(dst, raw...)
	}
	if named, is := v.Interface().(encoding.TextMarshaler); is {
		text, err := named.MarshalText()
		if err != nil {
			text = []byte(err.Error())
		}
		return appendText(dst, string(text))
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return append(dst, "null"...)
		}
		return appendShown(dst, v.Elem())
	case reflect.Struct:
		return append(appendFields(append(dst, '{'), v, true), '}')
	case reflect.Slice, reflect.Array:
		dst = append(dst, '[')
		for i := range v.Len() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendShown(dst, v.Index(i))
		}
		return append(dst, ']')
	case reflect.Map:
		encoded, err := json.Marshal(v.Interface())
		if err != nil {
			return appendText(dst, err.Error())
		}
		return append(dst, encoded...)
	case reflect.Bool:
		return strconv.AppendBool(dst, v.Bool())
	case reflect.Int:
		return strconv.AppendInt(dst, v.Int(), 10)
	case reflect.Int64:
		return append(strconv.AppendInt(append(dst, '"'), v.Int(), 10), '"')
	case reflect.Float64:
		return strconv.AppendFloat(dst, v.Float(), 'g', -1, 64)
	case reflect.String:
		return appendText(dst, v.String())
	default: // no state holds one
		return appendText(dst, v.String())
	}
}

// appendFields writes the fields of a struct that are not empty; those of an embedded one stand among them.
func appendFields(dst []byte, v reflect.Value, first bool) []byte {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := nameOfField(&f)
		switch value := v.Field(i); {
		case name == "-" || value.IsZero():
			continue
		case name == "":
			dst = appendFields(dst, value, first)
		default:
			if !first {
				dst = append(dst, ',')
			}
			dst = append(appendText(dst, name), ':')
			dst = appendShown(dst, value)
		}
		first = false
	}
	return dst
}

func appendText(dst []byte, text string) []byte {
	plain, _ := events.PlainJSON(text) //nolint:errcheck // any text is JSON
	return append(dst, plain...)
}
