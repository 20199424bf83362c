package anthropic

import (
	"regexp"
	"strconv"

	"github.com/anthropics/anthropic-sdk-go/v2/option"

	"example.com/life/adapters/providers/endpoint"
)

// way is how an endpoint wants to be asked for a model, as far as it differs from the vendor's newest. It is learnt from refusals: each names
// one thing, the request is made the other way at once, and so is every later one.
type way struct {
	apiKey     bool  // the key stands in x-api-key, as it did formerly
	former     bool  // the former version of the protocol
	whole      bool  // not streamed
	noCache    bool  // no breakpoints
	noThinking bool  // nothing is said of thinking
	adaptive   bool  // it takes no budget of thinking
	budget     bool  // it takes nothing but a budget
	noEffort   bool  // it takes no effort
	noDisplay  bool  // nothing is said of how thinking is shown
	reply      int64 // the largest limit of the reply that it takes; 0: any
	lowered    bool  // so that the reply fits the window beside this conversation
	plain      bool  // nothing that is a provider's own is sent back
}

// formerVersion is the version of the protocol that most servers and gateways speak.
const formerVersion = "2023-06-01"

// options are those of a request.
func (w way) options(key string) []option.RequestOption {
	var options []option.RequestOption
	if !w.whole {
		options = append(options, option.WithJSONSet("stream", true))
	}
	if w.apiKey {
		options = append(options, option.WithHeaderDel("authorization"), option.WithHeader("x-api-key", key))
	}
	if w.former {
		options = append(options, option.WithHeader("anthropic-version", formerVersion))
	}
	return options
}

// Numbers in refusals of the reply's limit: the largest one; the input, the limit, and the window that they exceed together.
var (
	mostTokens = regexp.MustCompile(`> (\d+), which is the maximum`)
	noRoom     = regexp.MustCompile(`(\d+) \+ (\d+) > (\d+)`)
)

// after returns the way to ask after a refusal, and the one to keep for later requests: what depends on the conversation is not kept. Both are
// the way that was refused if the refusal does not mean it. limit is that of the reply that was refused.
func (w way) after(refused *endpoint.Refusal, limit int64, own bool) (next, keep way) {
	words := refused.Said.Words()
	says := endpoint.AnyOf(words)
	unknown := refused.Said.Unknown() || says("only be used", "requires", "not enabled", "should match", "does not match", "expected")
	next = w
	switch {
	case refused.Status == 401 || refused.Status == 403:
		next.apiKey = w.apiKey || !own
	case refused.Status == 429:
	case says("anthropic-version", "anthropic version"):
		next.former = true
	case says("max_tokens"):
		return w.limited(words, limit)
	case says("signature", "thinking blocks", "thinking block", "redacted_thinking", "expected `thinking`", "final block in an assistant message", "input tag") && !says("thinking.type"):
		// Of this conversation: another model's, none where the vendor wants one, or of a kind that it gave and does not take back.
		if next.plain {
			next.noThinking = true
		}
		next.plain = true
		return next, w
	case says("cache_control") && unknown:
		next.noCache = true
	case says("display") && unknown && !w.noDisplay:
		next.noDisplay = true
	case says("output_config", "effort") && unknown && !w.noEffort && !says("use \"thinking.type.adaptive\"", "use 'thinking.type.adaptive'"):
		next.noEffort = true
	case says("thinking", "budget_tokens", "adaptive") && unknown:
		next = w.thinkingAfter(says)
	case refused.Said.NoStream():
		next.whole = true
	}
	return next, next
}

// thinkingAfter is the way to ask for thinking after it was refused: the other form, then none.
func (w way) thinkingAfter(says func(...string) bool) way {
	wantsAdaptive := says("use \"thinking.type.adaptive\"", "use 'thinking.type.adaptive'", "use adaptive", "thinking.type.enabled", "budget_tokens")
	switch {
	case wantsAdaptive && !w.adaptive && !w.budget:
		w.adaptive = true
	case !wantsAdaptive && !w.budget && !w.adaptive && says("adaptive"):
		w.budget = true
	default:
		w.noThinking = true
	}
	return w
}

// limited is the way to ask after a refusal of the reply's limit.
func (w way) limited(words string, limit int64) (next, keep way) {
	next = w
	if found := noRoom.FindStringSubmatch(words); found != nil { // prompt and reply together do not fit: of this conversation
		input, window := number(found[1]), number(found[3])
		if left := window - input - 16; left >= endpoint.LeastWindow && left < limit {
			next.reply, next.lowered = left, true
		}
		return next, w
	}
	most := endpoint.AtMost(words)
	if found := mostTokens.FindStringSubmatch(words); found != nil {
		most = number(found[1])
	}
	if most > 0 && most < limit {
		next.reply = most
	}
	return next, next
}

func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 48)
	if err != nil {
		return 0
	}
	return n
}
