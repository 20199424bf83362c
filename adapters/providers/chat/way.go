package chat

import (
	"regexp"

	"example.com/life/actors"
	"example.com/life/adapters/providers/endpoint"
)

// way is how an endpoint wants to be asked for a model, as far as it differs from OpenAI's. It is learnt from refusals: each names one
// thing, the request is made the other way at once, and so is every later one.
type way struct {
	whole     bool         // not streamed
	noUsage   bool         // a stream reports its usage unasked, or not at all
	limit     string       // the name of the limit of the reply: see limitNames; empty: as the endpoint is expected to have it
	reply     int64        // the largest limit of the reply that it takes; 0: any
	noSystem  bool         // the prompt stands in the first message of the user
	noExtra   bool         // what it sent with its replies is not sent back
	fill      string       // the field that messages with calls must have, also where they came from another model
	shortIDs  bool         // calls have ids of nine letters and digits
	bridged   bool         // between a tool's result and a message of the user stands one of the assistant
	thinking  refusedForms // how often the form in which thinking was asked for was refused
	noContext bool         // the reply's limit does not fit the window beside the conversation: it is lowered for this request alone
}

// lasting is what of a way is kept for later requests, after what was known before.
func (w way) lasting(before way) way {
	if w.noContext {
		w.reply, w.noContext = before.reply, false
	}
	return w
}

// The names of the reply's limit. OpenAI's own newer models know only the newer one, most compatible servers only the older one.
const (
	limitOld  = "max_tokens"
	limitNew  = "max_completion_tokens"
	limitNone = "none"
)

// after is the way to ask after a refusal; the same way if it means something else.
func (w way) after(refused *endpoint.Refusal, question *actors.ModelRequest, own bool) way {
	words := refused.Said.Words()
	says := endpoint.AnyOf(words)
	unknown := refused.Said.Unknown()
	next := w
	switch {
	case refused.Status == 401 || refused.Status == 403 || refused.Status == 429:
	case (unknown || says("one of", "not a valid")) && w.refusesThinking(says, question, own):
		next = w.otherThinking(question, own)
	case says("tool call id", "tool_call_id", "tool_calls") && says("length of 9", "maximum length", "string too long", "must be a-z") && !w.shortIDs:
		next.shortIDs = true
	case says("stream_options", "include_usage"):
		next.noUsage = true
	case says("thought_signature", "thought signature") && says("missing", "required", "must"):
		next.fill = "thought_signature"
	case says("reasoning_content") && says("passed back", "missing", "required", "must be"):
		next.fill = "reasoning_content"
	case says("reasoning", "extra_content", "thought_signature", "thinking_blocks", "provider_specific") && unknown && hasKept(question):
		next.noExtra = true
	case says("max_tokens", "max_completion_tokens", "max_new_tokens", "max_output_tokens", "in the completion"):
		next = w.limited(words, unknown, question, own)
	case says("after role 'tool'", "after role \"tool\"", "after role tool", "after tool", "expected last role"):
		next.bridged = true
	case says("system role", "role system", "role 'system'", "roles must alternate", "system message", "system messages", "'system'",
		"only user and assistant roles", "only user, assistant") && question.System != "" && !w.noSystem:
		next.noSystem = true
	case refused.Said.NoStream():
		next.whole = true
	}
	return next
}

// limited is the way to ask after a refusal of the reply's limit: another name, a lower one, or none.
func (w way) limited(words string, unknown bool, question *actors.ModelRequest, own bool) way {
	limit := question.Reply
	if w.reply > 0 {
		limit = min(limit, w.reply)
	}
	if window := endpoint.NumberBy(endpoint.WindowNumbers[:4], words, endpoint.LeastWindow); window > 0 { // prompt and reply together do not fit
		left := window - endpoint.NumberBy([]*regexp.Regexp{endpoint.InMessages}, words, 1) - 16
		if left >= endpoint.LeastWindow && left < limit && !w.noContext {
			w.reply, w.noContext = left, true
		}
		return w
	}
	if most := endpoint.AtMost(words); most > 0 && most < limit {
		w.reply = most
		return w
	}
	if !unknown {
		return w
	}
	switch before := w.limitName(own); {
	case w.limit == "" && before == limitOld:
		w.limit = limitNew
	case w.limit == "" && before == limitNew:
		w.limit = limitOld
	default:
		w.limit = limitNone
	}
	return w
}

// replyLimit is the limit of the reply that is asked for, in tokens; 0: none.
func (w way) replyLimit(question *actors.ModelRequest, own bool) int64 {
	switch {
	case question.Reply <= 0 || w.limitName(own) == limitNone:
		return 0
	case w.reply > 0:
		return min(question.Reply, w.reply)
	}
	return question.Reply
}

// limitName is the name of the reply's limit.
func (w way) limitName(own bool) string {
	switch {
	case w.limit != "":
		return w.limit
	case own:
		return limitNew
	}
	return limitOld
}
