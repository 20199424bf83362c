package cmd

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/events"
)

func pieceOf(request events.RequestID, text string) *actors.FeedDelta {
	return &actors.FeedDelta{Request: request, Delta: actors.Delta{Kind: events.BlockText, Text: text}}
}

// piece is what a watcher hears: a piece of the model's text, or an event.
type piece struct {
	delta string
	event events.Event
}

// TestViewShowsOnce: whatever comes between the pieces of a text, each is shown once; and quietly only the final text.
func TestViewShowsOnce(t *testing.T) {
	reply := func(request, text string) piece {
		return piece{event: events.ModelReplied{Request: events.RequestID(request), Text: events.Text{Inline: text}}}
	}
	between := piece{event: events.ApprovalRequested{Call: "1.1", Tool: "bash"}}
	big := strings.Repeat("long ", 10_000)
	blob := piece{event: events.ModelReplied{Request: "r", Text: events.Text{Inline: events.Preview(big), Blob: &events.BlobRef{Size: int64(len(big))}}}}
	for name, test := range map[string]struct {
		heard             []piece
		want, quiet, errs string
	}{
		"as it comes":              {[]piece{{delta: "one "}, {delta: "two"}, reply("r", "one two")}, "one two\n", "one two\n", ""},
		"an event between":         {[]piece{{delta: "one "}, between, {delta: "two"}, reply("r", "one two")}, "one \ntwo\n", "one two\n", ""},
		"an event before the end":  {[]piece{{delta: "one "}, {delta: "two"}, between, reply("r", "one two")}, "one two\n", "one two\n", ""},
		"many events":              {[]piece{between, {delta: "one\n"}, between, between, {delta: "two\n"}, between, reply("r", "one\ntwo\n")}, "one\ntwo\n", "one\ntwo\n", ""},
		"the end is missing":       {[]piece{{delta: "one "}, between, reply("r", "one two")}, "one \ntwo\n", "one two\n", ""},
		"no piece":                 {[]piece{between, reply("r", "one two")}, "one two\n", "one two\n", ""},
		"late pieces":              {[]piece{reply("r", "one two"), {delta: "one two"}}, "one two\n", "one two\n", ""},
		"two replies":              {[]piece{{delta: "one"}, reply("r", "one"), between, reply("s", "one")}, "one\none\n", "one\n", ""},
		"nothing":                  {[]piece{reply("r", "")}, "", "", ""},
		"a long one, whole":        {[]piece{{delta: big}, between, blob}, big + "\n", big + "\n", ""},
		"a long one, in the event": {[]piece{blob}, big[:2045] + "\n", big[:2045] + "\n", "47955 more bytes"},
	} {
		for _, quiet := range []bool{false, true} {
			var out, errs bytes.Buffer
			v := &view{app: &app{out: &out, errs: &errs}, quiet: quiet}
			for _, p := range test.heard {
				if p.event == nil {
					v.delta(pieceOf("r", p.delta))
					continue
				}
				data, version, err := events.Encode(p.event)
				if err != nil {
					t.Fatal(err)
				}
				if err := v.event(&events.Envelope{Kind: p.event.Kind(), Version: version, Data: data}, p.event); err != nil {
					t.Fatal(err)
				}
			}
			v.finish()
			if err := v.conclude(result{Outcome: events.Done}); err != nil {
				t.Fatal(err)
			}
			want := test.want
			if quiet {
				want = test.quiet
			}
			if out.String() != want {
				t.Errorf("%s (quiet: %v): %q, want %q", name, quiet, events.Clip(out.String(), 200), events.Clip(want, 200))
			}
			if said := errs.String(); quiet && test.errs == "" && said != "" || !strings.Contains(said, test.errs) {
				t.Errorf("%s (quiet: %v): beside it %q", name, quiet, said)
			}
		}
	}
}

