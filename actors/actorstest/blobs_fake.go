package actorstest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Blobs keeps blobs in memory. It is safe for concurrent use.
type Blobs struct {
	mu     sync.RWMutex
	byHash map[string][]byte
}

// NewBlobs returns an empty store of blobs.
func NewBlobs() *Blobs { return &Blobs{byHash: make(map[string][]byte)} }

// Put reads the content to its end and keeps it under its hash.
func (b *Blobs) Put(ctx context.Context, media string, content io.Reader) (events.BlobRef, error) {
	data, err := io.ReadAll(content)
	if err != nil {
		return events.BlobRef{}, fmt.Errorf("put blob: read content: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return events.BlobRef{}, fmt.Errorf("put blob: %w", err)
	}
	ref := events.BlobRef{Hash: events.HashBytes(data), Size: int64(len(data)), Media: media}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.byHash[ref.Hash] = data
	return ref, nil
}

// Open returns the bytes of a blob. Memory does not rot, so only the size is compared with the reference.
func (b *Blobs) Open(ctx context.Context, ref events.BlobRef) (io.ReadCloser, error) {
	if err := ref.Validate(); err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open blob %s: %w", ref.Hash, err)
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	data, found := b.byHash[ref.Hash]
	if !found {
		return nil, fmt.Errorf("open blob %s: %w", ref.Hash, fs.ErrNotExist)
	}
	if int64(len(data)) != ref.Size {
		return nil, fmt.Errorf("open blob %s: it has %d bytes, the reference says %d: %w", ref.Hash, len(data), ref.Size, storage.ErrCorrupt)
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}
