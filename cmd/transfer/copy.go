package transfer

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"example.com/life/actors/storage"
	"example.com/life/adapters/blobs"
	"example.com/life/adapters/embedded"
	"example.com/life/cmd/stores"
	"example.com/life/events"
)

// Copied is what life store copy reports.
type Copied struct {
	From    string        `json:"from"`
	To      string        `json:"to"`
	Events  int64         `json:"events"` // in both stores, verified
	New     int64         `json:"new"`    // of them, those that were not there before
	Streams int           `json:"streams"`
	Digest  events.Digest `json:"digest"` // over stream, revision, id, kind, data and metadata of every event, in their order
	Left    int64         `json:"left"`   // events of the store's own streams, which are not copied
	Blobs   int64         `json:"blobs"`  // copied or there already
}

// CopyBlobs has the blobs that events refer to copied from one data directory to the other.
func (c *Copier) CopyBlobs(source, target string) error {
	from, err := blobs.Open(filepath.Join(source, stores.BlobsName))
	if err != nil {
		return err
	}
	to, err := blobs.Open(filepath.Join(target, stores.BlobsName))
	if err != nil {
		return err
	}
	all, err := stores.NewBlobRefs(from)
	if err != nil {
		return err
	}
	c.blobs = func(ctx context.Context, e *events.Envelope) (count int, err error) {
		copyErr := all.Each(ctx, e, func(ref events.BlobRef) {
			if err == nil {
				count++
				err = copyBlob(ctx, from, to, ref)
			}
		})
		if err = errors.Join(err, copyErr); err != nil {
			return 0, fmt.Errorf("copy the blobs of %s: %w", e.Ref(), err)
		}
		return count, nil
	}
	return nil
}

func copyBlob(ctx context.Context, from, to *blobs.Store, ref events.BlobRef) error {
	content, err := from.Open(ctx, ref)
	if err != nil {
		return err
	}
	_, err = to.Put(ctx, ref.Media, content)
	return errors.Join(err, content.Close())
}

// intoStore returns what puts events into a store: where they stood if it is embedded, else one append after the other.
func intoStore(to stores.Journal) sink {
	if store, ok := to.(*embedded.Store); ok {
		return &importing{store: store}
	}
	return &appending{journal: to}
}

// Between begin and finish the store knows that it is half a copy. If we die there, nothing but the next attempt uses it; the same copy again goes
// on where it ends.

// sink takes the events of a copy in their order.
type sink interface {
	// takes says which events it is given, besides those of plain streams.
	takes(metadata, tombstone bool) bool
	begin(ctx context.Context, again string) error // again is the command that finishes the copy
	put(ctx context.Context, e *events.Envelope) error
	flush(ctx context.Context) error
	finish(ctx context.Context) error
	drop() error // the copy failed
}

// importing stores events with their positions and times, metadata and tombstones where they stood.
type importing struct {
	store *embedded.Store
	batch []events.Envelope
	size  int
}

func (i *importing) takes(bool, bool) bool { return true }

func (i *importing) begin(_ context.Context, again string) error { return i.store.BeginImport(again) }
func (i *importing) finish(context.Context) error                { return i.store.FinishImport() }
func (i *importing) drop() error                                 { return i.store.DropImport() }

func (i *importing) put(ctx context.Context, e *events.Envelope) error {
	i.batch = append(i.batch, *e)
	if i.size += len(e.Data); len(i.batch) < importEvents && i.size < importBytes {
		return nil
	}
	return i.flush(ctx)
}

func (i *importing) flush(ctx context.Context) error {
	batch := i.batch
	i.batch, i.size = nil, 0 // the store may keep what it gets
	if len(batch) == 0 {
		return nil
	}
	if err := i.store.Import(ctx, batch); err != nil {
		return fmt.Errorf("copy %s to %s: %w", batch[0].Ref(), batch[len(batch)-1].Ref(), err)
	}
	return nil
}

// appending appends events that follow one another in one stream together. The order of everything stays: nothing is appended
// before what was before it is stored.
type appending struct {
	journal storage.Journal
	batch   []events.Envelope
	size    int
}

// Bounds of one append: EventStoreDB refuses more than a mebibyte.
const (
	appendEvents = 500
	appendBytes  = 512 << 10
)

func (a *appending) takes(metadata, tombstone bool) bool { return !metadata && !tombstone }

func (a *appending) begin(ctx context.Context, again string) error {
	return stores.NoteCopy(ctx, a.journal, again)
}

func (a *appending) finish(ctx context.Context) error {
	half, err := stores.HalfCopied(ctx, a.journal)
	if err != nil || half == "" {
		return err
	}
	return stores.NoteCopy(ctx, a.journal, "")
}

func (a *appending) drop() error { return nil }

func (a *appending) put(ctx context.Context, e *events.Envelope) error {
	size := len(e.Data) + len(e.Metadata())
	if len(a.batch) > 0 && (a.batch[0].Stream != e.Stream || len(a.batch) == appendEvents || a.size+size > appendBytes) {
		if err := a.flush(ctx); err != nil {
			return err
		}
	}
	a.batch, a.size = append(a.batch, *e), a.size+size
	return nil
}

func (a *appending) flush(ctx context.Context) error {
	batch := a.batch
	a.batch, a.size = nil, 0 // the journal keeps what it gets
	if len(batch) == 0 {
		return nil
	}
	first := batch[0].Ref()
	if _, err := a.journal.Append(ctx, batch[0].Stream, storage.ExpectRevision(batch[0].Revision-1), batch); err != nil {
		return fmt.Errorf("copy %s: %w", first, err)
	}
	return nil
}
