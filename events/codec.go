package events

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"unicode/utf8"
)

// codec reads and writes the data of the kinds that make up most of a history (see walk.go), several times as fast as encoding/json:
// without reflection, looking at each byte once. Each such kind has one method walk that names its fields in the order in which they
// are stored, and serves both ways.
//
// It knows what Encode writes and nothing else. Whatever it does not expect, such as spaces, fields in another order, rare escapes or
// text that is no UTF-8, makes it bad, and then encoding/json does the work. So it never decides what is right: properties and fuzz
// tests hold it to what encoding/json gives.
type codec struct {
	data    []byte // what is read, or was written so far
	at      int    // in what is read
	writing bool
	outline bool // texts, arguments and digests are passed over when reading
	bad     bool
}

// whole reports whether all was read, and understood.
func (c *codec) whole() bool { return !c.bad && c.at == len(c.data) }

// mark reads or writes a character of the syntax.
func (c *codec) mark(b byte) {
	switch {
	case c.writing:
		c.data = append(c.data, b)
	case c.at < len(c.data) && c.data[c.at] == b:
		c.at++
	default:
		c.bad = true
	}
}

// next reports whether a character of the syntax comes next, and reads it.
func (c *codec) next(b byte) bool {
	if c.at < len(c.data) && c.data[c.at] == b {
		c.at++
		return true
	}
	return false
}

// key moves to the value of a field; false if another one comes.
func (c *codec) key(name string) bool {
	if c.writing {
		if c.data[len(c.data)-1] != '{' {
			c.data = append(c.data, ',')
		}
		c.data = append(append(append(c.data, '"'), name...), '"', ':')
		return true
	}
	at := c.at
	if c.bad || at == 0 {
		return false
	}
	if c.data[at-1] != '{' {
		if at == len(c.data) || c.data[at] != ',' {
			return false
		}
		at++
	}
	end := at + len(name) + 3
	if end > len(c.data) || c.data[at] != '"' || string(c.data[at+1:end-2]) != name || c.data[end-2] != '"' || c.data[end-1] != ':' {
		return false
	}
	c.at = end
	return true
}

// need is key for a field that is always there.
func (c *codec) need(name string) bool {
	if c.key(name) {
		return true
	}
	c.bad = true
	return false
}

// maybe is key for a field that is left out when it is zero.
func (c *codec) maybe(name string, zero bool) bool { return (!c.writing || !zero) && c.key(name) }

// text is a field that is a string.
func text[T ~string](c *codec, name string, v *T) {
	if c.need(name) {
		s := string(*v)
		if c.string(&s); !c.writing { // what is written may be shared
			*v = T(s)
		}
	}
}

// maybeText is a field that is a string and left out when it is empty.
func maybeText[T ~string](c *codec, name string, v *T) {
	if c.maybe(name, *v == "") {
		s := string(*v)
		if c.string(&s); !c.writing { // what is written may be shared
			*v = T(s)
		}
	}
}

// texts is a field that is a list of strings.
func texts[T ~string](c *codec, name string, v *[]T) {
	if c.need(name) {
		stringsOf(c, v)
	}
}

// maybeTexts is a field that is a list of strings and left out when it is empty.
func maybeTexts[T ~string](c *codec, name string, v *[]T) {
	if c.maybe(name, len(*v) == 0) {
		stringsOf(c, v)
	}
}

func stringsOf[T ~string](c *codec, v *[]T) {
	if c.writing && *v == nil {
		c.bad = true // null
		return
	}
	c.mark('[')
	if c.writing {
		for i := range *v {
			if i > 0 {
				c.mark(',')
			}
			c.appendString(string((*v)[i]))
		}
		c.mark(']')
		return
	}
	all := []T{}
	for more := !c.next(']'); more && !c.bad; {
		var each string
		c.string(&each)
		all = append(all, T(each))
		if more = c.next(','); !more {
			c.mark(']')
		}
	}
	*v = all
}

// number is a field that is a number.
func number[T ~int](c *codec, name string, v *T) {
	if c.need(name) {
		n := int64(*v)
		if c.integer(&n); !c.writing { // what is written may be shared
			*v = T(n)
		}
	}
}

// maybeNumber is a field that is a number and left out when it is 0.
func maybeNumber[T ~int](c *codec, name string, v *T) {
	if c.maybe(name, *v == 0) {
		n := int64(*v)
		if c.integer(&n); !c.writing { // what is written may be shared
			*v = T(n)
		}
	}
}

// quoted is a field that is a number of 64 bits, which is written as a string.
func quoted[T ~int64](c *codec, name string, v *T) {
	if c.need(name) {
		n := int64(*v)
		c.mark('"')
		c.integer(&n)
		c.mark('"')
		if !c.writing { // what is written may be shared
			*v = T(n)
		}
	}
}

// maybeQuoted is quoted, left out when it is 0.
func maybeQuoted[T ~int64](c *codec, name string, v *T) {
	if c.maybe(name, *v == 0) {
		n := int64(*v)
		c.mark('"')
		c.integer(&n)
		c.mark('"')
		if !c.writing { // what is written may be shared
			*v = T(n)
		}
	}
}

