package groups

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"example.com/life/adapters/embedded/link"
	"example.com/life/events"
)

// history drives a machine with anything that can happen and knows what must be true then.
type history struct {
	t        *rapid.T
	settings Settings
	machine  *machine
	now      events.Micros

	source []*events.Envelope
	twins  bool // some events have the id of another
	first  place
	fates  map[place]string // what became of each event: acked, skipped or parked
	links  []*events.Envelope
	parked map[events.Revision]place // what stands in the parked stream and was not replayed with success
	until  events.Revision           // what is being replayed

	saved place
	taken map[*consumer]map[events.EventID]held
}

type held struct {
	at     place
	replay events.Revision
}

func newHistory(t *rapid.T) *history {
	h := &history{
		t: t, first: place(rapid.IntRange(0, 3).Draw(t, "start")), fates: map[place]string{},
		parked: map[events.Revision]place{}, taken: map[*consumer]map[events.EventID]held{}, twins: rapid.Bool().Draw(t, "twins"),
	}
	h.settings = Settings{
		Start: Start{At: int64(h.first)}, MessageTimeout: time.Duration(rapid.IntRange(0, 5).Draw(t, "timeout")) * time.Second,
		MaxRetries: rapid.IntRange(0, 3).Draw(t, "retries"), HistoryBuffer: rapid.IntRange(2, 8).Draw(t, "history"), ReadBatch: 1,
		CheckpointAfter: time.Second, MinCheckpoint: rapid.IntRange(0, 3).Draw(t, "min"), MaxCheckpoint: rapid.IntRange(3, 6).Draw(t, "max"),
		Strategy: rapid.SampledFrom([]Strategy{RoundRobin, DispatchToSingle, Pinned, PinnedByCorrelation}).Draw(t, "strategy"),
	}
	h.saved = nowhere
	h.restart()
	return h
}

// restart makes the machine anew from what is stored.
func (h *history) restart() {
	h.machine = newMachine(h.settings, h.now)
	after := h.first - 1
	if h.saved != nowhere {
		after = h.saved
	}
	var parked []place
	kept := events.Revision(len(h.links))
	for revision, at := range h.parked {
		kept = min(kept, revision)
		if at > after && at != nowhere {
			parked = append(parked, at)
		}
	}
	h.machine.begin(after, h.saved, parked, kept)
	h.until = kept
	h.taken = map[*consumer]map[events.EventID]held{}
}

func (h *history) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"append":     h.append,
		"read":       h.read,
		"join":       h.join,
		"leave":      h.leave,
		"pop":        h.pop,
		"pop more":   h.pop,
		"ack":        h.ack,
		"nack":       h.nack,
		"tick":       h.tick,
		"write park": h.writePark,
		"checkpoint": h.checkpoint,
		"replay":     h.replay,
		"reset":      func(*rapid.T) { h.machine.reset(); h.forgetHeld() },
		"crash":      func(*rapid.T) { h.restart() },
		"":           h.check,
	}
}

func (h *history) append(t *rapid.T) {
	for range rapid.IntRange(1, 5).Draw(t, "events") {
		e := &events.Envelope{
			ID: uuid.New(), Kind: "k", Stream: events.Stream(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "stream")),
			Revision: events.Revision(len(h.source)), Correlation: rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "correlation"),
		}
		if h.twins && len(h.source) > 0 && rapid.IntRange(0, 4).Draw(t, "twin") == 0 {
			e.ID = h.source[len(h.source)-rapid.IntRange(1, min(4, len(h.source))).Draw(t, "of")].ID
		}
		h.source = append(h.source, e)
	}
}

func (h *history) read(*rapid.T) {
	if next := h.machine.read + 1; h.machine.wants() && next < place(len(h.source)) {
		if next%7 == 6 {
			h.fates[next] = "passed"
			h.machine.pass(next, false)
			return
		}
		h.machine.take(next, h.source[next], nil)
	}
}

func (h *history) join(t *rapid.T) {
	if len(h.machine.consumers) < 4 {
		h.machine.join(&consumer{buffer: rapid.IntRange(1, 4).Draw(t, "buffer"), wake: make(chan struct{}, 1)})
	}
}

func (h *history) someone(t *rapid.T) *consumer {
	if len(h.machine.consumers) == 0 {
		return nil
	}
	return rapid.SampledFrom(h.machine.consumers).Draw(t, "consumer")
}

