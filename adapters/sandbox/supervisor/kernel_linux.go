package supervisor

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

// What package syscall does not name. golang.org/x/sys would, but is initialised after much of the host: see the package comment. The numbers of
// these system calls are the same on every architecture.
const (
	sysOpenTree     = 428
	sysMoveMount    = 429
	sysFsopen       = 430
	sysFsconfig     = 431
	sysFsmount      = 432
	sysCloseRange   = 436
	sysOpenat2      = 437
	sysMountSetattr = 442
	sysLandlockMake = 444
	sysLandlockRule = 445
	sysLandlockSelf = 446

	atFdcwd     = -100
	atEmptyPath = 0x1000
	atRecursive = 0x8000

	openTreeClone   = 1
	openTreeCloexec = syscall.O_CLOEXEC

	moveFromEmpty = 4
	moveToEmpty   = 0x40

	fsconfigString = 1
	fsconfigCreate = 6

	mountReadOnly = 1
	mountNoSUID   = 2
	mountNoDev    = 4

	resolveNoMagic = 2
	resolveNoLinks = 4
	resolveBeneath = 8

	oPath = 0x200000

	prSetDumpable       = 4
	prSetSeccomp        = 22
	prCapBoundingDrop   = 24
	prSetChildSubreaper = 36
	prSetNoNewPrivs     = 38
	prCapAmbient        = 47

	closeRangeCloexec = 4
	seccompFilter     = 2
	ambientClear      = 4
	capabilityVersion = 0x20080522

	rlimitNProc  = 6
	msPrivate    = 1 << 18
	siocsifflags = 0x8914
)

// call is a system call whose result is a file descriptor or nothing. What pointers in its arguments lead to is on the heap and lives until it
// returns: on the stack, the kernel would read what was there before the stack grew.
//
//go:uintptrescapes
func call(name string, number uintptr, args ...uintptr) (int, error) {
	var a [6]uintptr
	copy(a[:], args)
	result, _, errno := syscall.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
	if errno != 0 {
		return -1, os.NewSyscallError(name, errno)
	}
	return int(result), nil
}

func cstring(s string) (uintptr, *byte, error) {
	p, err := syscall.BytePtrFromString(s)
	return uintptr(unsafe.Pointer(p)), p, err
}

//go:uintptrescapes
func prctl(name string, option, a, b uintptr) error {
	_, err := call("prctl "+name, syscall.SYS_PRCTL, option, a, b)
	return err
}

// openat2 opens a path of which no name is a symbolic link.
func openat2(dir int, path string, flags, resolve uint64) (int, error) {
	at, keep, err := cstring(path)
	if err != nil {
		return -1, err
	}
	how := struct{ flags, mode, resolve uint64 }{flags | syscall.O_CLOEXEC, 0, resolve | resolveNoLinks | resolveNoMagic}
	fd, err := call("openat2", sysOpenat2, uintptr(dir), at, uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how))
	runtime.KeepAlive(keep)
	runtime.KeepAlive(&how)
	if err != nil {
		return -1, fmt.Errorf("%s: %w", path, err)
	}
	return fd, nil
}

// cloneMount is a copy of what is at an open path, mounted nowhere yet.
func cloneMount(at int) (int, error) {
	empty, keep, err := cstring("")
	if err != nil {
		return -1, err
	}
	fd, err := call("open_tree", sysOpenTree, uintptr(at), empty, openTreeClone|openTreeCloexec|atEmptyPath|atRecursive)
	runtime.KeepAlive(keep)
	return fd, err
}