func (c *codec) integer(v *int64) {
	if c.writing {
		c.data = strconv.AppendInt(c.data, *v, 10)
		return
	}
	negative := c.next('-')
	n, begin := int64(0), c.at
	for c.at < len(c.data) && c.data[c.at] >= '0' && c.data[c.at] <= '9' {
		n = 10*n + int64(c.data[c.at]-'0')
		c.at++
	}
	if length := c.at - begin; length == 0 || length > 18 || length > 1 && c.data[begin] == '0' {
		c.bad = true // longer ones may not fit
	}
	if *v = n; negative {
		*v = -n
	}
}

// flag is a field that is true or false.
func (c *codec) flag(name string, v *bool) {
	if c.need(name) {
		c.boolean(v)
	}
}

// maybeFlag is a field that is true, or left out.
func (c *codec) maybeFlag(name string, v *bool) {
	if c.maybe(name, !*v) {
		c.boolean(v)
	}
}

func (c *codec) boolean(v *bool) {
	switch {
	case c.writing:
		c.data = strconv.AppendBool(c.data, *v)
	case bytes.HasPrefix(c.data[c.at:], []byte("true")):
		*v, c.at = true, c.at+len("true")
	case bytes.HasPrefix(c.data[c.at:], []byte("false")):
		*v, c.at = false, c.at+len("false")
	default:
		c.bad = true
	}
}

// digest is a field that is a digest.
func (c *codec) digest(name string, v *Digest) {
	if !c.need(name) {
		return
	}
	if c.writing {
		c.data = append(hex.AppendEncode(append(c.data, '"'), v[:]), '"')
		return
	}
	if c.outline && c.at < len(c.data) && c.data[c.at] == '"' {
		c.skipString()
		return
	}
	end := c.at + 1 + hex.EncodedLen(len(v))
	if c.mark('"'); c.bad || end > len(c.data) {
		c.bad = true
		return
	}
	if _, err := hex.Decode(v[:], c.data[c.at:end]); err != nil {
		c.bad = true
		return
	}
	c.at = end
	c.mark('"')
}

// raw is a field that is any JSON, as it was written.
func (c *codec) raw(name string, v *[]byte) {
	if !c.need(name) {
		return
	}
	if c.writing {
		if !compact(*v) {
			c.bad = true // encoding/json makes it so, or refuses it
			return
		}
		c.data = append(c.data, *v...)
		return
	}
	begin := c.at
	if c.value(0); !c.bad && !c.outline {
		*v = bytes.Clone(c.data[begin:c.at])
	}
}

// compact reports whether text is one JSON value with no spaces around its parts.
func compact(text []byte) bool {
	c := codec{data: text}
	c.value(0)
	return c.whole()
}

// string reads or writes a string.
func (c *codec) string(v *string) {
	if c.writing {
		c.appendString(*v)
		return
	}
	if c.mark('"'); c.bad {
		return
	}
	begin, high := c.at, byte(0)
	for i := begin; i < len(c.data); i++ {
		b := c.data[i]
		switch {
		case b == '"':
			c.at = i + 1
			plain := c.data[begin:i]
			if high >= utf8.RuneSelf && !utf8.Valid(plain) {
				c.bad = true
			}
			*v = string(plain)
			return
		case b == '\\':
			c.escaped(begin, i, v)
			return
		case b < ' ':
			c.bad = true
			return
		}
		high |= b
	}
	c.bad = true
}

// escaped reads a string from its first escape on.
func (c *codec) escaped(begin, i int, v *string) {
	plain := append(make([]byte, 0, i-begin+256), c.data[begin:i]...)
	for ; i < len(c.data); i++ {
		switch b := c.data[i]; {
		case b == '"':
			c.at = i + 1
			c.bad = !utf8.Valid(plain)
			*v = string(plain)
			return
		case b < ' ':
			c.bad = true
			return
		case b != '\\':
			plain = append(plain, b)
			continue
		}
		if i++; i == len(c.data) {
			break
		}
		meant := escapes[c.data[i]]
		if meant == 0 {
			break // \u, or none at all
		}
		plain = append(plain, meant)
	}
	c.bad = true
}

// escapes are the characters that may follow a backslash, and what they mean.
//
//nolint:gochecknoglobals // a table that nothing writes to
var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// appendString writes a string as encoding/json does. What it escapes in other ways is left to it.
func (c *codec) appendString(s string) {
	c.data = append(c.data, '"')
	done := 0
	for i := 0; i < len(s); {
		b := s[i]
		if b >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 || r == '\u2028' || r == '\u2029' {
				c.bad = true
				return
			}
			i += size
			continue
		}
		if b >= ' ' && b != '"' && b != '\\' {
			i++
			continue
		}
		c.data = append(append(c.data, s[done:i]...), '\\')
		switch b {
		case '"', '\\':
			c.data = append(c.data, b)
		case '\n':
			c.data = append(c.data, 'n')
		case '\r':
			c.data = append(c.data, 'r')
		case '\t':
			c.data = append(c.data, 't')
		default:
			c.bad = true
			return
		}
		i++
		done = i
	}
	c.data = append(append(c.data, s[done:]...), '"')
}
