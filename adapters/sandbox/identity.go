package sandbox

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"example.com/life/adapters/sandbox/supervised"
	"example.com/life/adapters/sandbox/supervisor"
)

// nobody is as whom commands run where the host is root. A process of root's owns most files of /proc and /sys, whatever namespaces it is in and
// whatever capabilities it has not, so no command is one.
func nobody() supervisor.Identity { return supervisor.Identity{UID: 65534, GID: 65534} }

// identity is as whom commands run; nil: as the host.
func identity() *supervisor.Identity {
	if os.Geteuid() != 0 {
		return nil
	}
	as := nobody()
	return &as
}

// users keeps the user namespaces that show the files of one user as those of nobody.
type users struct {
	mu   sync.Mutex
	open map[supervisor.Identity]*os.File
}

func (u *users) namespace(owner supervisor.Identity) (*os.File, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if file, ok := u.open[owner]; ok {
		return file, nil
	}
	file, err := supervised.UserNamespace(owner, nobody())
	if err != nil {
		return nil, err
	}
	if u.open == nil {
		u.open = map[supervisor.Identity]*os.File{}
	}
	u.open[owner] = file
	return file, nil
}

// detached is a mount of a path that is mounted nowhere yet. With owned, the files of whoever owns the path are shown as those of nobody; what nobody writes
// there is theirs on the disk.
func (u *users) detached(path string, owned bool) (*os.File, error) {
	at, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(at) }() //nolint:errcheck // nothing depends on it
	mount, err := unix.OpenTree(at, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, &os.PathError{Op: "open_tree", Path: path, Err: err}
	}
	file := os.NewFile(uintptr(mount), path)
	if owned {
		if err := u.show(file); err != nil {
			return nil, errors.Join(fmt.Errorf("show the files of %s as those of user %d: %w", path, nobody().UID, err), file.Close())
		}
	}
	return file, nil
}

// show shows the files of the owner of a detached mount as those of nobody.
func (u *users) show(mount *os.File) error {
	info, err := mount.Stat()
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.ErrUnsupported
	}
	owner := supervisor.Identity{UID: int(stat.Uid), GID: int(stat.Gid)}
	if owner.UID == nobody().UID {
		return nil
	}
	namespace, err := u.namespace(owner)
	if err != nil {
		return err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(namespace.Fd())}
	return unix.MountSetattr(int(mount.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr)
}
