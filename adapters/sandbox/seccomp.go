package sandbox

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// What a filter answers.
const (
	allow       = unix.SECCOMP_RET_ALLOW
	killProcess = unix.SECCOMP_RET_KILL_PROCESS
	refuse      = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	unknown     = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// Offsets in the kernel's struct seccomp_data. Of an argument only the lower half is looked at: every value here fits, and the kernel ignores the upper half
// of the arguments concerned.
const (
	atNumber       = 0
	atArchitecture = 4
	atArgument0    = 16
	atArgument1    = 24
)

// newNamespaces are the flags of clone and unshare that make namespaces.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWTIME

// denied are system calls that no command needs and that reach far into the kernel, or past what else confines a command: io_uring can make sockets without
// socket, a file handle opens what no path leads to.
func denied() []uint32 {
	return []uint32{
		unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
		unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV,
		unix.SYS_PIDFD_GETFD, unix.SYS_KCMP, unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE,
		unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR, unix.SYS_FANOTIFY_INIT, unix.SYS_QUOTACTL, unix.SYS_ACCT,
		unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_REBOOT, unix.SYS_KEXEC_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_SYSLOG,
	}
}

// filter is the seccomp filter of commands. With a network namespace of their own they may use it, and may debug each other; without one they get no sockets.
func filter(ownNetwork bool) ([]byte, error) {
	program := []bpf.Instruction{
		// Another architecture has other numbers: int 0x80 would lead around all that follows.
		bpf.LoadAbsolute{Off: atArchitecture, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArchitecture, SkipTrue: 1},
		bpf.RetConstant{Val: killProcess},
		bpf.LoadAbsolute{Off: atNumber, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: 0x40000000, SkipTrue: 1}, // from there on x32 has its numbers
		bpf.RetConstant{Val: unknown},
	}
	answer := func(number uint32, with ...bpf.Instruction) {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: number, SkipTrue: uint8(len(with))})
		program = append(program, with...)
	}
	numbers := denied()
	families := []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}
	if !ownNetwork {
		numbers, families = append(numbers, unix.SYS_PTRACE), nil
	}
	for _, number := range numbers {
		answer(number, bpf.RetConstant{Val: refuse})
	}
	answer(unix.SYS_CLONE3, bpf.RetConstant{Val: unknown}) // its flags are out of sight; libraries go on with clone
	for _, number := range []uint32{unix.SYS_CLONE, unix.SYS_UNSHARE} {
		answer(number, bpf.LoadAbsolute{Off: atArgument0, Size: 4},
			bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: newNamespaces, SkipTrue: 1}, bpf.RetConstant{Val: refuse}, bpf.RetConstant{Val: allow})
	}
	// To type into the terminal of the host.
	answer(unix.SYS_IOCTL, bpf.LoadAbsolute{Off: atArgument1, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.TIOCSTI, SkipTrue: 2}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.TIOCLINUX, SkipTrue: 1},
		bpf.RetConstant{Val: allow}, bpf.RetConstant{Val: refuse})
	var sockets []bpf.Instruction
	sockets = append(sockets, bpf.LoadAbsolute{Off: atArgument0, Size: 4})
	for i, family := range families {
		sockets = append(sockets, bpf.JumpIf{Cond: bpf.JumpEqual, Val: family, SkipTrue: uint8(len(families) - i)})
	}
	answer(unix.SYS_SOCKET, append(sockets, bpf.RetConstant{Val: refuse}, bpf.RetConstant{Val: allow})...)
	program = append(program, bpf.RetConstant{Val: allow})

	raw, err := bpf.Assemble(program)
	if err != nil {
		return nil, fmt.Errorf("assemble the filter of system calls: %w", err)
	}
	var encoded bytes.Buffer
	if err := binary.Write(&encoded, binary.NativeEndian, raw); err != nil {
		return nil, fmt.Errorf("encode the filter of system calls: %w", err)
	}
	return encoded.Bytes(), nil
}
