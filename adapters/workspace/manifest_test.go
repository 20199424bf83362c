package workspace

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
)

const someHash = "4e525552b9689e7702ce67573109e2d8347823dcaa9b6db43c1baefb32c71b19"

// TestManifest shows what a manifest looks like. What is stored is read for ever: this text never changes.
func TestManifest(t *testing.T) {
	entries := []entry{
		{kind: 'l', name: "a\nlink", text: "to\t\\n"},
		{kind: 'f', name: "b\\n", mode: 0o644, size: 35, hash: someHash},
		{kind: 'd', name: "caf\xe9", mode: 0o755, size: 12, hash: someHash},
		{kind: 'x', name: "pipe", text: "it is a named pipe"},
	}
	const want = "life tree 1\nl a\\nlink\tto\\t\\\\n\nf 644 35 " + someHash + " b\\\\n\nd 755 12 " + someHash + " caf\xe9\nx pipe\tit is a named pipe\n"
	text := encode(entries)
	if string(text) != want {
		t.Errorf("got  %q\nwant %q", text, want)
	}
	again, err := decode(text)
	if err != nil || fmt.Sprint(again) != fmt.Sprint(entries) {
		t.Errorf("came back as %+v: %v", again, err)
	}
}

// hostile are manifests that nobody may have written.
func hostile() []string {
	file := func(name string) string { return manifestHead + "f 644 35 " + someHash + " " + name + "\n" }
	return []string{
		"", "life tree 1", "life tree 2\n", "\n", manifestHead + "\n", manifestHead + "f\n", manifestHead + "q 644 35 " + someHash + " a\n",
		file(""), file("."), file(".."), file("../a"), file("/etc/passwd"), file("a/b"), file("a\x00b"), file(strings.Repeat("n", 1025)),
		file("a\tb"), file(`a\b`), strings.TrimSuffix(file("a"), "\n"), file("a") + file("b"),
		manifestHead + "f 644 35 " + someHash + " b\nf 644 35 " + someHash + " a\n", manifestHead + "f 644 35 " + someHash + " a\nl a\tb\n",
		manifestHead + "f 0644 35 " + someHash + " a\n", manifestHead + "f 4755 35 " + someHash + " a\n", manifestHead + "f 888 35 " + someHash + " a\n",
		manifestHead + "f 644 -1 " + someHash + " a\n", manifestHead + "f 644 035 " + someHash + " a\n", manifestHead + "f 644 x " + someHash + " a\n",
		manifestHead + "f 644 35 " + strings.ToUpper(someHash) + " a\n", manifestHead + "f 644 35 ../../x a\n",
		manifestHead + "l a\n", manifestHead + "l ..\ta\n", manifestHead + "l a\tb\x00\n", manifestHead + "ll a\tb\n", manifestHead + "d\n",
	}
}

func TestHostileManifests(t *testing.T) {
	for _, text := range hostile() {
		entries, err := decode([]byte(text))
		if !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%q is read as %+v: %v", text, entries, err)
		}
		blobs := actorstest.NewBlobs()
		ref, putErr := blobs.Put(t.Context(), manifestMedia, strings.NewReader(text))
		store, newErr := New(Config{Blobs: blobs})
		if putErr != nil || newErr != nil {
			t.Fatal(putErr, newErr)
		}
		dir := filepath.Join(t.TempDir(), "inside", "copy")
		if _, err := store.Restore(t.Context(), events.Tree{Manifest: &ref, Files: 1 << 30, Dirs: 1 << 30, Bytes: 1 << 50}, dir); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%q was restored: %v", text, err)
		}
		if left := actorstest.Look(t, filepath.Dir(filepath.Dir(dir))); len(left) > 1 {
			t.Errorf("%q left %q", text, left)
		}
	}
}

