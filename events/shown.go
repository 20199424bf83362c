package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// What models, tools, files and other people wrote is shown to a person who decides by it. So whatever would act on a terminal, or would not be seen, is
// replaced by a sign that is.

// Visible shows the characters of a text that a person would not see: controls, directions of writing, and those without a width. Ends of lines and
// tabs stay.
func Visible(text string) string { return visible(text, "\n\t") }

// VisibleLine is Visible for a text that is to be one line: ends of lines and tabs are shown too.
func VisibleLine(text string) string { return visible(text, "") }

func visible(text, but string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return hidden(r) || r == unicode.ReplacementChar }) {
		return text
	}
	var shown strings.Builder
	before := rune(0)
	for i, r := range text {
		switch {
		case strings.ContainsRune(but, r) || !hidden(r) || joins(before, r, text[i:]):
			shown.WriteRune(r)
		case r < ' ':
			shown.WriteRune('␀' + r) // the control pictures
		case r == 0x7f:
			shown.WriteRune('␡')
		default:
			fmt.Fprintf(&shown, "<U+%04X>", r)
		}
		before = r
	}
	return shown.String()
}

// hidden reports a character that cannot be seen, or that changes how others are.
func hidden(r rune) bool {
	switch {
	case r >= ' ' && r <= '~':
		return false
	case unicode.Is(unicode.Prepended_Concatenation_Mark, r): // of the format characters, those that are drawn
		return false
	case r == '\u2800': // braille without a dot
		return true
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// joins reports a character that only changes the picture before it: in an emoji it hides nothing.
func joins(before, r rune, rest string) bool {
	picture := func(r rune) bool { return unicode.In(r, unicode.So, unicode.Sk) || r == '\ufe0f' }
	switch r {
	case '\ufe0e', '\ufe0f':
		return unicode.Is(unicode.So, before)
	case '\u200d':
		next := []rune(Cut(rest, 16))
		return picture(before) && len(next) > 1 && picture(next[1])
	}
	return false
}

// ShowArguments shows a person what a call would be given: a line for each argument, and texts of several lines with a bar before each. What does not
// fit into most bytes is left out in the middle, and so is what a preview of a blob lacks; left is how many bytes that are, and the lines say so.
func ShowArguments(arguments json.RawMessage, whole *BlobRef, most int) (lines []string, left int) {
	var object map[string]json.RawMessage
	if json.Unmarshal(arguments, &object) != nil || len(object) == 0 {
		lines = []string{VisibleLine(string(arguments))}
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		lines = append(lines, showArgument(name, object[name])...)
	}
	lines, left = cutMiddle(lines, most)
	if whole == nil {
		return lines, left
	}
	lines = append(lines, fmt.Sprintf("… these are the beginnings of arguments of %d bytes …", whole.Size))
	return lines, max(int(whole.Size)-len(arguments)+left, 1)
}

func showArgument(name string, value json.RawMessage) []string {
	name = VisibleLine(name) + ":"
	var text string
	if json.Unmarshal(value, &text) != nil || strings.TrimSpace(text) != text || text == "" || string(value) == "null" {
		return []string{name + " " + VisibleLine(string(value))} // a text that begins or ends with space is seen only in its quotes
	}
	if !strings.Contains(text, "\n") {
		return []string{name + " " + VisibleLine(text)}
	}
	lines := []string{name}
	for line := range strings.SplitSeq(text, "\n") {
		lines = append(lines, "  | "+visible(line, "\t"))
	}
	return lines
}

// cutMiddle leaves out the middle of lines that have more than most bytes together: what is at their end is seen.
func cutMiddle(lines []string, most int) (kept []string, left int) {
	text := strings.Join(lines, "\n")
	if len(text) <= most {
		return lines, 0
	}
	head := Cut(text, most/4*3)
	tail := text[len(text)-most/4:]
	for tail != "" && tail[0]&0xc0 == 0x80 {
		tail = tail[1:]
	}
	left = len(text) - len(head) - len(tail)
	kept = append(strings.Split(head, "\n"), fmt.Sprintf("… %d bytes are left out here …", left))
	return append(kept, strings.Split(tail, "\n")...), left
}

// LineArguments shows the arguments of a call on one line: as JSON, whole, or the first bytes of it with how many more there are.
func LineArguments(arguments json.RawMessage, whole *BlobRef, most int) string {
	line := VisibleLine(string(bytes.TrimSpace(arguments)))
	head := Cut(line, most)
	left := len(line) - len(head)
	if whole != nil {
		left = max(int(whole.Size)-len(head), 1)
	}
	if left == 0 {
		return line
	}
	return fmt.Sprintf("%s… (%d bytes are left out)", head, left)
}
