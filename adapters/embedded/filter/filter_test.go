package filter

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dlclark/regexp2/v2"
	"go.uber.org/goleak"

	"example.com/life/events"
)

// The engine's clock goes on for a second after the last match.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/dlclark/regexp2/v2.runClock"))
}

// TestExpressions holds expressions to what .NET, and so EventStoreDB 24.10, makes of them (recorded rule 6).
func TestExpressions(t *testing.T) {
	for _, test := range []struct {
		expression string
		yes, no    []string
	}{
		// A search, case-sensitive.
		{`b`, []string{"abc", "b"}, []string{"", "ABC"}},
		{`^b`, []string{"b", "bc"}, []string{"ab"}},
		{`^order-`, []string{"order-", "order-1"}, []string{"Order-1", "xorder-1"}},
		{`^\$`, []string{"$", "$$s"}, []string{"s$", ""}},
		{`^`, []string{"", "a"}, nil},
		{`^a|b`, []string{"ax", "xb"}, []string{"xa"}},
		{`^ab?`, []string{"a", "ab"}, []string{"b"}},
		// What RE2 lacks.
		{`^(?!\$)`, []string{"a", ""}, []string{"$a"}},
		{`a(?=b)`, []string{"ab"}, []string{"ac"}},
		{`(?<=a)b`, []string{"ab"}, []string{"cb"}},
		{`(?<!a)b`, []string{"cb", "b"}, []string{"ab"}},
		{`^(e)\1n$`, []string{"een"}, []string{"en"}},
		{`^(?<n>a)\k<n>$`, []string{"aa"}, []string{"a"}},
		{`^(?'n'a)\k'n'$`, []string{"aa"}, []string{"a"}},
		{`^(?>a+)b`, []string{"aab"}, []string{"aa"}},
		{`^(?>a+)a`, nil, []string{"aaa"}},
		{`^(a)?(?(1)b|c)$`, []string{"ab", "c"}, []string{"ac", "b"}},
		{`^(?<n>a)?(?(n)b|c)$`, []string{"ab", "c"}, []string{"ac"}},
		{`^(?(?=a)ab|c)$`, []string{"ab", "c"}, []string{"b"}},
		{`^(?:(?<o>\()|(?<-o>\))|x)*(?(o)(?!))$`, []string{"(x)", "x", "((x)x)"}, []string{"(x"}},
		{`^[a-z-[aeiou]]+$`, []string{"xyz"}, []string{"xaz"}},
		{`^[\w-[\d]]+$`, []string{"ab"}, []string{"a1"}},
		{`^[a-z-[b-y-[m]]]+$`, []string{"amz"}, []string{"b"}},
		{`a\Z`, []string{"a", "a\n"}, []string{"ab", "a\n\n"}},
		{`a\z`, []string{"a"}, []string{"a\n"}},
		{`\Aa`, []string{"ab"}, []string{"ba"}},
		{`\e\a\f\v\cA\x41\u0042\0\061`, []string{"\x1b\a\f\v\x01AB\x001"}, []string{"e"}},
		{`^\uFFFF$`, []string{"\uffff"}, []string{"a"}},
		{`^a{1001}$`, []string{strings.Repeat("a", 1001)}, []string{strings.Repeat("a", 1000)}},
		{`^(?i-s:AB)c$`, []string{"abc", "ABc"}, []string{"abC"}},
		{`(?n)^(a)(?<x>b)\1$`, []string{"abb"}, []string{"aba"}},
		{`(?m)^b$`, []string{"a\nb\nc"}, []string{"a\nbc"}},
		{`^a.b$`, []string{"axb"}, []string{"a\nb"}},
		{`(?s)^a.b$`, []string{"a\nb"}, nil},
		{"(?x) ^a # this is \\Q a++ comment\n b $", []string{"ab"}, []string{"a b"}},
		{`a(?#\Q)b`, []string{"ab"}, []string{"a"}},
		// Unicode.
		{`^\d$`, []string{"7", "٧"}, []string{"x"}},
		{`^\w+$`, []string{"é_Ж9", "\u0300"}, []string{"a b", "-"}},
		{`^\s$`, []string{" ", "\u2003", "\u0085"}, []string{"x"}},
		{`(?i)^ÉTÉ$`, []string{"été"}, []string{"ete"}},
		{`^\p{Lu}\P{Lu}$`, []string{"Éa"}, []string{"aa", "AA"}},
		{`^\p{IsGreek}+$`, []string{"αβγ"}, []string{"abc"}},
		{`^\P{IsGreekandCoptic}$`, []string{"a", "\uffff"}, []string{"α"}},
		{`^[\p{IsBasicLatin}-[\d]]+$`, []string{"ab"}, []string{"a1", "é"}},
		{`^[^\P{IsCyrillic}x]$`, []string{"ж"}, []string{"a", "x"}},
		{`^[\P{IsBasicLatin}0-9]+$`, []string{"é1"}, []string{"a"}},
		// $ stands before a final line feed too.
		{`a$`, []string{"a", "a\n"}, []string{"a\nb"}},
		// No POSIX classes: one of the characters, and a bracket.
		{`^[[:alpha:]]$`, []string{"a]", ":]", "[]"}, []string{"a", "z]"}},
		{`^[]a]$`, []string{"]", "a"}, nil},
		{`^[a-]$`, []string{"-", "a"}, nil},
		{`^a{,3}$`, []string{"a{,3}"}, []string{"aa"}},
		{`^a{,3}+$`, []string{"a{,3}}}"}, []string{"aa"}},
		{`^\[a\]+$`, []string{"[a]]"}, []string{"[b]"}},
		// .NET counts units of UTF-16.
		{`^..$`, []string{"ab", "😀"}, []string{"a"}},
		{`^😀+$`, []string{"😀"}, []string{"😀😀"}},
		{`^[😀]$`, nil, []string{"😀"}},
		{`^\😀$`, []string{"😀"}, []string{"\\😀"}},
		{`😀`, []string{"a😀b"}, []string{"😁"}},
		{`^(?:😀)+$`, []string{"😀😀"}, nil},
	} {
		f, err := New(Rule{Expression: test.expression})
		if err != nil {
			t.Errorf("%s: %v", test.expression, err)
			continue
		}
		for want, texts := range map[bool][]string{true: test.yes, false: test.no} {
			for _, text := range texts {
				if got, err := f.Chooses(&events.Envelope{Stream: events.Stream(text)}); got != want || err != nil {
					t.Errorf("%s chooses %q: %v, %v", test.expression, text, got, err)
				}
			}
		}
	}
}

