package actorstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas"
)

// ModelSituation is something that a provider does when it is asked. Exactly one of Reply, Failure and Silent says what.
type ModelSituation struct {
	Name    string
	Reply   *actors.ModelResponse // says this; its Model is empty, and its calls' ids may be replaced by the provider's own
	Failure *actors.ModelError    // fails so; the detail may be put in other words
	Silent  bool                  // never answers
	Asks    int                   // how many times the suite asks
}

// ModelSubject makes the model under test, with a provider behind it that acts out the situation when it is asked the
// suite's question. It returns the name to ask for.
type ModelSubject func(t *testing.T, situation ModelSituation) (model actors.Model, name string)

// TestModel holds an implementation of actors.Model to the port's duties, one subtest for each situation.
func TestModel(t *testing.T, subject ModelSubject) {
	for _, situation := range ModelSituations() {
		t.Run(situation.Name, func(t *testing.T) {
			model, name := subject(t, situation)
			question := ModelQuestion(name)
			switch {
			case situation.Reply != nil:
				testModelReply(t, model, question, situation)
			case situation.Failure != nil:
				testModelFailure(t, model, question, situation)
			default:
				testModelSilence(t, model, question)
			}
		})
	}
}

// ModelSituations lists what TestModel puts its subject through.
func ModelSituations() []ModelSituation {
	usage := events.Usage{Input: 1200, Output: 34, Cached: 1024}
	call := func(id, tool, arguments string) events.ModelCall {
		return events.ModelCall{ID: id, Tool: tool, Arguments: json.RawMessage(arguments)}
	}
	text := "Größe: 4 µm — 日本語 🙂, in two lines.\nThe second one has \"quotes\", <tags> & a $dollar."
	list := call("c1", "list_dir", `{"path":"."}`)
	return []ModelSituation{
		{Name: "a text", Asks: 1, Reply: &actors.ModelResponse{Text: text, Stop: events.StopEnd, Usage: usage}},
		{Name: "a long text", Asks: 1, Reply: &actors.ModelResponse{Text: strings.Repeat(text+" ", 200), Stop: events.StopEnd, Usage: usage}},
		{Name: "no delta wanted, many at once", Asks: 8, Reply: &actors.ModelResponse{Text: text, Stop: events.StopEnd, Usage: usage}},
		{Name: "a call", Asks: 1, Reply: &actors.ModelResponse{Calls: []events.ModelCall{list}, Stop: events.StopCalls, Usage: usage}},
		{Name: "a text and a call", Asks: 1, Reply: &actors.ModelResponse{Text: "I look first.", Calls: []events.ModelCall{list}, Stop: events.StopCalls, Usage: usage}},
		{Name: "parallel calls", Asks: 1, Reply: &actors.ModelResponse{Stop: events.StopCalls, Usage: usage, Calls: []events.ModelCall{
			list, call("c2", "read_file", `{"limit":10,"path":"ä.md"}`), call("c3", "list_dir", `{"path":"."}`),
		}}},
		{Name: "arguments that are no JSON", Asks: 1, Reply: &actors.ModelResponse{Calls: []events.ModelCall{call("c1", "bash", `"{\"command\": \"ls"`)}, Stop: events.StopCalls, Usage: usage}},
		{Name: "cut by the token limit", Asks: 1, Reply: &actors.ModelResponse{Text: "And so", Stop: events.StopLength, Usage: events.Usage{Input: 1200, Output: ModelQuestion("").Reply, Cached: 1024}}},
		{Name: "filtered", Asks: 1, Reply: &actors.ModelResponse{Text: "I cannot", Stop: events.StopFiltered, Usage: usage}},
		{Name: "rate limited", Asks: 1, Failure: &actors.ModelError{Class: events.ErrorRateLimited, RetryAfter: 7 * time.Second, Detail: "slow down"}},
		{Name: "overloaded", Asks: 1, Failure: &actors.ModelError{Class: events.ErrorOverloaded, Detail: "try later"}},
		{Name: "truncated", Asks: 1, Failure: &actors.ModelError{Class: events.ErrorTruncated, Detail: "the stream ended"}},
		{Name: "context too long", Asks: 1, Failure: &actors.ModelError{Class: events.ErrorContext, Detail: "too many tokens"}},
		{Name: "no authority", Asks: 1, Failure: &actors.ModelError{Class: events.ErrorAuth, Detail: "wrong key"}},
		{Name: "refused", Asks: 1, Failure: &actors.ModelError{Class: events.ErrorRefused, Detail: "against the policy"}},
		{Name: "invalid", Asks: 1, Failure: &actors.ModelError{Class: events.ErrorInvalid, Detail: "no such parameter"}},
		{Name: "timeout", Asks: 1, Failure: &actors.ModelError{Class: events.ErrorTimeout, Detail: "took too long"}},
		{Name: "silence", Asks: 1, Silent: true},
	}
}

