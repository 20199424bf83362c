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
