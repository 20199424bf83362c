package actorstest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Workspaces keeps what it records in memory. It is for small workspaces that nobody changes meanwhile; it is safe for concurrent use.
type Workspaces struct {
	Blobs storage.Blobs // gets the contents of files, if it is given

	mu       sync.Mutex
	trees    map[string][]planted // by the hash of their manifest
	Captured int                  // how often
}

// planted is a recorded file with its content.
type planted struct {
	storage.File
	Content []byte
}

// NewWorkspaces returns a store in which nothing is recorded.
func NewWorkspaces() *Workspaces { return &Workspaces{trees: map[string][]planted{}} }

// Capture implements storage.Workspaces.
func (w *Workspaces) Capture(ctx context.Context, dir string) (events.Tree, error) {
	tree, all := events.Tree{}, []planted{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		p, err := plantedAt(dir, path, entry)
		if err != nil {
			return err
		}
		if p.Kind == storage.RegularFile && w.Blobs != nil {
			if _, err := w.Blobs.Put(ctx, "", bytes.NewReader(p.Content)); err != nil {
				return err
			}
		}
		switch p.Kind {
		case storage.RegularFile, storage.Link:
			tree.Files++
			tree.Bytes += p.Size
		case storage.Directory:
			tree.Dirs++
		case storage.LeftOut:
		}
		all = append(all, p)
		return ctx.Err()
	})
	if info, statErr := os.Stat(dir); err == nil && (statErr != nil || !info.IsDir()) {
		err = errors.Join(statErr, fs.ErrInvalid)
	}
	if err = errors.Join(err, ctx.Err()); err != nil {
		return events.Tree{}, fmt.Errorf("capture %s: %w", dir, err)
	}
	manifest, err := json.Marshal(all)
	tree.Manifest = &events.BlobRef{Hash: events.HashBytes(manifest), Size: int64(len(manifest)), Media: "application/json"}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Captured++
	w.trees[tree.Manifest.Hash] = all
	return tree, err
}

func plantedAt(dir, path string, entry fs.DirEntry) (p planted, err error) {
	info, err := entry.Info()
	if err != nil {
		return p, err
	}
	if p.Path, err = filepath.Rel(dir, path); err != nil {
		return p, err
	}
	p.Mode = uint32(info.Mode().Perm())
	switch {
	case info.IsDir():
		p.Kind = storage.Directory
	case info.Mode().IsRegular():
		p.Kind = storage.RegularFile
		p.Content, err = os.ReadFile(path)
		p.Size, p.Hash = int64(len(p.Content)), events.HashBytes(p.Content)
	case info.Mode()&fs.ModeSymlink != 0:
		p.Kind, p.Mode = storage.Link, 0
		p.Target, err = os.Readlink(path)
	default:
		p.Kind, p.Mode, p.Why = storage.LeftOut, 0, "it is no file"
	}
	return p, err
}

