package actorstest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"syscall"
	"testing"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// TestWorkspaces is the conformance suite of storage.Workspaces. Open returns a store in which nothing is recorded yet, closed by its own
// clean-up.
func TestWorkspaces(t *testing.T, open func(t *testing.T) storage.Workspaces) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, storage.Workspaces)
	}{
		{"what is captured comes back", workspacesComeBack},
		{"equal files are an equal tree", workspacesEqual},
		{"an empty workspace is one too", workspacesEmpty},
		{"links are never followed", workspacesLinks},
		{"what is no file is left out, and listed", workspacesSpecial},
		{"a restored directory is new", workspacesNew},
		{"a directory is replaced whole", workspacesReplaced},
		{"a directory in use is made what it was, path by path", workspacesReverted},
		{"what somebody else changed is not undone", workspacesChangedByOthers},
		{"what was not recorded is not restored", workspacesUnrecorded},
		{"what cannot be read is an error", workspacesMissing},
		{"an ended context ends a capture", workspacesCancelled},
		{"many capture at once", workspacesConcurrent},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// plant makes a workspace with a bit of everything.
func plant(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	Write(t, dir, "invoice.md", "Total: 1,204.00\n")
	Write(t, dir, "notes/2026/june.md", "rain\n")
	Write(t, dir, "notes/empty", "")
	Write(t, dir, "odd/a b\tc\\n\nd", "a name with everything in it")
	Write(t, dir, "odd/caf\xe9", "a name that is not UTF-8")
	Write(t, dir, ".git/HEAD", "ref: refs/heads/main\n")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "nothing/in/here"), 0o750),
		os.Chmod(filepath.Join(dir, "invoice.md"), 0o640),
		os.WriteFile(filepath.Join(dir, "run.sh"), []byte("#!/bin/sh\n"), 0o755),
		os.Chmod(filepath.Join(dir, "run.sh"), 0o755),
		os.Symlink("notes/2026", filepath.Join(dir, "latest")),
		os.Symlink("nowhere", filepath.Join(dir, "broken")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Write makes a file below a directory, and the directories on the way to it.
func Write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Look reads a whole directory: what each path is, with permissions, and its content or target.
func Look(t *testing.T, dir string) map[string]string {
	t.Helper()
	seen := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		text := []byte{}
		switch {
		case info.Mode().IsRegular():
			text, err = os.ReadFile(path)
		case info.Mode()&fs.ModeSymlink != 0:
			var target string
			target, err = os.Readlink(path)
			text = []byte(target)
		}
		below, relErr := filepath.Rel(dir, path)
		seen[below] = info.Mode().String() + " " + string(text)
		return errors.Join(err, relErr)
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

func capture(t *testing.T, w storage.Workspaces, dir string) events.Tree {
	t.Helper()
	tree, err := w.Capture(t.Context(), dir)
	if err != nil {
		t.Fatalf("capture: %v", err)
	}
	return tree
}

func restore(t *testing.T, w storage.Workspaces, tree events.Tree) (string, storage.Restored) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "parents", "that are", "not there")
	restored, err := w.Restore(t.Context(), tree, dir)
	if err != nil {
		t.Fatalf("restore: %v", err)
	}
	return dir, restored
}

