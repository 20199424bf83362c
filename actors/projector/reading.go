package projector

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
)

// reading is the fold of a projection and how far it has read. Whoever feeds it or asks it holds its lock: for one chunk, or one
// answer.
type reading struct {
	spec       *projections.Spec
	generation int    // of its stored states, see store.go
	source     string // the digest of the text that declares it; empty: it is in the build
	skips      *skips

	mu      sync.Mutex
	fold    projections.Fold
	wanted  map[events.Kind]bool
	at      events.Position // history up to here is in the fold; a bound, not always an event's position
	place   events.Position // of an event no later than at, or 0: reading on begins here
	last    mark            // the latest event that was looked at
	folded  int64           // events
	read    int64           // events that were looked at since this start
	begun   events.Micros   // when it was begun, at position 0
	phase   phase           // see phase.go
	stopped *Stopped        // why it goes no further
	resumes phase           // in which it goes on when that event is skipped
	fed     bool            // somebody feeds it
	frozen  bool            // its state is not stored any more
	stored  stored
	trend   trend
}

// mark is an event by which a stored state is recognised as one of this history.
type mark struct {
	Stream   events.Stream   `json:"stream"`
	Revision events.Revision `json:"revision,string"`
	Digest   events.Digest   `json:"digest"`
}

// Stopped says why a projection goes no further: an event that it cannot fold. Everything before it is in its answers.
type Stopped struct {
	Position events.Position `json:"position,string"` // of the event
	Event    events.Ref      `json:"event"`
	Kind     events.Kind     `json:"kind"`
	Problem  string          `json:"problem"`
}

// String says where and why.
func (s *Stopped) String() string {
	return fmt.Sprintf("stopped before position %d, event %s (%s): %s", s.Position, s.Event, s.Kind, s.Problem)
}

func newReading(spec *projections.Spec, source string, generation int, skipped *skips) *reading {
	return &reading{
		spec: spec, source: source, generation: generation, skips: skipped, fold: spec.New(), wanted: map[events.Kind]bool{}, begun: storage.Now(),
	}
}

// wants reports whether the fold needs an event.
func (r *reading) wants(e *events.Envelope) bool {
	if e.Foreign != nil {
		return r.spec.Wants(e)
	}
	kind := e.Kind
	wanted, known := r.wanted[kind]
	if !known {
		for _, prefix := range r.spec.Kinds {
			wanted = wanted || strings.HasPrefix(string(kind), prefix)
		}
		r.wanted[kind] = wanted
	}
	return wanted
}

// chosen is what the store is asked for: at least all events that the fold needs.
func chosen(spec *projections.Spec) storage.Filter {
	return storage.Filter{Kinds: spec.Kinds, Streams: spec.Strangers}
}

// feed folds what is new of a chunk, and reports whether the reading goes on. A chunk that begins after what was read leaves a gap, and
// is not taken.
func (r *reading) feed(c *chunk) (goesOn bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.phase.active() {
		return false
	}
	if c.after > r.at {
		r.fellBehind() // it is read up to here beside the tail
		return false
	}
	if c.through <= r.at {
		return true
	}
	skipped, all := r.skips.all(), c.decoded
	for i := range all {
		event := &all[i]
		if event.Position <= r.at || !r.wants(event.Envelope) || skipped[event.Position] {
			continue
		}
		if err := r.apply(event); err != nil {
			if i > 0 && all[i-1].Position > r.at {
				r.last = markOf(all[i-1].Envelope)
			}
			if i > 0 {
				r.place = max(r.place, all[i-1].Position)
			}
			r.stopAt(event, err)
			return false
		}
		r.folded++
	}
	if n := len(all); n > 0 && all[n-1].Position > r.at {
		r.last = markOf(all[n-1].Envelope)
	}
	r.read += int64(len(all))
	r.at, r.place = c.through, max(r.place, c.place)
	r.trend.note(r.at, r.folded)
	return true
}

func markOf(e *events.Envelope) mark { return mark{e.Stream, e.Revision, e.Digest} }

// apply folds one event. A fold that panics is in doubt, like one that fails in another way than by an event that cannot be read.
func (r *reading) apply(event *projections.Recorded) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return r.fold.Apply(event)
}

// stopAt ends the reading before an event.
func (r *reading) stopAt(event *projections.Recorded, err error) {
	var poison *projections.PoisonError
	r.stop(&Stopped{Position: event.Position, Event: event.Ref(), Kind: event.Kind, Problem: problemOf(err)}, !errors.As(err, &poison))
	r.at = max(r.at, event.Position-1)
}

// problemOf is why an event could not be folded, without where it is.
func problemOf(err error) string {
	var poison *projections.PoisonError
	if errors.As(err, &poison) {
		return poison.Problem.Error()
	}
	return err.Error()
}

// ask answers a checked query.
func (r *reading) ask(query projections.Query) (Answer, error) {
	answer, made, err := r.answer(query)
	if err != nil {
		return Answer{}, err
	}
	text, err := events.PlainJSON(answer)
	if err != nil {
		return Answer{}, fmt.Errorf("encode answer of projection %s: %w", r.spec.Name, err)
	}
	made.Answer = text
	return made, nil
}

func (r *reading) answer(query projections.Query) (answer any, made Answer, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("ask projection %s: panic: %v", r.spec.Name, p)
		}
	}()
	made = Answer{
		Projection: r.spec.Name, Version: r.spec.Version, Query: query.Name, Position: r.at, Events: r.folded, Stopped: r.stopped,
	}
	answer, err = r.fold.Answer(query)
	return answer, made, err
}

// position is how far it has read.
func (r *reading) position() events.Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at
}

// readFrom is where reading on begins: no later than its position, at an event that the store can be read from.
func (r *reading) readFrom() events.Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.place
}

// stopReason is why the reading goes no further; nil: it does.
func (r *reading) stopReason() *Stopped {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopped
}

// now is the phase in which the reading is.
func (r *reading) now() phase {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.phase
}

// skips are the positions of events that a projection leaves out. They are history, see sagas.Catalogue; all readings of a projection
// share them.
type skips struct {
	at atomic.Pointer[map[events.Position]bool]
}

// all returns them; it is not to be changed.
func (s *skips) all() map[events.Position]bool {
	if at := s.at.Load(); at != nil {
		return *at
	}
	return nil
}

// upTo lists those that are no later than a position, in order.
func (s *skips) upTo(position events.Position) []events.Position {
	list := []events.Position{}
	for at := range s.all() {
		if at <= position {
			list = append(list, at)
		}
	}
	slices.Sort(list)
	return list
}
