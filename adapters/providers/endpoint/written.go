package endpoint

import (
	"encoding/json"
	"strings"
)

// Written is what a model writes as the arguments of a call, in pieces. It knows when they are one JSON object without reading all of them again at
// each piece.
type Written struct {
	text    strings.Builder
	depth   int
	quoted  bool // within a string
	escaped bool
	ended   bool // the outermost bracket was closed
	more    bool // and something came after it
	read    bool // whether they are valid is known
	valid   bool
}

// Write adds a piece.
func (w *Written) Write(piece string) {
	w.text.WriteString(piece)
	w.read = false
	for i := range len(piece) {
		switch c := piece[i]; {
		case w.ended:
			w.more = w.more || c > ' '
		case w.escaped:
			w.escaped = false
		case w.quoted:
			w.escaped, w.quoted = c == '\\', c != '"'
		case c == '"':
			w.quoted = true
		case c == '{' || c == '[':
			w.depth++
		case c == '}' || c == ']':
			w.depth--
			w.ended = w.depth <= 0
		}
	}
}

// Whole reports whether they are one JSON object: then no piece can belong to them any more.
func (w *Written) Whole() bool {
	if !w.ended || w.more {
		return false
	}
	if !w.read {
		text := strings.TrimSpace(w.text.String())
		w.read, w.valid = true, strings.HasPrefix(text, "{") && json.Valid([]byte(text))
	}
	return w.valid
}

// String is all of them.
func (w *Written) String() string { return w.text.String() }

// Len is how many bytes they have.
func (w *Written) Len() int { return w.text.Len() }
