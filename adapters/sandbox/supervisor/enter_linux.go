package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
)

// Capabilities are those that it takes to make a file tree and a network, and then to give them up: CAP_SETPCAP, CAP_NET_ADMIN and CAP_SYS_ADMIN.
func Capabilities() []uintptr { return []uintptr{8, 12, 21} }

// enter makes the file tree of the command the only one that this process has, and its loopback work.
func (c *Confinement) enter(files []int) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|msPrivate, ""); err != nil { // nothing that is mounted from here on is seen outside
		return os.NewSyscallError("mount /", err)
	}
	syscall.Umask(0o022)
	root, err := newMount("tmpfs", mountNoSUID|mountNoDev, "mode", "0755", "size", strconv.Itoa(rootSize))
	if err != nil {
		return err
	}
	// The new root needs a place until it is one. /proc is there, and nothing below it is part of the new tree.
	base, err := openat2(atFdcwd, "/proc", oPath|syscall.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	if err := moveMount(root, base); err != nil {
		return err
	}
	tree := tree{root: root, files: files}
	for _, m := range c.Mounts {
		if err := tree.add(m); err != nil {
			return fmt.Errorf("%s %s: %w", m.Kind, m.Target, err)
		}
	}
	for _, late := range append(tree.closing, root) { // what mounts were put on becomes read-only now
		if err := setMount(late, mountReadOnly, 0); err != nil {
			return err
		}
	}
	if err := syscall.Fchdir(root); err != nil {
		return os.NewSyscallError("fchdir", err)
	}
	if err := syscall.PivotRoot(".", "."); err != nil { // on top of the old one, which is then taken away
		return os.NewSyscallError("pivot_root", err)
	}
	if err := syscall.Unmount(".", syscall.MNT_DETACH); err != nil {
		return os.NewSyscallError("umount", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	return errors.Join(loopback(), os.NewSyscallError("sethostname", syscall.Sethostname([]byte("sandbox"))))
}

// ProxyAddress is where a command finds the proxy of its host, if it has one.
const ProxyAddress = "127.0.0.1:3128"

// handListener makes the listener of the proxy and hands it to the host.
func handListener() error {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = syscall.Close(socket) }() //nolint:errcheck // the host has one of its own
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 3128}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if err := syscall.Listen(socket, syscall.SOMAXCONN); err != nil {
		return os.NewSyscallError("listen", err)
	}
	return os.NewSyscallError("sendmsg", syscall.Sendmsg(0, []byte(" "), syscall.UnixRights(socket), nil, syscall.MSG_NOSIGNAL))
}

// rootSize is what directories and links of the root may take, in bytes. Nothing else can be written there.
const rootSize = 1 << 20

// tree is a file tree being made.
type tree struct {
	root    int
	files   []int // mounts that were handed down
	closing []int // mounts that become read-only when all is there
}

func (t *tree) add(m Mount) error {
	target := strings.TrimPrefix(path.Clean(string(m.Target)), "/")
	switch m.Kind {
	case MountLink:
		dir, err := t.directory(path.Dir(target))
		if err != nil {
			return err
		}
		return symlink(string(m.Source), dir, path.Base(target))
	case MountPin:
		return t.pin(target, m.ReadOnly)
	case MountBind, MountTmpfs, MountProc, MountPts:
	}
	mount, err := t.source(m)
	if err != nil {
		return err
	}
	var stat syscall.Stat_t
	if err := syscall.Fstat(mount, &stat); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	open := t.file
	if stat.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		open = t.directory
	}
	at, err := open(target)
	if err != nil {
		return err
	}
	if m.ReadOnly && m.Kind == MountTmpfs {
		t.closing = append(t.closing, mount)
	}
	return moveMount(mount, at)
}

// source is what a mount shows, not yet in its place.
func (t *tree) source(m Mount) (int, error) {
	attr := uint64(mountNoSUID)
	if !m.Devices {
		attr |= mountNoDev
	}
	switch m.Kind {
	case MountTmpfs:
		return newMount("tmpfs", uintptr(attr), "mode", "0755", "size", strconv.FormatInt(m.Size, 10))
	case MountProc:
		return newMount("proc", uintptr(attr))
	case MountPts:
		return newMount("devpts", mountNoSUID, "ptmxmode", "0666", "mode", "0620")
	case MountBind, MountPin, MountLink:
	}
	if m.ReadOnly {
		attr |= mountReadOnly
	}
	if m.File > len(t.files) {
		return -1, fmt.Errorf("it is file %d of %d", m.File, len(t.files))
	}
	if m.File > 0 {
		return t.files[m.File-1], setMount(t.files[m.File-1], attr, atRecursive)
	}
	at, err := openat2(atFdcwd, string(m.Source), oPath, 0)
	if err != nil {
		return -1, err
	}
	var stat syscall.Stat_t
	if err := syscall.Fstat(at, &stat); err != nil {
		return -1, os.NewSyscallError("fstat", err)
	}
	if m.Inode != 0 && (stat.Ino != m.Inode || uint64(stat.Dev) != m.Device) { //nolint:unconvert // its type differs between platforms
		return -1, fmt.Errorf("%s is another directory than it was", m.Source)
	}
	mount, err := cloneMount(at)
	if err != nil {
		return -1, err
	}
	return mount, setMount(mount, attr, atRecursive)
}

// pin puts what is at a path onto itself. A mount can be neither renamed nor removed. What is not there, or is a symbolic link, cannot be pinned.
func (t *tree) pin(target string, readOnly bool) error {
	at, err := openat2(t.root, target, oPath, resolveBeneath)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	mount, err := cloneMount(at)
	if err != nil {
		return err
	}
	if readOnly {
		if err := setMount(mount, mountReadOnly, atRecursive); err != nil {
			return err
		}
	}
	return moveMount(mount, at)
}

// directory opens a directory of the tree, and makes it and those above it where they are not there.
func (t *tree) directory(target string) (int, error) {
	at := t.root
	if target == "." || target == "" {
		return at, nil
	}
	for name := range strings.SplitSeq(target, "/") {
		next, err := openat2(at, name, oPath|syscall.O_DIRECTORY, resolveBeneath)
		if errors.Is(err, syscall.ENOENT) {
			if err := syscall.Mkdirat(at, name, 0o755); err != nil {
				return -1, fmt.Errorf("make %s of %s: %w", name, target, err)
			}
			next, err = openat2(at, name, oPath|syscall.O_DIRECTORY, resolveBeneath)
		}
		if err != nil {
			return -1, err
		}
		at = next
	}
	return at, nil
}

// file opens a file of the tree, and makes it where it is not there.
func (t *tree) file(target string) (int, error) {
	dir, err := t.directory(path.Dir(target))
	if err != nil {
		return -1, err
	}
	name := path.Base(target)
	at, err := openat2(dir, name, oPath, resolveBeneath)
	if !errors.Is(err, syscall.ENOENT) {
		return at, err
	}
	made, err := syscall.Openat(dir, name, syscall.O_CREAT|syscall.O_EXCL|syscall.O_WRONLY|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return -1, fmt.Errorf("make %s: %w", target, err)
	}
	if err := syscall.Close(made); err != nil {
		return -1, err
	}
	return openat2(dir, name, oPath, resolveBeneath)
}
