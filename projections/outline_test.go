package projections

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"example.com/life/events"
)

// without removes from an event what its outline leaves out.
func without(event events.Event) events.Event {
	switch e := event.(type) {
	case events.MessageReceived:
		return events.MessageReceived{Message: e.Message, Verb: e.Verb}
	case events.TurnEnded:
		e.Detail = ""
		return e
	case events.ModelRequested:
		e.Context = events.Digest{}
		return e
	case events.ModelReplied:
		e.Text = events.Text{}
		for i := range e.Calls {
			e.Calls[i] = events.ModelCall{Tool: e.Calls[i].Tool}
		}
		return e
	case events.ToolRequested:
		e.Arguments = nil
		return e
	case events.ToolReturned:
		return events.ToolReturned{Request: e.Request, Call: e.Call, Failed: e.Failed, Duration: e.Duration}
	}
	return event
}

// samples are the events that the golden files of package events hold.
func samples(t interface{ Fatal(...any) }) []events.Envelope {
	files, err := filepath.Glob("../events/testdata/*@*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("find golden events", err)
	}
	var all []events.Envelope
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		kind, digits, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".json"), "@")
		version, err := strconv.Atoi(digits)
		if err != nil {
			t.Fatal(file, err)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, text); err != nil {
			t.Fatal(err)
		}
		all = append(all, events.Envelope{Stream: "agent-a", Kind: events.Kind(kind), Version: version, Data: compact.Bytes()})
	}
	return all
}

// TestOutlineIsTheEvent: every kind that is read by hand is in the version that is read, and says what the whole event says.
func TestOutlineIsTheEvent(t *testing.T) {
	read := 0
	for _, e := range samples(t) {
		got := outline(&e)
		if got == nil {
			continue
		}
		read++
		whole, err := e.Event()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(without(whole), got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: (- whole, + outline)\n%s", e.Kind, diff)
		}
	}
	if read < 15 {
		t.Errorf("%d golden events are read by hand, want at least 15", read)
	}
	for _, spec := range events.Catalog {
		f := fields{data: []byte("{}")}
		if f.read(spec.Kind) != nil && spec.Version != outlinedVersion(spec.Kind) {
			t.Errorf("%s is at version %d: read it so in outline_kinds.go, or not at all", spec.Kind, spec.Version)
		}
	}
}

// TestOutlineGivesUp on whatever is not written as events.Encode writes it; the whole event is decoded then.
func TestOutlineGivesUp(t *testing.T) {
	for _, data := range []string{
		``, `null`, `7`, `{`, `{"turn"`, `{"turn":}`, `{"turn":7}`, `{"turn":"a\u002f1","messages":[]}`, `{"turn":"ä/1"}`, `{ "turn":"a/1"}`,
		`{"turn":"a/1"} `, `{"turn":"a/1"}}`, `{"turn":"a/1","more":1}`, `{"Turn":"a/1"}`, `{"turn":null}`, `{"turn":"a/1""messages":[]}`,
		`{"turn":"a/1"{"messages":[]}`, `{"turn":"a/1","messages":"m1"}`, `{"turn":"a/1","messages":["m1"`, `,"turn":"a/1"}`, `{,"turn":"a/1"}`,
		`{"turn":"a/1","messages":["m1"["m2"]}`,
	} {
		if got := outline(&events.Envelope{Kind: "turn.started", Version: 1, Data: json.RawMessage(data)}); got != nil {
			t.Errorf("%s is read as %#v", data, got)
		}
	}
	for _, data := range []string{`{"cost":"007"}`, `{"cost":"9999999999999999999"}`, `{"cost":"-"}`, `{"cost":"5}`, `{"priced":maybe}`, `{"text":,"priced":true}`, `{"text":"a}`} {
		if got := outline(&events.Envelope{Kind: "model.replied", Version: 1, Data: json.RawMessage(data)}); got != nil {
			t.Errorf("%s is read as %#v", data, got)
		}
	}
	escaped := &events.Envelope{Stream: "agent-a", Kind: "turn.started", Version: 1, Data: json.RawMessage(`{"turn":"a\u002f1","messages":[]}`)}
	if event, err := (&Recorded{Envelope: escaped}).Outline(); err != nil || event.(events.TurnStarted).Turn != "a/1" {
		t.Errorf("%v, %v", event, err)
	}
}

// FuzzOutline: bytes from outside are read like the whole event, or not at all, and never end in a panic.
func FuzzOutline(f *testing.F) {
	for _, e := range samples(f) {
		f.Add(string(e.Kind), []byte(e.Data))
	}
	f.Fuzz(func(t *testing.T, kind string, data []byte) {
		e := events.Envelope{Stream: "agent-a", Kind: events.Kind(kind), Version: 1, Data: data}
		got := outline(&e)
		if got == nil {
			return
		}
		whole, err := e.Event()
		if err != nil || repeats(data) {
			return // what is left out may be damaged
		}
		if diff := cmp.Diff(without(whole), got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s %s: (- whole, + outline)\n%s", kind, data, diff)
		}
	})
}

// repeats reports whether an object may have a field twice: then encoding/json mixes both.
func repeats(data []byte) bool {
	seen := map[string]bool{}
	for part := range bytes.SplitSeq(data, []byte{'"'}) {
		if seen[string(part)] && len(part) > 2 {
			return true
		}
		seen[string(part)] = true
	}
	return false
}
