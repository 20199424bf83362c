package embedded

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"example.com/life/actors"
	"example.com/life/events"
)

// Progress says how far a check has come.
type Progress struct {
	Events uint64 // looked at
	Total  uint64 // when the check began
}

// Report is what a check found.
type Report struct {
	Events  uint64   // verified
	Streams int      // with at least one verified event
	Damage  []Damage // in order of discovery; empty when all is well
	More    int      // damage beyond the first thousand
}

// Damage is one thing that is not as it was stored.
type Damage struct {
	Stream   events.Stream   // empty when that cannot be told any more
	Revision events.Revision // of the first event touched; NoRevision when that cannot be told
	First    events.Position // the positions touched; 0 when it is not about positions
	Last     events.Position
	Err      error // matches actors.ErrCorrupt
}

// String says what is damaged.
func (d Damage) String() string {
	place := "positions unknown"
	if d.First != 0 {
		place = fmt.Sprintf("positions %d to %d", d.First, d.Last)
	}
	if d.Stream != "" {
		place += " (" + string(events.NewRef(d.Stream, d.Revision)) + ")"
	}
	return fmt.Sprintf("%s: %v", place, d.Err)
}

const (
	mostDamage    = 1000
	progressEvery = 10_000 // events
)

// Check reads every record and every index entry that was on disk when it began: formats, checksums, positions without gaps,
// revisions without gaps, and an index that names exactly what is there. It needs memory for each stream's name. Appends and
// reads go on meanwhile. Progress may be nil. The error is about the check itself; damage is in the report.
func (s *Store) Check(ctx context.Context, progress func(Progress)) (Report, error) {
	done, err := s.reading(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("check the store: %w", err)
	}
	defer done()
	c := &checker{store: s, bound: s.last(), next: map[events.Stream]events.Revision{}, progress: progress}
	if err = c.checkRecords(ctx); err == nil {
		err = c.checkIndex(ctx)
	}
	c.report.Streams = len(c.next)
	if err != nil {
		return c.report, fmt.Errorf("check the store: %w", err)
	}
	return c.report, nil
}

type checker struct {
	store    *Store
	bound    events.Position
	report   Report
	next     map[events.Stream]events.Revision // of each stream, the revision that has to follow
	progress func(Progress)
	told     uint64
	lost     []Damage // ranges of positions that cannot be read, to be named by the index
}

func (c *checker) damage(d Damage) {
	if !errors.Is(d.Err, actors.ErrCorrupt) {
		d.Err = fmt.Errorf("%w: %w", actors.ErrCorrupt, d.Err)
	}
	if len(c.report.Damage) == mostDamage {
		c.report.More++
		return
	}
	c.report.Damage = append(c.report.Damage, d)
}

// checkRecords walks over all positions. Where tables cannot be read it goes on behind them.
func (c *checker) checkRecords(ctx context.Context) error {
	for next := events.Position(1); next <= c.bound; {
		if err := ctx.Err(); err != nil {
			return err
		}
		reached, err := c.walk(ctx, next)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if next = reached; next > c.bound {
			break
		}
		behind := c.behind(next)
		if err == nil {
			err = fmt.Errorf("%w: the records are missing", errRecord)
		}
		c.lost = append(c.lost, Damage{First: next, Last: behind - 1, Err: err})
		next = behind
	}
	return nil
}

// walk verifies records from a position on and returns the first position that it could not reach, and why.
func (c *checker) walk(ctx context.Context, from events.Position) (next events.Position, err error) {
	all, err := c.store.records()
	if err != nil {
		return from, err
	}
	defer func() { err = errors.Join(err, all.Close()) }()
	var scratch [recordKeySize]byte
	next = from
	for valid := all.SeekGE(recordKey(scratch[:0], from)); valid; valid = all.Next() {
		position := all.position()
		if ctx.Err() != nil || position > c.bound || position > next {
			return next, ctx.Err()
		}
		rec, err := all.record()
		if err != nil {
			// The walk itself goes on; how many events this one had, the next one shows.
			return next, err
		}
		c.record(&rec)
		next = rec.last() + 1
		c.tell(uint64(next - 1))
	}
	return next, all.failure()
}

// behind finds a record that can be read behind a position that cannot.
func (c *checker) behind(position events.Position) events.Position {
	var scratch [recordKeySize]byte
	for step := events.Position(1); position+step <= c.bound; step *= 2 {
		all, err := c.store.records()
		if err != nil {
			break
		}
		found := all.SeekGE(recordKey(scratch[:0], position+step))
		at := all.position0(found)
		if err := all.Close(); found && err == nil && at <= c.bound {
			return at
		}
	}
	return c.bound + 1
}

