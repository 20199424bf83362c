package declared_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"example.com/life/adapters/declared"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas/world"
)

// made is a history that the sagas decided.
func made(t testing.TB, seed uint64, agents int, count int64) []events.Envelope {
	t.Helper()
	w := world.New(world.Config{Seed: seed, Agents: agents, Events: count})
	var all []events.Envelope
	for {
		batch, err := w.Next()
		if err != nil {
			t.Fatal(err)
		}
		if batch == nil {
			return all
		}
		all = append(all, batch...)
	}
}

// examples are the declarations of the directory examples, by name.
func examples(t testing.TB) map[string]projections.Spec {
	t.Helper()
	files, err := filepath.Glob("examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("find the examples", err)
	}
	specs := map[string]projections.Spec{}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		spec, err := declared.Parse(source)
		if err != nil {
			t.Fatal(err)
		}
		specs[spec.Name] = spec
	}
	return specs
}

// apply folds the events that a projection needs.
func apply(t testing.TB, spec *projections.Spec, fold projections.Fold, all []events.Envelope) {
	t.Helper()
	for i := range all {
		if slices.Contains(spec.Kinds, string(all[i].Kind)) {
			if err := fold.Apply(&projections.Recorded{Envelope: &all[i]}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// answers are those to all queries, as JSON.
func answers(t testing.TB, spec *projections.Spec, fold projections.Fold) string {
	t.Helper()
	var all strings.Builder
	for _, query := range spec.Queries {
		answer, err := fold.Answer(projections.Query{Name: query.Name})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// TestLiveIsRebuilt: a fold that was saved and restored at any time, and asked in between, is the fold of all of history, byte by byte.
func TestLiveIsRebuilt(t *testing.T) {
	specs := examples(t)
	rapid.Check(t, func(rt *rapid.T) {
		all := made(t, rapid.Uint64().Draw(rt, "seed"), rapid.IntRange(1, 12).Draw(rt, "agents"), 200)
		for name, spec := range specs {
			rebuilt, live := spec.New(), spec.New()
			apply(t, &spec, rebuilt, all)
			for rest := all; len(rest) > 0; {
				next := rapid.IntRange(1, len(rest)).Draw(rt, "next")
				apply(t, &spec, live, rest[:next])
				rest = rest[next:]
				answers(t, &spec, live)
				restored := spec.New()
				if err := restored.Restore([]byte(save(t, live))); err != nil {
					rt.Fatal(err)
				}
				live = restored
			}
			if got, want := save(t, live), save(t, rebuilt); got != want {
				rt.Fatalf("%s saves\n%s\nlive, and rebuilt\n%s", name, got, want)
			}
			if got, want := answers(t, &spec, live), answers(t, &spec, rebuilt); got != want {
				rt.Fatalf("%s answers\n%s\nlive, and rebuilt\n%s", name, got, want)
			}
		}
	})
}

// counted is what tool-failures answers.
type counted struct {
	Unmatched int64 `json:"unmatched,string"`
	Rows      []struct {
		Calls  int64 `json:"calls,string"`
		Failed int64 `json:"failed,string"`
		Lost   int64 `json:"lost,string"`
	} `json:"rows"`
}

// counts asks it and adds up its rows: calls, failed and lost ones.
func counts(t *testing.T, fold projections.Fold, query string) (answer counted, sum [3]int64) {
	t.Helper()
	table, err := fold.Answer(projections.Query{Name: query})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(table)
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range answer.Rows {
		sum[0], sum[1], sum[2] = sum[0]+row.Calls, sum[1]+row.Failed, sum[2]+row.Lost
	}
	return answer, sum
}

// TestCountsEverything: what tool-failures counts is what there is, counted without it, by week and put together by tool.
func TestCountsEverything(t *testing.T) {
	all, spec := made(t, 7, 40, 20_000), examples(t)["tool-failures"]
	fold, want := spec.New(), [3]int64{}
	apply(t, &spec, fold, all)
	for i := range all {
		event, err := all[i].Event()
		if err != nil {
			t.Fatal(err)
		}
		switch e := event.(type) {
		case events.ToolReturned:
			want[0]++
			if e.Failed {
				want[1]++
			}
		case events.ToolLost:
			want[0]++
			want[2]++
		}
	}
	weeks, byWeek := counts(t, fold, "weeks")
	if byWeek[0] += weeks.Unmatched; byWeek != want || want[0] == 0 || want[1] == 0 {
		t.Errorf("calls, failed and lost are %d, want %d", byWeek, want)
	}
	tools, byTool := counts(t, fold, "tools") // there those that failed are those that were lost too
	if byTool[0]+tools.Unmatched != want[0] || byTool[1] != want[1]+want[2] || len(tools.Rows) >= len(weeks.Rows) {
		t.Errorf("put together, calls and failures are %d, want %d", byTool, want)
	}
}

// TestFilterChooses: a filter chooses what Go code chooses.
func TestFilterChooses(t *testing.T) {
	filter, err := declared.CompileFilter(`kind == "model.replied" and cost > 0 and any(calls, .tool == "bash") or failed and duration_us >= 1000`)
	if err != nil {
		t.Fatal(err)
	}
	chosen := 0
	for _, e := range made(t, 3, 20, 10_000) {
		got, err := filter(&e)
		if err != nil {
			t.Fatal(err)
		}
		event, err := e.Event()
		if err != nil {
			t.Fatal(err)
		}
		want := false
		switch event := event.(type) {
		case events.ModelReplied:
			want = event.Cost > 0 && slices.ContainsFunc(event.Calls, func(c events.ModelCall) bool { return c.Tool == "bash" })
		case events.ToolReturned:
			want = event.Failed && event.Duration >= 1000
		}
		if got != want {
			t.Errorf("event %s is chosen: %v, want %v", e.Ref(), got, want)
		}
		if got {
			chosen++
		}
	}
	if chosen == 0 {
		t.Error("nothing was chosen")
	}
}

// TestLimits: what goes over a limit stops the projection at that event, says which limit it was, and changes nothing.
func TestLimits(t *testing.T) {
	declare := func(key, fold, more string) string {
		return fmt.Sprintf("name: limited\nversion: 1\nabout: limits\non: tool.requested\nkey:\n  k: %s\nfold:\n  n: %s\n%sanswer: {all: {about: all, columns: [k, n]}}\n", key, fold, more)
	}
	long := strings.Repeat("x", 2000)
	many := strings.Repeat(",1", 1001)[1:]
	for _, test := range []struct {
		name, source, data string
		count              int
		want               string
	}{
		{"text", declare("call", "value(arguments, \"a\")", ""), `{"turn":"a/1","call":"1","tool":"t","arguments":{"a":"` + long + `"}}`, 1, "line 8, fold.n: the text has 2000 bytes, at most 1024 can be kept"},
		{"key", declare("value(arguments, \"a\")", "state.n + 1", ""), `{"turn":"a/1","call":"1","tool":"t","arguments":{"a":"` + long + `"}}`, 1, "line 6, key.k: the text has 2000 bytes"},
		{"number", declare("call", "state.n * 3 + 1", ""), `{"turn":"a/1","call":"1","tool":"t","arguments":{}}`, 41, "line 8, fold.n: the number does not fit into 64 bits"},
		{"made", declare("call", "len(arguments + arguments + arguments)", ""), `{"turn":"a/1","call":"1","tool":"t","arguments":{"a":"` + strings.Repeat(long, 20) + `"}}`, 1, "an expression can make 65536"},
		{"groups", declare("string(position)", "state.n + 1", ""), `{"turn":"a/1","call":"1","tool":"t","arguments":{}}`, 100_001, "there are more than 100000 groups"},
		{"division", declare("call", "1 / state.n", ""), `{"turn":"a/1","call":"1","tool":"t","arguments":{}}`, 1, "division by zero"},
		{"list", strings.Replace(declare("agent", "state.n + len(messages)", ""), "tool.requested", "turn.started", 1), `{"turn":"a/1","messages":["` + strings.ReplaceAll(many, ",1", `","1`) + `"]}`, 1, "a list has 1001 elements, at most 1000 can be read"},
	} {
		t.Run(test.name, func(t *testing.T) {
			spec, err := declared.Parse([]byte(test.source))
			if err != nil {
				t.Fatal(err)
			}
			fold, stopped := spec.New(), error(nil)
			for i := range test.count {
				before := ""
				if i == test.count-1 {
					before = save(t, fold)
				}
				stopped = fold.Apply(&projections.Recorded{Envelope: &events.Envelope{
					Stream: "agent-a", Position: events.Position(i + 1), Kind: events.Kind(spec.Kinds[0]), Version: 1, Data: json.RawMessage(test.data),
				}})
				if stopped == nil {
					continue
				}
				if i != test.count-1 || save(t, fold) != before {
					t.Errorf("event %d of %d stopped it and left\n%.200s\nof\n%.200s", i+1, test.count, save(t, fold), before)
				}
				break
			}
			var poison *projections.PoisonError
			if !errors.As(stopped, &poison) || !strings.Contains(poison.Error(), test.want) {
				t.Errorf("it stopped with %v, want %q", stopped, test.want)
			}
		})
	}
}

// TestKeep: groups beyond the number that is kept give way, those with the least first, and are counted.
func TestKeep(t *testing.T) {
	spec, err := declared.Parse([]byte("name: kept\nversion: 1\nabout: the latest\non: tool.requested\nkey: {at: position}\nfold: {n: state.n + 1}\n" +
		"keep: {groups: 20, by: at}\nanswer: {all: {about: all, columns: [at]}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	fold := spec.New()
	for i := range 1000 {
		err := fold.Apply(&projections.Recorded{Envelope: &events.Envelope{
			Stream: "agent-a", Position: events.Position(i + 1), Kind: "tool.requested", Version: 1, Data: json.RawMessage(`{"turn":"a/1","call":"1","tool":"t","arguments":{}}`),
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	got := answers(t, &spec, fold)
	if !strings.Contains(got, `{"at":"1000"}`) || strings.Contains(got, `{"at":"980"}`) {
		t.Errorf("what is kept is not the latest: %s", got)
	}
	if kept := strings.Count(got, `"at"`); kept < 18 || kept > 20 || !strings.Contains(got, fmt.Sprintf(`"dropped":"%d"`, 1000-kept)) {
		t.Errorf("%d are kept, of 20: %s", kept, got)
	}
}

// TestFoldsShareADeclaration: several folds of one projection, as the one that answers and the one that is built to take its place,
// run at the same time.
func TestFoldsShareADeclaration(t *testing.T) {
	all, spec := made(t, 5, 10, 3000), examples(t)["reply-latency"]
	states := make(chan string)
	for range 4 {
		go func() { states <- folded(&spec, all) }()
	}
	first := <-states
	for range 3 {
		if next := <-states; next != first || !strings.HasPrefix(next, "{") {
			t.Errorf("folds of the same events give\n%s\nand\n%s", first, next)
		}
	}
}

// folded is the state after events, or what went wrong.
func folded(spec *projections.Spec, all []events.Envelope) string {
	fold := spec.New()
	for i := range all {
		if !slices.Contains(spec.Kinds, string(all[i].Kind)) {
			continue
		}
		if err := fold.Apply(&projections.Recorded{Envelope: &all[i]}); err != nil {
			return err.Error()
		}
	}
	state, err := fold.Save()
	if err != nil {
		return err.Error()
	}
	return string(state)
}

// TestForgetsTheOldest: of more events than can be remembered the oldest are forgotten, and whoever looks for one is counted as
// unmatched.
func TestForgetsTheOldest(t *testing.T) {
	const limit = 100_000
	spec := examples(t)["tool-failures"]
	fold, at := spec.New(), events.Position(0)
	tell := func(kind events.Kind, revision events.Revision, data string) {
		at++
		err := fold.Apply(&projections.Recorded{Envelope: &events.Envelope{
			Stream: "agent-a", Revision: revision, Position: at, Kind: kind, Version: 1, Data: json.RawMessage(data),
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range events.Revision(limit + 2) {
		tell("tool.requested", i, `{"turn":"a/1","call":"1.1","tool":"bash","arguments":{}}`)
	}
	for _, request := range []string{"0", "1", "2", "100001"} {
		tell("tool.returned", 1_000_000, `{"request":"agent-a@`+request+`","call":"1.1","text":"","duration_us":"1"}`)
	}
	if answer, sum := counts(t, fold, "weeks"); answer.Unmatched != 2 || sum[0] != 2 {
		t.Errorf("%d are unmatched and %d counted, want 2 and 2", answer.Unmatched, sum[0])
	}
	restored := spec.New()
	if err := restored.Restore([]byte(save(t, fold))); err != nil {
		t.Fatal(err)
	}
	if save(t, restored) != save(t, fold) {
		t.Error("the restored fold saves another state")
	}
}
