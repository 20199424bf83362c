package actorstest

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Memory is a storage.Journal and storage.Snapshots that forgets: the fake for tests of actors. It waits on channels
// alone, so it works inside a testing/synctest bubble. Its hooks make appends fail the two ways they can.
type Memory struct {
	mu        sync.Mutex
	all       []events.Envelope                        // in order of position, see positionAt
	streams   map[events.Stream][]int                  // indexes into all, by revision
	ids       map[events.Stream]map[events.EventID]int // indexes into all
	snapshots map[snapshotKey][]storage.Snapshot       // in order
	changed   chan struct{}                            // closed at the next append
	closed    chan struct{}                            //
	before    func(events.Stream, []events.Envelope) error
	after     func(events.Stream, []events.Envelope) error
	line      []func() // appends that were begun; the first is under way
}

type snapshotKey struct {
	fold   string
	stream events.Stream
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{
		streams:   map[events.Stream][]int{},
		ids:       map[events.Stream]map[events.EventID]int{},
		snapshots: map[snapshotKey][]storage.Snapshot{},
		changed:   make(chan struct{}),
		closed:    make(chan struct{}),
	}
}

// Fail sets what is asked before each batch is stored: an error is the append's answer, and nothing is stored. It may block,
// and may be nil.
func (m *Memory) Fail(hook func(stream events.Stream, batch []events.Envelope) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before = hook
}

// FailAfter sets what is asked after each batch was stored: an error is the append's answer although the batch is there, as
// when an answer is lost on its way. It may block, and may be nil.
func (m *Memory) FailAfter(hook func(stream events.Stream, batch []events.Envelope) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.after = hook
}

// Close ends every subscription; appends and reads are refused from now on.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.isClosed() {
		close(m.closed)
	}
	return nil
}

// Append implements storage.Journal.
func (m *Memory) Append(ctx context.Context, stream events.Stream, expected storage.Expected, batch []events.Envelope) (storage.Appended, error) {
	return m.append(ctx, stream, expected, batch, nil)
}

func (m *Memory) append(
	ctx context.Context, stream events.Stream, expected storage.Expected, batch []events.Envelope, ticket *storage.Ticket,
) (storage.Appended, error) {
	if err := storage.CheckAppend(stream, expected, batch); err != nil {
		return storage.Appended{}, err
	}
	if err := ctx.Err(); err != nil {
		return storage.Appended{}, err
	}
	m.mu.Lock()
	before, after := m.before, m.after
	m.mu.Unlock()
	if before != nil {
		if err := before(stream, batch); err != nil {
			return storage.Appended{}, err
		}
	}
	appended, err := m.store(stream, expected, batch)
	if err == nil {
		ticket.Accept()
	}
	if err == nil && after != nil {
		if err := after(stream, batch); err != nil {
			return storage.Appended{}, err
		}
	}
	return appended, err
}

// Begin implements storage.Beginner: one append after another, so that a hook that blocks holds up all that were begun later.
func (m *Memory) Begin(ctx context.Context, b storage.Begun, done func(storage.Appended, error)) {
	var once sync.Once
	stop := context.AfterFunc(ctx, func() {
		once.Do(func() {
			done(storage.Appended{}, fmt.Errorf("append to %s: the outcome is unknown: %w", b.Stream, ctx.Err()))
		})
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.line = append(m.line, func() {
		var appended storage.Appended
		err := storage.CheckNeeds(b.Stream, b.Needs)
		if err == nil {
			appended, err = m.append(ctx, b.Stream, b.Expected, b.Batch, b.Ticket)
		}
		stop()
		once.Do(func() { done(appended, err) })
	})
	if len(m.line) == 1 {
		go m.serve()
	}
}

// serve takes appends from the line until there are none.
func (m *Memory) serve() {
	for {
		m.mu.Lock()
		next := m.line[0]
		m.mu.Unlock()
		next()
		m.mu.Lock()
		m.line = m.line[1:]
		more := len(m.line) > 0
		m.mu.Unlock()
		if !more {
			return
		}
	}
}

// InLine counts the appends that were begun and have no outcome yet.
func (m *Memory) InLine() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.line)
}

