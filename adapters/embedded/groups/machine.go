package groups

import (
	"slices"
	"time"

	"example.com/life/events"
)

// machine decides everything about one group and does nothing itself: no clock, no goroutine, no store. What happens is handed in,
// by one caller at a time: events that were read, consumers that come, go and answer, the time. What is to be done is asked for:
// what consumers get stands in their queues, links to park in parking, and the checkpoint to write in checkpoint.
//
// A message is waiting (in buffer or retry), held by a consumer, parking, or done; all that are not done stand in source, or in
// replays, in order. After every input deal hands out whatever can be: a message never waits while somebody who may have it has room.
type machine struct {
	settings  Settings
	chooser   chooser
	consumers []*consumer
	now       events.Micros // as last told

	read   place                       // everything up to here was read
	buffer []*message                  // read and not yet handed out, in order
	bytes  int                         // in buffer
	retry  []*message                  // to be handed out before the buffer, in order
	held   map[events.EventID]*message // outstanding, by the id that answers it
	source line                        // all from the source that are not done

	replays  line            // all that were replayed and are not done
	replayed events.Revision // every parked message before this was handed in for replay
	parking  []*message      // to be written to the parked stream
	deferred []*message      // could not be parked, because parking is full: delivered again at the next tick
	pending  map[place]*message
	parked   map[place]bool // parked already, after the checkpoint: not delivered when read again

	saved    place // the checkpoint that is stored; nowhere when none is
	savedAt  events.Micros
	finished int // since saved: messages done
	passed   int // since saved: events that the filter did not choose

	moves    uint64 // grows with every step forward; the watchdog looks at it
	counts   counts
	timeouts uint64
}

const (
	maxBuffered = 16 << 20 // bytes read ahead
	maxParking  = 16 << 10 // messages that wait to be parked
	scanStep    = 10_000   // events passed over, after which a checkpoint is worth while
	scanPause   = events.Second
	passPause   = 5 * events.Second // between checkpoints that only move past what the filter did not choose, at least
)

func newMachine(settings Settings, now events.Micros) *machine {
	return &machine{
		settings: settings, chooser: settings.Strategy.chooser(), now: now, savedAt: now, read: nowhere, saved: nowhere,
		held: map[events.EventID]*message{}, pending: map[place]*message{}, parked: map[place]bool{}, counts: counts{since: now},
	}
}

// begin says what is known from before, ahead of the first event: the place after which reading goes on, the checkpoint that is stored,
// or nowhere; the places after it whose events are in the parked stream already; and the first parked message that was never replayed.
func (m *machine) begin(after, saved place, parked []place, replayed events.Revision) {
	m.read, m.saved, m.replayed = after, saved, replayed
	for _, at := range parked {
		m.parked[at] = true
	}
}

// wants reports that there is room to read on.
func (m *machine) wants() bool {
	return len(m.buffer) < m.settings.HistoryBuffer && m.bytes < maxBuffered
}

// take accepts the next event of the source.
func (m *machine) take(at place, event, link *events.Envelope) {
	taken := &message{event: event, link: link, at: at, before: m.read, replay: events.NoRevision}
	taken.id = taken.original().ID
	m.read = at
	m.moves++
	if m.parked[at] {
		m.finished++
		return
	}
	if pending := m.pending[at]; pending != nil {
		pending.before = taken.before
		m.source.push(pending)
		return
	}
	m.source.push(taken)
	m.bytes += taken.size()
	m.buffer = append(m.buffer, taken)
	m.deal()
}

// pass notes an event of the source that is not for the group. One of consumer groups' own notes does not count towards a checkpoint:
// otherwise two groups could keep each other writing for ever.
func (m *machine) pass(at place, note bool) {
	m.read = at
	m.moves++
	if !note {
		m.passed++
	}
}

// join adds a consumer.
func (m *machine) join(c *consumer) {
	c.counts.since = m.now
	m.consumers = append(m.consumers, c)
	m.chooser.joined(c)
	m.deal()
}

