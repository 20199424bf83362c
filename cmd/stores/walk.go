package stores

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// The names by which a store keeps what is said about a stream.
const (
	Metastream    = "$$"             // begins the name of the stream with a stream's metadata
	TombstoneKind = "$streamDeleted" // of the last event of a stream that was deleted for good
)

// Openable finds out whether there is an embedded store to open, so that none is made where none was meant to be.
func Openable(at Location) error {
	if _, err := os.Stat(filepath.Join(at.Data, StoreName)); at.Embedded() && err != nil {
		return fmt.Errorf("there is no store in %s: %w", at.Data, err)
	}
	return nil
}

// Everything hands over each event of a store from a position on, its own streams included.
func Everything(ctx context.Context, source storage.Journal, from events.Position, each func(*events.Envelope) error) error {
	next, err := placeBefore(ctx, source, from)
	for err == nil {
		var page storage.Page
		if page, err = source.ReadAll(ctx, next, storage.Forward, storage.Filter{System: true}, storage.Limit{Events: 4096, Bytes: 4 << 20}); err != nil {
			break
		}
		for i := range page.Events {
			if err := each(&page.Events[i]); err != nil {
				return err
			}
		}
		if page.End {
			return nil
		}
		next = page.Next
	}
	return fmt.Errorf("read the store: %w", err)
}

// LastPosition is that of the newest event, the store's own included; 0 when there is none.
func LastPosition(ctx context.Context, of storage.Journal) (events.Position, error) {
	page, err := of.ReadAll(ctx, storage.End(), storage.Backward, storage.Filter{System: true}, storage.Limit{Events: 1})
	if err != nil {
		return 0, fmt.Errorf("find the end of the store: %w", err)
	}
	if len(page.Events) == 0 {
		return 0, nil
	}
	return page.Events[0].Position, nil
}

// placeBefore is the place in front of the first event at or behind a position, at which no event need be. Then it is looked for from the
// end: who names a position wants what came lately.
func placeBefore(ctx context.Context, source storage.Journal, position events.Position) (storage.Place, error) {
	if position <= 1 {
		return storage.Start(), nil
	}
	exact := storage.Before(position)
	_, err := source.ReadAll(ctx, exact, storage.Backward, storage.Filter{System: true}, storage.Limit{Events: 1})
	if !errors.Is(err, storage.ErrPlace) {
		return exact, err
	}
	for next := storage.End(); ; {
		page, err := source.ReadAll(ctx, next, storage.Backward, storage.Filter{System: true}, storage.Limit{Events: 512})
		if err != nil {
			return next, err
		}
		for i := range page.Events {
			if e := &page.Events[i]; e.Position < position {
				return storage.After(e.Position), nil
			}
		}
		if page.End {
			return storage.Start(), nil
		}
		next = page.Next
	}
}
