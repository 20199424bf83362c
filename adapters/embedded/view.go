package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// damaged makes an error of what a read found. What Pebble or a checksum calls damage is storage.ErrCorrupt.
func damaged(what string, err error) error {
	if errors.Is(err, errRecord) || pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %s: %w; life store check lists all that is damaged, a backup has it whole", storage.ErrCorrupt, what, err)
	}
	return fmt.Errorf("read %s: %w", what, err)
}

// records walks over the records in order of position.
type records struct{ *pebble.Iterator }

func (s *Store) records() (records, error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{recordPrefix}, UpperBound: []byte{recordPrefix + 1}})
	if err != nil {
		return records{}, damaged("the records", err)
	}
	return records{it}, nil
}

// record is the one the walk stands on.
func (r records) record() (record, error) {
	value, err := r.ValueAndErr()
	if err != nil {
		return record{}, damaged(fmt.Sprintf("the record at position %d", r.position()), err)
	}
	rec, err := parseRecord(r.Key(), value)
	if err != nil {
		return record{}, damaged(fmt.Sprintf("the record at position %d", r.position()), err)
	}
	return rec, nil
}

func (r records) position() events.Position {
	if key := r.Key(); len(key) == recordKeySize {
		return events.Position(binary.BigEndian.Uint64(key[1:]))
	}
	return 0
}

// failure is why the walk ended, nil at its end.
func (r records) failure() error {
	if err := r.Error(); err != nil {
		return damaged("the records", err)
	}
	return nil
}

// at goes to the record with this position, which the index says is there.
func (r records) at(position events.Position, direction storage.Direction) (record, error) {
	if r.Valid() && r.near(position, direction) {
		return r.record()
	}
	var scratch [recordKeySize]byte
	if r.SeekGE(recordKey(scratch[:0], position)) && r.position() == position {
		return r.record()
	}
	if err := r.failure(); err != nil {
		return record{}, err
	}
	return record{}, damaged(fmt.Sprintf("the record at position %d", position), fmt.Errorf("%w: it is missing", errRecord))
}

// near walks to the record with this position if it is so close that a seek would cost more.
func (r records) near(position events.Position, direction storage.Direction) bool {
	const steps = 4
	if direction == storage.Backward {
		for here := r.position(); here > position && here-position <= steps && r.Prev(); here = r.position() {
		}
	} else {
		for here := r.position(); here < position && position-here <= steps && r.Next(); here = r.position() {
		}
	}
	return r.Valid() && r.position() == position
}

// lastRecord verifies the newest record and returns the position of its last event; 0 when the store is empty.
func (s *Store) lastRecord() (events.Position, error) {
	all, err := s.records()
	if err != nil {
		return 0, err
	}
	if !all.Last() {
		return 0, errors.Join(all.failure(), all.Close())
	}
	rec, err := all.record()
	if err == nil {
		err = rec.each(events.Stream(rec.stream), func(*events.Envelope) bool { return true })
		if err != nil {
			err = damaged(fmt.Sprintf("the record at position %d", rec.position), err)
		}
	}
	return rec.last(), errors.Join(err, all.Close())
}

// checkTables verifies that no table is missing: where one begins, the record before must be there. It looks at two records of
// each table, and there are some dozens of tables in a gigabyte.
func (s *Store) checkTables() error {
	levels, err := s.db.SSTables()
	if err != nil {
		return damaged("the tables", err)
	}
	all, err := s.records()
	if err != nil {
		return err
	}
	defer func() { _ = all.Close() }() //nolint:errcheck // it repeats what the seeks met
	for _, tables := range levels {
		for _, table := range tables {
			if key := table.Smallest.UserKey; len(key) == recordKeySize && key[0] == recordPrefix {
				if err := adjoins(all, key); err != nil {
					return err
				}
			}
		}
	}
	return adjoins(all, []byte{recordPrefix}) // and nothing before the first
}

// adjoins verifies that the first record at or after key follows on another one, or is the first of all. One that is there and
// cannot be read is no reason to refuse all others: reads and Check will name it.
func adjoins(all records, key []byte) error {
	if !all.SeekGE(key) {
		return nil
	}
	rec, err := all.record()
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	before, end := rec.before, events.Position(0)
	if all.Prev() {
		if rec, err = all.record(); err != nil {
			return nil //nolint:nilerr // see above
		}
		end = rec.last()
	}
	if all.Error() == nil {
		return follows(before, end)
	}
	return nil
}

// follows verifies that a record that says where the one before it ended stands behind that one.
func follows(before, end events.Position) error {
	switch {
	case end < before:
		return damaged(fmt.Sprintf("the records at positions %d to %d", end+1, before), fmt.Errorf("%w: they are missing", errRecord))
	case end > before:
		return damaged(fmt.Sprintf("the record at position %d", end), fmt.Errorf("%w: the one after it says that there is none since position %d", errRecord, before))
	}
	return nil
}

// view walks over the index of one stream, and sees what is not after bound.
type view struct {
	stream  events.Stream
	bound   events.Position
	index   *pebble.Iterator
	records records
	prefix  int // bytes of every key before the revision
	key     []byte
	current entry
}

func (s *Store) streamView(stream events.Stream, bound events.Position) (*view, error) {
	key := streamPrefix(make([]byte, 0, 2*len(stream)+16), stream)
	upper := append(key[len(key):], key...)
	upper[len(upper)-1]++
	index, err := s.db.NewIter(&pebble.IterOptions{LowerBound: key, UpperBound: upper})
	if err != nil {
		return nil, damaged(fmt.Sprintf("the index of %s", stream), err)
	}
	return &view{stream: stream, bound: bound, index: index, prefix: len(key), key: upper}, nil
}