func (r records) position0(valid bool) events.Position {
	if !valid {
		return 0
	}
	return r.position()
}

// record verifies one record and its entry in the index.
func (c *checker) record(rec *record) {
	stream := events.Stream(rec.stream)
	d := Damage{Stream: stream, Revision: rec.first, First: rec.position, Last: rec.last()}
	if err := rec.each(stream, func(*events.Envelope) bool { return true }); err != nil {
		d.Err = err
		c.damage(d)
		return
	}
	c.report.Events += uint64(rec.count)
	next := c.next[stream]
	if rec.first != next && len(c.lost) == 0 { // a lost record leaves gaps behind it, and is reported itself
		d.Err = fmt.Errorf("the stream goes on at revision %d, not at %d", rec.first, next)
		c.damage(d)
	}
	c.next[stream] = max(next, rec.first+events.Revision(rec.count))
	if d.Err = c.indexed(stream, rec); d.Err != nil {
		c.damage(d)
	}
}

func (c *checker) indexed(stream events.Stream, rec *record) error {
	key := indexKey(nil, stream, rec.first)
	value, closer, err := c.store.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return errors.New("the index does not have it")
	}
	if err != nil {
		return fmt.Errorf("read its index entry: %w", err)
	}
	e, err := parseIndex(len(key)-8, key, value)
	if err == nil && (e.position != rec.position || e.count != rec.count) {
		err = fmt.Errorf("the index has it with %d events at position %d", e.count, e.position)
	}
	return errors.Join(err, closer.Close())
}

// checkIndex walks over all index entries, names those in lost ranges, and finds those without a record.
func (c *checker) checkIndex(ctx context.Context) (err error) {
	index, err := c.store.db.NewIter(&pebble.IterOptions{LowerBound: []byte{indexPrefix}, UpperBound: []byte{indexPrefix + 1}})
	if err != nil {
		return damaged("the index", err)
	}
	named := make([]bool, len(c.lost))
	for valid := index.First(); valid; valid = index.Next() {
		if err := ctx.Err(); err != nil {
			return errors.Join(err, index.Close())
		}
		c.entry(index, named)
	}
	if err := errors.Join(index.Error(), index.Close()); err != nil {
		c.damage(Damage{Revision: events.NoRevision, Err: fmt.Errorf("read the index: %w", err)})
	}
	for i, lost := range c.lost {
		if !named[i] {
			lost.Revision = events.NoRevision
			c.damage(lost)
		}
	}
	return nil
}

func (c *checker) entry(index *pebble.Iterator, named []bool) {
	key := index.Key()
	if len(key) < 10 || key[len(key)-9] != 0 {
		c.damage(Damage{Revision: events.NoRevision, Err: fmt.Errorf("the index key %q is malformed", key)})
		return
	}
	stream := events.Stream(key[1 : len(key)-9])
	value, err := index.ValueAndErr()
	var e entry
	if err == nil {
		e, err = parseIndex(len(key)-8, key, value)
	}
	if err != nil {
		c.damage(Damage{Stream: stream, Revision: events.NoRevision, Err: err})
		return
	}
	for i, lost := range c.lost {
		if e.position <= lost.Last && e.end() >= lost.First && e.position <= c.bound {
			named[i] = true
			c.missing(stream, e, lost.Err)
			return
		}
	}
	if e.position <= c.bound && e.last() >= c.next[stream] {
		c.missing(stream, e, errors.New("the index names a record that is not there"))
	}
}

// missing reads what an entry means once more, on its own: part of a lost range may be whole.
func (c *checker) missing(stream events.Stream, e entry, cause error) {
	key := recordKey(nil, e.position)
	value, closer, err := c.store.db.Get(key)
	if err == nil {
		rec, parseErr := parseRecord(key, value)
		if parseErr == nil {
			c.record(&rec)
		}
		if err = errors.Join(parseErr, closer.Close()); err == nil {
			return
		}
	}
	if errors.Is(err, pebble.ErrNotFound) {
		err = cause
	}
	c.damage(Damage{Stream: stream, Revision: e.first, First: e.position, Last: e.end(), Err: err})
}

func (c *checker) tell(seen uint64) {
	if c.progress != nil && (seen-c.told >= progressEvery || seen == uint64(c.bound)) {
		c.told = seen
		c.progress(Progress{Events: seen, Total: uint64(c.bound)})
	}
}
