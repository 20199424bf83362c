package tools

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

// charset is how a file's text is stored, as far as its beginning tells. Files in UTF-16 and UTF-32 are read and written as text; of others, bytes that
// are not UTF-8 stay as they are, and whoever shows them says so.
type charset struct {
	name  string            // empty: UTF-8 or what cannot be told from it
	mark  string            // the byte order mark that the file begins with
	codec encoding.Encoding // nil: the text is the bytes
}

// marked are the charsets that are told by their mark. UTF-32 comes before UTF-16, whose mark begins like its own.
func marked() []charset {
	return []charset{
		{"", "\xef\xbb\xbf", nil},
		{"UTF-32LE", "\xff\xfe\x00\x00", utf32.UTF32(utf32.LittleEndian, utf32.IgnoreBOM)},
		{"UTF-32BE", "\x00\x00\xfe\xff", utf32.UTF32(utf32.BigEndian, utf32.IgnoreBOM)},
		{"UTF-16LE", "\xff\xfe", unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)},
		{"UTF-16BE", "\xfe\xff", unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)},
	}
}

// charsetOf tells the charset from the beginning of a file.
func charsetOf(start []byte) charset {
	all := marked()
	for _, c := range all {
		if bytes.HasPrefix(start, []byte(c.mark)) {
			return c
		}
	}
	for i, c := range all[3:] { // without a mark, Western text in UTF-16 is told by its zeros: each second byte
		if c.mark = ""; halfZero(start, 1-i) {
			return c
		}
	}
	return charset{}
}

// halfZero reports whether nearly all bytes at one place of each pair are zero, and those at the other are text.
func halfZero(start []byte, place int) bool {
	pairs, zeros := len(start)/2, 0
	for i := range pairs {
		if c := start[2*i+1-place]; c < ' ' && c != '\t' && c != '\n' && c != '\r' {
			return false
		}
		if start[2*i+place] == 0 {
			zeros++
		}
	}
	return pairs > 1 && len(start)%2 == 0 && zeros*10 >= pairs*9
}

// decode returns a file's text without its mark; whole reports that encode gives the same bytes again.
func (c *charset) decode(content []byte) (text []byte, whole bool) {
	content = bytes.TrimPrefix(content, []byte(c.mark))
	if c.codec == nil {
		return content, true
	}
	text, err := c.codec.NewDecoder().Bytes(content)
	if err != nil {
		return nil, false
	}
	again, err := c.codec.NewEncoder().Bytes(text)
	return text, err == nil && bytes.Equal(again, content)
}

// encode is the opposite of decode.
func (c *charset) encode(text []byte) ([]byte, error) {
	text = bytes.TrimPrefix(text, []byte("\uFEFF")) // a model may have written the mark itself
	if c.codec != nil {
		var err error
		if text, err = c.codec.NewEncoder().Bytes(text); err != nil {
			return nil, fmt.Errorf("write the text as %s: %w", c.name, err)
		}
	}
	return append([]byte(c.mark), text...), nil
}

// String names the charset for a note.
func (c *charset) String() string {
	switch {
	case c.name == "":
		return "UTF-8 with a byte order mark"
	case c.mark == "":
		return c.name + " without a byte order mark"
	}
	return c.name
}

// note says that what is shown is not the bytes of the file.
func (c *charset) note() string {
	if c.name == "" && c.mark == "" {
		return ""
	}
	return fmt.Sprintf("[the file is %s; it is shown as text, and edit_file and write_file keep it so]", c)
}

// legacy says what bytes that are not UTF-8 may be, or nothing if there are none.
func legacy(content []byte) string {
	if utf8.Valid(content) {
		return ""
	}
	control := false
	for rest := content; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		if size > 1 {
			return "mostly UTF-8, with bytes that are not"
		}
		control = control || r == utf8.RuneError && rest[0] < 0xa0
		rest = rest[size:]
	}
	if control {
		return "not UTF-8, perhaps Windows-1252"
	}
	return "not UTF-8, perhaps Latin-1"
}

// mostlyUTF8 reports whether new text in UTF-8 belongs into a file.
func mostlyUTF8(content []byte) bool {
	kind := legacy(content)
	return kind == "" || strings.HasPrefix(kind, "mostly")
}

// fromLegacy is how bytes look that are not UTF-8, if they are Windows-1252, which holds Latin-1.
func fromLegacy(line []byte) []byte {
	text, err := charmap.Windows1252.NewDecoder().Bytes(line)
	if err != nil {
		return nil
	}
	return text
}

// replacement stands for bytes that are not UTF-8 wherever they are shown.
const replacement = "\uFFFD"

// ascii reports whether a text is the same in all charsets that files have.
func ascii(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}