func (m *Memory) store(stream events.Stream, expected storage.Expected, batch []events.Envelope) (storage.Appended, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return storage.Appended{}, storage.ErrClosed
	}
	last := m.last(stream)
	conflict := &storage.ConflictError{Stream: stream, Expected: expected, Actual: last}
	switch {
	case expected == storage.ExpectExists && last == events.NoRevision:
		return storage.Appended{}, conflict
	case expected == storage.ExpectAny || expected == storage.ExpectExists:
		if appended, done, err := m.retriedAny(stream, batch, conflict); done {
			return appended, err
		}
	case events.Revision(expected) != last:
		return m.retried(stream, events.Revision(expected), batch, conflict)
	}
	for _, e := range batch {
		m.put(stream, e)
	}
	appended := m.answer(stream, last+1, m.last(stream))
	if len(batch) == 0 {
		appended.Position = positionAt(len(m.all)) + 1 // names nothing, as EventStoreDB's
		return appended, nil
	}
	close(m.changed)
	m.changed = make(chan struct{})
	return appended, nil
}

// retried answers an append whose expectation does not hold: success if the stream holds these events after that revision.
func (m *Memory) retried(stream events.Stream, after events.Revision, batch []events.Envelope, conflict error) (storage.Appended, error) {
	held := m.streams[stream]
	first := int(after) + 1
	if len(batch) == 0 || first+len(batch) > len(held) {
		return storage.Appended{}, conflict
	}
	for i := range batch {
		if m.all[held[first+i]].ID != batch[i].ID {
			return storage.Appended{}, conflict
		}
	}
	return m.answer(stream, after+1, after+events.Revision(len(batch))), nil
}

// retriedAny recognises events that the stream holds anywhere: all of them is a retry, some of them a conflict.
func (m *Memory) retriedAny(stream events.Stream, batch []events.Envelope, conflict error) (appended storage.Appended, done bool, err error) {
	if len(batch) == 0 {
		return storage.Appended{}, false, nil
	}
	place := m.ids[stream]
	first, found := place[batch[0].ID]
	if !found {
		return storage.Appended{}, false, nil
	}
	last := first
	for i := range batch {
		if last, found = place[batch[i].ID]; !found {
			return storage.Appended{}, true, conflict
		}
	}
	return m.answer(stream, m.all[first].Revision, m.all[last].Revision), true, nil
}

func (m *Memory) put(stream events.Stream, e events.Envelope) {
	e.Stream, e.Revision = stream, m.last(stream)+1
	e.Position = positionAt(len(m.all))
	e.Data = bytes.Clone(e.Data)
	if m.ids[stream] == nil {
		m.ids[stream] = map[events.EventID]int{}
	}
	m.ids[stream][e.ID] = len(m.all)
	m.streams[stream] = append(m.streams[stream], len(m.all))
	m.all = append(m.all, e)
}

// positionAt is the position of the event at an index: with gaps of many widths, as in EventStoreDB's log, so that nothing can
// rest on counting with positions.
func positionAt(index int) events.Position {
	return events.Position(64*(index+1) + index*37%61)
}

// behind is the index of the first event behind a place.
func (m *Memory) behind(place storage.Place) (int, error) {
	if place == storage.Start() {
		return 0, nil
	}
	if place == storage.End() {
		return len(m.all), nil
	}
	at := int(place.Position/64) - 1
	if at < 0 || at >= len(m.all) || m.all[at].Position != place.Position {
		return 0, fmt.Errorf("%w: %s", storage.ErrPlace, place)
	}
	if place.Before {
		return at, nil
	}
	return at + 1, nil
}

func (m *Memory) answer(stream events.Stream, first, last events.Revision) storage.Appended {
	appended := storage.Appended{First: min(first, last), Last: last}
	if last != events.NoRevision {
		appended.Position = m.all[m.streams[stream][last]].Position
	}
	return appended
}

func (m *Memory) last(stream events.Stream) events.Revision {
	return events.Revision(len(m.streams[stream]) - 1)
}

func (m *Memory) isClosed() bool {
	select {
	case <-m.closed:
		return true
	default:
		return false
	}
}
