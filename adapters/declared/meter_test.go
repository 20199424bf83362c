package declared_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"example.com/life/adapters/declared"
	"example.com/life/events"
	"example.com/life/projections"
)

// message is an event with a text.
func message(text string) *projections.Recorded {
	data, err := json.Marshal(map[string]any{"message": "m1", "verb": "collect", "text": text})
	if err != nil {
		panic(err)
	}
	return &projections.Recorded{Envelope: &events.Envelope{Stream: "agent-a", Revision: 1, Position: 7, Kind: "message.received", Version: 1, Data: data}}
}

// reply is a model's reply with many calls.
func reply(calls int, arguments string) *projections.Recorded {
	all := make([]string, calls)
	for i := range all {
		all[i] = fmt.Sprintf(`{"id":"c%d","tool":"bash","arguments":%s}`, i, arguments)
	}
	data := `{"request":"agent-a@1","text":"x","calls":[` + strings.Join(all, ",") + `],"stop":"calls","usage":{"input":"1","output":"1"},"cost":"1","priced":true,"duration_us":"1"}`
	return &projections.Recorded{Envelope: &events.Envelope{Stream: "agent-a", Revision: 1, Position: 7, Kind: "model.replied", Version: 1, Data: json.RawMessage(data)}}
}

func yamlOf(kind string, fold ...string) []byte {
	var text strings.Builder
	fmt.Fprintf(&text, "name: burn\nversion: 1\nabout: burns\non: [%s]\nkey: {agent: agent}\nfold:\n", kind)
	for i, then := range fold {
		fmt.Fprintf(&text, "  f%d: state.f%d + int(%s)\n", i, i, then)
	}
	text.WriteString("answer:\n  all: {about: all, columns: [agent, f0]}\n")
	return []byte(text.String())
}

// many is an expression for each of so many fields, with its number in it.
func many(count int, expression string) []string {
	all := make([]string, count)
	for i := range all {
		all[i] = fmt.Sprintf(expression, i)
	}
	return all
}

// TestExpensiveExpressions: what could (as patterns that begin with x are found quickly not to be there, the test takes no minutes) or would take minutes of one event stops the projection there, at once, and says why and where; the state
// stays as it was before. What anyone writes in earnest goes on.
func TestExpensiveExpressions(t *testing.T) {
	long := strings.Repeat("a", 30_000)
	nested := strings.Repeat(`{"a":`, 3000) + "1" + strings.Repeat("}", 3000)
	for name, test := range map[string]struct {
		on    string
		fold  []string
		event *projections.Recorded
		stops bool
	}{
		"a pattern with many states":   {"message.received", []string{`text matches "(.?.?){500}b"`}, message(long), true},
		"patterns with many states":    {"message.received", many(30, `text matches "(.?.?){500}b%d|(.?.?){500}c|(.?.?){500}d|(.?.?){500}e|(.?.?){500}f|(.?.?){500}g|(.?.?){500}h"`), message(long), true},
		"many patterns":                {"message.received", many(30, `text matches "x(.?.?){30}b%d"`), message(long), true},
		"patterns that fold case":      {"message.received", many(30, `text matches "x\\pL{40}x" or text matches "(?i)xy\\pL{40}%d"`), message(long), true},
		"a pattern for each of a list": {"model.replied", many(9, `any(calls, .arguments matches "x(.?.?){20}b%d")`), reply(1000, `{"y":"`+strings.Repeat("a", 500)+`"}`), true},
		"copies for each of a list":    {"model.replied", many(20, `any(calls, trim(trim(trim(trim(trim(.arguments))))) == "%d")`), reply(1000, `{"y":"`+strings.Repeat("a", 6000)+`"}`), true},
		"a value behind a long path":   {"model.replied", many(30, `any(calls, value(.arguments, "`+strings.Repeat("a.", 900)+`%d") == "x")`), reply(5, nested), true},
		"a search for words":           {"message.received", many(30, `text matches "(?i)\\b(error|failed|refund %d)\\b"`), message(long), false},
		"a search for texts":           {"message.received", many(32, `lower(text) contains "error %d"`), message(long), false},
		"tools by their arguments":     {"model.replied", []string{`any(calls, .tool == "bash" and value(.arguments, "x") contains "rm ")`}, reply(100, `{"x":"rm -rf"}`), false},
		"hashes":                       {"message.received", []string{`text matches "[0-9a-f]{64}"`}, message(long), false},
	} {
		t.Run(name, func(t *testing.T) {
			spec, err := declared.Parse(yamlOf(test.on, test.fold...))
			if err != nil {
				t.Fatal(err)
			}
			fold := spec.New()
			before := save(t, fold)
			err = fold.Apply(test.event)
			poisoned, is := err.(*projections.PoisonError) //nolint:errorlint // as Apply returns it
			if is != test.stops || !is && err != nil {
				t.Fatalf("it gives %v", err)
			}
			if is && (!strings.Contains(err.Error(), "takes more than") || !strings.Contains(err.Error(), "f0") && !strings.Contains(err.Error(), "fold.f") || poisoned.Position != 7) {
				t.Errorf("it says %v", err)
			}
			if is && save(t, fold) != before {
				t.Error("a part of the event was folded")
			}
		})
	}
}

