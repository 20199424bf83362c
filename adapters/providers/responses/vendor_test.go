package responses

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"example.com/life/adapters/providers/endpoint"
)

// vendor plays replies, the last one again and again, to requests that it checks as the strict vendor does.
type vendor struct {
	replies []wire
	rules   rules

	mu       sync.Mutex
	requests []sent
	broken   []string            // rules that requests broke
	gave     map[string]givenRow // items that it gave, by their ids
}

// givenRow is an item that was given, and the reasoning that stood before it.
type givenRow struct{ raw, before string }

// rules are those that an endpoint has beside everybody's. Each refuses what it names.
type rules struct {
	refuses  []string // parameters, by path
	items    bool     // reasoning items
	efforts  []string // those that it takes; nil: any
	most     int64    // limit of a reply
	verified bool     // no summary for an organisation that was not verified
	whole    bool     // streams
	window   int      // characters of the whole input
	foreign  bool     // items that it did not give
	lost     bool     // what it encrypted it can no longer read
}

// sent is a request as it came.
type sent struct {
	Model        string
	Stream       bool
	Store        *bool
	Include      []string
	Instructions *string
	Reasoning    *struct{ Effort, Summary string }
	Limit        *int64 `json:"max_output_tokens"`
	Tools        []struct {
		Type, Name string
		Parameters map[string]any
		Strict     *bool
	}
	Input []json.RawMessage

	raw map[string]any
}

func (q *sent) items() []sentItem {
	items := make([]sentItem, len(q.Input))
	for i, raw := range q.Input {
		if json.Unmarshal(raw, &items[i]) != nil {
			items[i].Type = "no item"
		}
		items[i].raw = string(raw)
	}
	return items
}

type sentItem struct {
	Type      string
	Role      string
	Content   any
	ID        string
	Status    string
	CallID    string `json:"call_id"`
	Name      string
	Arguments any
	Output    any
	Summary   []any
	Encrypted string `json:"encrypted_content"`
	Phase     string

	raw string
}

// known are the fields of a request and of its items.
var known = map[string][]string{
	"":                     {"model", "stream", "store", "include", "instructions", "reasoning", "max_output_tokens", "tools", "input"},
	"message":              {"type", "role", "content", "id", "status", "phase"},
	"function_call":        {"type", "call_id", "name", "arguments", "id", "status", "namespace"},
	"function_call_output": {"type", "call_id", "output"},
}

// check lists the rules that a request breaks.
func (v *vendor) check(q *sent) []string {
	var broken []string
	breaks := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	unknown := func(kind string, fields map[string]any) {
		for name := range fields {
			if names, has := known[kind]; has && !slices.Contains(names, name) {
				breaks("Unknown parameter: '%s %s'.", kind, name)
			}
		}
	}
	unknown("", q.raw)
	for _, tool := range q.Tools {
		if tool.Type != "function" || tool.Name == "" || tool.Parameters == nil {
			breaks("tools: %+v", tool)
		}
	}
	items := q.items()
	var open []string
	for i, it := range items {
		var fields map[string]any
		if json.Unmarshal([]byte(it.raw), &fields) != nil {
			breaks("input[%d] is no object", i)
		}
		if it.Type == "" && it.Role != "" {
			it.Type = "message"
		}
		unknown(it.Type, fields)
		if it.Type != "function_call_output" && it.Type != "function_call" && len(open) > 0 {
			breaks("No tool output found for function call %s.", open[0])
		}
		switch it.Type {
		case "message":
			broken = append(broken, checkMessage(i, it)...)
		case "function_call":
			arguments, _ := it.Arguments.(string)
			if it.CallID == "" || slices.Contains(open, it.CallID) || it.Name == "" || !endpoint.IsObject(arguments) {
				breaks("input[%d] is no call: %s", i, it.raw)
			}
			open = append(open, it.CallID)
		case "function_call_output":
			at := slices.Index(open, it.CallID)
			if output, _ := it.Output.(string); at < 0 || output == "" {
				breaks("No tool call found for function call output with call_id %s.", it.CallID)
			} else {
				open = slices.Delete(open, at, at+1)
			}
		case "reasoning":
			if it.ID == "" || it.Encrypted == "" || it.Summary == nil {
				breaks("Item with id '%s' not found. Items are not persisted when `store` is set to false.", it.ID)
			}
			if i+1 == len(items) || items[i+1].Type == "function_call_output" || items[i+1].Role == "user" {
				breaks("Item '%s' of type 'reasoning' was provided without its required following item.", it.ID)
			}
		default:
			if v.gave[it.ID].raw != it.raw {
				breaks("Invalid value: '%s'", it.Type)
			}
		}
		if given, has := v.gave[it.ID]; has {
			if it.Type == "reasoning" && given.raw != it.raw {
				breaks("Item '%s' is not as it was given: %s", it.ID, it.raw)
			}
			if given.before != "" && (i == 0 || items[i-1].ID != given.before) {
				breaks("Item '%s' of type '%s' was provided without its required 'reasoning' item: '%s'.", it.ID, it.Type, given.before)
			}
		} else if it.ID != "" && v.rules.foreign {
			breaks("Item '%s' is not of this organisation", it.ID)
		}
	}
	if len(open) > 0 {
		breaks("No tool output found for function call %s.", open[0])
	}
	return broken
}

