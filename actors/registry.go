package actors

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// registry is the supervisor of one kind of entity. It brings an entity to life when a message comes for it, forgets it when it
// has nothing to do, and brings it back after a failure: later and later, and after circuitLimit failures of its own making, not
// at all, with the reason on record.
//
// All messages of others to an entity pass through its registry. That makes passivation safe: an entity may leave only when it
// has seen everything the registry sent.
type registry struct {
	host       *Host
	entityType entityType
	live       map[string]*handle
	failures   map[string]*failures
	spawned    uint64
	pulling    map[string][]deliver // what waits until it is known who holds its entity
	epoch      events.Revision      // of the view by which entities were told to leave
}

// entityType is what a registry keeps.
type entityType struct {
	stream     func(id string) events.Stream
	produce    func(r *registry, self *actor.PID, h *handle) actor.Actor
	quarantine bool // failures are put on record in the stream
}

// failures counts how often in a row an entity stopped by itself.
type failures struct {
	count  int
	own    int       // of these, of its own making
	latest time.Time // when it is tried again, after the latest time
	until  time.Time // not brought to life before then
	reason string
	err    error // the answer, see failure
	open   bool  // the circuit: not brought to life at all
}

const (
	circuitLimit = 5
	backoffFirst = 100 * time.Millisecond
	backoffMost  = 30 * time.Second
	calmAfter    = time.Minute // without a failure for so long, the count begins anew
)

// Receive implements actor.Actor.
func (r *registry) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case deliver:
		r.deliver(c, m)
	case passivate:
		if h := r.live[m.id]; h != nil && h.pid.Equal(m.pid) && h.sent == m.seen {
			delete(r.live, m.id)
			delete(r.failures, m.id) // it lived in peace
			c.Send(m.pid, stop{})
			r.left(h, m.open)
		}
	case gone:
		r.gone(c, m)
	case quit:
		for id, waiting := range r.pulling {
			for _, w := range waiting {
				w.reject(storage.ErrClosed)
			}
			delete(r.pulling, id)
		}
		for _, h := range r.live {
			c.Send(h.pid, m)
		}
		r.host.quitting.Done()
	case revive:
		if r.live[m.id] == nil {
			r.deliver(c, deliver{id: m.id, message: wakeUp{}})
		}
	case pulse:
		close(m.answered)
	default:
		r.placement(c, m)
	}
}

func (r *registry) deliver(c actor.Context, m deliver) {
	if r.host.closing.Load() {
		m.reject(storage.ErrClosed)
		return
	}
	if err := r.host.room(); err != nil {
		if in, ok := m.message.(*instruction); ok && in.external() {
			in.done(outcome{err: err})
			return
		}
	}
	h := r.live[m.id]
	if h == nil {
		if r.host.cluster != nil && !r.mayLive(c, m) {
			return
		}
		if f := r.failures[m.id]; f != nil && (f.open || time.Now().Before(f.until)) && !releases(m) {
			r.reject(m, f)
			return
		}
		h = r.spawn(c, m.id)
		h.stands = r.standsFor(m)
	}
	if in, ok := m.message.(*instruction); ok {
		if in.external() && h.backlog.waiting.Load() >= int64(r.host.limits.Waiting) {
			in.done(outcome{err: &OverloadedError{Stream: r.entityType.stream(m.id), Waiting: r.host.limits.Waiting}})
			return
		}
		h.backlog.waiting.Add(1)
		in.backlog = &h.backlog
	}
	h.sent++
	c.Send(h.pid, m.message)
}

// releases reports whether a person wants a failing entity to be tried again.
func releases(m deliver) bool {
	in, ok := m.message.(*instruction)
	if !ok {
		return false
	}
	_, release := in.command.(sagas.Release)
	return release
}

