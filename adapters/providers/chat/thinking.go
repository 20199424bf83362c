package chat

import (
	"example.com/life/actors"
	"example.com/life/events"
)

// thinkingForm is a way to say how much a model is to think. Endpoints have invented many; each refuses, or passes over, the others'.
type thinkingForm struct {
	fields map[string]any // laid over the request
}

// thinkingForms are the forms of what is asked for, the likeliest first. None: the model decides by itself.
func thinkingForms(asked events.Thinking, own bool) []thinkingForm {
	if asked == (events.Thinking{}) {
		return nil
	}
	off := asked.Effort == events.EffortOff
	effort := thinkingEffort(asked)
	forms := []thinkingForm{{map[string]any{"reasoning_effort": effort}}}
	if off {
		forms = append(forms, thinkingForm{map[string]any{"reasoning_effort": "minimal"}})
	}
	if own {
		return forms
	}
	template := map[string]any{"enable_thinking": !off}
	if off { // templates of local servers pass over the effort
		forms = append([]thinkingForm{{map[string]any{"reasoning_effort": effort, "chat_template_kwargs": template}}}, forms...)
	}
	object, typed, flat := map[string]any{"effort": effort}, map[string]any{"type": "enabled"}, map[string]any{"enable_thinking": !off}
	switch {
	case off:
		object, typed["type"] = map[string]any{"enabled": false}, "disabled"
	case asked.Budget > 0:
		object = map[string]any{"max_tokens": asked.Budget}
		typed["budget_tokens"], flat["thinking_budget"] = asked.Budget, asked.Budget
	}
	exact := []thinkingForm{
		{map[string]any{"reasoning": object}}, // OpenRouter
		{map[string]any{"thinking": typed}},   // Anthropic's models behind gateways, DeepSeek, GLM
		{flat},                                // Qwen's
	}
	return append(forms, append(exact, thinkingForm{map[string]any{"chat_template_kwargs": template}})...) // vLLM, llama.cpp
}

// thinkingEffort is an effort that stands for a budget where only efforts are known.
func thinkingEffort(asked events.Thinking) string {
	const little, much = 2 << 10, 12 << 10
	switch {
	case asked.Effort == events.EffortOff:
		return "none"
	case asked.Effort != "":
		return string(asked.Effort)
	case asked.Budget <= little:
		return string(events.EffortLow)
	case asked.Budget > much:
		return string(events.EffortHigh)
	}
	return string(events.EffortMedium)
}

// refusedForms counts the forms that an endpoint refused of what was asked for.
type refusedForms struct {
	of    events.Thinking
	count int
}

// thinkingForm is the form in which the endpoint is asked next; false: nothing is asked for, or it takes no form.
func (w way) thinkingForm(asked events.Thinking, own bool) (form thinkingForm, found bool) {
	forms, at := thinkingForms(asked, own), 0
	if w.thinking.of == asked {
		at = w.thinking.count
	}
	if at >= len(forms) {
		return thinkingForm{}, false
	}
	return forms[at], true
}

// refusesThinking reports whether a refusal means the form in which thinking was asked for.
func (w way) refusesThinking(says func(...string) bool, question *actors.ModelRequest, own bool) bool {
	form, found := w.thinkingForm(question.Thinking, own)
	if !found || says("messages.", "messages[") {
		return false
	}
	for field := range form.fields {
		if says(field) {
			return true
		}
	}
	return says("reasoning effort", "reasoning.effort", "thinking budget", "budget_tokens", "support thinking", "think value")
}

// otherThinking is the way to ask with the next form.
func (w way) otherThinking(question *actors.ModelRequest, own bool) way {
	next := w
	if next.thinking.of != question.Thinking {
		next.thinking = refusedForms{of: question.Thinking}
	}
	next.thinking.count++
	if _, found := next.thinkingForm(question.Thinking, own); !found {
		return w
	}
	return next
}

// thinkingRemedy says what to do where an endpoint takes no form of what is asked for.
func thinkingRemedy(asked events.Thinking) string {
	return "; the endpoint takes no form of the agent's thinking (" + asked.String() + "): --think default leaves it to the model"
}
