package anthropic

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	sdk "github.com/anthropics/anthropic-sdk-go/v2"

	"example.com/life/adapters/providers/endpoint"
	"example.com/life/adapters/providers/endpoint/endpointtest"
)

type wire = endpointtest.Wire

// vendor plays replies, the last one again and again, to requests that it checks as the vendor does.
type vendor struct {
	replies []wire
	answer  func(q *sentRequest) *wire // instead of the replies, if it gives one
	former  bool                       // it takes what servers and gateways take, which sign nothing

	mu       sync.Mutex
	requests []sentRequest
	headers  []http.Header
	broken   []string // rules that requests broke
}

type sentRequest struct {
	Model     string           `json:"model"`
	MaxTokens int64            `json:"max_tokens"`
	Stream    bool             `json:"stream"`
	System    []map[string]any `json:"system"`
	Messages  []sentMessage    `json:"messages"`
	Tools     []map[string]any `json:"tools"`
	Choice    map[string]any   `json:"tool_choice"`
	Thinking  map[string]any   `json:"thinking"`
	Output    map[string]any   `json:"output_config"`
}

type sentMessage struct {
	Role    string           `json:"role"`
	Content []map[string]any `json:"content"`
}

// texts are all texts of a message.
func (m sentMessage) texts() string {
	var all []string
	for _, block := range m.Content {
		if text, ok := block["text"].(string); ok {
			all = append(all, text)
		}
	}
	return strings.Join(all, "\n")
}

// sign is the signature of a thought, which nobody else can make.
func sign(thought string) string {
	sum := sha256.Sum256([]byte("a key/" + thought))
	return base64.StdEncoding.EncodeToString(sum[:])
}

var idPattern = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// check lists the rules of the vendor that a request breaks.
func (q *sentRequest) check(former bool) []string {
	c := &checker{q: q, former: former, seen: map[string]bool{}}
	if q.Model == "" || q.MaxTokens < 1 {
		c.breaks("model %q, max_tokens %d", q.Model, q.MaxTokens)
	}
	if budget, ok := q.Thinking["budget_tokens"].(float64); ok && (budget < 1024 || int64(budget) >= q.MaxTokens) {
		c.breaks("thinking.budget_tokens is %v, and max_tokens %d", budget, q.MaxTokens)
	}
	for i, system := range q.System {
		c.text(fmt.Sprintf("system.%d", i), system)
	}
	for i, tool := range q.Tools {
		schema, _ := tool["input_schema"].(map[string]any)
		if name, _ := tool["name"].(string); !idPattern.MatchString(name) || schema["type"] != "object" {
			c.breaks("tools.%d: name %v, schema %v", i, tool["name"], schema)
		}
		c.cached(tool)
	}
	if len(q.Messages) == 0 || q.Messages[0].Role != "user" {
		c.breaks("messages: the first one is not of the user")
	}
	for i := range q.Messages {
		c.message(i)
	}
	if len(c.open) > 0 {
		c.breaks("messages: calls are not answered: %v", c.open)
	}
	if c.breakpoints > 4 {
		c.breaks("%d blocks with cache_control: at most 4", c.breakpoints)
	}
	return c.broken
}

type checker struct {
	q           *sentRequest
	former      bool
	broken      []string
	open        []string // calls of the message before
	seen        map[string]bool
	breakpoints int
}

func (c *checker) breaks(format string, args ...any) {
	c.broken = append(c.broken, fmt.Sprintf(format, args...))
}

func (c *checker) cached(block map[string]any) {
	if block["cache_control"] != nil {
		c.breakpoints++
	}
}

func (c *checker) text(at string, block map[string]any) {
	if text, _ := block["text"].(string); strings.TrimSpace(text) == "" {
		c.breaks("%s: text content blocks must contain non-whitespace text", at)
	}
	c.cached(block)
}

