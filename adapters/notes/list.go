package notes

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/text/unicode/norm"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/markdown"
)

// listing is what lies below a directory.
type listing struct {
	notes []file              // in the order of their paths, with what cannot be read among them
	files map[string][]string // all others by their names without regard to case: their paths
}

type file struct {
	path    string
	problem *Problem
}

// list walks through a directory. What cannot be read is in the list with its problem.
func list(ctx context.Context, root *os.Root) (*listing, error) {
	l := &listing{files: map[string][]string{}}
	err := fs.WalkDir(root.FS(), ".", func(at string, entry fs.DirEntry, err error) error {
		_, markdown := events.CutMarkdown(path.Base(at))
		switch {
		case err != nil && at == ".":
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			l.refuse(at, "it cannot be read: "+reason(err), false)
		case at != "." && strings.HasPrefix(entry.Name(), "."), strings.HasSuffix("/"+at, "/logseq/bak"), strings.HasSuffix("/"+at, "/logseq/version-files"):
			if entry.IsDir() {
				return fs.SkipDir // of programs, such as .git and .obsidian, and copies of notes
			}
		case entry.IsDir() && strings.Count(at, "/") >= maxDeep:
			l.refuse(at, "it is within too many directories", false)
			return fs.SkipDir
		case entry.IsDir():
		case entry.Type()&fs.ModeSymlink != 0:
			l.link(root, at, markdown)
		case markdown && !entry.Type().IsRegular():
			l.refuse(at, "it is no regular file", false)
		default:
			l.add(at, markdown)
		}
		return nil
	})
	return l, err
}

func (l *listing) refuse(at, detail string, ignore bool) {
	l.notes = append(l.notes, file{at, &Problem{Path: at, Detail: detail, Ignore: ignore}})
}

func (l *listing) add(at string, markdown bool) {
	if markdown {
		l.notes = append(l.notes, file{path: at})
		return
	}
	name := folded(path.Base(at))
	l.files[name] = append(l.files[name], folded(at))
}

// link adds a symbolic link to a file of this directory as that file. No other is followed.
func (l *listing) link(root *os.Root, at string, markdown bool) {
	switch target, err := root.Stat(at); {
	case err != nil:
		l.refuse(at, "it is a symbolic link to nothing that can be read in this directory: "+reason(err), !markdown)
	case target.IsDir():
		l.refuse(at, "it is a symbolic link to a directory, which is not followed", true)
	case !target.Mode().IsRegular():
		l.refuse(at, "it is a symbolic link to what is no regular file", !markdown)
	default:
		l.add(at, markdown)
	}
}

// folded is a path as it is compared.
func folded(at string) string { return strings.ToLower(norm.NFC.String(at)) }

// markFiles marks the links of a note that lead to files which are no notes.
func (l *listing) markFiles(note *events.Note) {
	for i := range note.Links {
		note.Links[i].File = l.holds(note, note.Links[i].Target)
	}
	for _, link := range markdown.Read(note.Inline).Links {
		if link.File = l.holds(note, link.Target); link.File && len(note.Links) < sagas.MaxNoteLinks {
			note.Links = append(note.Links, link)
		}
	}
}

// holds reports whether a target is a file, by its path from the top, from the note, or by an end of that.
func (l *listing) holds(note *events.Note, target string) bool {
	target = folded(target)
	near := path.Join(path.Dir(folded(note.Source.Path)), target)
	target = strings.TrimLeft(target, "./")
	for _, at := range l.files[path.Base(target)] {
		if at == near || at == target || strings.HasSuffix(at, "/"+target) {
			return true
		}
	}
	return false
}

// reason is an error without the path, which is named already.
func reason(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return err.Error()
}