// workspacesReplaced: whatever was there, the tree is there now; what cannot be restored leaves it as it was.
func workspacesReplaced(t *testing.T, w storage.Workspaces) {
	dir := plant(t)
	tree, want := capture(t, w, dir), Look(t, dir)
	target := filepath.Join(t.TempDir(), "forks", "workspace")
	for _, before := range []string{"nothing", "a file", "the tree"} {
		if before == "a file" {
			Write(t, target, "notes/2026/june.md", "sun\n")
			Write(t, target, "more", "of it\n")
		}
		if _, err := w.Replace(t.Context(), tree, target); err != nil {
			t.Fatalf("replace %s: %v", before, err)
		}
		if got := Look(t, target); !reflect.DeepEqual(got, want) {
			t.Errorf("in place of %s there is %v, want %v", before, got, want)
		}
		if _, err := w.Replace(t.Context(), events.Tree{Missing: "it was too large"}, target); err == nil || !reflect.DeepEqual(Look(t, target), want) {
			t.Errorf("replaced by what was not recorded: %v", err)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(target)); err != nil || len(entries) != 1 {
		t.Errorf("beside the directory there is %v, %v", entries, err)
	}
}

func workspacesComeBack(t *testing.T, w storage.Workspaces) {
	dir := plant(t)
	first := capture(t, w, dir)
	want := Look(t, dir)
	if first.Missing != "" || first.Manifest == nil || first.Manifest.Validate() != nil || first.Files != 9 || first.Dirs != 7 {
		t.Errorf("the tree says %+v", first)
	}
	Write(t, dir, "invoice.md", "Total: 1,240.00\n")
	if err := os.RemoveAll(filepath.Join(dir, "notes")); err != nil {
		t.Fatal(err)
	}
	second := capture(t, w, dir)
	for _, each := range []struct {
		tree events.Tree
		want map[string]string
	}{{first, want}, {second, Look(t, dir)}} {
		copied, restored := restore(t, w, each.tree)
		if got := Look(t, copied); !reflect.DeepEqual(got, each.want) {
			t.Errorf("restored %q\nwant     %q", got, each.want)
		}
		if restored.Files != each.tree.Files || restored.Bytes != each.tree.Bytes || len(restored.LeftOut) > 0 || len(restored.Outgoing) > 0 {
			t.Errorf("the report says %+v of %+v", restored, each.tree)
		}
		files, err := w.List(t.Context(), each.tree)
		if err != nil || len(files) != len(each.want) {
			t.Fatalf("%d files are listed, want %d: %v", len(files), len(each.want), err)
		}
		for i, file := range files {
			content, isFile := each.want[file.Path], file.Kind == storage.RegularFile
			if content == "" || isFile && (file.Hash != events.HashBytes([]byte(content[11:])) || file.Size != int64(len(content)-11)) {
				t.Errorf("%+v is listed, which is %q", file, content)
			}
			if i > 0 && file.Path == files[i-1].Path {
				t.Errorf("%q is listed twice", file.Path)
			}
		}
	}
}

func workspacesEqual(t *testing.T, w storage.Workspaces) {
	one, two := plant(t), plant(t)
	first := capture(t, w, one)
	if other := capture(t, w, two); !first.Same(&other) {
		t.Errorf("two equal workspaces are recorded as %+v and %+v", first, other)
	}
	for _, change := range []func() error{
		func() error {
			return os.WriteFile(filepath.Join(one, "invoice.md"), []byte("Total: 1,304.00\n"), 0o600)
		}, // as long as it was
		func() error { return os.Chmod(filepath.Join(one, "run.sh"), 0o700) },
		func() error { return os.Remove(filepath.Join(one, "broken")) },
		func() error { return os.Rename(filepath.Join(one, "notes"), filepath.Join(one, "nota")) },
		func() error { return os.Mkdir(filepath.Join(one, "more"), 0o755) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		next := capture(t, w, one)
		if next.Same(&first) {
			t.Errorf("a change was not seen: %+v", next)
		}
		first = next
	}
}

func workspacesEmpty(t *testing.T, w storage.Workspaces) {
	tree := capture(t, w, t.TempDir())
	copied, restored := restore(t, w, tree)
	if got := Look(t, copied); len(got) > 0 || restored.Files != 0 || tree.Files != 0 {
		t.Errorf("restored %q from %+v", got, tree)
	}
}

func workspacesLinks(t *testing.T, w storage.Workspaces) {
	outside, dir := t.TempDir(), t.TempDir()
	Write(t, outside, "secret", "nobody's business")
	for name, target := range map[string]string{"absolute": outside, "relative": "../" + filepath.Base(outside) + "/secret", "self": "self", "here": "."} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	tree := capture(t, w, dir)
	if tree.Files != 4 || tree.Bytes != 0 {
		t.Errorf("the tree says %+v, want four links", tree)
	}
	copied, restored := restore(t, w, tree)
	if got, want := Look(t, copied), Look(t, dir); !reflect.DeepEqual(got, want) {
		t.Errorf("restored %q, want %q", got, want)
	}
	if want := []string{"absolute", "relative"}; !reflect.DeepEqual(restored.Outgoing, want) {
		t.Errorf("the links %q are said to lead out, want %q", restored.Outgoing, want)
	}
}

func workspacesSpecial(t *testing.T, w storage.Workspaces) {
	dir := t.TempDir()
	Write(t, dir, "file", "text")
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	tree := capture(t, w, dir)
	copied, restored := restore(t, w, tree)
	if got := Look(t, copied); len(got) != 1 || tree.Missing != "" {
		t.Errorf("restored %q from %+v", got, tree)
	}
	files, err := w.List(t.Context(), tree)
	if err != nil || len(files) != 2 || files[1].Kind != storage.LeftOut || files[1].Why == "" || !reflect.DeepEqual(restored.LeftOut, files[1:]) {
		t.Errorf("listed %+v and restored %+v: %v", files, restored, err)
	}
}

func workspacesNew(t *testing.T, w storage.Workspaces) {
	tree := capture(t, w, plant(t))
	dir := t.TempDir()
	Write(t, dir, "mine", "keep")
	before := Look(t, dir)
	if _, err := w.Restore(t.Context(), tree, dir); err == nil {
		t.Error("restored over what was there")
	}
	if _, err := w.Restore(t.Context(), tree, filepath.Join(dir, "mine")); err == nil {
		t.Error("restored in the place of a file")
	}
	if got := Look(t, dir); !reflect.DeepEqual(got, before) {
		t.Errorf("there is %q now, and was %q", got, before)
	}
	empty := t.TempDir()
	if _, err := w.Restore(t.Context(), tree, empty); err != nil || len(Look(t, empty)) == 0 {
		t.Errorf("restore into an empty directory: %v", err)
	}
}

func workspacesUnrecorded(t *testing.T, w storage.Workspaces) {
	dir := filepath.Join(t.TempDir(), "copy")
	unknown := &events.BlobRef{Hash: events.HashBytes([]byte("never stored")), Size: 12}
	for _, tree := range []events.Tree{{}, {Missing: "it was too large"}, {Manifest: unknown, Files: 1}} {
		if _, err := w.Restore(t.Context(), tree, dir); err == nil {
			t.Errorf("restored %+v", tree)
		}
		if files, err := w.List(t.Context(), tree); err == nil {
			t.Errorf("%+v is listed as %+v", tree, files)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) > 0 {
		t.Errorf("a restore that failed left %v: %v", left, err)
	}
}

func workspacesMissing(t *testing.T, w storage.Workspaces) {
	dir := t.TempDir()
	Write(t, dir, "file", "text")
	for _, name := range []string{"nothing", "file"} {
		if tree, err := w.Capture(t.Context(), filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is recorded as %+v", name, tree)
		}
	}
}

func workspacesCancelled(t *testing.T, w storage.Workspaces) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if tree, err := w.Capture(ctx, plant(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("recorded %+v: %v", tree, err)
	}
}

func workspacesConcurrent(t *testing.T, w storage.Workspaces) {
	shared, own := plant(t), make([]string, 4)
	for i := range own {
		own[i] = plant(t)
	}
	want := capture(t, w, shared)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			dir := shared
			if i%2 == 0 {
				dir = own[i/2]
			}
			for range 5 {
				tree, err := w.Capture(t.Context(), dir)
				if err != nil || !tree.Same(&want) {
					t.Errorf("captured %+v: %v", tree, err)
				}
			}
		})
	}
	group.Wait()
}

