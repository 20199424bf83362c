package tools

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
		file, err := w.openIn(target, os.O_RDWR|os.O_APPEND|os.O_CREATE)
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

// appendTo adds a line at the end of a file, in one write, and makes it durable. A last line without an end gets one first; line ends and charset are
// those that the file has.
func appendTo(file *os.File, name, line string) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if err := regular(name, info); err != nil {
		return err
	}
	start, err := readAt(file, 0, min(info.Size(), sniffSize))
	if err != nil {
		return err
	}
	set := charsetOf(start)
	from := max(0, info.Size()-tailSize) / 4 * 4 // whole characters of UTF-32
	if set.codec == nil && !ascii(line) && info.Size() <= editSize {
		from = 0 // whether it is UTF-8, all of it says
	}
	tail, err := readAt(file, from, info.Size()-from)
	if err != nil {
		return err
	}
	if from > 0 {
		set.mark = "" // it is before that
	}
	text, _ := set.decode(tail)
	if !ascii(line) && from == 0 && !mostlyUTF8(text) {
		return fmt.Errorf("%s was not changed: the file is %s, and the line has characters that are stored otherwise there; iconv in bash can convert the file", name, legacy(text))
	}
	end := endOf(text)
	if len(text) > 0 && !bytes.HasSuffix(text, []byte(end[len(end)-1:])) {
		line = end + line
	}
	if info.Size() > 0 {
		set.mark = ""
	}
	stored, err := set.encode([]byte(line + end))
	if err != nil {
		return err
	}
	if _, err := file.Write(stored); err != nil {
		return err
	}
	return file.Sync()
}

// tailSize is how much of the end of a file tells its line ends.
const tailSize = 64 << 10

func readAt(file *os.File, from, size int64) ([]byte, error) {
	content := make([]byte, size)
	n, err := file.ReadAt(content, from)
	if errors.Is(err, io.EOF) { // somebody made it shorter meanwhile
		err = nil
	}
	return content[:n], err
}
