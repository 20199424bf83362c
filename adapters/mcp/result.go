package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/adapters/plaintext"
	"example.com/life/events"
)

// jsonrpcError is an answer that the server will not do what it was asked for.
type jsonrpcError struct{ text string }

// Error implements error.
func (e *jsonrpcError) Error() string { return e.text }

// wrap tells answers that are errors from errors of the connection.
func wrap(err error) error {
	var answered *jsonrpc.Error
	if errors.As(err, &answered) {
		return &jsonrpcError{answered.Message}
	}
	return err
}

// said is what a server answered, in parts.
type said struct {
	parts  []string
	failed bool
}

func (s *said) note(text string) { s.parts = append(s.parts, text) }

// add adds one content: texts as they are, without what terminals obey; of all else what it is.
func (s *said) add(content mcp.Content) {
	switch c := content.(type) {
	case *mcp.TextContent:
		s.note(plaintext.Of([]byte(c.Text)))
	case *mcp.ImageContent:
		s.note(notShown("image", c.MIMEType, len(c.Data)))
	case *mcp.AudioContent:
		s.note(notShown("sound", c.MIMEType, len(c.Data)))
	case *mcp.ResourceLink:
		s.note(strings.TrimSpace(fmt.Sprintf("[resource %s %s] %s", cleanText(c.Name), cleanText(c.URI), cleanText(c.Description))))
	case *mcp.EmbeddedResource:
		s.resource(c.Resource)
	default:
		s.note(fmt.Sprintf("[a content of kind %T, which is not shown]", content))
	}
}

func notShown(what, kind string, size int) string {
	return fmt.Sprintf("[%s, %s, %d bytes: not shown]", what, events.Clip(cleanText(kind), 60), size)
}

func (s *said) resource(r *mcp.ResourceContents) {
	switch {
	case r == nil:
	case r.Text == "" && len(r.Blob) > 0:
		s.note(fmt.Sprintf("[resource %s] ", cleanText(r.URI)) + notShown("data", r.MIMEType, len(r.Blob)))
	default:
		s.note(fmt.Sprintf("[resource %s]\n%s", cleanText(r.URI), plaintext.Of([]byte(r.Text))))
	}
}

func saidResult(r *mcp.CallToolResult) *said {
	s := &said{}
	if r == nil {
		return s
	}
	s.failed = r.IsError
	for _, c := range r.Content {
		s.add(c)
	}
	if len(r.Content) == 0 && r.StructuredContent != nil {
		if text, err := json.Marshal(r.StructuredContent); err == nil {
			s.note(plaintext.Of(text))
		}
	}
	return s
}

func saidContents(r *mcp.ReadResourceResult) *said {
	s := &said{}
	if r != nil {
		for _, c := range r.Contents {
			s.resource(c)
		}
	}
	return s
}

func saidPrompt(r *mcp.GetPromptResult) *said {
	s := &said{}
	if r == nil {
		return s
	}
	for _, m := range r.Messages {
		if m != nil {
			s.note(cleanText(string(m.Role)) + ":")
			s.add(m.Content)
		}
	}
	return s
}

// saidResources lists resources and templates.
func saidResources(ctx context.Context, session *mcp.ClientSession) (*said, error) {
	s := &said{}
	page, err := session.ListResources(ctx, nil)
	if err != nil {
		return nil, wrap(err)
	}
	for _, r := range page.Resources {
		if r != nil && len(s.parts) < mostListed {
			s.note(strings.TrimSpace(fmt.Sprintf("%s  %s  %s", cleanText(r.URI), cleanText(r.MIMEType), oneLine(r.Name+": "+r.Description))))
		}
	}
	if page.NextCursor != "" {
		s.note("[there are more]")
	}
	templates, err := session.ListResourceTemplates(ctx, nil)
	if err != nil {
		return s, nil //nolint:nilerr // few servers have any, and some do not know the method
	}
	for _, r := range templates.ResourceTemplates {
		if r != nil && len(s.parts) < mostListed {
			s.note(fmt.Sprintf("%s  (a template)  %s", cleanText(r.URITemplate), oneLine(r.Name+": "+r.Description)))
		}
	}
	return s, nil
}

func saidPrompts(ctx context.Context, session *mcp.ClientSession) (*said, error) {
	s := &said{}
	page, err := session.ListPrompts(ctx, nil)
	if err != nil {
		return nil, wrap(err)
	}
	for _, p := range page.Prompts {
		if p == nil || len(s.parts) >= mostListed {
			continue
		}
		text := oneLine(p.Name + ": " + p.Description)
		for _, a := range p.Arguments {
			if a != nil {
				text += fmt.Sprintf("\n  argument %s", oneLine(a.Name+": "+a.Description))
			}
		}
		s.note(text)
	}
	if page.NextCursor != "" {
		s.note("[there are more]")
	}
	return s, nil
}

func oneLine(text string) string {
	return events.Clip(strings.TrimSuffix(strings.Join(strings.Fields(cleanText(text)), " "), ":"), 300)
}

// result is what the model sees: all of it, or its beginning and its end, and where the whole is.
func (s *said) result(ctx context.Context, blobs storage.Blobs, secrets actors.Secrets) actors.ToolResult {
	text := strings.Join(s.parts, "\n")
	if text == "" {
		text = "[the server answered nothing]"
	}
	if len(text) <= mostText {
		return actors.ToolResult{Text: text, Failed: s.failed}
	}
	var source io.Reader = strings.NewReader(text)
	if secrets != nil {
		source = secrets.Reader(source)
	}
	masked, err := io.ReadAll(source)
	if err == nil {
		text = string(masked)
	}
	result := actors.ToolResult{Failed: s.failed}
	where := "the rest could not be kept"
	if err == nil {
		if ref, err := blobs.Put(ctx, "text/plain; charset=utf-8", strings.NewReader(text)); err == nil {
			result.Full, where = &ref, "all of it: blob "+ref.Hash
		}
	}
	const room = mostText - 500
	head, tail := events.Cut(text, room/3), text[max(0, len(text)-room*2/3):]
	result.Text = fmt.Sprintf("%s\n[… the answer has %d bytes; what is in between is not shown; %s …]\n%s", head, len(text), where, strings.ToValidUTF8(tail, ""))
	return result
}
