package anthropic

import (
	"cmp"
	"encoding/json"
	"fmt"

	sdk "github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/packages/param"

	"example.com/life/actors"
	"example.com/life/events"
)

// The limits of a reply, in tokens. The protocol wants one with every request.
const (
	// DefaultReply is the limit where neither the agent has one nor the model's is known: every model that is served takes it.
	DefaultReply = 8192
	// leastThinking is the smallest budget of thinking that the vendor takes.
	leastThinking = 1024
)

// params writes the question as a request, in the way that the endpoint wants it. It is a pure function of all of them. most is the largest
// limit that the model takes, 0 if that is not known.
func params(question *actors.ModelRequest, way way, own bool, most int64) (sdk.MessageNewParams, error) {
	messages, called, err := paramMessages(question, way, own)
	if err != nil {
		return sdk.MessageNewParams{}, err
	}
	limit := way.limit(question, most)
	params := sdk.MessageNewParams{Model: question.Model, MaxTokens: limit, Messages: messages}
	params.Thinking, params.OutputConfig.Effort = way.thinking(question.Thinking, limit)
	if question.System != "" {
		params.System = []sdk.TextBlockParam{{Text: question.System}}
	}
	for i := range question.Tools {
		tool, err := paramTool(&question.Tools[i])
		if err != nil {
			return sdk.MessageNewParams{}, err
		}
		params.Tools = append(params.Tools, sdk.ToolUnionParam{OfTool: &tool})
	}
	if len(question.Tools) == 0 && len(called) > 0 { // past calls are taken only where there are tools
		params.Tools, params.ToolChoice = formerTools(called), sdk.ToolChoiceUnionParam{OfNone: &sdk.ToolChoiceNoneParam{}}
	}
	if !way.noCache {
		breakpoints(&params)
	}
	return params, nil
}

// limit is the largest reply that is asked for.
func (w way) limit(question *actors.ModelRequest, most int64) int64 {
	limit := cmp.Or(question.Reply, most, DefaultReply)
	for _, bound := range []int64{most, w.reply} {
		if bound > 0 {
			limit = min(limit, bound)
		}
	}
	return limit
}

// thinking is how much the model is asked to think: by how hard, which newer models take, or by a budget of tokens. The reply keeps a quarter
// of its limit for what is said; where that leaves less than the smallest budget, no thinking is asked for.
func (w way) thinking(t events.Thinking, limit int64) (thinking sdk.ThinkingConfigParamUnion, effort sdk.OutputConfigEffort) {
	if t == (events.Thinking{}) || w.noThinking {
		return thinking, ""
	}
	if t.Effort == events.EffortOff {
		thinking.OfDisabled = &sdk.ThinkingConfigDisabledParam{}
		return thinking, ""
	}
	if !w.noEffort {
		effort = sdk.OutputConfigEffort(t.Effort)
	}
	display := "summarized" // some models show nothing of it unless they are asked
	if w.noDisplay {
		display = ""
	}
	if w.adaptive || t.Budget == 0 && !w.budget {
		thinking.OfAdaptive = &sdk.ThinkingConfigAdaptiveParam{Display: sdk.ThinkingConfigAdaptiveDisplay(display)}
		return thinking, effort
	}
	budget := min(cmp.Or(t.Budget, budgets[t.Effort]), limit*3/4)
	if budget < leastThinking {
		return thinking, effort
	}
	thinking.OfEnabled = &sdk.ThinkingConfigEnabledParam{BudgetTokens: budget, Display: sdk.ThinkingConfigEnabledDisplay(display)}
	return thinking, effort
}

// budgets stand for efforts, where a model takes budgets only.
//
//nolint:gochecknoglobals // an explicit list, never written to
var budgets = map[events.Effort]int64{events.EffortLow: 4096, events.EffortMedium: 16_384, events.EffortHigh: 32_768}

func paramTool(tool *actors.ToolSpec) (sdk.ToolParam, error) {
	schema := map[string]json.RawMessage{}
	if len(tool.Schema) > 0 {
		if err := json.Unmarshal(tool.Schema, &schema); err != nil {
			return sdk.ToolParam{}, fmt.Errorf("schema of tool %s: %w", tool.Name, err)
		}
	}
	p := sdk.ToolParam{Name: tool.Name}
	if tool.Description != "" {
		p.Description = sdk.String(tool.Description)
	}
	written := tool.Schema // as it is: its order is part of what is cached
	if string(schema["type"]) != `"object"` {
		schema["type"] = encode("object") // the vendor takes nothing else
		written = encode(schema)
	}
	p.InputSchema = param.Override[sdk.ToolInputSchemaParam](written)
	return p, nil
}

// formerTools stand for tools that were called and are not offered any more.
func formerTools(called []string) []sdk.ToolUnionParam {
	var tools []sdk.ToolUnionParam
	for _, name := range called {
		tools = append(tools, sdk.ToolUnionParam{OfTool: &sdk.ToolParam{
			Name: name, Description: sdk.String("This tool cannot be called any more."),
			InputSchema: param.Override[sdk.ToolInputSchemaParam](json.RawMessage(`{"type":"object"}`)),
		}})
	}
	return tools
}

// breakpoints marks up to where the request is the same as others will be, four times at most: the tools, the prompt, and the conversation up
// to its newest message of the user and up to the one before. So each request finds what the one before it wrote to the vendor's cache.
func breakpoints(params *sdk.MessageNewParams) {
	mark := sdk.NewCacheControlEphemeralParam()
	if n := len(params.Tools); n > 0 {
		params.Tools[n-1].OfTool.CacheControl = mark
	}
	if n := len(params.System); n > 0 {
		params.System[n-1].CacheControl = mark
	}
	left := 2
	for i := len(params.Messages) - 1; i >= 0 && left > 0; i-- {
		message := params.Messages[i].OfUser
		if message == nil {
			continue
		}
		left--
		switch last := &message.Content[len(message.Content)-1]; {
		case last.OfText != nil:
			last.OfText.CacheControl = mark
		case last.OfToolResult != nil:
			last.OfToolResult.CacheControl = mark
		}
	}
}
