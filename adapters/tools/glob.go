package tools

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

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
	pattern := path.Clean(args.Pattern)
	if err := checkPattern("pattern", pattern); err != nil {
		return "", err
	}
	at, err := w.existing(args.Path)
	if err != nil {
		return "", err
	}
	depth := strings.Count(pattern, "/")
	anyDepth := strings.Contains(pattern, "**") || strings.Contains(pattern, "{")
	found := listing{what: "paths"}
	total := 0
	note, err := w.walk(ctx, at.name, func(name, below string, entry fs.DirEntry) error {
		if doublestar.MatchUnvalidated(pattern, below) {
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
	if total == 0 {
		return "[nothing matches]\n" + note, nil
	}
	return found.text(total) + note, nil
}

// checkPattern refuses a pattern that cannot match anything below a directory.
func checkPattern(argument, pattern string) error {
	if !doublestar.ValidatePattern(pattern) {
		return fmt.Errorf("%s: %q is not a valid pattern", argument, pattern)
	}
	if path.IsAbs(pattern) || pattern == ".." || strings.HasPrefix(pattern, "../") {
		return fmt.Errorf("%s: %q must be relative to path and stay below it", argument, pattern)
	}
	return nil
}
