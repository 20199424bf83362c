package actorstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/life/actors"
	"example.com/life/events"
)

// ToolCase is what TestTool must know of a tool.
type ToolCase struct {
	Tool    actors.Tool
	Prepare func(t *testing.T, workspace string) // fills the workspace that Valid needs; nil: it stays empty
	Valid   string                               // arguments with which the tool succeeds in it
	Invalid map[string]string                    // by the path of the field that is wrong: arguments
	Notes   func(t *testing.T) actors.Knowledge  // the notes that it uses; nil: it uses none
	Skills  []events.Skill                       // that it is offered
	Editor  events.Editor                        // how the agent edits files
	Slow    string                               // arguments of a call that takes minutes; empty if the tool is always quick
	Large   string                               // arguments whose output is larger than events.InlineLimit; empty if there are none
}

// TestTool is the conformance suite of actors.Tool. What it expects of arguments is what Life's own tools and models agree on: an
// object with named fields, and nothing beside them. A field named path is a path in the workspace.
func TestTool(t *testing.T, c ToolCase) {
	t.Run("it describes itself", func(t *testing.T) { toolSpec(t, c.Tool) })
	t.Run("valid arguments succeed", func(t *testing.T) { toolValid(t, c) })
	t.Run("invalid arguments fail and name the field", func(t *testing.T) { toolInvalid(t, c) })
	t.Run("an ended context stops it", func(t *testing.T) { toolCancelled(t, c) })
	t.Run("nothing outside the workspace is reached", func(t *testing.T) { toolConfined(t, c) })
	t.Run("results are small", func(t *testing.T) { toolSmall(t, c) })
}

func toolSpec(t *testing.T, tool actors.Tool) {
	spec := tool.Spec()
	if spec.Name == "" || strings.Trim(spec.Name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || len(spec.Name) > 64 {
		t.Errorf("the name %q is not 1 to 64 of a-z, 0-9 and _", spec.Name)
	}
	if strings.TrimSpace(spec.Description) == "" {
		t.Error("the description is empty")
	}
	if spec.Risk < events.RiskNone || spec.Risk > events.RiskHigh || spec.Timeout < 0 {
		t.Errorf("risk %v and timeout %v", spec.Risk, spec.Timeout)
	}
	schema := toolSchema(t, spec)
	if schema.Type != "object" || string(schema.AdditionalProperties) != "false" {
		t.Errorf("the schema %s is not of an object without further properties", spec.Schema)
	}
	for name, property := range schema.Properties {
		if property.Type == "" || property.Description == "" {
			t.Errorf("the argument %s has no type or no description", name)
		}
	}
	for i := range spec.Schema { // what the caller does with it must not reach the tool
		spec.Schema[i] = 'x'
	}
	if again := tool.Spec(); !json.Valid(again.Schema) {
		t.Error("writing into a spec's schema changed the tool")
	}
}

// argumentSchema is as much of a schema as the suite looks at.
type argumentSchema struct {
	Type                 string          `json:"type"`
	AdditionalProperties json.RawMessage `json:"additionalProperties"`
	Properties           map[string]struct {
		Type        string `json:"type"`
		Description string `json:"description"`
	} `json:"properties"`
}

func toolSchema(t *testing.T, spec actors.ToolSpec) (schema argumentSchema) {
	t.Helper()
	if err := json.Unmarshal(spec.Schema, &schema); err != nil {
		t.Fatalf("the schema %s is not JSON: %v", spec.Schema, err)
	}
	return schema
}

func toolValid(t *testing.T, c ToolCase) {
	outside := newOutside(t, c)
	result, err := c.Tool.Run(t.Context(), outside.use(c.Valid))
	if err != nil || result.Failed {
		t.Errorf("%s gives %+v, %v; want success", c.Valid, result, err)
	}
	outside.check(t, c.Valid)
}

func toolInvalid(t *testing.T, c ToolCase) {
	wrong := map[string]string{"arguments": `[]`, "no_such_argument": `{"no_such_argument":1}`}
	for field, arguments := range c.Invalid {
		wrong[field] = arguments
	}
	for field, arguments := range wrong {
		outside := newOutside(t, c)
		result, err := c.Tool.Run(t.Context(), outside.use(arguments))
		if err != nil || !result.Failed || !strings.Contains(result.Text, field+":") {
			t.Errorf("%s gives %+v, %v; want a failure that says %q", arguments, result, err, field+":")
		}
		outside.check(t, arguments)
	}
}

func toolCancelled(t *testing.T, c ToolCase) {
	outside := newOutside(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if result, err := c.Tool.Run(ctx, outside.use(c.Valid)); !errors.Is(err, context.Canceled) {
		t.Errorf("run with an ended context gives %+v, %v; want context.Canceled", result, err)
	}
	if c.Slow == "" {
		return
	}
	ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begun := time.Now()
	result, err := c.Tool.Run(ctx, outside.use(c.Slow))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%s gives %+v, %v; want the deadline", c.Slow, result, err)
	}
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("%s took %v to stop", c.Slow, took)
	}
}