func (c *checker) message(i int) {
	m, last := c.q.Messages[i], i == len(c.q.Messages)-1
	if i > 0 && m.Role == c.q.Messages[i-1].Role {
		c.breaks("messages.%d: roles must alternate", i)
	}
	if len(m.Content) == 0 {
		c.breaks("messages.%d: it is empty", i)
		return
	}
	for j, block := range m.Content {
		c.block(fmt.Sprintf("messages.%d.content.%d", i, j), m.Role, block)
	}
	end, _ := m.Content[len(m.Content)-1]["type"].(string)
	switch {
	case m.Role == "user" && len(c.open) > 0:
		c.breaks("messages.%d: `tool_use` ids were found without `tool_result` blocks immediately after: %v", i, c.open)
		c.open = nil
	case m.Role == "assistant" && last && end == "text":
		c.breaks("messages.%d: the conversation must end with a user message", i)
	case m.Role == "assistant" && !last && strings.HasSuffix(end, "thinking"):
		c.breaks("messages.%d: The final block in an assistant message cannot be `thinking`", i)
	}
}

func (c *checker) block(at, role string, block map[string]any) {
	id, _ := block["id"].(string)
	kind := fmt.Sprint(block["type"])
	switch {
	case kind == "text":
		if role == "user" && len(c.open) > 0 {
			c.breaks("%s: a text stands before the results of %v", at, c.open)
		}
		c.text(at, block)
	case role == "user" && kind == "tool_result":
		answers, _ := block["tool_use_id"].(string)
		if found := slices.Index(c.open, answers); found >= 0 {
			c.open = slices.Delete(c.open, found, found+1)
		} else {
			c.breaks("%s: unexpected `tool_use_id` found in `tool_result` blocks: %s", at, answers)
		}
		contents, _ := block["content"].([]any)
		for _, inner := range contents {
			part, _ := inner.(map[string]any)
			c.text(at, part)
		}
		c.cached(block)
	case role == "user":
		c.breaks("%s: %s is no block of the user", at, kind)
	case kind == "tool_use":
		input, isObject := block["input"].(map[string]any)
		name, _ := block["name"].(string)
		if !isObject || !idPattern.MatchString(id) || !idPattern.MatchString(name) || c.seen[id] || len(c.q.Tools) == 0 {
			c.breaks("%s: tool_use %q of %q with input %v", at, id, name, input)
		}
		c.seen[id] = true
		c.open = append(c.open, id)
	case kind == "thinking":
		thought, _ := block["thinking"].(string)
		if !c.former && block["signature"] != sign(thought) {
			c.breaks("%s: Invalid `signature` in `thinking` block", at)
		}
	case kind == "redacted_thinking":
		if data, _ := block["data"].(string); !strings.HasPrefix(data, "redacted:") {
			c.breaks("%s: Invalid `data` in `redacted_thinking` block", at)
		}
	case kind == "server_tool_use", kind == "web_search_tool_result":
	default:
		c.breaks("%s: Input tag '%s' found using 'type' does not match any of the expected tags", at, kind)
	}
}

func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.reply(r).Send(w, r)
}

func (v *vendor) reply(r *http.Request) wire {
	var q sentRequest
	content, err := io.ReadAll(r.Body)
	if err != nil || r.URL.Path != "/v1/messages" || r.Method != http.MethodPost {
		return refusing(404, "not_found_error", "Not Found: "+r.URL.Path)
	}
	var typed sdk.MessageNewParams // the vendor's own package reads what it is sent
	decoder := json.NewDecoder(strings.NewReader(string(content)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&struct {
		*sentRequest
		Metadata any `json:"metadata"`
	}{sentRequest: &q}); err != nil || typed.UnmarshalJSON(content) != nil || len(typed.Messages) != len(q.Messages) {
		return refusing(400, "invalid_request_error", fmt.Sprintf("Extra inputs are not permitted: %v", err))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.requests, v.headers = append(v.requests, q), append(v.headers, r.Header.Clone())
	if v.answer != nil {
		if answer := v.answer(&q); answer != nil {
			return *answer
		}
	}
	if broken := q.check(v.former); len(broken) > 0 {
		v.broken = append(v.broken, broken...)
		return refusing(400, "invalid_request_error", broken[0])
	}
	next := v.replies[0]
	if len(v.replies) > 1 {
		v.replies = v.replies[1:]
	}
	return next
}

// asked is how many requests came.
func (v *vendor) asked() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.requests)
}