// workspacesReverted goes there and back between two states that differ in every way, also from half of the way.
func workspacesReverted(t *testing.T, w storage.Workspaces) {
	dir := plant(t)
	first, was := capture(t, w, dir), Look(t, dir)
	rearrange(t, dir)
	second, is := capture(t, w, dir), Look(t, dir)
	done, err := w.Revert(t.Context(), dir, storage.Reversion{To: first, Expected: &second})
	if err != nil || len(done.Left)+len(done.Others) > 0 {
		t.Fatalf("reverted: %+v, %v", done, err)
	}
	if got := Look(t, dir); !reflect.DeepEqual(got, was) {
		t.Errorf("there is\n%q\nwant\n%q", got, was)
	}
	if !done.Before.Same(&second) || !done.After.Same(&first) {
		t.Error("the records of before and after are others")
	}
	if want := []string{"fresh", "fresh/deep", "fresh/deep/note", "run.sh/now a directory"}; !reflect.DeepEqual(done.Removed, want) {
		t.Errorf("removed %q, want %q", done.Removed, want)
	}
	if want := []string{"invoice.md", "latest", "notes", "notes/2026", "notes/2026/june.md", "notes/empty", "run.sh"}; !reflect.DeepEqual(done.Written, want) {
		t.Errorf("written %q, want %q", done.Written, want)
	}
	if again, err := w.Revert(t.Context(), dir, storage.Reversion{To: first, Expected: &second}); err != nil || len(again.Written)+len(again.Removed)+len(again.Others) > 0 {
		t.Errorf("reverted once more: %+v, %v", again, err)
	}
	if _, err := w.Revert(t.Context(), dir, storage.Reversion{To: second}); err != nil || !reflect.DeepEqual(Look(t, dir), is) {
		t.Errorf("undone again: %v: %q", err, Look(t, dir))
	}
	Write(t, dir, "invoice.md", "Total: 1,204.00\n") // half of the way, as after a crash
	if err := os.Chmod(filepath.Join(dir, "invoice.md"), 0o640); err != nil {
		t.Fatal(err)
	}
	if done, err := w.Revert(t.Context(), dir, storage.Reversion{To: first, Expected: &second}); err != nil || len(done.Others) > 0 || !reflect.DeepEqual(Look(t, dir), was) {
		t.Errorf("the rest of the way: %+v, %v: %q", done, err, Look(t, dir))
	}
}

