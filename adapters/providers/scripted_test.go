package providers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/events"
	"example.com/life/sagas"
)

// write puts a file into a directory and returns its path.
func write(t testing.TB, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// withScript returns a scripted model whose script "script.yaml" is this.
func withScript(t testing.TB, script string) actors.Model {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "script.yaml", script)
	model, err := Scripted(ScriptedConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return model
}

func user(text string) sagas.Message {
	return sagas.Message{Role: sagas.RoleUser, Text: events.Text{Inline: text}}
}

func result(tool, text string) sagas.Message {
	return sagas.Message{Role: sagas.RoleTool, Text: events.Text{Inline: text}, Tool: tool, CallID: "c1"}
}

func ask(t testing.TB, model actors.Model, name string, messages ...sagas.Message) (actors.ModelResponse, error) {
	t.Helper()
	return model.Ask(t.Context(), actors.ModelRequest{Model: name, Messages: messages}, nil)
}

// scriptOf writes a situation as a script.
func scriptOf(t *testing.T, situation actorstest.ModelSituation) string {
	t.Helper()
	type object = map[string]any
	rule := object{}
	switch {
	case situation.Reply != nil:
		var calls []object
		for _, call := range situation.Reply.Calls {
			calls = append(calls, object{"tool": call.Tool, "arguments": call.Arguments})
		}
		usage := situation.Reply.Usage
		rule = object{
			"text": strings.ReplaceAll(situation.Reply.Text, "$", "$$"), "calls": calls, "stop": situation.Reply.Stop,
			"usage": object{"input": usage.Input, "output": usage.Output, "cached": usage.Cached},
		}
	case situation.Failure != nil:
		rule["failure"] = object{"class": situation.Failure.Class, "detail": situation.Failure.Detail, "retry_after": situation.Failure.RetryAfter.String()}
	default:
		rule = object{"text": "never", "latency": "10h"}
	}
	script, err := json.Marshal(object{"rules": []object{rule}}) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	return string(script)
}

func TestScriptedIsAModel(t *testing.T) {
	actorstest.TestModel(t, func(t *testing.T, situation actorstest.ModelSituation) (actors.Model, string) {
		return withScript(t, scriptOf(t, situation)), "script.yaml"
	})
}

func TestScriptedFollowsTheFirstRuleThatMatches(t *testing.T) {
	model := withScript(t, `
rules:
  - when: {equals: "hello"}
    text: equals
  - when: {role: user, contains: budget, round: 1}
    text: "${text} costs $$5, ${prompt}"
  - when: {matches: '^edit (?P<file>\S+) (\w+)$'}
    text: "${file} ${2} ${0}"
    calls: [{tool: edit_file, arguments: {path: "${file}", new: "${text}", n: 1, list: ["${2}"]}}]
  - when: {tool: grep, failed: true}
    text: "${tool} failed: ${result}"
  - when: {tool: grep, round: 2}
    text: second
  - when: {tool: grep}
    text: "of ${call.pattern} in ${call.limit}${call.none}"
  - when: {role: assistant}
    text: go on
    stop: length
`)
	grep := sagas.Message{Role: sagas.RoleAssistant, Calls: []events.ModelCall{{ID: "c1", Tool: "grep", Arguments: json.RawMessage(`{"pattern":"x","limit":3}`)}}}
	failed := result("grep", "no such file")
	failed.Failed = true
	for _, test := range []struct {
		messages  []sagas.Message
		text      string
		arguments string
	}{
		{[]sagas.Message{user("hello\n")}, "equals", ""},
		{[]sagas.Message{user("the budget")}, "the budget costs $5, the budget", ""},
		{[]sagas.Message{user(`edit a"b.md now`)}, `a"b.md now edit a"b.md now`, `{"list":["now"],"n":1,"new":"edit a\"b.md now","path":"a\"b.md"}`},
		{[]sagas.Message{user("x"), grep, failed}, "grep failed: no such file", ""},
		{[]sagas.Message{user("x"), grep, result("grep", "a:1")}, "second", ""},
		{[]sagas.Message{user("x"), grep, result("grep", "a"), grep, result("grep", "b")}, "of x in 3", ""},
		{[]sagas.Message{user("x"), {Role: sagas.RoleAssistant}}, "go on", ""},
	} {
		answer, err := ask(t, model, "script.yaml", test.messages...)
		if err != nil {
			t.Errorf("%+v: %v", test.messages, err)
			continue
		}
		got := ""
		if len(answer.Calls) > 0 {
			got = string(answer.Calls[0].Arguments)
		}
		if answer.Text != test.text || got != test.arguments || answer.Usage.Input == 0 || answer.Usage.Output == 0 {
			t.Errorf("%+v gives %q %s %+v, want %q %s and some usage", test.messages, answer.Text, got, answer.Usage, test.text, test.arguments)
		}
	}
	for _, test := range []struct {
		messages []sagas.Message
		says     string
	}{
		{[]sagas.Message{user("else")}, `no rule of script script.yaml matches the last message (round 1): user said "else"`},
		{[]sagas.Message{user("x"), result("bash", "oops")}, `tool bash gave "oops"`},
		{nil, "there is no message"},
	} {
		_, err := ask(t, model, "script.yaml", test.messages...)
		var failure *actors.ModelError
		if !errors.As(err, &failure) || failure.Class != events.ErrorInvalid || !strings.Contains(failure.Detail, test.says) {
			t.Errorf("%+v gives %v, want invalid: %q", test.messages, err, test.says)
		}
	}
}

func TestScriptedFailsTheFirstTimes(t *testing.T) {
	model := withScript(t, `
rules:
  - text: at last
    failure: {class: overloaded, retry_after: 20ms, times: 2}
`)
	for _, prompt := range []string{"one", "two"} { // each question on its own
		for attempt := 1; attempt <= 4; attempt++ {
			answer, err := ask(t, model, "script.yaml", user(prompt))
			var failure *actors.ModelError
			if attempt <= 2 && (!errors.As(err, &failure) || failure.Class != events.ErrorOverloaded || failure.RetryAfter != 20*time.Millisecond) {
				t.Errorf("attempt %d at %q gives %v, want a failure", attempt, prompt, err)
			}
			if attempt > 2 && (err != nil || answer.Text != "at last") {
				t.Errorf("attempt %d at %q gives %+v, %v", attempt, prompt, answer, err)
			}
		}
	}
	var few attempts
	for i := range maxAttempts + 10 {
		few.next("s", i, actors.ModelRequest{})
	}
	if len(few.counts) != maxAttempts || len(few.order) != maxAttempts {
		t.Errorf("%d questions are remembered, want %d", len(few.counts), maxAttempts)
	}
}

func TestScriptedTakesItsTime(t *testing.T) {
	model := withScript(t, "rules: [{text: one two three four, latency: 4s}]")
	synctest.Test(t, func(t *testing.T) {
		started := time.Now()
		var heard []string
		_, err := model.Ask(t.Context(), actors.ModelRequest{Model: "script.yaml"}, func(piece actors.Delta) {
			text := piece.Text
			heard = append(heard, fmt.Sprint(text, time.Since(started)))
		})
		want := []string{"one 1s", "two 2s", "three 3s", "four4s"}
		if err != nil || !cmp.Equal(heard, want) {
			t.Errorf("heard %q, %v; want %q", heard, err, want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		answer, err := model.Ask(ctx, actors.ModelRequest{Model: "script.yaml"}, func(actors.Delta) {})
		if !errors.Is(err, context.DeadlineExceeded) || answer.Text != "" {
			t.Errorf("cut off: %+v, %v", answer, err)
		}
	})
}

func TestScriptErrorsNameTheLine(t *testing.T) {
	for script, says := range map[string]string{
		"":                                     "it is empty",
		"rules: []":                            "it has 0 rules",
		"rules:\n  - txet: a":                  "line 2: field txet not found",
		"rules:\n  - text: a\n    text: b":     "line 3",
		"rules: [{text: a}]\n---\nrules: []":   "more than one",
		"rules:\n- text: a\n- text: ${nobody}": "rule at line 3: text: unknown placeholder ${nobody}",
		"rules:\n- text: a $ b":                "write $$ for a dollar",
		"rules:\n- text: ${1}":                 "unknown placeholder ${1}",
		"rules:\n- {text: a, when: {role: x}}": `role "x"`,
		"rules:\n- {text: a, when: {role: user, tool: x}}":                     "not of role user",
		"rules:\n- {text: a, when: {matches: '('}}":                            "missing closing",
		"rules:\n- {text: a, when: {round: -1}}":                               "rounds count from 1",
		"rules:\n- {text: a, latency: -1s}":                                    "negative",
		"rules:\n- {text: a, latency: soon}":                                   "line 2",
		"rules:\n- {text: a, stop: calls}":                                     "does not fit 0 calls",
		"rules:\n- {text: a, stop: bored}":                                     "want end, calls, length or filtered",
		"rules:\n- {text: a, usage: {input: 1, cached: 2}}":                    "cached as a part of input",
		"rules:\n- {when: {role: user}}":                                       "it does nothing",
		"rules:\n- {failure: {class: bad}}":                                    `class "bad"`,
		"rules:\n- {failure: {class: auth, times: 1}}":                         "the reply that follows",
		"rules:\n- {text: a, failure: {class: auth}}":                          "without times",
		"rules:\n- {text: a, failure: {class: auth, times: -1}}":               "not be negative",
		"rules:\n- calls: [{arguments: {}}]":                                   "calls[0]: tool is missing",
		"rules:\n- calls: [{tool: a, arguments: {1: 2}}]":                      "calls[0].arguments",
		"rules:\n- calls: [" + strings.Repeat("{tool: a},", 65) + "]":          "at most 64",
		"rules:\n" + strings.Repeat("- text: a\n", maxRules+1):                 "it has 1001 rules",
		"# " + strings.Repeat("x", maxScript):                                  "at most",
		"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nrules: 1": "line",
	} {
		_, err := ask(t, withScript(t, script), "script.yaml", user("x"))
		var failure *actors.ModelError
		if !errors.As(err, &failure) || failure.Class != events.ErrorInvalid || !strings.Contains(failure.Detail, says) || !strings.Contains(failure.Detail, "script.yaml") {
			t.Errorf("%.80q gives %v, want the script's name and %q", script, err, says)
		}
	}
}

func TestScriptedStaysInItsDirectory(t *testing.T) {
	dir := t.TempDir()
	outside := write(t, dir, "outside.yaml", "rules: [{text: outside}]")
	inside := filepath.Join(dir, "scripts")
	if err := os.Mkdir(inside, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(inside, "link.yaml")); err != nil {
		t.Fatal(err)
	}
	model, err := Scripted(ScriptedConfig{Dir: inside})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../outside.yaml", outside, "link.yaml", ".", "none.yaml", "", "a\x00b"} {
		answer, err := ask(t, model, name, user("x"))
		var failure *actors.ModelError
		if !errors.As(err, &failure) || failure.Class != events.ErrorInvalid {
			t.Errorf("script %q gives %+v, %v", name, answer, err)
		}
	}
	write(t, inside, "mine.yaml", "rules: [{text: first}]")
	if answer, err := ask(t, model, "mine.yaml", user("x")); err != nil || answer.Text != "first" {
		t.Errorf("got %+v, %v", answer, err)
	}
	write(t, inside, "mine.yaml", "rules: [{text: changed}]")
	if answer, err := ask(t, model, "mine.yaml", user("x")); err != nil || answer.Text != "changed" {
		t.Errorf("after a change: %+v, %v", answer, err)
	}
	for _, dir := range []string{outside, filepath.Join(dir, "none")} {
		if _, err := Scripted(ScriptedConfig{Dir: dir}); err == nil {
			t.Errorf("a model with scripts in %s was opened", dir)
		}
	}
	plain, err := Scripted(ScriptedConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, plain, "mine.yaml", user("x")); err == nil || !strings.Contains(err.Error(), "tour, echo, bench") {
		t.Errorf("without a directory: %v", err)
	}
	if answer, err := ask(t, plain, "echo", user("say it")); err != nil || answer.Text != "say it" {
		t.Errorf("echo: %+v, %v", answer, err)
	}
}

func TestScriptedReplyIsBounded(t *testing.T) {
	model := withScript(t, "rules: [{text: '"+strings.Repeat("${text}", 20)+"'}]")
	_, err := ask(t, model, "script.yaml", user(strings.Repeat("x", maxScriptText/10)))
	if err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("got %v", err)
	}
}

func TestBenchIsATurnOfTwoRounds(t *testing.T) {
	model, err := Scripted(ScriptedConfig{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := ask(t, model, "bench", user("go"))
	if err != nil || len(first.Calls) != 1 || first.Calls[0].Tool != "echo" || first.Stop != events.StopCalls {
		t.Fatalf("round 1: %+v, %v", first, err)
	}
	if size := len(first.Calls[0].Arguments); size < 100 || size > 200 {
		t.Errorf("the call's arguments have %d bytes, want 100 to 200", size)
	}
	second, err := ask(t, model, "bench", user("go"), sagas.Message{Role: sagas.RoleAssistant, Calls: first.Calls}, result("echo", "x"))
	if err != nil || len(second.Calls) != 0 || second.Text == "" || second.Stop != events.StopEnd || second.Usage.Total() == 0 {
		t.Errorf("round 2: %+v, %v", second, err)
	}
}

func BenchmarkBench(b *testing.B) {
	model, err := Scripted(ScriptedConfig{})
	if err != nil {
		b.Fatal(err)
	}
	question := actors.ModelRequest{Model: "bench", Messages: []sagas.Message{user("go")}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := model.Ask(context.Background(), question, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzScript(f *testing.F) {
	for _, name := range BuiltinScripts() {
		source, err := builtinScripts.ReadFile("scripts/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(source, "hello")
	}
	f.Add([]byte("rules:\n- {when: {matches: '(a)|(?P<b>b)'}, text: '${1}${b}', calls: [{tool: t, arguments: {k: '${2}\\u0000'}}]}"), "b\"\xff")
	f.Fuzz(func(t *testing.T, source []byte, prompt string) {
		script, err := parseScript("fuzzed", source)
		if err != nil {
			return
		}
		scene := newScene([]sagas.Message{user(prompt)})
		rule := script.match(&scene)
		if rule == nil || rule.failure != nil {
			return
		}
		answer, err := rule.answer(&scene, actors.ModelRequest{Model: "fuzzed", Messages: scene.messages})
		if err != nil {
			return
		}
		for _, call := range answer.Calls {
			if !json.Valid(call.Arguments) {
				t.Errorf("the arguments are not JSON: %s", call.Arguments)
			}
		}
	})
}

// TestNoFileLeft: a script that cannot be opened because there are too many files open is not wrong.
func TestNoFileLeft(t *testing.T) {
	var failed *actors.ModelError
	if err := unusable(&os.PathError{Op: "open", Err: syscall.EMFILE}); errors.As(err, &failed) || !errors.Is(err, syscall.EMFILE) {
		t.Errorf("it is %v", err)
	}
	if err := unusable(os.ErrNotExist); !errors.As(err, &failed) || failed.Class != events.ErrorInvalid {
		t.Errorf("a script that is not there is %v", err)
	}
}