func toolConfined(t *testing.T, c ToolCase) {
	if _, has := toolSchema(t, c.Tool.Spec()).Properties["path"]; !has {
		return
	}
	outside := newOutside(t, c)
	for _, path := range []string{
		"../secret", outside.dir + "/secret", "link/secret", "file", "absolute", "a/../../secret", "/etc/hostname", "..", "link", "a\x00b",
		"link/../secret", "back/workspace/../secret", "self/root/etc/hostname", strings.Repeat("../", 30) + "etc/hostname",
		strings.Repeat("x/", 4000),
	} {
		var arguments map[string]any
		if err := json.Unmarshal([]byte(c.Valid), &arguments); err != nil {
			t.Fatal(err)
		}
		arguments["path"] = path
		encoded, err := json.Marshal(arguments)
		if err != nil {
			t.Fatal(err)
		}
		result, err := c.Tool.Run(t.Context(), outside.use(string(encoded)))
		if err != nil || !result.Failed || strings.Contains(result.Text, secret) {
			t.Errorf("path %.60q gives %+v, %v; want a failure", path, result, err)
		}
	}
	outside.check(t, "paths that lead out")
}

func toolSmall(t *testing.T, c ToolCase) {
	if c.Large == "" {
		return
	}
	outside := newOutside(t, c)
	result, err := c.Tool.Run(t.Context(), outside.use(c.Large))
	if err != nil {
		t.Fatalf("%s: %v", c.Large, err)
	}
	if size := len(result.Text); size > events.InlineLimit || size < 1000 {
		t.Errorf("the text has %d bytes, want most of %d", size, events.InlineLimit)
	}
	if !strings.Contains(result.Text, "[") {
		t.Error("the text does not say that it is not all")
	}
}

// secret is in a file that no tool may read.
const secret = "nobody may read this"

// outside is a directory with a workspace in it, and files beside that which must stay as they are.
type outside struct {
	editor         events.Editor
	dir, workspace string
	before         []string
	notes          actors.Knowledge
	skills         []events.Skill
}

func newOutside(t *testing.T, c ToolCase) outside {
	t.Helper()
	dir := t.TempDir()
	o := outside{dir: dir, workspace: filepath.Join(dir, "workspace"), skills: c.Skills}
	links := map[string]string{"link": "..", "file": "../secret", "absolute": dir + "/secret", "back": "../..", "self": "/proc/self"}
	err := errors.Join(os.MkdirAll(filepath.Join(o.workspace, "a"), 0o755), os.WriteFile(filepath.Join(dir, "secret"), []byte(secret+"\n"), 0o600))
	for name, to := range links {
		err = errors.Join(err, os.Symlink(to, filepath.Join(o.workspace, name)))
	}
	if err != nil {
		t.Fatal(err)
	}
	if c.Prepare != nil {
		c.Prepare(t, o.workspace)
	}
	if c.Notes != nil {
		o.notes = c.Notes(t)
	}
	o.before, o.editor = o.look(t), c.Editor
	return o
}

func (o outside) use(arguments string) actors.ToolUse {
	return actors.ToolUse{Workspace: o.workspace, Arguments: json.RawMessage(arguments), Knowledge: o.notes, Skills: o.skills, Editor: o.editor}
}

// look describes every file outside the workspace.
func (o outside) look(t *testing.T) (seen []string) {
	t.Helper()
	err := filepath.WalkDir(o.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == o.workspace {
			return fs.SkipDir
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		content := []byte(nil)
		if entry.Type().IsRegular() {
			content, err = os.ReadFile(path)
		}
		seen = append(seen, fmt.Sprintf("%s %s %s %q", path, info.Mode(), info.ModTime(), content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// check fails if anything outside the workspace changed.
func (o outside) check(t *testing.T, after string) {
	t.Helper()
	if now := o.look(t); !slices.Equal(now, o.before) {
		t.Errorf("after %s the files outside the workspace are\n%s\nand were\n%s", after, strings.Join(now, "\n"), strings.Join(o.before, "\n"))
	}
}
