package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"example.com/life/adapters/plaintext"
	"example.com/life/events"
	"example.com/life/sagas"
)

// offer is what one server offered when it was asked.
type offer struct {
	server   string
	at       time.Time
	tools    []events.ToolGrant
	problems []string
	info     *mcp.InitializeResult
}

// The methods of the protocol that are tools for models too.
const (
	listResources = "resources/list"
	readResource  = "resources/read"
	listPrompts   = "prompts/list"
	getPrompt     = "prompts/get"
)

// methodTool is a method of the protocol as a tool.
type methodTool struct{ method, name, description, schema string }

// methodTools are those of a server with these capabilities.
func methodTools(c *mcp.ServerCapabilities) (tools []methodTool) {
	if c == nil {
		return nil
	}
	if c.Resources != nil {
		tools = append(tools,
			methodTool{listResources, "list_resources", "Lists the resources of this server: texts and files that it offers by address (URI), and templates of such addresses.", `{"type":"object","properties":{},"additionalProperties":false}`},
			methodTool{readResource, "read_resource", "Reads a resource of this server.", `{"type":"object","properties":{"uri":{"type":"string","description":"the resource's address, as list_resources shows it"}},"required":["uri"],"additionalProperties":false}`})
	}
	if c.Prompts != nil {
		tools = append(tools,
			methodTool{listPrompts, "list_prompts", "Lists the prompts of this server: texts that it has ready for particular tasks.", `{"type":"object","properties":{},"additionalProperties":false}`},
			methodTool{getPrompt, "get_prompt", "Gets a prompt of this server.", `{"type":"object","properties":{"name":{"type":"string"},"arguments":{"type":"object","additionalProperties":{"type":"string"}}},"required":["name"],"additionalProperties":false}`})
	}
	return tools
}

