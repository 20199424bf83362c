package tools

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"example.com/life/actors"
	"example.com/life/events"
)

// editSize is the size, in bytes, of the biggest file that an editor reads into memory.
const editSize = 50 << 20

type strReplaceArgs struct {
	Path string `json:"path" min:"1" jsonschema:"the file, relative to the workspace"`
	Old  string `json:"old" min:"1" jsonschema:"the text to replace, exactly as it is in the file, spaces included; \\n matches any line end"`
	New  string `json:"new" jsonschema:"the text to put in its place"`
	All  bool   `json:"all,omitempty" jsonschema:"replace every occurrence; otherwise old must occur exactly once"`
}

// newStrReplace makes a tool that is not repeatable: where new contains old, the second run would edit what the first one wrote, and
// the file cannot tell. What it can tell, that old is gone and new is there, is said in the error, so that a model which tries
// again knows.
func (f files) newStrReplace() (actors.Tool, error) {
	return newFileTool(f, actors.ToolSpec{Name: "str_replace", Risk: events.RiskMedium}, strReplace)
}

func strReplace(ctx context.Context, w *workspace, args strReplaceArgs) (string, error) {
	if args.Old == args.New {
		return "", fmt.Errorf("%s was not changed: old and new are the same", args.Path)
	}
	return w.writing(ctx, args.Path, func(target string, old fs.FileInfo) (string, error) {
		stored, err := w.content(target)
		if err != nil {
			return "", err
		}
		e, err := newEdit(stored, args)
		if err != nil {
			return "", fmt.Errorf("%s was not changed: %w", target, err)
		}
		changed, err := e.charset.encode(e.changed())
		if err != nil {
			return "", fmt.Errorf("%s was not changed: %w", target, err)
		}
		way, err := w.write(target, old, changed)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s: replaced %d, on line %s", target, len(e.places), listed(e.lines())) + way + e.notes(), nil
	})
}

// content reads a file that is to be changed.
func (w *workspace) content(name string) ([]byte, error) {
	file, info, err := w.openFile(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info.Size() > editSize {
		return nil, fmt.Errorf("%s: it has %d bytes, the most that can be edited is %d", name, info.Size(), editSize)
	}
	var content bytes.Buffer
	content.Grow(int(info.Size()) + bytes.MinRead) // so that it is not copied while it grows
	_, err = content.ReadFrom(io.LimitReader(file, editSize+1))
	return content.Bytes(), err
}

// edit is one change of a file's text.
type edit struct {
	args     strReplaceArgs
	charset  charset
	text     []byte
	places   []found
	composed bool // old was found in another normal form
	after    []byte
}

// newEdit finds what is to be replaced.
func newEdit(stored []byte, args strReplaceArgs) (*edit, error) {
	e := &edit{args: args, charset: charsetOf(stored[:min(len(stored), sniffSize)])}
	var whole bool
	if e.text, whole = e.charset.decode(stored); !whole {
		return nil, fmt.Errorf("it is %s with errors in it, which writing it would change", &e.charset)
	}
	if e.places = occurrences(e.text, args.Old); len(e.places) == 0 && hasNormalForms(args.Old) && utf8.Valid(e.text) {
		e.places = inNormalForm(e.text, args.Old)
		e.composed = len(e.places) > 0
	}
	switch {
	case len(e.places) == 0:
		return nil, errors.New(whyNotFound(e.text, args))
	case len(e.places) > 1 && !args.All:
		return nil, fmt.Errorf("old occurs %d times, on lines %s; add lines around it until it occurs once, or set all", len(e.places), listed(e.lines()))
	case !ascii(args.New) && !mostlyUTF8(e.text):
		return nil, fmt.Errorf("the file is %s, and new has characters that are stored otherwise there; iconv in bash can convert the file", legacy(e.text))
	}
	return e, nil
}

// changed is the text with its replacements. The rest keeps every byte.
func (e *edit) changed() []byte {
	from := 0
	for _, place := range e.places {
		replacement := e.args.New
		if e.composed {
			replacement = norm.NFC.String(replacement)
			if !norm.NFC.IsNormal(e.text[place.from:place.to]) {
				replacement = norm.NFD.String(replacement)
			}
		}
		if oneEnd(e.args.Old) != oneEnd(e.args.New) { // otherwise the edit is about line ends
			replacement = place.fit(e.text, replacement)
		}
		e.after = append(append(e.after, e.text[from:place.from]...), replacement...)
		from = place.to
	}
	e.after = append(e.after, e.text[from:]...)
	return e.after
}

// lines are those on which the replaced texts began, from 1.
func (e *edit) lines() (lines []int) {
	end := []byte("\n")
	if bytes.IndexByte(e.text, '\n') < 0 {
		end = []byte("\r")
	}
	line, from := 1, 0
	for _, place := range e.places {
		line += bytes.Count(e.text[from:place.from], end)
		lines, from = append(lines, line), place.from
	}
	return lines
}

// notes say what is not as a model may expect.
func (e *edit) notes() (text string) {
	if e.composed {
		text += "\n[old was found in another normal form of Unicode, which new got too]"
	}
	if before, after := lineEnds(e.text), lineEnds(e.after); len(after) > 1 && len(before) < 2 {
		text += fmt.Sprintf("\n[the file's line ends are mixed now: %s]", shownEnds(after))
	}
	return text
}

// whyNotFound tells a model what it most likely got wrong.
func whyNotFound(text []byte, args strReplaceArgs) string {
	kind := legacy(text)
	switch trimmed := strings.TrimSpace(args.Old); {
	case args.New != "" && bytes.Contains(text, []byte(args.New)):
		return "old is not in the file, but new is: the edit may have been made before"
	case kind != "" && strings.Contains(args.Old, replacement):
		return fmt.Sprintf("the file is %s, and old holds U+FFFD, which only stands for bytes that could not be shown; choose an old without them: the bytes "+
			"around it are kept. iconv in bash can convert the file", kind)
	case kind != "" && !ascii(args.Old):
		return fmt.Sprintf("old is not in the file, which is %s: its characters outside ASCII are stored otherwise; choose an old without them, or convert "+
			"the file with iconv in bash", kind)
	case trimmed != "" && bytes.Contains(text, []byte(trimmed)):
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
