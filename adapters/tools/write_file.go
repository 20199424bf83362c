package tools

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"example.com/life/actors"
	"example.com/life/adapters/tools/hashline"
	"example.com/life/events"
)

type writeFileArgs struct {
	Path    string `json:"path" min:"1" jsonschema:"the file, relative to the workspace; missing directories are created"`
	Content string `json:"content" jsonschema:"the whole new content of the file"`
	FileTag string `json:"file_tag,omitempty" jsonschema:"write only if the file is still this version: the eight digits after # that were shown last; none: only if there is no file yet"`
}

// newWriteFile makes a tool that is repeatable: the same content replaces itself.
func (f files) newWriteFile() (actors.Tool, error) {
	return newFileTool(f, actors.ToolSpec{Name: "write_file", Risk: events.RiskMedium, Repeatable: true}, writeFile)
}

func writeFile(ctx context.Context, w *workspace, args writeFileArgs) (string, error) {
	return w.writing(ctx, args.Path, func(target string, old fs.FileInfo) (string, error) {
		verb, content, notes := "created", []byte(args.Content), ""
		if old != nil {
			verb = "replaced"
			var err error
			if content, notes, err = w.likeBefore(target, old, args.Content); err != nil {
				return "", fmt.Errorf("%s was not changed: %w", target, err)
			}
		} else if strings.Contains(args.Content, replacement) {
			notes = "\n[the content holds U+FFFD, which stands for bytes that could not be read]"
		}
		switch there, err := w.expect(target, old, args.FileTag, content); {
		case err != nil:
			return "", err
		case there: // as after a crash between the rename and the result
			return fmt.Sprintf("%s holds this already: %d bytes", target, len(content)) + w.now(content) + notes, nil
		}
		way, err := w.write(target, old, content)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s %s: %d bytes", verb, target, len(content)) + w.now(content) + way + notes, nil
	})
}

// now is the tag of what was written, for agents that are shown tags.
func (w *workspace) now(stored []byte) string {
	if !w.editor.Anchored() {
		return ""
	}
	return ", now #" + hashline.DigestOf(stored).Tag()
}

// likeBefore writes content as the file was stored: its charset, its byte order mark and its line ends stay, and notes say so. A file of which not all
// could be shown is not replaced with what was shown of it.
func (w *workspace) likeBefore(target string, old fs.FileInfo, content string) (stored []byte, notes string, err error) {
	if old.Size() > editSize {
		return []byte(content), "", nil
	}
	before, err := w.content(target)
	if errors.Is(err, fs.ErrPermission) { // it may be replaced all the same
		return []byte(content), "", nil
	}
	if err != nil {
		return nil, "", err
	}
	set := charsetOf(before[:min(len(before), sniffSize)])
	text, whole := set.decode(before)
	if set.codec == nil && bytes.IndexByte(text[:min(len(text), sniffSize)], 0) >= 0 { // it was no text
		return []byte(content), "", nil
	}
	kind := legacy(text)
	if !whole {
		kind = set.String() + " with errors in it"
	}
	switch {
	case kind != "" && strings.Contains(content, replacement):
		return nil, "", fmt.Errorf("it is %s, and content holds U+FFFD, which only stands for bytes that could not be shown: they would be lost. "+
			"edit_file changes a part and keeps every other byte; iconv in bash can convert the file", kind)
	case kind != "" && !ascii(content):
		notes += fmt.Sprintf("\n[the file was %s; it is UTF-8 now]", kind)
	case strings.Contains(content, replacement) && !bytes.Contains(text, []byte(replacement)):
		notes += "\n[the content holds U+FFFD, which stands for bytes that could not be read]"
	}
	fitted := content
	if ends := lineEnds(text); len(ends) == 1 {
		if fitted = withEnds(content, ends[0]); fitted != content {
			notes += fmt.Sprintf("\n[its lines end in %s, as before]", shownEnds(ends))
		}
	}
	if was, is := lineEnds(text), lineEnds([]byte(fitted)); len(was) > 0 && len(is) > 0 && !slices.Equal(was, is) {
		notes += fmt.Sprintf("\n[its lines end in %s now, and ended in %s before]", shownEnds(is), shownEnds(was))
	}
	if set.mark != "" || set.name != "" {
		notes += fmt.Sprintf("\n[it is %s, as before]", &set)
	}
	stored, err = set.encode([]byte(fitted))
	return stored, notes, err
}