// reject answers for an entity that is not brought to life at the moment. A request of the host itself is tried again then.
func (r *registry) reject(m deliver, f *failures) {
	if f.err != nil {
		m.reject(f.err)
		return
	}
	reason := "it failed (" + f.reason + ") and is tried again " + f.until.UTC().Format(time.RFC3339)
	if f.open {
		reason = fmt.Sprintf("it failed %d times and is not tried again: %s", f.own, f.reason)
	}
	m.reject(&UnavailableError{Stream: r.entityType.stream(m.id), Reason: reason})
}

// reject says to whoever waits for a message that it is not delivered.
func (m *deliver) reject(err error) {
	if in, ok := m.message.(*instruction); ok && in.done != nil {
		in.done(outcome{err: err})
	}
	if m.refused != nil {
		m.refused(err)
	}
}

func (r *registry) spawn(c actor.Context, id string) *handle {
	h := &handle{id: id}
	r.spawned++
	props := actor.PropsFromProducer(func() actor.Actor { return r.entityType.produce(r, c.Self(), h) },
		actor.WithDispatcher(r.host.dispatcher))
	r.host.alive.Add(1) // before it lives: it may be gone at once
	r.host.living.Add(1)
	pid, err := c.SpawnNamed(props, id+"."+strconv.FormatUint(r.spawned, 10))
	if err != nil { // the name is new each time; protoactor gives no other reason
		panic(fmt.Sprintf("spawn %s: %v", id, err))
	}
	h.pid = pid
	r.live[id] = h
	return h
}

// gone notes that an entity stopped. Without a failure another writer took over: whoever needs it brings it to life again.
func (r *registry) gone(c actor.Context, m gone) {
	if h := r.live[m.id]; h != nil && h.pid.Equal(m.pid) {
		delete(r.live, m.id)
		r.left(h, m.resume)
	}
	c.Poison(m.pid) // behind everything that was sent to it, so that all of it is answered
	f := r.failures[m.id]
	if f == nil {
		f = &failures{}
		r.failures[m.id] = f
	}
	if time.Since(f.latest) > calmAfter {
		*f = failures{}
	}
	f.count++
	f.open = false
	delay := min(backoffFirst<<min(f.count-1, 10), backoffMost)
	f.latest = time.Now().Add(delay)
	if m.failure == nil { // whoever needs it has it at once; by itself it leaves the other writer more and more time
		f.reason, f.err, f.until = "another writer took over", nil, time.Time{}
	} else {
		f.reason, f.err, f.until = m.failure.reason, m.failure.err, f.latest
	}
	if m.failure != nil && m.failure.poison {
		f.own++
		if f.own >= circuitLimit {
			f.open = true
			r.record(m.id, f)
			return
		}
	}
	if m.resume && !r.host.closing.Load() && !r.standIn(m) {
		self := c.Self()
		time.AfterFunc(delay, func() { r.host.system.Root.Send(self, revive{m.id}) })
	}
}

// record puts the quarantine of a failing agent into its stream, so that the reason is history and holds after a restart. The
// agent cannot decide it itself: it does not come to life.
func (r *registry) record(id string, f *failures) {
	stream := r.entityType.stream(id)
	r.host.log.Error("entity failed too often: it is not tried again", "stream", stream, "failures", f.own, "reason", f.reason)
	if !r.entityType.quarantine || r.host.closing.Load() {
		return
	}
	reason, count := f.reason, f.own
	r.host.run(func() {
		if err := r.host.appendRaw(context.Background(), stream, events.AgentQuarantined{Reason: reason, Failures: count}); err != nil {
			r.host.log.Error("record quarantine", "stream", stream, "error", err)
		}
	})
}

// OverloadedError says that too many commands wait for one entity: this one was refused, not buffered.
type OverloadedError struct {
	Stream  events.Stream
	Waiting int
}

// Error names the stream and the limit.
func (o *OverloadedError) Error() string {
	return fmt.Sprintf("%d commands already wait for %s: try again later", o.Waiting, o.Stream)
}