// setMount sets attributes of a mount and, with atRecursive, of those below it.
func setMount(mount int, set uint64, recursive uintptr) error {
	empty, keep, err := cstring("")
	if err != nil {
		return err
	}
	attr := struct{ set, clear, propagation, userns uint64 }{set: set}
	_, err = call("mount_setattr", sysMountSetattr, uintptr(mount), empty, atEmptyPath|recursive, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(keep)
	runtime.KeepAlive(&attr)
	return err
}

// moveMount puts a detached mount on an open path.
func moveMount(mount, at int) error {
	empty, keep, err := cstring("")
	if err != nil {
		return err
	}
	_, err = call("move_mount", sysMoveMount, uintptr(mount), empty, uintptr(at), empty, moveFromEmpty|moveToEmpty)
	runtime.KeepAlive(keep)
	return err
}

// newMount is a new file system, mounted nowhere yet. The options are names and values in turn.
func newMount(kind string, attr uintptr, options ...string) (int, error) {
	name, keep, err := cstring(kind)
	if err != nil {
		return -1, err
	}
	fs, err := call("fsopen "+kind, sysFsopen, name, 1)
	runtime.KeepAlive(keep)
	if err != nil {
		return -1, err
	}
	defer func() { _ = syscall.Close(fs) }() //nolint:errcheck // nothing depends on it
	for i := 0; i+1 < len(options); i += 2 {
		key, keepKey, err1 := cstring(options[i])
		value, keepValue, err2 := cstring(options[i+1])
		_, err3 := call("fsconfig "+options[i], sysFsconfig, uintptr(fs), fsconfigString, key, value, 0)
		runtime.KeepAlive(keepKey)
		runtime.KeepAlive(keepValue)
		if err := errors.Join(err1, err2, err3); err != nil {
			return -1, err
		}
	}
	if _, err := call("fsconfig "+kind, sysFsconfig, uintptr(fs), fsconfigCreate, 0, 0, 0); err != nil {
		return -1, err
	}
	return call("fsmount "+kind, sysFsmount, uintptr(fs), 1, attr)
}

// ignore drops a signal. Unlike package os/signal it costs no initialisation, and what is started does not inherit it: the runtime resets what it had handled.
func ignore(number syscall.Signal) error {
	action := struct{ handler, flags, restorer, mask uintptr }{handler: 1} // SIG_IGN
	_, err := call("rt_sigaction", syscall.SYS_RT_SIGACTION, uintptr(number), uintptr(unsafe.Pointer(&action)), 0, unsafe.Sizeof(action.mask))
	runtime.KeepAlive(&action)
	return err
}

// symlink makes a symbolic link in an open directory, unless it is there.
func symlink(to string, dir int, name string) error {
	toAt, keepTo, err1 := cstring(to)
	nameAt, keepName, err2 := cstring(name)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	_, err := call("symlinkat", syscall.SYS_SYMLINKAT, toAt, uintptr(dir), nameAt)
	runtime.KeepAlive(keepTo)
	runtime.KeepAlive(keepName)
	if errors.Is(err, syscall.EEXIST) {
		return nil
	}
	return err
}

// loopback makes 127.0.0.1 work in a new network namespace.
func loopback() error {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = syscall.Close(socket) }() //nolint:errcheck // nothing depends on it
	request := struct {
		name  [16]byte
		flags uint16
		_     [22]byte
	}{flags: syscall.IFF_UP}
	copy(request.name[:], "lo")
	_, err = call("ioctl SIOCSIFFLAGS", syscall.SYS_IOCTL, uintptr(socket), siocsifflags, uintptr(unsafe.Pointer(&request)))
	runtime.KeepAlive(&request)
	return err
}

// dropCapabilities takes every capability from this thread, and the ways to get one again.
func dropCapabilities() error {
	for capability := uintptr(0); capability < 64; capability++ {
		err := prctl("PR_CAPBSET_DROP", prCapBoundingDrop, capability, 0)
		if errors.Is(err, syscall.EINVAL) {
			break // there are no more
		}
		if err != nil && !errors.Is(err, syscall.EPERM) { // who has no capabilities cannot drop them; PR_SET_NO_NEW_PRIVS keeps it so
			return err
		}
	}
	if err := prctl("PR_CAP_AMBIENT", prCapAmbient, ambientClear, 0); err != nil {
		return err
	}
	header := struct {
		version uint32
		pid     int32
	}{version: capabilityVersion}
	var none [2]struct{ effective, permitted, inheritable uint32 }
	_, err := call("capset", syscall.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none)))
	runtime.KeepAlive(&header)
	runtime.KeepAlive(&none)
	return err
}

// install puts a seccomp filter on this thread.
func install(filter []byte) error {
	const instruction = 8 // bytes
	program := struct {
		count  uint16
		filter unsafe.Pointer
	}{uint16(len(filter) / instruction), unsafe.Pointer(unsafe.SliceData(filter))}
	err := prctl("PR_SET_SECCOMP", prSetSeccomp, seccompFilter, uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	runtime.KeepAlive(&program)
	return err
}

// The rights of Landlock that files other than directories have: to execute, to write, to read, to truncate, to control a device.
const landlockFileRights = 1<<0 | 1<<1 | 1<<2 | 1<<14 | 1<<15

// restrict puts a ruleset of Landlock on this thread.
func (r *Ruleset) restrict() error {
	attr := struct{ fs, net, scope uint64 }{r.FS, r.Net, r.Scope}
	size := unsafe.Sizeof(attr)
	switch { // what a kernel does not know must not be there
	case r.ABI < 4:
		size = 8
	case r.ABI < 6:
		size = 16
	}
	ruleset, err := call("landlock_create_ruleset", sysLandlockMake, uintptr(unsafe.Pointer(&attr)), size, 0)
	runtime.KeepAlive(&attr)
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Close(ruleset) }() //nolint:errcheck // nothing depends on it
	for _, rule := range r.Rules {
		if err := rule.add(ruleset, r.FS); err != nil {
			return fmt.Errorf("%s: %w", rule.Path, err)
		}
	}
	_, err = call("landlock_restrict_self", sysLandlockSelf, uintptr(ruleset), 0)
	return err
}

func (r Rule) add(ruleset int, handled uint64) error {
	fd, err := syscall.Open(string(r.Path), oPath|syscall.O_CLOEXEC, 0)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EACCES) { // what cannot be reached needs no rule
		return nil
	}
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	defer func() { _ = syscall.Close(fd) }() //nolint:errcheck // nothing depends on it
	var stat syscall.Stat_t
	if err := syscall.Fstat(fd, &stat); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	beneath := struct {
		allowed uint64
		parent  int32
		_       int32
	}{allowed: r.Rights & handled, parent: int32(fd)}
	if stat.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		beneath.allowed &= landlockFileRights
	}
	_, err = call("landlock_add_rule", sysLandlockRule, uintptr(ruleset), 1, uintptr(unsafe.Pointer(&beneath)), 0)
	runtime.KeepAlive(&beneath)
	return err
}
