package actors

import (
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"example.com/life/events"
	"example.com/life/sagas"
)

// Messages between the host's actors. They never leave the process.
type (
	// deliver asks a registry to hand a message to one of its entities, bringing it to life first if need be.
	deliver struct {
		id      string
		message any // *instruction, look or wakeUp
		// In a cluster:
		unfit   []events.HostID // they come before this host in rank and cannot hold it
		pulled  bool            // nobody else holds it
		refused func(error)     // is called if it is not delivered; an instruction has its own way to say so
	}
	// instruction has an entity decide a command.
	instruction struct {
		command   sagas.Command
		origin    Origin
		causation events.Ref
		base      any              // of a command that begins a stream: the fold it is decided on; nil: the stream's own
		done      func(outcome)    // called once, in the entity's goroutine; must not block
		backlog   *backlog         // counts it until it is decided; nil for the entity's own
		early     bool             // decided beside the appends under way, and answered before it is stored
		needs     []*pendingAppend // on which it rests: what it leads to is stored only if they are
		entry     events.HostID    // the host to which it came; empty: this one
	}
	// own is an instruction that an entity gives itself: an answer to one of its requests, or its clock.
	own struct{ instruction *instruction }
	// wakeUp has no content: it brings an entity to life.
	wakeUp struct{}
	// endRead tells an entity where its stream ends, before it refuses.
	endRead struct {
		refusals *refusals
		last     events.Revision
		err      error
	}
	// flush tells an entity to store decisions that linger.
	flush struct{}
	// idle tells an entity that its idle time may be over.
	idle struct{}
	// stop tells an entity to stop; its registry has forgotten it.
	stop struct{}
	// quit tells a registry, and its entities, that the host is closing.
	quit struct{}
	// passivate tells a registry that an entity has nothing to do. It holds only if no message is under way to it.
	passivate struct {
		id   string
		pid  *actor.PID
		seen uint64 // messages from the registry that it has taken
		open bool   // it goes to another host, and has work outstanding
	}
	// placed tells a registry that there is a newer view of the cluster.
	placed struct{ epoch events.Revision }
	// leave tells an entity that it belongs to another host: it goes at a safe point.
	leave struct{}
	// stay takes leave back.
	stay struct{}
	// hurry tells an entity that leaves that it has waited for a model's reply for long enough.
	hurry struct{}
	// held tells a registry that an entity cannot leave at once.
	held struct {
		id  string
		pid *actor.PID
	}
	// yield asks a registry for an entity, for the host that owns it.
	yield struct {
		id     string
		answer func(PeerHolding) // may be called more than once; the first counts
	}
	// moving asks a registry what was told to leave and is still here; with a stream, whether that is.
	moving struct {
		stream events.Stream
		answer func([]Handover)
	}
	// pulled tells a registry what became of the question who holds an entity.
	pulled struct {
		id     string
		holder events.HostID // empty: nobody
	}
	// gone tells a registry that an entity stopped by itself.
	gone struct {
		id      string
		pid     *actor.PID
		failure *failure // nil: another writer owns the stream
		resume  bool     // it left work behind: bring it to life again
	}
	// revive tells a registry to bring an entity to life, after a failure's delay.
	revive struct{ id string }
	// pulse has a registry say that it works.
	pulse struct{ answered chan<- struct{} }
)

// external reports whether the command comes from outside the host; only those are refused when too many wait.
func (in *instruction) external() bool {
	return in.done != nil && !strings.HasPrefix(string(in.command.Metadata().ID), sagas.InternalPrefix)
}

// dequeue notes that the instruction waits no longer.
func (in *instruction) dequeue() {
	if in.backlog != nil {
		in.backlog.waiting.Add(-1)
	}
}

// look has an entity show its saga. It must not keep or change it.
type look[S any] struct{ see func(S) }

// failure is why an entity stopped.
type failure struct {
	reason string
	poison bool  // its own history or logic made it fail, so trying again fails again
	err    error // what those are told who wait for it, where that is not UnavailableError with the reason
}

// answer is what those are told who wait for the entity.
func (f *failure) answer(stream events.Stream) error {
	if f.err != nil {
		return f.err
	}
	return &UnavailableError{Stream: stream, Reason: f.reason}
}

// outcome is what became of an instruction.
type outcome struct {
	revision events.Revision // of the decision's first event
	position events.Position // of the last event that was stored with it
	events   []events.Event
	err      error
	after    *pendingAppend // of an early instruction: on which the answer rests; nil: on what is stored
}

// Origin says where a command comes from.
type Origin struct {
	Actor       string // who: "cli", "api", a host's name
	Traceparent string // W3C trace context; may be empty
}

// handle is what a registry and one of its entities share.
type handle struct {
	id      string
	pid     *actor.PID
	sent    uint64 // owned by the registry
	backlog backlog

	// In a cluster, owned by the registry:
	leaving bool                // it was told to leave
	stands  events.HostID       // the owner, which cannot hold it
	asked   []func(PeerHolding) // by hosts that own it
}
