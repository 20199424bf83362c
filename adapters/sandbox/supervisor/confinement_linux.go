package supervisor

import (
	"encoding/base64"
	"os"
)

// Confinement is what a supervisor puts around a command before it starts it. What goes into it is decided by the host; the supervisor does as it
// says and decides nothing.
type Confinement struct {
	// Namespaces gives the command user, mount, pid, network, ipc and uts namespaces of its own. The supervisor is process 1 there, and Mounts is all
	// that there is of files.
	Namespaces bool
	Mounts     []Mount

	// Identity is as whom the command runs, where the host is root; nil: as the host.
	Identity *Identity

	Ruleset *Ruleset // of Landlock; nil: none
	Filter  []byte   // of seccomp, as the kernel takes it; empty: none
	Limits  Limits

	// Network is what a proxy of the host lets the command reach. If there is anything, the supervisor makes a listener in the command's network, at ProxyAddress,
	// and hands it to the host over the socket that its order came from, before the command begins.
	Network []string `json:",omitempty"`

	// Files are detached mounts for Mounts that the supervisor itself could not make.
	Files []*os.File `json:"-"`
}

// Identity is a user and a group without privileges.
type Identity struct{ UID, GID int }

// Bytes is a text that need not be UTF-8, such as a path: JSON alone would change it.
type Bytes string

// MarshalText implements encoding.TextMarshaler.
func (b Bytes) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, []byte(b)), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Bytes) UnmarshalText(text []byte) error {
	decoded, err := base64.StdEncoding.AppendDecode(nil, text)
	*b = Bytes(decoded)
	return err
}

// MountKind says what a Mount does.
type MountKind string

// The kinds of mounts.
const (
	MountBind  MountKind = "bind"   // a file or directory of the host
	MountPin   MountKind = "pin"    // what is at the target already, so that it can be neither renamed nor removed
	MountTmpfs MountKind = "tmpfs"  // an empty file system in memory
	MountProc  MountKind = "proc"   // the processes of the namespace
	MountPts   MountKind = "devpts" // terminals of its own
	MountLink  MountKind = "link"   // no mount, but a symbolic link
)

// Mount is one thing in the file tree of a command. They are made in order; each may be on top of the ones before.
type Mount struct {
	Kind   MountKind
	Target Bytes
	Source Bytes `json:",omitempty"` // of a bind: a path without symbolic links; of a link: where it leads
	File   int   `json:",omitempty"` // of a bind: the number, from 1, of Confinement.Files
	// Device and Inode are of the directory that a bind means; 0: it is not compared. The supervisor's copy of the mounts may be older than the host's.
	Device, Inode uint64 `json:",omitempty"`

	ReadOnly bool  `json:",omitempty"`
	Devices  bool  `json:",omitempty"` // device files can be opened
	Size     int64 `json:",omitempty"` // of a tmpfs, in bytes
}

// Ruleset is a ruleset of Landlock.
type Ruleset struct {
	ABI   int    // of the kernel: how much of the ruleset it knows
	FS    uint64 // rights that are refused unless a rule allows them
	Net   uint64
	Scope uint64
	Rules []Rule
}

// Rule allows rights at a path and below it. A path that is not there is passed over.
type Rule struct {
	Path   Bytes
	Rights uint64
}

// Limits bound what a command takes. 0: no limit.
type Limits struct {
	Processes uint64 // at the same time, threads included; only in namespaces, where they are counted apart from others
	FileSize  uint64 // bytes of one file
	Data      uint64 // bytes of private memory of one process
	Memory    uint64 // bytes of private memory of all of them together
	// FreeDisk is how many bytes the disks at Disks must have free; with less, the command is ended.
	FreeDisk uint64
	Disks    []Bytes
}
