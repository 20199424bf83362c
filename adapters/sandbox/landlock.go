package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"example.com/life/adapters/sandbox/supervisor"
)

// Rights of Landlock.
const (
	rightsRead  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	rightsWrite = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	rightsFirst = 1<<13 - 1 // all of the first version
	rightsAll   = rightsFirst | unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// leastABI is the version of Landlock that keeps files from being truncated and can allow renaming between directories.
const leastABI = 3

// landlockABI is the version of Landlock here; 0: there is none.
func landlockABI() int {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(abi)
}

// ruleset lets commands read some paths and write others. All of it is one ruleset: a second one on top would forbid to rename between directories.
func ruleset(abi int, ownNetwork bool, read, write []string) *supervisor.Ruleset {
	r := &supervisor.Ruleset{ABI: abi, FS: rightsFirst}
	if abi >= 2 {
		r.FS |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		r.FS |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 5 {
		r.FS |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= 4 && !ownNetwork {
		r.Net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if abi >= 6 {
		r.Scope = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	add := func(path string, rights uint64) {
		r.Rules = append(r.Rules, supervisor.Rule{Path: supervisor.Bytes(path), Rights: rights})
	}
	for _, path := range read {
		add(path, rightsRead)
	}
	for _, path := range write {
		add(path, rightsAll)
	}
	add("/proc", rightsRead|rightsWrite)
	for _, name := range devices() {
		add("/dev/"+name, rightsRead|rightsWrite|unix.LANDLOCK_ACCESS_FS_IOCTL_DEV)
	}
	if ownNetwork { // and so terminals of their own
		add("/dev/pts", rightsRead|rightsWrite|unix.LANDLOCK_ACCESS_FS_IOCTL_DEV)
	}
	return r
}

// readable is what commands may read where the file tree is the host's.
func (s *Sandbox) readable(c Command) []string {
	return slices.Concat(system(), s.programs(c.Workspace))
}

// checkWorkspace refuses a workspace that is a part of the system.
func checkWorkspace(workspace string) error {
	for _, top := range []string{"/proc", "/sys", "/dev", "/run"} {
		if within(workspace, top) && (top != "/run" || workspace == top) {
			return fmt.Errorf("%s cannot be a workspace: commands have a %s of their own", workspace, top)
		}
	}
	if workspace == "/" || filepath.Clean(workspace) != workspace {
		return fmt.Errorf("%s cannot be a workspace: it holds all of the system; give the agent a directory", workspace)
	}
	if _, err := os.Stat(workspace); err != nil {
		return fmt.Errorf("the workspace cannot be opened: %w", err)
	}
	return nil
}
