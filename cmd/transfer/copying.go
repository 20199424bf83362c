// Package transfer copies stores, and writes and reads exports: a copy has the same events with the same ids in the same order, and is
// compared with its source at the end.
package transfer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/zeebo/blake3"

	"example.com/life/actors/storage"
	"example.com/life/cmd/stores"
	"example.com/life/events"
)

// Copier reads one store and makes another one the same.
type Copier struct {
	from, to stores.Journal
	into     sink
	show     func(format string, args ...any)
	begun    time.Time
	again    string                                               // the command that finishes the copy if it is cut off
	blobs    func(context.Context, *events.Envelope) (int, error) // copies those of an event; nil: blobs are not copied
	source   *contents
	fresh    int64
	kept     int64 // blobs
}

// NewCopier returns what copies one open store to another, as the command again does. show hears how far it is.
func NewCopier(from, to stores.Journal, again string, show func(format string, args ...any)) *Copier {
	return &Copier{from: from, to: to, into: intoStore(to), again: again, show: show, begun: time.Now()}
}

// Run copies what is missing, and compares both stores.
func (c *Copier) Run(ctx context.Context, report *Copied) error {
	if err := c.copyEvents(ctx); err != nil {
		return errors.Join(err, c.into.drop())
	}
	if err := c.finish(ctx); err != nil {
		return err
	}
	there, err := c.verify(ctx)
	if err == nil {
		err = c.into.finish(ctx)
	}
	if err != nil {
		return err
	}
	report.Events, report.New, report.Streams = there.count, c.fresh, len(there.streams)
	report.Digest, report.Left, report.Blobs = there.total, c.source.left, c.kept
	return nil
}

// copyEvents walks over both stores side by side as far as the target goes, which has to be the beginning of the source, and
// from there puts what is missing.
func (c *Copier) copyEvents(ctx context.Context) error {
	last, err := stores.LastPosition(ctx, c.from)
	if err != nil {
		return err
	}
	c.source = newContents()
	old, target := cursor{journal: c.to}, newContents()
	there, err := c.nextOf(ctx, &old, target)
	if err != nil {
		return err
	}
	err = stores.Everything(ctx, c.from, 1, func(e *events.Envelope) error {
		if !c.source.add(e, c.into) {
			return nil
		}
		if c.blobs != nil {
			n, err := c.blobs(ctx, e)
			if c.kept += int64(n); err != nil {
				return err
			}
		}
		c.report("copied", e.Position, last)
		if there == nil {
			if c.fresh++; c.fresh == 1 {
				if err := c.into.begin(ctx, c.again); err != nil {
					return err
				}
			}
			return c.into.put(ctx, e)
		}
		if there.ID != e.ID || there.Stream != e.Stream || there.Revision != e.Revision {
			return fmt.Errorf("the target is not the beginning of a copy: it has %s (%s) where the source has %s (%s)", there.Ref(), there.ID, e.Ref(), e.ID)
		}
		there, err = c.nextOf(ctx, &old, target)
		return err
	})
	if err == nil && there != nil {
		err = fmt.Errorf("the target is not the beginning of a copy: it continues with %s, which the source does not have", there.Ref())
	}
	return errors.Join(err, c.into.flush(ctx))
}

// nextOf returns the next event that a copy takes; nil at the end.
func (c *Copier) nextOf(ctx context.Context, from *cursor, seen *contents) (*events.Envelope, error) {
	for {
		e, err := from.next(ctx)
		if err != nil || e == nil || seen.add(e, c.into) {
			return e, err
		}
	}
}

// report says how far it is, how fast, and how long it takes from here.
func (c *Copier) report(what string, position, last events.Position) {
	seconds := time.Since(c.begun).Seconds()
	if seconds < 1 || position == 0 {
		return
	}
	left := time.Duration(seconds * (float64(last)/float64(position) - 1) * float64(time.Second))
	c.show("%d events %s, %.0f%%, %.0f/s, about %s left", c.source.count, what,
		100*float64(position)/float64(max(last, 1)), float64(c.source.count)/seconds, max(left, 0).Round(time.Second))
}

// ender is a store in which a stream can be deleted for good.
type ender interface {
	Tombstone(ctx context.Context, stream events.Stream) error
}

// finish says about streams in the target what is said in the source, where that was not copied as events.
func (c *Copier) finish(ctx context.Context) error {
	if c.into.takes(true, true) {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(c.source.metadata)) {
		e := c.source.metadata[name]
		if c.source.ended[events.Stream(strings.TrimPrefix(string(name), stores.Metastream))] {
			continue
		}
		page, err := c.to.Read(ctx, name, math.MaxInt64, storage.Backward, storage.Limit{Events: 1})
		if err != nil {
			return fmt.Errorf("read the metadata %s: %w", name, err)
		}
		if len(page.Events) > 0 && string(page.Events[0].Data) == string(e.Data) {
			continue
		}
		if _, err := c.to.Append(ctx, name, storage.ExpectAny, []events.Envelope{e}); err != nil {
			return fmt.Errorf("set the metadata %s: %w", name, err)
		}
	}
	store, ok := c.to.(ender)
	if !ok && len(c.source.ended) > 0 {
		return fmt.Errorf("%d streams were deleted permanently, which the target does not support", len(c.source.ended))
	}
	for _, stream := range slices.Sorted(maps.Keys(c.source.ended)) {
		if err := store.Tombstone(ctx, stream); err != nil {
			return err
		}
	}
	return nil
}

