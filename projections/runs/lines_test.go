package runs_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"example.com/life/projections/runs"
)

// TestDiffLines: the lines of each text are all there, in order, and what is in both is as much as it can be.
func TestDiffLines(t *testing.T) {
	for _, test := range []struct{ a, b, want string }{
		{"", "", ""},
		{"one\n", "one", " one"},
		{"one\ntwo\nthree", "one\n2\nthree", " one|-two|+2| three"},
		{"a\nb\nc", "c\na\nb", "+c| a| b|-c"},
		{"", "new", "+new"},
		{"old\nolder", "", "-old|-older"},
	} {
		if got := asDiff(runs.DiffLines(test.a, test.b)); got != test.want {
			t.Errorf("%q to %q: %s, want %s", test.a, test.b, got, test.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOf(rapid.SampledFrom([]string{"x", "y", "z"}))
		a, b := text.Draw(t, "a"), text.Draw(t, "b")
		var one, other []string
		for _, c := range runs.DiffLines(strings.Join(a, "\n"), strings.Join(b, "\n")) {
			if c.In != runs.InB {
				one = append(one, c.Text)
			}
			if c.In != runs.InA {
				other = append(other, c.Text)
			}
		}
		if strings.Join(one, "\n") != strings.Join(a, "\n") || strings.Join(other, "\n") != strings.Join(b, "\n") {
			t.Fatalf("%q and %q became %q and %q", a, b, one, other)
		}
	})
}

func asDiff(changes []runs.LineChange) string {
	all := make([]string, len(changes))
	for i, c := range changes {
		all[i] = string(rune(c.In)) + c.Text
	}
	return strings.Join(all, "|")
}
