package workspace_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/adapters/workspace"
	"example.com/life/events"
)

// spied is a blob store that counts, and lets a test do something before content is read.
type spied struct {
	*actorstest.Blobs
	puts  atomic.Int64
	bytes atomic.Int64
	hook  func()
}

func (s *spied) Put(ctx context.Context, media string, content io.Reader) (events.BlobRef, error) {
	s.puts.Add(1)
	if s.hook != nil {
		s.hook()
	}
	ref, err := s.Blobs.Put(ctx, media, content)
	s.bytes.Add(ref.Size)
	return ref, err
}

func capture(t *testing.T, store *workspace.Store, dir string) events.Tree {
	t.Helper()
	tree, err := store.Capture(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// old sets the times of everything in a workspace an hour back, except the one that only the kernel sets.
func old(t *testing.T, dir string) {
	t.Helper()
	then := time.Now().Add(-time.Hour)
	for name := range actorstest.Look(t, dir) {
		if err := os.Chtimes(filepath.Join(dir, name), then, then); err != nil {
			t.Fatal(err)
		}
	}
}

// settle waits until changes can no longer hide behind the files' times.
func settle() { <-time.After(80 * time.Millisecond) }

// TestUnchangedIsNotRead: a second capture reads and stores nothing; after a change it reads that file, and stores it and the directories
// on the way to it.
func TestUnchangedIsNotRead(t *testing.T) {
	dir, blobs := t.TempDir(), &spied{Blobs: actorstest.NewBlobs()}
	for i := range 200 {
		actorstest.Write(t, dir, fmt.Sprintf("d%d/f%d", i%10, i), fmt.Sprint("content ", i))
	}
	store := open(t, workspace.Config{Blobs: blobs})
	settle()
	first := capture(t, store, dir)
	if n := blobs.puts.Load(); n != 200+10+1 {
		t.Errorf("%d blobs were stored for 200 files in 10 directories", n)
	}
	blobs.puts.Store(0)
	if again := capture(t, store, dir); !again.Same(&first) || blobs.puts.Load() != 0 {
		t.Errorf("a second capture stored %d blobs", blobs.puts.Load())
	}
	actorstest.Write(t, dir, "d3/f13", "changed")
	if next := capture(t, store, dir); next.Same(&first) || blobs.puts.Load() != 3 {
		t.Errorf("a changed file in a directory made %d blobs, want 3", blobs.puts.Load())
	}
}

// TestChangeWithinATick changes a file to another of the same size at once after it was recorded, again and again, with its time of modification
// set back: each change is seen.
func TestChangeWithinATick(t *testing.T) {
	dir := t.TempDir()
	store := open(t, workspace.Config{})
	actorstest.Write(t, dir, "f", "0000")
	old(t, dir)
	last := capture(t, store, dir)
	for i := range 200 {
		actorstest.Write(t, dir, "f", fmt.Sprintf("%04d", i+1))
		old(t, dir)
		next := capture(t, store, dir)
		if next.Same(&last) {
			t.Fatalf("change %d was not seen", i+1)
		}
		last = next
	}
}

// TestRecentIsReadAgain: what was written a moment before it was recorded is read once more, and then no more.
func TestRecentIsReadAgain(t *testing.T) {
	dir, blobs := t.TempDir(), &spied{Blobs: actorstest.NewBlobs()}
	store := open(t, workspace.Config{Blobs: blobs})
	actorstest.Write(t, dir, "f", "text")
	capture(t, store, dir)
	settle()
	for _, want := range []int64{1, 0} {
		blobs.puts.Store(0)
		if capture(t, store, dir); blobs.puts.Load() != want {
			t.Errorf("%d blobs were stored, want %d", blobs.puts.Load(), want)
		}
	}
}

func TestLimits(t *testing.T) {
	dir := t.TempDir()
	actorstest.Write(t, dir, "a/small", strings.Repeat("s", 100))
	actorstest.Write(t, dir, "b/large", strings.Repeat("l", 1025))
	actorstest.Write(t, dir, "c/other", strings.Repeat("o", 200))
	for _, test := range []struct {
		config  workspace.Config
		files   int // 0: nothing is recorded
		missing string
	}{
		{workspace.Config{}, 3, ""},
		{workspace.Config{FileBytes: 1025, Files: 6, Bytes: 1325}, 3, ""},
		{workspace.Config{FileBytes: 1024}, 2, "b/large: it is larger than 1 KiB"},
		{workspace.Config{FileBytes: 99}, 0, "a/small: it is larger than 99 bytes"},
		{workspace.Config{Files: 5}, 0, "the workspace is not recorded: it has more than 5 files"},
		{workspace.Config{Bytes: 1324}, 0, "the workspace is not recorded: its files are larger than 1324 bytes together"},
	} {
		tree := capture(t, open(t, test.config), dir)
		if tree.Files != test.files || !strings.HasPrefix(tree.Missing, test.missing) || (test.missing == "") != (tree.Missing == "") {
			t.Errorf("with %+v: %+v", test.config, tree)
		}
		if beyond := strings.HasPrefix(test.missing, "the workspace"); beyond != (tree.Manifest == nil) {
			t.Errorf("with %+v the manifest is %+v", test.config, tree.Manifest)
		}
	}
	deep := t.TempDir()
	actorstest.Write(t, deep, strings.Repeat("d/", 101)+"f", "deep down")
	if tree := capture(t, open(t, workspace.Config{}), deep); tree.Manifest != nil || !strings.Contains(tree.Missing, "more than 100 deep") {
		t.Errorf("a deep workspace: %+v", tree)
	}
}

// TestOwnDirectory: what Life keeps for itself is never recorded, wherever it lies.
func TestOwnDirectory(t *testing.T) {
	dir := t.TempDir()
	actorstest.Write(t, dir, "file", "text")
	actorstest.Write(t, dir, ".life/store/000001.log", "history")
	actorstest.Write(t, dir, ".life-unfinished", "half a file")
	store := open(t, workspace.Config{Own: ownDir(filepath.Join(dir, ".life"))})
	tree := capture(t, store, dir)
	files, err := store.List(t.Context(), tree)
	if err != nil || tree.Files != 1 || tree.Missing != "" || len(files) != 2 || files[0].Kind != storage.LeftOut || files[0].Why != "it is Life's own data directory" {
		t.Errorf("%+v holds %+v: %v", tree, files, err)
	}
	if tree := capture(t, store, filepath.Join(dir, ".life")); tree.Manifest != nil || tree.Missing == "" {
		t.Errorf("the data directory itself is recorded: %+v", tree)
	}
}

// ownDir is a data directory of one name, which workspaces may hold.
type ownDir string

func (d ownDir) Guard(workspace string) (func(fs.FileInfo) bool, error) {
	if workspace == string(d) {
		return nil, errors.New("it is Life's")
	}
	own, err := os.Stat(string(d))
	return func(info fs.FileInfo) bool { return os.SameFile(own, info) }, err
}

// TestIgnored: what rules leave out is listed with the file that says so, and nothing of it is read or counted.
func TestIgnored(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "big/1", "big/2", "sub/big/3", "sub/.rules"} {
		actorstest.Write(t, dir, name, "text")
	}
	store := open(t, workspace.Config{Files: 5, Ignore: bigIgnored{}})
	tree := capture(t, store, dir)
	files, err := store.List(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, f.Path+" "+f.Why)
	}
	if want := []string{"a ", "big it is left out by sub/.rules: text", "sub ", "sub/.rules ", "sub/big it is left out by sub/.rules: text"}; !slices.Equal(got, want) || tree.Missing != "" {
		t.Errorf("%+v holds\n%q, want\n%q", tree, got, want)
	}
}

