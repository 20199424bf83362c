package embedded_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

func TestADirectoryHasOneStore(t *testing.T) {
	config := embedded.Config{Dir: t.TempDir()}
	store, err := embedded.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = embedded.Open(config)
	held := &embedded.HeldError{}
	if !errors.As(err, &held) || *held != (embedded.HeldError{Dir: config.Dir, PID: os.Getpid()}) {
		t.Fatalf("the second open: %v", err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, config)
}

func TestUnusableDirectories(t *testing.T) {
	rows := []struct {
		name    string
		prepare func(dir string) error
		says    string
	}{
		{"a newer format", func(dir string) error { return write(dir, "LIFE_FORMAT", "2\n") }, "newer build"},
		{"no format that can be read", func(dir string) error { return write(dir, "LIFE_FORMAT", "?") }, "instead of a version"},
		{"no format", func(dir string) error { return os.Remove(filepath.Join(dir, "LIFE_FORMAT")) }, "LIFE_FORMAT is missing"},
		{"no last position that can be read", func(dir string) error { return write(dir, "LIFE_LAST", "3 00000000\n") }, "instead of a position"},
		{"the journal is gone", func(dir string) error { return os.RemoveAll(filepath.Join(dir, "journal")) }, "the newest events are missing"},
		{"the manifest is gone", func(dir string) error { return removeAll(dir, "journal/MANIFEST-*") }, "journal"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			seed(t, dir)
			if err := row.prepare(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := embedded.Open(embedded.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("open: %v, want an error that says %q", err, row.says)
			}
		})
	}
	if _, err := embedded.Open(embedded.Config{}); err == nil {
		t.Error("a store without a directory was opened")
	}
	if _, err := embedded.Open(embedded.Config{Dir: t.TempDir(), Memory: -1}); err == nil {
		t.Error("a store with a negative memory was opened")
	}
}

func write(dir, name, text string) error {
	return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)
}

func removeAll(dir, pattern string) error {
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	for _, name := range names {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

func TestAClosedStore(t *testing.T) {
	store := open(t, embedded.Config{Dir: t.TempDir()})
	subscription, err := store.Subscribe(t.Context(), storage.From{})
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan error)
	go func() {
		_, err := subscription.Next(t.Context())
		waited <- err
	}()
	for range 2 {
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	appendErr := appendOne(t.Context(), store, "s", events.NoRevision)
	_, readErr := store.Read(t.Context(), "s", 0, storage.Forward, storage.Limit{})
	_, allErr := store.ReadAll(t.Context(), storage.Start(), storage.Forward, storage.Filter{}, storage.Limit{})
	_, subscribeErr := store.Subscribe(t.Context(), storage.From{})
	_, checkErr := store.Check(t.Context(), nil)
	_, statsErr := store.Stats(t.Context())
	_, _, loadErr := store.Load(t.Context(), "f", "s", 4)
	saveErr := store.Save(t.Context(), "f", "s", storage.Snapshot{})
	dropErr := store.Drop(t.Context(), "f", "s", 0)
	for i, err := range []error{<-waited, appendErr, readErr, allErr, subscribeErr, checkErr, statsErr, loadErr, saveErr, dropErr} {
		if !errors.Is(err, storage.ErrClosed) {
			t.Errorf("use %d after Close: %v, want %v", i, err, storage.ErrClosed)
		}
	}
}

func TestSnapshotsAreACache(t *testing.T) {
	config := embedded.Config{Dir: t.TempDir()}
	snapshots := filepath.Join(config.Dir, "snapshots")
	rows := []struct {
		name  string
		hurt  func() error
		found bool
	}{
		{"kept by Close", func() error { return nil }, true},
		{"deleted", func() error { return os.RemoveAll(snapshots) }, false},
		{"damaged", func() error { return overwrite(snapshots, "*.sst") }, false},
		{"without its manifest", func() error { return removeAll(snapshots, "MANIFEST-*") }, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			store, err := embedded.Open(config)
			if err != nil {
				t.Fatal(err)
			}
			if err := store.Save(t.Context(), "f", "s", storage.Snapshot{Revision: 4, State: []byte("state")}); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(store.Close(), row.hurt()); err != nil {
				t.Fatal(err)
			}
			snapshot, found, err := open(t, config).Load(t.Context(), "f", "s", 4)
			if err != nil || found != row.found || found && string(snapshot.State) != "state" {
				t.Errorf("load: %+v, %t, %v; want found %t", snapshot, found, err, row.found)
			}
		})
	}
}

// overwrite puts other bytes over the first half of the files.
func overwrite(dir, pattern string) error {
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	for _, name := range names {
		content, readErr := os.ReadFile(name)
		for i := range len(content) / 2 {
			content[i] ^= 0x55
		}
		err = errors.Join(err, readErr, os.WriteFile(name, content, 0o600))
	}
	return err
}