func (v *view) close() error {
	err := v.index.Close()
	if v.records.Iterator != nil {
		err = errors.Join(err, v.records.Close())
	}
	if err != nil {
		return damaged(fmt.Sprintf("the index of %s", v.stream), err)
	}
	return nil
}

// here takes the entry the walk came to; false at the end, and for what must not be seen yet.
func (v *view) here(valid bool) (bool, error) {
	if !valid {
		if err := v.index.Error(); err != nil {
			return false, damaged(fmt.Sprintf("the index of %s", v.stream), err)
		}
		return false, nil
	}
	value, err := v.index.ValueAndErr()
	if err != nil {
		return false, damaged(fmt.Sprintf("the index of %s", v.stream), err)
	}
	if v.current, err = parseIndex(v.prefix, v.index.Key(), value); err != nil {
		return false, damaged(fmt.Sprintf("the index of %s", v.stream), fmt.Errorf("%w: %w", errRecord, err))
	}
	return v.current.position <= v.bound, nil
}

// last finds the newest batch of the stream.
func (v *view) last() (entry, bool, error) {
	for valid := v.index.Last(); ; valid = v.index.Prev() {
		seen, err := v.here(valid)
		if err != nil || seen || !valid {
			return v.current, seen, err
		}
	}
}

// seek goes to the batch that holds the revision or, without one, to the next batch forward.
func (v *view) seek(revision events.Revision) (bool, error) {
	seen, err := v.here(v.index.SeekLT(v.at(revision)))
	if err != nil || seen && v.current.last() >= revision {
		return seen, err
	}
	return v.here(v.index.Next()) // from before the first entry this is the first
}

// at is the first key after every batch that begins at or before the revision.
func (v *view) at(revision events.Revision) []byte {
	v.key = append(v.key[:0], v.key[:v.prefix]...)
	v.key[v.prefix-1] = 0
	v.key = binary.BigEndian.AppendUint64(v.key, uint64(min(revision, math.MaxInt64-1))+1)
	return v.key
}

// step goes to the neighbouring batch.
func (v *view) step(direction storage.Direction) (bool, error) {
	if direction == storage.Backward {
		return v.here(v.index.Prev())
	}
	return v.here(v.index.Next())
}

// record reads the batch the walk stands on.
func (v *view) record(s *Store, direction storage.Direction) (rec record, err error) {
	if v.records.Iterator == nil {
		if v.records, err = s.records(); err != nil {
			return record{}, err
		}
	}
	return v.records.batch(v.stream, v.current, direction)
}

// batch reads a batch of a stream, and checks that it is the one the index means.
func (r records) batch(stream events.Stream, e entry, direction storage.Direction) (record, error) {
	rec, err := r.at(e.position, direction)
	if err != nil {
		return record{}, fmt.Errorf("%s: %w", events.NewRef(stream, e.first), err)
	}
	if rec.first != e.first || rec.count != e.count || string(rec.stream) != string(stream) {
		return record{}, damaged(fmt.Sprintf("the record of %s at position %d", events.NewRef(stream, e.first), e.position),
			fmt.Errorf("%w: it holds %d events from %s", errRecord, rec.count, events.NewRef(events.Stream(rec.stream), rec.first)))
	}
	return rec, nil
}

// younger reports that the event with this revision is not older than a time.
func (v *view) younger(s *Store, revision events.Revision, than events.Micros) (young bool, err error) {
	if seen, err := v.seek(revision); err != nil || !seen {
		return false, err
	}
	rec, err := v.record(s, storage.Forward)
	if err != nil {
		return false, err
	}
	err = rec.each(v.stream, func(e *events.Envelope) bool {
		young = e.Time >= than
		return e.Revision < revision
	})
	if err != nil {
		return false, damaged(fmt.Sprintf("the record of %s", events.NewRef(v.stream, rec.first)), err)
	}
	return young, nil
}

// scan hands over a stream's events from a revision on, those that are not on disk yet among them: only the committer may.
func (s *Store) scan(stream events.Stream, from events.Revision, use func(e *events.Envelope) bool) (err error) {
	v, err := s.streamView(stream, math.MaxUint64)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	seen, err := v.seek(from)
	for more := true; err == nil && seen && more; seen, err = v.step(storage.Forward) {
		rec, err := v.record(s, storage.Forward)
		if err != nil {
			return err
		}
		err = rec.each(stream, func(e *events.Envelope) bool {
			if e.Revision >= from {
				more = use(e)
			}
			return more
		})
		if err != nil {
			return damaged(fmt.Sprintf("the record of %s", events.NewRef(stream, rec.first)), err)
		}
	}
	return err
}

// scanBack hands over a stream's events that are not after bound, batch by batch from the latest to the first, until use returns false at the end of a batch.
func (s *Store) scanBack(stream events.Stream, bound events.Position, use func(e *events.Envelope) bool) (err error) {
	v, err := s.streamView(stream, bound)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	_, seen, err := v.last()
	for more := true; err == nil && seen && more; seen, err = v.step(storage.Backward) {
		rec, err := v.record(s, storage.Backward)
		if err != nil {
			return err
		}
		err = rec.each(stream, func(e *events.Envelope) bool {
			more = use(e)
			return true
		})
		if err != nil {
			return damaged(fmt.Sprintf("the record of %s", events.NewRef(stream, rec.first)), err)
		}
	}
	return err
}
