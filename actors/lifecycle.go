package actors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// backlog counts the instructions that an entity has not decided yet, on their way to it or in its queue, so that more than a
// bounded number is refused instead of buffered.
type backlog struct{ waiting atomic.Int64 }

// actorShell is the actor around an entity: it loads it, passes messages on, stops when there is nothing to do or nothing can be done.
// What is particular to a kind of entity is its behavior.
type actorShell[S sagas.Saga[S]] struct {
	entity[S]
	handle   *handle
	registry *actor.PID
	self     *actor.PID
	behavior behavior
	seen     uint64 // messages from the registry
	idleFrom time.Time
	idler    *time.Timer
	quitting bool // the host is closing
	leaving  bool // it belongs to another host, and goes at a safe point
	frozen   bool // it has asked to go
	hurry    *time.Timer
	dead     bool
	broken   error // why its stream cannot be folded
}

// behavior is what a kind of entity does beyond deciding and storing. All methods run in the entity's goroutine.
type behavior interface {
	before(sagas.Command) // a command has come, and is about to be decided
	loaded()              // the saga is at the end of its stream
	begun()               // more of what was decided is in line to be stored; of a journal that has a line
	stored()              // more of what was decided is stored
	receive(any)          // a message of its own
	busy() bool           // something is under way that needs the entity alive

	// In a cluster:
	unfit(context.Context) (string, error) // why this host cannot hold it
	mayLeave() bool                        // nothing is under way that another host would not simply ask for again
	letGo() (open bool)                    // it goes to another host: forget what was asked, and say whether anything is outstanding
	hurried()                              // it has waited for long enough to leave
	stays()                                // it does not go after all
	stop()                                 // cut off whatever is under way
}

// Receive implements actor.Actor. A panic stops the entity; its registry decides when to try again.
func (l *actorShell[S]) Receive(c actor.Context) {
	defer func() {
		if r := recover(); r != nil {
			l.host.log.Error("entity panicked", "stream", l.stream, "panic", r, "stack", string(debug.Stack()))
			if l.dead {
				return // in giving up, which has been reported
			}
			l.stopAndReport(&failure{reason: fmt.Sprintf("panic: %v", r), poison: true}, true)
		}
	}()
	if l.dead {
		l.refuse(c.Message())
		return
	}
	switch m := c.Message().(type) {
	case *actor.Started:
		l.begin(c)
	case *instruction:
		l.arrive()
		l.behavior.before(m.command)
		l.instruct(m)
		l.afterStep()
	default:
		l.receiveOther(m)
	}
}

// receiveOther handles the rarer messages.
func (l *actorShell[S]) receiveOther(message any) {
	switch m := message.(type) {
	case look[S]:
		l.arrive()
		m.see(l.saga)
		l.afterStep()
	case wakeUp:
		l.arrive()
		l.afterStep()
	case own:
		if l.frozen {
			return
		}
		l.instruct(m.instruction)
		l.afterStep()
	case *flight:
		if err := l.appended(m); err != nil {
			l.fence(err)
			return
		}
		l.behavior.stored()
		if l.stored.Revision-l.saved >= l.every {
			l.snapshot()
		}
		l.decideNext()
		l.afterStep()
		l.considerQuitting()
	case endRead:
		if !l.endKnown(m) {
			l.behind(m.last)
			return
		}
		l.behavior.stored()
		l.afterStep()
		l.considerQuitting()
	case flush:
		l.flushNow()
	case idle:
		l.considerIdle()
	case stop:
		l.passivate()
	case quit:
		l.quitting = true
		l.flushNow()
		l.considerQuitting()
	default:
		l.move(message)
	}
}

// move handles what concerns where the entity lives, and passes on what is its behavior's.
func (l *actorShell[S]) move(message any) {
	switch message.(type) {
	case leave:
		l.beginLeaving()
	case stay:
		l.endLeaving()
	case hurry:
		if l.leaving {
			l.behavior.hurried()
			l.considerLeaving()
		}
	default:
		if !l.frozen {
			l.behavior.receive(message)
			l.afterStep()
		}
	}
}

func (l *actorShell[S]) begin(c actor.Context) {
	l.self = c.Self()
	l.send = func(m any) { l.host.system.Root.Send(l.self, m) }
	var err error
	unfit := ""
	l.host.dispatcher.blocking(func() {
		if err = l.load(l.host.running); err == nil && l.host.cluster != nil {
			unfit, err = l.behavior.unfit(l.host.running)
		}
	})
	if err != nil {
		l.stopAndReport(l.loadFailure(err), true)
		return
	}
	if unfit != "" {
		l.stopAndReport(&failure{reason: unfit, err: &IneligibleError{Stream: l.stream, Host: l.host.id, Reason: unfit}}, len(l.saga.Ready()) > 0)
		return
	}
	l.behavior.loaded()
	l.afterStep()
}

// loadFailure is why an entity cannot be brought to life. Where somebody else's hand is in its stream, Life writes nothing more into it, and tries
// again now and then: what is missing may be given back.
func (l *actorShell[S]) loadFailure(err error) *failure {
	var (
		unreadable *history.UnreadableError
		gone       *history.GoneError
		foreign    *sagas.ForeignError
	)
	f := &failure{reason: err.Error()}
	if newer := ineligible(err, l.stream, l.host.id); newer != nil {
		f.err = newer
		return f
	}
	switch {
	case errors.As(err, &gone), errors.As(err, &foreign), errors.Is(err, storage.ErrDeleted):
		f.err = err
	case errors.As(err, &unreadable):
		f.poison = true
	}
	return f
}

