package responses

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas"
)

// request is what is sent, but for its input: the items of that are written as they are, so that what the endpoint gave goes back byte for
// byte. The types of openai-go would write them anew; tests have them read what is sent.
type request struct {
	Model        string         `json:"model"`
	Stream       bool           `json:"stream,omitempty"`
	Store        *bool          `json:"store,omitempty"`
	Include      []string       `json:"include,omitempty"`
	Instructions string         `json:"instructions,omitempty"`
	Reasoning    *reasoningJSON `json:"reasoning,omitempty"`
	Limit        int64          `json:"max_output_tokens,omitempty"`
	Tools        []toolJSON     `json:"tools,omitempty"`
}

type reasoningJSON struct {
	Effort  string `json:"effort,omitempty"`
	Summary string `json:"summary,omitempty"`
}

// toolJSON is a tool. Without a word of strictness the schema would be taken for a strict one, which leaves no argument out.
type toolJSON struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters"`
	Strict      *bool           `json:"strict,omitempty"`
}

// inputJSON is an item that is written anew.
type inputJSON struct {
	Type      string  `json:"type"`
	Role      string  `json:"role,omitempty"`
	Content   any     `json:"content,omitempty"` // a text, or a list
	CallID    string  `json:"call_id,omitempty"`
	Name      string  `json:"name,omitempty"`
	Arguments *string `json:"arguments,omitempty"`
	Output    *string `json:"output,omitempty"`
}

// outputText is a text that the model said.
type outputText struct {
	Type        string     `json:"type"`
	Text        string     `json:"text"`
	Annotations []struct{} `json:"annotations"`
}

// body writes the question as a request, in the way that the endpoint wants it. It is a pure function of both.
func body(question *actors.ModelRequest, way way, own bool) ([]byte, error) {
	asked := request{Model: question.Model, Stream: !way.whole, Reasoning: way.reasoning(question.Thinking), Limit: way.limit(question)}
	if !way.noStore {
		asked.Store = new(bool)
	}
	if !way.noInclude {
		asked.Include = []string{"reasoning.encrypted_content"}
	}
	items, err := input(question, way, own)
	if err != nil {
		return nil, err
	}
	if !way.systemItem {
		asked.Instructions = question.System
	}
	for _, tool := range question.Tools {
		sent := toolJSON{Type: "function", Name: tool.Name, Description: tool.Description, Parameters: tool.Schema}
		if len(tool.Schema) == 0 {
			sent.Parameters = json.RawMessage(`{"type":"object","properties":{}}`)
		}
		if !way.noStrict {
			sent.Strict = new(bool)
		}
		asked.Tools = append(asked.Tools, sent)
	}
	head, err := events.PlainJSON(asked)
	if err != nil {
		return nil, fmt.Errorf("write the request: %w", err)
	}
	var whole bytes.Buffer
	whole.Write(bytes.TrimSuffix(head, []byte("}")))
	whole.WriteString(`,"input":[`)
	whole.Write(bytes.Join(items, []byte(",")))
	whole.WriteString("]}")
	return whole.Bytes(), nil
}

// emptyResult stands for the result of a tool that gave none: some endpoints refuse an empty text.
const emptyResult = "(no output)"

// inputItem is an item of the input, written.
type inputItem struct {
	raw    []byte
	call   string // the id of the call that it is
	output string // the id of the call whose output it is
}

// input writes the conversation. Neighbouring messages of the user are one, since many templates want roles to alternate, and messages that
// say nothing are none. Outputs follow their calls directly: OpenAI finds them by their call_id wherever they stand, but DeepSeek's endpoint
// refuses an input with anything between ("No tool output found for tool call"), a reasoning item or a message of the same reply too.
func input(question *actors.ModelRequest, way way, own bool) ([][]byte, error) {
	var items []inputItem
	reply := 0 // where the latest reply begins: some endpoints give ids of calls again in the next one
	add := func(item inputJSON) error {
		encoded, err := events.PlainJSON(item)
		items = append(items, inputItem{raw: encoded})
		return err
	}
	said := ""
	flush := func() error {
		if said == "" {
			return nil
		}
		item := inputJSON{Type: typeMessage, Role: "user", Content: said}
		said = ""
		return add(item)
	}
	if way.systemItem && question.System != "" {
		if err := add(inputJSON{Type: typeMessage, Role: "system", Content: question.System}); err != nil {
			return nil, err
		}
	}
	for i := range question.Messages {
		message := &question.Messages[i]
		var err error
		switch message.Role {
		case sagas.RoleUser, sagas.RoleContext:
			if said != "" && message.Text.Inline != "" {
				said += paragraph
			}
			said += message.Text.Inline
			continue
		case sagas.RoleTool:
			output := message.Text.Inline
			if output == "" {
				output = emptyResult
			}
			item := inputItem{output: callID(message.CallID)}
			item.raw, err = events.PlainJSON(inputJSON{Type: typeCall + "_output", CallID: item.output, Output: &output})
			items = slices.Insert(items, reply+outputPlace(items[reply:], item.output), item)
		case sagas.RoleAssistant:
			var written []inputItem
			if err = flush(); err == nil {
				written, err = replied(message, way, own)
				reply = len(items)
				items = append(items, written...)
			}
		default:
			err = fmt.Errorf("role %q is unknown", message.Role)
		}
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", i, err)
		}
	}
	if err := flush(); err != nil {
		return nil, err
	}
	raw := make([][]byte, len(items))
	for i := range items {
		raw[i] = items[i].raw
	}
	return raw, nil
}

// outputPlace is where the output of a call belongs in the items since its reply: behind the run of calls that it is in, and behind their
// outputs before it.
func outputPlace(items []inputItem, call string) int {
	at := slices.IndexFunc(items, func(it inputItem) bool { return it.call == call })
	if at < 0 {
		return len(items)
	}
	for at < len(items) && items[at].call != "" {
		at++
	}
	for at < len(items) && items[at].output != "" {
		at++
	}
	return at
}
