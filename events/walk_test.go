package events

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// withWalk are the kinds that reader reads.
func withWalk() []Spec {
	var all []Spec
	for _, spec := range Catalog {
		if _, is := spec.Zero.(walker); is {
			all = append(all, spec)
		}
	}
	return all
}

// strict is how encoding/json reads an event.
func strict(t interface{ Fatal(...any) }, like Event, data []byte) (Event, error) {
	spec, known := byKind[like.Kind()]
	if !known {
		t.Fatal(like.Kind(), "is not in the catalogue")
	}
	return spec.decode(data)
}

// draw fills a value of any type: strings of every sort, numbers of every size, lists with nothing in them and nil ones.
func draw(t *rapid.T, v reflect.Value, plain bool) {
	switch v.Interface().(type) {
	case json.RawMessage:
		v.SetBytes(drawArguments(t, plain))
		return
	case Digest:
		copy(v.Slice(0, v.Len()).Bytes(), rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "digest"))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(drawText(t, plain))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "flag"))
	case reflect.Int, reflect.Int64:
		if plain {
			v.SetInt(rapid.Int64Range(-999_999_999_999_999_999, 999_999_999_999_999_999).Draw(t, "number"))
		} else {
			v.SetInt(rapid.Int64().Draw(t, "number"))
		}
	case reflect.Slice:
		if n := rapid.IntRange(0, 4).Draw(t, "length"); n < 4 || plain {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
		}
		for i := range v.Len() {
			draw(t, v.Index(i), plain)
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "there") {
			v.Set(reflect.New(v.Type().Elem()))
			draw(t, v.Elem(), plain)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			draw(t, v.Field(i), plain)
		}
	default:
		t.Fatalf("no way to draw %s: teach the test", v.Type())
	}
}

func drawText(t *rapid.T, plain bool) string {
	if plain {
		return rapid.SampledFrom([]string{"", "m1", "agent-a@17", "it said:\n\t\"a < b && c\"\r\n", `C:\temp`, "naïve café, 12 €, 日本語 🙂", "\x7f/"}).Draw(t, "text")
	}
	return rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		"\u2028", "a\u2029b", "\x00", "\x1f\b\f", "\xff", "\xed\xa0\x80", "\ufffd", strings.Repeat("x", 3000), "\U0010ffff", "\\u0041",
	})).Draw(t, "text")
}

func drawArguments(t *rapid.T, plain bool) []byte {
	choices := []string{
		`{}`, `{"path":"a/b.go","lines":[1,2.5,-3e10,0]}`, `{"a":{"b":[true,false,null,"x\ny\u00e9\\\""]}}`, `"no object"`, `[[],{},""]`, `-0.0e-0`,
	}
	if !plain {
		choices = append(choices, `{ "a": 1 }`, "{\"a\":\n1}", `{"a":"`+"\u2028"+`"}`, `{"a":"<b>"}`, strings.Repeat("[", 200)+strings.Repeat("]", 200), "{\"a\":\"\xff\"}")
	}
	return []byte(rapid.SampledFrom(choices).Draw(t, "arguments"))
}

// TestWalksAreEncodingJSON holds every walk to what encoding/json reads: events with whatever in them are read as the same values, or
// left to it. Plain ones are never left to it.
func TestWalksAreEncodingJSON(t *testing.T) {
	specs := withWalk()
	if len(specs) < 15 {
		t.Fatalf("%d kinds have a walk, want at least 15", len(specs))
	}
	for _, spec := range specs {
		t.Run(string(spec.Kind), rapid.MakeCheck(func(t *rapid.T) {
			plain := rapid.Bool().Draw(t, "plain")
			drawn := reflect.New(reflect.TypeOf(spec.Zero)).Elem()
			draw(t, drawn, plain)
			event := drawn.Interface().(Event)
			want, err := PlainJSON(event)
			if err != nil {
				return
			}
			read, err := strict(t, event, want)
			if err != nil {
				t.Fatal(err)
			}
			quick := walked(spec.Kind, want, false)
			if quick != nil && !reflect.DeepEqual(quick, read) {
				t.Fatalf("%s is read as\n%#v\nencoding/json reads\n%#v", want, quick, read)
			}
			if plain && quick == nil {
				t.Fatalf("%s is left to encoding/json", want)
			}
			if outline := walked(spec.Kind, want, true); outline != nil {
				if diff := cmp.Diff(without(read), outline, cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("%s: (- whole, + outline)\n%s", want, diff)
				}
			}
		}))
	}
}