// last is the latest request.
func (v *vendor) last() sentRequest {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.requests[len(v.requests)-1]
}

// config is one of the vendor's own endpoint, played by v.
func (v *vendor) config(t testing.TB) endpoint.Config {
	t.Helper()
	config := anthropicConfig(endpointtest.Serve(t, v))
	if !v.former {
		config.Default = config.BaseURL // so that it is taken for the vendor's own
	}
	return config
}

// anthropicConfig is a configuration of anthropic.
func anthropicConfig(config endpoint.Config) endpoint.Config {
	config.Name, config.Default = "anthropic", BaseURL
	config.Settings = endpoint.Settings{BaseURL: "ANTHROPIC_BASE_URL", Key: "ANTHROPIC_API_KEY", KeyFile: "ANTHROPIC_API_KEY_FILE"}
	return config
}

func refusing(status int, kind, message string) wire {
	return endpointtest.Whole(status, `{"type":"error","error":{"type":`+quote(kind)+`,"message":`+quote(message)+`},"request_id":"req_1"}`)
}

var quote = endpointtest.Quote

// Frames of a stream.

func frame(kind, fields string) string {
	if fields != "" {
		fields = "," + fields
	}
	return "event: " + kind + "\ndata: {\"type\":\"" + kind + "\"" + fields + "}\n\n"
}

func start(usage string) string {
	return frame("message_start", `"message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-fake-1","content":[],"stop_reason":null,"stop_sequence":null,"usage":`+usage+`}`)
}

const smallUsage = `{"input_tokens":10,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}`

func begins(index int, block string) string {
	return frame("content_block_start", fmt.Sprintf(`"index":%d,"content_block":%s`, index, block))
}

func piece(index int, delta string) string {
	return frame("content_block_delta", fmt.Sprintf(`"index":%d,"delta":%s`, index, delta))
}

func ends(index int) string { return frame("content_block_stop", fmt.Sprintf(`"index":%d`, index)) }

func text(index int, parts ...string) []string {
	frames := []string{begins(index, `{"type":"text","text":""}`)}
	for _, part := range parts {
		frames = append(frames, piece(index, `{"type":"text_delta","text":`+quote(part)+`}`))
	}
	return append(frames, ends(index))
}

func thought(index int, parts ...string) []string {
	frames := []string{begins(index, `{"type":"thinking","thinking":"","signature":""}`)}
	for _, part := range parts {
		frames = append(frames, piece(index, `{"type":"thinking_delta","thinking":`+quote(part)+`}`))
	}
	return append(frames, piece(index, `{"type":"signature_delta","signature":`+quote(sign(strings.Join(parts, "")))+`}`), ends(index))
}

func call(index int, id, tool string, parts ...string) []string {
	frames := []string{begins(index, fmt.Sprintf(`{"type":"tool_use","id":%s,"name":%s,"input":{},"caller":{"type":"direct"}}`, quote(id), quote(tool)))}
	for _, part := range parts {
		frames = append(frames, piece(index, `{"type":"input_json_delta","partial_json":`+quote(part)+`}`))
	}
	return append(frames, ends(index))
}

func end(reason string, output int) []string {
	return []string{
		frame("message_delta", fmt.Sprintf(`"delta":{"stop_reason":%s,"stop_sequence":null},"usage":{"output_tokens":%d}`, quote(reason), output)),
		frame("message_stop", ""),
	}
}

func refusalEnd(details string) []string {
	return []string{
		frame("message_delta", `"delta":{"stop_reason":"refusal","stop_sequence":null,"stop_details":`+details+`},"usage":{"output_tokens":3}`),
		frame("message_stop", ""),
	}
}

// streams joins the frames of a reply.
func streams(parts ...[]string) wire {
	return wire{Pieces: slices.Concat(append([][]string{{start(smallUsage)}}, parts...)...)}
}

func says(words string) wire { return streams(text(0, words), end("end_turn", 5)) }

// raw is frames as they are.
func raw(frames ...string) []string { return frames }
