// Package world simulates everything around the sagas: people who write to agents, approve their calls or forget to, models that
// reply or fail, tools, wallets that run dry, hosts that crash in between. It responds to each request of a saga as simulated time
// passes, and what the sagas decide becomes a history as a store would hold it.
//
// Only the outside world is simulated: every event is a decision of the sagas of this build, so life verify accepts
// the history. The same Config always gives the same history, to the byte. Benchmarks and tests use it; no model and no tool
// runs.
package world

import (
	"container/heap"
	"errors"
	"fmt"

	"example.com/life/events"
	"example.com/life/sagas"
)

// Config says what history to make.
type Config struct {
	Seed   uint64
	Agents int           // 1 or more
	Events int64         // after so many nobody begins anything new, and soon it ends
	Start  events.Micros // 0: the 5th of January 2026
	Span   events.Micros // the time over which they are spread, about; 0: 180 days
}

const (
	hour = 60 * events.Minute
	day  = 24 * hour

	eventsPerTurn = 27                 // about
	lastMinutes   = 10 * events.Minute // after the end was reached, for what runs
)

// World is a history in the making.
type World struct {
	config  Config
	random  random
	now     events.Micros
	agenda  agenda
	agents  []*agent
	wallets []*purse
	tenants map[events.TenantID]*entity[sagas.Homeostasis]

	notebooks map[events.TenantID]*notebook

	batches  [][]events.Envelope // decided and not given out
	position events.Position
	count    int64
	commands int
	tasks    int
	until    events.Micros // when it is over; 0: not yet known
	failed   error
}

// New returns a world in which everything is about to begin.
func New(c Config) *World {
	if c.Start == 0 {
		c.Start = 1_767_571_200 * events.Second
	}
	if c.Span == 0 {
		c.Span = 180 * day
	}
	c.Agents = max(c.Agents, 1)
	w := &World{config: c, random: random{c.Seed}, now: c.Start, tenants: map[events.TenantID]*entity[sagas.Homeostasis]{}, notebooks: map[events.TenantID]*notebook{}}
	w.openWallets()
	w.adoptRules()
	w.openNotebooks()
	for i := range c.Agents {
		w.agents = append(w.agents, w.newAgent(i))
	}
	w.outside(w.random.time(hour, 6*day), w.stopHosts)
	return w
}

// Next lets time go on and returns the events of the next decision, in their places in the store; nil when it is over. The events
// belong to the caller.
func (w *World) Next() ([]events.Envelope, error) {
	for len(w.batches) == 0 && w.failed == nil {
		if len(w.agenda) == 0 {
			return nil, nil
		}
		task := heap.Pop(&w.agenda).(task) //nolint:errcheck,forcetypeassert // the agenda holds nothing else
		if w.until != 0 && task.at > w.until {
			return nil, nil
		}
		w.now = max(w.now+1, task.at)
		task.do()
	}
	if w.failed != nil {
		return nil, w.failed
	}
	batch := w.batches[0]
	w.batches = w.batches[1:]
	return batch, nil
}

// after does something when a length of time has passed.
func (w *World) after(wait events.Micros, do func()) {
	w.tasks++
	heap.Push(&w.agenda, task{at: w.now + wait, number: w.tasks, do: do})
}

// outside is after for what people do: in the end they do nothing more.
func (w *World) outside(wait events.Micros, do func()) {
	w.after(wait, func() {
		if w.until == 0 {
			do()
		}
	})
}

// entity is a saga with its stream.
type entity[S sagas.Saga[S]] struct {
	chain
	saga S
}

// chain is the end of a stream.
type chain struct {
	stream events.Stream
	last   events.Revision
	digest events.Digest
}

func newChain(stream events.Stream) chain { return chain{stream: stream, last: events.NoRevision} }

// origin says who is behind a command, and because of what.
type origin struct {
	actor, traceparent string
	causation          events.Ref
	correlation        string
}

// host is the actor of what the host does by itself.
const host = "life"

// decide has a saga decide, and records what comes of it. Answers that come too late are dropped, as a host does; what a saga refuses
// is left undone.
func decide[S sagas.Saga[S]](w *World, e *entity[S], command sagas.Command, from origin) ([]events.Event, error) {
	decided, err := e.saga.Decide(command)
	if err != nil {
		return nil, err
	}
	w.record(&e.chain, command.Metadata(), decided, from)
	first := e.last - events.Revision(len(decided)) + 1
	for i, event := range decided {
		e.saga = e.saga.Apply(sagas.Fact{
			Event: event, Revision: first + events.Revision(i), Time: command.Metadata().At, Command: command.Metadata().ID,
		})
	}
	return decided, nil
}

// record gives events their places in a stream and in the store.
func (w *World) record(c *chain, meta sagas.Meta, decided []events.Event, from origin) {
	batch := make([]events.Envelope, len(decided))
	correlation := from.correlation
	for i, event := range decided {
		data, version, err := events.Encode(event)
		if err != nil {
			w.fail(err)
			return
		}
		if started, ok := event.(events.TurnStarted); ok {
			correlation = string(started.Turn)
		}
		c.last++
		c.digest = c.digest.Next(event.Kind(), data)
		w.position++
		batch[i] = events.Envelope{
			ID: w.random.id(), Stream: c.stream, Revision: c.last, Position: w.position, Kind: event.Kind(), Version: version,
			Time: meta.At, Actor: from.actor, Command: meta.ID, Correlation: correlation, Causation: from.causation,
			Traceparent: from.traceparent, Digest: c.digest, Data: data,
		}
	}
	w.batches = append(w.batches, batch)
	w.count += int64(len(batch))
	if w.count >= w.config.Events && w.until == 0 {
		w.until = w.now + lastMinutes
	}
}

// fail ends the world: something decided what no saga may decide.
func (w *World) fail(err error) {
	if w.failed == nil {
		w.failed = fmt.Errorf("make a history: %w", err)
	}
}

// unexpected is whether an error says more than that a command came too late or was refused.
func unexpected(err error) bool {
	var refused *sagas.RefusalError
	var known *sagas.DuplicateError
	return err != nil && !errors.Is(err, sagas.ErrStale) && !errors.As(err, &refused) && !errors.As(err, &known)
}

// inside is the metadata of a command of the host's own.
func (w *World) inside(what string) sagas.Meta {
	return sagas.Meta{ID: events.CommandID(sagas.InternalPrefix + what), At: w.now}
}

// person is the metadata of a command from outside, and its origin.
func (w *World) person(name string) (sagas.Meta, origin) {
	w.commands++
	meta := sagas.Meta{ID: events.CommandID(fmt.Sprintf("c%d-%08x", w.commands, w.random.next()>>32)), At: w.now}
	from := origin{actor: name, correlation: string(meta.ID)}
	if w.random.oneIn(2) {
		from.traceparent = fmt.Sprintf("00-%016x%016x-%016x-01", w.random.next(), w.random.next(), w.random.next())
	}
	return meta, from
}

// task is something that happens at a time. Of two at the same time the one that was noted first comes first.
type task struct {
	at     events.Micros
	number int
	do     func()
}

// agenda is a heap of tasks.
type agenda []task

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	if a[i].at != a[j].at {
		return a[i].at < a[j].at
	}
	return a[i].number < a[j].number
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

// Push implements heap.Interface.
func (a *agenda) Push(x any) { *a = append(*a, x.(task)) } //nolint:errcheck,forcetypeassert // only after pushes

// Pop implements heap.Interface.
func (a *agenda) Pop() any {
	last := len(*a) - 1
	popped := (*a)[last]
	(*a)[last] = task{}
	*a = (*a)[:last]
	return popped
}
