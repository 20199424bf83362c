package providers

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/openai/openai-go/v3"

	"example.com/life/actors"
	"example.com/life/events"
)

// reply puts the pieces of a streamed reply together. It forgives what local servers do: no usage, no index, no ids, no
// role, whole arguments at once, the same index for every call, and "stop" where calls were made.
type reply struct {
	question *actors.ModelRequest
	delta    func(text string)

	begun    bool
	finished bool // the model has said why it stopped
	reason   string
	model    string
	usage    events.Usage
	text     strings.Builder
	content  surrogates
	refusal  surrogates
	refused  bool
	calls    []*callParts
	err      error
}

// callParts is a call in the making.
type callParts struct {
	index     int64 // as the provider numbers it; -1 if it does not
	id        string
	tool      string
	arguments strings.Builder
	split     surrogates
}

func newReply(question actors.ModelRequest, delta func(text string)) *reply {
	if delta == nil {
		delta = func(string) {}
	}
	return &reply{question: &question, delta: delta}
}

func (r *reply) add(chunk openai.ChatCompletionChunk) {
	r.begun = true
	if chunk.Model != "" {
		r.model = chunk.Model
	}
	if chunk.JSON.Usage.Valid() {
		input := max(chunk.Usage.PromptTokens, 0)
		r.usage = events.Usage{
			Input: input, Output: max(chunk.Usage.CompletionTokens, 0),
			Cached: min(max(chunk.Usage.PromptTokensDetails.CachedTokens, 0), input),
		}
	}
	for i := range chunk.Choices {
		choice := &chunk.Choices[i]
		if choice.Index != 0 {
			continue // one reply was asked for
		}
		r.say(r.content.next(choice.Delta.Content, choice.Delta.JSON.Content.Raw()))
		if refusal := r.refusal.next(choice.Delta.Refusal, choice.Delta.JSON.Refusal.Raw()); refusal != "" {
			r.refused = true
			r.say(refusal)
		}
		for j := range choice.Delta.ToolCalls {
			r.addCall(&choice.Delta.ToolCalls[j])
		}
		if choice.FinishReason != "" {
			r.finished, r.reason = true, choice.FinishReason
		}
	}
}

func (r *reply) say(text string) {
	if text != "" {
		r.text.WriteString(text)
		r.delta(text)
	}
}

func (r *reply) addCall(piece *openai.ChatCompletionChunkChoiceDeltaToolCall) {
	call := r.callOf(piece)
	if call == nil {
		if len(r.calls) == maxCalls {
			r.err = fmt.Errorf("the reply makes more than %d calls", maxCalls)
			return
		}
		call = &callParts{index: -1}
		if piece.JSON.Index.Valid() {
			call.index = piece.Index
		}
		r.calls = append(r.calls, call)
	}
	if call.id == "" {
		call.id = piece.ID
	}
	if name := piece.Function.Name; name != call.tool { // some repeat the name in every piece
		call.tool += name
	}
	call.arguments.WriteString(call.split.next(piece.Function.Arguments, piece.Function.JSON.Arguments.Raw()))
}

// callOf finds the call that a piece goes on with; nil: it begins a new one.
func (r *reply) callOf(piece *openai.ChatCompletionChunkChoiceDeltaToolCall) *callParts {
	begins := piece.Function.Name != "" // only a first piece must have the name
	for i := len(r.calls) - 1; i >= 0; i-- {
		call := r.calls[i]
		if piece.JSON.Index.Valid() && call.index != piece.Index {
			continue
		}
		other := piece.ID != "" && call.id != "" && piece.ID != call.id
		if other && begins {
			if piece.JSON.Index.Valid() {
				return nil // one index for every call
			}
			continue
		}
		if !piece.JSON.Index.Valid() && piece.ID == "" && begins && call.tool != "" {
			return nil // neither index nor id: a name begins a call
		}
		return call
	}
	return nil
}

// answer gives the whole reply, once it is finished.
func (r *reply) answer() (actors.ModelResponse, error) {
	r.say(r.content.rest() + r.refusal.rest())
	answer := actors.ModelResponse{Text: r.text.String(), Model: r.model, Usage: r.usage}
	taken := map[string]bool{}
	for i, call := range r.calls {
		if call.tool == "" {
			return actors.ModelResponse{}, &actors.ModelError{Class: events.ErrorInvalid, Detail: fmt.Sprintf("call %d of the reply names no tool", i+1)}
		}
		if call.id == "" || taken[call.id] { // unique in the conversation, which only grows
			call.id = fmt.Sprintf("call-%d-%d", len(r.question.Messages), i+1)
		}
		taken[call.id] = true
		answer.Calls = append(answer.Calls, events.ModelCall{
			ID: call.id, Tool: call.tool,
			Arguments: arguments(call.arguments.String() + call.split.rest()),
		})
	}
	answer.Stop = r.stop()
	return answer, nil
}

func (r *reply) stop() events.StopReason {
	switch {
	case r.reason == "length":
		return events.StopLength
	case r.reason == "content_filter" || r.refused:
		return events.StopFiltered
	case len(r.calls) > 0:
		return events.StopCalls
	}
	return events.StopEnd
}

// arguments gives a call's arguments as the model wrote them if they are JSON, else as a JSON string. None mean none.
func arguments(written string) json.RawMessage {
	if strings.TrimSpace(written) == "" {
		return json.RawMessage("{}")
	}
	if json.Valid([]byte(written)) {
		return json.RawMessage(written)
	}
	return json.RawMessage(`"` + insideJSON(written) + `"`)
}

// surrogates mends characters beyond the basic plane whose two \u escapes were sent in two pieces. Decoded alone, each half
// would become a replacement character.
type surrogates struct{ held string }

// next takes a piece as decoded and as sent, and gives the text that is complete.
func (s *surrogates) next(text, raw string) string {
	if text == "" || s.held == "" && !strings.Contains(raw, `\u`) {
		return text
	}
	inner, err := inside(raw)
	if err != nil {
		return s.rest() + text
	}
	inner, s.held = s.held+inner, ""
	if at := len(inner) - len(`\ud83d`); at >= 0 && halfPair(inner[at:]) && !escapedAt(inner, at) {
		inner, s.held = inner[:at], inner[at:]
	}
	return unquote(inner)
}

// rest gives a half that never met its other half.
func (s *surrogates) rest() string {
	held := s.held
	s.held = ""
	return unquote(held)
}

func inside(raw string) (string, error) {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return "", errors.New("not a JSON string")
	}
	return raw[1 : len(raw)-1], nil
}

func unquote(inner string) string {
	var text string
	if json.Unmarshal([]byte(`"`+inner+`"`), &text) != nil {
		return ""
	}
	return text
}

// halfPair reports whether an escape is the first half of a pair: \ud800 to \udbff.
func halfPair(escape string) bool {
	lower := strings.ToLower(escape)
	return strings.HasPrefix(lower, `\ud`) && strings.ContainsRune("89ab", rune(lower[3])) &&
		strings.Trim(lower[4:], "0123456789abcdef") == ""
}

// escapedAt reports whether the backslash at a place is itself escaped.
func escapedAt(text string, at int) bool {
	n := 0
	for at-n-1 >= 0 && text[at-n-1] == '\\' {
		n++
	}
	return n%2 == 1
}
