package endpoint

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas"
)

// overflows reports whether a refusal says that the conversation is too long for the model.
func overflows(words string) bool {
	return AnyOf(words)("context_length", "context length", "maximum context", "context window", "context size", "context_window", "prompt is too long",
		"too many tokens", "maximum prompt length", "input token count", "exceed_context", "exceed context", "exceeds the available context", "longer than the model", "range of input length",
		"reduce the length", "too long for", "model_max_prompt_tokens", "string_above_max_length", "max_new_tokens` must be")
}

// Numbers in refusals: what the window holds, and what was counted of the request.
//
//nolint:gochecknoglobals // explicit lists, never written to
var (
	WindowNumbers = []*regexp.Regexp{
		regexp.MustCompile("`max_new_tokens` must be <= (\\d[\\d,]*)"), // of prompt and reply
		regexp.MustCompile(`"?n_ctx"?[^0-9]{1,4}(\d[\d,]*)`),
		regexp.MustCompile(`(?:context|prompt)[ _](?:length|window|size|limit)"?[^0-9"{]{0,40}?(\d[\d,]*)`),
		regexp.MustCompile(`(\d[\d,]*)[ _](?:tokens? )?(?:maximum|max|token) (?:context|limit)`),
		regexp.MustCompile(`> (\d[\d,]*) maximum`),
		regexp.MustCompile(`input length should be \[1, (\d[\d,]*)`),
		regexp.MustCompile(`max size: (\d[\d,]*) tokens`),
		regexp.MustCompile(`(?:maximum|limit|allowed|exceed|must be <=)[^0-9"{]{0,60}?(\d[\d,]*)`),
	}
	countNumbers = []*regexp.Regexp{
		regexp.MustCompile(`"?n_(?:prompt_tokens|keep)"?[^0-9]{1,4}(\d[\d,]*)`),
		regexp.MustCompile(`keep the first (\d[\d,]*)`),
		regexp.MustCompile(`(?:requested|resulted in|contains?|has|have|used|given|too long|too large|count)[^0-9]{0,40}?(\d[\d,]*)`),
	}
	// OpenAI's and vLLM's: so much in the messages, so much kept for the completion.
	InMessages = regexp.MustCompile("(\\d[\\d,]*) (?:tokens )?(?:in the messages|from the input messages|in your prompt|input tokens|`inputs` tokens)")
)

// NumberBy is the number that the first pattern to match finds in words; 0 if there is none, or none that is large enough.
func NumberBy(patterns []*regexp.Regexp, words string, least int64) int64 {
	for _, pattern := range patterns {
		if found := pattern.FindStringSubmatch(words); found != nil {
			if n, err := strconv.ParseInt(strings.ReplaceAll(found[1], ",", ""), 10, 48); err == nil && n >= least {
				return n
			}
		}
	}
	return 0
}

// LeastWindow is the smallest window that is believed, in tokens: smaller numbers in a refusal mean something else.
const LeastWindow = 256

// Overflow completes a failure because of a conversation that is too long: how much of it fits, and what a person can set.
func Overflow(failure *actors.ModelError, question *actors.ModelRequest, s *Said) {
	words := strings.ToLower(s.Message + " " + s.raw)
	window := NumberBy(WindowNumbers, words, LeastWindow)
	counted := NumberBy([]*regexp.Regexp{InMessages}, words, 1)
	if counted == 0 {
		counted = NumberBy(countNumbers, words, LeastWindow)
	}
	completeOverflow(failure, question, window, counted)
}

// completeOverflow completes it by a window and what was counted of the request, both in tokens; 0: not known.
func completeOverflow(failure *actors.ModelError, question *actors.ModelRequest, window, counted int64) {
	failure.Room = roomIn(question, window, counted)
	remedy := windowRemedy(question, window)
	failure.Detail = events.Clip(failure.Detail, maxDetail-len(remedy)) + remedy
}

// roomIn is how many tokens of conversation, as limits count them, fit a window beside the prompt, the tools and the reply. Unknown numbers
// are 0: without any, half of what was sent.
func roomIn(question *actors.ModelRequest, window, counted int64) int64 {
	conversation, fixed := Sizes(question)
	if window == 0 {
		return max(TokensOf(conversation)/2, 1)
	}
	if counted <= window/2 { // it is too much: whatever was counted, it was not all
		counted = max(TokensOf(conversation+fixed), window+1)
	}
	prompt := float64(window)*0.95 - float64(replyIn(question, window))
	bytes := prompt*float64(conversation+fixed)/float64(counted) - float64(fixed)
	return max(int64(bytes/4), 1)
}

// Windowed asks a model only what its window holds, where that is known: a request that would be refused, or cut in silence, fails at once with what
// fits, and the turn compacts its conversation. window gives the tokens of prompt and reply by a model's name, 0 where they are not known.
func Windowed(model actors.Model, window func(model string) int64) actors.Model {
	return windowed{model, window}
}

