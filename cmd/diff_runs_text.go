package cmd

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"example.com/life/actors/history"
	"example.com/life/projections/runs"
)

// printTexts prints two texts as lines that are in one, in the other, or in both.
func printTexts(out io.Writer, d *history.FoundDifference) {
	if d.TextA == d.TextB {
		return
	}
	changes := narrowed(runs.DiffLines(d.TextA, d.TextB))
	for i, change := range changes {
		switch {
		case near(changes, i):
			fmt.Fprintf(out, "  %c %s\n", change.In, change.Text)
		case near(changes, i-1):
			fmt.Fprintln(out, "    …")
		}
	}
	if d.Cut {
		fmt.Fprintln(out, "    … (the rest is not shown)")
	}
}

// near reports whether a line is changed, or within three lines of one that is.
func near(changes []runs.LineChange, at int) bool {
	for i := max(0, at-3); i <= min(at+3, len(changes)-1); i++ {
		if at >= 0 && changes[i].In != runs.InBoth {
			return true
		}
	}
	return false
}

// narrowed cuts long lines that take the place of one another to what differs in them: a model's reply is often one long line.
func narrowed(changes []runs.LineChange) []runs.LineChange {
	for at := 0; at < len(changes); {
		a := leading(changes[at:], runs.InA)
		b := leading(changes[at+a:], runs.InB)
		if a == b {
			for i := at; i < at+a; i++ {
				changes[i].Text, changes[i+a].Text = narrow(changes[i].Text, changes[i+a].Text)
			}
		}
		at += max(a+b, 1)
	}
	return changes
}

// leading is how many lines of a kind come first.
func leading(changes []runs.LineChange, in runs.LineIn) int {
	n := 0
	for n < len(changes) && changes[n].In == in {
		n++
	}
	return n
}

// The width of a line that is shown whole, and how much of what two longer ones share is shown around their difference.
const (
	wideLine   = 120
	aroundDiff = 40
)

// narrow leaves out of two long lines most of what both begin and end with.
func narrow(a, b string) (string, string) {
	if max(len(a), len(b)) <= wideLine {
		return a, b
	}
	before, after := 0, 0
	for before < min(len(a), len(b)) && a[before] == b[before] {
		before++
	}
	for after < min(len(a), len(b))-before && a[len(a)-1-after] == b[len(b)-1-after] {
		after++
	}
	return inside(a, before, after), inside(b, before, after)
}

// inside cuts a line down to a little before and after where it differs, at whole characters.
func inside(line string, before, after int) string {
	begin, end := max(0, before-aroundDiff), min(len(line), len(line)-after+aroundDiff)
	for begin > 0 && !utf8.RuneStart(line[begin]) {
		begin--
	}
	for end < len(line) && !utf8.RuneStart(line[end]) {
		end++
	}
	var short strings.Builder
	if begin > 0 {
		short.WriteString("…")
	}
	short.WriteString(line[begin:end])
	if end < len(line) {
		short.WriteString("…")
	}
	return short.String()
}
