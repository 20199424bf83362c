package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// A page of a filtered read ends after this much was looked at, so that it takes bounded time however little is chosen.
const (
	lookEvents = 64 << 10
	lookBytes  = 16 << 20
)

// Read implements storage.Journal.
func (s *Store) Read(ctx context.Context, stream events.Stream, from events.Revision, direction storage.Direction, limit storage.Limit) (page storage.Page, err error) {
	if err := storage.CheckStream(stream); err != nil {
		return page, err
	}
	done, err := s.reading(ctx)
	if err != nil {
		return page, err
	}
	defer done()
	bound, m, err := s.visible(stream)
	if err != nil {
		return page, err
	}
	v, err := s.streamView(stream, bound)
	if err != nil {
		return page, err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	newest, found, err := v.last()
	page.Last, page.End = events.NoRevision, true
	if err == nil {
		err = s.notEnded(stream, newest, found, bound)
	}
	if err != nil || !found || m.Deleted() {
		return page, err
	}
	page.Last = newest.last()
	p := pager{page: &page, limit: limit.Bounded()}
	if p.from, p.to, err = s.readable(v, m, page.Last); err != nil {
		return page, err
	}
	if direction == storage.Backward {
		p.to = min(p.to, from)
	} else {
		p.from = max(p.from, from)
	}
	if m.MaxAge > 0 {
		p.since = s.since(m.MaxAge)
	}
	if p.from <= p.to {
		page.End, err = p.stream(ctx, s, v, direction)
	}
	return page, err
}

// notEnded reports a stream that was ended for good, or whose metadata it holds.
func (s *Store) notEnded(stream events.Stream, newest entry, found bool, bound events.Position) error {
	ended := found && newest.last() == tombstoneRevision
	if name, described := original(stream); described && !ended {
		var err error
		if ended, err = s.ended(name, bound); err != nil {
			return err
		}
	}
	if ended {
		return fmt.Errorf("read %s: %w", stream, storage.ErrDeleted)
	}
	return nil
}

// since is the time before which events are older than an age.
func (s *Store) since(age time.Duration) events.Micros {
	return s.config.now() - events.Micros(age.Microseconds())
}

// readable returns the first and the last revision that a stream's metadata leave to be read. Times rise along a stream, or
// nearly so: by them alone the first one is found without a look at all that are too old.
func (s *Store) readable(v *view, m Metadata, last events.Revision) (from, to events.Revision, err error) {
	from = max(0, m.TruncateBefore)
	if m.MaxCount > 0 {
		from = max(from, last-events.Revision(m.MaxCount)+1)
	}
	if m.MaxAge <= 0 || from > last {
		return from, last, nil
	}
	since := s.since(m.MaxAge)
	young, err := v.younger(s, from, since)
	for high := last; err == nil && !young && from <= high; {
		middle := from + (high-from)/2
		var other bool
		if other, err = v.younger(s, middle, since); other {
			high = middle - 1
		} else {
			from = middle + 1
		}
	}
	return from, last, err
}

// pager fills a page up to its limit.
type pager struct {
	page     *storage.Page
	limit    storage.Limit
	bytes    int
	from, to events.Revision // of a stream: what is to be read
	since    events.Micros   // of a stream: older events are left out
	entries  []entry         // of a stream: the next batches to read
}

// add takes an event, or returns false when the page is full.
func (p *pager) add(e *events.Envelope) bool {
	n, size := len(p.page.Events), dataSize(e)
	if n >= p.limit.Events || n > 0 && p.bytes+size > p.limit.Bytes {
		return false
	}
	p.bytes += size
	p.page.Events = append(p.page.Events, *e)
	return true
}

// stream fills the page; end says that nothing more is in this direction.
func (p *pager) stream(ctx context.Context, s *Store, v *view, direction storage.Direction) (end bool, err error) {
	p.page.Events = make([]events.Envelope, 0, min(int64(p.to-p.from)+1, int64(p.limit.Events)))
	next := p.from // the revision that the next batch has to hold
	if direction == storage.Backward {
		next = p.to
	}
	seen, err := v.seek(next)
	for err == nil && p.from <= next && next <= p.to {
		entries := p.entries[:0]
		for most := p.ahead(); err == nil && seen && most > 0 && p.from <= next && next <= p.to; seen, err = v.step(direction) {
			e := v.current
			most -= e.count
			if e.first > next || e.last() < next {
				break
			}
			entries = append(entries, e)
			if next = e.last() + 1; direction == storage.Backward {
				next = e.first - 1
			}
		}
		if p.entries = entries; err == nil && len(entries) == 0 {
			err = damaged(string(events.NewRef(v.stream, next)), fmt.Errorf("%w: it is missing in the index", errRecord))
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return false, err
		}
		more, err := p.fill(s, v, direction)
		if err != nil || !more {
			return false, err
		}
	}
	return err == nil, err
}

// chooses reports that an event is part of what is read.
func (p *pager) chooses(e *events.Envelope) bool {
	return p.from <= e.Revision && e.Revision <= p.to && (p.since == 0 || e.Time >= p.since)
}

// record hands over a record's events that are part of what is read, in the direction of the read, until use returns false.
func (p *pager) record(rec *record, scratch *events.Envelope, stream events.Stream, direction storage.Direction, use func(e *events.Envelope) bool) (more bool, err error) {
	more = true
	if direction == storage.Forward {
		err = rec.into(scratch, stream, func(e *events.Envelope) bool {
			if p.chooses(e) {
				more = use(e)
			}
			return more
		})
	} else {
		held := make([]events.Envelope, 0, rec.count)
		err = rec.into(scratch, stream, func(e *events.Envelope) bool {
			if p.chooses(e) {
				held = append(held, *e)
			}
			return true
		})
		for i := range slices.Backward(held) {
			if more = use(&held[i]); !more {
				break
			}
		}
	}
	if err != nil {
		err = damaged(fmt.Sprintf("the record of %s", events.NewRef(stream, rec.first)), err)
	}
	return more, err
}
