package declared_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"example.com/life/adapters/declared"
	"example.com/life/events"
)

// history is what happened in a transcript.
type history struct {
	all       []events.Envelope
	now       events.Micros
	revisions map[events.Stream]events.Revision
}

func newHistory() *history {
	return &history{now: 1_767_225_600 * events.Second, revisions: map[events.Stream]events.Revision{}} // 2026-01-01
}

// tell adds one event a line, each its kind and its data, that a turn led to. Each takes a millisecond; positions count by ten.
func (h *history) tell(stream events.Stream, turn, lines string) {
	for line := range strings.Lines(lines) {
		kind, data, _ := strings.Cut(strings.TrimSpace(line), " ")
		h.now += events.Millisecond
		h.all = append(h.all, events.Envelope{
			Stream: stream, Revision: h.revisions[stream], Position: events.Position(10*len(h.all) + 10),
			Kind: events.Kind(kind), Version: 1, Time: h.now, Correlation: turn, Data: json.RawMessage(data),
		})
		h.revisions[stream]++
	}
}

// TestFilter runs testdata/filter.txt.
//
//	events STREAM [turn=TURN]   one event a line: its kind and its data
//	filter                      an expression; prints the events that it chooses, or why it cannot
func TestFilter(t *testing.T) {
	h := newHistory()
	datadriven.RunTest(t, "testdata/filter.txt", func(t *testing.T, d *datadriven.TestData) string {
		switch d.Cmd {
		case "events":
			turn := ""
			d.MaybeScanArgs(t, "turn", &turn)
			h.tell(events.Stream(d.CmdArgs[0].Key), turn, d.Input)
			return ""
		case "filter":
			return filtered(h, d.Input)
		}
		d.Fatalf(t, "there is no command %s", d.Cmd)
		return ""
	})
}

func filtered(h *history, expression string) string {
	filter, err := declared.CompileFilter(expression)
	if err != nil {
		return err.Error() + "\n"
	}
	var out strings.Builder
	for i := range h.all {
		chosen, err := filter(&h.all[i])
		switch {
		case err != nil:
			out.WriteString(err.Error() + "\n")
		case chosen:
			out.WriteString(string(h.all[i].Ref()) + " " + string(h.all[i].Kind) + "\n")
		}
	}
	return out.String()
}
