package storage

import (
	"context"

	"example.com/life/events"
)

// Workspaces records the files of agents' workspaces, each content once, and makes copies of what it recorded. Its conformance suite
// is actorstest.TestWorkspaces. All methods are safe for concurrent use.
type Workspaces interface {
	// Capture records what is below a directory and returns once it is durable. What cannot be recorded, all of it or some
	// files, is no error: the tree says what is missing and why. An error means that nothing can be said of the directory at
	// the moment: it cannot be read, or the record cannot be stored, or ctx ended. Links are recorded as links and never followed.
	// Captures of one directory happen one after another.
	Capture(ctx context.Context, dir string) (events.Tree, error)
	// List returns what a tree holds, sorted by path.
	List(ctx context.Context, tree events.Tree) ([]File, error)
	// Restore makes the directory dir, which must not exist or be empty, with what a tree holds: whole, or not at all. Nothing outside of
	// dir is written, whatever the tree says.
	Restore(ctx context.Context, tree events.Tree, dir string) (Restored, error)
	// Replace is Restore for a directory that may hold something: it then holds what the tree does and nothing else. If we die
	// before it returns the directory holds either, or for a moment is not there, and what is beside it is cleared by the next.
	Replace(ctx context.Context, tree events.Tree, dir string) (Restored, error)
	// Revert makes what is in a directory that is in use as a tree has it, path by path. What was there is recorded before. Without Force it is
	// about what differs between the tree and Expected: a path that is alike in both and was changed since is left; when one that differs was changed
	// as well, nothing is done. An error means the same as of Capture, or that a content is not there; then nothing was changed, or some
	// paths were: to do it again gives what it would have given.
	Revert(ctx context.Context, dir string, r Reversion) (Reverted, error)
}

// Reversion says what a directory is to be made, and what it is thought to be.
type Reversion struct {
	To       events.Tree
	Expected *events.Tree // as it was last recorded; nil: that is not known, and whatever is there is replaced
	Force    bool
}

// Reverted says what a reversion did. All paths are sorted.
type Reverted struct {
	Before, After    events.Tree
	Written, Removed []string
	Others           []string // that would be lost: they are neither as expected nor as they are to be, and nothing was done
	Left             []File   // that stay as they are, and Why
}

// FileKind is what a File is.
type FileKind string

// The kinds of files.
const (
	RegularFile FileKind = "file"
	Directory   FileKind = "dir"
	Link        FileKind = "link"
	LeftOut     FileKind = "left out" // it was there and is not recorded
)

// File is one entry of a recorded tree.
type File struct {
	Path   string   `json:"path"`          // below the workspace, with slashes
	Raw    []byte   `json:"raw,omitempty"` // the path's bytes, where they are not UTF-8 and JSON cannot hold them
	Kind   FileKind `json:"kind"`
	Mode   uint32   `json:"mode,omitempty"` // permissions
	Size   int64    `json:"size,string"`
	Hash   string   `json:"hash,omitempty"`   // of a regular file's content, which is a blob
	Target string   `json:"target,omitempty"` // of a link
	Why    string   `json:"why,omitempty"`    // it was left out
}

// Restored says what a restored directory holds, and what it does not.
type Restored struct {
	Files    int      `json:"files"` // regular files and links
	Bytes    int64    `json:"bytes,string"`
	LeftOut  []File   `json:"left_out,omitempty"` // what was there and was not recorded
	Outgoing []string `json:"outgoing,omitempty"` // links that lead out of the workspace: who follows them is not in the copy
}
