package anthropic

import (
	"encoding/json"
	"strconv"

	"example.com/life/events"
)

// fields is a JSON object as it came. Gateways write null, nothing or another type where the vendor writes a value, so each field is read on
// its own.
type fields map[string]json.RawMessage

// text is a field that is a text.
func (f fields) text(name string) string {
	var text string
	if json.Unmarshal(f[name], &text) != nil {
		return ""
	}
	return text
}

// object is a field that is an object; nil if it is none.
func (f fields) object(name string) fields {
	var object fields
	if json.Unmarshal(f[name], &object) != nil {
		return nil
	}
	return object
}

// list is a field that is a list.
func (f fields) list(name string) []json.RawMessage {
	var list []json.RawMessage
	if json.Unmarshal(f[name], &list) != nil {
		return nil
	}
	return list
}

// number is a field that is a whole number, or a text that holds one.
func (f fields) number(name string) (int64, bool) {
	raw := string(f[name])
	if text := f.text(name); text != "" {
		raw = text
	}
	n, err := strconv.ParseFloat(raw, 64)
	if err != nil || n < 0 || n > 1<<40 {
		return 0, false
	}
	return int64(n), true
}

// none reports whether a field is missing or null.
func (f fields) none(name string) bool { return len(f[name]) == 0 || string(f[name]) == "null" }

// encode writes a value of texts and raw JSON that was read.
func encode(value any) json.RawMessage {
	encoded, err := events.PlainJSON(value)
	if err != nil {
		return json.RawMessage("null")
	}
	return encoded
}