// hear is what the server offers now: as it was heard a moment ago, unless it said that it has changed.
func (l *link) hear(ctx context.Context) (*offer, error) {
	if err := l.take(ctx); err != nil {
		return nil, err
	}
	defer l.give()
	at, err := l.connect(ctx)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	heard := l.heard
	l.mu.Unlock()
	if time.Since(heard.at) < freshFor && !at.stale.Load() {
		return heard, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, l.server.Connect, fmt.Errorf("it did not say what it offers within %v", l.server.Connect))
	defer cancel()
	if err := l.list(ctx, at); err != nil {
		l.drop(at)
		return nil, l.explained(ctx, at, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest()
	return l.heard, nil
}

// known is what the server offered last, or why it could not be asked; nil: neither is known. If there may be news, they are fetched meanwhile.
func (l *link) known() *offer {
	l.mu.Lock()
	heard, failed, renews := l.heard, l.failed, l.renews
	fresh := heard != nil && failed == nil && time.Since(heard.at) < freshFor && (l.live == nil || !l.live.stale.Load())
	if !fresh && !renews && (failed == nil || time.Now().After(l.again)) {
		l.renews = true
	} else {
		renews = true // or there is nothing to do
	}
	l.mu.Unlock()
	if !renews && !l.client.background(l.renew) {
		return nil
	}
	switch {
	case failed != nil:
		return &offer{server: l.server.Name, problems: []string{"it cannot be used: " + clip(failed)}}
	default:
		return heard
	}
}

func (l *link) renew() {
	if _, err := l.hear(l.client.running); err != nil && l.client.running.Err() == nil {
		l.client.config.Log.Warn("an MCP server cannot be used", "server", l.server.Name, "error", clip(err))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renews = false
}

// list asks the server what it offers.
func (l *link) list(ctx context.Context, at *live) error {
	at.stale.Store(false) // what changes from here on is heard next time
	if at.program != nil {
		at.program.received.size.Store(0)
	}
	tools, err := withIn(ctx, at, func() ([]*mcp.Tool, error) { return listTools(ctx, at.session) })
	if err != nil {
		return err
	}
	heard := &offer{server: l.server.Name, at: time.Now(), info: at.session.InitializeResult()}
	for _, tool := range tools {
		if tool != nil && l.server.allows(tool.Name) {
			heard.add(l.server, tool)
		}
	}
	for _, m := range methodTools(heard.info.Capabilities) {
		if l.server.allows(m.name) {
			heard.grant(l.server, ToolName(l.server.Name, m.name), events.ServerTool{Server: l.server.Name, Method: m.method, Description: m.description, Schema: m.schema})
		}
	}
	slices.SortStableFunc(heard.tools, func(a, b events.ToolGrant) int { return strings.Compare(a.Name, b.Name) })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = heard
	return nil
}

// withIn does what may block although its context has ended: then the connection is ended, which ends it.
func withIn[R any](ctx context.Context, at *live, do func() (R, error)) (result R, err error) {
	type done struct {
		result R
		err    error
	}
	answered := make(chan done, 1)
	go func() { // it ends with the connection at the latest
		r, err := do()
		answered <- done{r, err}
	}()
	select {
	case d := <-answered:
		return d.result, d.err
	case <-ctx.Done():
	case <-at.programEnded():
	}
	at.stop(true)
	d := <-answered
	if d.err == nil && ctx.Err() == nil { // the answer was its last word
		return d.result, nil
	}
	return result, errors.Join(d.err, ctx.Err())
}

// listTools reads all pages of the list.
func listTools(ctx context.Context, session *mcp.ClientSession) (all []*mcp.Tool, err error) {
	if c := session.InitializeResult().Capabilities; c == nil || c.Tools == nil {
		return nil, nil
	}
	cursor := ""
	for range mostPages {
		page, err := session.ListTools(ctx, &mcp.ListToolsParams{Cursor: cursor})
		if err != nil {
			return nil, fmt.Errorf("list its tools: %w", err)
		}
		if all = append(all, page.Tools...); len(all) > mostListed {
			return nil, fmt.Errorf("it lists more than %d tools", mostListed)
		}
		if cursor = page.NextCursor; cursor == "" {
			return all, nil
		}
	}
	return nil, fmt.Errorf("its list of tools has more than %d pages", mostPages)
}

// allows reports whether agents may use a tool.
func (s *Server) allows(tool string) bool {
	return len(s.Tools) == 0 || slices.ContainsFunc(s.Tools, func(pattern string) bool {
		match, err := path.Match(pattern, tool)
		return err == nil && match
	})
}

// add adds a tool, if it can be offered; else why not.
func (o *offer) add(s *Server, tool *mcp.Tool) {
	name := events.Clip(cleanText(tool.Name), 80)
	schema, err := json.Marshal(tool.InputSchema)
	switch {
	case err != nil:
	case tool.Name == "" || name != tool.Name || strings.ContainsAny(name, "\n\t"):
		err = errors.New("its name is empty, too long, or no plain text")
	case len(schema) > sagas.MostServerSchema:
		err = fmt.Errorf("the schema of its arguments has more than %d KiB", sagas.MostServerSchema>>10)
	default:
		_, err = resolve(schema)
	}
	if err != nil {
		o.problem("the tool %q is not offered: %s", name, clip(err))
		return
	}
	text := cleanText(tool.Description)
	if len(text) > sagas.MostServerDescription {
		text = events.Cut(text, sagas.MostServerDescription-3) + "…"
	}
	o.grant(s, ToolName(s.Name, tool.Name), events.ServerTool{Server: s.Name, Tool: tool.Name, Description: text, Schema: string(schema)})
}

func (o *offer) grant(s *Server, name string, of events.ServerTool) {
	if slices.ContainsFunc(o.tools, func(t events.ToolGrant) bool { return t.Name == name }) {
		o.problem("%q is not offered: there is another tool of the name %s", of.Tool+of.Method, name)
		return
	}
	risk, repeatable := s.risk(name)
	o.tools = append(o.tools, events.ToolGrant{Name: name, Risk: risk, Repeatable: repeatable, Of: of})
}

// mostProblems bounds what is said of one server.
const mostProblems = 10

func (o *offer) problem(format string, args ...any) {
	switch {
	case len(o.problems) < mostProblems:
		o.problems = append(o.problems, fmt.Sprintf(format, args...))
	case len(o.problems) == mostProblems:
		o.problems = append(o.problems, "there are more problems")
	}
}

// resolve reads a schema of arguments. It may refer to nothing outside itself.
func resolve(schema []byte) (*jsonschema.Resolved, error) {
	var read jsonschema.Schema
	if err := json.Unmarshal(schema, &read); err != nil {
		return nil, fmt.Errorf("the schema of its arguments cannot be read: %w", err)
	}
	if read.Type != "object" {
		return nil, errors.New("the schema of its arguments is not that of an object")
	}
	resolved, err := read.Resolve(nil)
	if err != nil {
		return nil, fmt.Errorf("the schema of its arguments cannot be used: %w", err)
	}
	return resolved, nil
}

// cleanText is text from a server as models, people and history get it.
func cleanText(text string) string { return strings.TrimSpace(plaintext.Of([]byte(text))) }
