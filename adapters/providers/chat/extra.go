package chat

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/openai/openai-go/v3/packages/respjson"

	"example.com/life/events"
)

// reasoningFields hold what a model thinks, as a text. Only messages with calls get them back: without, some endpoints refuse them.
//
//nolint:gochecknoglobals // an explicit list, never written to
var reasoningFields = []string{"reasoning_content", "reasoning"}

// extraFields are those that endpoints want back as they sent them, of a message or of a call.
//
//nolint:gochecknoglobals // an explicit list, never written to
var extraFields = append([]string{
	"reasoning_details",        // OpenRouter
	"thinking_blocks",          // LiteLLM
	"provider_specific_fields", // LiteLLM
	"extra_content",            // Gemini: google.thought_signature
	"thought_signature",
}, reasoningFields...)

// extras collects such fields over all pieces of a reply.
type extras map[string]json.RawMessage

func (e *extras) addFields(fields map[string]respjson.Field) {
	for name, field := range fields {
		raw := field.Raw()
		if !slices.Contains(extraFields, name) || raw == "" || raw == "null" || !json.Valid([]byte(raw)) {
			continue
		}
		if *e == nil {
			*e = extras{}
		}
		(*e)[name] = joined((*e)[name], json.RawMessage(raw))
	}
}

// text is a field that is a text.
func (e extras) text(name string) string {
	var text string
	if json.Unmarshal(e[name], &text) != nil {
		return ""
	}
	return text
}

// joined puts two pieces of one field together: texts are joined, lists continued, objects laid over each other.
func joined(before, piece json.RawMessage) json.RawMessage {
	if len(before) == 0 || before[0] != piece[0] {
		return piece
	}
	switch piece[0] {
	case '"':
		var a, b string
		if json.Unmarshal(before, &a) == nil && json.Unmarshal(piece, &b) == nil {
			return encode(a + b)
		}
	case '[':
		var a, b []json.RawMessage
		if json.Unmarshal(before, &a) == nil && json.Unmarshal(piece, &b) == nil {
			return encode(joinedParts(a, b))
		}
	case '{':
		var a, b map[string]json.RawMessage
		if json.Unmarshal(before, &a) == nil && json.Unmarshal(piece, &b) == nil {
			for name, value := range b {
				a[name] = value
			}
			return encode(a)
		}
	}
	return piece
}

// joinedParts continues a list. A part that has the type and index of the last one goes on with it.
func joinedParts(parts, more []json.RawMessage) []json.RawMessage {
	for _, part := range more {
		if n := len(parts); n > 0 {
			if one, ok := onePart(parts[n-1], part); ok {
				parts[n-1] = one
				continue
			}
		}
		parts = append(parts, part)
	}
	return parts
}

func onePart(before, piece json.RawMessage) (json.RawMessage, bool) {
	var a, b map[string]json.RawMessage
	if json.Unmarshal(before, &a) != nil || json.Unmarshal(piece, &b) != nil || a == nil || b == nil ||
		string(a["type"]) != string(b["type"]) || string(a["index"]) != string(b["index"]) || len(a["index"]) == 0 {
		return nil, false
	}
	for name, value := range b {
		switch name {
		case "text", "summary", "thinking", "data":
			if len(a[name]) > 0 && len(value) > 0 && value[0] == '"' {
				value = joined(a[name], value)
			}
		}
		a[name] = value
	}
	return encode(a), true
}

func encode(value any) json.RawMessage {
	encoded, err := events.PlainJSON(value)
	if err != nil { // texts and raw JSON that was read
		return json.RawMessage("null")
	}
	return encoded
}

// part is one element of a content that is a list.
type part struct {
	Type     string          `json:"type"`
	Text     string          `json:"text"`
	Refusal  string          `json:"refusal"`
	Thinking json.RawMessage `json:"thinking"` // a text, or a list of parts
}

// partsText reads a content that is a list of parts, one part, or a text: what is said in it, and what is thought.
func partsText(raw string) (said, thought string) {
	switch {
	case strings.HasPrefix(raw, `"`):
		var text string
		if json.Unmarshal([]byte(raw), &text) == nil {
			return text, ""
		}
	case strings.HasPrefix(raw, "["):
		var parts []json.RawMessage
		if json.Unmarshal([]byte(raw), &parts) != nil {
			return "", ""
		}
		for _, one := range parts {
			s, t := partsText(string(one))
			said, thought = said+s, thought+t
		}
	case strings.HasPrefix(raw, "{"):
		var p part
		if json.Unmarshal([]byte(raw), &p) != nil {
			return "", ""
		}
		inner, _ := partsText(string(p.Thinking))
		if strings.Contains(p.Type, "thinking") || strings.Contains(p.Type, "reasoning") {
			return "", p.Text + inner
		}
		return p.Text + p.Refusal, inner
	}
	return said, thought
}
