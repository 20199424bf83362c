package tools

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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
	tool, err := newFileTool(f, actors.ToolSpec{Name: "read_file", Risk: events.RiskLow, Repeatable: true}, readFile)
	return anchoring(tool, err, "read_file_anchors.md")
}

// anchoring makes a tool that shows anchors to agents that edit by them, and is described to those by a file of its own.
func anchoring(tool actors.Tool, err error, description string) (actors.Tool, error) {
	if err != nil {
		return nil, err
	}
	anchors, err := descriptions.ReadFile(description)
	return reads{tool, strings.TrimSpace(string(anchors))}, err
}

// reads is a tool that shows lines.
type reads struct {
	actors.Tool
	anchors string
}

// Spec says how files are shown, with anchors and without.
func (r reads) Spec() actors.ToolSpec {
	spec := r.Tool.Spec()
	spec.Plain = &actors.PlainSpec{Description: spec.Description, Schema: spec.Schema}
	spec.Description = r.anchors
	return spec
}

// readAnchored shows a file with anchors.
func (w *workspace) readAnchored(at place, args readFileArgs) (string, error) {
	v, err := w.version(at.name, at.info)
	if err != nil {
		return "", err
	}
	first, size := max(args.Offset, 1), v.file.Len()
	switch {
	case size == 0:
		w.show(v, 1, 0, 0, nil)
		return v.head(1, 0) + "[the file is empty]\n", nil
	case first > size:
		return "", fmt.Errorf("%s: the offset is %d, but the file has only %d lines", at.name, first, size)
	}
	text, last := w.show(v, first, min(size, first+cmp.Or(args.Limit, readLines)-1), outputLimit-300, nil)
	end := "(end)\n"
	if last < size {
		end = fmt.Sprintf("… %d more lines, next offset=%d\n", size-last, last+1)
	}
	return v.head(first, last) + text + end, nil
}

func readFile(ctx context.Context, w *workspace, args readFileArgs) (string, error) {
	at, err := w.existing(args.Path)
	if err != nil {
		return "", err
	}
	if w.editor.Anchored() && at.info.Mode().IsRegular() && at.info.Size() <= editSize {
		return w.readAnchored(at, args)
	}
	name := at.name
	file, info, err := w.openFile(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	skipped := 0
	lines := bufio.NewReaderSize(file, 64<<10)
	start, err := lines.Peek(sniffSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	set := charsetOf(start)
	if _, err := lines.Discard(len(set.mark)); err != nil {
		return "", err
	}
	if set.codec != nil {
		lines = bufio.NewReaderSize(set.codec.NewDecoder().Reader(lines), 64<<10)
	} else if bytes.IndexByte(start, 0) >= 0 {
		return "", fmt.Errorf("%s: it is a binary file of %d bytes", name, info.Size())
	}
	r := reading{name: name, lines: lines, notes: set.note()}
	if set.codec != nil {
		r.coded, r.kind = true, set.String()+", perhaps with errors in it"
	}
	if start, err = lines.Peek(sniffSize); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if bytes.IndexByte(start, '\r') >= 0 && bytes.IndexByte(start, '\n') < 0 && !onlyAtEnd(start, '\r') {
		r.lines = bufio.NewReaderSize(&fromCR{lines}, 64<<10)
		r.notes += `[its lines end in \r, which edit_file and write_file keep; here they end in \n]`
	}
	if ends := bytes.IndexByte(start, '\n') >= 0; ends && set.codec == nil && args.Offset > 1 {
		at, before, err := skipTo(ctx, file, args.Offset)
		if err != nil {
			return "", err
		}
		if at > 0 {
			if _, err := file.Seek(at, io.SeekStart); err != nil {
				return "", err
			}
			lines.Reset(file)
			skipped = before
		}
	}
	r.skipped = skipped
	r.lines = bufio.NewReaderSize(masked(r.lines, w.secrets), 64<<10)
	return r.text(ctx, max(args.Offset, 1), cmp.Or(args.Limit, readLines))
}

// skipPiece is how much of a file is looked at at once for line ends, in bytes.
const skipPiece = 1 << 20

// skipTo finds the beginning of a line some way before another one, whose number is given, and how many lines come before it. Secrets that begin between
// the two are masked as a whole. Nothing is kept of what is passed over, so a window far into a large file costs the time to read up to it.
func skipTo(ctx context.Context, file *os.File, line int) (at int64, before int, err error) {
	type mark struct {
		at     int64
		before int
	}
	var marks []mark // one for each piece, the beginning of the first line that begins in it
	piece := make([]byte, skipPiece)
	ends := 0
	for from := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		n, err := file.ReadAt(piece, from)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, 0, err
		}
		found := bytes.Count(piece[:n], []byte("\n"))
		if ends+found >= line-1 || n < len(piece) {
			break
		}
		if first := bytes.IndexByte(piece, '\n'); first >= 0 {
			marks = append(marks[max(0, len(marks)-1):], mark{from + int64(first) + 1, ends + 1})
		}
		ends, from = ends+found, from+int64(n)
	}
	if len(marks) < 2 {
		return 0, 0, nil
	}
	return marks[0].at, marks[0].before, nil
}