// without removes from an event what its outline leaves out.
func without(event Event) Event {
	switch e := event.(type) {
	case MessageReceived:
		e.Inline = ""
		return e
	case ModelRequested:
		e.Context = Digest{}
		return e
	case ModelReplied:
		e.Inline = ""
		for i := range e.Calls {
			e.Calls[i].Arguments = nil
		}
		for i := range e.Blocks {
			for _, text := range []*Text{e.Blocks[i].Text, e.Blocks[i].Raw} {
				if text != nil {
					text.Inline = ""
				}
			}
		}
		return e
	case ToolRequested:
		e.Arguments = nil
		return e
	case ToolReturned:
		e.Inline = ""
		return e
	}
	return event
}

// TestWalksReadTheGoldens: what was stored by any build is read by hand, all of it.
func TestWalksReadTheGoldens(t *testing.T) {
	for _, spec := range withWalk() {
		stored, err := os.ReadFile(filepath.Join("testdata", string(spec.Kind)+"@"+string(rune('0'+spec.Version))+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var data bytes.Buffer
		if err := json.Compact(&data, stored); err != nil {
			t.Fatal(err)
		}
		want, err := strict(t, spec.Zero, data.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if got := walked(spec.Kind, data.Bytes(), false); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is read as %#v, want %#v", data.Bytes(), got, want)
		}
	}
}

// TestWalksGiveUp on whatever is not written as Encode writes it.
func TestWalksGiveUp(t *testing.T) {
	for _, data := range []string{
		``, `null`, `7`, `{`, `{}`, `{"turn"`, `{"turn":}`, `{"turn":7}`, `{"turn":"a\u002f1","messages":[]}`, `{"turn":"a/1"}`, `{ "turn":"a/1","messages":[]}`,
		`{"turn":"a/1","messages":[]} `, `{"turn":"a/1","messages":[]}}`, `{"turn":"a/1","messages":[],"more":1}`, `{"Turn":"a/1","messages":[]}`,
		`{"turn":null,"messages":[]}`, `{"turn":"a/1""messages":[]}`, `{"messages":[],"turn":"a/1"}`, `{"turn":"a/1","messages":null}`,
		`{"turn":"a/1","messages":["m1"`, `{"turn":"a/1","messages":["m1",]}`, `{"turn":"a/1","messages":["m1"["m2"]}`, `,"turn":"a/1","messages":[]}`,
		"{\"turn\":\"\xff\",\"messages\":[]}", "{\"turn\":\"a\nb\",\"messages\":[]}", `{"turn":"a\x","messages":[]}`, `{"turn":"a\`,
	} {
		if got := walked("turn.started", []byte(data), false); got != nil {
			t.Errorf("%s is read as %#v", data, got)
		}
	}
	for _, amount := range []string{`"007"`, `"9999999999999999999"`, `"-"`, `""`, `"1.0"`, `5`, `"5`} {
		if got := walked("budget.granted", []byte(`{"request":"r","amount":`+amount+`}`), false); got != nil {
			t.Errorf("%s is read as %#v", amount, got)
		}
	}
}

// TestOutlineIsNilForOthers: kinds without a walk, other versions and unknown kinds have no outline.
func TestOutlineIsNilForOthers(t *testing.T) {
	for _, e := range []Envelope{
		{Kind: "agent.retired", Version: 1, Data: []byte(`{}`)},
		{Kind: "turn.folded", Version: 1, Data: []byte(`{}`)},
		{Kind: "advice.requested", Version: 2, Data: []byte(`{"turn":"a/1"}`)},
	} {
		if got := e.Outline(); got != nil {
			t.Errorf("%s version %d has the outline %#v", e.Kind, e.Version, got)
		}
	}
	e := Envelope{Kind: "advice.requested", Version: 1, Data: []byte(`{"turn":"a/1"}`)}
	if got := e.Outline(); got != (AdviceRequested{Turn: "a/1"}) {
		t.Errorf("the outline is %#v", got)
	}
}

// FuzzWalks: bytes from outside are read by hand as encoding/json reads them, or left to it, and never end in a panic.
func FuzzWalks(f *testing.F) {
	files, err := filepath.Glob("testdata/*@*.json")
	if err != nil || len(files) == 0 {
		f.Fatal("find golden events", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var data bytes.Buffer
		if err := json.Compact(&data, text); err != nil {
			f.Fatal(err)
		}
		kind, _, _ := strings.Cut(filepath.Base(file), "@")
		f.Add(kind, data.Bytes())
	}
	f.Fuzz(func(t *testing.T, kind string, data []byte) {
		spec, known := byKind[Kind(kind)]
		if !known {
			return
		}
		outline, got := walked(spec.Kind, data, true), walked(spec.Kind, data, false)
		if got == nil {
			return // an outline does not look at what it leaves out
		}
		want, err := spec.decode(data)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s %s is read as %#v, encoding/json reads %#v, %v", kind, data, got, want, err)
		}
		if diff := cmp.Diff(without(want), outline, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s %s: (- whole, + outline)\n%s", kind, data, diff)
		}
	})
}

// BenchmarkCodec decodes and encodes the events of a turn, and what encoding/json takes for the same.
func BenchmarkCodec(b *testing.B) {
	call := ModelCall{ID: "call_1", Tool: "read_file", Arguments: json.RawMessage(`{"path":"docs/architecture.md"}`)}
	text := Text{Inline: strings.Repeat("What was found, line by line.\n", 8)}
	turn := []Event{
		MessageReceived{Message: "m1", Verb: Collect, From: "ada", Text: text},
		TurnStarted{Turn: "a/1", Messages: []MessageID{"m1"}, ByWindow: true},
		AdviceRequested{Turn: "a/1"},
		BudgetRequested{Turn: "a/1", Wallet: "main", Amount: 100_000},
		AdviceGiven{Request: "agent-a@2", Mode: ModeExecute},
		BudgetGranted{Request: "agent-a@3", Amount: 100_000},
		ModelRequested{Turn: "a/1", Round: 1, Attempt: 1, Model: "openai/gpt-4o"},
		ModelReplied{Request: "agent-a@6", Text: text, Calls: []ModelCall{call}, Stop: StopCalls, Usage: Usage{Input: 1000, Output: 90}, Priced: true},
		ToolRequested{Turn: "a/1", Call: "1.1", Tool: call.Tool, Arguments: call.Arguments},
		ToolReturned{Request: "agent-a@8", Call: "1.1", Text: text},
		TurnEnded{Turn: "a/1", Outcome: Done, Rounds: 2},
		SettlementRequested{Turn: "a/1", Wallet: "main"},
		SettlementRecorded{Request: "agent-a@12"},
	}
	stored := make([]json.RawMessage, len(turn))
	for i := range turn {
		stored[i], _, _ = Encode(turn[i])
	}
	for name, do := range map[string]func(i int){
		"decode":               func(i int) { _ = walked(turn[i].Kind(), stored[i], false) },
		"decode outline":       func(i int) { _ = walked(turn[i].Kind(), stored[i], true) },
		"decode encoding/json": func(i int) { _, _ = byKind[turn[i].Kind()].decode(stored[i]) },
		"encode":               func(i int) { _, _ = PlainJSON(turn[i]) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for n := range b.N {
				do(n % len(turn))
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func walked(kind Kind, data json.RawMessage, outline bool) Event {
	spec := byKind[kind]
	return spec.walked(data, outline)
}
