package embedded_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

// refuses checks that a store serves reads, and takes nothing, for a reason.
func refuses(t *testing.T, store *embedded.Store, held int, reason error) {
	t.Helper()
	mustHold(t, store, "s", held)
	mustCheck(t, store, held)
	if page, err := store.ReadAll(t.Context(), storage.Start(), storage.Forward, storage.Filter{}, storage.Limit{}); err != nil || len(page.Events) != held {
		t.Errorf("%d events in all, %v", len(page.Events), err)
	}
	feed, err := store.Subscribe(t.Context(), storage.From{Stream: "s", Revision: events.NoRevision})
	if err == nil {
		_, err = feed.Next(t.Context())
		err = errors.Join(err, feed.Close())
	}
	if err != nil {
		t.Errorf("subscribe: %v", err)
	}
	if _, found, err := store.Load(t.Context(), "f", "s", 9); err != nil || found {
		t.Errorf("a snapshot: %v %v", found, err)
	}
	if err := store.Save(t.Context(), "f", "s", storage.Snapshot{}); err != nil {
		t.Errorf("save a snapshot: %v", err)
	}
	if stats, err := store.Stats(t.Context()); err != nil || stats.Events != uint64(held) {
		t.Errorf("%+v, %v", stats, err)
	}
	begun := make(chan error, 1)
	store.Begin(t.Context(), storage.Begun{Stream: "s", Expected: storage.ExpectAny, Batch: []events.Envelope{numbered("s", 99)}}, func(_ storage.Appended, err error) { begun <- err })
	_, deleted := store.Delete(t.Context(), "s", storage.ExpectAny)
	imported := numbered("s", 98)
	imported.Stream, imported.Revision, imported.Position = "s", events.Revision(held), 1000
	for what, err := range map[string]error{
		"append": appendOne(t.Context(), store, "s", events.Revision(held-1)), "begin": <-begun, "delete": deleted,
		"import": store.Import(t.Context(), []events.Envelope{imported}), "begin an import": store.BeginImport("again"),
	} {
		if !errors.Is(err, reason) || !errors.Is(err, storage.ErrReadOnly) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestOpenedOnAFullDisk: what is on a disk with no byte left can be read, and is written to again as soon as there is room, without a restart.
func TestOpenedOnAFullDisk(t *testing.T) {
	disk := newSmallDisk()
	config := embedded.Config{Dir: "store", FS: disk, Reserve: -1}
	first, err := embedded.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := appendOne(t.Context(), first, "s", events.Revision(i-1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	disk.free.Store(0)
	if _, err := embedded.Open(embedded.Config{Dir: "new", FS: disk, Reserve: -1}); !errors.Is(err, storage.ErrFull) {
		t.Fatalf("a new store on a full disk: %v", err)
	}
	store := open(t, config)
	refuses(t, store, 5, storage.ErrFull)
	disk.free.Store(plenty)
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() { // the first of them opens it to be written
			if err := appendOne(t.Context(), store, events.Stream(fmt.Sprint("t-", i)), events.NoRevision); err != nil {
				t.Errorf("there is room: %v", err)
			}
		})
		mustHold(t, store, "s", 5)
	}
	writers.Wait()
	if err := appendOne(t.Context(), store, "s", 4); err != nil {
		t.Fatal(err)
	}
	if err := store.Save(t.Context(), "f", "s", storage.Snapshot{Revision: 3, State: []byte(`{}`)}); err != nil {
		t.Error(err)
	}
	mustCheck(t, store, 10)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	mustHold(t, open(t, config), "s", 6)
}

// TestOpenedReadOnly: a directory that cannot be written to can be read, by several at a time; while somebody writes to it, it is held.
func TestOpenedReadOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mounted")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	lock := func() { // a file system mounted read-only, where that is allowed; else a directory of somebody else
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err == nil {
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	} else if os.Getuid() == 0 {
		t.Skip("nothing can be mounted here:", err)
	} else {
		lock = func() {
			for _, path := range []string{dir, filepath.Join(dir, "store"), filepath.Join(dir, "store", "journal"), filepath.Join(dir, "store", "LIFE_LOCK")} {
				if err := os.Chmod(path, 0o500); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = os.Chmod(path, 0o700) })
			}
		}
	}
	config := embedded.Config{Dir: filepath.Join(dir, "store"), Reserve: -1}
	first, err := embedded.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := appendOne(t.Context(), first, "s", events.Revision(i-1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	lock()
	before := time.Now()
	store, other := open(t, config), open(t, config)
	refuses(t, store, 5, storage.ErrReadOnly)
	refuses(t, other, 5, storage.ErrReadOnly)
	if err := errors.Join(store.Close(), other.Close()); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "store", "LIFE_LAST")); err != nil || info.ModTime().After(before) {
		t.Errorf("something was written: %v %v", info, err)
	}
	if _, err := embedded.Open(embedded.Config{Dir: filepath.Join(dir, "new")}); err == nil {
		t.Error("a store was made where nothing can be written")
	}
}
