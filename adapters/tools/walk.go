package tools

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// walk calls visit with every file and directory below start, by its path below the workspace and below start, in the order of their
// names. It does not follow symbolic links and does not go into a repository's .git unless it starts there. It returns a note about
// directories that it could not read.
func (w *workspace) walk(ctx context.Context, start string, visit func(name, below string, entry fs.DirEntry) error) (note string, err error) {
	start = path.Clean(start)
	if !fs.ValidPath(start) {
		return "", fmt.Errorf("%s: the path leads out of the workspace", start)
	}
	if _, err := w.root.Stat(start); err != nil {
		return "", err
	}
	unread := 0
	err = fs.WalkDir(w.root.FS(), start, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			unread++
			return nil //nolint:nilerr // it ended meanwhile or is not for us: the rest still counts, and the note says so
		case name == start:
			return nil
		case entry.IsDir() && entry.Name() == ".git":
			return fs.SkipDir
		case entry.Name() == unfinishedName:
			return nil
		}
		return visit(name, strings.TrimPrefix(strings.TrimPrefix(name, start), "/"), entry)
	})
	if unread > 0 {
		note = fmt.Sprintf("[%d directories could not be read]\n", unread)
	}
	return note, err
}
