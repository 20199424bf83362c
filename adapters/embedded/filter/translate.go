package filter

import (
	"fmt"
	"strings"
	"unicode/utf16"
)

// translate writes a .NET expression as regexp2 reads it with the same meaning. The two differ in little:
//
//   - regexp2 knows some of Perl's syntax that .NET refuses, or has a word for something else: it is refused here.
//   - .NET's \p names general categories and blocks, regexp2's general categories and scripts: blocks become ranges.
//   - .NET's characters are units of UTF-16: one beyond the first plane becomes the two that it is.
//
// What neither knows is left for regexp2 to refuse.
func translate(text string) (string, error) {
	t := translation{rest: []rune(text), spaced: []bool{false}}
	for len(t.rest) > 0 {
		if err := t.next(); err != nil {
			return "", err
		}
	}
	return t.out.String(), nil
}

type translation struct {
	rest   []rune
	out    strings.Builder
	spaced []bool // whether blanks and comments are left out ("x"), in each group that is open
}

// syntaxError says what .NET does not know.
func syntaxError(what string) error { return fmt.Errorf("%s is none of .NET's", what) }

// at is a rune that comes; 0 beyond the end.
func (t *translation) at(i int) rune {
	if i < len(t.rest) {
		return t.rest[i]
	}
	return 0
}

// starts reports that a text comes.
func (t *translation) starts(text string) bool {
	for i, r := range []rune(text) {
		if t.at(i) != r {
			return false
		}
	}
	return true
}

// copy moves runes over, those beyond the first plane as two units.
func (t *translation) copy(n int) {
	n = min(n, len(t.rest))
	for _, r := range t.rest[:n] {
		if high, low := utf16.EncodeRune(r); r > 0xffff {
			fmt.Fprintf(&t.out, `\u%04X\u%04X`, high, low)
		} else {
			t.out.WriteRune(r)
		}
	}
	t.rest = t.rest[n:]
}

// copyTo moves over everything up to a rune, and with it.
func (t *translation) copyTo(end rune) {
	for len(t.rest) > 0 && t.at(0) != end {
		t.copy(1)
	}
	t.copy(1)
}

// next moves over what comes outside a class.
func (t *translation) next() error {
	top := len(t.spaced) - 1
	switch r := t.at(0); {
	case r == '\\':
		_, err := t.escape(false)
		return err
	case r == '[':
		return t.class()
	case r == '(':
		return t.open()
	case r == ')':
		if top > 0 {
			t.spaced = t.spaced[:top]
		}
		t.copy(1)
	case r == '#' && t.spaced[top]:
		t.copyTo('\n')
	case r == '*' || r == '+' || r == '?':
		t.copy(1)
		return t.notPossessive()
	case r == '{' && t.repetition() > 0:
		t.copy(t.repetition())
		return t.notPossessive()
	default:
		t.copy(1)
	}
	return nil
}

// repetition is the length of {n}, {n,} or {n,m}; 0 when what comes is none of them, and so stands for itself.
func (t *translation) repetition() int {
	i := 1
	digits := func() (some bool) {
		for ; '0' <= t.at(i) && t.at(i) <= '9'; i++ {
			some = true
		}
		return some
	}
	if !digits() {
		return 0
	}
	if t.at(i) == ',' {
		i++
		digits()
	}
	if t.at(i) != '}' {
		return 0
	}
	return i + 1
}

// notPossessive refuses a plus behind a quantifier, which to .NET is a second one. Blanks and comments may be in between.
func (t *translation) notPossessive() error {
	for {
		switch spaced := t.spaced[len(t.spaced)-1]; {
		case t.starts("(?#"):
			t.copyTo(')')
		case spaced && t.at(0) == '#':
			t.copyTo('\n')
		case spaced && strings.ContainsRune(" \t\n\v\f\r", t.at(0)):
			t.copy(1)
		case t.at(0) == '+':
			return syntaxError("a + behind another quantifier")
		default:
			return nil
		}
	}
}

