package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// ReadAll implements storage.Journal.
func (s *Store) ReadAll(ctx context.Context, from storage.Place, direction storage.Direction, filter storage.Filter, limit storage.Limit) (page storage.Page, err error) {
	done, err := s.reading(ctx)
	if err != nil {
		return page, err
	}
	defer done()
	bound := s.last()
	if from == storage.End() && bound > 0 {
		from = storage.After(bound)
	}
	page = storage.Page{Next: from, End: true}
	switch {
	case bound == 0 && (from == storage.Start() || from == storage.End()), direction == storage.Backward && from == storage.Start(),
		direction == storage.Forward && from == storage.After(bound):
		return page, nil
	case from.Position > bound:
		return page, fmt.Errorf("%w: read everything from %s; the last event is at %d", storage.ErrPlace, from, bound)
	}
	all, err := s.records()
	if err != nil {
		return page, err
	}
	defer func() { err = errors.Join(err, all.Close()) }()
	page.End = false
	w := walk{pager: pager{page: &page, limit: limit.Bounded()}, filter: filter, direction: direction, bound: bound, names: map[string]events.Stream{}}
	err = w.run(ctx, all, from)
	return page, err
}

// walk reads records in order of position, either way.
type walk struct {
	pager
	filter    storage.Filter
	direction storage.Direction
	bound     events.Position
	names     map[string]events.Stream // one string for each stream of the page
	next      events.Position          // the first that was not looked at, in the direction of the walk
	edge      events.Position          // where the record before ended or, backward, where the next one has to end

	looked, weighed int // events and bytes
}

// run fills the page from a place beside which there is an event in this direction.
func (w *walk) run(ctx context.Context, all records, from storage.Place) error {
	valid, err := w.begin(all, from)
	first := w.next
	w.page.End = err == nil && w.ended()
	for ; err == nil && valid && !w.ended(); valid = w.step(all) {
		if err := ctx.Err(); err != nil {
			return err
		}
		rec, err := all.record()
		if err == nil {
			err = w.adjoins(&rec)
		}
		if err != nil {
			return err
		}
		more, err := w.take(&rec)
		if err != nil {
			return damaged(fmt.Sprintf("the record at position %d", rec.position), err)
		}
		w.goOn(first)
		if !more {
			return nil
		}
	}
	if err == nil {
		err = all.failure()
	}
	if err == nil && !w.ended() {
		err = damaged(fmt.Sprintf("the record at position %d", w.next), fmt.Errorf("%w: it is missing", errRecord))
	}
	return err
}

// goOn says where the next page begins: beside the last event that was looked at.
func (w *walk) goOn(first events.Position) {
	w.page.End = w.ended()
	switch {
	case w.next == first: // nothing was
	case w.direction == storage.Forward:
		w.page.Next = storage.After(w.next - 1)
	default:
		w.page.Next = storage.After(w.next)
	}
}

// begin goes to the first record of the page, and notes what has to be beside it. A place is beside an event, so it is in the record
// that holds the event.
func (w *walk) begin(all records, from storage.Place) (bool, error) {
	if from == storage.Start() {
		w.next = 1
		return all.First(), all.failure()
	}
	var scratch [recordKeySize]byte
	var rec record
	found := all.SeekLT(recordKey(scratch[:0], from.Position+1))
	err := all.failure()
	if err == nil && found {
		rec, err = all.record()
	}
	if err == nil && (!found || rec.last() < from.Position) {
		err = unknown(all, &rec, found, from)
	}
	if err != nil {
		return false, err
	}
	if w.direction == storage.Backward {
		return w.beginBackward(all, &rec, from), all.failure()
	}
	if w.next, w.edge = from.Position, rec.before; !from.Before {
		w.next++
	}
	if w.next > rec.last() {
		w.edge = rec.last()
		return all.Next(), all.failure()
	}
	return true, nil
}

func (w *walk) beginBackward(all records, rec *record, from storage.Place) bool {
	if from == storage.Before(rec.position) {
		w.next, w.edge = rec.before, rec.before
		return w.next > 0 && all.Prev()
	}
	if w.next, w.edge = from.Position, rec.last(); from.Before {
		w.next--
	}
	return true
}

