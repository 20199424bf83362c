package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

const (
	importEvents = 4096    // most events that are decided, and written, together
	importBytes  = 4 << 20 // after which no more are
	pieceEvents  = 64      // most events of one record: a reader of one of them takes all apart
	pieceBytes   = 64 << 10
)

// ErrImport is wrapped by the error of an import that does not fit what is stored. Nothing of the group it names was stored.
var ErrImport = errors.New("the import does not fit")

// half is the file that says in which way an import is finished that was cut off.
type half struct {
	Finish string          `json:"finish"`      // the command that was under way
	Last   events.Position `json:"last,string"` // of the store, before it
}

// readHalf says whether an import was cut off; nil: none was.
func readHalf(disk vfs.FS, dir string) (*half, error) {
	path := filepath.Join(dir, importName)
	text, err := readSmall(disk, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no import was cut off
	}
	read := &half{}
	if err == nil {
		err = json.Unmarshal([]byte(text), read)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s, which says what is being imported, cannot be read: %w; import again into another directory", storage.ErrCorrupt, path, err)
	}
	return read, nil
}

// BeginImport notes that an import begins, which finish finishes: until FinishImport, the store is opened with Config.Filling only. If we die before
// the note is on disk, nothing of the import is stored; after that, the store is half an import, even if nothing is stored yet.
func (s *Store) BeginImport(finish string) error {
	if err := s.Room(); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	note, err := readHalf(s.disk.FS, s.config.Dir)
	if err != nil {
		return err
	}
	if note == nil {
		note = &half{Last: s.last()}
	}
	note.Finish = events.Clip(finish, 4<<10)
	text, err := json.Marshal(note)
	if err != nil {
		return err
	}
	return writeSmall(s.disk.FS, s.config.Dir, importName, string(text)+"\n")
}

// FinishImport notes that all of it is stored.
func (s *Store) FinishImport() error {
	return removeSmall(s.disk.FS, s.config.Dir, importName)
}

// DropImport undoes BeginImport if nothing was stored since: an import that does not fit leaves the store as it was.
func (s *Store) DropImport() error {
	note, err := readHalf(s.disk.FS, s.config.Dir)
	if err != nil || note == nil || note.Last != s.last() {
		return err
	}
	return s.FinishImport()
}

// Import stores events where they stood in another store: with their ids, streams, revisions, positions and times. Positions rise
// strictly, may leave gaps, and begin after the last one stored; revisions go on where each stream ends. Events that are stored
// already, with the same id at the same position, are passed over, so that an import that was cut off can be done again. Some
// thousand events at a time are stored whole or not at all. The batch is the store's from then on.
func (s *Store) Import(ctx context.Context, batch []events.Envelope) error {
	for i := range batch {
		if err := checkImport(batch[i : i+1]); err != nil {
			return err
		}
		if i > 0 && batch[i].Position <= batch[i-1].Position {
			return fmt.Errorf("%w: position %d of %s follows on %d; positions have to rise", ErrImport, batch[i].Position, batch[i].Ref(), batch[i-1].Position)
		}
	}
	stored, err := s.resumed(ctx, batch)
	if err != nil {
		return err
	}
	for rest := batch[stored:]; len(rest) > 0; {
		r := s.requests.Get().(*request) //nolint:errcheck // the pool holds nothing else
		r.action, r.stream, r.batch = importing, rest[0].Stream, nil
		r.imported, rest = nextPieces(rest)
		if _, err := s.request(ctx, r); err != nil {
			return fmt.Errorf("import: %w", err)
		}
	}
	return nil
}

// checkImport refuses an event that could not stand anywhere.
func checkImport(one []events.Envelope) error {
	e := &one[0]
	if err := checkAppend(e.Stream, storage.ExpectAny, one); err != nil {
		return fmt.Errorf("import position %d: %w", e.Position, err)
	}
	if e.Position == 0 || e.Position > math.MaxInt64 || e.Revision < 0 {
		return fmt.Errorf("%w: %s at position %d is no place for an event", ErrImport, e.Ref(), e.Position)
	}
	return nil
}

