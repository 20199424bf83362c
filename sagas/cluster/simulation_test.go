package cluster_test

import (
	"container/heap"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// A simulation of hosts that carry out what their Watch says, over a network and a store that may fail in any way. Time is simulated: nothing
// waits. Whatever is decided, the Watch decides, as in a real host; what is here only carries messages.

// microseconds, of true time: each host's own clock has an offset and a drift.
type instant = events.Micros

const ms = events.Millisecond

// simulation is the world.
type simulation struct {
	now    instant
	queue  occasions
	serial int
	random uint64

	hosts   []*simulated // in the order in which they were started
	joins   map[events.HostID]*simulated
	history []*cluster.View
	facts   []sagas.Fact
	stalled instant // the store does not answer until then

	slowest  instant // that a message takes
	cuts     map[[2]string]instant
	removals []removed
	refused  int // appends, as the stream had gone on
	problems []string
	trace    []string // what happened
}

// removed is a removal, with what was true of it.
type removed struct {
	events.HostRemoved
	at, decided instant
}

// simulated is a process of a host.
type simulated struct {
	world   *simulation
	joined  events.HostJoined
	id      events.HostID
	watch   *cluster.Watch
	folded  int // how many facts its view has
	offset  events.Micros
	drift   float64
	dead    bool    // the process is gone
	off     bool    // and with it the machine: its port does not refuse, nothing answers
	paused  instant // until then
	waiting []func()
	ill     instant // until then it did not run; before, it was no member
	woken   instant // when its latest pause that it has to notice was over
	gone    bool    // it stopped by itself: it was removed, or it left
}

const theStore = "the store"

// occasion is something that happens at a time.
type occasion struct {
	at     instant
	serial int
	do     func()
}

type occasions []occasion

func (q occasions) Len() int { return len(q) }
func (q occasions) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].serial < q[j].serial
}
func (q occasions) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *occasions) Push(x any)   { *q = append(*q, x.(occasion)) }
func (q *occasions) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

func newSimulation(seed uint64, slowest instant) *simulation {
	return &simulation{
		now: 1000 * events.Second, random: seed, slowest: slowest, cuts: map[[2]string]instant{}, joins: map[events.HostID]*simulated{},
	}
}

func (w *simulation) view() *cluster.View {
	if len(w.history) == 0 {
		return cluster.NewView("c")
	}
	return w.history[len(w.history)-1]
}

// rand is SplitMix64.
func (w *simulation) rand(n int64) int64 {
	w.random += 0x9e3779b97f4a7c15
	x := w.random
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return int64((x ^ x>>31) % uint64(n))
}

func (w *simulation) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%9.3f ", float64(w.now-1000*events.Second)/1e6)+fmt.Sprintf(format, args...))
}

func (w *simulation) problem(format string, args ...any) {
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
	w.note("PROBLEM "+format, args...)
}

func (w *simulation) after(delay instant, do func()) {
	w.serial++
	heap.Push(&w.queue, occasion{at: w.now + delay, serial: w.serial, do: do})
}

// run lets time pass.
func (w *simulation) run(length instant) {
	end := w.now + length
	for len(w.queue) > 0 && w.queue[0].at <= end {
		next := heap.Pop(&w.queue).(occasion)
		w.now = next.at
		next.do()
	}
	w.now = end
}

// until lets time pass until something is so, or the time is over.
func (w *simulation) until(length instant, so func() bool) bool {
	for end := w.now + length; !so(); {
		if len(w.queue) == 0 || w.queue[0].at > end {
			return false
		}
		next := heap.Pop(&w.queue).(occasion)
		w.now = next.at
		next.do()
	}
	return true
}

// delay is how long a message takes.
func (w *simulation) delay() instant { return 50 + instant(w.rand(int64(w.slowest))) }

func (w *simulation) cut(from, to string) bool { return w.cuts[[2]string{from, to}] > w.now }

// send carries a message, if nothing is in its way when it leaves. What arrives at a paused process waits there.
func (w *simulation) send(from, to string, arrive func()) {
	if w.cut(from, to) {
		return
	}
	w.after(w.delay(), arrive)
}

func (h *simulated) name() string { return h.joined.Name }

// clock is the host's own time.
func (h *simulated) clock() events.Micros {
	return h.offset + events.Micros(float64(h.world.now)*(1+h.drift))
}

// wait turns a length of its own time into a true one.
func (h *simulated) wait(length events.Micros) instant {
	return instant(float64(length) / (1 + h.drift))
}

