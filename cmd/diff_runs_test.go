package cmd

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"example.com/life/actors/history"
	"example.com/life/projections/runs"
)

// TestPrintTexts: what is the same is left out but for a little of it, in lines and within long ones.
func TestPrintTexts(t *testing.T) {
	long := strings.Repeat("and so on ", 20)
	for _, test := range []struct{ a, b, want string }{
		{"same", "same", ""},
		{"one\ntwo", "one\n2", "    one\n  - two\n  + 2\n"},
		{"1\n2\n3\n4\n5\n6\nold", "1\n2\n3\n4\n5\n6\nnew", "    4\n    5\n    6\n  - old\n  + new\n"},
		{"old\n1\n2\n3\n4\n5", "new\n1\n2\n3\n4\n5", "  - old\n  + new\n    1\n    2\n    3\n    …\n"},
		{
			long + "it is red, " + long, long + "it is blue, " + long,
			"  - … on and so on and so on and so on it is red, and so on and so on and so on and so o…\n" +
				"  + … on and so on and so on and so on it is blue, and so on and so on and so on and so o…\n",
		},
	} {
		var out strings.Builder
		printTexts(&out, &history.FoundDifference{TextA: test.a, TextB: test.b})
		if out.String() != test.want {
			t.Errorf("%q to %q:\n%s\nwant\n%s", test.a, test.b, out.String(), test.want)
		}
	}
}

// TestNarrow: whatever two lines are, what is left of them are whole characters, and differs where they do.
func TestNarrow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.StringN(0, 100, -1)
		before, after := part.Draw(t, "before"), part.Draw(t, "after")
		a, b := before+part.Draw(t, "a")+after, before+part.Draw(t, "b")+after
		x, y := narrow(a, b)
		if !utf8.ValidString(x) || !utf8.ValidString(y) || (x == y) != (a == b) {
			t.Fatalf("%q and %q became %q and %q", a, b, x, y)
		}
		lines := runs.DiffLines(a, b)
		if got := narrowed(lines); len(got) != len(lines) {
			t.Fatalf("%d lines became %d", len(lines), len(got))
		}
	})
}
