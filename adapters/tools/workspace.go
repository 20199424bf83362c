package tools

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"example.com/life/events"
)

const (
	maxPath  = 4096 // bytes, what Linux takes
	maxLinks = 40   // in a row, what Linux follows
)

// workspace is the directory an agent works in. It is opened for each call: that costs 10 µs, holds nothing open for idle agents,
// and a workspace that was moved away or replaced is noticed.
type workspace struct {
	root *os.Root
	dir  string // its absolute path
}

func openWorkspace(dir string) (*workspace, error) {
	if dir == "" {
		return nil, errors.New("this agent has no workspace, so it has no files")
	}
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("the workspace %q is not an absolute path", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("the workspace cannot be opened: %w", err)
	}
	return &workspace{root: root, dir: filepath.Clean(dir)}, nil
}

func (w *workspace) close() error { return w.root.Close() }

// place turns a path that a model wrote into one below the workspace. It decides nothing about safety, which is the Root's work.
func (w *workspace) place(name string) (string, error) {
	shown := events.Cut(name, 100)
	switch {
	case name == "":
		return ".", nil
	case len(name) > maxPath:
		return "", fmt.Errorf("%s…: the path has %d bytes, the most is %d", shown, len(name), maxPath)
	case strings.ContainsRune(name, 0):
		return "", fmt.Errorf("%q: a path cannot contain a NUL", shown)
	case !utf8.ValidString(name):
		return "", fmt.Errorf("%q: the path is not valid UTF-8", shown)
	case !filepath.IsAbs(name):
		return name, nil
	}
	below, err := filepath.Rel(w.dir, filepath.Clean(name))
	if err != nil || !filepath.IsLocal(below) {
		return "", fmt.Errorf("%s: the path is outside the workspace %s", shown, w.dir)
	}
	return below, nil
}

// openFile opens a regular file for reading.
func (w *workspace) openFile(name string) (*os.File, fs.FileInfo, error) {
	// To open a pipe would wait for its other end, and to open a device can do anything: so look first. The look may be outdated
	// when the file is opened, which is why opening does not wait, and why there is a second look.
	info, err := w.root.Stat(name)
	if err != nil {
		return nil, nil, err
	}
	if err := regular(name, info); err != nil {
		return nil, nil, err
	}
	file, err := w.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	if info, err = file.Stat(); err == nil {
		err = regular(name, info)
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, info, nil
}

// readDir lists a directory, sorted by name.
func (w *workspace) readDir(name string) ([]fs.DirEntry, error) {
	dir, err := w.root.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	entries, err := dir.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, errors.Join(err, dir.Close())
}

// regular is an error unless info is about a regular file.
func regular(name string, info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		return fmt.Errorf("%s: it is a directory; list_dir lists it", name)
	default:
		return fmt.Errorf("%s: it is a %s, not a file", name, special(mode))
	}
}

// special names what is neither a file nor a directory nor a link.
func special(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

// target follows symbolic links from name to the file that a write must replace. The information is nil if there is none yet.
func (w *workspace) target(name string) (string, fs.FileInfo, error) {
	for range maxLinks {
		info, err := w.root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return name, nil, nil
		}
		if err != nil {
			return "", nil, err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			return name, info, regular(name, info)
		}
		to, err := w.root.Readlink(name)
		if err != nil {
			return "", nil, err
		}
		if filepath.IsAbs(to) {
			return "", nil, fmt.Errorf("%s: it is a symbolic link to %s; absolute links are not followed, use the file's own path", name, to)
		}
		dir, _ := path.Split(name)
		name = dir + to // not path.Join: it would take .. away before the links in front of it are followed
	}
	return "", nil, fmt.Errorf("%s: too many symbolic links", name)
}

// lock makes this call the only writer in the workspace, among all processes that write through this package, until unlock. So two
// edits of one file in one round both count. The kernel drops the lock of a process that dies.
func (w *workspace) lock(ctx context.Context) (unlock func() error, err error) {
	dir, err := w.root.Open(".")
	if err != nil {
		return nil, err
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 16*time.Millisecond) {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return dir.Close, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock the workspace: %w", err), dir.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), dir.Close())
		case <-time.After(wait):
		}
	}
}
