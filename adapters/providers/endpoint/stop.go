package endpoint

import (
	"strings"

	"example.com/life/events"
)

// Ending is what a finish reason means: how the model stopped, or how it failed.
type Ending struct {
	Stop  events.StopReason
	Met   events.Bound      // of a stop for the length, if the reason names it
	Class events.ErrorClass // of a failure
	Why   string            // of a failure
}

// Weight orders endings: of several reasons the worst counts.
func (e Ending) Weight() int {
	switch {
	case e.Class != "":
		return 4
	case e.Stop == events.StopFiltered:
		return 3
	case e.Stop == events.StopLength:
		return 2
	}
	return 1
}

// finished are the reasons of a model that said all it wanted, by every name that is known.
//
//nolint:gochecknoglobals // an explicit list, never written to
var finished = map[string]bool{
	"stop": true, "stop_sequence": true, "stop_token": true, "eos": true, "eos_token": true, "eog": true, "end": true, "end_turn": true,
	"end_of_turn": true, "complete": true, "completed": true, "done": true, "finish": true, "finished": true, "natural": true, "success": true,
	"tool_calls": true, "tool_call": true, "tool_use": true, "tool": true, "function_call": true, "function_calls": true, "calls": true,
}

// EndingOf sorts a finish reason. Why holds it as it came: it must go through Failed.
func EndingOf(reason string) Ending {
	word := strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToLower(strings.TrimSpace(reason)))
	says := AnyOf(word)
	failed := func(class events.ErrorClass, why string) Ending {
		return Ending{Class: class, Why: why + " (finish reason " + reason + ")"}
	}
	switch {
	case finished[word]:
		return Ending{Stop: events.StopEnd}
	case says("malformed", "unexpected_tool", "invalid_tool", "too_many_tool"):
		return failed(events.ErrorTruncated, "the model wrote a tool call that its provider could not read")
	case says("context_window", "context_limit", "context_length", "model_length"): // Anthropic's, Mistral's
		return Ending{Stop: events.StopLength, Met: events.BoundWindow}
	case says("length", "max_tokens", "max_output", "max_completion", "token_limit", "tokens_limit"):
		return Ending{Stop: events.StopLength}
	case says("filter", "safety", "moderat", "recitation", "prohibit", "block", "spii", "refus", "sensitive", "guardrail", "policy", "copyright", "flagged"):
		return Ending{Stop: events.StopFiltered}
	case says("timeout", "timed_out"):
		return failed(events.ErrorTimeout, "the provider gave up on the reply")
	case says("error", "abort", "cancel", "interrupt", "insufficient", "overload", "unavailable", "resource", "fail", "disconnect", "load"):
		return failed(events.ErrorOverloaded, "the provider broke the reply off")
	}
	return failed(events.ErrorTruncated, "the endpoint ended the reply for a reason that is not known here, so it may not be whole")
}