// leave removes a consumer. What it held is delivered again, to others.
func (m *machine) leave(c *consumer) {
	if !slices.Contains(m.consumers, c) {
		return
	}
	m.consumers = without(m.consumers, c)
	m.chooser.left(c)
	for _, unseen := range m.takeBack(func(twin *message) bool { return twin.holder == c }) {
		m.free(unseen)
		m.again(unseen)
	}
	for _, first := range m.held {
		for _, twin := range first.twins {
			if twin.holder == c {
				m.free(twin)
			}
		}
	}
	for _, held := range m.heldBy(func(held *message) bool { return held.holder == c }) {
		if held.taken {
			held.retries++
		}
		m.release(held)
		m.again(held)
	}
	m.deal()
}

// heldBy returns held messages in order.
func (m *machine) heldBy(match func(*message) bool) []*message {
	var found []*message
	for _, held := range m.held {
		if match(held) {
			found = append(found, held)
		}
	}
	slices.SortFunc(found, compareMessages)
	return found
}

// pop hands the next message to a consumer's transport; nil when there is none.
func (m *machine) pop(c *consumer, now events.Micros) *message {
	m.now = max(m.now, now)
	if c.congested {
		c.congested = false
		m.deal()
	}
	if len(c.queue) == 0 {
		return nil
	}
	next := c.queue[0]
	c.queue[0] = nil
	c.queue = c.queue[1:]
	next.taken, next.taker = true, c
	next.deadline = m.deadline()
	m.counts.items++
	c.counts.items++
	return next
}

func (m *machine) deadline() events.Micros {
	return m.now + events.Micros(m.settings.MessageTimeout/time.Microsecond)
}

// ack notes that a consumer has processed messages. Ids of messages that it does not hold are passed over: they were given to
// another one in the meantime.
func (m *machine) ack(c *consumer, now events.Micros, ids []events.EventID) {
	m.now = max(m.now, now)
	for _, id := range ids {
		if held := m.held[id]; held != nil && held.answerable(c) {
			latency := m.now - held.pushed
			m.counts.answered(latency)
			c.counts.answered(latency)
			m.release(held)
			m.finish(held)
		}
	}
	m.deal()
}

// answerable reports that a consumer holds a message and has seen it, now or before it was delivered to it again; or one with the same id.
func (m *message) answerable(c *consumer) bool {
	return m.holder == c && m.taker == c || slices.ContainsFunc(m.twins, func(twin *message) bool { return twin.holder == c && twin.taken })
}

// Action is what is to become of a message that its consumer could not process.
type Action int

// The actions; the values are the protocol's.
const (
	Unknown Action = iota // as Retry
	Park                  // put it aside, until somebody has it replayed
	Retry                 // deliver it again; after MaxRetries, Park
	Skip                  // it is done with
	Stop                  // the same: what the consumer does besides is its own affair
)

// nack notes that a consumer could not process messages.
func (m *machine) nack(c *consumer, now events.Micros, action Action, reason string, ids []events.EventID) {
	m.now = max(m.now, now)
	for _, id := range ids {
		held := m.held[id]
		if held == nil || !held.answerable(c) {
			continue
		}
		m.release(held)
		switch action {
		case Skip, Stop:
			m.finish(held)
		case Park:
			m.park(held, "parked by its consumer: "+reason)
		case Unknown, Retry:
			m.fail(held, "failed too often, the last time with: "+reason)
		default:
			m.fail(held, "failed too often, the last time with: "+reason)
		}
	}
	m.deal()
}

// tick notes the time: messages whose holders did not answer are delivered again.
func (m *machine) tick(now events.Micros) {
	m.now = max(m.now, now)
	late := func(held *message) bool { return held.deadline <= m.now }
	for _, unseen := range m.takeBack(late) {
		m.timeouts++
		m.congest(unseen)
	}
	for _, held := range m.heldBy(late) {
		m.timeouts++
		if !held.taken {
			m.congest(held)
			continue
		}
		m.release(held)
		m.fail(held, "was not answered in time too often")
	}
	for _, d := range m.deferred {
		m.again(d)
	}
	m.deferred = nil
	m.deal()
}