// handle has the process do something, when it runs.
func (h *simulated) handle(do func()) {
	switch {
	case h.dead || h.gone:
	case h.paused > h.world.now:
		h.waiting = append(h.waiting, do)
	default:
		do()
	}
}

// start starts a process, which joins.
func (w *simulation) start(joined events.HostJoined, offset events.Micros, drift float64) *simulated {
	h := &simulated{world: w, joined: joined, offset: offset, drift: drift}
	w.hosts = append(w.hosts, h)
	h.join()
	return h
}

// join reads the end, decides, and appends, until it is a member.
func (h *simulated) join() {
	w := h.world
	dead := events.HostID("")
	if there, ok := w.view().Named(h.name()); ok && cluster.Replaceable(&h.joined, &there, cluster.Contact{}, h.clock()) {
		dead = there.ID
	}
	again := func() { w.after(100*ms, func() { h.handle(h.join) }) }
	sent := h.clock()
	answered := false
	h.append(func(v *cluster.View) ([]events.Event, error) {
		return v.Decide(cluster.Join{Meta: sagas.Meta{ID: events.CommandID(fmt.Sprintf("join-%p", h))}, Host: h.joined, Dead: dead})
	}, anyRevision, func(v *cluster.View, err error) {
		var duplicate *sagas.DuplicateError
		if answered = true; h.watch != nil {
			return
		}
		if err != nil && !errors.As(err, &duplicate) {
			again()
			return
		}
		member, ok := v.Named(h.joined.Name)
		if !ok {
			again()
			return
		}
		h.id, h.folded = member.ID, int(v.Epoch)+1
		h.watch = cluster.NewWatch(h.id, v, sent, h.clock())
		h.ill = w.now
		w.note("%s is a member", h.id)
		h.tick()
	})
	w.after(2*events.Second, func() {
		if !answered && h.watch == nil {
			h.handle(h.join)
		}
	})
}

// anyRevision for an append of which only the decision matters.
const anyRevision = events.NoRevision - 1

// append sends a decision to the store, which takes it if its end is as expected. The answer is the view that then holds.
func (h *simulated) append(decide func(*cluster.View) ([]events.Event, error), expected events.Revision, answer func(*cluster.View, error)) {
	w := h.world
	w.send(h.name(), theStore, func() {
		w.atStore(func() {
			v := w.view()
			err := error(nil)
			if expected != anyRevision && expected != v.Epoch {
				err = errConflict
				w.refused++
			} else {
				var decided []events.Event
				if decided, err = decide(v); err == nil {
					w.record(decided, h)
				}
			}
			now := w.view()
			w.send(theStore, h.name(), func() { h.handle(func() { answer(now, err) }) })
		})
	})
}

var errConflict = errors.New("the stream has gone on")

// atStore does something at the store, when it answers.
func (w *simulation) atStore(do func()) {
	if w.stalled > w.now {
		w.after(w.stalled-w.now+w.delay(), func() { w.atStore(do) })
		return
	}
	do()
}

func (w *simulation) record(decided []events.Event, by *simulated) {
	for _, event := range decided {
		before := w.view()
		fact := sagas.Fact{Event: event, Revision: before.Epoch + 1, Time: events.Micros(len(w.facts)), Command: "c"}
		if joined, ok := event.(events.HostJoined); ok {
			fact.Command = events.CommandID(fmt.Sprintf("join-%p", by))
			w.joins[events.NewHostID(joined.Name, fact.Revision)] = by
		}
		w.facts = append(w.facts, fact)
		w.history = append(w.history, before.Apply(fact))
		w.note("%d %s", fact.Revision, event)
	}
}

// tick is the host's timer.
func (h *simulated) tick() {
	h.handle(func() {
		h.watch.Tick(h.clock())
		h.act()
		h.world.after(h.wait(cluster.TickEvery), h.tick)
	})
}

// act carries out what the watch wants.
func (h *simulated) act() {
	for _, action := range h.watch.Next(h.clock()) {
		switch {
		case action.Ping != nil:
			h.ping(*action.Ping)
		case action.Ask != nil:
			h.ask(*action.Ask)
		case action.Read:
			h.read()
		case action.Append != nil:
			h.remove(*action.Append)
		}
	}
	if h.watch.Removed() && !h.gone {
		h.gone = true
		h.world.note("%s reads that it was removed", h.id)
	}
}

