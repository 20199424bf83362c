package tools

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"example.com/life/actors"
	"example.com/life/events"
)

// editSize is the size, in bytes, of the biggest file that edit_file reads into memory.
const editSize = 50 << 20

type editFileArgs struct {
	Path string `json:"path" min:"1" jsonschema:"the file, relative to the workspace"`
	Old  string `json:"old" min:"1" jsonschema:"the text to replace, exactly as it is in the file, spaces and line ends included"`
	New  string `json:"new" jsonschema:"the text to put in its place"`
	All  bool   `json:"all,omitempty" jsonschema:"replace every occurrence; otherwise old must occur exactly once"`
}

// newEditFile makes a tool that is not repeatable: where new contains old, the second run would edit what the first one wrote, and
// the file cannot tell. What it can tell, that old is gone and new is there, is said in the error, so that a model which tries
// again knows. Edits that name the content they were made for can be repeated; those are another tool.
func (f files) newEditFile() (actors.Tool, error) {
	return newFileTool(f, actors.ToolSpec{Name: "edit_file", Risk: events.RiskMedium}, editFile)
}

func editFile(ctx context.Context, w *workspace, args editFileArgs) (string, error) {
	if args.Old == args.New {
		return "", fmt.Errorf("%s was not changed: old and new are the same", args.Path)
	}
	return w.writing(ctx, args.Path, func(target string, old fs.FileInfo) (string, error) {
		file, info, err := w.openFile(target)
		if err != nil {
			return "", err
		}
		defer file.Close()
		if info.Size() > editSize {
			return "", fmt.Errorf("%s: it has %d bytes, the most that can be edited is %d", target, info.Size(), editSize)
		}
		content, err := io.ReadAll(io.LimitReader(file, editSize+1))
		if err != nil {
			return "", err
		}
		lines := occurrences(content, []byte(args.Old))
		if len(lines) == 0 {
			return "", fmt.Errorf("%s was not changed: %s", target, whyNotFound(content, args))
		}
		if len(lines) > 1 && !args.All {
			return "", fmt.Errorf("%s was not changed: old occurs %d times, on lines %s; add lines around it until it occurs once, or set all",
				target, len(lines), listed(lines))
		}
		if err := w.write(target, old, bytes.ReplaceAll(content, []byte(args.Old), []byte(args.New))); err != nil {
			return "", err
		}
		return fmt.Sprintf("%s: replaced %d, on line %s", target, len(lines), listed(lines)), nil
	})
}

// occurrences returns the line on which each occurrence of old begins, from 1. They do not overlap.
func occurrences(content, old []byte) (lines []int) {
	line, from := 1, 0
	for {
		at := bytes.Index(content[from:], old)
		if at < 0 {
			return lines
		}
		line += bytes.Count(content[from:from+at], []byte("\n"))
		lines = append(lines, line)
		line += bytes.Count(old, []byte("\n"))
		from += at + len(old)
	}
}

// whyNotFound tells a model what it most likely got wrong.
func whyNotFound(content []byte, args editFileArgs) string {
	crlf := bytes.Contains(content, []byte("\r\n"))
	switch trimmed := strings.TrimSpace(args.Old); {
	case args.New != "" && bytes.Contains(content, []byte(args.New)):
		return "old is not in the file, but new is: the edit may have been made before"
	case crlf && strings.Contains(args.Old, "\n") && !strings.Contains(args.Old, "\r\n"):
		return `old is not in the file; the file's lines end in \r\n, those of old in \n`
	case trimmed != "" && bytes.Contains(content, []byte(trimmed)):
		return "old is not in the file, but would be without the white space around it; read the file again and copy it exactly"
	}
	return "old is not in the file; read the file again and copy it exactly, white space included"
}

// listed writes the first few line numbers.
func listed(lines []int) string {
	const most = 10
	var text []string
	for _, line := range lines[:min(len(lines), most)] {
		text = append(text, strconv.Itoa(line))
	}
	if len(lines) > most {
		text = append(text, "…")
	}
	return strings.Join(text, ", ")
}
