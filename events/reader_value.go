package events

import "bytes"

// deepest is how far values may be nested in one another; encoding/json goes deeper.
const deepest = 100

// value passes over one JSON value with no spaces in it. It accepts nothing that encoding/json does not.
func (r *reader) value(depth int) {
	if r.bad || depth > deepest || r.at >= len(r.data) {
		r.bad = true
		return
	}
	switch b := r.data[r.at]; {
	case b == '"':
		r.skipString()
	case b == '{':
		r.at++
		r.members(depth, '}')
	case b == '[':
		r.at++
		r.members(depth, ']')
	case b == '-', b >= '0' && b <= '9':
		r.skipNumber()
	default:
		for _, literal := range [...]string{"true", "false", "null"} {
			if bytes.HasPrefix(r.data[r.at:], []byte(literal)) {
				r.at += len(literal)
				return
			}
		}
		r.bad = true
	}
}

// members passes over what an object or a list holds.
func (r *reader) members(depth int, end byte) {
	for more := !r.next(end); more && !r.bad; {
		if end == '}' {
			if r.at >= len(r.data) || r.data[r.at] != '"' {
				r.bad = true
				return
			}
			r.skipString()
			r.mark(':')
		}
		r.value(depth + 1)
		if more = r.next(','); !more {
			r.mark(end)
		}
	}
}

// skipString passes over a string, looking at its escapes.
func (r *reader) skipString() {
	for r.at++; r.at < len(r.data); r.at++ {
		switch b := r.data[r.at]; {
		case b == '"':
			r.at++
			return
		case b < ' ':
			r.bad = true
			return
		case b == '\\':
			if r.at++; r.at < len(r.data) && r.data[r.at] == 'u' {
				r.skipHex()
			} else if r.at >= len(r.data) || escapes[r.data[r.at]] == 0 {
				r.bad = true
				return
			}
		}
		if r.bad {
			return
		}
	}
	r.bad = true
}

func (r *reader) skipHex() {
	for range 4 {
		r.at++
		if r.at >= len(r.data) {
			r.bad = true
			return
		}
		switch b := r.data[r.at]; {
		case b >= '0' && b <= '9', b >= 'a' && b <= 'f', b >= 'A' && b <= 'F':
		default:
			r.bad = true
			return
		}
	}
}

// skipNumber passes over a number with its fraction and exponent.
func (r *reader) skipNumber() {
	r.next('-')
	if !r.next('0') {
		r.digits()
	}
	if r.next('.') {
		r.digits()
	}
	if r.next('e') || r.next('E') {
		if !r.next('+') {
			r.next('-')
		}
		r.digits()
	}
}

// digits passes over one digit or more.
func (r *reader) digits() {
	begin := r.at
	for r.at < len(r.data) && r.data[r.at] >= '0' && r.data[r.at] <= '9' {
		r.at++
	}
	r.bad = r.bad || r.at == begin
}