// unknown is why no record holds the event of a place, though later ones exist: there never was one, or it is gone. The record
// before the place is given, if there is one.
func unknown(all records, before *record, found bool, from storage.Place) error {
	next, end := all.First, events.Position(0)
	if found {
		next, end = all.Next, before.last()
	}
	valid := next()
	if !valid {
		return errors.Join(all.failure(), damaged(fmt.Sprintf("the record at position %d", from.Position), fmt.Errorf("%w: it is missing", errRecord)))
	}
	rec, err := all.record()
	if err == nil {
		err = follows(rec.before, end)
	}
	if err == nil {
		err = fmt.Errorf("%w: read everything from %s", storage.ErrPlace, from)
	}
	return err
}

func (w *walk) step(all records) bool {
	if w.direction == storage.Backward {
		return all.Prev()
	}
	return all.Next()
}

// adjoins verifies that no record is missing between the last one and this: each says where the one before it ended.
func (w *walk) adjoins(rec *record) error {
	if w.direction == storage.Backward {
		err := follows(w.edge, rec.last())
		w.edge = rec.before
		return err
	}
	err := follows(rec.before, w.edge)
	w.edge = rec.last()
	return err
}

// ended reports that every position in this direction was looked at.
func (w *walk) ended() bool {
	if w.direction == storage.Backward {
		return w.next == 0
	}
	return w.next > w.bound
}

// take adds what is chosen of a record and moves Next past all that was looked at; false when the page is done.
func (w *walk) take(rec *record) (more bool, err error) {
	w.looked += rec.count
	w.weighed += len(rec.data) + len(rec.heads)
	more = w.looked < lookEvents && w.weighed < lookBytes
	if w.unwanted(rec) {
		w.pass(rec) // nothing need be decoded
		return more, nil
	}
	if w.page.Events == nil {
		w.page.Events = make([]events.Envelope, 0, min(uint64(w.limit.Events), w.left()))
	}
	if w.direction == storage.Backward {
		return w.takeBackward(rec, more)
	}
	full := false
	err = rec.each(w.stream(rec), func(e *events.Envelope) bool {
		if e.Position >= w.next {
			full = w.chosen(e) && !w.add(e)
			if !full {
				w.next = e.Position + 1
			}
		}
		return !full
	})
	return more && !full, err
}

// unwanted reports that the filter chooses none of a record's events, whatever they are.
func (w *walk) unwanted(rec *record) bool {
	if !w.filter.System && len(rec.stream) > 0 && rec.stream[0] == '$' {
		return true
	}
	return len(w.filter.Kinds) == 0 && !w.filter.Chooses(w.stream(rec), "")
}

func (w *walk) takeBackward(rec *record, more bool) (bool, error) {
	held := make([]events.Envelope, 0, rec.count)
	err := rec.each(w.stream(rec), func(e *events.Envelope) bool {
		if e.Position <= w.next {
			held = append(held, *e)
		}
		return e.Position < w.next
	})
	for i := range slices.Backward(held) {
		if w.chosen(&held[i]) && !w.add(&held[i]) {
			return false, err
		}
		w.next = held[i].Position - 1
	}
	w.next = rec.before
	return more, err
}

// left is how many events there are in this direction at most.
func (w *walk) left() uint64 {
	if w.direction == storage.Backward {
		return uint64(w.next)
	}
	return uint64(w.bound - w.next + 1)
}

// pass moves Next beyond a record.
func (w *walk) pass(rec *record) {
	if w.direction == storage.Backward {
		w.next = rec.before
	} else {
		w.next = rec.last() + 1
	}
}

func (w *walk) chosen(e *events.Envelope) bool { return w.filter.Chooses(e.Stream, e.Kind) }

func (w *walk) stream(rec *record) events.Stream {
	name, found := w.names[string(rec.stream)]
	if !found {
		name = events.Stream(rec.stream)
		w.names[string(name)] = name
	}
	return name
}
