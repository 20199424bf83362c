package providers

import (
	"encoding/json"
	"fmt"

	"example.com/life/actors"
	"example.com/life/sagas"
)

// request writes the question as a request. It is a pure function of the question.
func (m *openAI) request(question actors.Question) (chatRequest, error) {
	request := chatRequest{
		Model:  question.Model,
		Stream: true, StreamOptions: chatStreamOptions{IncludeUsage: true},
	}
	if question.System != "" {
		request.Messages = append(request.Messages, chatMessage{Role: "system", Content: &question.System})
	}
	for i := range question.Messages {
		message, err := requestMessage(&question.Messages[i])
		if err != nil {
			return chatRequest{}, fmt.Errorf("message %d: %w", i, err)
		}
		request.Messages = append(request.Messages, message)
	}
	for _, tool := range question.Tools {
		if len(tool.Schema) > 0 && !json.Valid(tool.Schema) {
			return chatRequest{}, fmt.Errorf("schema of tool %s is not JSON", tool.Name)
		}
		request.Tools = append(request.Tools, chatTool{
			Type: "function", Function: chatToolFunction{Name: tool.Name, Description: tool.Description, Parameters: tool.Schema},
		})
	}
	switch {
	case question.Reply <= 0:
	case m.own:
		request.MaxCompletionTokens = question.Reply
	default: // the older name is the one that compatible servers know
		request.MaxTokens = question.Reply
	}
	return request, nil
}

func requestMessage(message *sagas.Message) (chatMessage, error) {
	text := &message.Text.Inline
	switch message.Role {
	case sagas.RoleUser, sagas.RoleContext: // many servers take one system message and no developer's: what nobody said says so itself
		return chatMessage{Role: "user", Content: text}, nil
	case sagas.RoleTool:
		return chatMessage{Role: "tool", Content: text, ToolCallID: message.CallID}, nil
	case sagas.RoleAssistant:
		assistant := chatMessage{Role: "assistant", Content: text}
		if *text == "" && len(message.Calls) > 0 {
			assistant.Content = nil
		}
		for _, call := range message.Calls {
			assistant.ToolCalls = append(assistant.ToolCalls, chatCall{
				ID: call.ID, Type: "function",
				// Always JSON, if only a string: many servers parse the arguments of the past and fail on anything else.
				Function: chatCallFunction{Name: call.Tool, Arguments: string(call.Arguments)},
			})
		}
		return assistant, nil
	}
	return chatMessage{}, fmt.Errorf("role %q is unknown", message.Role)
}
