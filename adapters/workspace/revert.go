package workspace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Revert implements [storage.Workspaces]. It first records what is there, so that nothing of it is lost, and checks that every content is to be had. Then
// each path is changed for itself: a file is written beside the old one and renamed. If we die in between, some paths are as they are to be, and to do it again
// does the rest.
func (s *Store) Revert(ctx context.Context, dir string, r storage.Reversion) (storage.Reverted, error) {
	var done storage.Reverted
	fail := func(err error) (storage.Reverted, error) {
		return done, fmt.Errorf("restore files in %s: %w", dir, err)
	}
	before, err := s.Capture(ctx, dir)
	if err != nil {
		return done, err
	}
	done.Before = before
	if before.Manifest == nil {
		return fail(fmt.Errorf("what is there now cannot be recorded, so it would be lost: %s", before.Missing))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fail(err)
	}
	defer root.Close()
	v := &reverting{store: s, root: root, done: &done}
	if err := v.plan(ctx, &r); err != nil {
		return fail(err)
	}
	slices.Sort(done.Others)
	if len(done.Others) > 0 {
		return done, nil
	}
	if err := v.check(ctx); err != nil {
		return fail(err)
	}
	if err := errors.Join(v.run(ctx), durable(root)); err != nil {
		return fail(err)
	}
	slices.Sort(done.Written)
	slices.Sort(done.Removed)
	slices.SortFunc(done.Left, func(a, b storage.File) int { return cmp.Compare(a.Path, b.Path) })
	done.After, err = s.Capture(ctx, dir)
	return done, err
}

// reverting makes one directory what it was.
type reverting struct {
	store *Store
	root  *os.Root
	steps []step // by path, a directory before what is in it
	done  *storage.Reverted
}

// step is one path that is not as it is to be.
type step struct {
	path     string
	now, was *storage.File // nil: it is not there, or was not
}

// plan compares what is there with what is to be and with what was expected.
func (v *reverting) plan(ctx context.Context, r *storage.Reversion) error {
	now, err := v.files(ctx, &v.done.Before)
	if err != nil {
		return err
	}
	was, err := v.files(ctx, &r.To)
	if err != nil {
		return err
	}
	expected := now
	if r.Expected != nil && r.Expected.Manifest != nil {
		if expected, err = v.files(ctx, r.Expected); err != nil {
			return err
		}
	}
	for path, file := range was {
		if now[path] == nil {
			v.steps = append(v.steps, step{path, nil, file})
		}
	}
	for path, file := range now {
		if !alike(file, was[path]) {
			v.steps = append(v.steps, step{path, file, was[path]})
		}
	}
	slices.SortFunc(v.steps, func(a, b step) int { return cmp.Compare(a.path, b.path) })
	v.steps = slices.DeleteFunc(v.steps, func(s step) bool {
		switch {
		case s.now != nil && s.now.Kind == storage.LeftOut:
			if s.was != nil && s.was.Kind != storage.LeftOut {
				v.leave(s.path, "what is there now is not recorded: "+s.now.Why)
			}
			return true
		case s.was != nil && s.was.Kind == storage.LeftOut:
			v.leave(s.path, "it was not recorded: "+s.was.Why)
			return true
		}
		return false
	})
	if r.Force {
		return nil
	}
	v.steps = slices.DeleteFunc(v.steps, func(s step) bool {
		theirs := expected[s.path]
		switch {
		case alike(s.now, theirs):
			return false
		case alike(s.was, theirs):
			v.leave(s.path, "somebody else changed it since, and what is undone had not")
		default:
			v.done.Others = append(v.done.Others, s.path)
		}
		return true
	})
	return nil
}

func (v *reverting) files(ctx context.Context, tree *events.Tree) (map[string]*storage.File, error) {
	listed, err := v.store.List(ctx, *tree)
	files := make(map[string]*storage.File, len(listed))
	for i := range listed {
		files[listed[i].Path] = &listed[i]
	}
	return files, err
}