// ModelQuestion is the suite's question: a conversation with every kind of message, and two tools.
func ModelQuestion(model string) actors.ModelRequest {
	text := func(s string) events.Text { return events.Text{Inline: s} }
	return actors.ModelRequest{
		Model:  model,
		System: "You are careful.",
		Messages: []sagas.Message{
			{Role: sagas.RoleUser, Text: text("What is here?")},
			{Role: sagas.RoleAssistant, Text: text("I look."), Calls: []events.ModelCall{
				{ID: "a1", Tool: "list_dir", Arguments: json.RawMessage(`{"path":"."}`)},
				{ID: "a2", Tool: "bash", Arguments: json.RawMessage(`"ls -"`)},
			}},
			{Role: sagas.RoleTool, Text: text("README.md\n"), CallID: "a1", Tool: "list_dir"},
			{Role: sagas.RoleTool, Text: text("arguments: want an object"), CallID: "a2", Tool: "bash", Failed: true},
			{Role: sagas.RoleAssistant, Text: text("One file.")},
			{Role: sagas.RoleUser, Text: text("And now?")},
		},
		Tools: []actors.ToolSpec{
			{Name: "list_dir", Description: "Lists a directory.", Schema: json.RawMessage(`{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}`)},
			{Name: "bash", Description: "Runs a command.", Schema: json.RawMessage(`{"type":"object","properties":{"command":{"type":"string"}}}`)},
		},
		Reply:   4096,
		Context: events.Digest{1, 2, 3},
	}
}

// prompt bounds how long a model may take to answer, or to notice that it is not wanted any more.
const prompt = 10 * time.Second

// heard collects the deltas of one ask and notices one that comes too late.
type heard struct {
	mu      sync.Mutex
	text    strings.Builder // said
	thought strings.Builder
	offsets map[int]int // what came of each block
	calls   []streamed  // that streamed in; a model may give them with the reply alone
	wrong   []string    // pieces that do not follow what came before
	over    bool
	late    bool
}

// streamed is a call as its pieces gave it.
type streamed struct {
	tool, arguments string
	block           int
	done            bool
}

// call takes a piece of a call: the first names its tool, then come its arguments, and the last has no more.
func (h *heard) call(piece actors.Delta) bool {
	if piece.Tool != "" {
		h.calls = append(h.calls, streamed{tool: piece.Tool, block: piece.Block})
		return piece.Text == "" && piece.Offset == 0 && !piece.Done
	}
	n := len(h.calls) - 1
	if n < 0 || h.calls[n].block != piece.Block || h.calls[n].done || (piece.Text == "") != piece.Done {
		return false
	}
	h.calls[n].arguments += piece.Text
	h.calls[n].done = piece.Done
	return true
}

// differ says how the calls that streamed in differ from those of the reply.
func (h *heard) differ(calls []events.ModelCall) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.calls) == 0 {
		return ""
	}
	var want []streamed
	for i := range calls {
		written := string(calls[i].Arguments)
		if text := ""; json.Unmarshal(calls[i].Arguments, &text) == nil { // it was no JSON
			written = text
		}
		want = append(want, streamed{tool: calls[i].Tool, arguments: written, done: !calls[i].Cut})
	}
	got := slices.Clone(h.calls)
	for i := range got {
		got[i].block = 0
		if i < len(want) && got[i].arguments == "" && want[i].arguments == "{}" { // none were written
			got[i].arguments = "{}"
		}
	}
	if !slices.Equal(got, want) {
		return fmt.Sprintf("the calls streamed in as %+v, want %+v", got, want)
	}
	return ""
}

func (h *heard) delta(piece actors.Delta) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.late = h.late || h.over
	if h.offsets == nil {
		h.offsets = map[int]int{}
	}
	switch {
	case piece.Kind == events.BlockCall && !h.call(piece):
		h.wrong = append(h.wrong, fmt.Sprintf("%+v goes on with no call", piece))
	case piece.Text == "" && piece.Kind != events.BlockCall:
		h.wrong = append(h.wrong, fmt.Sprintf("%+v is empty", piece))
	}
	if piece.Block < 0 || piece.Offset != h.offsets[piece.Block] {
		h.wrong = append(h.wrong, fmt.Sprintf("%+v after %d bytes", piece, h.offsets[piece.Block]))
	}
	h.offsets[piece.Block] += len(piece.Text)
	switch piece.Kind {
	case events.BlockText:
		h.text.WriteString(piece.Text)
	case events.BlockThinking:
		h.thought.WriteString(piece.Text)
	case events.BlockCall:
	default:
		h.wrong = append(h.wrong, fmt.Sprintf("%+v has no kind of which there are pieces", piece))
	}
}

