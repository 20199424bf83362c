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
	return events.PlainJSON(object)
}

// CallDigest identifies a tool with exactly these canonical arguments; approvals are bound to it.
func CallDigest(tool string, arguments json.RawMessage) string {
	return events.HashBytes(append([]byte(tool+"\x00"), arguments...))
}
