package embedded

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Delete makes a stream read as one that is not there, until somebody appends to it: its numbering then goes on where it was.
// Its metadata are replaced. What is answered is where the metadata event that says so stands.
func (s *Store) Delete(ctx context.Context, stream events.Stream, expected storage.Expected) (storage.Appended, error) {
	return s.remove(ctx, stream, expected, deleting)
}

// Tombstone ends a stream for good, whether it is there or not: nothing can be read from it or appended to it, ever. What is
// answered is where the event that says so stands: its revision is the greatest there is.
func (s *Store) Tombstone(ctx context.Context, stream events.Stream, expected storage.Expected) (storage.Appended, error) {
	return s.remove(ctx, stream, expected, ending)
}

func (s *Store) remove(ctx context.Context, stream events.Stream, expected storage.Expected, action action) (storage.Appended, error) {
	if err := storage.CheckAppend(stream, expected, nil); err != nil {
		return storage.Appended{}, err
	}
	if _, ok := original(stream); ok {
		return storage.Appended{}, fmt.Errorf("%w: %s holds metadata; they end with their stream", storage.ErrInvalidAppend, stream)
	}
	r := s.requests.Get().(*request) //nolint:errcheck // the pool holds nothing else
	r.action, r.expected, r.stream, r.batch, r.imported = action, expected, stream, nil, nil
	return s.request(ctx, r)
}

// delete writes the metadata that make a stream a deleted one, and nothing else of what they said.
func (c *committer) delete(stream events.Stream, h head) answer {
	p, err := c.own(metastream(stream), metadataKind, &events.Foreign{}, fmt.Appendf(nil, `{"$tb":%d}`, deletedBefore))
	if err != nil {
		return answer{err: fmt.Errorf("delete %s: %w", stream, err)}
	}
	c.noted(stream)
	h.deleted = true
	c.heads.put(stream, h)
	return p.appended()
}

// end writes a stream's last event.
func (c *committer) end(stream events.Stream) answer {
	p, err := c.own(stream, deletedKind, &events.Foreign{ContentType: octets, Base64: true}, []byte(`""`))
	if err != nil {
		return answer{err: fmt.Errorf("end %s: %w", stream, err)}
	}
	if c.described {
		c.noted(stream) // its metadata count for nothing any more
	}
	return p.appended()
}

// metadataText returns what is said about a stream. All of the group has been applied.
func (c *committer) metadataText(stream events.Stream) ([]byte, error) {
	newest, _, err := c.store.newest(metastream(stream), everything)
	if err != nil {
		return nil, fmt.Errorf("bring %s back: %w", stream, err)
	}
	return metadataText(&newest)
}

// describe notes what a metadata event in the group means for its stream. Whatever is written about a deleted stream brings it
// back; about one that was ended for good it means nothing.
func (c *committer) describe(stream events.Stream, e *events.Envelope) error {
	c.noted(stream)
	h, err := c.head(stream) // in the cache: the event was decided by it
	if err != nil || h.ended() {
		return err
	}
	deleted := h.deleted
	h.deleted = parseMetadata(e).Deleted()
	c.heads.put(stream, h)
	if !deleted {
		return nil
	}
	text, err := metadataText(e)
	if err != nil {
		return nil //nolint:nilerr // what was written deletes nothing any more, and nothing can be added to it
	}
	return c.revive(stream, h.revision+1, text)
}

// revive makes a deleted stream begin at a revision, and leaves everything else that its metadata say as it is.
func (c *committer) revive(stream events.Stream, begin events.Revision, metadata []byte) error {
	changed, ok := truncatedBefore(metadata, begin)
	if !ok {
		return nil // what was written deletes nothing any more
	}
	if _, err := c.own(metastream(stream), metadataKind, &events.Foreign{}, changed); err != nil {
		return err
	}
	c.noted(stream)
	h, err := c.head(stream)
	if err == nil && h.deleted {
		h.deleted = false
		c.heads.put(stream, h)
	}
	return err
}

func (c *committer) noted(stream events.Stream) {
	c.described = true
	c.group.metadata = append(c.group.metadata, stream)
}

// own writes an event of the store's own at the end of a stream.
func (c *committer) own(stream events.Stream, kind events.Kind, foreign *events.Foreign, data []byte) (*piece, error) {
	h, err := c.head(stream)
	if err != nil {
		return nil, err
	}
	e := events.Envelope{ID: uuid.New(), Kind: kind, Version: 1, Time: c.store.config.now(), Foreign: foreign, Data: data}
	p := &piece{stream: stream, batch: []events.Envelope{e}, first: h.revision + 1, position: c.next}
	if kind == deletedKind {
		p.first = tombstoneRevision
	}
	p.encode()
	c.put(p)
	c.heads.put(stream, head{revision: p.first, position: p.position})
	return p, nil
}