type windowed struct {
	actors.Model
	window func(model string) int64
}

// Ask implements [actors.Model].
func (w windowed) Ask(ctx context.Context, question actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
	if !question.Bounded {
		if failure := tooLong(&question, w.window(question.Model)); failure != nil {
			return actors.ModelResponse{}, failure
		}
	}
	answer, err := w.Model.Ask(ctx, question, delta)
	if err != nil || answer.Stop != events.StopLength {
		return answer, err
	}
	window := w.window(question.Model)
	if window >= LeastWindow && answer.Usage.Input+answer.Usage.Output >= window-window/50 { // servers count a little otherwise than they stop
		answer.Met = events.BoundWindow
		if failure := windowMet(&question, &answer, window); failure != nil {
			return actors.ModelResponse{}, failure
		}
	}
	return answer, nil
}

// leastRoom is the smallest conversation, in tokens, for which it is worth to leave something out. Where even that does not fit, the endpoint decides.
const leastRoom = 512

// tooLong is the failure of a request that does not fit a window by Life's estimate; nil: it fits, or the window is not known.
func tooLong(question *actors.ModelRequest, window int64) *actors.ModelError {
	conversation, fixed := Sizes(question)
	size := TokensOf(conversation + fixed)
	if window < LeastWindow || size+replyIn(question, window) <= window {
		return nil
	}
	room := roomIn(question, window, max(size, window/2+1))
	if room < leastRoom {
		return nil
	}
	return &actors.ModelError{Class: events.ErrorContext, Room: room, Detail: fmt.Sprintf(
		"it was not asked: about %d tokens and a reply of %d do not fit the %d tokens of its window in the table of models (life models list)%s",
		size, replyIn(question, window), window, windowRemedy(question, window))}
}

// replyIn is how much of a window is kept for the reply: at most a quarter.
func replyIn(question *actors.ModelRequest, window int64) int64 {
	if question.Reply > 0 {
		return min(window/4, question.Reply)
	}
	return window / 4
}

// windowRemedy says what a person can set when a request does not fit a window.
func windowRemedy(question *actors.ModelRequest, window int64) string {
	conversation, fixed := Sizes(question)
	switch {
	case window > 0 && TokensOf(fixed) > window/2:
		return fmt.Sprintf("; the prompt and the tools alone take about %d of its %d tokens: give the agent fewer tools, or the server a larger window",
			TokensOf(fixed), window)
	case window > 0 && question.Reply > window/4 && TokensOf(conversation+fixed) < window: // without the room for the reply it would fit
		return fmt.Sprintf("; %d of its %d tokens are asked for the reply: a lower --limit-reply-tokens, such as %d, leaves more for the conversation",
			question.Reply, window, window/4)
	}
	return "; --limit-context-tokens sets how much of a conversation is sent"
}

// CutSilently looks for an endpoint that left out a part of the conversation and said nothing: only what it counts tells. It returns the
// failure that this is, or nil.
//
// A count is proof where it is below what the new messages must have at the very least, for no cache has them; and where the endpoint says
// what it took from its cache, below what all of them must have. Endpoints that count nonsense give small numbers: no window is so small.
func CutSilently(question *actors.ModelRequest, input int64, caching bool, usage events.Usage) *actors.ModelError {
	const smallest = 1000
	if input < smallest {
		return nil
	}
	least, newest := int64(0), int64(0)
	for i := range question.Messages {
		m := &question.Messages[i]
		n := leastTokens(m.Text.Inline)
		if least += n; m.Role == sagas.RoleAssistant {
			newest = 0
		} else {
			newest += n
		}
	}
	if caching {
		newest = least
	}
	if input >= newest*4/5 {
		return nil
	}
	conversation, fixed := Sizes(question)
	sent := TokensOf(conversation + fixed)
	return &actors.ModelError{
		Class: events.ErrorContext, Usage: usage, Room: roomIn(question, input, max(sent, newest)),
		Detail: fmt.Sprintf("the endpoint read %d of about %d tokens: it cuts what is beyond its window, so its reply does not count; "+
			"enlarge the window there (llama.cpp: --ctx-size, Ollama: num_ctx)%s", input, max(sent, newest), windowRemedy(question, input)),
	}
}

// leastTokens is what a text must have by any tokenizer: words are at least one token each, long ones several, and other scripts have one
// for a few characters.
func leastTokens(text string) int64 {
	words, letters, other := int64(0), int64(0), int64(0)
	for _, r := range text {
		switch {
		case r > 0x2e7f && unicode.IsLetter(r):
			other++
			letters = 0
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			if letters%16 == 0 {
				words++
			}
			letters++
		default:
			letters = 0
		}
	}
	return words + other/3
}
