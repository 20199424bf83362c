package actorstest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
		switch p.Kind {
		case storage.Directory:
			err = errors.Join(root.Mkdir(p.Path, 0o700), root.Chmod(p.Path, fs.FileMode(p.Mode)))
		case storage.RegularFile:
			err = errors.Join(root.WriteFile(p.Path, p.Content, 0o600), root.Chmod(p.Path, fs.FileMode(p.Mode)))
		case storage.Link:
			err = root.Symlink(p.Target, p.Path)
		case storage.LeftOut:
			r.LeftOut = append(r.LeftOut, p.File)
		}
		if err != nil {
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