// onlyAtEnd reports whether a byte stands nowhere but at the end.
func onlyAtEnd(text []byte, c byte) bool { return bytes.IndexByte(text, c) == len(text)-1 }

// fromCR reads lines that end in \r.
type fromCR struct{ of io.Reader }

func (r *fromCR) Read(p []byte) (int, error) {
	n, err := r.of.Read(p)
	for i, c := range p[:n] {
		if c == '\r' {
			p[i] = '\n'
		}
	}
	return n, err
}

// reading is one look at a file.
type reading struct {
	name     string
	lines    *bufio.Reader
	notes    string // on what is shown otherwise than it is stored
	replaced []int  // lines with bytes that are not UTF-8
	kind     string // of such a line
	coded    bool   // it is stored in other bytes
	skipped  int    // lines that were not read
}

// text is the lines from first on; at the end it says what it did not show, or otherwise than it is stored.
func (r *reading) text(ctx context.Context, first, limit int) (string, error) {
	var text strings.Builder
	number := r.skipped
	for {
		if number%1024 == 0 && ctx.Err() != nil {
			return "", ctx.Err()
		}
		line, omitted, err := readLine(r.lines)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", r.name, err)
		}
		number++
		if number < first {
			continue
		}
		if number >= first+limit || text.Len()+len(line) > outputLimit-200 {
			fmt.Fprintf(&text, "\n[lines %d to %d are shown; there are more: continue with offset=%d]", first, number-1, number)
			return text.String() + r.note(), nil
		}
		if valid := strings.ToValidUTF8(line, replacement); valid != line || r.coded && strings.Contains(line, replacement) {
			r.kind = cmp.Or(r.kind, legacy([]byte(line)))
			r.replaced = append(r.replaced, number)
			line = valid
		}
		text.WriteString(line)
		if omitted > 0 {
			fmt.Fprintf(&text, "[… %d more bytes in this line]\n", omitted)
		}
	}
	switch {
	case number == 0:
		return "[the file is empty]" + r.note(), nil
	case number < first:
		return "", fmt.Errorf("%s: the offset is %d, but the file has only %d lines", r.name, first, number)
	}
	return text.String() + r.note(), nil
}

// note is what has to be said of the text.
func (r *reading) note() string {
	notes := r.notes
	if len(r.replaced) > 0 {
		notes += fmt.Sprintf("[the file is %s: U+FFFD stands for other bytes, on line %s. edit_file keeps them where old does not hold them; "+
			"a text with U+FFFD does not replace the file]", r.kind, listed(r.replaced))
	}
	if notes == "" {
		return ""
	}
	return "\n" + strings.ReplaceAll(notes, "][", "]\n[")
}

// readLine returns the next line with its end, at most readLineSize bytes of it, and how many bytes it left out.
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
		return string(kept), omitted, nil
	}
}
