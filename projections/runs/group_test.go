package runs_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"example.com/life/events"
	"example.com/life/projections/runs"
)

// TestGroups runs testdata/groups/*.txt, which say how a history is told as groups.
//
//	history AGENT   one event a line: its command, its correlation, its kind and its data; then prints the groups
func TestGroups(t *testing.T) {
	files, err := filepath.Glob("testdata/groups/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("find transcripts: %v, %d files", err, len(files))
	}
	for _, file := range files {
		datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
			agent := events.AgentID(d.CmdArgs[0].Key)
			told := groupsOf(agent, toldBy(t, events.AgentStream(agent), d.Input))
			var out strings.Builder
			for _, g := range told {
				out.WriteString(asRows(t, g))
			}
			return out.String()
		})
	}
}

// toldBy reads events, one a line.
func toldBy(t *testing.T, stream events.Stream, lines string) []events.Envelope {
	t.Helper()
	var all []events.Envelope
	for line := range strings.Lines(lines) {
		words := strings.SplitN(strings.TrimSpace(line), " ", 4)
		if len(words) < 4 || !json.Valid([]byte(words[3])) {
			t.Fatalf("%q is no command, correlation, kind and data", line)
		}
		all = append(all, events.Envelope{
			Stream: stream, Revision: events.Revision(len(all)), Kind: events.Kind(words[2]), Version: 1, Time: events.Micros(1000 * (len(all) + 1)),
			Command: events.CommandID(words[0]), Correlation: words[1], Data: []byte(words[3]),
		})
	}
	return all
}

func groupsOf(agent events.AgentID, history []events.Envelope) []*runs.Group {
	var all []*runs.Group
	fold := runs.NewGroupFold(agent)
	for i := range history {
		if done := fold.Apply(&history[i]); done != nil {
			all = append(all, done)
		}
	}
	return append(all, fold.End()...)
}
