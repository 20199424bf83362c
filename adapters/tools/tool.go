package tools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"

	"example.com/life/actors"
	"example.com/life/events"
)

// outputLimit is how much a model sees of one result, in bytes. It leaves room for what is said about the rest.
const outputLimit = 30_000

// tool is a tool whose arguments are an A.
type tool[A any] struct {
	spec actors.ToolSpec
	form form
	do   func(ctx context.Context, use actors.ToolUse, args A) (actors.ToolResult, error)
}

// newTool completes spec with the description NAME.md and the schema of A.
func newTool[A any](spec actors.ToolSpec, do func(context.Context, actors.ToolUse, A) (actors.ToolResult, error)) (actors.Tool, error) {
	description, err := descriptions.ReadFile(spec.Name + ".md")
	if err != nil {
		return nil, fmt.Errorf("tool %s: %w", spec.Name, err)
	}
	form, schema, err := formOf[A]()
	if err != nil {
		return nil, fmt.Errorf("tool %s: %w", spec.Name, err)
	}
	spec.Description, spec.Schema = strings.TrimSpace(string(description)), schema
	return &tool[A]{spec: spec, form: form, do: do}, nil
}

// newFileTool makes a tool that works in the workspace and answers with text.
func newFileTool[A any](f files, spec actors.ToolSpec, do func(context.Context, *workspace, A) (string, error)) (actors.Tool, error) {
	return newTool(spec, func(ctx context.Context, use actors.ToolUse, args A) (actors.ToolResult, error) {
		w, err := f.open(use.Workspace)
		if err != nil {
			return actors.ToolResult{}, err
		}
		w.secrets, w.agent, w.editor = use.Secrets, use.Agent, use.Editor
		text, err := do(ctx, w, args)
		return actors.ToolResult{Text: text}, errors.Join(err, w.close())
	})
}

// Spec describes the tool.
func (t *tool[A]) Spec() actors.ToolSpec {
	spec := t.spec
	spec.Schema = append(json.RawMessage(nil), spec.Schema...)
	return spec
}

// Run checks the arguments and does it.
func (t *tool[A]) Run(ctx context.Context, use actors.ToolUse) (actors.ToolResult, error) {
	if err := ctx.Err(); err != nil {
		return actors.ToolResult{}, fmt.Errorf("run %s: %w", t.spec.Name, err)
	}
	var args A
	if wrong := t.form.fill(use.Arguments, &args); len(wrong) > 0 {
		return failed("invalid arguments of " + t.spec.Name + ":\n- " + strings.Join(wrong, "\n- ")), nil
	}
	result, err := t.do(ctx, use, args)
	switch {
	case err == nil:
		return result, nil
	case ctx.Err() != nil:
		return actors.ToolResult{}, fmt.Errorf("run %s: %w", t.spec.Name, ctx.Err())
	}
	return failed(sentence(err)), nil
}

// failed is a failure that the model sees.
func failed(text string) actors.ToolResult {
	return actors.ToolResult{Text: events.Cut(strings.ToValidUTF8(text, "\uFFFD"), events.InlineLimit), Failed: true}
}

// sentence says to the model what went wrong: the file by its name and the reason, without the system call.
func sentence(err error) string {
	var link *os.LinkError
	if errors.As(err, &link) {
		return fmt.Sprintf("%s: %s", link.New, link.Err)
	}
	var at *fs.PathError
	if !errors.As(err, &at) {
		return err.Error()
	}
	// The os package keeps this error to itself; a test holds us to its words.
	if at.Err.Error() == "path escapes from parent" {
		return at.Path + ": the path leads out of the workspace"
	}
	return fmt.Sprintf("%s: %s", at.Path, at.Err)
}

// wholeRunes is b without the beginning of a character at its end.
func wholeRunes(b []byte) []byte {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return b[:i]
			}
			break
		}
	}
	return b
}
