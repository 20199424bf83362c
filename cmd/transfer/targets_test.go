package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

func silent(string, ...any) {}

// filled is a store with events in it, and its export.
func filled(t *testing.T, count int) (*embedded.Store, string) {
	t.Helper()
	store, err := embedded.Open(embedded.Config{Dir: filepath.Join(t.TempDir(), "store"), Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	for i := 0; i < count; {
		stream, batch := events.Stream(fmt.Sprint("s-", i%7)), []events.Envelope{}
		for ; i < count && len(batch) < 60; i++ {
			batch = append(batch, events.Envelope{ID: uuid.New(), Kind: "k", Version: 1, Time: events.Micros(i + 1), Data: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))})
		}
		if _, err := store.Append(t.Context(), stream, storage.ExpectAny, batch); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if _, _, err := Export(t.Context(), store, &out, 1, silent); err != nil {
		t.Fatal(err)
	}
	return store, out.String()
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestExportTargets: files are replaced whole, links stay, what is beside them stays, and pipes and devices are written to.
func TestExportTargets(t *testing.T) {
	store, want := filled(t, 200)
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	export := func(name string) error {
		count, _, err := ExportTo(t.Context(), store, in(name), io.Discard, 1, silent)
		if err == nil && count != 200 {
			t.Errorf("%s: %d events", name, count)
		}
		return err
	}
	for name, text := range map[string]string{"real": "old", "mine.partial": "precious", "mine": "old"} {
		if err := os.WriteFile(in(name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"link": "real", "chain": "link", "nowhere": "missing"} {
		if err := os.Symlink(to, in(link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"new", "mine", "chain"} {
		if err := export(name); err != nil || read(t, in(name)) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, link := range []string{"link", "chain"} {
		if info, err := os.Lstat(in(link)); err != nil || info.Mode()&fs.ModeSymlink == 0 || read(t, in("real")) != want {
			t.Errorf("%s is no link any more: %v", link, err)
		}
	}
	if info, err := os.Stat(in("real")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
	if read(t, in("mine.partial")) != "precious" {
		t.Error("another file was taken for the export's own")
	}
	for _, name := range []string{"nowhere", "."} {
		if err := export(name); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	left, err := filepath.Glob(in("*.partial-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// TestExportIntoAPipe: whoever reads the pipe gets the export, and one who leaves early ends it.
func TestExportIntoAPipe(t *testing.T) {
	store, want := filled(t, 2000)
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go func() {
		text, err := os.ReadFile(pipe)
		got <- string(text) + fmt.Sprint(err)
	}()
	if _, _, err := ExportTo(t.Context(), store, pipe, io.Discard, 1, silent); err != nil {
		t.Fatal(err)
	}
	if text := <-got; text != want+"<nil>" {
		t.Errorf("the reader got %d bytes, want %d", len(text), len(want))
	}
	go func() {
		file, err := os.Open(pipe)
		if err == nil {
			_, _ = io.CopyN(io.Discard, file, 100)
			err = file.Close()
		}
		got <- fmt.Sprint(err)
	}()
	if _, _, err := ExportTo(t.Context(), store, pipe, io.Discard, 1, silent); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("a reader that leaves: %v", err)
	}
	<-got
	if info, err := os.Lstat(pipe); err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
		t.Errorf("the pipe is no pipe any more: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := ExportTo(ctx, store, pipe, io.Discard, 1, silent); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody reads: %v", err)
	}
	if reader, err := os.OpenFile(pipe, os.O_RDONLY|syscall.O_NONBLOCK, 0); err == nil { // lets the one go that still waits for a reader
		_ = reader.Close()
	}
}

// TestExportIntoADevice: a device is written to, and stays one; a full one is an error.
func TestExportIntoADevice(t *testing.T) {
	store, _ := filled(t, 20)
	for minor, full := range map[uint32]bool{3: false, 7: true} {
		device := filepath.Join(t.TempDir(), "device")
		if err := unix.Mknod(device, unix.S_IFCHR|0o600, int(unix.Mkdev(1, minor))); err != nil {
			t.Skip("devices cannot be made here:", err)
		}
		if f, err := os.OpenFile(device, os.O_WRONLY, 0); err != nil {
			t.Skip("devices cannot be opened here:", err)
		} else if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := ExportTo(t.Context(), store, device, io.Discard, 1, silent); errors.Is(err, syscall.ENOSPC) != full || (err != nil) != full {
			t.Errorf("device 1,%d: %v", minor, err)
		}
		if info, err := os.Lstat(device); err != nil || info.Mode()&fs.ModeCharDevice == 0 {
			t.Errorf("device 1,%d is none any more: %v", minor, err)
		}
	}
}

// TestExportToStandardOutput by another name writes to it, wherever it goes.
func TestExportToStandardOutput(t *testing.T) {
	store, want := filled(t, 20)
	dir := t.TempDir()
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := os.Symlink(fmt.Sprintf("/proc/self/fd/%d", out.Fd()), filepath.Join(dir, "stdout")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "stdout")); err != nil {
		t.Skip("there is no /proc here")
	}
	_, before := io.WriteString(out, "before\n")
	_, _, err = ExportTo(t.Context(), store, filepath.Join(dir, "stdout"), out, 1, silent)
	_, after := io.WriteString(out, "after\n")
	if err := errors.Join(before, err, after); err != nil || read(t, out.Name()) != "before\n"+want+"after\n" {
		t.Errorf("%v\n%s", err, read(t, out.Name()))
	}
}

// imported imports a file or a pipe into a directory.
func imported(t *testing.T, from *os.File, dir string) (Imported, error) {
	t.Helper()
	in := Import{Name: "x", From: from, Into: embedded.Config{Dir: dir, Reserve: -1}, Finish: "life store import x", Show: silent}
	return in.Run(t.Context())
}

// piped is a pipe that gives a text and then ends.
func piped(t *testing.T, text string) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	go func() {
		_, _ = io.WriteString(w, text)
		_ = w.Close()
	}()
	return r
}

// TestHalfImport cuts an import through a pipe off anywhere. What is there is known as half an import to whoever opens it, and nobody else; the
// import again finishes it, and says what was new.
func TestHalfImport(t *testing.T) {
	_, text := filled(t, 2500)
	lines := strings.SplitAfter(text, "\n")
	for _, cut := range []int{0, 1, 2, 999, 1001, 2400, len(lines) - 2} { // the last line is empty, the one before it is the trailer
		t.Run(fmt.Sprint(cut, " lines"), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			_, err := imported(t, piped(t, strings.Join(lines[:cut], "")), dir)
			if err == nil {
				t.Fatal("half an export was taken for a whole one")
			}
			store, err := embedded.Open(embedded.Config{Dir: dir, Reserve: -1})
			var half *storage.HalfError
			switch {
			case cut < 2: // nothing came
				if err != nil {
					t.Fatal(err)
				}
				if err := store.Close(); err != nil {
					t.Fatal(err)
				}
			case !errors.As(err, &half) || half.Finish != "life store import x":
				t.Fatalf("opened: %v", err)
			}
			done, err := imported(t, piped(t, text), dir)
			if had := int64(max(cut-1, 0)); err != nil || done.Events != 2500 || done.New != 2500-had {
				t.Fatalf("%v: %+v", err, done)
			}
			if done, err = imported(t, piped(t, strings.ReplaceAll(text, "\n", "\r\n")), dir); err != nil || done.New != 0 {
				t.Fatalf("once more: %v: %+v", err, done)
			}
			store, err = embedded.Open(embedded.Config{Dir: dir, Reserve: -1})
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if _, _, err := Export(t.Context(), store, &out, 1, silent); err != nil || out.String() != text {
				t.Errorf("it differs: %v", err)
			}
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestImportThatDoesNotFit leaves the store as it was: it is not half an import.
func TestImportThatDoesNotFit(t *testing.T) {
	_, text := filled(t, 30)
	_, other := filled(t, 40)
	dir := filepath.Join(t.TempDir(), "store")
	if _, err := imported(t, piped(t, text), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := imported(t, piped(t, other), dir); !errors.Is(err, embedded.ErrImport) {
		t.Fatalf("another store's export: %v", err)
	}
	store, err := embedded.Open(embedded.Config{Dir: dir, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}
