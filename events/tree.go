package events

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
