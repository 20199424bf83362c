package tools

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"example.com/life/adapters/tools/hashline"
)

// unfinishedName is the file that a replacement is written to before it gets its name. Only who holds the workspace's lock has one,
// so whatever is there is what a crash left, and the next write removes it.
const unfinishedName = ".life-unfinished"

// write puts content in place of a file, creating it and its directories if they are not there. The file is the old one or the new
// one at any instant, whatever happens; hard links to the old one keep the old content. Only a file that cannot be replaced, because it is mounted by itself or
// its directory is not writable, is written in place, which way says. The caller holds the lock.
func (w *workspace) write(name string, old fs.FileInfo, content []byte) (way string, err error) {
	dir := path.Dir(name)
	if old == nil && dir != "." {
		if err := w.makeDir(dir); err != nil {
			return "", err
		}
	}
	err = w.writeVia(".", name, old, content)
	if dir != "." && (errors.Is(err, syscall.EXDEV) || notReplaceable(err)) { // another file system is mounted below the workspace, or the top is not ours
		err = w.writeVia(dir, name, old, content)
	}
	if old != nil && notReplaceable(err) {
		if err := w.writeInPlace(name, content); err != nil {
			return "", err
		}
		return "\n[written in place, because the file cannot be replaced: " + unwrapPath(err).Error() + "]", nil
	}
	if err != nil {
		return "", err
	}
	return otherNames(old), w.syncDir(dir)
}

// otherNames says that a file that was replaced has further names, which lead to the old content.
func otherNames(old fs.FileInfo) string {
	if old == nil {
		return ""
	}
	if stat, ok := old.Sys().(*syscall.Stat_t); ok && stat.Nlink > 1 {
		return fmt.Sprintf("\n[the file had other names (hard links): %d; they keep the old content]", stat.Nlink-1)
	}
	return ""
}

// noFile is the tag that a call expects where there should be no file.
const noFile = "none"

// expect compares a file with the version that a call is made for, by the tag of its stored bytes; an empty tag is any. there reports that the file is another
// version, and holds what is to be written: the call was made before, or somebody wrote the same. The caller holds the lock, so what holds
// here holds until it has written, among all that write through Life; another program may come between.
func (w *workspace) expect(name string, old fs.FileInfo, tag string, content []byte) (there bool, err error) {
	switch tag = strings.ToLower(strings.TrimPrefix(tag, "#")); {
	case tag == "":
		return false, nil
	case tag != noFile && !fileTag.MatchString(tag):
		return false, fmt.Errorf("file_tag: must be the eight digits after # that were shown, or %s, not %.40q", noFile, tag)
	case old == nil && tag == noFile:
		return false, nil
	case old == nil:
		return false, fmt.Errorf("stale_file: %s is not there any more, so nothing was changed; expected #%s", name, tag)
	case !old.Mode().IsRegular():
		return false, fmt.Errorf("file_tag: %s is a %s, which has no version", name, fileKind(old.Mode()))
	}
	stored, err := w.content(name)
	if err != nil {
		return false, err
	}
	switch digest := hashline.DigestOf(stored); {
	case digest.Tag() == tag:
		return false, nil
	case content != nil && bytes.Equal(stored, content):
		return true, nil
	case tag == noFile:
		return false, fmt.Errorf("stale_file: %s is there already (#%s), so nothing was changed", name, digest.Tag())
	default:
		return false, fmt.Errorf("stale_file: %s is #%s now, not #%s, so nothing was changed; read_file shows it", name, digest.Tag(), tag)
	}
}

// fileTag is a version's tag.
var fileTag = regexp.MustCompile(`^[0-9a-f]{8}$`)

// fileKind names what has no content.
func fileKind(mode fs.FileMode) string {
	if mode&fs.ModeSymlink != 0 {
		return "symbolic link"
	}
	return special(mode)
}

