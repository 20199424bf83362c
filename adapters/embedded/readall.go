package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"example.com/life/actors"
	"example.com/life/events"
)

// ReadAll implements actors.Journal.
func (s *Store) ReadAll(ctx context.Context, from events.Position, direction actors.Direction, filter actors.Filter, limit actors.Limit) (page actors.Page, err error) {
	done, err := s.reading(ctx)
	if err != nil {
		return page, err
	}
	defer done()
	bound := s.last()
	if direction == actors.Backward {
		from = min(from, bound)
	} else {
		from = max(from, 1)
	}
	page.Next = from
	if from == 0 || from > bound {
		page.End = true
		return page, nil
	}
	all, err := s.records()
	if err != nil {
		return page, err
	}
	defer func() { err = errors.Join(err, all.Close()) }()
	w := walk{pager: pager{page: &page, limit: limit.Bounded()}, filter: filter, direction: direction, bound: bound, names: map[string]events.Stream{}}
	err = w.run(ctx, all, from)
	return page, err
}

// walk reads records in order of position, either way.
type walk struct {
	pager
	filter    actors.Filter
	direction actors.Direction
	bound     events.Position
	names     map[string]events.Stream // one string for each stream of the page
	edge      events.Position          // where the record before ended or, backward, where the next one has to end

	looked, weighed int // events and bytes
}

// run fills the page from a position up to which there are events.
func (w *walk) run(ctx context.Context, all records, from events.Position) error {
	valid, err := w.begin(all, from)
	for ; err == nil && valid; valid = w.step(all) {
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
		if w.ended() {
			w.page.End = true
			return nil
		}
		if !more {
			return nil
		}
	}
	if err == nil {
		err = all.failure()
	}
	if err == nil {
		err = damaged(fmt.Sprintf("the record at position %d", w.page.Next), fmt.Errorf("%w: it is missing", errRecord))
	}
	return err
}

// begin goes to the first record of the page, and notes what has to be beside it.
func (w *walk) begin(all records, from events.Position) (bool, error) {
	var scratch [recordKeySize]byte
	if !all.SeekLT(recordKey(scratch[:0], from+1)) {
		return w.direction == actors.Forward && all.First(), all.failure()
	}
	rec, err := all.record()
	if err != nil {
		return false, err
	}
	if rec.last() >= from {
		w.edge = rec.before
		if w.direction == actors.Backward {
			w.edge = rec.last()
		}
		return true, nil
	}
	// The page begins between two records: the later one says which the earlier one is.
	end := rec.last()
	valid := all.Next()
	if w.edge = end; !valid || w.direction == actors.Forward {
		return valid, all.failure()
	}
	if rec, err = all.record(); err == nil {
		err = follows(rec.before, end)
	}
	return err == nil && all.Prev(), err
}

func (w *walk) step(all records) bool {
	if w.direction == actors.Backward {
		return all.Prev()
	}
	return all.Next()
}

// adjoins verifies that no record is missing between the last one and this: each says where the one before it ended.
func (w *walk) adjoins(rec *record) error {
	if w.direction == actors.Backward {
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
	if w.direction == actors.Backward {
		return w.page.Next == 0
	}
	return w.page.Next > w.bound
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
	if w.direction == actors.Backward {
		return w.takeBackward(rec, more)
	}
	full := false
	err = rec.each(w.stream(rec), func(e *events.Envelope) bool {
		if e.Position >= w.page.Next {
			full = w.chosen(e) && !w.add(e)
			if !full {
				w.page.Next = e.Position + 1
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
		held = append(held, *e)
		return e.Position < w.page.Next
	})
	for i := range slices.Backward(held) {
		if w.chosen(&held[i]) && !w.add(&held[i]) {
			return false, err
		}
		w.page.Next = held[i].Position - 1
	}
	w.page.Next = rec.before
	return more, err
}

// left is how many events there are in this direction at most.
func (w *walk) left() uint64 {
	if w.direction == actors.Backward {
		return uint64(w.page.Next)
	}
	return uint64(w.bound - w.page.Next + 1)
}

// pass moves Next beyond a record.
func (w *walk) pass(rec *record) {
	if w.direction == actors.Backward {
		w.page.Next = rec.before
	} else {
		w.page.Next = rec.last() + 1
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
