package sagas

import (
	"bytes"
	"encoding/json"
	"fmt"

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
	return encodeJSON(object)
}

// encodeJSON is json.Marshal without HTML escaping, as the event store writes JSON too.
func encodeJSON(value any) (json.RawMessage, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// CallDigest identifies a tool with exactly these canonical arguments; approvals are bound to it.
func CallDigest(tool string, arguments json.RawMessage) string {
	return events.HashBytes(append([]byte(tool+"\x00"), arguments...))
}