// congest takes from a consumer a message that never got to it in time. That is no failure of the message: it is delivered again.
func (m *machine) congest(unseen *message) {
	unseen.holder.congested = true
	unseen.holder.signal()
	if m.held[unseen.id] == unseen {
		m.release(unseen)
	} else {
		m.free(unseen)
	}
	m.again(unseen)
}

// release takes an outstanding message from its holder, and with it its twins that were seen: they are not tracked by themselves. Of
// those that still wait in a queue the first is outstanding from now on.
func (m *machine) release(held *message) {
	m.free(held)
	delete(m.held, held.id)
	var unseen []*message
	held.twins = slices.DeleteFunc(held.twins, func(twin *message) bool {
		if twin.holder != nil && !twin.taken {
			unseen = append(unseen, twin)
			return true
		}
		m.free(twin)
		twin.event, twin.link = nil, nil // nobody asks for it any more
		return false
	})
	if len(unseen) > 0 {
		unseen[0].twins = append(unseen[0].twins, unseen[1:]...)
		m.held[held.id] = unseen[0]
	}
	m.moves++
}

// free gives up the room that a message takes with its holder, if it has one.
func (m *machine) free(held *message) {
	if held.holder == nil {
		return
	}
	if !held.taken {
		held.holder.unqueue(held)
	}
	held.holder.held--
	held.holder.weight -= held.size()
	held.holder, held.taken = nil, false
}

// takeBack makes the twins that match and were not seen yet messages of their own again.
func (m *machine) takeBack(match func(twin *message) bool) []*message {
	var unseen []*message
	for _, first := range m.held {
		first.twins = slices.DeleteFunc(first.twins, func(twin *message) bool {
			if twin.holder == nil || twin.taken || !match(twin) {
				return false
			}
			unseen = append(unseen, twin)
			return true
		})
	}
	slices.SortFunc(unseen, compareMessages)
	return unseen
}

// finish is the end of a message, and of its twins.
func (m *machine) finish(done *message) {
	for _, twin := range done.twins {
		m.finish(twin)
	}
	done.twins = nil
	if done.replay != events.NoRevision {
		m.replays.remove(done)
		return
	}
	m.source.remove(done)
	m.finished++
}

// fail has a message delivered again, or parks it when that was done too often.
func (m *machine) fail(failed *message, reason string) {
	if failed.retries >= m.settings.MaxRetries {
		m.park(failed, reason)
		return
	}
	failed.retries++
	m.again(failed)
}

func (m *machine) again(returned *message) { m.retry = insert(m.retry, returned) }

// deal hands out all that can be handed out.
func (m *machine) deal() {
	m.retry = m.dealFrom(m.retry, func(*message) {})
	m.buffer = m.dealFrom(m.buffer, func(dealt *message) { m.bytes -= dealt.size() })
}

// dealFrom hands out what it can of a list, in order, and returns the rest.
func (m *machine) dealFrom(list []*message, dealt func(*message)) []*message {
	kept, i := 0, 0
	for ; i < len(list) && m.hasRoom(); i++ {
		next := list[i]
		chosen := m.chooser.choose(next)
		if chosen == nil {
			list[kept] = next
			kept++
			continue
		}
		m.push(chosen, next)
		dealt(next)
	}
	copy(list[i-kept:i], list[:kept])
	clear(list[:i-kept])
	return list[i-kept:]
}

func (m *machine) hasRoom() bool { return slices.ContainsFunc(m.consumers, (*consumer).hasRoom) }

// push hands a message to a consumer. One whose id is outstanding is delivered too, but answers name only ids: what answers the id
// answers both, and it alone is not delivered again.
func (m *machine) push(c *consumer, next *message) {
	next.holder, next.pushed, next.deadline = c, m.now, m.deadline()
	c.held++
	c.queue = append(c.queue, next)
	c.weight += next.size()
	c.signal()
	if first := m.held[next.id]; first != nil {
		first.twins = append(append(first.twins, next), next.twins...)
		next.twins = nil
	} else {
		m.held[next.id] = next
	}
	m.chooser.chosen(c)
	m.moves++
}