// other is the process that a member's address leads to: the latest of that name.
func (w *simulation) other(member cluster.Member) *simulated {
	for i := len(w.hosts) - 1; i >= 0; i-- {
		if w.hosts[i].joined.Name == member.Joined.Name {
			return w.hosts[i]
		}
	}
	panic("no process was ever started for " + member.ID)
}

func (h *simulated) ping(to cluster.Member) {
	w, target, done := h.world, h.world.other(to), false
	w.send(h.name(), target.name(), func() {
		switch {
		case target.off:
		case target.dead || target.gone || target.watch != nil && target.id != to.ID:
			w.send(target.name(), h.name(), func() {
				h.handle(func() {
					if !done {
						done = true
						h.watch.Unanswered(to.ID, true, h.clock())
						h.act()
					}
				})
			})
		default:
			target.handle(func() {
				if target.id != to.ID {
					return // it is joining
				}
				says := target.watch.Says(target.clock())
				target.act()
				w.send(target.name(), h.name(), func() {
					h.handle(func() {
						if !done {
							done = true
							h.watch.Answered(to.ID, says, h.clock())
							h.act()
						}
					})
				})
			})
		}
	})
	w.after(h.wait(cluster.PingWithin), func() {
		h.handle(func() {
			if !done {
				done = true
				h.watch.Unanswered(to.ID, false, h.clock())
				h.act()
			}
		})
	})
}

func (h *simulated) ask(ask cluster.Ask) {
	w, witness := h.world, h.world.other(ask.Witness)
	w.send(h.name(), witness.name(), func() {
		witness.handle(func() {
			if witness.id != ask.Witness.ID {
				return
			}
			said := witness.watch.Testify(ask.Suspect, witness.clock())
			w.send(witness.name(), h.name(), func() {
				h.handle(func() {
					h.watch.Witnessed(ask.Witness.ID, ask.Suspect, said, h.clock())
					h.act()
				})
			})
		})
	})
}

// read reads what is new at the end of the stream.
func (h *simulated) read() {
	w, sent := h.world, h.clock()
	w.send(h.name(), theStore, func() {
		w.atStore(func() {
			news := w.facts
			w.send(theStore, h.name(), func() {
				h.handle(func() {
					h.fold(news)
					h.watch.Stored(h.viewAt(), sent, h.clock())
					h.act()
				})
			})
		})
	})
}

// fold folds facts itself, as a host does, and compares: at one epoch there is one view.
func (h *simulated) fold(facts []sagas.Fact) {
	if len(facts) <= h.folded {
		return
	}
	v := h.world.history[h.folded-1]
	for _, fact := range facts[h.folded:] {
		v = v.Apply(fact)
	}
	h.folded = len(facts)
	if !reflect.DeepEqual(v, h.world.history[v.Epoch]) {
		h.world.problem("%s has another view of epoch %d", h.id, v.Epoch)
	}
}

func (h *simulated) viewAt() *cluster.View { return h.world.history[h.folded-1] }

func (h *simulated) remove(a cluster.Append) {
	w, decided, sent := h.world, h.world.now, h.clock()
	w.note("%s appends the removal of %s (%s), expecting %d", h.id, a.Command.Host, a.Command.Because, a.Expected)
	h.judge(a.Command)
	done := false
	h.append(func(v *cluster.View) ([]events.Event, error) {
		made, err := v.Decide(a.Command)
		if err == nil {
			w.removals = append(w.removals, removed{made[0].(events.HostRemoved), w.now, decided})
		}
		return made, err
	}, a.Expected, func(v *cluster.View, err error) {
		if done = true; h.gone {
			return
		}
		h.folded = max(h.folded, int(v.Epoch)+1)
		h.watch.Stored(h.viewAt(), sent, h.clock())
		h.watch.Appended(a.Command.Host, h.clock())
		h.act()
	})
	w.after(h.wait(cluster.StoreWithin), func() {
		h.handle(func() {
			if !done {
				h.watch.Unstored(h.clock())
				h.watch.Appended(a.Command.Host, h.clock())
				h.act()
			}
		})
	})
}

