package cmd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/history"
	"example.com/life/adapters/api"
	"example.com/life/events"
)

// TestOutput checks that a terminal never gets a model's control characters, and that what is piped stays as it is.
func TestOutput(t *testing.T) {
	const text = "a\x1b[31mb\x07\r\n\tc\x7f\u009bd é 漢\n"
	for shown, want := range map[bool]string{false: text, true: "a␛[31mb␇␍\n\tc␡<U+009B>d é 漢\n"} {
		var to bytes.Buffer
		out := &output{to: &to, shown: shown}
		if n, err := io.WriteString(out, text); err != nil || n != len(text) {
			t.Errorf("write: %d, %v", n, err)
		}
		if to.String() != want {
			t.Errorf("terminal %v: %q, want %q", shown, to.String(), want)
		}
	}
}

// oneTurn is a host whose agent says one word.
type oneTurn struct {
	api.Host
	items []actors.Item
}

func (h *oneTurn) State(context.Context, events.AgentID, events.Revision) (history.AgentState, error) {
	return history.AgentState{}, nil
}

func (h *oneTurn) Watch(context.Context, events.AgentID, events.Revision) (actors.Feed, error) {
	return h, nil
}

func (h *oneTurn) Next(context.Context) (actors.Item, error) {
	if len(h.items) == 0 {
		return actors.Item{}, io.EOF
	}
	item := h.items[0]
	h.items = h.items[1:]
	return item, nil
}

func (h *oneTurn) Close() error { return nil }

// TestTailText checks that the model's text and the events do not share a line.
func TestTailText(t *testing.T) {
	event := actors.Item{Event: &events.Envelope{Kind: "kind.unknown"}}
	host := &oneTurn{items: []actors.Item{event, {Delta: said("one ")}, {Delta: said("word")}, event, event}}
	var out bytes.Buffer
	a := &app{out: &out, errs: io.Discard}
	if err := a.tail(t.Context(), host, "demo", events.NoRevision, false, showing(true, false)); !errors.Is(err, io.EOF) {
		t.Fatalf("tail: %v", err)
	}
	lines := bytes.Split(out.Bytes(), []byte("\n"))
	if len(lines) != 6 || string(lines[0]) != "1970-01-01" || string(lines[2]) != "one word" { // the date is not today
		t.Errorf("tail printed %q", out.String())
	}
}

// said is a piece of a reply's text.
func said(text string) *actors.FeedDelta {
	return &actors.FeedDelta{Delta: actors.Delta{Kind: events.BlockText, Text: text}}
}
