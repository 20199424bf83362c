package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"example.com/life/actors"
	"example.com/life/events"
)

// A page of a filtered read ends after this much was looked at, so that it takes bounded time however little is chosen.
const (
	lookEvents = 64 << 10
	lookBytes  = 16 << 20
)

// Read implements actors.Journal.
func (s *Store) Read(ctx context.Context, stream events.Stream, from events.Revision, direction actors.Direction, limit actors.Limit) (page actors.Page, err error) {
	if err := actors.CheckStream(stream); err != nil {
		return page, err
	}
	done, err := s.reading(ctx)
	if err != nil {
		return page, err
	}
	defer done()
	v, err := s.streamView(stream, s.last())
	if err != nil {
		return page, err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	newest, found, err := v.last()
	page.Last, page.End = events.NoRevision, true
	if err != nil || !found {
		return page, err
	}
	page.Last = newest.last()
	if direction == actors.Backward {
		from = min(from, page.Last)
	} else {
		from = max(from, 0)
	}
	if from < 0 || from > page.Last {
		return page, nil
	}
	p := pager{page: &page, limit: limit.Bounded()}
	page.End, err = p.stream(ctx, s, v, from, direction)
	return page, err
}

// pager fills a page up to its limit.
type pager struct {
	page  *actors.Page
	limit actors.Limit
	bytes int
}

// add takes an event, or returns false when the page is full.
func (p *pager) add(e *events.Envelope) bool {
	n := len(p.page.Events)
	if n >= p.limit.Events || n > 0 && p.bytes+len(e.Data) > p.limit.Bytes {
		return false
	}
	p.bytes += len(e.Data)
	p.page.Events = append(p.page.Events, *e)
	return true
}

// stream fills the page from a revision that is there; end says that nothing more is in this direction.
func (p *pager) stream(ctx context.Context, s *Store, v *view, from events.Revision, direction actors.Direction) (end bool, err error) {
	expect := p.page.Last - from
	if direction == actors.Backward {
		expect = from
	}
	p.page.Events = make([]events.Envelope, 0, min(int64(expect)+1, int64(p.limit.Events)))
	next := from // the revision that the next batch has to hold
	seen, err := v.seek(from)
	for err == nil && seen {
		if v.current.first > next || v.current.last() < next {
			return false, damaged(string(events.NewRef(v.stream, next)), fmt.Errorf("%w: it is missing in the index", errRecord))
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
		rec, err := v.record(s, direction)
		if err != nil {
			return false, err
		}
		more, err := p.record(&rec, v.stream, direction, func(e *events.Envelope) order {
			if direction == actors.Forward && e.Revision < from || direction == actors.Backward && e.Revision > from {
				return outside
			}
			return inside
		})
		if err != nil {
			return false, damaged(fmt.Sprintf("the record of %s", events.NewRef(v.stream, rec.first)), err)
		}
		if !more {
			break
		}
		if next = rec.first + events.Revision(rec.count); direction == actors.Backward {
			next = rec.first - 1
		}
		if seen, err = v.step(direction); err != nil {
			return false, err
		}
	}
	if n := len(p.page.Events); n > 0 {
		edge := p.page.Events[n-1].Revision
		end = direction == actors.Forward && edge == p.page.Last || direction == actors.Backward && edge == 0
	}
	return end, err
}

// order says whether an event is part of what is read.
type order bool

const (
	inside  order = true
	outside order = false
)

// record adds a record's events in the direction of the read; false when the page is full.
func (p *pager) record(rec *record, stream events.Stream, direction actors.Direction, choose func(e *events.Envelope) order) (more bool, err error) {
	more = true
	if direction == actors.Forward {
		err = rec.each(stream, func(e *events.Envelope) bool {
			if choose(e) == inside {
				more = p.add(e)
			}
			return more
		})
		return more, err
	}
	held := make([]events.Envelope, 0, rec.count)
	err = rec.each(stream, func(e *events.Envelope) bool {
		if choose(e) == inside {
			held = append(held, *e)
		}
		return true
	})
	for i := range slices.Backward(held) {
		if more = p.add(&held[i]); !more {
			break
		}
	}
	return more, err
}
