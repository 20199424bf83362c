package actorstest

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Read implements storage.Journal.
func (m *Memory) Read(ctx context.Context, stream events.Stream, from events.Revision, direction storage.Direction, limit storage.Limit) (storage.Page, error) {
	if err := storage.CheckStream(stream); err != nil {
		return storage.Page{}, err
	}
	if err := ctx.Err(); err != nil {
		return storage.Page{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return storage.Page{}, storage.ErrClosed
	}
	held := m.streams[stream]
	at, step := walk(int64(from), direction, len(held))
	page := pager{limit: limit.Bounded()}
	for ; at >= 0 && at < len(held) && page.add(m.all[held[at]]); at += step {
	}
	page.Last = m.last(stream)
	page.End = at < 0 || at >= len(held)
	return page.Page, nil
}

// ReadAll implements storage.Journal.
func (m *Memory) ReadAll(ctx context.Context, from storage.Place, direction storage.Direction, filter storage.Filter, limit storage.Limit) (storage.Page, error) {
	if err := ctx.Err(); err != nil {
		return storage.Page{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return storage.Page{}, storage.ErrClosed
	}
	at, err := m.behind(from)
	if err != nil {
		return storage.Page{}, fmt.Errorf("read everything: %w", err)
	}
	step := 1
	if direction == storage.Backward {
		at, step = at-1, -1
	}
	page := pager{Page: storage.Page{Next: from}, limit: limit.Bounded()}
	for ; at >= 0 && at < len(m.all); at += step {
		e := m.all[at]
		if filter.Chooses(e.Stream, e.Kind) && !page.add(e) {
			break
		}
		page.Next = storage.Place{Position: e.Position, Before: direction == storage.Backward}
	}
	page.End = at < 0 || at >= len(m.all)
	return page.Page, nil
}

// walk gives the index where a read of n events begins, and how it goes on.
func walk(from int64, direction storage.Direction, n int) (at, step int) {
	if direction == storage.Backward {
		return int(max(-1, min(from, int64(n)-1))), -1
	}
	return int(max(0, min(from, int64(n)))), 1
}

// pager fills a page up to its limit.
type pager struct {
	storage.Page
	limit storage.Limit
	bytes int
}

func (p *pager) add(e events.Envelope) bool {
	size := len(e.Data)
	if n := len(p.Events); n == p.limit.Events || n > 0 && p.bytes+size > p.limit.Bytes {
		return false
	}
	e.Data = bytes.Clone(e.Data)
	p.Events = append(p.Events, e)
	p.bytes += size
	return true
}

// Subscribe implements storage.Journal.
func (m *Memory) Subscribe(ctx context.Context, from storage.From) (storage.Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if from.Stream != "" {
		if err := storage.CheckStream(from.Stream); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return nil, storage.ErrClosed
	}
	s := &memorySubscription{memory: m, from: from, closed: make(chan struct{})}
	var err error
	if from.Stream == "" {
		if s.at, err = m.behind(storage.After(from.Position)); err != nil {
			return nil, fmt.Errorf("subscribe: %w", err)
		}
	}
	return s, nil
}

type memorySubscription struct {
	memory *Memory
	from   storage.From // its revision moves with what was delivered
	at     int          // the index of the next event, in a subscription to everything
	once   sync.Once
	closed chan struct{}
}

func (s *memorySubscription) Next(ctx context.Context) (events.Envelope, error) {
	for {
		if err := s.ended(ctx); err != nil {
			return events.Envelope{}, err
		}
		e, found, changed := s.next()
		if found {
			return e, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		case <-s.closed:
		case <-s.memory.closed:
		}
	}
}

func (s *memorySubscription) ended(ctx context.Context) error {
	select {
	case <-s.closed:
		return storage.ErrClosed
	case <-s.memory.closed:
		return storage.ErrClosed
	default:
		return ctx.Err()
	}
}

// next returns the next event, or the channel that is closed when there may be one.
func (s *memorySubscription) next() (e events.Envelope, found bool, changed chan struct{}) {
	m := s.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.from.Stream != "" {
		at := max(0, int(s.from.Revision)+1)
		if held := m.streams[s.from.Stream]; at < len(held) {
			s.from.Revision = events.Revision(at)
			e, found = m.all[held[at]], true
		}
	} else {
		for !found && s.at < len(m.all) {
			e = m.all[s.at]
			s.at++
			found = s.from.Filter.Chooses(e.Stream, e.Kind)
		}
	}
	e.Data = bytes.Clone(e.Data)
	return e, found, m.changed
}

// Close implements io.Closer.
func (s *memorySubscription) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}
