package embedded

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"

	"github.com/cockroachdb/pebble/v2"

	"example.com/life/actors/storage"
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
	Err      error // matches storage.ErrCorrupt
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

// Check reads every record and every index entry that was on disk when it began: formats, checksums, positions without gaps
// but those that are accounted for, revisions without gaps, and an index that names exactly what is there. It needs memory for each stream's name. Appends and
// reads go on meanwhile. Progress may be nil. The error is about the check itself; damage is in the report.
func (s *Store) Check(ctx context.Context, progress func(Progress)) (Report, error) {
	done, err := s.reading(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("check the store: %w", err)
	}
	defer done()
	c := &checker{store: s, next: map[events.Stream]events.Revision{}, progress: progress}
	c.bound, c.total = s.end()
	c.records.seed = maphash.MakeSeed()
	c.index.seed = c.records.seed
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
	total    uint64 // events, as the store counts them
	looked   uint64 // of them
	told     uint64
	records  tally    // of the records that are whole
	index    tally    // of the index entries outside lost ranges
	lost     []Damage // ranges of positions that cannot be read, to be named by the index
}

func (c *checker) damage(d Damage) {
	if !errors.Is(d.Err, storage.ErrCorrupt) {
		d.Err = fmt.Errorf("%w: %w", storage.ErrCorrupt, d.Err)
	}
	if len(c.report.Damage) == mostDamage {
		c.report.More++
		return
	}
	c.report.Damage = append(c.report.Damage, d)
}