// TestParseAsked reads what a person types after the agent.
func TestParseAsked(t *testing.T) {
	for text, want := range map[string]asked{
		"1.1":        {Agent: "demo", Call: "1.1"},
		"3/2.1":      {Agent: "demo", Turn: "demo/3", Call: "2.1"},
		"demo/3/2.1": {Agent: "demo", Turn: "demo/3", Call: "2.1"},
		"3":          {Agent: "demo", Turn: "demo/3"},
		"demo/3":     {Agent: "demo", Turn: "demo/3"},
		"x":          {Agent: "demo", Call: "x"},
	} {
		got, err := parseAsked("demo", text)
		if err != nil || got.Turn != want.Turn || got.Call != want.Call || got.Agent != want.Agent {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0/1.1", "x/1.1", "other/3", "other/3/1.1", "03", "/1.1", "3/"} {
		if got, err := parseAsked("demo", text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

// TestAskAtConsole: a person answers by a word; what was left out is shown when asked for, and saying nothing decides nothing.
func TestAskAtConsole(t *testing.T) {
	arguments, err := events.PlainJSON(map[string]string{"command": "echo harmless; " + strings.Repeat("true; ", 5000) + "rm -rf important"})
	if err != nil {
		t.Fatal(err)
	}
	q := &asked{Agent: "demo", Turn: "demo/1", Call: "1.1", Tool: "bash", Arguments: arguments}
	for typed, want := range map[string]string{
		"y\n": saidYes, "YES \n": saidYes, "n\n": saidNo, "what?\nno\n": saidNo, "\n": saidLater, "": saidLater, "y": saidLater, "s\ny\n": saidYes,
	} {
		var out bytes.Buffer
		a := &app{console: newConsoleOn(strings.NewReader(typed), &out)}
		if got := a.ask(t.Context(), nil, q); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
		if shown := out.String(); !strings.Contains(shown, "rm -rf important") || !strings.Contains(shown, "bytes are left out here") {
			t.Errorf("%q: %s", typed, events.Clip(shown, 300))
		}
		if all := strings.Count(out.String(), "true; ") >= 5000; all != strings.HasPrefix(typed, "s") {
			t.Errorf("%q: all is shown: %v", typed, all)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	read, write := io.Pipe()
	defer write.Close()
	if got := (&app{console: newConsoleOn(read, &out)}).ask(ctx, nil, q); got != saidLater {
		t.Errorf("interrupted: %q", got)
	}
}

// TestWhatAFailedAttemptSaid is no part of the answer for who pipes the output, and others see when the model is asked again.
func TestWhatAFailedAttemptSaid(t *testing.T) {
	for _, way := range []struct{ quiet, held bool }{{false, false}, {false, true}, {true, true}} {
		var out, errs bytes.Buffer
		quiet := way.quiet
		v := &view{app: &app{out: &out, errs: &errs}, quiet: quiet, held: way.held}
		hear := func(event events.Event) {
			data, version, err := events.Encode(event)
			if err != nil {
				t.Fatal(err)
			}
			if err := v.event(&events.Envelope{Kind: event.Kind(), Version: version, Data: data, Time: 1}, event); err != nil {
				t.Fatal(err)
			}
		}
		v.delta(pieceOf("a@1", "The answer is 4"))
		v.delta(&actors.FeedDelta{Request: "a@1", Void: true})
		hear(events.ModelFailed{Request: "a@1", Class: events.ErrorTruncated, Detail: "the stream ended", RetryAt: 1 + 2*events.Second})
		v.delta(pieceOf("a@2", "The answer is 42."))
		hear(events.ModelReplied{Request: "a@2", Text: events.Text{Inline: "The answer is 42."}})
		v.finish()
		if err := v.conclude(result{Outcome: events.Done, Usage: events.Usage{Input: 5, Estimated: true}}); err != nil {
			t.Fatal(err)
		}
		if said := errs.String(); strings.Contains(said, "broke off") == way.held {
			t.Errorf("%+v: what was shown is void, and what was not needs no word: %s", way, said)
		}
		if way.held && out.String() != "The answer is 42.\n" || quiet && errs.Len() > 0 {
			t.Errorf("%+v: %q, %q", way, out.String(), errs.String())
		}
		if quiet && (out.String() != "The answer is 42.\n" || errs.Len() > 0) {
			t.Errorf("quietly: %q, %q", out.String(), errs.String())
		}
		if said := errs.String(); !quiet && (!strings.Contains(said, "retrying in 2s, attempt 2 of 6") || !strings.Contains(said, "about 5 tokens")) {
			t.Errorf("the wait or the estimate is not shown: %s", said)
		}
	}
}

// TestThinkingIsShownOnDemand: beside the answer, once, whether it streamed in or came with the reply alone.
func TestThinkingIsShownOnDemand(t *testing.T) {
	reply := events.ModelReplied{Request: "a@1", Text: events.Text{Inline: "42."}, Blocks: []events.Block{
		{Kind: events.BlockThinking, Text: &events.Text{Inline: "Six by seven."}}, {Kind: events.BlockText, Bytes: 3},
	}}
	for _, muse := range []bool{false, true} {
		for _, pieces := range [][]string{nil, {"Six ", "by seven."}} {
			var out, errs bytes.Buffer
			v := &view{app: &app{out: &out, errs: &errs}, muse: muse, held: true}
			for _, text := range pieces {
				v.delta(&actors.FeedDelta{Request: "a@1", Delta: actors.Delta{Kind: events.BlockThinking, Text: text}})
			}
			v.delta(&actors.FeedDelta{Request: "a@1", Delta: actors.Delta{Block: 1, Kind: events.BlockText, Text: "42."}})
			data, version, err := events.Encode(reply)
			if err != nil {
				t.Fatal(err)
			}
			if err := v.event(&events.Envelope{Kind: reply.Kind(), Version: version, Data: data}, reply); err != nil {
				t.Fatal(err)
			}
			want := map[bool]string{true: "thinking: Six by seven.\n"}[muse]
			if out.String() != "42.\n" || errs.String() != want {
				t.Errorf("%v, %q: %q, %q", muse, pieces, out.String(), errs.String())
			}
		}
	}
}

// TestCallsAreShownAsTheyCome: on a terminal, on a line of their own, cut where they are long; text goes on after them. One that breaks off is said to be void.
func TestCallsAreShownAsTheyCome(t *testing.T) {
	call := func(block int, tool, text string, done bool) *actors.FeedDelta {
		return &actors.FeedDelta{Request: "a@1", Delta: actors.Delta{Block: block, Kind: events.BlockCall, Tool: tool, Text: text, Done: done}}
	}
	long := strings.Repeat("x", 500)
	heard := []*actors.FeedDelta{
		pieceOf("a@1", "I look."), call(1, "read\nfile\x1b[2J", "", false), call(1, "", "{\"path\":\n", false), call(1, "", "\"a\"}", false), call(1, "", "", true),
		call(2, "write_file", "", false), call(2, "", long, false), call(2, "", long, false), call(2, "", "", true),
		call(3, "bash", "", false), call(3, "", "{\"comm", false),
		{Request: "a@1", Void: true},
	}
	for _, held := range []bool{false, true} {
		var out, errs bytes.Buffer
		v := &view{app: &app{out: &out, errs: &errs}, held: held}
		for _, d := range heard {
			v.delta(d)
		}
		want := "calling read␊file␛[2J {\"path\":␊\"a\"}\ncalling write_file " + long[:mostCalled] + "… (1000 bytes)\ncalling bash {\"comm\n" +
			"life: the attempt broke off: what it said is not the answer\n"
		if held {
			want = ""
		}
		if errs.String() != want {
			t.Errorf("held %v: %q, want %q", held, errs.String(), want)
		}
	}
}
