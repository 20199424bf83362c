package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"example.com/life/actors"
	"example.com/life/events"
)

// Run implements [actors.Servers]. What goes wrong begins with a name: mcp_arguments (they do not fit what the agent was told), mcp_unavailable (there is no connection),
// mcp_refused (the server, or the configuration, has no such tool any more), mcp_failed (the call was begun, and what became of it is not known).
func (c *Client) Run(ctx context.Context, use actors.ToolUse) (actors.ToolResult, error) {
	of := &use.Of
	if wrong := checkArguments(of.Schema, use.Arguments); wrong != "" {
		return failed("mcp_arguments: " + wrong), nil
	}
	l, err := c.link(of.Server, use.Workspace)
	if err != nil {
		return failed("mcp_unavailable: " + clip(err)), nil
	}
	if name := ownName(of); !l.server.allows(name) {
		return failed(fmt.Sprintf("mcp_refused: the configuration of MCP server %s does not let agents use %s any more", of.Server, name)), nil
	}
	l.use(1)
	defer l.use(-1)
	at, err := l.connected(ctx)
	switch {
	case ctx.Err() != nil:
		return actors.ToolResult{}, ctx.Err()
	case err != nil:
		return failed(fmt.Sprintf("mcp_unavailable: MCP server %s cannot be used: %s", of.Server, clip(err))), nil
	}
	if gone := l.changed(of); gone != "" {
		return failed("mcp_refused: " + gone), nil
	}
	return l.call(ctx, at, use)
}

// ownName is the name of a tool in the configuration.
func ownName(of *events.ServerTool) string {
	for _, m := range methodTools(&mcp.ServerCapabilities{Resources: &mcp.ResourceCapabilities{}, Prompts: &mcp.PromptCapabilities{}}) {
		if m.method == of.Method {
			return m.name
		}
	}
	return of.Tool
}

// changed says whether the server takes other arguments now than the agent was told, or none.
func (l *link) changed(of *events.ServerTool) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.heard.tools {
		if now := &l.heard.tools[i].Of; now.Tool == of.Tool && now.Method == of.Method {
			if !unchanged(now.Schema, of.Schema) {
				return fmt.Sprintf("MCP server %s takes other arguments for %s now than it said; the next message is offered what it says now", of.Server, ownName(of))
			}
			return ""
		}
	}
	return fmt.Sprintf("MCP server %s does not offer %s any more", of.Server, ownName(of))
}

// masked is what history has in place of a secret, with the quotes that a number gets by it.
var masked = regexp.MustCompile(`"?\[masked: [^\]]*\]"?`)

// unchanged reports whether a schema is as it was recorded, where nothing was masked.
func unchanged(now, recorded string) bool {
	parts := masked.Split(recorded, -1)
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return now == recorded
	}
	rest, begins := strings.CutPrefix(now, first)
	rest, ends := strings.CutSuffix(rest, last)
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return begins && ends
}

// call makes a call. When the context ends, or the server's time, a program is ended, with everything that it does.
func (l *link) call(ctx context.Context, at *live, use actors.ToolUse) (actors.ToolResult, error) {
	limited, cancel := context.WithTimeoutCause(ctx, l.server.Call, fmt.Errorf("it did not answer within %v", l.server.Call))
	defer cancel()
	if at.program != nil {
		at.program.received.size.Store(0)
	}
	at.wanted() // of no call that runs
	said, err := withIn(limited, at, func() (*said, error) { return ask(limited, at.session, use) })
	if err != nil {
		return l.lost(ctx, limited, at, use, err)
	}
	for _, question := range at.wanted() {
		said.note("[mcp_elicitation_declined: the server wanted to ask a person, and nobody can be asked here: " + question + "]")
	}
	result := said.result(ctx, l.client.config.Blobs, use.Secrets)
	result.Sandbox = at.level
	return result, nil
}

// lost is the result of a call that has none.
func (l *link) lost(ctx, limited context.Context, at *live, use actors.ToolUse, err error) (actors.ToolResult, error) {
	var answered *jsonrpcError
	if errors.As(err, &answered) && limited.Err() == nil { // it answered that it will not do it
		return failed(fmt.Sprintf("mcp_refused: MCP server %s: %s", use.Of.Server, clip(answered))), nil
	}
	l.drop(at)
	if ctx.Err() != nil {
		return actors.ToolResult{}, ctx.Err()
	}
	result := failed(fmt.Sprintf("mcp_failed: MCP server %s: %s. Its connection is ended; what the call did is not known", use.Of.Server, clip(l.explained(limited, at, err))))
	result.Sandbox = at.level
	return result, nil
}

// ask asks the server for what a tool stands for.
func ask(ctx context.Context, session *mcp.ClientSession, use actors.ToolUse) (*said, error) {
	var args struct {
		URI       string            `json:"uri"`
		Name      string            `json:"name"`
		Arguments map[string]string `json:"arguments"`
	}
	if use.Of.Method != "" {
		if err := json.Unmarshal(use.Arguments, &args); err != nil {
			return nil, err
		}
	}
	switch use.Of.Method {
	case listResources:
		return saidResources(ctx, session)
	case readResource:
		read, err := session.ReadResource(ctx, &mcp.ReadResourceParams{URI: args.URI})
		return saidContents(read), wrap(err)
	case listPrompts:
		return saidPrompts(ctx, session)
	case getPrompt:
		prompt, err := session.GetPrompt(ctx, &mcp.GetPromptParams{Name: args.Name, Arguments: args.Arguments})
		return saidPrompt(prompt), wrap(err)
	}
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: use.Of.Tool, Arguments: use.Arguments})
	return saidResult(result), wrap(err)
}

// checkArguments says what is wrong with arguments, each field by its path.
func checkArguments(schema string, arguments json.RawMessage) string {
	resolved, err := resolve([]byte(schema))
	if err != nil {
		return clip(err)
	}
	var given any
	if err := json.Unmarshal(arguments, &given); err != nil {
		return "they are no JSON: " + clip(err)
	}
	if err := resolved.Validate(given); err != nil {
		return strings.ReplaceAll(clip(err), "validating root: ", "")
	}
	return ""
}

// failed is a failure that the model sees.
func failed(text string) actors.ToolResult {
	return actors.ToolResult{Text: events.Cut(text, events.InlineLimit), Failed: true}
}
