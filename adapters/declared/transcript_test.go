package declared_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"example.com/life/adapters/declared"
	"example.com/life/events"
	"example.com/life/projections"
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

// TestTranscripts runs a transcript for each example, testdata/<example>.txt, which says what it answers after what happened. After an
// intended change run go test ./adapters/declared -rewrite and read the difference before it is committed.
//
//	wait LENGTH                 lets time pass, as 90s or 8d
//	events STREAM [turn=TURN]   one event a line: its kind and its data; what is not accepted is printed
//	ask QUERY name=…            prints the answer, one line for each of its rows
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("examples/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("find the examples: %v, %d files", err, len(files))
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			spec, err := declared.Parse(source)
			if err != nil {
				t.Fatal(err)
			}
			if spec.Name != name {
				t.Errorf("%s declares %s", file, spec.Name)
			}
			s := &script{history: newHistory(), spec: &spec, fold: spec.New()}
			datadriven.RunTest(t, "testdata/"+name+".txt", s.run)
		})
	}
}

// script is the projection of one transcript.
type script struct {
	*history
	spec *projections.Spec
	fold projections.Fold
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
		s.now += events.Micros(n) * unit
		return ""
	case "events":
		turn, before := "", len(s.all)
		d.MaybeScanArgs(t, "turn", &turn)
		s.tell(events.Stream(d.CmdArgs[0].Key), turn, d.Input)
		return s.happened(t, s.all[before:])
	case "ask":
		return s.ask(d)
	}
	d.Fatalf(t, "there is no command %s", d.Cmd)
	return ""
}

// happened folds events, those of the kinds that the projection needs. After each event the state can be saved and restored.
func (s *script) happened(t *testing.T, all []events.Envelope) string {
	var out strings.Builder
	for i := range all {
		if !slices.Contains(s.spec.Kinds, string(all[i].Kind)) {
			continue
		}
		before := save(t, s.fold)
		if err := s.fold.Apply(&projections.Recorded{Envelope: &all[i]}); err != nil {
			out.WriteString(err.Error() + "\n")
			if after := save(t, s.fold); after != before {
				t.Errorf("an event that was not accepted left\n%s\nof\n%s", after, before)
			}
			continue
		}
		restored := s.spec.New()
		if err := restored.Restore([]byte(save(t, s.fold))); err != nil {
			t.Fatal(err)
		}
		if again := save(t, restored); again != save(t, s.fold) {
			t.Errorf("the restored fold saves\n%s\nnot\n%s", again, save(t, s.fold))
		}
		s.fold = restored
	}
	return out.String()
}

func save(t testing.TB, fold projections.Fold) string {
	t.Helper()
	state, err := fold.Save()
	if err != nil {
		t.Fatal(err)
	}
	return string(state)
}

func (s *script) ask(d *datadriven.TestData) string {
	q := projections.Query{Parameters: map[string]string{}}
	for i, argument := range d.CmdArgs {
		if i == 0 && len(argument.Vals) == 0 {
			q.Name = argument.Key
			continue
		}
		q.Parameters[argument.Key] = strings.Join(argument.Vals, ",")
	}
	q, described, err := s.spec.Check(q)
	if err != nil {
		return err.Error() + "\n"
	}
	answer, err := s.fold.Answer(q)
	if err != nil {
		return err.Error() + "\n"
	}
	if reflect.TypeOf(answer) != reflect.TypeOf(described.Answer) {
		return "the answer is not of the type that is described\n"
	}
	text, err := json.Marshal(answer)
	if err != nil {
		return err.Error() + "\n"
	}
	return strings.NewReplacer(`:[{`, ":[\n  {", `},{`, "},\n  {").Replace(string(text)) + "\n"
}

// TestProblems runs testdata/problems.txt: declarations that are wrong, and what is said about them.
//
//	declare   a declaration; prints what is wrong with it, or else its fields and what they begin with
func TestProblems(t *testing.T) {
	datadriven.RunTest(t, "testdata/problems.txt", func(t *testing.T, d *datadriven.TestData) string {
		if d.Cmd != "declare" {
			d.Fatalf(t, "there is no command %s", d.Cmd)
		}
		spec, err := declared.Parse([]byte(d.Input))
		var problems declared.Problems
		switch {
		case err == nil:
			return fmt.Sprintf("%s, version %d, of %s\n", spec.Name, spec.Version, strings.Join(spec.Kinds, ", "))
		case !errors.As(err, &problems):
			t.Errorf("%T is not a list of problems", err)
		}
		for _, problem := range problems {
			if problem.Line < 1 || problem.Line > 1+strings.Count(d.Input, "\n") {
				t.Errorf("there is no line %d: %v", problem.Line, problem)
			}
		}
		return err.Error() + "\n"
	})
}
