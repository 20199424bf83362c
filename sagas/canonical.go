package sagas

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"example.com/life/events"
)

// Canonical rewrites JSON so that equal values have equal bytes: sorted keys, no spaces, numbers as written. A value that
// is not one JSON object is an error.
func Canonical(raw json.RawMessage) (json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		return nil, fmt.Errorf("arguments are not a JSON object: %w", err)
	}
	if len(bytes.TrimSpace(raw[decoder.InputOffset():])) > 0 {
		return nil, fmt.Errorf("arguments have more after the JSON object")
	}
	if object == nil {
		return nil, fmt.Errorf("arguments are null, want a JSON object")
	}
	return events.PlainJSON(object)
}

// callDigest is [CallDigest] of a call whose arguments may be in a blob.
func callDigest(c *events.ModelCall) string {
	if c.Blob != nil {
		return CallDigest(c.Tool, json.RawMessage(c.Blob.Hash))
	}
	return CallDigest(c.Tool, c.Arguments)
}

// CallDigest identifies a tool with exactly these canonical arguments; approvals are bound to it.
func CallDigest(tool string, arguments json.RawMessage) string {
	b := append(make([]byte, 0, 256), tool...)
	b = append(b, 0)
	return events.HashBytes(append(b, arguments...))
}

// PreviewArguments cuts canonical arguments to what an event holds of those that are in a blob: the same members, as far as there is room,
// with long values cut. It is canonical too, and an object if the whole is one.
func PreviewArguments(arguments json.RawMessage) json.RawMessage {
	const most, each = events.PreviewLimit, 256
	var whole any
	if err := json.Unmarshal(arguments, &whole); err != nil { // canonical arguments can be read
		whole = string(arguments)
	}
	object, is := whole.(map[string]any)
	if !is {
		return shortValue(whole, most/2)
	}
	part := map[string]json.RawMessage{}
	left := most / 2 // JSON may need twice as many bytes
	for _, name := range slices.Sorted(maps.Keys(object)) {
		value := shortValue(object[name], each)
		if left -= len(name) + len(value) + 4; left < 0 {
			part["…"] = quote(strconv.Itoa(len(object)-len(part)) + " more")
			break
		}
		part[name] = value
	}
	preview, err := events.PlainJSON(part)
	if err != nil { // what was read as JSON can be written
		return json.RawMessage(`{}`)
	}
	return preview
}

// shortValue is a JSON value of at most about so many bytes: a longer one becomes the beginning of its text.
func shortValue(value any, most int) json.RawMessage {
	if text, is := value.(string); is {
		return quote(events.Clip(text, most))
	}
	encoded, err := events.PlainJSON(value)
	if err != nil || len(encoded) > most {
		return quote(events.Clip(string(encoded), most))
	}
	return encoded
}

func quote(text string) json.RawMessage {
	encoded, err := events.PlainJSON(valid(text))
	if err != nil { // strings always encode
		return json.RawMessage(`""`)
	}
	return encoded
}

// UnmarshalJSON restores an agent from a snapshot. json.Marshal writes "<" within arguments as an escape; they become the bytes
// again that were approved, so that a restored agent records and digests the same.
func (a *Agent) UnmarshalJSON(data []byte) error {
	type plain Agent
	if err := json.Unmarshal(data, (*plain)(a)); err != nil {
		return err
	}
	for i := range a.Turn.Calls {
		a.Turn.Calls[i].Arguments = restored(a.Turn.Calls[i].Arguments)
	}
	for i := range a.Conversation.Messages {
		calls := a.Conversation.Messages[i].Calls
		for j := range calls {
			calls[j].Arguments = restored(calls[j].Arguments)
		}
	}
	return nil
}

// restored undoes escapes that canonical arguments do not have.
func restored(arguments json.RawMessage) json.RawMessage {
	if !bytes.Contains(arguments, []byte(`\u00`)) {
		return arguments
	}
	return CanonicalArguments(arguments)
}