// checkRecords walks over all positions. Where tables cannot be read it goes on behind them.
func (c *checker) checkRecords(ctx context.Context) error {
	anew := false // the record before is lost
	for next := events.Position(1); next <= c.bound; anew = true {
		if err := ctx.Err(); err != nil {
			return err
		}
		reached, err := c.walk(ctx, next, anew)
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
	if len(c.lost) == 0 && c.looked != c.total {
		c.damage(Damage{Revision: events.NoRevision, Err: fmt.Errorf("the store counts %d events, and has %d", c.total, c.looked)})
	}
	if c.progress != nil {
		c.progress(Progress{Events: c.total, Total: c.total})
	}
	return nil
}

// walk verifies records from a position on and returns the first position that it could not reach, and why. Each record says
// where the one before it ended: nobody knows better if that one is lost.
func (c *checker) walk(ctx context.Context, from events.Position, anew bool) (next events.Position, err error) {
	all, err := c.store.records()
	if err != nil {
		return from, err
	}
	defer func() { err = errors.Join(err, all.Close()) }()
	var scratch [recordKeySize]byte
	next = from
	for valid := all.SeekGE(recordKey(scratch[:0], from)); valid; valid = all.Next() {
		if ctx.Err() != nil || all.position() > c.bound {
			return next, ctx.Err()
		}
		rec, err := all.record()
		if err != nil {
			// The walk itself goes on; how many events this one had, the next one shows.
			return next, err
		}
		if !anew {
			if err := follows(rec.before, next-1); err != nil && rec.before >= next {
				return next, nil
			} else if err != nil {
				c.damage(Damage{Stream: events.Stream(rec.stream), Revision: rec.first, First: rec.position, Last: rec.last(), Err: err})
			}
		}
		anew = false
		c.record(&rec)
		next = rec.last() + 1
		c.tell()
	}
	return next, all.failure()
}

// behind finds the first record that can be read behind a position that cannot. Each look into a damaged block is slow, because
// Pebble searches it for the flipped bit: so this doubles its steps and then halves them.
func (c *checker) behind(position events.Position) events.Position {
	low, high, found := position, c.bound+1, c.bound+1
	for step := events.Position(1); position+step <= c.bound; step *= 2 {
		if at, ok := c.readable(position + step); ok {
			high, found = position+step, at
			break
		}
		low = position + step
	}
	for high-low > 1 {
		middle := low + (high-low)/2
		if at, ok := c.readable(middle); ok {
			high, found = middle, at
		} else {
			low = middle
		}
	}
	return found
}

// readable finds the first record at or after a position; ok is false when that cannot be read.
func (c *checker) readable(position events.Position) (at events.Position, ok bool) {
	all, err := c.store.records()
	if err != nil {
		return 0, false
	}
	at = c.bound + 1
	if all.SeekGE(recordKey(nil, position)) {
		at = min(at, all.position())
	}
	return at, errors.Join(all.Error(), all.Close()) == nil
}

// record verifies one record, and that its stream goes on with it.
func (c *checker) record(rec *record) {
	stream := events.Stream(rec.stream)
	d := Damage{Stream: stream, Revision: rec.first, First: rec.position, Last: rec.last()}
	c.looked += uint64(rec.count)
	if err := rec.each(stream, func(*events.Envelope) bool { return true }); err != nil {
		d.Err = err
		c.damage(d)
		return
	}
	c.report.Events += uint64(rec.count)
	next := c.next[stream]
	switch {
	case len(c.lost) > 0: // a lost record leaves gaps behind it, and is reported itself
	case next == tombstoneRevision:
		d.Err = errors.New("the stream goes on although it was ended")
		c.damage(d)
	case rec.first != next && rec.first != tombstoneRevision:
		d.Err = fmt.Errorf("the stream goes on at revision %d, not at %d", rec.first, next)
		c.damage(d)
	}
	if rec.first == tombstoneRevision {
		c.next[stream] = tombstoneRevision
	} else {
		c.next[stream] = max(next, rec.first+events.Revision(rec.count))
	}
	c.records.add(stream, entry{first: rec.first, position: rec.position, count: rec.count})
}

// tally is a sum over places that does not depend on their order: it tells whether the index names exactly the records.
type tally struct {
	seed  maphash.Seed
	count int
	sum   uint64
}

func (t *tally) add(stream events.Stream, e entry) {
	t.count++
	t.sum += maphash.Comparable(t.seed, struct {
		stream events.Stream
		entry  entry
	}{stream, e})
}

// checkIndex walks over all index entries: those in lost ranges name what was lost, the others must be those of the records.
func (c *checker) checkIndex(ctx context.Context) error {
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
	err = errors.Join(index.Error(), index.Close())
	if err != nil {
		c.damage(Damage{Revision: events.NoRevision, Err: fmt.Errorf("read the index: %w", err)})
	}
	for i, lost := range c.lost {
		if !named[i] {
			lost.Revision = events.NoRevision
			c.damage(lost)
		}
	}
	if err == nil && (c.records.count != c.index.count || c.records.sum != c.index.sum) {
		return c.compare(ctx)
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
	if e.position > c.bound {
		return
	}
	for i, lost := range c.lost {
		if e.position <= lost.Last && e.end() >= lost.First {
			named[i] = true
			c.damage(Damage{Stream: stream, Revision: e.first, First: e.position, Last: e.end(), Err: lost.Err})
			return
		}
	}
	c.index.add(stream, e)
}

// compare finds the records that the index does not have as they are. It is slow, and rarely needed.
func (c *checker) compare(ctx context.Context) error {
	before := len(c.report.Damage)
	all, err := c.store.records()
	if err != nil {
		return err
	}
	for valid := all.First(); valid && all.position() <= c.bound && ctx.Err() == nil; valid = all.Next() {
		rec, err := all.record()
		if err != nil {
			continue // reported before
		}
		if err := c.indexed(&rec); err != nil {
			c.damage(Damage{Stream: events.Stream(rec.stream), Revision: rec.first, First: rec.position, Last: rec.last(), Err: err})
		}
	}
	if len(c.report.Damage) == before {
		c.damage(Damage{Revision: events.NoRevision, Err: fmt.Errorf("the index has %d entries for %d records", c.index.count, c.records.count)})
	}
	return errors.Join(ctx.Err(), all.Close())
}

func (c *checker) indexed(rec *record) error {
	key := indexKey(nil, events.Stream(rec.stream), rec.first)
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

func (c *checker) tell() {
	if c.progress != nil && c.looked-c.told >= progressEvery {
		c.told = c.looked
		c.progress(Progress{Events: c.looked, Total: c.total})
	}
}