func FuzzManifest(f *testing.F) {
	for _, text := range hostile() {
		f.Add([]byte(text))
	}
	f.Add(encode([]entry{{kind: 'l', name: "a\nlink", text: "to\t\\n"}, {kind: 'f', name: "b\\n", mode: 0o644, size: 35, hash: someHash}}))
	f.Fuzz(func(t *testing.T, text []byte) {
		entries, err := decode(text)
		if err != nil {
			if !errors.Is(err, storage.ErrCorrupt) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if !bytes.Equal(encode(entries), text) {
			t.Errorf("%q is written again as %q", text, encode(entries))
		}
		for _, e := range entries {
			if !filepath.IsLocal(e.name) || strings.Contains(e.name, "/") || e.mode > 0o777 {
				t.Errorf("%q is read as %+v", text, e)
			}
		}
	})
}

// stored makes a store of blobs with these texts, and returns a reference to each.
func stored(t *testing.T, texts ...string) (*actorstest.Blobs, []events.BlobRef) {
	t.Helper()
	blobs, refs := actorstest.NewBlobs(), []events.BlobRef{}
	for _, text := range texts {
		ref, err := blobs.Put(t.Context(), "", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	return blobs, refs
}

func line(kind byte, ref events.BlobRef, name string) string {
	return string(encode([]entry{{kind: kind, name: name, mode: 0o755, size: ref.Size, hash: ref.Hash}})[len(manifestHead):])
}

// TestBombs: few manifests that describe a huge directory are not restored beyond what the event says of them.
func TestBombs(t *testing.T) {
	blobs, refs := stored(t, "boom")
	store, err := New(Config{Blobs: blobs})
	if err != nil {
		t.Fatal(err)
	}
	below := manifestHead + line('f', refs[0], "a")
	for range 60 {
		ref, err := blobs.Put(t.Context(), "", strings.NewReader(below))
		if err != nil {
			t.Fatal(err)
		}
		below = manifestHead + line('d', ref, "a") + line('d', ref, "b")
	}
	ref, err := blobs.Put(t.Context(), "", strings.NewReader(below))
	if err != nil {
		t.Fatal(err)
	}
	parent := t.TempDir()
	for _, tree := range []events.Tree{{Files: 10, Dirs: 1000, Bytes: 1000}, {Files: 1000, Dirs: 1000, Bytes: 10}, {Files: 1000, Dirs: 100, Bytes: 1000}} {
		tree.Manifest = &ref
		if _, err := store.Restore(t.Context(), tree, filepath.Join(parent, "copy")); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%+v: %v", tree, err)
		}
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("%v is left: %v", left, err)
	}
}

// TestDamage: a blob that is not there or not what it was, and a tree that is not what its event says, are errors, and leave nothing.
func TestDamage(t *testing.T) {
	blobs, refs := stored(t, "text")
	gone := events.BlobRef{Hash: events.HashBytes([]byte("gone")), Size: 4}
	longer := events.BlobRef{Hash: refs[0].Hash, Size: 5}
	store, err := New(Config{Blobs: blobs})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		text string
		tree events.Tree
		want error
	}{
		{line('f', refs[0], "a"), events.Tree{Files: 1, Bytes: 4}, nil},
		{line('f', refs[0], "a"), events.Tree{Files: 2, Bytes: 4}, storage.ErrCorrupt},
		{line('f', refs[0], "a"), events.Tree{Files: 1, Bytes: 5}, storage.ErrCorrupt},
		{line('f', longer, "a"), events.Tree{Files: 1, Bytes: 5}, storage.ErrCorrupt},
		{line('f', gone, "a"), events.Tree{Files: 1, Bytes: 4}, os.ErrNotExist},
		{line('d', gone, "a"), events.Tree{Dirs: 1}, os.ErrNotExist},
		{line('d', refs[0], "a"), events.Tree{Dirs: 1}, storage.ErrCorrupt},
	} {
		ref, err := blobs.Put(t.Context(), "", strings.NewReader(manifestHead+test.text))
		if err != nil {
			t.Fatal(err)
		}
		test.tree.Manifest = &ref
		parent := t.TempDir()
		_, err = store.Restore(t.Context(), test.tree, filepath.Join(parent, "copy"))
		left, _ := os.ReadDir(parent)
		if !errors.Is(err, test.want) || (test.want == nil) != (len(left) == 1) {
			t.Errorf("%q as %+v: %v, left %v", test.text, test.tree, err, left)
		}
	}
}

// TestForget: what is remembered of workspaces is bounded, and a workspace that was forgotten is read again.
func TestForget(t *testing.T) {
	store, err := New(Config{Blobs: actorstest.NewBlobs()})
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for range mostCaches + 10 {
		dirs = append(dirs, t.TempDir())
	}
	actorstest.Write(t, dirs[0], "f", "text")
	busy, err := store.lock(t.Context(), inode{1, 1}) // somebody captures it all the time
	if err != nil {
		t.Fatal(err)
	}
	first, err := store.Capture(t.Context(), dirs[0])
	for _, dir := range dirs[1:] {
		if err == nil {
			_, err = store.Capture(t.Context(), dir)
		}
	}
	if err != nil || len(store.caches) != mostCaches {
		t.Fatalf("%d workspaces are remembered: %v", len(store.caches), err)
	}
	if store.caches[inode{1, 1}] != busy {
		t.Error("a workspace was forgotten while it was captured")
	}
	store.unlock(busy)
	if again, err := store.Capture(t.Context(), dirs[0]); err != nil || !again.Same(&first) {
		t.Errorf("%+v, %v", again, err)
	}
}

// TestSettled: times that a later change could leave as they are do not count.
func TestSettled(t *testing.T) {
	begun := time.Date(2026, 3, 14, 9, 26, 53, 589_793_000, time.UTC)
	for _, test := range []struct {
		modified, changed time.Duration // before begun
		want              bool
	}{
		{time.Hour, time.Hour, true},
		{time.Second, 60 * time.Millisecond, true},
		{time.Hour, 40 * time.Millisecond, false},
		{40 * time.Millisecond, time.Hour, false},
		{-time.Hour, time.Hour, false},
		{2*time.Second + 589_793*time.Microsecond, 2*time.Second + 589_793*time.Microsecond, false}, // whole seconds
		{4*time.Second + 589_793*time.Microsecond, 4*time.Second + 589_793*time.Microsecond, true},
	} {
		s := stamp{modified: begun.Add(-test.modified).UnixNano(), changed: begun.Add(-test.changed).UnixNano()}
		if got := s.settled(begun); got != test.want {
			t.Errorf("modified %s and changed %s before: settled %t", test.modified, test.changed, got)
		}
	}
}

// TestAnotherDirectory: a link that took a directory's place between two looks is not followed, though it stays in the workspace.
func TestAnotherDirectory(t *testing.T) {
	dir := t.TempDir()
	actorstest.Write(t, dir, "a/f", "text")
	actorstest.Write(t, dir, "b/g", "text")
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	info, err := root.Lstat("a")
	if err == nil {
		err = errors.Join(os.RemoveAll(dir+"/a"), os.Symlink("b", dir+"/a"))
	}
	store, newErr := New(Config{Blobs: actorstest.NewBlobs()})
	if err := errors.Join(err, newErr); err != nil {
		t.Fatal(err)
	}
	found := &node{entry: entry{name: "a"}, path: "a"}
	found.stamp, _ = stampOf(info)
	c := &capture{store: store, root: root, cache: &cache{}}
	if err := c.lookInto(t.Context(), root, found, 1); err != nil || !found.gone || len(found.children) > 0 {
		t.Errorf("%+v, %v", found, err)
	}
}
