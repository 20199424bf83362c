package chat

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/events"
)

// TestThinkingIsAskedForAsTheEndpointTakesIt: the likeliest form first; a refused one costs one request, once, and nothing is left out in silence.
func TestThinkingIsAskedForAsTheEndpointTakesIt(t *testing.T) {
	fields := []string{"reasoning_effort", "chat_template_kwargs", "reasoning", "thinking", "enable_thinking", "thinking_budget"}
	for name, test := range map[string]struct {
		asked   events.Thinking
		refuses []string // fields
		value   string   // of reasoning_effort that is refused
		want    string   // what is sent in the end; empty: nothing is accepted
		tries   int
	}{
		"nothing":               {want: `{}`, tries: 1},
		"an effort":             {asked: events.Thinking{Effort: events.EffortHigh}, want: `{"reasoning_effort":"high"}`, tries: 1},
		"a budget by effort":    {asked: events.Thinking{Budget: 4096}, want: `{"reasoning_effort":"medium"}`, tries: 1},
		"off":                   {asked: events.Thinking{Effort: events.EffortOff}, want: `{"chat_template_kwargs":{"enable_thinking":false},"reasoning_effort":"none"}`, tries: 1},
		"off, strict":           {asked: events.Thinking{Effort: events.EffortOff}, refuses: fields[1:2], want: `{"reasoning_effort":"none"}`, tries: 2},
		"off, at least minimal": {asked: events.Thinking{Effort: events.EffortOff}, refuses: fields[1:2], value: "none", want: `{"reasoning_effort":"minimal"}`, tries: 3},
		"off, typed":            {asked: events.Thinking{Effort: events.EffortOff}, refuses: fields[:3], want: `{"thinking":{"type":"disabled"}}`, tries: 5},
		"an object":             {asked: events.Thinking{Budget: 4096}, refuses: fields[:1], want: `{"reasoning":{"max_tokens":4096}}`, tries: 2},
		"flat":                  {asked: events.Thinking{Budget: 4096}, refuses: fields[:4], want: `{"enable_thinking":true,"thinking_budget":4096}`, tries: 4},
		"none is taken":         {asked: events.Thinking{Effort: events.EffortLow}, refuses: fields, tries: 5},
	} {
		t.Run(name, func(t *testing.T) {
			e := &vendor{replies: []wire{says("Yes.")}}
			e.rules.refusal = func(q sentRequest, _ []string) *wire {
				for _, field := range slices.Sorted(slices.Values(test.refuses)) {
					if q.raw[field] != nil {
						return refusing(400, "Unrecognized request argument supplied: "+field)
					}
				}
				if test.value != "" && q.raw["reasoning_effort"] == test.value {
					return refusing(400, "Invalid value: 'none'. Supported values of reasoning_effort are: 'minimal', 'low'")
				}
				return nil
			}
			model := newOpenAI(t, e.open(t))
			question := actorstest.ModelQuestion("m")
			question.Thinking = test.asked
			_, err := model.Ask(t.Context(), question, nil)
			if asked := e.asked(); asked != test.tries {
				t.Errorf("%d requests, want %d", asked, test.tries)
			}
			if test.want == "" {
				var failure *actors.ModelError
				if !errors.As(err, &failure) || failure.Class != events.ErrorInvalid || !strings.Contains(failure.Detail, "--think default") {
					t.Errorf("no form was taken: %v", err)
				}
				return
			}
			if _, err := model.Ask(t.Context(), question, nil); err != nil || e.asked() != test.tries+1 {
				t.Errorf("what was learnt is forgotten: %d requests, %v", e.asked(), err)
			}
			sent := map[string]any{}
			for _, field := range fields {
				if value, has := e.requests[len(e.requests)-1].raw[field]; has {
					sent[field] = value
				}
			}
			if got, err := json.Marshal(sent); err != nil || string(got) != test.want {
				t.Errorf("sent %s, want %s (%v)", got, test.want, err)
			}
		})
	}
}
