package declared_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"example.com/life/adapters/declared"
	"example.com/life/events"
	"example.com/life/projections"
)

// FuzzParse: whatever a declaration is, it is refused with lines that exist or it folds, and what it folds can be saved, restored and
// asked, and is the same when it is done again.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("examples/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(source)
	}
	all := made(f, 11, 3, 300)
	f.Fuzz(func(t *testing.T, source []byte) {
		spec, err := declared.Parse(source)
		if err != nil {
			if problems, is := err.(declared.Problems); !is || len(problems) == 0 || problems[0].Line < 1 { //nolint:errorlint // Parse returns nothing else
				t.Fatalf("%#v does not say where", err)
			}
			return
		}
		first, second := spec.New(), spec.New()
		for i := range all {
			err := first.Apply(&projections.Recorded{Envelope: &all[i]})
			again := second.Apply(&projections.Recorded{Envelope: &all[i]})
			if (err == nil) != (again == nil) || err != nil && err.Error() != again.Error() {
				t.Fatalf("an event gives %v and then %v", err, again)
			}
		}
		state := save(t, first)
		if state != save(t, second) {
			t.Fatal("the same events give two states")
		}
		restored := spec.New()
		if err := restored.Restore([]byte(state)); err != nil {
			t.Fatal(err)
		}
		if save(t, restored) != state {
			t.Fatal("the restored fold saves another state")
		}
		for _, query := range spec.Queries {
			answer, err := first.Answer(projections.Query{Name: query.Name})
			if err != nil {
				continue // it divides by zero, for example
			}
			if _, err := json.Marshal(answer); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzFilter: whatever an expression is, it is refused, or says of each event the same every time.
func FuzzFilter(f *testing.F) {
	for _, expression := range []string{
		`kind == "tool.returned" and failed`, `usage.input + usage.output * 3 / 2 % 7 > -1`, `any(calls, .tool == "bash")`, `text matches "a+"`,
		`value(arguments, "a.0") != ""`, `percent(1, position) == "1.0%"`, `week(time) > "2026" ? failed : not failed`, `cut(text, 3) in ["a", "b"]`,
		`min(cost, 3) < int("4")`, `first(messages) contains "m"`, `count(config.tools, .risk != "low") == 0`, `9223372036854775807 + 1 > 0`,
	} {
		f.Add(expression)
	}
	all := made(f, 12, 3, 300)
	all = append(all, events.Envelope{Stream: "x", Kind: "from.tomorrow", Version: 9, Data: json.RawMessage(`[]`)})
	f.Fuzz(func(t *testing.T, expression string) {
		filter, err := declared.CompileFilter(expression)
		if err != nil {
			return
		}
		for i := range all {
			chosen, err := filter(&all[i])
			again, errAgain := filter(&all[i])
			if chosen != again || (err == nil) != (errAgain == nil) {
				t.Fatalf("%q gives %v, %v and then %v, %v", expression, chosen, err, again, errAgain)
			}
		}
	})
}

// FuzzRestore: a state that is damaged is refused, or is one that can be saved again.
func FuzzRestore(f *testing.F) {
	all, specs := made(f, 13, 3, 300), examples(f)
	spec := specs["slow-approvals"]
	fold := spec.New()
	apply(f, &spec, fold, all)
	f.Add([]byte(save(f, fold)))
	f.Fuzz(func(t *testing.T, state []byte) {
		restored := spec.New()
		if err := restored.Restore(state); err != nil {
			return
		}
		again := spec.New()
		if err := again.Restore([]byte(save(t, restored))); err != nil {
			t.Fatal(err)
		}
		if save(t, again) != save(t, restored) {
			t.Fatal("a restored fold saves another state than it was restored from")
		}
	})
}
