package events

import "bytes"

// deepest is how far values may be nested in one another; encoding/json goes deeper.
const deepest = 100

// value passes over one JSON value with no spaces in it. It accepts nothing that encoding/json does not.
func (c *codec) value(depth int) {
	if c.bad || depth > deepest || c.at >= len(c.data) {
		c.bad = true
		return
	}
	switch b := c.data[c.at]; {
	case b == '"':
		c.skipString()
	case b == '{':
		c.at++
		c.members(depth, '}')
	case b == '[':
		c.at++
		c.members(depth, ']')
	case b == '-', b >= '0' && b <= '9':
		c.skipNumber()
	default:
		for _, literal := range [...]string{"true", "false", "null"} {
			if bytes.HasPrefix(c.data[c.at:], []byte(literal)) {
				c.at += len(literal)
				return
			}
		}
		c.bad = true
	}
}

// members passes over what an object or a list holds.
func (c *codec) members(depth int, end byte) {
	for more := !c.next(end); more && !c.bad; {
		if end == '}' {
			if c.at >= len(c.data) || c.data[c.at] != '"' {
				c.bad = true
				return
			}
			c.skipString()
			c.mark(':')
		}
		c.value(depth + 1)
		if more = c.next(','); !more {
			c.mark(end)
		}
	}
}

// skipString passes over a string, looking at its escapes.
func (c *codec) skipString() {
	for c.at++; c.at < len(c.data); c.at++ {
		switch b := c.data[c.at]; {
		case b == '"':
			c.at++
			return
		case b < ' ':
			c.bad = true
			return
		case b == '\\':
			if c.at++; c.at < len(c.data) && c.data[c.at] == 'u' {
				c.skipHex()
			} else if c.at >= len(c.data) || escapes[c.data[c.at]] == 0 {
				c.bad = true
				return
			}
		}
		if c.bad {
			return
		}
	}
	c.bad = true
}

func (c *codec) skipHex() {
	for range 4 {
		c.at++
		if c.at >= len(c.data) {
			c.bad = true
			return
		}
		switch b := c.data[c.at]; {
		case b >= '0' && b <= '9', b >= 'a' && b <= 'f', b >= 'A' && b <= 'F':
		default:
			c.bad = true
			return
		}
	}
}

// skipNumber passes over a number with its fraction and exponent.
func (c *codec) skipNumber() {
	c.next('-')
	if !c.next('0') {
		c.digits()
	}
	if c.next('.') {
		c.digits()
	}
	if c.next('e') || c.next('E') {
		if !c.next('+') {
			c.next('-')
		}
		c.digits()
	}
}

// digits passes over one digit or more.
func (c *codec) digits() {
	begin := c.at
	for c.at < len(c.data) && c.data[c.at] >= '0' && c.data[c.at] <= '9' {
		c.at++
	}
	c.bad = c.bad || c.at == begin
}