// TestExpensivePatterns: a pattern that is too large is refused with its place, before it is compiled, however many times it is there.
func TestExpensivePatterns(t *testing.T) {
	alternatives := strings.Repeat("(.?.?){500}c|", 20)
	for want, fold := range map[string][]string{
		"the patterns of the expression take 60043 steps for each character, at most 32768 are allowed": many(30, `text matches "`+alternatives+`b%d"`),
		"all patterns together take more than 800000 steps":                                             many(32, `text matches "`+alternatives[:13*10]+`b%d"`),
	} {
		_, err := declared.Parse(yamlOf("message.received", fold...))
		problems, is := err.(declared.Problems) //nolint:errorlint // Parse returns no other
		if !is || problems[0].Line < 7 || !strings.Contains(problems[0].Text, want) {
			t.Errorf("it gives %.300v", err)
		}
	}
	_, err := declared.CompileFilter(`text matches "((a{10}){10}){10}b{1000}" or text matches "((a{1,9}){9}){9}(a{1000}){1}(b{1000}c{1000}d{1000}e{1000})"`)
	if err == nil || !strings.Contains(err.Error(), "steps for each character") {
		t.Errorf("a filter gives %v", err)
	}
	filter, err := declared.CompileFilter(`text matches "(.?.?){500}b"`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = filter(message(strings.Repeat("a", 30_000)).Envelope); err == nil || !strings.Contains(err.Error(), "takes more than") {
		t.Errorf("filtering gives %v", err)
	}
	if chosen, err := filter(message("aab").Envelope); err != nil || !chosen {
		t.Errorf("after that it gives %t, %v", chosen, err)
	}
}

// TestExpensiveAnswers: an answer that would go over many groups for minutes is refused, and the next one is answered.
func TestExpensiveAnswers(t *testing.T) {
	spec, err := declared.Parse([]byte(`name: burn
version: 1
about: burns
on: [message.received]
key: {message: message}
fold:
  kept: cut(text, 1000)
answer:
  few: {about: few, columns: [message], limit: 1}
  all: {about: all, columns: [message], where: 'kept matches "x(.?.?){400}b"'}
`))
	if err != nil {
		t.Fatal(err)
	}
	fold := spec.New()
	for i := range 300 {
		event := message(strings.Repeat("a", 1000))
		event.Data = json.RawMessage(strings.Replace(string(event.Data), "m1", fmt.Sprint("m", i), 1))
		if err := fold.Apply(event); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := fold.Answer(projections.Query{Name: "all"}); err == nil || !strings.Contains(err.Error(), "the answer takes more than") {
		t.Errorf("it gives %v", err)
	}
	if _, err := fold.Answer(projections.Query{Name: "few"}); err != nil {
		t.Error(err)
	}
}