func (h *heard) end(t *testing.T) (said, thought string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	if len(h.wrong) > 0 {
		t.Errorf("pieces out of place: %s", strings.Join(h.wrong, "; "))
	}
	return h.text.String(), h.thought.String()
}

func testModelReply(t *testing.T, model actors.Model, question actors.ModelRequest, situation ModelSituation) {
	ctx, cancel := context.WithTimeout(t.Context(), prompt)
	defer cancel()
	if situation.Asks == 1 {
		var heard heard
		answer, err := model.Ask(ctx, question, heard.delta)
		checkAnswer(t, answer, err, situation)
		thinking := ""
		for _, block := range situation.Reply.Blocks {
			thinking += block.Text
		}
		if said, thought := heard.end(t); said != situation.Reply.Text || thought != thinking {
			t.Errorf("the deltas say %q and think %q, the reply %q and %q: they must be the same text", said, thought, situation.Reply.Text, thinking)
		}
		if problem := heard.differ(answer.Calls); problem != "" {
			t.Error(problem)
		}
		if heard.late {
			t.Error("a delta came after the reply")
		}
		return
	}
	var all sync.WaitGroup
	for range situation.Asks {
		all.Go(func() {
			answer, err := model.Ask(ctx, question, nil)
			checkAnswer(t, answer, err, situation)
		})
	}
	all.Wait()
}

func checkAnswer(t *testing.T, answer actors.ModelResponse, err error, situation ModelSituation) {
	t.Helper()
	if err != nil {
		t.Errorf("ask: %v", err)
		return
	}
	want := *situation.Reply
	answer.Blocks = slices.DeleteFunc(slices.Clone(answer.Blocks), func(b actors.Block) bool { return b.Kind == events.BlockItem }) // its provider's own
	ignoreIDs := cmpopts.IgnoreFields(events.ModelCall{}, "ID")
	ignoreModel := cmpopts.IgnoreFields(actors.ModelResponse{}, "Model")
	if diff := cmp.Diff(want, answer, ignoreIDs, ignoreModel, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the reply differs from what the provider said (-want +got):\n%s", diff)
	}
	seen := map[string]bool{}
	for _, call := range answer.Calls {
		if call.ID == "" || seen[call.ID] {
			t.Errorf("call of %s has id %q: ids must be there and differ", call.Tool, call.ID)
		}
		seen[call.ID] = true
	}
}

func testModelFailure(t *testing.T, model actors.Model, question actors.ModelRequest, situation ModelSituation) {
	ctx, cancel := context.WithTimeout(t.Context(), prompt)
	defer cancel()
	var heard heard
	answer, err := model.Ask(ctx, question, heard.delta)
	heard.end(t)
	var failure *actors.ModelError
	if !errors.As(err, &failure) {
		t.Fatalf("ask gave %+v and error %v, want a *actors.ModelError of class %s", answer, err, situation.Failure.Class)
	}
	if failure.Class != situation.Failure.Class || failure.RetryAfter != situation.Failure.RetryAfter {
		t.Errorf("class %s, retry after %s; want %s, %s (%v)",
			failure.Class, failure.RetryAfter, situation.Failure.Class, situation.Failure.RetryAfter, err)
	}
	if failure.Detail == "" {
		t.Error("the failure has no detail: say what failed, on what")
	}
	if diff := cmp.Diff(actors.ModelResponse{}, answer, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("a failed attempt must not give a reply:\n%s", diff)
	}
}

func testModelSilence(t *testing.T, model actors.Model, question actors.ModelRequest) {
	before := goleak.IgnoreCurrent()
	ask := func(ctx context.Context, want error) {
		t.Helper()
		started := time.Now()
		var heard heard
		_, err := model.Ask(ctx, question, heard.delta)
		heard.end(t)
		if !errors.Is(err, want) {
			t.Errorf("a silent provider gave %v, want %v", err, want)
		}
		var failure *actors.ModelError
		if errors.As(err, &failure) {
			t.Errorf("the end of ctx is not a failure of the model, got %v", failure)
		}
		if took := time.Since(started); took > prompt/2 {
			t.Errorf("it took %s to notice that ctx had ended", took)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	ask(ended, context.Canceled)

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	ask(ctx, context.DeadlineExceeded)

	ctx, cancel = context.WithCancel(t.Context())
	stop := time.AfterFunc(30*time.Millisecond, cancel)
	defer stop.Stop()
	ask(ctx, context.Canceled)

	if err := goleak.Find(before); err != nil {
		t.Errorf("goroutines outlive the call: %v", err)
	}
}
