package endpoint_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/adapters/providers/endpoint"
)

// TestShownCalls: calls whose pieces alternate are shown one after the other, each from its tool to its end.
func TestShownCalls(t *testing.T) {
	var seen []string
	shown := endpoint.NewShownCalls(func(d actors.Delta) {
		seen = append(seen, strings.TrimSpace(fmt.Sprint(d.Block, " ", d.Offset, " ", d.Tool, d.Text, map[bool]string{true: "."}[d.Done])))
	})
	place := func(block int) func() int { return func() int { return block } }
	first, second, third := shown.Begin(place(0)), shown.Begin(place(1)), shown.Begin(place(2))
	second.Tool, second.Arguments = "b", `{"x`
	shown.Pass()
	first.Tool, first.Arguments = "a", `{`
	shown.Pass()
	second.Arguments, second.Whole = `{"x":1}`, true
	shown.Pass()
	first.Arguments, first.Torn = `{"y"`, true
	third.Tool, third.Whole = "c", true
	shown.Pass()
	shown.Pass()
	if want := []string{"0 0 a", "0 0 {", "1 0 b", `1 0 {"x":1}`, "1 7 .", "2 0 c", "2 0 ."}; !slices.Equal(seen, want) {
		t.Errorf("shown are %q, want %q", seen, want)
	}
}

// TestWritten: whether arguments are whole is known at each piece as if all were read again.
func TestWritten(t *testing.T) {
	for _, text := range []string{
		`{}`, `{"a":1}`, ` {"a":"}"} `, `{"a":"\"}"}`, `{"a":"\\"}`, `{"a":[1,{"b":{}}]}`, `[{}]`, `"x"`, `{"a":1}x`, `{"a":1}{"b":2}`, `{"a":}`, `}{`, `{"ä":"日\u007d"}`, ``, `{"a":1}  {`,
	} {
		for range 50 {
			var w endpoint.Written
			for at := 0; at < len(text); {
				n := min(1+rand.IntN(4), len(text)-at)
				w.Write(text[at : at+n])
				at += n
				if got, want := w.Whole(), endpoint.IsObject(text[:at]); got != want {
					t.Fatalf("%q: whole is %v, want %v", text[:at], got, want)
				}
			}
			if w.String() != text || w.Len() != len(text) {
				t.Fatalf("%q became %q", text, w.String())
			}
		}
	}
}