// bigIgnored leaves out directories called big.
type bigIgnored struct{}

func (bigIgnored) Begin(read func(string) []byte) func(string, bool) string {
	return func(path string, dir bool) string {
		if dir && filepath.Base(path) == "big" {
			return "sub/.rules: " + string(read("sub/.rules")) + string(read("nothing"))
		}
		return ""
	}
}

// TestChangesWhileItIsRead: a file that grows, shrinks, goes away or becomes something else while the workspace is captured.
func TestChangesWhileItIsRead(t *testing.T) {
	outside := t.TempDir()
	actorstest.Write(t, outside, "secret", "nobody's business")
	for name, test := range map[string]struct {
		change  func(path string, n int) error
		missing string
		files   int
	}{
		"goes on changing": {func(path string, n int) error { return os.WriteFile(path, []byte(strings.Repeat("x", n)), 0o600) }, "changed while it was read", 2},
		"changes once": {func(path string, n int) error {
			if n > 1 {
				return nil
			}
			return os.WriteFile(path, []byte("other"), 0o600)
		}, "", 2},
		"grows beyond the limit": {func(path string, _ int) error { return os.WriteFile(path, make([]byte, 2000), 0o600) }, "larger than", 1},
		"is removed":             {func(path string, _ int) error { return errors.Join(os.RemoveAll(path), os.RemoveAll(path)) }, "", 2},
		"is a link": {func(path string, _ int) error {
			return errors.Join(os.RemoveAll(path), os.Symlink(outside+"/secret", path))
		}, "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			dir, n := t.TempDir(), 0
			actorstest.Write(t, dir, "a", "text")
			actorstest.Write(t, dir, "b", "text")
			blobs := &spied{Blobs: actorstest.NewBlobs()}
			var mu sync.Mutex
			var changed error
			blobs.hook = func() {
				mu.Lock()
				defer mu.Unlock()
				n++
				changed = errors.Join(changed, test.change(filepath.Join(dir, "b"), n))
			}
			store := open(t, workspace.Config{Blobs: blobs, FileBytes: 1000})
			tree := capture(t, store, dir)
			if changed != nil {
				t.Fatal(changed)
			}
			if (test.missing == "") != (tree.Missing == "") || !strings.Contains(tree.Missing, test.missing) || tree.Files > test.files {
				t.Errorf("%+v", tree)
			}
			copied := filepath.Join(t.TempDir(), "copy")
			if _, err := store.Restore(t.Context(), tree, copied); err != nil {
				t.Fatal(err)
			}
			for path, content := range actorstest.Look(t, copied) {
				if strings.Contains(content, "business") {
					t.Errorf("%s holds what is outside", path)
				}
			}
			blobs.hook = nil
			next := capture(t, store, dir)
			if next.Missing != "" && test.files == 2 {
				t.Errorf("when nobody changes it any more: %+v", next)
			}
			again := filepath.Join(t.TempDir(), "copy")
			if _, err := store.Restore(t.Context(), next, again); err != nil {
				t.Fatal(err)
			}
			if got, want := actorstest.Look(t, again), actorstest.Look(t, dir); test.files == 2 && !reflect.DeepEqual(got, want) {
				t.Errorf("recorded %q, there is %q", got, want)
			}
		})
	}
}