func (h *history) leave(t *rapid.T) {
	if c := h.someone(t); c != nil {
		h.machine.leave(c)
		delete(h.taken, c)
	}
}

func (h *history) pop(t *rapid.T) {
	if c := h.someone(t); c != nil {
		h.popFrom(c)
	}
}

func (h *history) popFrom(c *consumer) bool {
	next := h.machine.pop(c, h.now)
	if next == nil {
		return false
	}
	if h.taken[c] == nil {
		h.taken[c] = map[events.EventID]held{}
	}
	h.taken[c][next.id] = held{next.at, next.replay}
	return true
}

// forgetHeld is called when consumers hold what the machine gives to others.
func (h *history) forgetHeld() { h.taken = map[*consumer]map[events.EventID]held{} }

// some draws ids that a consumer took, and one that it never had.
func (h *history) some(t *rapid.T, c *consumer) []events.EventID {
	ids := []events.EventID{uuid.New()}
	var all []held
	byHeld := map[held]events.EventID{}
	for id, it := range h.taken[c] {
		all = append(all, it)
		byHeld[it] = id
	}
	slices.SortFunc(all, func(a, b held) int { return int(a.at-b.at)*1000 + int(a.replay-b.replay) })
	for _, it := range all {
		if rapid.Bool().Draw(t, "this one") {
			ids = append(ids, byHeld[it])
		}
	}
	return ids
}

// answered notes the fate of what the consumer still holds, as the machine knows it.
func (h *history) answered(c *consumer, ids []events.EventID, fate string) {
	for _, id := range ids {
		_, took := h.taken[c][id]
		delete(h.taken[c], id)
		answered := h.machine.held[id]
		if !took || answered == nil || !answered.answerable(c) || fate == "" {
			continue
		}
		h.fate(answered, fate)
		for _, twin := range answered.twins {
			if twin.holder == nil || twin.taken {
				h.fate(twin, fate)
			}
		}
	}
}

func (h *history) fate(of *message, fate string) {
	if of.replay != events.NoRevision {
		h.fates[h.parkedPlace(of.replay)] = fate
		return
	}
	h.fates[of.at] = fate
}

func (h *history) parkedPlace(revision events.Revision) place {
	to, isLink, err := link.Parse(h.links[revision])
	if !isLink || err != nil {
		h.t.Fatalf("parked message %d is no link: %v", revision, err)
	}
	return place(to.Revision)
}

func (h *history) ack(t *rapid.T) {
	if c := h.someone(t); c != nil {
		ids := h.some(t, c)
		h.answered(c, ids, "acked")
		h.machine.ack(c, h.now, ids)
	}
}

func (h *history) nack(t *rapid.T) {
	if c := h.someone(t); c != nil {
		action := Action(rapid.IntRange(0, 5).Draw(t, "action"))
		ids := h.some(t, c)
		fate := ""
		if action == Skip || action == Stop {
			fate = "skipped"
		}
		h.answered(c, ids, fate)
		h.machine.nack(c, h.now, action, "reasons", ids)
	}
}

func (h *history) tick(t *rapid.T) {
	h.now += events.Micros(rapid.IntRange(0, 4).Draw(t, "seconds")) * events.Second
	h.machine.tick(h.now)
}

func (h *history) writePark(t *rapid.T) {
	if len(h.machine.parking) == 0 {
		return
	}
	h.writeParks(rapid.IntRange(1, len(h.machine.parking)).Draw(t, "count"))
}

func (h *history) writeParks(count int) {
	for _, p := range h.machine.parking[:count] {
		made := note(link.Kind, link.Data(p.leads), nil, h.now)
		made.Foreign.Base64, made.Revision = true, events.Revision(len(h.links))
		h.links = append(h.links, &made)
		for _, twin := range p.twins {
			h.fate(twin, "parked with another")
		}
		if p.replay != events.NoRevision {
			delete(h.parked, p.replay)
			h.parked[made.Revision] = nowhere
			h.fates[h.parkedPlace(p.replay)] = "parked"
			continue
		}
		for revision, at := range h.parked {
			if at == p.at {
				h.t.Fatalf("event %d is parked twice: %d and %d", p.at, revision, made.Revision)
			}
		}
		h.parked[made.Revision] = p.at
		h.fates[p.at] = "parked"
	}
	h.machine.wasParked(count)
}

