package stores

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"example.com/life/actors/storage"
	"example.com/life/adapters/workspace"
	"example.com/life/events"
)

// BlobRefs finds the blobs that events refer to: texts, and of the files of workspaces the manifests and the contents that they list. What
// is listed is handed over once, however many calls left it as it was.
type BlobRefs struct {
	files *workspace.Store
	seen  map[string]bool // manifests and contents
}

// NewBlobRefs returns a finder over the blobs in which manifests are kept.
func NewBlobRefs(kept storage.Blobs) (*BlobRefs, error) {
	files, err := workspace.New(workspace.Config{Blobs: kept})
	return &BlobRefs{files: files, seen: map[string]bool{}}, err
}

// Each hands over the blobs of an event. The error says which manifest cannot be read, so that nobody knows what it lists.
func (r *BlobRefs) Each(ctx context.Context, e *events.Envelope, visit func(events.BlobRef)) error {
	event, err := e.Event()
	if err != nil {
		return nil //nolint:nilerr // verify says what cannot be read
	}
	for _, ref := range events.Blobs(event) {
		visit(ref)
	}
	for _, tree := range events.Trees(event) {
		err := r.files.Blobs(ctx, tree, func(ref events.BlobRef) bool {
			if r.seen[ref.Hash] {
				return false
			}
			r.seen[ref.Hash] = true
			visit(ref)
			return true
		})
		if err != nil {
			return fmt.Errorf("list the files of a workspace: %w", err)
		}
	}
	return nil
}

// kindsWithBlobs are the kinds of events that refer to blobs, as events.Blobs and events.Trees know them.
func kindsWithBlobs() []string {
	var kinds []string
	for _, event := range []events.Event{
		events.MessageReceived{}, events.ModelReplied{}, events.ToolRequested{}, events.ApprovalRequested{}, events.ToolReturned{}, events.ConversationCompacted{}, events.NoteWritten{}, events.ProjectionAdded{}, events.AgentForked{},
	} {
		kinds = append(kinds, string(event.Kind()))
	}
	return kinds
}

// Refers tells quickly whether an event may refer to blobs: as a key, this text stands in no string.
func Refers(e *events.Envelope) bool {
	return slices.Contains(kindsWithBlobs(), string(e.Kind)) && bytes.Contains(e.Data, []byte(`"hash":"`))
}
