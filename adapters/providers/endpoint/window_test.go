package endpoint

import (
	"context"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas"
)

// asking is a question of about so many tokens of prompt and of conversation.
func asking(prompt, conversation int, reply int64) *actors.ModelRequest {
	return &actors.ModelRequest{
		Model: "m", System: strings.Repeat("word", prompt), Reply: reply,
		Messages: []sagas.Message{{Role: sagas.RoleUser, Text: events.Text{Inline: strings.Repeat("word", conversation)}}},
	}
}

// TestOverflow: what refusals say of windows, in the words of each server, and what a person is told to do.
func TestOverflow(t *testing.T) {
	for name, test := range map[string]struct {
		says     string
		question *actors.ModelRequest
		least    int64 // the room is between
		most     int64
		remedy   string
	}{
		"LM Studio": {
			"Trying to keep the first 14538 tokens when context the overflows. However, the model is loaded with context length of only 2048 tokens, which is not enough.",
			asking(10, 14000, 400), 1400, 1560, "--limit-context-tokens",
		},
		"LM Studio, numbers in parentheses": {
			"The number of tokens to keep from the initial prompt is greater than the context length (n_keep: 13055>= n_ctx: 4096). Try to load the model with a larger context length",
			asking(10, 13000, 1000), 2700, 2900, "--limit-context-tokens",
		},
		"llama.cpp": {
			`request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it {"n_prompt_tokens":4390,"n_ctx":4096}`,
			asking(10, 4000, 500), 3000, 3200, "--limit-context-tokens",
		},
		"the reply takes the room": {
			"This model's maximum context length is 8192 tokens. However, you requested 9100 tokens (5004 in the messages, 4096 in the completion).",
			asking(10, 5000, 4096), 4500, 6000, "a lower --limit-reply-tokens, such as 2048",
		},
		"the prompt takes it": {
			"maximum context length is 4096 tokens, you requested 5000", asking(3000, 1000, 500), 1, 900, "fewer tools",
		},
		"no number": {"Please reduce the length of the messages.", asking(10, 4000, 500), 2000, 2100, "--limit-context-tokens"},
	} {
		t.Run(name, func(t *testing.T) {
			failure := &actors.ModelError{}
			Overflow(failure, test.question, &Said{Message: test.says})
			if failure.Room < test.least || failure.Room > test.most || !strings.Contains(failure.Detail, test.remedy) {
				t.Errorf("room for %d tokens, want %d to %d; %q, want %q", failure.Room, test.least, test.most, failure.Detail, test.remedy)
			}
		})
	}
}

// TestARefusalOfAnyLengthKeepsItsRemedy: the detail is bounded, and what helps stands at its end.
func TestARefusalOfAnyLengthKeepsItsRemedy(t *testing.T) {
	failure := &actors.ModelError{Detail: strings.Repeat("no ", 400)}
	Overflow(failure, asking(10, 4000, 500), &Said{Message: failure.Detail})
	if len(failure.Detail) > maxDetail+len("…") || !strings.HasSuffix(failure.Detail, "is sent") {
		t.Errorf("%d bytes: %q", len(failure.Detail), failure.Detail)
	}
}

type answers actors.ModelResponse

func (a answers) Ask(context.Context, actors.ModelRequest, func(actors.Delta)) (actors.ModelResponse, error) {
	return actors.ModelResponse(a), nil
}

// TestAWindowThatIsKnownAndMet: a reply that ends where the window does met the window, whatever limit it was said to meet.
func TestAWindowThatIsKnownAndMet(t *testing.T) {
	for name, test := range map[string]struct {
		answer actors.ModelResponse
		window int64
		met    events.Bound
		failed bool
	}{
		"met":                  {actors.ModelResponse{Text: "And so", Stop: events.StopLength, Met: events.BoundEndpoint, Usage: events.Usage{Input: 3900, Output: 190}}, 4096, events.BoundWindow, false},
		"met with nothing":     {actors.ModelResponse{Stop: events.StopLength, Usage: events.Usage{Input: 3900, Output: 190}}, 4096, "", true},
		"its own limit":        {actors.ModelResponse{Text: "And so", Stop: events.StopLength, Usage: events.Usage{Input: 900, Output: 190}}, 4096, "", false},
		"the window not known": {actors.ModelResponse{Text: "And so", Stop: events.StopLength, Met: events.BoundEndpoint, Usage: events.Usage{Input: 3900, Output: 190}}, 0, events.BoundEndpoint, false},
		"finished there":       {actors.ModelResponse{Text: "So.", Stop: events.StopEnd, Usage: events.Usage{Input: 3900, Output: 190}}, 4096, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			question := asking(10, 10, 500)
			question.Bounded = true // it is the reply that is looked at
			answer, err := Windowed(answers(test.answer), func(string) int64 { return test.window }).Ask(t.Context(), *question, nil)
			failure, failed := asFailure(err)
			if answer.Met != test.met || failed != test.failed || failed && (failure.Class != events.ErrorContext || failure.Room == 0 || failure.Usage != test.answer.Usage) {
				t.Errorf("%+v, %v", answer, err)
			}
		})
	}
}
