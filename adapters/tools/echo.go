package tools

import (
	"context"

	"example.com/life/actors"
	"example.com/life/events"
)

type echoArgs struct {
	Text string `json:"text" max:"30000" jsonschema:"the text to give back"`
}

func newEcho() (actors.Tool, error) {
	return newTool(actors.ToolSpec{Name: "echo", Risk: events.RiskNone, Repeatable: true},
		func(_ context.Context, _ actors.ToolUse, args echoArgs) (actors.ToolResult, error) {
			return actors.ToolResult{Text: events.Cut(args.Text, outputLimit)}, nil
		})
}
