package tools

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"example.com/life/actors"
	"example.com/life/events"
)

// What read_file shows at once, beside outputLimit.
const (
	readLines    = 2000 // lines, unless asked for another number
	readLineSize = 2000 // bytes of one line
	sniffSize    = 8 << 10
)

type readFileArgs struct {
	Path   string `json:"path" min:"1" jsonschema:"the file, relative to the workspace"`
	Offset int    `json:"offset,omitempty" min:"1" jsonschema:"the first line to read; 1 is the file's first"`
	Limit  int    `json:"limit,omitempty" min:"1" jsonschema:"how many lines to read at most; 2000 if not given"`
}

func (f files) newReadFile() (actors.Tool, error) {
	return newFileTool(f, actors.ToolSpec{Name: "read_file", Risk: events.RiskLow, Repeatable: true}, readFile)
}

func readFile(ctx context.Context, w *workspace, args readFileArgs) (string, error) {
	at, err := w.existing(args.Path)
	if err != nil {
		return "", err
	}
	name := at.name
	file, info, err := w.openFile(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	lines := bufio.NewReaderSize(file, 64<<10)
	start, err := lines.Peek(sniffSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if bytes.IndexByte(start, 0) >= 0 {
		return "", fmt.Errorf("%s: it is a binary file of %d bytes", name, info.Size())
	}
	return readText(ctx, name, lines, max(args.Offset, 1), cmp.Or(args.Limit, readLines))
}

// readText reads the lines from first on, and says at the end what it did not show.
func readText(ctx context.Context, name string, lines *bufio.Reader, first, limit int) (string, error) {
	var text strings.Builder
	number := 0
	for {
		if number%1024 == 0 && ctx.Err() != nil {
			return "", ctx.Err()
		}
		line, omitted, err := readLine(lines)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		number++
		if number < first {
			continue
		}
		if number >= first+limit || text.Len()+len(line) > outputLimit-200 {
			fmt.Fprintf(&text, "\n[lines %d to %d are shown; there are more: continue with offset=%d]", first, number-1, number)
			return text.String(), nil
		}
		text.WriteString(line)
		if omitted > 0 {
			fmt.Fprintf(&text, "[… %d more bytes in this line]\n", omitted)
		}
	}
	switch {
	case number == 0:
		return "[the file is empty]", nil
	case number < first:
		return "", fmt.Errorf("%s: the offset is %d, but the file has only %d lines", name, first, number)
	}
	return text.String(), nil
}

// readLine returns the next line with its end, at most readLineSize bytes of it as valid UTF-8, and how many bytes it left out.
func readLine(lines *bufio.Reader) (line string, omitted int, err error) {
	var kept []byte
	for {
		part, err := lines.ReadSlice('\n')
		room := min(readLineSize-len(kept), len(part))
		kept = append(kept, part[:room]...)
		omitted += len(part) - room
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(kept) == 0:
			return "", 0, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return "", 0, err
		}
		if omitted > 0 {
			whole := wholeRunes(kept)
			kept, omitted = whole, omitted+len(kept)-len(whole)
		}
		return strings.ToValidUTF8(string(kept), "\uFFFD"), omitted, nil
	}
}