// alike reports whether two paths hold the same. Directories are compared without what is in them.
func alike(a, b *storage.File) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Kind == b.Kind && a.Mode == b.Mode && a.Hash == b.Hash && a.Target == b.Target
}

func (v *reverting) leave(path, why string) {
	v.done.Left = append(v.done.Left, storage.File{Path: path, Kind: storage.LeftOut, Why: why})
}

// check makes sure of every content before anything is changed. What was recorded with its secrets masked is not what the file held.
func (v *reverting) check(ctx context.Context) error {
	var masked []string
	for _, s := range v.steps {
		if s.was == nil || s.was.Kind != storage.RegularFile || alikeContent(s.now, s.was) {
			continue
		}
		blob, err := v.store.blobs.Open(ctx, events.BlobRef{Hash: s.was.Hash, Size: s.was.Size})
		if err != nil {
			return fmt.Errorf("%s: %w; life store check names every blob that is not there", s.path, err)
		}
		text, err := io.ReadAll(blob)
		if err = errors.Join(err, blob.Close()); err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
		if v.store.marked != nil && v.store.marked(string(text)) {
			masked = append(masked, s.path)
			v.leave(s.path, "secrets are masked in what was recorded of it, so it is not what it was")
		}
	}
	v.steps = slices.DeleteFunc(v.steps, func(s step) bool { return slices.Contains(masked, s.path) })
	return nil
}

func alikeContent(now, was *storage.File) bool {
	return now != nil && now.Kind == was.Kind && now.Hash == was.Hash
}

// run takes away what is not to be, from the bottom, and then makes what is, from the top. A path that cannot be changed is left, with the reason.
func (v *reverting) run(ctx context.Context) error {
	for _, s := range slices.Backward(v.steps) {
		if s.now == nil || s.was != nil && s.now.Kind == s.was.Kind {
			continue
		}
		switch err := v.root.Remove(s.path); {
		case err != nil && s.was == nil:
			v.leave(s.path, "it was not removed: "+reason(err))
		case s.was == nil:
			v.done.Removed = append(v.done.Removed, s.path)
		}
	}
	for _, s := range v.steps {
		if s.was == nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := v.put(ctx, &s); err != nil {
			v.leave(s.path, "it was not restored: "+reason(err))
			continue
		}
		v.done.Written = append(v.done.Written, s.path)
	}
	for _, s := range slices.Backward(v.steps) { // what is in a directory is there: it may forbid to write now
		if s.was == nil || s.was.Kind != storage.Directory {
			continue
		}
		if err := v.root.Chmod(s.path, fs.FileMode(s.was.Mode)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			v.leave(s.path, "its permissions were not restored: "+reason(err))
		}
	}
	return nil
}

// reason is an error without the path, which stands before it.
func reason(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return err.Error()
}

// put makes one path what it was.
func (v *reverting) put(ctx context.Context, s *step) error {
	f := s.was
	switch {
	case f.Kind == storage.Directory && s.now != nil && s.now.Kind == storage.Directory:
		return nil // of its permissions the rest is done last
	case f.Kind == storage.Directory:
		return v.root.Mkdir(s.path, 0o700)
	case f.Kind == storage.RegularFile && alikeContent(s.now, f):
		return v.root.Chmod(s.path, fs.FileMode(f.Mode))
	}
	beside := path.Join(path.Dir(s.path), unfinishedName)
	if err := v.root.Remove(beside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if f.Kind == storage.Link {
		if err := v.root.Symlink(f.Target, beside); err != nil {
			return err
		}
		return v.root.Rename(beside, s.path)
	}
	made := &restoring{store: v.store, root: v.root}
	unfinished := *f
	unfinished.Path = beside
	if err := made.content(ctx, &unfinished, events.BlobRef{Hash: f.Hash, Size: f.Size}); err != nil {
		return errors.Join(err, v.root.Remove(beside))
	}
	return v.root.Rename(beside, s.path)
}
