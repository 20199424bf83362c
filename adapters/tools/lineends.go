package tools

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// anyEnd is a line end, of whatever system.
var anyEnd = regexp.MustCompile(`(?:\r\n|\n|\r)`)

// lineEnds returns the kinds of line ends in a text, each once: "\r\n", "\n", "\r".
func lineEnds(text []byte) (kinds []string) {
	crlf := bytes.Count(text, []byte("\r\n"))
	if crlf > 0 {
		kinds = append(kinds, "\r\n")
	}
	if bytes.Count(text, []byte("\n")) > crlf {
		kinds = append(kinds, "\n")
	}
	if bytes.Count(text, []byte("\r")) > crlf {
		kinds = append(kinds, "\r")
	}
	return kinds
}

// endOf is the line end that new lines at the end of a text get: that of its last line. An \r alone is one only where there is no other.
func endOf(text []byte) string {
	switch at := bytes.LastIndexByte(text, '\n'); {
	case at > 0 && text[at-1] == '\r':
		return "\r\n"
	case at < 0 && bytes.IndexByte(text, '\r') >= 0:
		return "\r"
	}
	return "\n"
}

// shownEnds names line ends for a message.
func shownEnds(kinds []string) string {
	return strings.NewReplacer("\r", `\r`, "\n", `\n`).Replace(strings.Join(kinds, " and "))
}

// withEnds puts a line end in place of each bare \n. What holds an \r is as its writer wants it.
func withEnds(text, end string) string {
	if end == "\n" || strings.Contains(text, "\r") {
		return text
	}
	return strings.ReplaceAll(text, "\n", end)
}

// found is one place where a text stands in a file.
type found struct{ from, to int }

// occurrences finds old in a text. Its line ends match whatever line ends there are, unless it names \r and stands there byte for byte.
func occurrences(text []byte, old string) []found {
	if exact := exactly(text, old); !strings.Contains(old, "\n") || strings.Contains(old, "\r") && len(exact) > 0 {
		return exact
	}
	lines := strings.Split(oneEnd(old), "\n")
	for i, line := range lines {
		lines[i] = regexp.QuoteMeta(line)
	}
	pattern, err := regexp.Compile(strings.Join(lines, anyEnd.String()))
	if err != nil { // it is too long for one
		return exactly(text, old)
	}
	var all []found
	for _, at := range pattern.FindAllIndex(text, -1) {
		all = append(all, found{at[0], at[1]})
	}
	return all
}

// oneEnd is a text with \n for every line end.
func oneEnd(text string) string { return strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text) }

func exactly(text []byte, old string) (all []found) {
	for from := 0; ; {
		at := bytes.Index(text[from:], []byte(old))
		if at < 0 {
			return all
		}
		all = append(all, found{from + at, from + at + len(old)})
		from += at + len(old)
	}
}

// fit gives new text the line ends of what it replaces, and those of the line after it where it has more lines.
func (f *found) fit(text []byte, replacement string) string {
	if !strings.Contains(replacement, "\n") {
		return replacement
	}
	after := endOf(text)
	if next := bytes.IndexByte(text[f.to:], '\n'); next >= 0 {
		after = endOf(text[:f.to+next+1])
	}
	ends := anyEnd.FindAll(text[f.from:f.to], -1)
	if len(ends) > 0 {
		after = string(ends[len(ends)-1])
	}
	var out strings.Builder
	for i := 0; i < len(replacement); i++ {
		c := replacement[i]
		if c != '\n' || i > 0 && replacement[i-1] == '\r' {
			out.WriteByte(c)
			continue
		}
		end := after
		if len(ends) > 0 {
			end, ends = string(ends[0]), ends[1:]
		}
		out.WriteString(end)
	}
	return out.String()
}

// inNormalForm finds old where it stands in another normal form of Unicode: é as one character, or as two.
func inNormalForm(text []byte, old string) (all []found) {
	composed, origin := compose(text)
	all = occurrences(composed, norm.NFC.String(old))
	for i := range all {
		all[i].from, all[i].to = origin(all[i].from), origin(all[i].to)
	}
	return all
}

// compose is a text in composed form, and what leads from a place in it to the place in the text.
func compose(text []byte) (composed []byte, origin func(int) int) {
	type shift struct{ composed, text int } // from here on they run side by side
	shifts := []shift{{}}
	composed = make([]byte, 0, len(text))
	for at := 0; at < len(text); {
		size := norm.NFC.NextBoundary(text[at:], true)
		if size <= 0 {
			size = 1
		}
		part := text[at : at+size]
		if !norm.NFC.IsNormal(part) {
			part = norm.NFC.Bytes(part)
		}
		composed = append(composed, part...)
		if at += size; len(part) != size {
			shifts = append(shifts, shift{len(composed), at})
		}
	}
	return composed, func(place int) int {
		i, exact := slices.BinarySearchFunc(shifts, place, func(s shift, place int) int { return s.composed - place })
		if !exact {
			i--
		}
		return shifts[i].text + place - shifts[i].composed
	}
}
