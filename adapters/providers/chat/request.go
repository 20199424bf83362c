package chat

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/shared"

	"example.com/life/actors"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/sagas"
)

// params writes the question as a request, in the way that the endpoint wants it. It is a pure function of both.
func params(question actors.ModelRequest, way way, own bool) (openai.ChatCompletionNewParams, error) {
	params := openai.ChatCompletionNewParams{Model: question.Model}
	if !way.whole && !way.noUsage {
		params.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
	}
	messages, err := paramMessages(&question, way)
	if err != nil {
		return openai.ChatCompletionNewParams{}, err
	}
	params.Messages = messages
	for _, tool := range question.Tools {
		function := shared.FunctionDefinitionParam{Name: tool.Name, Description: openai.String(tool.Description)}
		if len(tool.Schema) > 0 {
			if err := json.Unmarshal(tool.Schema, &function.Parameters); err != nil {
				return openai.ChatCompletionNewParams{}, fmt.Errorf("schema of tool %s: %w", tool.Name, err)
			}
		}
		params.Tools = append(params.Tools, openai.ChatCompletionFunctionTool(function))
	}
	switch limit := way.replyLimit(&question, own); {
	case limit <= 0:
	case way.limitName(own) == limitNew:
		params.MaxCompletionTokens = openai.Int(limit)
	default:
		params.MaxTokens = openai.Int(limit)
	}
	if form, asked := way.thinkingForm(question.Thinking, own); asked {
		params.SetExtraFields(form.fields)
	}
	return params, nil
}

// turnOf is a message on the wire, before it is written: neighbours of one role are one, since many templates want roles to alternate, and
// messages that say nothing are none.
type turnOf struct {
	role sagas.Role
	text string
	from *sagas.Message // of an assistant or a tool
}

// emptyResult stands for the result of a tool that gave none: some endpoints refuse an empty text.
const emptyResult = "(no output)"

// bridge stands between a tool's result and what a person says next, where a template wants it.
const bridge = "I have the results."

func turnsOf(question *actors.ModelRequest, way way) []turnOf {
	var turns []turnOf
	if question.System != "" {
		role := sagas.Role("system")
		if way.noSystem {
			role = sagas.RoleUser
		}
		turns = append(turns, turnOf{role: role, text: question.System})
	}
	for i := range question.Messages {
		message := &question.Messages[i]
		turn := turnOf{role: message.Role, text: message.Text.Inline}
		switch message.Role {
		case sagas.RoleContext: // many servers take one system message and no developer's: what nobody said says so itself
			turn.role = sagas.RoleUser
		case sagas.RoleAssistant, sagas.RoleTool:
			turn.from = message
		case sagas.RoleUser:
		}
		if turn.role == sagas.RoleTool && turn.text == "" {
			turn.text = emptyResult
		}
		if turn.text == "" && (turn.from == nil || len(turn.from.Calls) == 0) {
			continue
		}
		if n := len(turns); n > 0 {
			last := &turns[n-1]
			if last.role == sagas.RoleUser && turn.role == sagas.RoleUser {
				last.text += "\n\n" + turn.text
				continue
			}
			if way.bridged && last.role == sagas.RoleTool && turn.role == sagas.RoleUser {
				turns = append(turns, turnOf{role: sagas.RoleAssistant, text: bridge, from: &sagas.Message{}})
			}
		}
		turns = append(turns, turn)
	}
	return turns
}

func paramMessages(question *actors.ModelRequest, way way) ([]openai.ChatCompletionMessageParamUnion, error) {
	var messages []openai.ChatCompletionMessageParamUnion
	for i, turn := range turnsOf(question, way) {
		switch turn.role {
		case "system":
			messages = append(messages, openai.SystemMessage(turn.text))
		case sagas.RoleUser:
			messages = append(messages, openai.UserMessage(turn.text))
		case sagas.RoleTool:
			messages = append(messages, openai.ToolMessage(turn.text, way.callID(turn.from.CallID)))
		case sagas.RoleAssistant:
			message, err := paramAssistant(turn, way)
			if err != nil {
				return nil, fmt.Errorf("message %d: %w", i, err)
			}
			messages = append(messages, message)
		default:
			return nil, fmt.Errorf("message %d: role %q is unknown", i, turn.role)
		}
	}
	return messages, nil
}

func paramAssistant(turn turnOf, way way) (openai.ChatCompletionMessageParamUnion, error) {
	var assistant openai.ChatCompletionAssistantMessageParam
	if turn.text != "" {
		assistant.Content.OfString = openai.String(turn.text)
	}
	message, calls, err := overlayOf(turn.from, way)
	if err != nil {
		return openai.ChatCompletionMessageParamUnion{}, err
	}
	if len(message) > 0 {
		assistant.SetExtraFields(message)
	}
	for i, call := range turn.from.Calls {
		function := openai.ChatCompletionMessageFunctionToolCallParam{
			ID:       way.callID(call.ID),
			Function: openai.ChatCompletionMessageFunctionToolCallFunctionParam{Name: call.Tool, Arguments: endpoint.SentArguments(call.Arguments)},
		}
		if i < len(calls) && len(calls[i]) > 0 {
			function.SetExtraFields(calls[i])
		}
		assistant.ToolCalls = append(assistant.ToolCalls, openai.ChatCompletionMessageToolCallUnionParam{OfFunction: &function})
	}
	return openai.ChatCompletionMessageParamUnion{OfAssistant: &assistant}, nil
}

// callID is a call's id as the endpoint takes it. Those of another provider may be too long for it, or have signs that it does not know.
func (w way) callID(id string) string {
	if w.shortIDs {
		return endpoint.ShortID(id, 9)
	}
	return id
}

// overlayOf is what the endpoint gets back with a message and with its calls.
func overlayOf(message *sagas.Message, way way) (fields map[string]any, calls []map[string]any, err error) {
	var kept map[string]json.RawMessage
	if !way.noExtra {
		if kept, err = keptFields(message); err != nil {
			return nil, nil, err
		}
	}
	fields = map[string]any{}
	for name, value := range kept {
		switch {
		case name == "tool_calls":
			if err := json.Unmarshal(value, &calls); err != nil {
				return nil, nil, fmt.Errorf("what its provider wants back with its calls: %w", err)
			}
		case len(message.Calls) == 0 && slices.Contains(reasoningFields, name):
		default:
			fields[name] = value
		}
	}
	if len(message.Calls) == 0 {
		return fields, nil, nil
	}
	switch way.fill {
	case "reasoning_content":
		if _, has := fields[way.fill]; !has {
			fields[way.fill] = " "
		}
	case "thought_signature":
		calls = signed(calls)
	}
	return fields, calls, nil
}

// signed gives the first call, if it has no signature, the one that Gemini takes for calls that it did not make.
func signed(calls []map[string]any) []map[string]any {
	const foreign = "skip_thought_signature_validator"
	if len(calls) == 0 {
		calls = []map[string]any{{}}
	}
	if _, has := calls[0]["extra_content"]; !has {
		if calls[0] == nil {
			calls[0] = map[string]any{}
		}
		calls[0]["extra_content"] = map[string]any{"google": map[string]any{"thought_signature": foreign}}
	}
	return calls
}
