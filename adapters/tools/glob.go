package tools

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"example.com/life/actors"
	"example.com/life/events"
)

type globArgs struct {
	Pattern string `json:"pattern" min:"1" max:"1000" jsonschema:"such as **/*.go or cmd/{a,b}/*.md, relative to path"`
	Path    string `json:"path,omitempty" jsonschema:"the directory to look in, relative to the workspace; the workspace if not given"`
}

// errEnough ends a walk that has found as much as is shown.
var errEnough = errors.New("enough was found")

func (f files) newGlob() (actors.Tool, error) {
	return newFileTool(f, actors.ToolSpec{Name: "glob", Risk: events.RiskLow, Repeatable: true}, glob)
}

func glob(ctx context.Context, w *workspace, args globArgs) (string, error) {
	text := path.Clean(args.Pattern)
	if below, ok := w.belowTop(text); ok && args.Path == "" {
		text = below
	}
	wanted, err := newGlobPattern("pattern", text)
	if err != nil {
		return "", err
	}
	at, err := w.existing(args.Path)
	if err != nil {
		return "", err
	}
	depth := strings.Count(text, "/")
	anyDepth := strings.Contains(text, "**") || strings.Contains(text, "{")
	found := listing{what: "paths"}
	total := 0
	protected := func(below string, entry fs.DirEntry) concern {
		switch matches := wanted.match(below); {
		case matches && !entry.IsDir() && !strings.ContainsAny(path.Base(text), `*?[{\`):
			return itsName
		case matches || entry.IsDir() && anyDepth:
			return itsContent
		}
		return unconcerned
	}
	note, err := w.walk(ctx, at.name, protected, func(name, below string, entry fs.DirEntry) error {
		if wanted.match(below) {
			line := oneLine(name)
			if entry.IsDir() {
				line += "/"
			}
			total++
			if !found.add(line) {
				total = -1
				return errEnough
			}
		}
		if entry.IsDir() && !anyDepth && strings.Count(below, "/") >= depth {
			return fs.SkipDir // nothing below can match
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return "", err
	}
	if why := notAPath(strings.ReplaceAll(args.Pattern, `\`, "")); total == 0 && why != "" {
		return "", fmt.Errorf("pattern: %q: %s", args.Pattern, why)
	}
	if total == 0 && strings.HasPrefix(text, ".git/") {
		return "[nothing matches: .git is left out, unless path leads there]\n" + note, nil
	}
	if total == 0 {
		return "[nothing matches]\n" + note, nil
	}
	return found.text(total) + wanted.note() + note, nil
}

// belowTop is an absolute pattern as one below the workspace.
func (w *workspace) belowTop(text string) (below string, ok bool) {
	for _, top := range []string{w.dir, w.real} {
		if below, ok = strings.CutPrefix(text, top+"/"); ok {
			return below, true
		}
	}
	return "", false
}
