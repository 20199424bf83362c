// Package plaintext makes text for models of what programs wrote for terminals.
package plaintext

import "unicode/utf8"

// Of makes text for a model of what a program wrote for a terminal: without escape sequences and control characters, of a line
// that was overwritten its last state, and with everything that is not UTF-8 replaced.
func Of(b []byte) string {
	out := make([]byte, 0, len(b))
	begun := 0 // where the current line begins in it
	for i := 0; i < len(b); {
		c := b[i]
		switch {
		case c == '\n':
			out = append(out, c)
			begun = len(out)
			i++
		case c == '\r':
			i++
			if i < len(b) && b[i] != '\n' && b[i] != '\r' {
				out = out[:begun] // the line is written over
			}
		case c == 0x1b:
			i += escape(b[i:])
		case c == '\t' || c >= ' ' && c < 0x7f:
			out = append(out, c)
			i++
		case c < utf8.RuneSelf:
			i++ // another control character
		default:
			r, size := utf8.DecodeRune(b[i:])
			if r < 0x80 || r > 0x9f { // not a control character of the second set
				out = utf8.AppendRune(out, r)
			}
			i += size
		}
	}
	return string(out)
}

// escape returns the length of the escape sequence that b begins with.
func escape(b []byte) int {
	if len(b) < 2 {
		return len(b)
	}
	switch b[1] {
	case '[': // CSI: parameters, then one final byte
		for i := 2; i < len(b); i++ {
			if b[i] >= 0x40 && b[i] <= 0x7e {
				return i + 1
			}
			if b[i] < 0x20 || b[i] > 0x7e {
				return i // it was broken off
			}
		}
		return len(b)
	case ']', 'P', 'X', '^', '_': // a string, up to BEL or ESC \
		for i := 2; i < len(b); i++ {
			switch {
			case b[i] == 0x07:
				return i + 1
			case b[i] == 0x1b && i+1 < len(b) && b[i+1] == '\\':
				return i + 2
			case b[i] == '\n':
				return i // it was broken off
			}
		}
		return len(b)
	case '(', ')', '*', '+', '#', '%', ' ': // a character set and the like
		return min(3, len(b))
	}
	if b[1] < ' ' || b[1] > '~' {
		return 1
	}
	return 2
}