func checkMessage(at int, it sentItem) []string {
	text, ok := it.Content.(string)
	if list, parts := it.Content.([]any); parts && len(list) > 0 {
		part, _ := list[0].(map[string]any)
		text, _ = part["text"].(string)
		_, ok = part["annotations"].([]any)
		ok = ok && part["type"] == "output_text" && it.ID != "" && it.Status != "" && it.Role == "assistant"
	}
	if !ok || strings.TrimSpace(text) == "" || !slices.Contains([]string{"user", "assistant", "system"}, it.Role) {
		return []string{fmt.Sprintf("input[%d] is no message: %s", at, it.raw)}
	}
	return nil
}

// refuse is why a request is refused for the way it was put.
func (v *vendor) refuse(q *sent) *wire {
	refused := func(message, param string) *wire {
		w := refusal(message, param)
		return &w
	}
	for _, path := range v.rules.refuses {
		at := q.raw
		names := strings.Split(path, ".")
		for _, name := range names[:len(names)-1] {
			at, _ = at[name].(map[string]any)
		}
		if _, has := at[names[len(names)-1]]; has {
			return refused("Unsupported parameter: '"+path+"' is not supported with this model.", path)
		}
	}
	items := q.items()
	reasoning := slices.ContainsFunc(items, func(it sentItem) bool { return it.Type == "reasoning" })
	switch {
	case v.rules.whole && q.Stream:
		return refused("Streaming is not supported for this model.", "stream")
	case v.rules.items && reasoning:
		return refused("Invalid value: 'reasoning'. Supported values are: 'message', 'function_call' and 'function_call_output'.", "input[1].type")
	case v.rules.lost && reasoning:
		return refused("The encrypted content gAAA... could not be verified. Reason: Encrypted content could not be decrypted or parsed.", "")
	case v.rules.verified && q.Reasoning != nil && q.Reasoning.Summary != "":
		return refused("Your organization must be verified to generate reasoning summaries.", "reasoning.summary")
	case v.rules.efforts != nil && q.Reasoning != nil && q.Reasoning.Effort != "" && !slices.Contains(v.rules.efforts, q.Reasoning.Effort):
		return refused("Unsupported value: '"+q.Reasoning.Effort+"' is not supported with this model. Supported values are: "+strings.Join(v.rules.efforts, ", "), "reasoning.effort")
	case v.rules.most > 0 && q.Limit != nil && *q.Limit > v.rules.most:
		return refused(fmt.Sprintf("max_output_tokens is too large: %d. This model supports at most %d completion tokens.", *q.Limit, v.rules.most), "max_output_tokens")
	case v.rules.window > 0 && len(fmt.Sprint(q.Input)) > v.rules.window:
		w := refusing(400, `{"error":{"message":"Your input exceeds the context window of this model. Please adjust your input and try again.","type":"invalid_request_error","param":"input","code":"context_length_exceeded"}}`)
		return &w
	}
	return nil
}

func (v *vendor) answer(_ *http.Request, body []byte) wire {
	v.mu.Lock()
	defer v.mu.Unlock()
	q := sent{}
	if json.Unmarshal(body, &q) != nil || json.Unmarshal(body, &q.raw) != nil {
		return refusal("no request", "")
	}
	v.requests = append(v.requests, q)
	if refused := v.refuse(&q); refused != nil {
		return *refused
	}
	if broken := v.check(&q); len(broken) > 0 {
		v.broken = append(v.broken, broken...)
		return refusal(broken[0], "input")
	}
	next := v.replies[0]
	if len(v.replies) > 1 {
		v.replies = v.replies[1:]
	}
	v.give(next)
	return next
}

// give remembers the items of a reply.
func (v *vendor) give(reply wire) {
	if v.gave == nil {
		v.gave = map[string]givenRow{}
	}
	before := ""
	for _, frame := range reply.Pieces {
		_, data, _ := strings.Cut(frame, "data: ")
		var event struct {
			Type string
			Item json.RawMessage
		}
		if json.Unmarshal([]byte(data), &event) != nil || event.Type != "response.output_item.done" {
			continue
		}
		var item sentItem
		if json.Unmarshal(event.Item, &item) != nil {
			continue
		}
		if item.ID != "" {
			v.gave[item.ID] = givenRow{raw: string(bytes.TrimSpace(event.Item)), before: before}
		}
		if before = ""; item.Type == "reasoning" {
			before = item.ID
		}
	}
}

// asked is how many requests came.
func (v *vendor) asked() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.requests)
}

// open serves the endpoint.
func (v *vendor) open(t testing.TB) endpoint.Config {
	t.Helper()
	return fake(t, v.answer)
}