// open moves over the beginning of a group, a comment, or options.
func (t *translation) open() error {
	spaced := t.spaced[len(t.spaced)-1]
	if t.starts("(?#") {
		t.copyTo(')')
		return nil
	}
	if t.at(1) != '?' || strings.ContainsRune(":=!><'(", t.at(2)) {
		if t.at(1) == '?' && t.at(2) != '(' { // the condition of (?( is a group of its own
			t.copy(2)
		}
		t.spaced = append(t.spaced, spaced)
		t.copy(1)
		if t.starts("?(") {
			t.copy(1)
		}
		return nil
	}
	i, on := 2, true
	for ; strings.ContainsRune("imnsxIMNSX+-", t.at(i)) && t.at(i) != 0; i++ {
		switch t.at(i) {
		case '+', '-':
			on = t.at(i) == '+'
		case 'x', 'X':
			spaced = on
		}
	}
	switch t.at(i) {
	case ')':
		t.spaced[len(t.spaced)-1] = spaced
	case ':':
		t.spaced = append(t.spaced, spaced)
	default:
		return syntaxError(fmt.Sprintf("the group %q", string(t.rest[:min(i+1, len(t.rest))])))
	}
	t.copy(i + 1)
	return nil
}

// The letters and digits that stand behind a backslash.
const (
	escapes      = "abcefnprstuvwxABDGPSWZkdz0123456789"
	classEscapes = "abcefnprstuvwxDPSWd01234567"
)

// escape moves over a backslash and what belongs to it. Many is whether it stands for a set of characters.
func (t *translation) escape(inClass bool) (many bool, err error) {
	known := escapes
	if inClass {
		known = classEscapes
	}
	switch r := t.at(1); {
	case r == 'p' || r == 'P':
		return true, t.property(inClass)
	case r == 'c':
		t.copy(3)
	case r == 'x' && t.at(2) == '{':
		return false, syntaxError(`\x{`)
	case r > 0xffff:
		t.rest = t.rest[1:]
		t.copy(1)
	case (r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z') && !strings.ContainsRune(known, r):
		return false, syntaxError(`\` + string(r))
	default:
		t.copy(2)
		return strings.ContainsRune("dDsSwW", r), nil
	}
	return false, nil
}

// property moves over \p{name} or \P{name}.
func (t *translation) property(inClass bool) error {
	end := 3
	for t.at(end) != '}' && end < len(t.rest) {
		end++
	}
	if t.at(2) != '{' || end == len(t.rest) {
		return syntaxError(fmt.Sprintf(`\%c without a name in braces`, t.at(1)))
	}
	name := string(t.rest[3:end])
	if categories[name] {
		t.copy(end + 1)
		return nil
	}
	b, known := blocks[name]
	if !known {
		return syntaxError(fmt.Sprintf("the Unicode property %q", name))
	}
	ranges := fmt.Sprintf(`\u%04X-\u%04X`, b.first, b.last)
	if t.at(1) == 'P' {
		ranges = b.others()
	}
	if !inClass {
		ranges = "[" + ranges + "]"
	}
	t.out.WriteString(ranges)
	t.rest = t.rest[end+1:]
	return nil
}

// class moves over a class of characters, and those that are subtracted from it.
func (t *translation) class() error {
	t.copy(1)
	if t.at(0) == '^' {
		t.copy(1)
	}
	ranged := false // what comes ends a range
	for first := true; len(t.rest) > 0; first = false {
		r := t.at(0)
		switch {
		case r == ']' && !first:
			t.copy(1)
			return nil
		case r == '\\':
			many, err := t.escape(true)
			if err != nil {
				return err
			}
			if many && ranged {
				return syntaxError("a range to a class of characters")
			}
			if many {
				continue
			}
		case r == '[' && ranged && !first:
			return t.subtracted()
		case r == '-' && t.at(1) == '[' && !ranged && !first:
			t.copy(1)
			return t.subtracted()
		case r == '[': // regexp2 skips [:name:], to .NET it is its characters
			t.out.WriteByte('\\')
			t.copy(1)
		default:
			t.copy(1)
		}
		if ranged {
			ranged = false
		} else if t.at(0) == '-' && t.at(1) != ']' {
			t.copy(1)
			ranged = true
		}
	}
	return nil
}

// subtracted moves over a class that is subtracted, and the end of the class that it stands in.
func (t *translation) subtracted() error {
	if err := t.class(); err != nil || t.at(0) != ']' {
		return err
	}
	t.copy(1)
	return nil
}
