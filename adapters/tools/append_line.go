package tools

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"example.com/life/actors"
	"example.com/life/events"
)

type appendLineArgs struct {
	Path string `json:"path" min:"1" jsonschema:"the file, relative to the workspace; it is created if it is not there"`
	Line string `json:"line" jsonschema:"the line, without its end"`
}

// newAppendLine makes a tool that is not repeatable, in the plainest way: twice is two lines.
func (f files) newAppendLine() (actors.Tool, error) {
	return newFileTool(f, actors.ToolSpec{Name: "append_line", Risk: events.RiskMedium}, appendLine)
}

func appendLine(ctx context.Context, w *workspace, args appendLineArgs) (string, error) {
	if strings.ContainsAny(args.Line, "\r\n") {
		return "", errors.New("line: it must be one line; write_file writes more")
	}
	return w.writing(ctx, args.Path, func(target string, old fs.FileInfo) (string, error) {
		if old != nil {
			if stat, ok := old.Sys().(*syscall.Stat_t); ok && stat.Nlink > 1 {
				return "", fmt.Errorf("%s: the file has other names (hard links), perhaps outside the workspace; appending would change those", target)
			}
		}
		file, err := w.root.OpenFile(target, os.O_RDWR|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0o644)
		if err != nil {
			return "", err
		}
		err = appendTo(file, target, args.Line)
		if err = errors.Join(err, file.Close()); err != nil {
			return "", err
		}
		if old == nil {
			if err := w.syncDir(path.Dir(target)); err != nil {
				return "", err
			}
		}
		return fmt.Sprintf("appended a line to %s", target), nil
	})
}

// appendTo adds a line at the end of a file, in one write, and makes it durable. A last line without an end gets one first.
func appendTo(file *os.File, name, line string) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if err := regular(name, info); err != nil {
		return err
	}
	if size := info.Size(); size > 0 {
		last := make([]byte, 1)
		if _, err := file.ReadAt(last, size-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			line = "\n" + line
		}
	}
	if _, err := file.WriteString(line + "\n"); err != nil {
		return err
	}
	return file.Sync()
}
