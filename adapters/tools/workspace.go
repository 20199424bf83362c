package tools

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"example.com/life/actors"
	"example.com/life/adapters/fspolicy"
	"example.com/life/events"
)

const (
	maxPath  = 4096 // bytes, what Linux takes
	maxLinks = 40   // in a row, what Linux follows
)

// files makes the tools that work on files.
type files struct {
	own    DataDir
	ignore Ignore
	policy *fspolicy.Policy
	shown  *shown
}

// workspace is the directory an agent works in. It is opened for each call: that costs 10 µs, holds nothing open for idle agents,
// and a workspace that was moved away or replaced is noticed.
type workspace struct {
	root     *os.Root
	dir      string                 // its absolute path
	real     string                 // the same without symbolic links
	reserved func(fs.FileInfo) bool // tells what belongs to Life
	ignored  func(path string, dir bool) (by string)
	policy   *fspolicy.Policy
	shown    *shown
	agent    events.AgentID
	editor   events.Editor
	secrets  actors.Secrets // nil: nothing is masked
}

func (f files) open(dir string) (*workspace, error) {
	if dir == "" {
		return nil, errors.New("this agent has no workspace, so it has no files")
	}
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("the workspace %q is not an absolute path", dir)
	}
	w := &workspace{dir: filepath.Clean(dir), policy: f.policy, shown: f.shown, reserved: func(fs.FileInfo) bool { return false }, ignored: func(string, bool) string { return "" }}
	var err error
	if w.real, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("the workspace cannot be opened: %w", err)
	}
	if f.own != nil {
		if w.reserved, err = f.own.Guard(dir); err != nil {
			return nil, err
		}
	}
	if w.root, err = os.OpenRoot(dir); err != nil {
		return nil, fmt.Errorf("the workspace cannot be opened: %w", err)
	}
	if f.ignore != nil {
		w.ignored = f.ignore.Begin(w.rules)
	}
	return w, nil
}

// rulesSize is how much of a file of rules is read.
const rulesSize = 1 << 20

// rules reads a file of rules, if there is one.
func (w *workspace) rules(name string) []byte {
	file, _, err := w.openFile(name)
	if err != nil {
		return nil
	}
	defer file.Close()
	content, _ := io.ReadAll(io.LimitReader(file, rulesSize)) //nolint:errcheck // what could be read of it holds
	return content
}

func (w *workspace) close() error { return w.root.Close() }

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
		err = errors.Join(regular(name, info), w.checkOpen(file, "", false))
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, info, nil
}

// openDir opens a directory to change the name in it.
func (w *workspace) openDir(dir, name string) (*os.File, error) {
	d, err := w.root.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := w.checkOpen(d, name, true); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// openIn opens a file to write to it, in a directory that the policy was asked about.
func (w *workspace) openIn(name string, flags int) (*os.File, error) {
	dir, err := w.openDir(path.Dir(name), path.Base(name))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return openAt(dir, path.Base(name), flags|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0o644)
}

// openAt opens a file in a directory, and no link.
func openAt(dir *os.File, name string, flags int, mode fs.FileMode) (*os.File, error) {
	for {
		fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(mode.Perm()))
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), name), nil
		case !errors.Is(err, unix.EINTR):
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

// checkOpen asks the policy about what was opened, or a name in it, by where it is now: a link that somebody put on the way after it was looked at leads to
// nothing that is protected.
func (w *workspace) checkOpen(file *os.File, name string, write bool) error {
	at, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
	if err != nil {
		return fmt.Errorf("see where %s is: %w", file.Name(), err)
	}
	below, err := filepath.Rel(w.real, filepath.Join(at, name))
	if err != nil || !filepath.IsLocal(below) {
		return nil //nolint:nilerr // the workspace itself was moved, and the Root holds
	}
	return w.policy.Check(w.root, below, write)
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
