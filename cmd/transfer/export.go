package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"example.com/life/actors/storage"
	"example.com/life/cmd/stores"
	"example.com/life/events"
)

// ExportFile writes a store from a position on to a file, which is complete or not there.
func ExportFile(ctx context.Context, source storage.Journal, file string, from events.Position, show func(format string, args ...any)) (count, blobs int64, err error) {
	partial, err := os.OpenFile(file+".partial", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, 0, fmt.Errorf("write the export: %w", err)
	}
	count, blobs, err = Export(ctx, source, partial, from, show)
	if err == nil {
		err = partial.Sync()
	}
	if err = errors.Join(err, partial.Close()); err == nil {
		err = os.Rename(partial.Name(), file)
	}
	if err != nil {
		return 0, 0, errors.Join(fmt.Errorf("write the export: %w", err), os.Remove(partial.Name()))
	}
	return count, blobs, nil
}

// Export writes a store from a position on, and returns how many events it wrote and how many of them refer to blobs.
func Export(ctx context.Context, source storage.Journal, to io.Writer, from events.Position, show func(format string, args ...any)) (count, blobs int64, err error) {
	w, err := NewLineWriter(to)
	if err != nil {
		return 0, 0, err
	}
	err = stores.Everything(ctx, source, from, func(e *events.Envelope) error {
		if stores.Refers(e) {
			blobs++
		}
		show("%d events written, up to position %d", w.count, e.Position)
		return w.Event(e)
	})
	if err != nil {
		return w.count, blobs, err // and no trailer: what was written is not whole
	}
	return w.count, blobs, w.End()
}