// resumed compares the front of a batch with what is stored there, and returns how many of its events are.
func (s *Store) resumed(ctx context.Context, batch []events.Envelope) (stored int, err error) {
	last := s.last()
	for stored < len(batch) && batch[stored].Position <= last {
		page, err := s.ReadAll(ctx, storage.Before(batch[stored].Position), storage.Forward, storage.Filter{System: true}, storage.Limit{})
		if errors.Is(err, storage.ErrPlace) {
			return 0, fmt.Errorf("%w: event %s, %s, is to come to position %d, where this store has none, though it has later ones",
				ErrImport, batch[stored].ID, batch[stored].Ref(), batch[stored].Position)
		}
		if err != nil {
			return 0, fmt.Errorf("import: compare with what is stored: %w", err)
		}
		for i := range page.Events {
			have := &page.Events[i]
			if stored == len(batch) || batch[stored].Position > last {
				return stored, nil
			}
			if want := &batch[stored]; have.ID != want.ID || have.Position != want.Position || have.Ref() != want.Ref() {
				return 0, fmt.Errorf("%w: event %s, %s at position %d, is to come where event %s, %s at position %d, is stored",
					ErrImport, want.ID, want.Ref(), want.Position, have.ID, have.Ref(), have.Position)
			}
			stored++
		}
	}
	return stored, nil
}

// nextPieces takes as many events from the front of a batch as are stored together. A piece has events of one stream at one
// position after the other.
func nextPieces(batch []events.Envelope) (pieces []piece, rest []events.Envelope) {
	count, size := 0, 0
	for len(batch) > 0 && count < importEvents && size < importBytes {
		n, bytes := 1, dataSize(&batch[0])
		for n < len(batch) && n < pieceEvents && bytes < pieceBytes && batch[n].Stream == batch[0].Stream &&
			batch[n].Position == batch[n-1].Position+1 && batch[n].Revision == batch[n-1].Revision+1 {
			bytes += dataSize(&batch[n])
			n++
		}
		p := piece{stream: batch[0].Stream, batch: batch[:n:n], first: batch[0].Revision, position: batch[0].Position, cut: true}
		p.encode()
		pieces = append(pieces, p)
		batch, count, size = batch[n:], count+n, size+bytes
	}
	return pieces, batch
}

// decideImport settles an import: all of its pieces, or none.
func (c *committer) decideImport(r *request) answer {
	if err := c.fits(r.imported); err != nil {
		return answer{err: err}
	}
	for i := range r.imported {
		p := &r.imported[i]
		h, err := c.head(p.stream) // in the cache from here on: fits has looked at all of them
		if err == nil {
			c.put(p)
			c.heads.put(p.stream, head{revision: p.last(), position: p.end(), deleted: h.deleted})
			if p.first == tombstoneRevision && c.described {
				c.noted(p.stream)
			}
			if name, ok := original(p.stream); ok {
				err = c.describeImported(name, &p.batch[len(p.batch)-1])
			}
		}
		if err != nil {
			return answer{err: err}
		}
	}
	return answer{}
}

// fits verifies that pieces go on where the store and their streams end.
func (c *committer) fits(pieces []piece) error {
	next, reached := c.next, make(map[events.Stream]events.Revision)
	for i := range pieces {
		p := &pieces[i]
		here := events.NewRef(p.stream, p.first)
		if p.position < next {
			return fmt.Errorf("%w: %s is to come at position %d, but the store has reached %d", ErrImport, here, p.position, next-1)
		}
		next = p.end() + 1
		last, found := reached[p.stream]
		if !found {
			h, err := c.head(p.stream)
			if err == nil {
				if name, ok := original(p.stream); ok {
					_, err = c.head(name)
				}
			}
			if err != nil {
				return fmt.Errorf("import %s: %w", here, err)
			}
			last = h.revision
		}
		switch {
		case last == tombstoneRevision:
			return fmt.Errorf("%w: %s: %w", ErrImport, here, storage.ErrDeleted)
		case p.first != last+1 && p.first != tombstoneRevision:
			return fmt.Errorf("%w: %s cannot follow on revision %d of its stream", ErrImport, here, last)
		}
		reached[p.stream] = p.last()
	}
	return nil
}

// describeImported notes what imported metadata mean. What they did when they were written stands in the import itself.
func (c *committer) describeImported(stream events.Stream, e *events.Envelope) error {
	c.noted(stream)
	h, err := c.head(stream)
	h.deleted = parseMetadata(e).Deleted()
	if err == nil {
		c.heads.put(stream, h)
	}
	return err
}
