package actorstest

import (
	"context"

	"example.com/life/actors"
)

// FakeTool is a tool made of a description and a function, for tests of whoever runs tools.
type FakeTool struct {
	Describes actors.ToolSpec
	Does      func(ctx context.Context, use actors.ToolUse) (actors.ToolResult, error) // nil: returns an empty result
}

// Spec returns Describes.
func (f FakeTool) Spec() actors.ToolSpec { return f.Describes }

// Run calls Does.
func (f FakeTool) Run(ctx context.Context, use actors.ToolUse) (actors.ToolResult, error) {
	if f.Does == nil {
		return actors.ToolResult{}, nil
	}
	return f.Does(ctx, use)
}
