package workspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Restore implements [storage.Workspaces]. It makes a directory beside dir and renames it when it is complete: if we die before, what
// is left is that directory, whose name says what it is.
func (s *Store) Restore(ctx context.Context, tree events.Tree, dir string) (storage.Restored, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = empty(dir)
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(dir), 0o777)
	}
	if err != nil {
		return storage.Restored{}, fmt.Errorf("restore workspace: %w", err)
	}
	partial, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".unfinished-*")
	if err != nil {
		return storage.Restored{}, fmt.Errorf("restore workspace: %w", err)
	}
	restored, err := s.restoreTo(ctx, tree, partial)
	if err == nil {
		err = publish(partial, dir)
	}
	if err != nil {
		return storage.Restored{}, fmt.Errorf("restore workspace to %s: %w", dir, errors.Join(err, os.RemoveAll(partial)))
	}
	return restored, nil
}

// Replace implements [storage.Workspaces]. The new directory is made beside dir, and then the two change places.
func (s *Store) Replace(ctx context.Context, tree events.Tree, dir string) (storage.Restored, error) {
	fresh, old := dir+".new", dir+".old"
	if err := errors.Join(os.RemoveAll(fresh), os.RemoveAll(old)); err != nil {
		return storage.Restored{}, fmt.Errorf("replace workspace: %w", err)
	}
	restored, err := s.Restore(ctx, tree, fresh)
	if err != nil {
		return restored, err
	}
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return restored, fmt.Errorf("replace workspace: %w", err)
	}
	if err := publish(fresh, dir); err != nil {
		return restored, fmt.Errorf("replace workspace: %w", err)
	}
	if err := os.RemoveAll(old); err != nil {
		return restored, fmt.Errorf("replace workspace: %w", err)
	}
	return restored, nil
}

// empty refuses what is not an empty directory or nothing at all.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s is not empty: name a directory that does not exist", dir)
	}
	return err
}

// publish gives a complete directory its name. What is at the name by now is replaced only if it is an empty directory.
func publish(partial, dir string) error {
	if err := os.Chmod(partial, 0o755); err != nil { //nolint:gosec // as open as a directory that a person makes
		return err
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // not os.Remove, which would take a file away
		return fmt.Errorf("make room for %s: %w", dir, err)
	}
	if err := os.Rename(partial, dir); err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// restoring fills one directory.
type restoring struct {
	store    *Store
	root     *os.Root
	restored storage.Restored
	links    []string
	dirs     []storage.File // whose permissions are set last: one may forbid to write
}

func (s *Store) restoreTo(ctx context.Context, tree events.Tree, dir string) (storage.Restored, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return storage.Restored{}, err
	}
	defer root.Close()
	r := &restoring{store: s, root: root}
	if err := s.walk(ctx, tree, func(dir string, e *entry) error { return r.make(ctx, dir, e) }); err != nil {
		return storage.Restored{}, err
	}
	for _, link := range r.links {
		if _, err := root.Stat(link); leadsOut(err) {
			r.restored.Outgoing = append(r.restored.Outgoing, link)
		}
	}
	for i := len(r.dirs) - 1; i >= 0; i-- {
		if err := root.Chmod(r.dirs[i].Path, fs.FileMode(r.dirs[i].Mode)); err != nil {
			return storage.Restored{}, err
		}
	}
	return r.restored, durable(root)
}

// make makes one entry. Everything is new: nothing that is there already is written to or followed.
func (r *restoring) make(ctx context.Context, dir string, e *entry) error {
	f := e.file(dir)
	switch e.kind {
	case 'd':
		r.dirs = append(r.dirs, f)
		return r.root.Mkdir(f.Path, 0o700)
	case 'f':
		r.restored.Files++
		r.restored.Bytes += f.Size
		return r.content(ctx, &f, e.blob())
	case 'l':
		r.restored.Files++
		r.links = append(r.links, f.Path)
		return r.root.Symlink(f.Target, f.Path)
	}
	r.restored.LeftOut = append(r.restored.LeftOut, f)
	return nil
}

// content writes a file. Its bytes are verified as they are read.
func (r *restoring) content(ctx context.Context, f *storage.File, ref events.BlobRef) (err error) {
	blob, err := r.store.blobs.Open(ctx, ref)
	if err != nil {
		return fmt.Errorf("%s: %w; life store check names every blob that is not there", f.Path, err)
	}
	defer blob.Close()
	file, err := r.root.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, blob)
	if err == nil {
		err = file.Chmod(fs.FileMode(f.Mode))
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	return nil
}

// durable makes everything below a directory durable, and the rest of its file system with it: one call for any number of files.
func durable(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.Syncfs(int(dir.Fd()))
}

// leadsOut reports whether a link was not followed because it leads out. The os package keeps this error to itself; a test holds us
// to its words.
func leadsOut(err error) bool {
	var at *fs.PathError
	return errors.As(err, &at) && at.Err.Error() == "path escapes from parent"
}
