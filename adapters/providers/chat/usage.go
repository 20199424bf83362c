package chat

import (
	"encoding/json"

	"example.com/life/adapters/providers/endpoint"
	"example.com/life/events"
)

// reported is a usage as endpoints report it.
type reported struct {
	Prompt       endpoint.Count `json:"prompt_tokens"`
	Input        endpoint.Count `json:"input_tokens"`
	Completion   endpoint.Count `json:"completion_tokens"`
	Output       endpoint.Count `json:"output_tokens"`
	Total        endpoint.Count `json:"total_tokens"`
	Cached       endpoint.Count `json:"cached_tokens"`           // Moonshot
	CacheHit     endpoint.Count `json:"prompt_cache_hit_tokens"` // DeepSeek
	CacheRead    endpoint.Count `json:"cache_read_input_tokens"` // of Anthropic's models behind a gateway
	PromptParts  parts          `json:"prompt_tokens_details"`
	OutputParts  parts          `json:"completion_tokens_details"`
	PromptTimed  endpoint.Count `json:"prompt_n"` // llama.cpp's timings; the cached part of the prompt is not in it
	CacheTimed   endpoint.Count `json:"cache_n"`
	OutputTimed  endpoint.Count `json:"predicted_n"`
	ReasonedFlat endpoint.Count `json:"reasoning_tokens"`
}

// parts is what a count consists of.
type parts struct {
	Cached   endpoint.Count `json:"cached_tokens"`
	Reasoned endpoint.Count `json:"reasoning_tokens"`
	told     bool
}

// UnmarshalJSON implements json.Unmarshaler. It never fails, as endpoint.Count does not.
func (p *parts) UnmarshalJSON(data []byte) error {
	type plain parts
	var read plain
	if json.Unmarshal(data, &read) == nil && string(data) != "null" {
		*p = parts(read)
		p.told = true
	}
	return nil
}

// told is what an endpoint said of its tokens, over all pieces of a reply.
type told struct {
	input, output, total, cached, reasoned int64
	caching                                bool // it says how much came from its cache
}

// add takes one more report. Reports grow, and zeros after real figures are none.
func (t *told) add(raw string) {
	if raw == "" || raw == "null" {
		return
	}
	var r reported
	if json.Unmarshal([]byte(raw), &r) != nil {
		return
	}
	t.input = max(t.input, int64(r.Prompt), int64(r.Input), int64(r.PromptTimed+r.CacheTimed))
	t.output = max(t.output, int64(r.Completion), int64(r.Output), int64(r.OutputTimed))
	t.total = max(t.total, int64(r.Total))
	t.cached = max(t.cached, int64(r.Cached), int64(r.CacheHit), int64(r.CacheRead), int64(r.PromptParts.Cached), int64(r.CacheTimed))
	t.reasoned = max(t.reasoned, int64(r.OutputParts.Reasoned), int64(r.ReasonedFlat))
	t.caching = t.caching || r.PromptParts.told || t.cached > 0
}

// usage is what counts. Reasoning stands within the completion or beside it, as the total tells; some report it in the total alone. What
// was not told is estimated.
func (t *told) usage(sent, said int64) events.Usage {
	u := events.Usage{Input: t.input, Output: t.output}
	switch beside := t.total - t.input - t.output; {
	case t.input == 0 || t.output == 0 && t.reasoned == 0:
	case t.total == 0 && t.reasoned > t.output:
		u.Output += t.reasoned
	case beside <= 0:
	case beside == t.cached && t.reasoned != beside:
		u.Input += beside
	default:
		u.Output += beside
	}
	u.Cached, u.Reasoning = min(t.cached, u.Input), min(t.reasoned, u.Output)
	if u.Input == 0 {
		u.Input, u.Estimated = endpoint.TokensOf(sent), true
	}
	if u.Output == 0 && said > 0 {
		u.Output, u.Estimated = endpoint.TokensOf(said), true
	}
	return u
}
