package actors_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// wordMasker masks two words: one that the host knows, and one of well-known shape.
type wordMasker struct{}

const (
	knownWord  = "kn0wn-w0rd"
	shapedWord = "sh4ped-w0rd"
)

func (wordMasker) Mask(level events.MaskingLevel, text string) (string, []events.Masked) {
	var hits []events.Masked
	for rule, word := range map[string]string{"TOKEN": knownWord, "shape": shapedWord} {
		if n := strings.Count(text, word); n > 0 && (rule == "TOKEN" || level != events.MaskKnown) {
			text = strings.ReplaceAll(text, word, "[masked: "+rule+"]")
			hits = events.CountMasked(hits, events.Masked{Rule: rule, Count: n})
		}
	}
	return text, hits
}

func (m wordMasker) MaskJSON(level events.MaskingLevel, value json.RawMessage) (json.RawMessage, []events.Masked) {
	masked, hits := m.Mask(level, string(value))
	return json.RawMessage(masked), hits
}

func (wordMasker) Marked(_ events.MaskingLevel, text string) bool {
	return strings.Contains(text, "[masked: ")
}
func (wordMasker) Names() []string                  { return []string{"TOKEN"} }
func (wordMasker) Value(name string) (string, bool) { return knownWord, name == "TOKEN" }

func (m wordMasker) Stream(level events.MaskingLevel, to io.Writer, _ int, _ bool) actors.MaskedStream {
	return &wordStream{masker: m, level: level, to: to}
}

func (m wordMasker) Reader(level events.MaskingLevel, source io.Reader) actors.MaskedReader {
	text, err := io.ReadAll(source)
	masked, hits := m.Mask(level, string(text))
	return wordReader{io.MultiReader(strings.NewReader(masked), failing{err}), hits}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 0, io.EOF
}

type wordReader struct {
	io.Reader
	hits []events.Masked
}

func (r wordReader) Hits() []events.Masked { return r.hits }

// wordStream holds everything back until the end.
type wordStream struct {
	masker wordMasker
	level  events.MaskingLevel
	to     io.Writer
	held   bytes.Buffer
	hits   []events.Masked
}

func (s *wordStream) Write(p []byte) (int, error) { return s.held.Write(p) }
func (s *wordStream) Hits() []events.Masked       { return s.hits }
func (s *wordStream) Close() error {
	masked, hits := s.masker.Mask(s.level, s.held.String())
	s.hits = hits
	_, err := io.WriteString(s.to, masked)
	return err
}

// leaky is a tool that is told a secret, prints what it got, and is asked for how it was called.
func leaky(ran *[]string) actors.Tool {
	return actorstest.FakeTool{Describes: actors.ToolSpec{Name: "leak", Risk: events.RiskMedium, Repeatable: true, Schema: json.RawMessage(`{"type":"object"}`)}, Does: func(_ context.Context, use actors.ToolUse) (actors.ToolResult, error) {
		*ran = append(*ran, string(use.Arguments))
		value, err := use.Secrets.Value("TOKEN")
		if err != nil {
			return actors.ToolResult{Text: err.Error(), Failed: true}, nil //nolint:nilerr // the model is told
		}
		var kept bytes.Buffer
		out := use.Secrets.Stream(&kept, 0)
		fmt.Fprint(out, "it has ", value)
		if err := out.Close(); err != nil {
			return actors.ToolResult{}, err
		}
		return actors.ToolResult{Text: kept.String() + " and " + shapedWord}, nil
	}}
}

