package events

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/zeebo/blake3"
)

// InlineLimit is the size, in bytes, above which a text is stored once as a blob and its event holds a reference and a preview.
const InlineLimit = 32 << 10

// PreviewLimit is the size, in bytes, of the preview kept in the event beside a blob reference.
const PreviewLimit = 2 << 10

// BlobRef points at content-addressed bytes outside the event store.
type BlobRef struct {
	Hash  string `json:"hash"` // BLAKE3-256 of the bytes, 64 lower-case hex digits
	Size  int64  `json:"size,string"`
	Media string `json:"media"` // media type, such as text/plain; charset=utf-8
}

// HashBytes returns the BLAKE3-256 of b as 64 lower-case hex digits: the address of a blob.
func HashBytes(b []byte) string {
	sum := blake3.Sum256(b)
	var digits [2 * len(sum)]byte
	hex.Encode(digits[:], sum[:])
	return string(digits[:])
}

// Validate reports whether the reference is well formed, so that a hash can be used as a file name.
func (r BlobRef) Validate() error {
	raw, err := hex.DecodeString(r.Hash)
	if err != nil || len(raw) != 32 || hex.EncodeToString(raw) != r.Hash {
		return fmt.Errorf("%w: blob hash %q is not 64 lower-case hex digits", ErrInvalidID, Clip(r.Hash, 80))
	}
	if r.Size < 0 {
		return fmt.Errorf("%w: blob %s has negative size %d", ErrInvalidID, r.Hash, r.Size)
	}
	return nil
}

// Text is a piece of text as events hold it: whole up to InlineLimit, else a preview and the blob with all of it.
type Text struct {
	Inline string   `json:"text,omitempty"` // the whole text, or its first PreviewLimit bytes when Blob is set
	Blob   *BlobRef `json:"blob,omitempty" command:"-"`
	// Masked counts the secrets that the host masked before it stored the text, and what came with it: the calls of a reply, the title
	// and names of a note.
	Masked []Masked `json:"masked,omitempty" command:"-"`
}

// Masked counts how often a rule masked a secret. Where the secret was there is a marker, such as [masked: github-pat].
type Masked struct {
	Rule  string `json:"rule"`
	Count int    `json:"count"`
}

// Size is that of the whole text, in bytes.
func (t Text) Size() int64 {
	if t.Blob != nil {
		return t.Blob.Size
	}
	return int64(len(t.Inline))
}

// Identity is the text, or the hash that stands for all of it.
func (t Text) Identity() string {
	if t.Blob != nil {
		return t.Blob.Hash
	}
	return t.Inline
}

// CountMasked adds hits to others, which are sorted by rule. It leaves the others as they are.
func CountMasked(to []Masked, more ...Masked) []Masked {
	for _, hit := range more {
		at, found := slices.BinarySearchFunc(to, hit, func(a, b Masked) int { return strings.Compare(a.Rule, b.Rule) })
		to = slices.Clone(to)
		if found {
			to[at].Count += hit.Count
			continue
		}
		to = slices.Insert(to, at, hit)
	}
	return to
}

// Preview cuts text to at most PreviewLimit bytes without splitting a character.
func Preview(text string) string { return Clip(text, PreviewLimit) }

// Clip cuts s to at most n bytes without splitting a character, and marks the cut. It is for what people read.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const mark = "…"
	return Cut(s, n-len(mark)) + mark
}

// Cut cuts s to at most n bytes without splitting a character.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:max(n, 0)]
}

// Blobs lists the blobs that an event refers to by itself. Those of the files in its trees are in [Trees].
func Blobs(event Event) []BlobRef {
	switch e := event.(type) {
	case MessageReceived:
		return present(e.Blob)
	case ModelReplied:
		blobs := present(e.Blob)
		for i := range e.Blocks {
			for _, text := range []*Text{e.Blocks[i].Text, e.Blocks[i].Raw} {
				if text != nil {
					blobs = append(blobs, present(text.Blob)...)
				}
			}
		}
		for i := range e.Calls {
			blobs = append(blobs, present(e.Calls[i].Blob)...)
		}
		return blobs
	case ToolRequested:
		return present(e.Blob)
	case ApprovalRequested:
		return present(e.Blob)
	case ToolReturned:
		return present(e.Blob, e.Full)
	case ConversationCompacted:
		return present(e.Blob)
	case NoteWritten:
		return present(e.Blob)
	case ProjectionAdded:
		return present(e.Source.Blob)
	case AgentForked:
		if e.Edit != nil {
			return present(e.Edit.Blob)
		}
	}
	return nil
}

// Trees lists what an event records of the files of workspaces.
func Trees(event Event) []Tree {
	var recorded []*Tree
	switch e := event.(type) {
	case ToolReturned:
		recorded = []*Tree{e.Before, e.Tree}
	case UndoRequested:
		recorded = []*Tree{&e.Tree}
	case UndoEnded:
		recorded = []*Tree{e.Before, e.Tree}
	}
	var trees []Tree
	for _, tree := range recorded {
		if tree != nil && tree.Manifest != nil {
			trees = append(trees, *tree)
		}
	}
	return trees
}

// present copies what is there; nothing is allocated when nothing is.
func present(refs ...*BlobRef) []BlobRef {
	var there []BlobRef
	for _, ref := range refs {
		if ref != nil {
			there = append(there, *ref)
		}
	}
	return there
}
