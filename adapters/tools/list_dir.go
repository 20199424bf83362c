package tools

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"example.com/life/actors"
	"example.com/life/events"
)

type listDirArgs struct {
	Path string `json:"path" jsonschema:"the directory, relative to the workspace; . is the workspace itself"`
}

func (f files) newListDir() (actors.Tool, error) {
	return newFileTool(f, actors.ToolSpec{Name: "list_dir", Risk: events.RiskLow, Repeatable: true}, listDir)
}

func listDir(_ context.Context, w *workspace, args listDirArgs) (string, error) {
	at, err := w.existing(args.Path)
	if err != nil {
		return "", err
	}
	entries, err := w.readDir(at.name)
	if err != nil {
		return "", err
	}
	if len(entries) == 0 {
		return "[the directory is empty]", nil
	}
	found := listing{what: "entries"}
	var hidden hiding
	for _, entry := range entries {
		if hidden.add(w.policy.Check(w.root, path.Join(at.name, entry.Name()), false)) {
			continue
		}
		line := w.describe(at.name, entry)
		if by := w.ignored(path.Join(at.name, entry.Name()), entry.IsDir()); by != "" {
			line += " (left out of searches by " + oneLine(by) + ")"
		}
		if !found.add(line) {
			break
		}
	}
	return found.text(len(entries)-int(hidden)) + hidden.note(), nil
}

// describe is an entry's line: a directory ends in a slash, a file has its size, a link its target.
func (w *workspace) describe(dir string, entry fs.DirEntry) string {
	name := oneLine(entry.Name())
	at := dir + "/" + entry.Name()
	switch {
	case entry.IsDir() && w.isReserved(entry):
		return name + "/ (" + ownText + ")"
	case entry.IsDir():
		return name + "/"
	case entry.Type().IsRegular():
		info, err := w.root.Lstat(at)
		if err != nil {
			return name + " (gone)"
		}
		return fmt.Sprintf("%s (%d bytes)", name, info.Size())
	case entry.Type()&fs.ModeSymlink != 0:
		to, err := w.root.Readlink(at)
		if err != nil {
			return name + " (gone)"
		}
		return name + " -> " + oneLine(to)
	}
	return fmt.Sprintf("%s (%s)", name, special(entry.Type()))
}

// listing is lines that a model gets to see, within bounds.
type listing struct {
	what  string // what its lines are
	most  int    // lines; 0: 1000
	lines strings.Builder
	count int
}

// add appends a line; it returns false, and does not, when there is no room.
func (l *listing) add(line string) bool {
	most := l.most
	if most == 0 {
		most = 1000
	}
	if l.count == most || l.lines.Len()+len(line) > outputLimit-200 {
		return false
	}
	l.lines.WriteString(line)
	l.lines.WriteByte('\n')
	l.count++
	return true
}

// text is the lines and, if they are not all, how many there are; a total below 0 is not known.
func (l *listing) text(total int) string {
	switch {
	case total < 0:
		fmt.Fprintf(&l.lines, "[the first %d %s are shown; there are more: ask for less]\n", l.count, l.what)
	case total > l.count:
		fmt.Fprintf(&l.lines, "[%d of %d %s are shown]\n", l.count, total, l.what)
	}
	return l.lines.String()
}

// oneLine shows a name that may hold anything: one that cannot be shown as it is, in quotation marks, with its bytes.
func oneLine(name string) string {
	if utf8.ValidString(name) && strings.IndexFunc(name, invisible) < 0 {
		return name
	}
	return strconv.Quote(name)
}
