package responses

import (
	"encoding/json"
	"regexp"
	"strings"

	"example.com/life/actors"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/events"
)

// way is how an endpoint wants to be asked for a model, as far as it differs from OpenAI's. It is learnt from refusals: each names one
// thing, the request is made the other way at once, and so is every later one.
type way struct {
	whole        bool  // not streamed
	noStore      bool  // without saying that nothing is to be stored
	noInclude    bool  // without asking for encrypted reasoning
	noReasoning  bool  // without a word of reasoning
	noSummary    bool  // without asking for its summary
	effort       floor // the least effort that it takes
	noLimit      bool  // without a limit of the reply
	reply        int64 // the largest limit of the reply that it takes; 0: any
	noStrict     bool  // tools do not say that their schemas are not strict
	systemItem   bool  // the prompt is the first item of the input
	noItems      bool  // what came with its replies is not sent back
	noItemsAgain bool  // the same, for this request alone: it can no longer read them
	afresh       int64 // the reply's limit for this request alone: with another one prompt and reply together do not fit
}

// lasting is what of a way is kept for later requests.
func (w way) lasting() way {
	w.noItemsAgain, w.afresh = false, 0
	return w
}

// floor is the least effort that a model takes.
type floor int

const (
	floorNone    floor = iota // none
	floorMinimal              // it cannot do without, but for a minimum
	floorLow
	floorUnasked // its efforts have other names, or it has none
)

// after is the way to ask after a refusal; the same way if it means something else.
func (w way) after(refused *endpoint.Refusal, question *actors.ModelRequest) way {
	words := refused.Said.Words() + " " + refused.Said.Param()
	says := endpoint.AnyOf(words)
	names := func(parameter string) bool { return regexp.MustCompile(`\b` + parameter + `\b`).MatchString(words) }
	unknown := refused.Said.Unknown() || says("must be verified", "missing", "required", "invalid_type", "forbidden")
	next := w
	switch {
	case refused.Status == 401 || refused.Status == 403 && !says("verified") || refused.Status == 429:
	case says("invalid_encrypted_content", "could not be verified", "could not be decrypted", "not persisted", "without its required") && hasItems(question):
		next.noItemsAgain = true
	case (says("encrypted content", "encrypted_content") || names("include")) && unknown && !w.noInclude:
		next.noInclude = true
	case names("store") && !says("vector") && unknown && !w.noStore:
		next.noStore = true
	case says("reasoning.summary", "reasoning summar", "'summary'") && unknown && !w.noSummary:
		next.noSummary = true
	case says("effort") && unknown && w.effort < floorUnasked:
		next.effort = w.lowered(question)
	case says("item type", "type 'reasoning'", "type: reasoning", "reasoning item", "input[", "input.") && (unknown || says("expected", "validation")) && hasItems(question) && !w.noItems:
		next.noItems = true
	case says("reasoning") && unknown && !w.noReasoning:
		next.noReasoning = true
	case says("max_output_tokens", "max_tokens", "max_completion_tokens", "in the completion"):
		next = w.limited(words, unknown, question)
	case names("strict") && unknown && !w.noStrict:
		next.noStrict = true
	case names("instructions") && unknown && question.System != "":
		next.systemItem = true
	case refused.Said.NoStream():
		next.whole = true
	}
	return next
}

// lowered is the least effort to ask for after a refusal of one.
func (w way) lowered(question *actors.ModelRequest) floor {
	if question.Thinking.Effort != events.EffortOff {
		return floorUnasked
	}
	return w.effort + 1
}

// limited is the way to ask after a refusal of the reply's limit: a lower one, or none.
func (w way) limited(words string, unknown bool, question *actors.ModelRequest) way {
	limit := w.limit(question)
	if window := endpoint.NumberBy(endpoint.WindowNumbers[:4], words, endpoint.LeastWindow); window > 0 { // prompt and reply together do not fit
		left := window - endpoint.NumberBy([]*regexp.Regexp{endpoint.InMessages}, words, 1) - 16
		if left >= endpoint.LeastWindow && left < limit && w.afresh == 0 {
			w.afresh = left
		}
		return w
	}
	if most := endpoint.AtMost(words); most > 0 && most < limit {
		w.reply = most
		return w
	}
	if unknown {
		w.noLimit = true
	}
	return w
}

// leastLimit is the least limit of a reply that OpenAI takes.
const leastLimit = 16

// limit is the reply's limit; 0: none.
func (w way) limit(question *actors.ModelRequest) int64 {
	limit := question.Reply
	if limit <= 0 || w.noLimit {
		return 0
	}
	for _, most := range []int64{w.reply, w.afresh} {
		if most > 0 {
			limit = min(limit, most)
		}
	}
	return max(limit, leastLimit)
}

func hasItems(question *actors.ModelRequest) bool {
	for i := range question.Messages {
		for j := range question.Messages[i].Blocks {
			if question.Messages[i].Blocks[j].Raw != nil {
				return true
			}
		}
	}
	return false
}

// reasoning is how the model is asked to think; nil: it is not said.
func (w way) reasoning(asked events.Thinking) *reasoningJSON {
	if w.noReasoning {
		return nil
	}
	var r reasoningJSON
	effort := asked.Effort
	if effort == "" && asked.Budget > 0 { // there is no budget in this dialect
		effort = effortOf(asked.Budget)
	}
	switch {
	case w.effort == floorUnasked:
	case effort == events.EffortOff:
		r.Effort = []string{"none", "minimal", "low"}[w.effort]
	default:
		r.Effort = string(effort)
	}
	if !w.noSummary && effort != events.EffortOff {
		r.Summary = "auto"
	}
	if r == (reasoningJSON{}) {
		return nil
	}
	return &r
}

// effortOf is about the effort that a budget of tokens means.
func effortOf(budget int64) events.Effort {
	switch {
	case budget <= 4096:
		return events.EffortLow
	case budget <= 16384:
		return events.EffortMedium
	}
	return events.EffortHigh
}

// sendable reports whether a reasoning item can be read by the endpoint: nothing is stored there, so it must hold what was thought, encrypted
// or in plain words.
func sendable(raw string, own bool) bool {
	var holds struct {
		Encrypted field `json:"encrypted_content"`
		Content   field `json:"content"`
	}
	if json.Unmarshal([]byte(raw), &holds) != nil {
		return false
	}
	return strings.Trim(string(holds.Encrypted), `"`) != "" || !own && len(holds.Content.list()) > 0
}