// verify reads the target from its beginning and compares it with what was read from the source.
func (c *Copier) verify(ctx context.Context) (*contents, error) {
	last, err := stores.LastPosition(ctx, c.to)
	if err != nil {
		return nil, err
	}
	c.begun = time.Now()
	there := newContents()
	err = stores.Everything(ctx, c.to, 1, func(e *events.Envelope) error {
		there.add(e, c.into)
		c.report("verified", e.Position, last)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return there, c.source.compare(there)
}

// contents is what a store holds, as far as it is compared.
type contents struct {
	count    int64
	left     int64         // of the store's own streams
	total    events.Digest // over all events in their order
	streams  map[events.Stream]events.Digest
	metadata map[events.Stream]events.Envelope // the newest event of each metadata stream
	ended    map[events.Stream]bool            // streams that were deleted for good
}

func newContents() *contents {
	return &contents{streams: map[events.Stream]events.Digest{}, metadata: map[events.Stream]events.Envelope{}, ended: map[events.Stream]bool{}}
}

// add counts an event; false when a copy leaves it out or says it in another way.
func (c *contents) add(e *events.Envelope, into sink) bool {
	about, metadata := strings.CutPrefix(string(e.Stream), stores.Metastream)
	tombstone := e.Kind == stores.TombstoneKind && e.Revision == math.MaxInt64
	switch {
	case strings.HasPrefix(about, "$"):
		c.left++
		return false
	case e.Stream == stores.CopyStream: // what it says is true of the one store only
		return false
	case metadata:
		c.metadata[e.Stream] = *e
	case tombstone:
		c.ended[e.Stream] = true
	}
	if (metadata || tombstone) && !into.takes(metadata, tombstone) {
		return false
	}
	sum := sumOf(e)
	c.count++
	c.total = chained(c.total, sum)
	c.streams[e.Stream] = chained(c.streams[e.Stream], sum)
	return true
}

// compare names the first difference.
func (c *contents) compare(there *contents) error {
	for _, name := range slices.Sorted(maps.Keys(c.streams)) {
		if there.streams[name] != c.streams[name] {
			return fmt.Errorf("%w: the copy of %s differs from its source", storage.ErrCorrupt, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.metadata)) {
		of := events.Stream(strings.TrimPrefix(string(name), stores.Metastream))
		got := there.metadata[name]
		if want := c.metadata[name]; !c.ended[of] && string(got.Data) != string(want.Data) {
			return fmt.Errorf("%w: the copy of the metadata %s differs from its source", storage.ErrCorrupt, name)
		}
	}
	if !maps.Equal(c.ended, there.ended) {
		return fmt.Errorf("%w: the source has %d permanently deleted streams, the copy %d", storage.ErrCorrupt, len(c.ended), len(there.ended))
	}
	if c.count != there.count || c.total != there.total {
		return fmt.Errorf("%w: the copy has %d events with digest %s, its source %d with %s", storage.ErrCorrupt, there.count, there.total, c.count, c.total)
	}
	return nil
}

// sumOf is a digest over what a copy keeps of an event.
func sumOf(e *events.Envelope) events.Digest {
	text := make([]byte, 0, 512+len(e.Data))
	part := func(bytes string) {
		text = binary.AppendUvarint(text, uint64(len(bytes)))
		text = append(text, bytes...)
	}
	text = binary.AppendVarint(append(text, e.ID[:]...), int64(e.Revision))
	part(string(e.Stream))
	part(string(e.Kind))
	part(string(e.Data))
	part(string(e.Metadata()))
	if e.Foreign != nil {
		part(e.Foreign.ContentType)
	}
	return blake3.Sum256(text)
}

func chained(before, next events.Digest) events.Digest {
	return blake3.Sum256(append(before[:], next[:]...))
}

// cursor hands out the events of a store one by one.
type cursor struct {
	journal storage.Journal
	page    storage.Page
	taken   int
}

// next returns nil at the end.
func (c *cursor) next(ctx context.Context) (*events.Envelope, error) {
	for c.taken == len(c.page.Events) {
		if c.page.End {
			return nil, nil //nolint:nilnil // the end is no error
		}
		page, err := c.journal.ReadAll(ctx, c.page.Next, storage.Forward, storage.Filter{System: true}, storage.Limit{})
		if err != nil {
			return nil, fmt.Errorf("read the target: %w", err)
		}
		c.page, c.taken = page, 0
	}
	c.taken++
	return &c.page.Events[c.taken-1], nil
}
