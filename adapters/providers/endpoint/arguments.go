package endpoint

import (
	"encoding/json"
	"strings"
)

// MaxCalls bounds the calls of one reply.
const MaxCalls = 64

// IsObject reports whether a text is one JSON object.
func IsObject(text string) bool {
	text = strings.TrimSpace(text)
	return strings.HasPrefix(text, "{") && json.Valid([]byte(text))
}

// Arguments gives a call's arguments as the model wrote them if they are JSON, else as a JSON string. None mean none.
func Arguments(written string) json.RawMessage {
	if strings.TrimSpace(written) == "" {
		return json.RawMessage("{}")
	}
	if json.Valid([]byte(written)) {
		return json.RawMessage(written)
	}
	return json.RawMessage(`"` + InsideJSON(written) + `"`)
}

// SentArguments are the arguments of a past call as every endpoint takes them: an object. What was none stands for a call that never ran,
// and the refusal that answers it says why.
func SentArguments(arguments json.RawMessage) string {
	if IsObject(string(arguments)) {
		return string(arguments)
	}
	return "{}"
}

// InsideJSON escapes a text so that it can stand between the quotes of a JSON string.
func InsideJSON(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil { // a string always marshals
		return ""
	}
	return string(quoted[1 : len(quoted)-1])
}
