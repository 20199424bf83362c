package responses

import (
	"encoding/json"
	"strconv"
	"strings"
)

// event is one event of a stream, or the whole response in its place. Its fields never fail to be read: what has another type than it
// should is as if it were not there.
type event struct {
	Type     field `json:"type"`
	Sequence field `json:"sequence_number"`
	Index    field `json:"output_index"`
	ItemID   field `json:"item_id"`
	Content  field `json:"content_index"`
	Summary  field `json:"summary_index"`

	Delta     field `json:"delta"`
	Text      field `json:"text"`
	Refusal   field `json:"refusal"`
	Arguments field `json:"arguments"`
	Input     field `json:"input"`

	Item     field `json:"item"`
	Response field `json:"response"`

	Object  field `json:"object"` // of a whole response
	Output  field `json:"output"`
	Choices field `json:"choices"` // of another dialect
	Error   field `json:"error"`
}

// whole reports whether an event is a whole response.
func (e *event) whole() bool {
	return e.Object.text() == "response" || e.Type.text() == "" && e.Output.opens('[')
}

// field is a value as it was sent.
type field string

// UnmarshalJSON implements json.Unmarshaler. It never fails.
func (f *field) UnmarshalJSON(data []byte) error {
	if *f = field(data); *f == "null" {
		*f = ""
	}
	return nil
}

// opens reports whether the value begins so: '"' is a text, '{' an object, '[' a list.
func (f field) opens(with byte) bool { return f != "" && f[0] == with }

// text is the value if it is a text.
func (f field) text() string {
	var text string
	if !f.opens('"') || json.Unmarshal([]byte(f), &text) != nil {
		return ""
	}
	return text
}

// number is the value if it is a whole number that is not negative, also one written as a text.
func (f field) number() (int64, bool) {
	n, err := strconv.ParseInt(strings.Trim(string(f), `"`), 10, 48)
	return n, err == nil && n >= 0
}

// list are the elements of a list.
func (f field) list() []json.RawMessage {
	var list []json.RawMessage
	if !f.opens('[') || json.Unmarshal([]byte(f), &list) != nil {
		return nil
	}
	return list
}
