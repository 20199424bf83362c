package datadir_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"example.com/life/adapters/datadir"
)

func makeFiles(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReserved: the directory, what is right below it and files of it with other names belong to Life, whatever they are called; the rest does not.
func TestReserved(t *testing.T) {
	home := t.TempDir()
	data, workspace := filepath.Join(home, "kept/data"), filepath.Join(home, "ws")
	makeFiles(t, filepath.Join(data, "blobs/ab/one"), filepath.Join(data, "forks/f/workspace/two"), filepath.Join(workspace, "three"), filepath.Join(home, "disk/store/four"))
	link := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	link(os.Symlink(data, filepath.Join(home, "data")))                               // Life knows it by this name
	link(os.Symlink(filepath.Join(home, "disk/store"), filepath.Join(data, "store"))) // its store is on another disk
	link(os.Symlink(workspace, filepath.Join(home, "link")))
	dir := datadir.New(filepath.Join(home, "data"), "forks")
	reserved, err := dir.Guard(filepath.Join(home, "link"))
	if err != nil {
		t.Fatal(err)
	}
	is := func(path string) bool {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return reserved(info)
	}
	for path, want := range map[string]bool{
		data: true, filepath.Join(home, "data"): true, filepath.Join(data, "blobs"): true, filepath.Join(home, "disk/store"): true, filepath.Join(data, "forks"): true,
		home: false, workspace: false, filepath.Join(home, "disk"): false, filepath.Join(workspace, "three"): false,
	} {
		if is(path) != want {
			t.Errorf("%s: reserved %v, want %v", path, !want, want)
		}
	}
	// A name that a file gets later counts at once; other files with several names stay files of the workspace, as do those of forks.
	link(os.Link(filepath.Join(workspace, "three"), filepath.Join(workspace, "also")))
	link(os.Link(filepath.Join(data, "forks/f/workspace/two"), filepath.Join(workspace, "fork")))
	for name, file := range map[string]string{"blob": "kept/data/blobs/ab/one", "log": "disk/store/four"} {
		if is(filepath.Join(workspace, "also")) || is(filepath.Join(workspace, "fork")) {
			t.Error("a file that is not Life's is taken for one")
		}
		link(os.Link(filepath.Join(home, file), filepath.Join(workspace, name)))
		if !is(filepath.Join(workspace, name)) {
			t.Errorf("%s by another name is not noticed", file)
		}
	}
}

func TestWorkspacesInTheDirectory(t *testing.T) {
	data := t.TempDir()
	makeFiles(t, filepath.Join(data, "blobs/ab/one"), filepath.Join(data, "forks/f/workspace/two"))
	dir := datadir.New(data, "forks")
	for below, allowed := range map[string]bool{".": false, "blobs": false, "blobs/ab": false, "forks": false, "forks/f/workspace": true, "..": true} {
		if _, err := dir.Guard(filepath.Join(data, below)); (err == nil) != allowed {
			t.Errorf("a workspace at %s: %v", below, err)
		}
	}
	if _, err := dir.Guard(filepath.Join(data, "nothing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a workspace that is not there: %v", err)
	}
	if reserved, err := datadir.New(filepath.Join(data, "later"), "forks").Guard(data); err != nil || reserved(nil) {
		t.Errorf("without a data directory: %v", err)
	}
}
