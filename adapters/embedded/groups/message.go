package groups

import (
	"cmp"
	"fmt"
	"slices"

	"example.com/life/events"
)

// place is where an event stands in what a group reads: its revision in a stream, or its position in everything.
type place int64

// nowhere is before every event.
const nowhere place = -1

// message is an event on its way through a group.
type message struct {
	event *events.Envelope // what is delivered; nil when it is a link that leads nowhere
	link  *events.Envelope // the link that led to it; nil when it was read itself

	id      events.EventID  // by which consumers answer: the link's, when there is one
	at      place           // in the source; nowhere when it was replayed
	before  place           // what was read before it: when it is the oldest not done, everything up to here is done
	replay  events.Revision // in the parked stream, when it was replayed; NoRevision otherwise
	retries int             // how often it failed
	reason  string          // why it is parked
	leads   string          // where its link in the parked stream does, once it is parked
	number  events.Revision // in its own stream, once it is parked

	holder   *consumer // nil while nobody has it
	taken    bool      // the holder's transport has it too
	taker    *consumer // whose transport had it last: an answer can come from nobody else
	pushed   events.Micros
	deadline events.Micros // when its holder is given up on

	twins []*message // delivered while this one, with the same id, was outstanding: done when it is

	older, newer *message // among those that are not done
}

// original is the event as it was read: the link, when there is one.
func (m *message) original() *events.Envelope {
	if m.link != nil {
		return m.link
	}
	return m.event
}

func (m *message) size() int {
	size := 0
	for _, e := range []*events.Envelope{m.event, m.link} {
		if e != nil {
			size += len(e.Data) + 256
		}
	}
	return size
}

// target is what a link to a message says: what the event is that was delivered, or, of a link that leads nowhere, where it was to lead.
func (m *message) target() string {
	if m.event != nil {
		return fmt.Sprintf("%d@%s", m.event.Revision, m.event.Stream)
	}
	data, err := m.link.Bytes()
	if err != nil {
		return "" // it was read as a link, so this does not happen; as one to nothing it would be shown
	}
	return string(data)
}

// compareMessages orders messages as they are delivered again: as in the source, and after those what was replayed.
func compareMessages(a, b *message) int {
	if isReplay := cmp.Compare(min(a.replay, 0), min(b.replay, 0)); isReplay != 0 {
		return isReplay
	}
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.replay, b.replay))
}

// insert puts a message where it belongs in an ordered list.
func insert(list []*message, m *message) []*message {
	i, _ := slices.BinarySearchFunc(list, m, compareMessages)
	return slices.Insert(list, i, m)
}

// line holds the messages that are not done, in the order in which they were read.
type line struct {
	oldest, newest *message
	length         int
}

func (l *line) push(m *message) {
	m.older, m.newer = l.newest, nil
	if l.newest != nil {
		l.newest.newer = m
	} else {
		l.oldest = m
	}
	l.newest = m
	l.length++
}

func (l *line) remove(m *message) {
	if m.older != nil {
		m.older.newer = m.newer
	} else {
		l.oldest = m.newer
	}
	if m.newer != nil {
		m.newer.older = m.older
	} else {
		l.newest = m.older
	}
	m.older, m.newer = nil, nil
	l.length--
}
