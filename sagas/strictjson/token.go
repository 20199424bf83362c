package strictjson

import (
	"bytes"
	"encoding/json"
)

// reader reads JSON that is known to be valid, token by token, and names the path of what does not fit. It goes no deeper than the
// type does. A json.Decoder would do the same, and looks at each byte three times more.
type reader struct {
	json []byte
	at   int
}

// next returns the next token, as json.Decoder.Token does with UseNumber.
func (r *reader) next() json.Token {
	switch first := r.peek(); first {
	case '{', '}', '[', ']':
		r.at++
		return json.Delim(first)
	case '"':
		return text(r.skip())
	case 't', 'f':
		r.skip()
		return first == 't'
	case 'n':
		r.skip()
		return nil
	}
	return json.Number(r.skip())
}

// more reports whether the object or array goes on.
func (r *reader) more() bool {
	c := r.peek()
	return c != '}' && c != ']'
}

// peek goes to the next token, and returns its first byte.
func (r *reader) peek() byte {
	for {
		switch c := r.json[r.at]; c {
		case ' ', '\t', '\r', '\n', ',', ':':
			r.at++
		default:
			return c
		}
	}
}

// skip goes behind the next value, and returns its bytes.
func (r *reader) skip() []byte {
	first := r.peek()
	from, depth := r.at, 0
	for r.at < len(r.json) {
		c := r.json[r.at]
		switch c {
		case '"':
			r.at = closing(r.json, r.at)
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 { // that of what the value, a number or word, is in
				return r.json[from:r.at]
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return r.json[from:r.at]
			}
		}
		r.at++
		if depth == 0 && (first == '"' || c == '}' || c == ']') {
			break
		}
	}
	return r.json[from:r.at]
}

// closing is where the text ends that begins with a quote.
func closing(raw []byte, at int) int {
	for at++; ; at++ {
		switch raw[at] {
		case '"':
			return at
		case '\\':
			at++
		}
	}
}

// text reads a text in quotes.
func text(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	var read string
	if err := json.Unmarshal(quoted, &read); err != nil { // not in valid JSON
		return ""
	}
	return read
}
