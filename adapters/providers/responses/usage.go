package responses

import (
	"encoding/json"
	"strings"

	"example.com/life/adapters/providers/endpoint"
	"example.com/life/events"
)

// reported is a usage as endpoints report it. Some have the names of chat completions.
type reported struct {
	Input      endpoint.Count `json:"input_tokens"`
	Prompt     endpoint.Count `json:"prompt_tokens"`
	Output     endpoint.Count `json:"output_tokens"`
	Completion endpoint.Count `json:"completion_tokens"`
	Total      endpoint.Count `json:"total_tokens"`
	InputOf    *parts         `json:"input_tokens_details"`
	PromptOf   *parts         `json:"prompt_tokens_details"`
	OutputOf   parts          `json:"output_tokens_details"`
	SaidOf     parts          `json:"completion_tokens_details"`
}

// parts is what a count consists of.
type parts struct {
	Cached     endpoint.Count `json:"cached_tokens"`
	Written    endpoint.Count `json:"cache_write_tokens"`
	WrittenFor struct {
		Long endpoint.Count `json:"ttl_12h_tokens"`
	} `json:"cache_write_tokens_details"`
	Reasoned endpoint.Count `json:"reasoning_tokens"`
}

// UnmarshalJSON implements json.Unmarshaler. It never fails, as endpoint.Count does not.
func (p *parts) UnmarshalJSON(data []byte) error {
	type plain parts
	var read plain
	if json.Unmarshal(data, &read) == nil {
		*p = parts(read)
	}
	return nil
}

// told is what an endpoint said of its tokens, over all events of a reply.
type told struct {
	input, output, total, cached, written, long, reasoned int64
	caching                                               bool // it says how much came from its cache
}

// add takes one more report. Reports grow, and zeros after real figures are none.
func (t *told) add(raw string) {
	var r reported
	if !strings.HasPrefix(raw, "{") || json.Unmarshal([]byte(raw), &r) != nil {
		return
	}
	t.input = max(t.input, int64(r.Input), int64(r.Prompt))
	t.output = max(t.output, int64(r.Output), int64(r.Completion))
	t.total = max(t.total, int64(r.Total))
	t.reasoned = max(t.reasoned, int64(r.OutputOf.Reasoned), int64(r.SaidOf.Reasoned))
	for _, p := range []*parts{r.InputOf, r.PromptOf} {
		if p != nil {
			t.caching = true
			t.cached, t.written, t.long = max(t.cached, int64(p.Cached)), max(t.written, int64(p.Written)), max(t.long, int64(p.WrittenFor.Long))
		}
	}
}

// usage is what counts. Reasoning stands within the output; endpoints that report it beside it are known by their total. What was not told is
// estimated.
func (t *told) usage(sent, said int64) events.Usage {
	u := events.Usage{Input: t.input, Output: t.output}
	if beside := t.total - t.input - t.output; t.input > 0 && t.reasoned > 0 && (beside == t.reasoned || t.total == 0 && t.reasoned > t.output) {
		u.Output += t.reasoned
	}
	if u.Input == 0 {
		u.Input, u.Estimated = endpoint.TokensOf(sent), true
	}
	if u.Output == 0 && said > 0 {
		u.Output, u.Estimated = endpoint.TokensOf(said), true
	}
	u.Cached = min(t.cached, u.Input)
	written := min(t.written, u.Input-u.Cached)
	u.CacheWriteLong = min(t.long, written)
	u.CacheWrite = written - u.CacheWriteLong
	u.Reasoning = min(t.reasoned, u.Output)
	return u
}
