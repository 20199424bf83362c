package blobs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/adapters/blobs"
	"example.com/life/events"
)

func open(t *testing.T, dir string) *blobs.Store {
	t.Helper()
	store, err := blobs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func put(t *testing.T, store *blobs.Store, content string) events.BlobRef {
	t.Helper()
	ref, err := store.Put(t.Context(), "text/plain", strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func file(dir string, ref events.BlobRef) string {
	return filepath.Join(dir, ref.Hash[:2], ref.Hash[2:])
}

// files lists what is in a directory, at any depth.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestConformance(t *testing.T) {
	actorstest.TestBlobs(t, func(t *testing.T) storage.Blobs { return open(t, t.TempDir()) })
}

func TestReopenedStoreHasItsBlobsAndNothingUnfinished(t *testing.T) {
	dir := t.TempDir()
	ref := put(t, open(t, dir), "kept")
	if err := os.WriteFile(filepath.Join(dir, "tmp", "put-crashed"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir)
	if got := files(t, dir); !slices.Equal(got, []string{file(dir, ref)}) {
		t.Errorf("the store holds %q, want only the blob", got)
	}
	blob, err := again.Open(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	defer blob.Close()
	if err := iotest.TestReader(blob, []byte("kept")); err != nil {
		t.Error(err)
	}
}

func TestSameBytesAreNotWrittenAgain(t *testing.T) {
	dir := t.TempDir()
	store := open(t, dir)
	ref := put(t, store, "once")
	before, err := os.Stat(file(dir, ref))
	if err != nil {
		t.Fatal(err)
	}
	put(t, store, "once")
	after, err := os.Stat(file(dir, ref))
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) {
		t.Error("the second put replaced the file")
	}
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("the store holds %q", got)
	}
}

func TestPutRepairsABlobOfTheWrongSize(t *testing.T) {
	dir := t.TempDir()
	store := open(t, dir)
	ref := put(t, store, "truncate me")
	if err := os.Truncate(file(dir, ref), 3); err != nil {
		t.Fatal(err)
	}
	put(t, store, "truncate me")
	if got, err := os.ReadFile(file(dir, ref)); err != nil || string(got) != "truncate me" {
		t.Errorf("after putting it again the blob is %q, %v", got, err)
	}
}

func TestDamageIsFoundByReadingAndByCheck(t *testing.T) {
	damage := map[string]func(path string) error{
		"a flipped bit": func(path string) error {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content[1] ^= 4
			return os.WriteFile(path, content, 0o600)
		},
		"a lost end":    func(path string) error { return os.Truncate(path, 4) },
		"an empty file": func(path string) error { return os.Truncate(path, 0) },
		"a longer file": func(path string) error { return os.Truncate(path, 400) },
	}
	for name, do := range damage {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			store := open(t, dir)
			whole, damaged := put(t, store, "left alone"), put(t, store, "about to be damaged")
			if err := do(file(dir, damaged)); err != nil {
				t.Fatal(err)
			}
			blob, err := store.Open(t.Context(), damaged)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(blob); !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), damaged.Hash) {
				t.Errorf("read gives %v, want ErrCorrupt that names the blob", err)
			}
			if err := blob.Close(); err != nil {
				t.Error(err)
			}
			found, err := store.Check(t.Context(), nil)
			if err != nil || found.Blobs != 2 || len(found.Damaged) != 1 || found.Damaged[0].Path != filepath.Join(damaged.Hash[:2], damaged.Hash[2:]) {
				t.Errorf("check found %+v, %v; want only %s damaged and %s whole", found, err, damaged.Hash, whole.Hash)
			}
		})
	}
}

func TestCheckNamesWhatIsNoBlobAndReportsProgress(t *testing.T) {
	dir := t.TempDir()
	store := open(t, dir)
	ref := put(t, store, "fine")
	if err := os.WriteFile(filepath.Join(dir, "README"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", file(dir, ref)[:len(file(dir, ref))-1]+"0"); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	steps := 0
	found, err := store.Check(t.Context(), func(blobs.Checked) { steps++ })
	if err != nil || steps != 3 || len(found.Damaged) != 2 || found.Bytes != 4 {
		t.Errorf("check: %+v, %v after %d steps; want the stray file and the link named", found, err, steps)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := store.Check(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled check gives %v", err)
	}
}

func TestCancelDuringPutLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	source := io.MultiReader(strings.NewReader("half"), readerFunc(func([]byte) (int, error) { cancel(); return 0, nil }), strings.NewReader("rest"))
	if _, err := open(t, dir).Put(ctx, "", source); !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v, want context.Canceled", err)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("the store holds %q", got)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A file size limit of the process stands in for a full disk where a small file system cannot be mounted: it would give
// another error. So the full disk is simulated by a source that fails the way a full disk does, and for real by /dev/full.
func TestFullDiskIsNamedAndLeavesNothing(t *testing.T) {
	_, noSpace := fullDevice(t)
	dir := t.TempDir()
	source := io.MultiReader(bytes.NewReader(make([]byte, 1<<20)), iotest.ErrReader(noSpace))
	if _, err := open(t, dir).Put(t.Context(), "", source); !errors.Is(err, storage.ErrFull) {
		t.Errorf("put on a full disk: %v, want ErrFull", err)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("the store holds %q", got)
	}
}

// fullDevice returns the error that the kernel gives for a write without space.
func fullDevice(t *testing.T) (int, error) {
	t.Helper()
	device, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	n, err := device.Write([]byte("x"))
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("/dev/full gave %v", err)
	}
	return n, err
}

func TestOpenRefusesADirectoryThatIsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := blobs.Open(path); err == nil {
		t.Error("opened a file as a directory")
	}
}

func BenchmarkPut(b *testing.B) {
	store, err := blobs.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	content := make([]byte, 64<<10)
	b.SetBytes(int64(len(content)))
	for i := range b.N {
		content[0], content[1], content[2] = byte(i), byte(i>>8), byte(i>>16)
		if _, err := store.Put(b.Context(), "", bytes.NewReader(content)); err != nil {
			b.Fatal(err)
		}
	}
}

// TestSharedDirectory opens the directory again and again while others write to it: only what a crash left behind is removed.
func TestSharedDirectory(t *testing.T) {
	dir := t.TempDir()
	writer := open(t, dir)
	abandoned := filepath.Join(dir, "tmp", "put-crashed")
	var wait sync.WaitGroup
	refs := make([]events.BlobRef, 64)
	for worker := range 8 {
		wait.Go(func() {
			for i := worker; i < len(refs); i += 8 {
				var err error
				if refs[i], err = writer.Put(t.Context(), "text/plain", strings.NewReader(strings.Repeat(strconv.Itoa(i), 5000))); err != nil {
					t.Errorf("put while the directory is opened: %v", err)
				}
			}
		})
	}
	for range 50 {
		if err := os.WriteFile(abandoned, []byte("half a bl"), 0o600); err != nil {
			t.Fatal(err)
		}
		open(t, dir)
		if _, err := os.Stat(abandoned); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("what a crash left behind is still there: %v", err)
		}
	}
	wait.Wait()
	for _, ref := range refs {
		if _, err := os.Stat(file(dir, ref)); err != nil {
			t.Errorf("a blob that was put is not there: %v", err)
		}
	}
}