// judge holds a removal, when it is decided, to what is true.
func (h *simulated) judge(command cluster.Remove) {
	w := h.world
	victim := w.joins[command.Host]
	if since := w.now - h.woken; since < 150*ms {
		w.problem("%s was paused until %d ms ago, and accuses %s", h.id, since/ms, command.Host)
	}
	if victim.dead || victim.gone || victim.id != command.Host { // or it joined twice, as it did not learn of the first time
		return
	}
	switch command.Because {
	case events.RemovedSilent:
		if well := min(w.now-victim.ill, w.reached(h.name(), victim.name())); well > 500*ms {
			w.problem("%s removes %s as silent, which could answer it for %d ms", h.id, command.Host, well/ms)
		}
		w.judgeWitnesses(h, victim)
	case events.RemovedStoreless:
		if well := w.reached(victim.name(), theStore); well > 1500*ms {
			w.problem("%s removes %s as storeless, which could reach the store for %d ms", h.id, command.Host, well/ms)
		}
	default:
		w.problem("%s removes %s as %s, whose process runs", h.id, command.Host, command.Because)
	}
}

// judgeWitnesses: with at most two others there is nobody who could have vetoed, and was not asked.
func (w *simulation) judgeWitnesses(h, victim *simulated) {
	if len(h.watch.View().Members) > 4 {
		return
	}
	for id := range h.watch.View().Members {
		if o := w.joins[id]; o != h && o != victim && !o.dead && !o.gone && o.watch != nil && min(w.now-max(o.ill, victim.ill), w.reached(h.name(), o.name()), w.reached(o.name(), victim.name())) > 2500*ms {
			w.problem("%s removes %s as silent, and could have asked %s", h.id, victim.id, o.id)
		}
	}
}

// reached is how long nothing was in the way between two.
func (w *simulation) reached(a, b string) instant {
	return w.now - min(w.now, max(w.cuts[[2]string{a, b}], w.cuts[[2]string{b, a}]))
}

// What can happen.

func (w *simulation) kill(h *simulated) {
	w.note("kill %s", h.id)
	h.dead = true
	w.disconnect(h)
}

// disconnect has the others notice that their connections to a host ended, whatever became of it.
func (w *simulation) disconnect(h *simulated) {
	for _, other := range w.hosts {
		if other != h && !other.dead && !other.gone && other.watch != nil {
			w.send(h.name(), other.name(), func() {
				other.handle(func() {
					other.watch.Disconnected(h.id, other.clock())
					other.act()
				})
			})
		}
	}
}

func (w *simulation) powerOff(h *simulated) {
	w.note("power off %s", h.id)
	h.dead, h.off = true, true
}

// pause stops the process. When it goes on, what waits is handled in any order with the timer.
func (w *simulation) pause(h *simulated, length instant) {
	if h.dead || h.gone || h.paused > w.now {
		return
	}
	w.note("pause %s for %d ms", h.id, length/ms)
	h.paused, h.ill = w.now+length, w.now+length
	if length > cluster.PauseAfter+cluster.TickEvery {
		h.woken = h.paused
	}
	w.after(length, func() {
		waiting := h.waiting
		h.waiting = nil
		for len(waiting) > 0 {
			i := w.rand(int64(len(waiting)))
			h.handle(waiting[i])
			waiting = slices.Delete(waiting, int(i), int(i)+1)
		}
	})
}

// cutOff cuts the ways from some to others.
func (w *simulation) cutOff(from, to []string, length instant) {
	w.note("cut %v to %v for %d ms", from, to, length/ms)
	for _, a := range from {
		for _, b := range to {
			if a != b {
				w.cuts[[2]string{a, b}] = max(w.cuts[[2]string{a, b}], w.now+length)
			}
		}
	}
}

// stall has the store answer nothing.
func (w *simulation) stall(length instant) {
	w.note("the store stalls for %d ms", length/ms)
	w.stalled = max(w.stalled, w.now+length)
}

func (w *simulation) names() []string {
	var names []string
	for _, h := range w.hosts {
		if !h.dead && !h.gone && !slices.Contains(names, h.name()) {
			names = append(names, h.name())
		}
	}
	return names
}

// running is the processes that are members, or are about to be.
func (w *simulation) running() []*simulated {
	var running []*simulated
	for _, h := range w.hosts {
		if !h.dead && !h.gone {
			running = append(running, h)
		}
	}
	return running
}

// agreed reports whether the members are exactly the processes that run, and all of them know it.
func (w *simulation) agreed() bool {
	running := w.running()
	if len(running) != len(w.view().Members) {
		return false
	}
	for _, h := range running {
		if h.watch == nil || h.watch.View().Epoch != w.view().Epoch || h.watch.Removed() {
			return false
		}
	}
	return true
}

func (w *simulation) story() string { return strings.Join(w.trace, "\n") }
