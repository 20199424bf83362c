package runs

import "strings"

// LineChange is a line of one text or of both.
type LineChange struct {
	In   LineIn
	Text string // without its end
}

// LineIn says which of two texts a line is in.
type LineIn byte

// The kinds of lines.
const (
	InBoth LineIn = ' '
	InA    LineIn = '-'
	InB    LineIn = '+'
)

// DiffLines tells how to get from text a to text b: the lines of both in order, of each changed place those of a first.
func DiffLines(a, b string) []LineChange {
	one, other := lines(a), lines(b)
	changes := make([]LineChange, 0, max(len(one), len(other)))
	var added []LineChange // that come after those of a
	for _, p := range align(level{one, other}) {
		if p.a >= 0 && p.b >= 0 && one[p.a] == other[p.b] {
			changes = append(append(changes, added...), LineChange{InBoth, one[p.a]})
			added = added[:0]
			continue
		}
		if p.a >= 0 {
			changes = append(changes, LineChange{InA, one[p.a]})
		}
		if p.b >= 0 {
			added = append(added, LineChange{InB, other[p.b]})
		}
	}
	return append(changes, added...)
}

// lines splits a text; the end of the last line ends the text and begins no other.
func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}
