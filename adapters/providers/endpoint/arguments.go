package endpoint

import (
	"crypto/sha512"
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

// ShortID stands for the id of a call where an endpoint does not take it: so many letters and digits, the same for the same id. length is at most 64.
func ShortID(id string, length int) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	if len(id) == length && strings.Trim(id, digits) == "" {
		return id
	}
	sum := sha512.Sum512([]byte(id))
	short := sum[:length]
	for i := range short {
		short[i] = digits[int(short[i])%len(digits)]
	}
	return string(short)
}
