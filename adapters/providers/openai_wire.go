package providers

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// What Life sends to and reads from chat completions. OpenAI's SDK registers the types of its whole API and, with them, makes the binary
// half as large again (58 MB instead of 37).

type chatRequest struct {
	Model               string            `json:"model"`
	Messages            []chatMessage     `json:"messages"`
	Tools               []chatTool        `json:"tools,omitempty"`
	MaxCompletionTokens int64             `json:"max_completion_tokens,omitempty"`
	MaxTokens           int64             `json:"max_tokens,omitempty"`
	Stream              bool              `json:"stream"`
	StreamOptions       chatStreamOptions `json:"stream_options"`
}

type chatStreamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

type chatMessage struct {
	Role       string     `json:"role"`
	Content    *string    `json:"content,omitempty"` // nil: the assistant made calls and said nothing
	ToolCalls  []chatCall `json:"tool_calls,omitempty"`
	ToolCallID string     `json:"tool_call_id,omitempty"`
}

type chatCall struct {
	ID       string           `json:"id"`
	Type     string           `json:"type"`
	Function chatCallFunction `json:"function"`
}

type chatCallFunction struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type chatTool struct {
	Type     string           `json:"type"`
	Function chatToolFunction `json:"function"`
}

type chatToolFunction struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters,omitempty"`
}

// chatChunk is one piece of a streamed reply. Servers disagree on types: a field of an unexpected type counts as absent.
type chatChunk struct {
	Model   string       `json:"model"`
	Choices []chatChoice `json:"choices"`
	Usage   *chatUsage   `json:"usage"`
}

type chatUsage struct {
	PromptTokens        chatNumber `json:"prompt_tokens"`
	CompletionTokens    chatNumber `json:"completion_tokens"`
	PromptTokensDetails struct {
		CachedTokens chatNumber `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
}

type chatChoice struct {
	Index chatNumber `json:"index"`
	Delta struct {
		Content   chatText        `json:"content"`
		Refusal   chatText        `json:"refusal"`
		ToolCalls []chatCallPiece `json:"tool_calls"`
	} `json:"delta"`
	FinishReason string `json:"finish_reason"`
}

type chatCallPiece struct {
	Index    *chatNumber `json:"index"`
	ID       string      `json:"id"`
	Function struct {
		Name      string   `json:"name"`
		Arguments chatText `json:"arguments"`
	} `json:"function"`
}

// chatText is a string as decoded and as sent, escapes and all.
type chatText struct{ text, raw string }

func (t *chatText) UnmarshalJSON(raw []byte) error {
	t.raw = string(raw)
	return json.Unmarshal(raw, &t.text)
}

// chatNumber is a whole number, which some servers send as a float or a string.
type chatNumber int64

func (n *chatNumber) UnmarshalJSON(raw []byte) error {
	if value, err := strconv.ParseFloat(string(bytes.Trim(raw, `"`)), 64); err == nil && value > -1<<53 && value < 1<<53 {
		*n = chatNumber(value)
	}
	return nil
}
