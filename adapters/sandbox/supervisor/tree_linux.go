package supervisor

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// process is what the tree is made of.
type process struct {
	pid, parent, group int
	dead               bool // a zombie: its parent has not waited for it yet
}

// signalTree sends a signal to everything below this process and returns how many living processes that were.
//
// It goes by process group, because the kernel signals a group as a whole, together with what is being forked in it, so that a
// group cannot outrun its killer. Every group below is inside a session that began below, so no other process is hit.
func signalTree(sig syscall.Signal) (count int) {
	self := os.Getpid()
	if self == 1 { // of a namespace: everything in it but this process is meant, and the kernel signals it at one instant
		defer func() { _ = syscall.Kill(-1, sig) }() //nolint:errcheck // there may be nothing left
	}
	signalled := make(map[int]bool)
	for _, p := range below(self, processes()) {
		if p.dead {
			continue
		}
		count++
		target := -p.group
		if p.group <= 1 { // not a group that began below: to signal 0 or -1 would hit others
			target = p.pid
		}
		if !signalled[target] {
			signalled[target] = true
			// It may have ended by itself; what did not is found again in the next round.
			_ = syscall.Kill(target, sig) //nolint:errcheck // see above
		}
	}
	return count
}

// below returns the descendants of a process. A parent that ended meanwhile cuts its children off from this picture, but those
// are children of the subreaper by then and are found in the next one.
func below(root int, all []process) []process {
	children := make(map[int][]process, len(all))
	for _, p := range all {
		children[p.parent] = append(children[p.parent], p)
	}
	tree := children[root]
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i].pid]...)
	}
	return tree
}

// processes lists the processes that this one can see.
func processes() []process {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	all := make([]process, 0, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue // it ended
		}
		if p, ok := parseStat(pid, stat); ok {
			all = append(all, p)
		}
	}
	return all
}

// parseStat reads "pid (name) state parent group …"; the name may hold anything, parentheses and newlines included.
func parseStat(pid int, stat []byte) (process, bool) {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return process{}, false
	}
	fields := bytes.Fields(stat[end+1:])
	if len(fields) < 3 {
		return process{}, false
	}
	parent, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return process{}, false
	}
	group, err := strconv.Atoi(string(fields[2]))
	if err != nil {
		return process{}, false
	}
	state := fields[0][0]
	return process{pid: pid, parent: parent, group: group, dead: state == 'Z' || state == 'X'}, true
}

// closeOnExec keeps every file but the three usual ones from being inherited.
func closeOnExec() error {
	if _, _, errno := syscall.RawSyscall(sysCloseRange, 3, ^uintptr(0), closeRangeCloexec); errno == 0 {
		return nil
	}
	dir, err := os.Open("/proc/self/fd") // a kernel before 5.11
	if err != nil {
		return fmt.Errorf("list open files: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("list open files: %w", err)
	}
	for _, name := range names {
		if fd, err := strconv.Atoi(name); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
	return nil
}
