package projections_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"example.com/life/events"
	"example.com/life/projections"
)

// TestTranscripts runs testdata/*.txt, which say what each projection answers after what happened. After an intended change run
// go test ./projections -rewrite and read the difference before it is committed.
//
//	project NAME        begins anew with a projection
//	wait LENGTH         lets time pass, as 90s or 2d
//	events STREAM       one event a line: its kind and its data. Each takes a millisecond; positions count by ten
//	ask QUERY name=…    prints the answer, one line for each of its rows
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < len(projections.Catalog) {
		t.Fatalf("find a transcript for each projection: %v, %d files", err, len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			var s *script
			datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
				if d.Cmd == "project" {
					spec, err := projections.Find(d.CmdArgs[0].Key)
					if err != nil {
						d.Fatalf(t, "%v", err)
					}
					s = &script{spec: spec, fold: spec.New(), told: newTeller(t)}
					return ""
				}
				return s.run(t, d)
			})
		})
	}
}

// script is the projection of one transcript.
type script struct {
	spec *projections.Spec
	fold projections.Fold
	told *teller
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "wait":
		text := d.CmdArgs[0].Key
		n, err := strconv.Atoi(text[:len(text)-1])
		unit, known := map[string]events.Micros{"s": events.Second, "d": 86_400 * events.Second}[text[len(text)-1:]]
		if err != nil || !known {
			d.Fatalf(t, "wait how long?")
		}
		s.told.now += events.Micros(n) * unit
		return ""
	case "events":
		return s.happen(t, events.Stream(d.CmdArgs[0].Key), d.Input)
	case "ask":
		return s.ask(d)
	}
	d.Fatalf(t, "there is no command %s", d.Cmd)
	return ""
}

// happen tells events; what the projection does not accept is printed.
func (s *script) happen(t *testing.T, stream events.Stream, lines string) string {
	var out strings.Builder
	for line := range strings.Lines(lines) {
		kind, data, _ := strings.Cut(strings.TrimSpace(line), " ")
		kind, version := versionOf(t, kind)
		s.told.now += events.Millisecond
		envelope := events.Envelope{
			Stream: stream, Revision: s.told.revisions[stream], Position: events.Position(10*len(s.told.all) + 10),
			Kind: events.Kind(kind), Version: version, Time: s.told.now, Data: json.RawMessage(data),
		}
		s.told.all = append(s.told.all, envelope)
		s.told.revisions[stream]++
		if !needs(s.spec, envelope.Kind) {
			continue
		}
		if err := s.fold.Apply(&projections.Recorded{Envelope: &envelope}); err != nil {
			out.WriteString(err.Error() + "\n")
		}
	}
	return out.String()
}

// versionOf reads KIND@VERSION; a kind alone is in version 1.
func versionOf(t *testing.T, kind string) (name string, version int) {
	t.Helper()
	name, digits, found := strings.Cut(kind, "@")
	if !found {
		return name, 1
	}
	version, err := strconv.Atoi(digits)
	if err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
	return name, version
}

func (s *script) ask(d *datadriven.TestData) string {
	q := projections.Query{Name: d.CmdArgs[0].Key, Parameters: map[string]string{}}
	for _, argument := range d.CmdArgs[1:] {
		q.Parameters[argument.Key] = strings.Join(argument.Vals, ",")
	}
	q, _, err := s.spec.Check(q)
	if err != nil {
		return err.Error() + "\n"
	}
	answer, err := s.fold.Answer(q)
	if err != nil {
		return err.Error() + "\n"
	}
	text, err := json.Marshal(answer)
	if err != nil {
		return err.Error() + "\n"
	}
	return rows(text)
}

// rows breaks JSON into lines: one for each element of a list.
func rows(text []byte) string {
	var indented bytes.Buffer
	var open []byte
	for i, c := range text {
		switch c {
		case '[', '{':
			open = append(open, c)
		case ']', '}':
			open = open[:len(open)-1]
		}
		indented.WriteByte(c)
		inList := len(open) == 2 && open[1] == '['
		if c == '[' && inList && text[i+1] != ']' || c == ',' && (inList || len(open) == 1) {
			indented.WriteString("\n" + strings.Repeat("  ", len(open)-1))
		}
	}
	return indented.String() + "\n"
}
