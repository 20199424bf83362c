package anthropic

import (
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/events"
)

// told is what an endpoint said of its tokens, over all events of a reply.
type told struct {
	fresh, written, read, writtenLong, output, reasoned int64
	caching                                             bool // it says how much came from its cache
}

// add takes one more report. Reports are cumulative: the last one counts, but zeros after real figures are none.
func (t *told) add(usage fields) {
	set := func(figure *int64, from fields, name string) {
		if n, ok := from.number(name); ok && n > 0 {
			*figure = n
		}
	}
	set(&t.fresh, usage, "input_tokens")
	set(&t.written, usage, "cache_creation_input_tokens")
	set(&t.read, usage, "cache_read_input_tokens")
	set(&t.output, usage, "output_tokens")
	set(&t.writtenLong, usage.object("cache_creation"), "ephemeral_1h_input_tokens")
	short := int64(0)
	set(&short, usage.object("cache_creation"), "ephemeral_5m_input_tokens")
	t.written = max(t.written, short+t.writtenLong)
	set(&t.reasoned, usage.object("output_tokens_details"), "thinking_tokens")
	t.caching = t.caching || !usage.none("cache_read_input_tokens")
}

// input is the whole input: the vendor counts what it read from its cache and what it wrote to it beside the rest.
func (t *told) input() int64 { return t.fresh + t.written + t.read }

// usage is what counts. What was not told is estimated; and of a reply that did not end, so is what came, for the count that a stream begins
// with is none of the reply.
func (r *reply) usage(ended bool) events.Usage {
	t := &r.told
	long := min(t.writtenLong, t.written)
	u := events.Usage{
		Input: t.input(), Output: t.output, Cached: t.read, CacheWrite: t.written - long, CacheWriteLong: long, Reasoning: min(t.reasoned, t.output),
	}
	if u.Input == 0 {
		conversation, fixed := endpoint.Sizes(r.question)
		u.Input, u.Estimated = endpoint.TokensOf(conversation+fixed), true
	}
	if said := endpoint.TokensOf(r.size()); said > u.Output && (u.Output == 0 || !ended && r.stop == "") {
		u.Output, u.Estimated = said, true
	}
	return u
}

// size is about how much came, in bytes.
func (r *reply) size() int64 {
	size := int64(0)
	for _, b := range r.blocks {
		size += int64(b.text.Len())
		if b.is(events.BlockCall) {
			size += int64(len(b.fields["name"])+len(b.fields["input"])) + endpoint.PerMessage
		}
	}
	return size
}
