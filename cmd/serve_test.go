package cmd

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/life/adapters/embedded"
	"example.com/life/cmd/stores"
)

// TestOpenAfterKill holds the directory as a child does that a killed life serve was just starting: the lock outlives the process.
func TestOpenAfterKill(t *testing.T) {
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	for holder, free := range map[int]bool{gone.Process.Pid: true, os.Getpid(): false} {
		lock := lockAs(t, data, holder)
		a := &app{log: slog.New(slog.DiscardHandler)}
		environment := func(name string) string { return map[string]string{"LIFE_DATA": data}[name] }
		var err error
		if a.config, err = resolve(environment, func(string) (string, bool) { return "", false }); err != nil {
			t.Fatal(err)
		}
		type opened struct {
			host *stores.Local
			err  error
		}
		done := make(chan opened, 1)
		go func() {
			host, err := a.openAfter(t.Context())
			done <- opened{host, err}
		}()
		if free {
			if err := lock.Close(); err != nil {
				t.Fatal(err)
			}
		}
		got := <-done
		if !free {
			if held := new(embedded.HeldError); !errors.As(got.err, &held) || held.PID != holder {
				t.Errorf("held by a process that lives: %v", got.err)
			}
			if err := lock.Close(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got.err != nil {
			t.Fatalf("held by a process that is gone: %v", got.err)
		}
		if err := got.host.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// lockAs locks a data directory's store in the name of a process.
func lockAs(t *testing.T, data string, pid int) *os.File {
	t.Helper()
	store := filepath.Join(data, stores.StoreName)
	if err := os.MkdirAll(store, 0o700); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(store, "LIFE_LOCK"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	if _, err := file.WriteString(strconv.Itoa(pid) + "\n"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return file
}