// notReplaceable reports errors of a file that may be written all the same: it is a mount (docker run -v FILE:FILE), or its directory is closed.
func notReplaceable(err error) bool {
	return errors.Is(err, syscall.EBUSY) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// writeInPlace overwrites a file. If we die meanwhile it is part old and part new; there is no better way for such a file.
func (w *workspace) writeInPlace(name string, content []byte) error {
	file, err := w.openIn(name, os.O_WRONLY)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil {
		err = errors.Join(regular(name, info), w.within(name, info))
	}
	if err == nil {
		_, err = file.WriteAt(content, 0)
	}
	if err == nil {
		err = file.Truncate(int64(len(content)))
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// writeVia writes content to a file in the directory by and renames it to name. The directory that name is in is opened first, and the policy asked about where
// it is: whoever puts a link in its place meanwhile moves nothing.
func (w *workspace) writeVia(by, name string, old fs.FileInfo, content []byte) (err error) {
	into, err := w.openDir(path.Dir(name), path.Base(name))
	if err != nil {
		return err
	}
	defer into.Close()
	from, err := w.openDir(by, unfinishedName)
	if err != nil {
		return err
	}
	defer from.Close()
	if err := removeFrom(from); err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if old != nil {
		mode = 0o600 // until it has the old one's
	}
	file, err := openAt(from, unfinishedName, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("%s was not changed: %w", name, unwrapPath(err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeFrom(from))
		}
	}()
	_, err = file.Write(content)
	if err == nil && old != nil {
		err = likeOld(file, old)
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("%s was not changed: %w", name, unwrapPath(err))
	}
	// If we die before the rename, the file is the old one; after it, the new one.
	if err := unix.Renameat(int(from.Fd()), unfinishedName, int(into.Fd()), path.Base(name)); err != nil {
		return &os.LinkError{Op: "rename", Old: unfinishedName, New: name, Err: err}
	}
	return nil
}

// removeFrom removes what a crash left in a directory.
func removeFrom(dir *os.File) error {
	err := unix.Unlinkat(int(dir.Fd()), unfinishedName, 0)
	switch {
	case err == nil, errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.EISDIR): // it is no file of ours; an empty directory is in the way all the same
		if err = unix.Unlinkat(int(dir.Fd()), unfinishedName, unix.AT_REMOVEDIR); err == nil {
			return nil
		}
	}
	return &fs.PathError{Op: "remove", Path: unfinishedName, Err: err}
}

// likeOld gives a file the owner and the mode of another. Only root can give a file away; for others the file becomes theirs, as
// with any editor that replaces files.
func likeOld(file *os.File, old fs.FileInfo) error {
	if stat, ok := old.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		if err := file.Chown(int(stat.Uid), int(stat.Gid)); err != nil {
			return err
		}
	}
	return file.Chmod(old.Mode())
}

// unwrapPath is the reason of an error without the name of the temporary file, which means nothing to a model.
func unwrapPath(err error) error {
	var link *os.LinkError
	if errors.As(err, &link) {
		return link.Err
	}
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// makeDir creates a directory and those above it, durably.
func (w *workspace) makeDir(dir string) error {
	if _, err := w.root.Stat(dir); err == nil {
		return nil
	}
	if err := w.root.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for dir != "." && dir != "/" {
		dir = path.Dir(dir)
		if err := w.syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// syncDir makes the names in a directory durable.
func (w *workspace) syncDir(dir string) error {
	d, err := w.root.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// writing runs change on the file that name stands for, as the only writer in the workspace.
func (w *workspace) writing(ctx context.Context, name string, change func(target string, old fs.FileInfo) (string, error)) (string, error) {
	return w.alone(ctx, func() (string, error) {
		at, err := w.resolve(name, true)
		switch {
		case err != nil:
			return "", err
		case at.info != nil:
			err = regular(at.name, at.info)
		case strings.HasSuffix(name, "/"):
			err = fmt.Errorf("%s: the path ends in a slash, so it names a directory, not a file", at.name)
		}
		if err != nil {
			return "", err
		}
		return change(at.name, at.info)
	})
}

// alone does something as the only writer in the workspace.
func (w *workspace) alone(ctx context.Context, do func() (string, error)) (string, error) {
	unlock, err := w.lock(ctx)
	if err != nil {
		return "", err
	}
	text, err := do()
	return text, errors.Join(err, unlock())
}