func (h *history) checkpoint(*rapid.T) {
	if !h.machine.due(h.machine.now%2 == 0) {
		return
	}
	at := h.machine.checkpoint()
	if at <= h.saved {
		h.t.Fatalf("the checkpoint goes from %d to %d", h.saved, at)
	}
	h.saved = at
	h.machine.wasSaved(at, h.machine.finished, h.machine.passed)
}

func (h *history) replay(*rapid.T) {
	if h.until <= h.machine.replayed {
		h.until = events.Revision(len(h.links))
	}
	h.replaySome()
}

func (h *history) replaySome() {
	for h.machine.wantsReplays() && h.machine.replayed < h.until {
		parked := h.links[h.machine.replayed]
		h.machine.takeParked(parked.Revision, h.source[h.parkedPlace(parked.Revision)], parked)
	}
	for revision := range h.parked {
		if revision < h.machine.keptFrom() {
			h.truncate(revision)
		}
	}
}

// truncate gives up a parked message: it has to be done, or to be parked once more.
func (h *history) truncate(revision events.Revision) {
	delete(h.parked, revision)
	at := h.parkedPlace(revision)
	for other := range h.parked {
		if h.parkedPlace(other) == at {
			return
		}
	}
	if h.fates[at] == "parked" {
		h.t.Fatalf("parked event %d is given up before it is done", at)
	}
}

// check is what holds after every step.
func (h *history) check(t *rapid.T) {
	m := h.machine
	total := 0
	for _, c := range m.consumers {
		total += c.held
		if c.held > c.buffer || c.held < 0 || len(c.queue) > c.held {
			t.Fatalf("a consumer of %d holds %d and has %d in its queue", c.buffer, c.held, len(c.queue))
		}
	}
	twins, holding := 0, len(m.held)
	for _, list := range [][]*message{slices.Collect(maps.Values(m.held)), m.buffer, m.retry, m.parking, m.deferred} {
		for _, first := range list {
			twins += len(first.twins)
			for _, twin := range first.twins {
				if twin.holder != nil {
					holding++
				}
				if twin.id != first.id || len(twin.twins) > 0 {
					t.Fatalf("a twin has another id, or twins of its own")
				}
			}
		}
	}
	if total != holding {
		t.Fatalf("consumers hold %d, the machine says %d", total, holding)
	}
	if m.stalled(1 << 40) {
		t.Fatalf("a message waits though somebody has room: %d to retry, %d buffered", len(m.retry), len(m.buffer))
	}
	if len(m.buffer) > h.settings.HistoryBuffer {
		t.Fatalf("%d messages are buffered, the limit is %d", len(m.buffer), h.settings.HistoryBuffer)
	}
	if !slices.IsSortedFunc(m.buffer, compareMessages) || !slices.IsSortedFunc(m.retry, compareMessages) {
		t.Fatalf("what waits is not in order")
	}
	for at := h.first; at <= m.checkpoint(); at++ {
		if h.fates[at] == "" {
			t.Fatalf("the checkpoint is %d, but nothing became of event %d", m.checkpoint(), at)
		}
	}
	waiting := len(m.buffer) + len(m.retry) + len(m.held) + len(m.parking) + len(m.deferred) + twins
	if undone := m.source.length + m.replays.length; undone > waiting {
		t.Fatalf("%d messages are not done, but only %d wait for something", undone, waiting)
	}
}

// drain has willing consumers until everything is done. It must come to an end.
func (h *history) drain(t *rapid.T) {
	h.machine.join(&consumer{buffer: 3, wake: make(chan struct{}, 1)})
	steps := 0
	for ; h.machine.read+1 < place(len(h.source)) || h.machine.source.length+h.machine.replays.length > 0; steps++ {
		if steps > 20*(len(h.source)+len(h.links)+10) {
			t.Fatalf("it does not come to an end: read %d of %d, %d buffered, %d to retry, %d held, %d parking",
				h.machine.read, len(h.source), len(h.machine.buffer), len(h.machine.retry), len(h.machine.held), len(h.machine.parking))
		}
		h.read(nil)
		h.replaySome()
		for _, c := range slices.Clone(h.machine.consumers) {
			for h.popFrom(c) {
			}
			var ids []events.EventID
			for id := range h.taken[c] {
				ids = append(ids, id)
			}
			h.answered(c, ids, "acked")
			h.machine.ack(c, h.now, ids)
		}
		h.writeParks(len(h.machine.parking))
		h.now += 6 * events.Second
		h.machine.tick(h.now)
		h.check(t)
	}
	for at := h.first; at < place(len(h.source)); at++ {
		if h.fates[at] == "" {
			t.Fatalf("nothing became of event %d", at)
		}
	}
	if last := max(place(len(h.source))-1, h.first-1); h.machine.checkpoint() != last {
		t.Fatalf("everything is done up to %d, the checkpoint is %d", last, h.machine.checkpoint())
	}
}

func TestMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		t.Repeat(h.actions())
		h.drain(t)
	})
}

// A group that is read again delivers nothing of what it has parked.
func TestResetKeepsWhatIsParked(t *testing.T) {
	m := newMachine(Settings{Strategy: RoundRobin, HistoryBuffer: 10, MessageTimeout: time.Second, MaxCheckpoint: 1}, 0)
	m.begin(nowhere, nowhere, nil, 0)
	c := &consumer{buffer: 10, wake: make(chan struct{}, 1)}
	m.join(c)
	var source []*events.Envelope
	for at := range place(4) {
		source = append(source, &events.Envelope{ID: uuid.New(), Stream: "s", Revision: events.Revision(at)})
		m.take(at, source[at], nil)
		m.pop(c, 0)
	}
	m.nack(c, 0, Park, "no", []events.EventID{source[2].ID, source[3].ID})
	m.wasParked(1)
	m.ack(c, 0, []events.EventID{source[0].ID})
	m.wasSaved(m.checkpoint(), m.finished, 0)
	m.reset()
	for m.read < 3 {
		m.take(m.read+1, source[m.read+1], nil)
	}
	if next := m.pop(c, 0); next == nil || next.at != 1 || m.pop(c, 0) != nil {
		t.Errorf("delivered again is %+v, want event 1 alone", next)
	}
	m.ack(c, 0, []events.EventID{source[1].ID})
	if at := m.checkpoint(); at != 2 {
		t.Errorf("the checkpoint is %d while event 3 is being parked, want 2", at)
	}
	if m.wasParked(1); m.checkpoint() != 3 {
		t.Errorf("the checkpoint is %d, want 3", m.checkpoint())
	}
}

// First deliveries are in the source's order, whatever else happens to messages, unless consumers are pinned: then by stream.
func TestFirstDeliveriesAreInOrder(t *testing.T) {
	for _, strategy := range []Strategy{RoundRobin, DispatchToSingle, Pinned} {
		t.Run(string(strategy), func(t *testing.T) {
			m := newMachine(Settings{Strategy: strategy, MaxRetries: 1000, HistoryBuffer: 10, MessageTimeout: time.Second, MaxCheckpoint: 10}, 0)
			m.begin(nowhere, nowhere, nil, 0)
			for range 3 {
				m.join(&consumer{buffer: 2, wake: make(chan struct{}, 1)})
			}
			offered, newest := map[place]bool{}, map[string]place{}
			for at, now := place(0), events.Micros(0); len(offered) < 150; now += events.Second / 3 {
				for m.wants() {
					m.take(at, &events.Envelope{ID: uuid.New(), Stream: events.Stream(fmt.Sprint("s", at%5)), Revision: events.Revision(at)}, nil)
					at++
				}
				var pushed []*message
				for _, held := range m.held {
					pushed = append(pushed, held)
				}
				slices.SortFunc(pushed, func(a, b *message) int { return int(a.at - b.at) })
				for _, p := range pushed {
					key := ""
					if strategy == Pinned {
						key = sourceStream(p)
					}
					if !offered[p.at] {
						if last, known := newest[key]; known && p.at < last {
							t.Fatalf("event %d is delivered for the first time after event %d", p.at, last)
						}
						offered[p.at], newest[key] = true, p.at
					}
				}
				for _, c := range slices.Clone(m.consumers) {
					for next := m.pop(c, now); next != nil; next = m.pop(c, now) {
						switch next.at % 4 {
						case 0:
							m.nack(c, now, Retry, "again", []events.EventID{next.id})
							m.ack(c, now, []events.EventID{next.id})
						case 1:
						default:
							m.ack(c, now, []events.EventID{next.id})
						}
						break
					}
				}
				m.tick(now)
			}
		})
	}
}
