package pattern_test

import (
	"regexp"
	"regexp/syntax"
	"strings"
	"testing"
	"unicode/utf8"

	"example.com/life/events/pattern"
)

func TestCompile(t *testing.T) {
	for text, refused := range map[string]string{
		"error|fail":                             "",
		"[0-9a-f]{64}":                           "",
		`(?i)\b(refund|invoice)s?\b.{1,200}`:     "",
		"(.?.?){500}":                            "",
		"(.?.?){500}b|(.?.?){500}c|(.?.?){500}d": "steps for each character, at most 4096",
		"((a{10}){10}){10}|((b{10}){10}){10}|((c{10}){10}){10}|((d{10}){10}){10}": "steps for each character, at most 4096",
		strings.Repeat("(?:.?){1000}", 300):                                       "steps for each character, at most 4096",
		strings.Repeat(`\pL{900}`, 3):                                             "steps for each character, at most 4096",
		"(?i)" + strings.Repeat("k", 3000):                                        "steps for each character, at most 4096",
		"a{1001}":                                                                 "invalid repeat count",
		"a**":                                                                     "invalid nested repetition",
		"(":                                                                       "missing closing )",
		strings.Repeat("(", 2000):                                                 "missing closing )",
		"\xff":                                                                    "invalid UTF-8",
	} {
		_, err := pattern.Compile(text)
		if (err == nil) != (refused == "") || err != nil && !strings.Contains(err.Error(), refused) {
			t.Errorf("%.40q gives %.200v, want %q", text, err, refused)
		}
	}
}

// TestStepsBoundStates: what is counted before the expression is compiled is no less than the states that it has then.
func TestStepsBoundStates(t *testing.T) {
	for _, text := range []string{
		"a", "abc", "a*", "a+?", "(a|b|cd)?", "(.?.?){500}", "x{2,}", "x{0,7}", `(?i)straße`, `\pL+\d{3}\b`, "(?s).*(a(b(c)))", "", "^$", "[^x]{1,900}z", "((a?){9}){9}", "(?:)*",
	} {
		compiled, err := pattern.Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := syntax.Parse(text, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		program, err := syntax.Compile(tree.Simplify())
		if err != nil {
			t.Fatal(err)
		}
		if states := len(program.Inst) - 2; compiled.Steps(0) < states { // without the beginning and the end
			t.Errorf("%q is counted as %d and has %d states", text, compiled.Steps(0), states)
		}
	}
}

// TestSearchStops: a long match ends when no one waits for it any more.
func TestSearchStops(t *testing.T) {
	heavy, err := pattern.Compile("(.?.?){500}b")
	if err != nil {
		t.Fatal(err)
	}
	text, asked := []byte(strings.Repeat("a", 1<<20)), 0
	if heavy.Search(text, func() bool { asked++; return asked > 2 }) || asked != 3 {
		t.Errorf("it asked %d times, or found something", asked)
	}
	light, err := pattern.Compile(`b\z`)
	if err != nil {
		t.Fatal(err)
	}
	if !light.Search(append(text, 'b'), func() bool { return false }) {
		t.Error("a long text is not read to its end")
	}
}

// FuzzSearch: a text is searched in pieces as it is at once.
func FuzzSearch(f *testing.F) {
	f.Add("(.?.?){50}b", "aaab")
	f.Add(`\pL+$`, "x\xff")
	f.Add(`\bé(?i:K)`, "é\u212a")
	f.Fuzz(func(t *testing.T, text, in string) {
		compiled, err := pattern.Compile(text)
		if err != nil || !utf8.ValidString(text) {
			return
		}
		in = strings.Repeat(in, min(1<<12, 1+(1<<19)/(compiled.Steps(len(in))+1)))
		want := regexp.MustCompile(text).MatchString(in)
		if compiled.Search([]byte(in), func() bool { return false }) != want || compiled.Match(in) != want {
			t.Errorf("%q is found in %.60q: %t, or it is not", text, in, want)
		}
	})
}