// TestRefused: what .NET refuses is refused, also where the engine would take it.
func TestRefused(t *testing.T) {
	for _, expression := range []string{
		`(`, `)`, `[`, `*`, `a**`, `a{2,1}`, `x{2}{3}`, `[b-a]`, `a\`, `\c`, `\1`, `\k<n>`, `(?<n`, `(?`, `(?i`, `(?<1a>b)`, `(?(1)a)`, `(?(a)b|c|d)`,
		`(?P<n>a)`, `(?P=n)`, `(?P>n)`, `(?R)`, `(?&n)`, `(?|a)`, `(?C)`, `(?U)`, `(?u)a`, `(?i-U:a)`, `(?r)a`, `(?^a)`, `(*FAIL)`,
		`\Qa\E`, `[\Qa\E]`, `\E`, `\R`, `\X`, `\h`, `\H`, `[\h]`, `\K`, `\N`, `\y`, `\g1`, `\o{1}`, `\_`, `\é`, `[\B]`, `[\A]`, `[\k<a>]`,
		`\pL`, `\PL`, `[\pL]`, `\p{Greek}`, `[\p{Greek}]`, `\p{Letter}`, `\p{lu}`, `\p{^L}`, `\p{Script=Greek}`, `\p{IsFoo}`, `\p`, `\p{`, `\p{}`, `\p{L`,
		`\x{61}`, `[\x{61}]`, `\x6`, `\u00`, `\u{61}`, `a*+`, `a++`, `a?+`, `a{2}+`, `(?x)a+ # twice` + "\n" + `+`, `a+(?#c)+`, `(?:a)*+`, `[a]++`,
		`[a-\d]`, `[a-\p{IsGreek}]`, `[a-\p{L}]`, `[a-[b]c]`, `[a-[b]`, `(?x:a)\Q`, `(?#`,
	} {
		if _, err := New(Rule{Expression: expression}); err == nil {
			t.Errorf("%s is accepted", expression)
		}
	}
	for _, rule := range []Rule{{Expression: strings.Repeat("a", MaxExpression+1)}, {Prefixes: make([]string, MaxPrefixes+1)}} {
		if _, err := New(rule); err == nil {
			t.Errorf("a rule that is too large is accepted")
		}
	}
}

// TestPlainPrefix: what says no more than a beginning is left to the store.
func TestPlainPrefix(t *testing.T) {
	for expression, want := range map[string]string{`^order-`: "order-", `^\$`: "$", `^a\.b#c d]`: "a.b#c d]", `^`: ""} {
		f, err := New(Rule{Expression: expression})
		if err != nil || len(f.Pushed().Streams) != 1 || f.Pushed().Streams[0] != want {
			t.Errorf("%s is %+v: %v", expression, f, err)
		}
	}
	for _, expression := range []string{`order-`, `^order.`, `^a|b`, `^a?`, `^a{2}`, `^\w`, `^a$`, `^[a]`, `^(a)`} {
		if f, err := New(Rule{Expression: expression}); err != nil || f.expression == nil || len(f.Pushed().Streams) > 0 {
			t.Errorf("%s is %+v: %v", expression, f, err)
		}
	}
}

// TestExpensive: an expression that backtracks without end is given up, with a time and a memory that are bounded.
func TestExpensive(t *testing.T) {
	for expression, text := range map[string]string{
		`^(a+)+$`:     strings.Repeat("a", 40) + "!",
		`^(a|aa)+$`:   strings.Repeat("a", 60) + "!",
		`(.*)*(.*)*x`: strings.Repeat("a", 1000),
		`^(?:ab|a)*$`: strings.Repeat("ab", 1<<18),
	} {
		f, err := New(Rule{Expression: expression})
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		_, err = f.Chooses(&events.Envelope{Stream: events.Stream(text)})
		if !errors.Is(err, ErrExpensive) {
			t.Errorf("%s after %s: %v", expression, time.Since(begun), err)
		}
	}
}

// TestRE2: what an earlier build took keeps its meaning, also where .NET knows another.
func TestRE2(t *testing.T) {
	for expression, texts := range map[string][2]string{
		`^(?P<n>a)b`: {"abc", "ab"}, `\pL`: {"x", "ä"}, `^\Q$a\E`: {"$a", "$ab"}, `^[[:alpha:]]$`: {"a", "z"}, `^plain`: {"plain", "plainer"},
	} {
		f, err := New(Rule{Expression: expression, RE2: true})
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		for _, text := range texts {
			if yes, err := f.Chooses(&events.Envelope{Stream: events.Stream(text)}); !yes || err != nil {
				t.Errorf("%s does not choose %q: %v", expression, text, err)
			}
		}
		if yes, err := f.Chooses(&events.Envelope{Stream: "٧"}); yes || err != nil {
			t.Errorf("%s chooses a digit: %v", expression, err)
		}
	}
	if _, err := New(Rule{Expression: `^(?!a)`, RE2: true}); err == nil {
		t.Error("what RE2 does not know is accepted")
	}
}

func TestHidden(t *testing.T) {
	var everything *Filter
	for stream, want := range map[events.Stream]bool{
		"a": true, "$persistentsubscription-$all::g-checkpoint": false, "$persistentsubscription-$all::g-parked": false,
		"$persistentsubscription-s::g-parked": true, "$persistentsubscription-$all::g": true,
	} {
		if got, err := everything.Chooses(&events.Envelope{Stream: stream}); got != want || err != nil {
			t.Errorf("%s: %v, %v", stream, got, err)
		}
	}
}

// FuzzExpression: whatever is sent as an expression, and whatever it is held to, nothing panics; a plain prefix is what the engine finds too.
func FuzzExpression(f *testing.F) {
	for _, seed := range []string{`^a`, `(?x) a # b`, `[a-z-[b]]`, `\p{IsGreek}{2}`, `(?<n>a)(?(n)b|c)`, `((a{1,100}){1,9}b{100}){1,1}(((x{100}){3}){3}){20}`, `^\.😀`} {
		f.Add(seed, "aaab")
	}
	f.Fuzz(func(t *testing.T, expression, text string) {
		chosen, err := New(Rule{Expression: expression})
		if err != nil || expression == "" {
			return
		}
		got, err := chosen.Chooses(&events.Envelope{Stream: events.Stream(text)})
		if err != nil && !errors.Is(err, ErrExpensive) {
			t.Fatalf("%q in %q: %v", expression, text, err)
		}
		if chosen.expression != nil || Hidden(events.Stream(text)) {
			return
		}
		engine, err := compile(expression)
		if err != nil {
			t.Fatalf("%q is taken for a prefix: %v", expression, err)
		}
		if want, err := engine.matches(text); err == nil && want != got {
			t.Fatalf("%q in %q: %v as a prefix, %v as an expression", expression, text, got, want)
		}
	})
}

func BenchmarkExpression(b *testing.B) {
	for name, expression := range map[string]string{"prefix": `^order-`, "search": `-\d+$`, "lookahead": `^(?!\$)`} {
		b.Run(name, func(b *testing.B) {
			f, err := New(Rule{Expression: expression})
			if err != nil {
				b.Fatal(err)
			}
			e := events.Envelope{Stream: "order-f47ac10b58cc4372a5670e02b2c3d479-1"}
			for b.Loop() {
				if yes, err := f.Chooses(&e); !yes || err != nil {
					b.Fatal(yes, err)
				}
			}
		})
	}
	regexp2.StopTimeoutClock()
}
