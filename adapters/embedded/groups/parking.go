package groups

import (
	"slices"

	"example.com/life/events"
)

// park puts a message aside. It is not done until it is written; then it is, as far as the checkpoint is concerned.
func (m *machine) park(failed *message, reason string) {
	if len(m.parking) >= maxParking { // nothing can be written: it is delivered again rather than kept in memory
		m.deferred = append(m.deferred, failed)
		return
	}
	failed.reason, failed.leads, failed.number = reason, failed.target(), failed.original().Revision
	failed.event, failed.link = nil, nil // so that what waits for a disk that is full is small
	m.parking = append(m.parking, failed)
	if failed.replay == events.NoRevision {
		m.pending[failed.at] = failed
	}
}

// wasParked notes that messages were written to the parked stream; they are the first of parking.
func (m *machine) wasParked(count int) {
	for _, done := range m.parking[:count] {
		if done.replay == events.NoRevision {
			delete(m.pending, done.at)
			m.parked[done.at] = true
		}
		if m.linked(done) {
			m.finish(done)
		}
	}
	m.parking = slices.Delete(m.parking, 0, count)
	m.moves++
}

// linked reports that a message stands in its line. After a reset one that is being parked does not, until it is read again.
func (m *machine) linked(parking *message) bool {
	if parking.replay != events.NoRevision {
		return true
	}
	return parking.older != nil || m.source.oldest == parking
}

// takeParked accepts a parked message, to be delivered again after all others that are.
func (m *machine) takeParked(replay events.Revision, event, link *events.Envelope) {
	again := &message{event: event, link: link, at: nowhere, replay: replay}
	again.id = again.original().ID
	m.replayed = replay + 1
	m.replays.push(again)
	m.again(again)
	m.moves++
	m.deal()
}

// wantsReplays reports that there is room for parked messages to be delivered again.
func (m *machine) wantsReplays() bool { return m.replays.length < m.settings.HistoryBuffer }

// keptFrom is the first revision of the parked stream that is still needed: what was replayed and is done is not.
func (m *machine) keptFrom() events.Revision {
	if m.replays.oldest != nil {
		return m.replays.oldest.replay
	}
	return m.replayed
}

// checkpoint returns up to where everything is done.
func (m *machine) checkpoint() place {
	if m.source.oldest != nil {
		return m.source.oldest.before
	}
	return m.read
}

// due reports that the checkpoint is to be written now. final: the group ends, and whatever was done is to be kept.
func (m *machine) due(final bool) bool {
	if m.checkpoint() <= m.saved {
		return false
	}
	elapsed, after := m.now-m.savedAt, events.Micros(m.settings.CheckpointAfter.Microseconds())
	switch {
	case final:
		return m.finished > 0 || m.passed > 0
	case m.finished > 0 && (m.finished >= m.settings.MaxCheckpoint || m.finished >= m.settings.MinCheckpoint && elapsed >= after):
		return true
	case m.passed > 0 && m.finished+m.passed >= m.settings.MinCheckpoint && elapsed >= max(after, passPause):
		return true
	}
	return m.passed >= scanStep && elapsed >= scanPause // whatever the settings are: they are about what is delivered
}

// wasSaved notes that a checkpoint was written, when so much was done as is given.
func (m *machine) wasSaved(at place, finished, passed int) {
	m.saved, m.savedAt = at, m.now
	m.finished -= finished
	m.passed -= passed
	for parked := range m.parked {
		if parked <= at {
			delete(m.parked, parked)
		}
	}
}

// reset forgets what was read and is not done, and goes back to the checkpoint to read it again. What is being parked stays parked,
// what was replayed is delivered again. It is the watchdog's means when a group does not move, whatever the reason.
func (m *machine) reset() {
	back := m.checkpoint()
	var replays []*message
	for replay := m.replays.oldest; replay != nil; replay = replay.newer {
		if !slices.Contains(m.parking, replay) {
			replay.holder, replay.taken, replay.twins = nil, false, nil
			replays = append(replays, replay)
		}
	}
	for _, c := range m.consumers {
		c.held, c.weight, c.queue, c.congested = 0, 0, nil, false
		c.signal()
	}
	for _, parking := range m.parking {
		parking.twins = nil // they are read again
	}
	for m.source.oldest != nil {
		m.source.remove(m.source.oldest)
	}
	clear(m.held)
	m.retry, m.buffer, m.bytes, m.deferred = replays, nil, 0, nil
	m.read = back
	m.deal()
}

// stalled reports that something which the machine has to do is not done: a message waits though somebody has room for it, or
// is held long after its time. It never is, unless there is a mistake here.
func (m *machine) stalled(patience events.Micros) bool {
	for _, waiting := range [][]*message{m.retry, m.buffer} {
		if m.hasRoom() && slices.ContainsFunc(waiting, func(w *message) bool { return m.chooser.choose(w) != nil }) {
			return true
		}
	}
	for _, held := range m.held {
		if held.deadline+patience < m.now {
			return true
		}
	}
	return false
}
