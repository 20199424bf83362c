package runs_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"example.com/life/events"
	"example.com/life/projections/runs"
)

// TestCausality runs testdata/causality/*.txt, which say what led to what.
//
//	history         one event a line: its stream, command, cause, correlation, kind and data; - is nothing
//	causes EVENT    what led to it
//	effects EVENT   what followed from it
func TestCausality(t *testing.T) {
	files, err := filepath.Glob("testdata/causality/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("find transcripts: %v, %d files", err, len(files))
	}
	for _, file := range files {
		c := runs.NewCausality()
		datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
			var out strings.Builder
			switch d.Cmd {
			case "history":
				addTo(t, c, d.Input)
			case "causes":
				showDeed(&out, c.Causes(events.Ref(d.CmdArgs[0].Key)), 0)
			case "effects":
				showDeed(&out, c.Effects(events.Ref(d.CmdArgs[0].Key)), 0)
			default:
				d.Fatalf(t, "there is no command %s", d.Cmd)
			}
			return out.String()
		})
	}
}

// addTo adds events; a message on the bus led to the first decision after it.
func addTo(t *testing.T, c *runs.Causality, lines string) {
	t.Helper()
	next, published := map[events.Stream]events.Revision{}, events.Ref("")
	for line := range strings.Lines(lines) {
		words := strings.SplitN(strings.TrimSpace(line), " ", 6)
		if len(words) < 6 {
			t.Fatalf("%q is no event", line)
		}
		for i := range words {
			words[i] = strings.TrimPrefix(words[i], "-")
		}
		e := &events.Envelope{
			Stream: events.Stream(words[0]), Command: events.CommandID(words[1]), Causation: events.Ref(words[2]), Correlation: words[3],
			Kind: events.Kind(words[4]), Version: 1, Data: []byte(words[5]),
		}
		e.Revision = next[e.Stream]
		next[e.Stream]++
		c.Add(e)
		if strings.HasPrefix(string(e.Stream), "command-") {
			published = e.Ref()
		} else if published != "" {
			c.Because(published, e.Ref())
			published = ""
		}
	}
}

func showDeed(out *strings.Builder, d *runs.TraceNode, depth int) {
	indent := strings.Repeat("  ", depth)
	fmt.Fprintf(out, "%s%s %s", indent, d.Ref, d.Text)
	if d.Outside {
		fmt.Fprintf(out, " (from outside: %s)", d.Command)
	}
	out.WriteString("\n")
	for _, with := range d.With {
		fmt.Fprintf(out, "%s  with %s %s\n", indent, with.Ref, with.Text)
	}
	for _, cause := range d.Causes {
		fmt.Fprintf(out, "%s  because of\n", indent)
		showDeed(out, cause, depth+2)
	}
	for _, effect := range d.Effects {
		showDeed(out, effect, depth+1)
	}
	if d.More != "" {
		fmt.Fprintf(out, "%s  … %s\n", indent, d.More)
	}
}
