package events

import "fmt"

// Tree is what was recorded of the files of a workspace at one moment. Its manifest, a blob, lists one directory: what is in it,
// with the hashes of its files, and the manifests of the directories below. So equal files are stored once, and two trees with
// the same manifest hold the same files.
type Tree struct {
	Manifest *BlobRef `json:"manifest,omitempty"` // absent when nothing could be recorded
	Files    int      `json:"files,omitempty"`    // regular files and links in it
	Dirs     int      `json:"dirs,omitempty"`     // directories in it, without the workspace itself
	Bytes    int64    `json:"bytes,string,omitempty"`
	Missing  string   `json:"missing,omitempty"` // what of the workspace is not in it, and why; empty when all of it is
}

// Same reports whether two records of a workspace say the same.
func (t *Tree) Same(other *Tree) bool {
	if t == nil || other == nil {
		return t == other
	}
	if (t.Manifest == nil) != (other.Manifest == nil) || t.Missing != other.Missing {
		return false
	}
	return t.Manifest == nil || t.Manifest.Hash == other.Manifest.Hash
}

// unrecorded says, after what a call returned, what of the files was not recorded.
func (t *Tree) unrecorded() string {
	if t == nil || t.Missing == "" {
		return ""
	}
	return " [files not recorded: " + line(Text{Inline: t.Missing}) + "]"
}

// UndoRequested records that a person wants the files of the agent's workspace as they were after a revision of its history. No turn begins before that has
// ended. If the host dies meanwhile, the next one asks for the same: a file that is restored already stays as it is.
type UndoRequested struct {
	To    Revision `json:"to,string"`
	Tree  Tree     `json:"tree"`            // the files as of that revision
	Force bool     `json:"force,omitempty"` // also files that somebody else changed since they were recorded
	By    string   `json:"by,omitempty"`
}

// UndoEnded records what became of an undo. What the files were before it is recorded first, so it can be undone as well.
type UndoEnded struct {
	Request  RequestID `json:"request"`
	To       Revision  `json:"to,string"`
	Written  []string  `json:"written,omitempty"`  // paths that were made or changed, at most UndoPaths of them
	Removed  []string  `json:"removed,omitempty"`  // paths that were removed, at most UndoPaths
	More     int       `json:"more,omitempty"`     // paths beyond UndoPaths, that were written or removed
	Others   []string  `json:"others,omitempty"`   // paths that are to be restored and that somebody else changed since, at most UndoPaths: without force nothing was restored
	Left     []string  `json:"left,omitempty"`     // paths that stay as they are, each with its reason, at most UndoPaths
	Detail   string    `json:"detail,omitempty"`   // why nothing was restored
	Before   *Tree     `json:"before,omitempty"`   // the workspace before, where it was not as last recorded
	Tree     *Tree     `json:"tree,omitempty"`     // the workspace after; absent when nothing can be said of it
	Duration Micros    `json:"duration_us,string"` // of the last attempt
}

// UndoPaths is how many paths of each sort an UndoEnded names.
const UndoPaths = 100

// Kind returns the permanent name.
func (UndoRequested) Kind() Kind { return "undo.requested" }
func (UndoEnded) Kind() Kind     { return "undo.ended" }

func (e UndoRequested) String() string {
	force := ""
	if e.Force {
		force = ", also those that others changed since"
	}
	return sentence("the restoring of the files as of revision %d was asked for%s%s", e.To, by(e.By), force)
}

// Failed reports whether nothing was restored.
func (e UndoEnded) Failed() bool { return e.Detail != "" }

func (e UndoEnded) String() string {
	if e.Failed() {
		return sentence("the files as of revision %d were not restored%s", e.To, because(e.Detail))
	}
	left := ""
	if len(e.Left) > 0 {
		left = fmt.Sprintf("; left as it is: %s", Clip(e.Left[0], 100))
		if n := len(e.Left) - 1; n > 0 {
			left += fmt.Sprintf(" and %d more", n)
		}
	}
	return sentence("the files as of revision %d were restored, %d of which were not as they were%s%s", e.To, len(e.Written)+len(e.Removed)+e.More, left, e.Tree.unrecorded())
}