// TestCaptureWhileOthersWrite changes a workspace in every way while it is captured: each tree can be restored, and the last one is the
// workspace.
func TestCaptureWhileOthersWrite(t *testing.T) {
	dir, store := t.TempDir(), open(t, workspace.Config{})
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 3 {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				name := filepath.Join(dir, fmt.Sprintf("d%d", i%3), fmt.Sprintf("f%d", w))
				_ = os.MkdirAll(filepath.Dir(name), 0o755)
				_ = os.WriteFile(name, []byte(strings.Repeat("x", i%100)), 0o644)
				if i%7 == 0 {
					_ = os.RemoveAll(filepath.Dir(name))
				}
				if i%5 == 0 {
					_ = os.Symlink("..", name)
				}
			}
		})
	}
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for range 40 {
				tree, err := store.Capture(t.Context(), dir)
				if err != nil {
					t.Error(err)
					return
				}
				copied := filepath.Join(t.TempDir(), "copy")
				if _, err := store.Restore(t.Context(), tree, copied); err != nil {
					t.Error(err)
				}
			}
		})
	}
	readers.Wait()
	close(stop)
	writers.Wait()
	copied := filepath.Join(t.TempDir(), "copy")
	if _, err := store.Restore(t.Context(), capture(t, store, dir), copied); err != nil {
		t.Fatal(err)
	}
	if got, want := actorstest.Look(t, copied), actorstest.Look(t, dir); !reflect.DeepEqual(got, want) {
		t.Errorf("recorded %q, there is %q", got, want)
	}
}

// TestFullDisk: a record that cannot be stored is an error, and leaves a store that works.
func TestFullDisk(t *testing.T) {
	dir, blobs := t.TempDir(), &full{Blobs: actorstest.NewBlobs()}
	actorstest.Write(t, dir, "f", "text")
	store := open(t, workspace.Config{Blobs: blobs})
	for after := range int64(2) {
		blobs.after.Store(after)
		if tree, err := store.Capture(t.Context(), dir); !errors.Is(err, storage.ErrFull) {
			t.Errorf("with room for %d blobs: %+v, %v", after, tree, err)
		}
	}
	blobs.after.Store(100)
	copied := filepath.Join(t.TempDir(), "copy")
	if _, err := store.Restore(t.Context(), capture(t, store, dir), copied); err != nil {
		t.Error(err)
	}
}

// full is a blob store with room for so many blobs more.
type full struct {
	*actorstest.Blobs
	after atomic.Int64
}

func (f *full) Put(ctx context.Context, media string, content io.Reader) (events.BlobRef, error) {
	if f.after.Add(-1) < 0 {
		return events.BlobRef{}, storage.ErrFull
	}
	return f.Blobs.Put(ctx, media, content)
}
