package providers

import (
	"encoding/json"
	"fmt"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/shared"

	"example.com/life/actors"
	"example.com/life/sagas"
)

// params writes the question as a request. It is a pure function of the question.
func (m *openAI) params(question actors.ModelRequest) (openai.ChatCompletionNewParams, error) {
	params := openai.ChatCompletionNewParams{
		Model:         question.Model,
		StreamOptions: openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)},
	}
	if question.System != "" {
		params.Messages = append(params.Messages, openai.SystemMessage(question.System))
	}
	for i := range question.Messages {
		message, err := paramMessage(&question.Messages[i])
		if err != nil {
			return openai.ChatCompletionNewParams{}, fmt.Errorf("message %d: %w", i, err)
		}
		params.Messages = append(params.Messages, message)
	}
	for _, tool := range question.Tools {
		function := shared.FunctionDefinitionParam{Name: tool.Name, Description: openai.String(tool.Description)}
		if len(tool.Schema) > 0 {
			if err := json.Unmarshal(tool.Schema, &function.Parameters); err != nil {
				return openai.ChatCompletionNewParams{}, fmt.Errorf("schema of tool %s: %w", tool.Name, err)
			}
		}
		params.Tools = append(params.Tools, openai.ChatCompletionFunctionTool(function))
	}
	switch {
	case question.Reply <= 0:
	case m.own:
		params.MaxCompletionTokens = openai.Int(question.Reply)
	default: // the older name is the one that compatible servers know
		params.MaxTokens = openai.Int(question.Reply)
	}
	return params, nil
}

func paramMessage(message *sagas.Message) (openai.ChatCompletionMessageParamUnion, error) {
	switch message.Role {
	case sagas.RoleUser, sagas.RoleContext: // many servers take one system message and no developer's: what nobody said says so itself
		return openai.UserMessage(message.Text.Inline), nil
	case sagas.RoleTool:
		return openai.ToolMessage(message.Text.Inline, message.CallID), nil
	case sagas.RoleAssistant:
		var assistant openai.ChatCompletionAssistantMessageParam
		if message.Text.Inline != "" || len(message.Calls) == 0 {
			assistant.Content.OfString = openai.String(message.Text.Inline)
		}
		for _, call := range message.Calls {
			assistant.ToolCalls = append(assistant.ToolCalls, openai.ChatCompletionMessageToolCallUnionParam{
				OfFunction: &openai.ChatCompletionMessageFunctionToolCallParam{
					ID: call.ID,
					// Always JSON, if only a string: many servers parse the arguments of the past and fail on anything else.
					Function: openai.ChatCompletionMessageFunctionToolCallFunctionParam{Name: call.Tool, Arguments: string(call.Arguments)},
				},
			})
		}
		return openai.ChatCompletionMessageParamUnion{OfAssistant: &assistant}, nil
	}
	return openai.ChatCompletionMessageParamUnion{}, fmt.Errorf("role %q is unknown", message.Role)
}
