package tools

import (
	"context"
	"fmt"
	"io/fs"

	"example.com/life/actors"
	"example.com/life/events"
)

type writeFileArgs struct {
	Path    string `json:"path" min:"1" jsonschema:"the file, relative to the workspace; missing directories are created"`
	Content string `json:"content" jsonschema:"the whole new content of the file"`
}

// newWriteFile makes a tool that is repeatable: the same content replaces itself.
func (f files) newWriteFile() (actors.Tool, error) {
	return newFileTool(f, actors.ToolSpec{Name: "write_file", Risk: events.RiskMedium, Repeatable: true}, writeFile)
}

func writeFile(ctx context.Context, w *workspace, args writeFileArgs) (string, error) {
	return w.writing(ctx, args.Path, func(target string, old fs.FileInfo) (string, error) {
		verb := "created"
		if old != nil {
			verb = "replaced"
		}
		if err := w.write(target, old, []byte(args.Content)); err != nil {
			return "", err
		}
		return fmt.Sprintf("%s %s: %d bytes", verb, target, len(args.Content)), nil
	})
}
