package history

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// blobReader reads blobs whole, each once.
type blobReader struct {
	blobs storage.Blobs
	trees treeReader         // nil: of the files of workspaces, only the lists are read
	kept  storage.Workspaces // nil: they are not recorded here
	read  atomic.Int64

	mu   sync.Mutex
	seen map[string]error // by hash
}

// treeReader is what recorded workspaces can do besides, for those who look at all that is stored.
type treeReader interface {
	// Blobs hands over each blob of a tree; a manifest that visit answers with false it does not go into.
	Blobs(ctx context.Context, tree events.Tree, visit func(events.BlobRef) (into bool)) error
}

func newBlobReader(r *Reader) *blobReader {
	trees, _ := r.files.(treeReader) //nolint:errcheck // not all can
	return &blobReader{blobs: r.blobs, trees: trees, kept: r.files, seen: map[string]error{}}
}

// of reads what an event refers to, and tells of each blob that is missing, damaged, or of another size.
func (b *blobReader) of(ctx context.Context, event events.Event, tell func(problem error)) {
	for _, ref := range events.Blobs(event) {
		if _, err := b.check(ctx, ref); err != nil {
			tell(err)
		}
	}
	for _, tree := range events.Trees(event) {
		visit := func(ref events.BlobRef) (into bool) {
			fresh, err := b.check(ctx, ref)
			if err != nil {
				tell(err)
			}
			return fresh && err == nil
		}
		var err error
		switch {
		case b.trees != nil:
			err = b.trees.Blobs(ctx, tree, visit)
		case b.kept != nil:
			_, err = b.kept.List(ctx, tree)
		default:
			visit(*tree.Manifest)
		}
		if err != nil && ctx.Err() == nil {
			tell(err)
		}
	}
}

// check says what is wrong with a blob, and whether it is the first to ask.
func (b *blobReader) check(ctx context.Context, ref events.BlobRef) (fresh bool, problem error) {
	b.mu.Lock()
	problem, known := b.seen[ref.Hash]
	b.mu.Unlock()
	if known {
		return false, problem
	}
	if problem = readBlob(ctx, b.blobs, ref); problem != nil {
		problem = fmt.Errorf("blob %s: %w", ref.Hash, problem)
	}
	if ctx.Err() != nil {
		return false, nil // nothing is known of it
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.seen[ref.Hash]; !known {
		b.seen[ref.Hash] = problem
		b.read.Add(1)
	}
	return true, problem
}

func readBlob(ctx context.Context, blobs storage.Blobs, ref events.BlobRef) error {
	content, err := blobs.Open(ctx, ref)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("it is missing")
	}
	if err != nil {
		return err
	}
	size, err := io.Copy(io.Discard, content)
	err = errors.Join(err, content.Close())
	if err == nil && size != ref.Size {
		err = fmt.Errorf("it has %d bytes, the event says %d", size, ref.Size)
	}
	return err
}
