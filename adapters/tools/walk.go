package tools

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// walk calls visit with every file and directory below start, by its path below the workspace and below start, in the order of their
// names. It does not follow symbolic links and does not go into a repository's .git unless it starts there. It returns a note about
// directories that it could not read. What the policy hides it does not visit; protected says what the search has
// to do with it.
func (w *workspace) walk(ctx context.Context, start string, protected func(below string, entry fs.DirEntry) concern, visit func(name, below string, entry fs.DirEntry) error) (note string, err error) {
	unread, own := 0, ""
	var hidden hiding
	var left leftOut
	err = fs.WalkDir(w.root.FS(), start, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			unread++
			return nil //nolint:nilerr // it ended meanwhile or is not for us: the rest still counts, and the note says so
		case name == start:
			return nil
		case entry.IsDir() && w.isReserved(entry):
			own = fmt.Sprintf("[%s was left out: %s]\n", oneLine(name), ownText)
			return fs.SkipDir
		case w.policy.Check(w.root, name, false) != nil:
			if about := protected(belowStart(start, name), entry); about == itsName {
				return visit(name, belowStart(start, name), entry)
			} else if about == itsContent {
				hidden++
			}
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case left.add(w.ignored(name, entry.IsDir())):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir() && entry.Name() == ".git":
			return fs.SkipDir
		case entry.Name() == unfinishedName:
			return nil
		}
		return visit(name, belowStart(start, name), entry)
	})
	if unread > 0 {
		note = fmt.Sprintf("[%d directories could not be read]\n", unread)
	}
	return note + own + hidden.note() + left.note(), err
}

// belowStart is a path below the directory where a walk starts, which is clean.
func belowStart(start, name string) string {
	if start == "." {
		return name
	}
	return strings.TrimPrefix(name, start+"/")
}

// leftOut counts what rules leave out.
type leftOut struct {
	count int
	by    []string // files of rules
}

// add adds what a file of rules leaves out, and reports whether there is such a file.
func (l *leftOut) add(by string) bool {
	if by == "" {
		return false
	}
	l.count++
	if !slices.Contains(l.by, by) {
		l.by = append(l.by, by)
	}
	return true
}

func (l *leftOut) note() string {
	if l.count == 0 {
		return ""
	}
	return fmt.Sprintf("[%d files or directories were left out by the rules of %s; a path that leads into one is searched]\n", l.count, named(l.by))
}

// concern is what a search has to do with something that the policy hides.
type concern int

const (
	unconcerned concern = iota // it would not have found it
	itsContent                 // it would have
	itsName                    // it asks for it by its name, which therefore is no secret
)

// hiding counts what the policy hides.
type hiding int

// add counts what is refused, and reports whether it is.
func (h *hiding) add(refused error) bool {
	if refused != nil {
		*h++
	}
	return refused != nil
}

func (h *hiding) note() string {
	if *h == 0 {
		return ""
	}
	if *h == 1 {
		return "[1 entry hidden by the file policy]\n"
	}
	return fmt.Sprintf("[%d entries hidden by the file policy]\n", *h)
}

// ownText says what is out of reach.
const ownText = "Life's own data directory, out of reach"

// isReserved reports whether an entry of a directory belongs to Life.
func (w *workspace) isReserved(entry fs.DirEntry) bool {
	info, err := entry.Info()
	return err == nil && w.reserved(info)
}
