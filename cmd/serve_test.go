package cmd

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/life/adapters/embedded"
	"example.com/life/cmd/stores"
)

// TestServerWaits: a server opens its directory once the process that holds it has left: a verb that came first, or a child of a process that
// was killed, which keeps the lock for a moment. It says whom it waits for, and waits neither for another server nor without end.
func TestServerWaits(t *testing.T) {
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		holder   string
		patience time.Duration
		leaves   bool // when it was said that it is waited for
		waits    bool
	}{
		"verb":                {strconv.Itoa(os.Getpid()), time.Hour / 60, true, true},
		"verb that stays":     {strconv.Itoa(os.Getpid()), 20 * time.Millisecond, false, true},
		"killed":              {strconv.Itoa(gone.Process.Pid), time.Hour / 60, true, true},
		"server":              {strconv.Itoa(os.Getpid()) + " server", time.Hour, false, false},
		"server that is gone": {strconv.Itoa(gone.Process.Pid) + " server", time.Hour / 60, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := t.TempDir()
			lock := lockAs(t, data, c.holder)
			said := &hears{}
			if c.leaves {
				said.then = func() { _ = lock.Close() }
			}
			a := &app{log: slog.New(slog.DiscardHandler), errs: said}
			environment := func(name string) string { return map[string]string{"LIFE_DATA": data}[name] }
			var err error
			if a.config, err = resolve(environment, func(string) (string, bool) { return "", false }); err != nil {
				t.Fatal(err)
			}
			host, err := whenFree(t.Context(), a, c.patience, func() (*stores.Local, error) { return a.openLocal(t.Context(), false, nil) })
			if waited := strings.Contains(said.String(), "is in use by process "+strings.Fields(c.holder)[0]+"; waiting for it to end"); waited != c.waits {
				t.Errorf("it says %q", said.String())
			}
			if c.leaves {
				if err != nil {
					t.Fatal(err)
				}
				if err := host.Close(t.Context()); err != nil {
					t.Error(err)
				}
			} else if held := new(embedded.HeldError); !errors.As(err, &held) || strconv.Itoa(held.PID) != strings.Fields(c.holder)[0] {
				t.Errorf("it is refused with %v", err)
			}
		})
	}
}

// hears does something when it is written to.
type hears struct {
	strings.Builder
	then func()
}

func (h *hears) Write(text []byte) (int, error) {
	if h.then != nil {
		h.then()
	}
	return h.Builder.Write(text)
}

// lockAs locks a data directory's store in the name of a process, as the lock says it.
func lockAs(t *testing.T, data, holder string) *os.File {
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
	if _, err := file.WriteString(holder + "\n"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return file
}
