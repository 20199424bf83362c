package embedded

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"example.com/life/actors"
	"example.com/life/events"
)

// Delete makes a stream read as one that is not there, until somebody appends to it: its numbering then goes on where it was.
// What is answered is where the metadata event that says so stands.
func (s *Store) Delete(ctx context.Context, stream events.Stream, expected actors.Expected) (actors.Appended, error) {
	return s.Append(ctx, metastream(stream), actors.ExpectAny, []events.Envelope{{
		ID: uuid.New(), Kind: metadataKind, Version: 1, Time: s.config.Now(), Foreign: &events.Foreign{}, Data: []byte(`{"$tb":9223372036854775807}`),
	}})
}

// Tombstone ends a stream for good: nothing can be read from it or appended to it, ever.
func (s *Store) Tombstone(ctx context.Context, stream events.Stream, expected actors.Expected) (actors.Appended, error) {
	return actors.Appended{}, fmt.Errorf("end %s: %w", stream, errors.ErrUnsupported)
}

// Metadata returns what is said about a stream now; its Revision is NoRevision when nothing is.
func (s *Store) Metadata(ctx context.Context, stream events.Stream) (Metadata, error) {
	page, err := s.Read(ctx, metastream(stream), 1<<62, actors.Backward, actors.Limit{Events: 1})
	if err != nil || len(page.Events) == 0 {
		return Metadata{Revision: events.NoRevision}, err
	}
	return parseMetadata(&page.Events[0]), nil
}

// Import stores events where they stood in another store: with their ids, streams, revisions, positions and times. Positions rise
// strictly, and begin after the last one stored; revisions go on where each stream ends. Events that are stored already, with the
// same id at the same position, are passed over, so that an import that was cut off can be done again.
func (s *Store) Import(ctx context.Context, batch []events.Envelope) error {
	return fmt.Errorf("import: %w", errors.ErrUnsupported)
}