// leakTurn runs a turn in which secrets come from everywhere, and returns all that was stored and shown.
func leakTurn(t *testing.T, level events.MaskingLevel, granted ...string) (stored, shown string, ran []string, all []events.Event) {
	t.Helper()
	memory := actorstest.NewMemory()
	asked := 0
	model := func(_ context.Context, q actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
		for i := range q.Messages {
			stored += q.Messages[i].Text.Inline // what the model sees is what is stored
		}
		asked++
		text := "I know " + shapedWord + " and " + knownWord
		for _, piece := range strings.SplitAfter(text, "w") {
			delta(actors.Delta{Kind: events.BlockText, Text: piece})
		}
		answer := actors.ModelResponse{Text: text, Stop: events.StopCalls, Usage: events.Usage{Input: 1, Output: 1}}
		switch asked {
		case 1:
			answer.Calls = []events.ModelCall{{ID: "a", Tool: "leak", Arguments: json.RawMessage(`{"x":"plain"}`)}}
		case 2:
			answer.Calls = []events.ModelCall{{ID: "b", Tool: "leak", Arguments: json.RawMessage(`{"x":"` + shapedWord + knownWord + `"}`)}}
		default:
			answer.Stop = events.StopEnd
		}
		return answer, nil
	}
	host := start(t, actors.Config{
		Journal: memory, Snapshots: memory, Blobs: actorstest.NewBlobs(), OpeningCredit: events.Dollar, Masker: wordMasker{},
		Models: oneModel{actorstest.FakeModel(model)}, Tools: []actors.Tool{leaky(&ran)},
	})
	made := create("demo", "leak")
	made.Config.Masking, made.Config.Secrets, made.Config.Prompt = level, granted, "use "+knownWord
	do(t, host, "demo", made)
	feed := watch(t, host, "demo")
	do(t, host, "demo", sagas.Send{Meta: meta("m1"), Verb: events.Collect, From: "ann " + knownWord, Text: events.Text{Inline: "take " + knownWord + ", " + shapedWord}})
	for done := false; !done; {
		item, err := feed.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if item.Delta != nil {
			shown += item.Delta.Text
			continue
		}
		done = item.Event.Kind == "turn.ended"
	}
	note := sagas.KeepNotes{Meta: meta("n1"), Write: []events.Note{{ID: "n", Title: "of " + knownWord, Text: events.Text{Inline: shapedWord}}}}
	if _, err := host.Do(t.Context(), events.KnowledgeStream(sagas.DefaultTenant), note, actors.Origin{}); err != nil {
		t.Fatal(err)
	}
	page, err := memory.ReadAll(t.Context(), storage.Start(), storage.Forward, storage.Filter{}, storage.Limit{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range page.Events {
		stored += string(page.Events[i].Data)
		event, err := page.Events[i].Event()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, event)
	}
	if report, err := host.Verify(t.Context(), "", nil); err != nil || len(report.Failures) > 0 {
		t.Errorf("verify: %v, %v", report.Failures, err)
	}
	return stored, shown, ran, all
}

// TestNoSecretIsDecided: whatever comes in with a secret in it, only a marker is decided on, stored, shown, and told to the model; and it is counted in
// the event that held it.
func TestNoSecretIsDecided(t *testing.T) {
	stored, shown, ran, all := leakTurn(t, "", "TOKEN")
	for _, word := range []string{knownWord, shapedWord} {
		if strings.Contains(stored, word) || strings.Contains(shown, word) {
			t.Errorf("%s is stored, or was shown: %s\n%s", word, stored, shown)
		}
	}
	if !strings.Contains(shown, "I know [masked: shape] and [masked: TOKEN]") {
		t.Errorf("shown: %q", shown)
	}
	if len(ran) != 1 || !strings.Contains(stored, "it has [masked: TOKEN] and [masked: shape]") || !strings.Contains(stored, "not run: a [masked") {
		t.Errorf("the calls %q ran: what had a secret in its arguments must not run with a marker in its place", ran)
	}
	counted := map[events.Kind][]events.Masked{}
	for _, event := range all {
		switch e := event.(type) {
		case events.AgentCreated:
			counted[e.Kind()] = e.Masked
		case events.MessageReceived:
			counted[e.Kind()] = e.Masked
		case events.ModelReplied:
			counted[e.Kind()] = append(counted[e.Kind()], e.Masked...)
		case events.ToolReturned:
			counted[e.Kind()] = append(counted[e.Kind()], e.Masked...)
		case events.NoteWritten:
			counted[e.Kind()] = e.Masked
		}
	}
	want := map[events.Kind]string{
		"agent.created": "[{TOKEN 1}]", "message.received": "[{TOKEN 2} {shape 1}]", "note.written": "[{TOKEN 1} {shape 1}]", "tool.returned": "[{TOKEN 1} {shape 1}]",
		"model.replied": "[{TOKEN 1} {shape 1} {TOKEN 2} {shape 2} {TOKEN 1} {shape 1}]",
	}
	for kind, hits := range want {
		if got := fmt.Sprint(counted[kind]); got != hits {
			t.Errorf("%s counts %s, want %s", kind, got, hits)
		}
	}
}

// TestMaskingIsAnAgentsSetting: at level known only what the host knows is masked, and a secret is given to nobody who was not granted it.
func TestMaskingIsAnAgentsSetting(t *testing.T) {
	stored, _, _, _ := leakTurn(t, events.MaskKnown)
	if strings.Contains(stored, knownWord) || !strings.Contains(stored, "take [masked: TOKEN], "+shapedWord) {
		t.Errorf("stored: %s", stored)
	}
	if !strings.Contains(stored, "is not for this agent: it may use none") {
		t.Errorf("the secret was given: %s", stored)
	}
}

// TestSecretsMustBeKnown: an agent is not granted what the host does not have.
func TestSecretsMustBeKnown(t *testing.T) {
	memory := actorstest.NewMemory()
	host := start(t, actors.Config{
		Journal: memory, Snapshots: memory, Blobs: actorstest.NewBlobs(), Masker: wordMasker{}, Models: oneModel{actorstest.FakeModel(nil)},
	})
	made := create("demo")
	made.Config.Secrets = []string{"OTHER"}
	_, err := host.Do(t.Context(), events.AgentStream("demo"), made, actors.Origin{})
	if err == nil || !strings.Contains(err.Error(), "there is no secret \"OTHER\"; the host's setting secrets names: TOKEN") {
		t.Errorf("%v", err)
	}
}

// TestCallsAreShownAsTheyStreamIn: the tool, the arguments, the end, between the event of the request and that of the reply; masked as all that a model says, however it
// is escaped, and bounded. Nothing of it runs: what runs is the reply's.
func TestCallsAreShownAsTheyStreamIn(t *testing.T) {
	var ran []string
	escaped := fmt.Sprintf(`\u%04x`, knownWord[0]) + knownWord[1:]
	written := `{"a":"` + knownWord + `","b":"` + escaped + `","c":"\/tmp"}`
	asked := 0
	model := func(_ context.Context, _ actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
		if asked++; asked > 1 {
			return actors.ModelResponse{Text: "done", Stop: events.StopEnd}, nil
		}
		calls := []struct{ tool, arguments string }{{"leak", written}, {"\x1b]0;gone\x07" + knownWord, "{}"}, {"leak", `{"x":"` + strings.Repeat("long ", 10_000) + `"}`}}
		for block, call := range calls {
			delta(actors.Delta{Block: block, Kind: events.BlockCall, Tool: call.tool})
			for at := 0; at < len(call.arguments); at += 3 {
				delta(actors.Delta{Block: block, Kind: events.BlockCall, Offset: at, Text: call.arguments[at:min(at+3, len(call.arguments))]})
			}
			delta(actors.Delta{Block: block, Kind: events.BlockCall, Offset: len(call.arguments), Done: true})
		}
		return actors.ModelResponse{Stop: events.StopCalls, Calls: []events.ModelCall{{ID: "a", Tool: "leak", Arguments: json.RawMessage(`{"x":"of the reply"}`)}}}, nil
	}
	host := start(t, actors.Config{
		Journal: actorstest.NewMemory(), Blobs: actorstest.NewBlobs(), OpeningCredit: events.Dollar, Masker: wordMasker{},
		Models: oneModel{actorstest.FakeModel(model)}, Tools: []actors.Tool{leaky(&ran)},
	})
	do(t, host, "demo", create("demo", "leak"))
	feed := watch(t, host, "demo")
	do(t, host, "demo", say("m1", "go"))
	var open events.RequestID
	shown, tools, done, lost := map[int]string{}, []string{}, 0, false
	for over := false; !over; {
		item, err := feed.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		switch d := item.Delta; {
		case d == nil:
			switch item.Event.Kind {
			case "model.requested":
				open = events.RequestID(item.Event.Ref())
			case "model.replied":
				open = ""
			case "turn.ended":
				over = true
			}
		case d.Request != open || d.Kind != events.BlockCall:
			t.Errorf("%+v came while %q was open", d, open)
		case d.Tool != "":
			tools = append(tools, d.Tool)
		default:
			shown[d.Block] += d.Text
			lost = lost || d.Lost
			if d.Done {
				done++
			}
		}
	}
	for block, text := range shown {
		if strings.Contains(text, knownWord) || strings.Contains(text, escaped) {
			t.Errorf("call %d shows the secret: %s", block, text)
		}
	}
	if !strings.Contains(shown[0], `"/tmp"`) || len(tools) != 3 || strings.Contains(tools[1], knownWord) {
		t.Errorf("shown are %q of %q", shown[0], tools)
	}
	if size := len(shown[2]); size < events.InlineLimit/2 && !lost || size > events.InlineLimit+200 {
		t.Errorf("%d bytes of the long call are shown", size)
	}
	if !lost && done != 3 {
		t.Errorf("%d calls ended", done)
	}
	if !slices.Equal(ran, []string{`{"x":"of the reply"}`}) {
		t.Errorf("run was %q", ran)
	}
}