// rearrange changes a planted workspace: contents, modes, links, what is gone, what is new, and what is of another kind.
func rearrange(t *testing.T, dir string) {
	t.Helper()
	Write(t, dir, "invoice.md", "Total: 1,240.00\n")
	Write(t, dir, "fresh/deep/note", "sun\n")
	for _, err := range []error{
		os.RemoveAll(filepath.Join(dir, "notes")),
		os.Remove(filepath.Join(dir, "latest")),
		os.Symlink("odd", filepath.Join(dir, "latest")),
		os.Remove(filepath.Join(dir, "run.sh")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	Write(t, dir, "run.sh/now a directory", "")
}

func workspacesChangedByOthers(t *testing.T, w storage.Workspaces) {
	dir := plant(t)
	first, was := capture(t, w, dir), Look(t, dir)
	Write(t, dir, "invoice.md", "Total: 1,240.00\n")
	second := capture(t, w, dir)
	Write(t, dir, "invoice.md", "Total: 0\n")
	Write(t, dir, "new", "of somebody else\n")
	is := Look(t, dir)
	order := storage.Reversion{To: first, Expected: &second}
	done, err := w.Revert(t.Context(), dir, order)
	if want := []string{"invoice.md"}; err != nil || !reflect.DeepEqual(done.Others, want) || !reflect.DeepEqual(Look(t, dir), is) {
		t.Fatalf("%+v, %v, want others %q and nothing done", done, err, want)
	}
	Write(t, dir, "invoice.md", "Total: 1,240.00\n") // only what is new is another's now: it stays
	if done, err = w.Revert(t.Context(), dir, order); err != nil || len(done.Left) != 1 || done.Left[0].Path != "new" || len(done.Written) != 1 {
		t.Fatalf("with what is another's: %+v, %v", done, err)
	}
	Write(t, dir, "invoice.md", "Total: 0\n")
	is = Look(t, dir)
	order.Force = true
	if done, err = w.Revert(t.Context(), dir, order); err != nil || !reflect.DeepEqual(Look(t, dir), was) {
		t.Fatalf("forced: %+v, %v", done, err)
	}
	copied, _ := restore(t, w, done.Before)
	if got := Look(t, copied); !reflect.DeepEqual(got, is) {
		t.Errorf("what was there is recorded as %q, want %q", got, is)
	}
	if _, err := w.Revert(t.Context(), dir, storage.Reversion{To: events.Tree{Missing: "it was too large"}}); err == nil || !reflect.DeepEqual(Look(t, dir), was) {
		t.Errorf("reverted to what was not recorded: %v", err)
	}
}