// arrive notes a message from the registry.
func (l *actorShell[S]) arrive() {
	l.seen++
	l.frozen = false
}

// afterStep looks at what may follow early from what was begun, and starts the idle clock when there is nothing to do. Its jitter keeps many
// entities from leaving at once.
func (l *actorShell[S]) afterStep() {
	if l.began && !l.dead && l.host.line != nil {
		l.behavior.begun()
	}
	l.began = false
	if l.leaving {
		l.considerLeaving()
		return
	}
	if l.dead || l.host.idle <= 0 || !l.settled() || l.behavior.busy() {
		return
	}
	l.idleFrom = time.Now()
	if l.idler == nil {
		l.idler = time.AfterFunc(l.idleTime(), func() { l.send(idle{}) })
	}
}

func (l *actorShell[S]) idleTime() time.Duration {
	return l.host.idle + rand.N(l.host.idle/4+1)
}

// considerIdle asks the registry to let the entity go, if it really has had nothing to do.
func (l *actorShell[S]) considerIdle() {
	l.idler = nil
	if l.leaving || !l.settled() || l.behavior.busy() {
		return
	}
	if quiet := time.Since(l.idleFrom); quiet < l.host.idle {
		l.idler = time.AfterFunc(l.host.idle-quiet+time.Millisecond, func() { l.send(idle{}) })
		return
	}
	l.host.system.Root.Send(l.registry, passivate{id: l.handle.id, pid: l.self, seen: l.seen})
}

// considerQuitting stops the entity when the host closes and everything decided is stored.
func (l *actorShell[S]) considerQuitting() {
	if l.quitting && l.settled() {
		l.passivate()
	}
}

// passivate stops the entity, which has nothing under way; its registry has already forgotten it.
func (l *actorShell[S]) passivate() {
	l.snapshot()
	l.finish(&UnavailableError{Stream: l.stream, Reason: "the host is closing"})
	l.host.system.Root.Stop(l.self)
}

// fence stops the entity after an append that was refused or whose outcome is unknown: what it decided is not history, and the
// next activation reads what is. Nothing is sent, nothing is guessed.
func (l *actorShell[S]) fence(err error) {
	var conflict *storage.ConflictError
	if errors.As(err, &conflict) {
		l.takenOver("error", err)
		return
	}
	if !errors.Is(err, storage.ErrClosed) && !errors.Is(err, context.Canceled) {
		l.host.log.Error("store decision", "stream", l.stream, "error", err)
	}
	l.stopAndReport(&failure{reason: err.Error()}, true) // it may be stored, and have work outstanding
}

// behind stops an entity whose stream goes on behind its fold.
func (l *actorShell[S]) behind(end events.Revision) {
	l.takenOver("revision", l.tip.Revision, "end", end)
}

func (l *actorShell[S]) takenOver(what ...any) {
	if l.host.cluster != nil {
		l.host.cluster.count.takenOver.Add(1)
	}
	resume := l.behavior.busy() || len(l.queue) > 0 || len(l.saga.Ready()) > 0
	l.host.log.Warn("another writer owns the stream: this activation stops", append([]any{"stream", l.stream}, what...)...)
	l.stopAndReport(nil, resume)
}

// stopAndReport gives the entity up and tells its registry why; with resume it is brought to life again, for it has work to do. Its
// actor stops when the registry, which sends it nothing more, says so: until then it refuses whatever is under way to it.
func (l *actorShell[S]) stopAndReport(f *failure, resume bool) {
	defer l.host.system.Root.Send(l.registry, gone{id: l.handle.id, pid: l.self, failure: f, resume: resume})
	if f == nil {
		l.finish(&FencedError{Stream: l.stream})
		return
	}
	if f.err != nil {
		l.broken = f.err
	}
	l.finish(f.answer(l.stream))
}

func (l *actorShell[S]) finish(reason error) {
	l.dead = true
	l.host.alive.Done()
	l.host.living.Add(-1)
	for _, timer := range []*time.Timer{l.idler, l.hurry} {
		if timer != nil {
			timer.Stop()
		}
	}
	l.rejectAll(reason)
	l.behavior.stop()
}

// refuse answers what still reaches an entity that has stopped.
func (l *actorShell[S]) refuse(message any) {
	if in, ok := message.(*instruction); ok && in.done != nil {
		in.done(outcome{err: cmp.Or(l.broken, error(&FencedError{Stream: l.stream}))})
	}
}

// UnavailableError says that a stream's entity cannot answer at the moment.
type UnavailableError struct {
	Stream events.Stream
	Reason string
}

// Error names the stream and the reason.
func (u *UnavailableError) Error() string {
	return fmt.Sprintf("%s is not available: %s", u.Stream, u.Reason)
}

// FencedError says that another writer took the stream over while a command was under way. Sending the command again, with the same
// id, is safe.
type FencedError struct{ Stream events.Stream }

// Error names the stream.
func (f *FencedError) Error() string {
	return fmt.Sprintf("another writer took over %s: send the command again", f.Stream)
}
