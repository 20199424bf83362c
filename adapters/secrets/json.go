package secrets

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"example.com/life/events"
)

// MaskJSON masks the texts in a JSON value, and numbers that are secrets. What is masked is JSON still: a text may be another one, and a number a text.
func (m *Masker) MaskJSON(level events.MaskingLevel, raw json.RawMessage) (json.RawMessage, []events.Masked) {
	if len(m.spans(level, string(raw))) == 0 && !m.hidden(level, raw) {
		return raw, nil
	}
	masked, hits := m.texts(level, raw)
	if len(m.spans(level, string(masked))) == 0 {
		return masked, hits
	}
	// What is left stands in more than one text, such as a key and its value; or what looks so, which may be JSON no longer.
	whole, more := m.Mask(level, string(masked))
	if !json.Valid([]byte(whole)) {
		text, err := events.PlainJSON(whole)
		if err != nil {
			text = json.RawMessage(`"` + marker("json") + `"`)
		}
		return text, events.CountMasked(hits, more...)
	}
	return json.RawMessage(whole), events.CountMasked(hits, more...)
}

// hidden reports whether a text with escapes in it holds a secret. The others stand in the JSON as they are.
func (m *Masker) hidden(level events.MaskingLevel, raw json.RawMessage) bool {
	for rest := []byte(raw); ; {
		at := bytes.IndexByte(rest, '"')
		if at < 0 {
			return false
		}
		end, escapes := at+1, false
		for end < len(rest) && rest[end] != '"' {
			if rest[end] == '\\' {
				escapes = true
				end++
			}
			end++
		}
		end = min(end+1, len(rest))
		var text string
		if escapes && (json.Unmarshal(rest[at:end], &text) != nil || len(m.spans(level, text)) > 0) {
			return true
		}
		rest = rest[end:]
	}
}

// texts masks each text by itself.
func (m *Masker) texts(level events.MaskingLevel, raw json.RawMessage) (json.RawMessage, []events.Masked) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil || decoder.More() {
		return raw, nil
	}
	var hits []events.Masked
	value = m.value(level, value, &hits)
	if len(hits) == 0 {
		return raw, nil
	}
	masked, err := events.PlainJSON(value)
	if err != nil {
		return raw, nil // what was decoded can be encoded; what is not masked here is masked as one text
	}
	return masked, hits
}

func (m *Masker) value(level events.MaskingLevel, value any, hits *[]events.Masked) any {
	mask := func(text string) string {
		masked, more := m.Mask(level, text)
		*hits = events.CountMasked(*hits, more...)
		return masked
	}
	switch v := value.(type) {
	case string:
		return mask(v)
	case json.Number:
		if masked := mask(string(v)); masked != string(v) {
			return masked
		}
	case []any:
		for i := range v {
			v[i] = m.value(level, v[i], hits)
		}
	case map[string]any:
		fields := make(map[string]any, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			name := mask(key)
			for _, taken := fields[name]; taken; _, taken = fields[name] {
				name += "'" // two secrets as keys
			}
			fields[name] = m.value(level, v[key], hits)
		}
		return fields
	}
	return value
}