func (w *Workspaces) find(tree events.Tree) ([]planted, error) {
	if tree.Manifest == nil {
		return nil, errors.New("it was not recorded: " + tree.Missing)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	all, ok := w.trees[tree.Manifest.Hash]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return all, nil
}

// List implements storage.Workspaces.
func (w *Workspaces) List(_ context.Context, tree events.Tree) ([]storage.File, error) {
	all, err := w.find(tree)
	files := make([]storage.File, len(all))
	for i := range all {
		files[i] = all[i].File
	}
	return files, err
}

// Revert implements storage.Workspaces. Contents are never missing here.
func (w *Workspaces) Revert(ctx context.Context, dir string, r storage.Reversion) (done storage.Reverted, err error) {
	if done.Before, err = w.Capture(ctx, dir); err != nil {
		return done, err
	}
	was, err := w.find(r.To)
	if err != nil {
		return done, err
	}
	now, _ := w.find(done.Before) //nolint:errcheck // just recorded
	expected := now
	if r.Expected != nil && r.Expected.Manifest != nil {
		if expected, err = w.find(*r.Expected); err != nil {
			return done, err
		}
	}
	paths := map[string]bool{}
	for _, p := range slices.Concat(now, was) {
		paths[p.Path] = true
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return done, err
	}
	defer root.Close()
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		there, theirs := at(now, path), at(expected, path)
		switch {
		case there.same(at(was, path)):
			delete(paths, path)
		case r.Force || there.same(theirs):
		case at(was, path).same(theirs):
			done.Left = append(done.Left, storage.File{Path: path, Kind: storage.LeftOut, Why: "somebody else changed it"})
			delete(paths, path)
		default:
			done.Others = append(done.Others, path)
		}
	}
	if len(done.Others) > 0 {
		return done, nil
	}
	for _, path := range slices.Backward(slices.Sorted(maps.Keys(paths))) {
		if _, gone := root.Lstat(path); gone == nil {
			err = errors.Join(err, root.RemoveAll(path))
		}
		if at(was, path) == nil {
			done.Removed = append(done.Removed, path)
		}
	}
	slices.Sort(done.Removed)
	for i := range was { // with what is in a directory that was removed for being another kind
		p := &was[i]
		if _, there := root.Lstat(p.Path); there != nil {
			err = errors.Join(err, p.put(root))
		}
		if paths[p.Path] {
			done.Written = append(done.Written, p.Path)
		}
	}
	slices.Sort(done.Written)
	if err != nil {
		return done, err
	}
	done.After, err = w.Capture(ctx, dir)
	return done, err
}

func at(all []planted, path string) *planted {
	for i := range all {
		if all[i].Path == path {
			return &all[i]
		}
	}
	return nil
}

func (p *planted) same(other *planted) bool {
	if p == nil || other == nil {
		return p == other
	}
	return p.Kind == other.Kind && p.Mode == other.Mode && p.Hash == other.Hash && p.Target == other.Target
}

func (p *planted) put(root *os.Root) error {
	switch p.Kind {
	case storage.Directory:
		return errors.Join(root.Mkdir(p.Path, 0o700), root.Chmod(p.Path, fs.FileMode(p.Mode)))
	case storage.RegularFile:
		return errors.Join(root.WriteFile(p.Path, p.Content, 0o600), root.Chmod(p.Path, fs.FileMode(p.Mode)))
	case storage.Link:
		return root.Symlink(p.Target, p.Path)
	case storage.LeftOut:
	}
	return nil
}

// Replace implements storage.Workspaces.
func (w *Workspaces) Replace(ctx context.Context, tree events.Tree, dir string) (storage.Restored, error) {
	if _, err := w.find(tree); err != nil {
		return storage.Restored{}, err
	}
	if err := os.RemoveAll(dir); err != nil {
		return storage.Restored{}, err
	}
	return w.Restore(ctx, tree, dir)
}

// Restore implements storage.Workspaces.
func (w *Workspaces) Restore(_ context.Context, tree events.Tree, dir string) (storage.Restored, error) {
	r := storage.Restored{Files: tree.Files, Bytes: tree.Bytes}
	all, err := w.find(tree)
	if err != nil {
		return r, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return r, err
	}
	if there, err := os.ReadDir(dir); err != nil || len(there) > 0 {
		return r, errors.Join(err, fs.ErrExist)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return r, err
	}
	defer root.Close()
	for i := range all {
		p := &all[i]
		if p.Kind == storage.LeftOut {
			r.LeftOut = append(r.LeftOut, p.File)
		}
		if err := p.put(root); err != nil {
			return r, err
		}
	}
	for i := range all {
		if _, err := root.Stat(all[i].Path); all[i].Kind == storage.Link && leadsOut(err) {
			r.Outgoing = append(r.Outgoing, all[i].Path)
		}
	}
	return r, nil
}

// leadsOut reports whether following a link failed because it leads out of its root.
func leadsOut(err error) bool {
	var at *fs.PathError
	return errors.As(err, &at) && at.Err.Error() == "path escapes from parent"
}
