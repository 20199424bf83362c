package projector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
)

// reading is the fold of a projection and how far it has read. Two locks: folding is held while the fold is used, for one piece of a chunk
// or one answer, which may take a while; mu, taken after it, only to look at the rest or to change it.
type reading struct {
	spec       *projections.Spec
	generation int    // of its stored states, see store.go
	source     string // the digest of the text that declares it; empty: it is in the build
	skips      *skips

	folding sync.Mutex
	fold    projections.Fold
	wanted  map[events.Kind]bool

	mu      sync.Mutex
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
// is not taken. It is folded in pieces, of whole decisions: a question waits for no more than one of them. When ctx ends, what was folded
// by then is kept.
func (r *reading) feed(ctx context.Context, c *chunk) (goesOn bool) {
	for next := 0; ; {
		next, goesOn = r.feedPiece(ctx, c, next)
		if !goesOn || next == len(c.decoded) || ctx.Err() != nil {
			return goesOn
		}
	}
}

// pieceTime is how long a fold is used at once, except for one event, or one decision, that takes longer.
const pieceTime = 20 * time.Millisecond

// feedPiece folds a piece of a chunk, and returns where the next one begins.
func (r *reading) feedPiece(ctx context.Context, c *chunk, from int) (next int, goesOn bool) {
	r.folding.Lock()
	defer r.folding.Unlock()
	at, goesOn := r.takes(c)
	if !goesOn || c.through <= at {
		return len(c.decoded), goesOn
	}
	skipped, began, folded := r.skips.all(), time.Now(), int64(0)
	for next = from; next < len(c.decoded); next++ {
		event := &c.decoded[next]
		if event.Position <= at || !r.wants(event.Envelope) || skipped[event.Position] {
			continue
		}
		if ctx.Err() != nil || next > from && time.Since(began) > pieceTime && begins(c.decoded, next) {
			break
		}
		if err := r.apply(event); err != nil {
			r.tookUntil(c, from, next, folded)
			r.stopAt(event, err)
			return next, false
		}
		folded++
	}
	r.tookUntil(c, from, next, folded)
	return next, true
}

// takes reports whether a chunk can be folded, and up to where it was.
func (r *reading) takes(c *chunk) (at events.Position, goesOn bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.phase.active() {
		return r.at, false
	}
	if c.after > r.at {
		r.fellBehind() // it is read up to here beside the tail
		return r.at, false
	}
	return r.at, true
}

// begins reports whether a decision begins with an event.
func begins(all []projections.Recorded, at int) bool {
	return all[at].Command == "" || all[at].Command != all[at-1].Command || all[at].Stream != all[at-1].Stream
}

// tookUntil notes that a piece of a chunk, up to an event of it, is in the fold.
func (r *reading) tookUntil(c *chunk, from, next int, folded int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.folded += folded
	r.read += int64(next - from)
	if next > 0 && c.decoded[next-1].Position > r.at {
		r.last = markOf(c.decoded[next-1].Envelope)
		r.at = c.decoded[next-1].Position
		r.place = max(r.place, r.at)
	}
	if next == len(c.decoded) {
		r.at, r.place = c.through, max(r.place, c.place)
	}
	r.trend.note(r.at, r.folded)
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
	r.mu.Lock()
	defer r.mu.Unlock()
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
	r.folding.Lock()
	defer r.folding.Unlock()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("ask projection %s: panic: %v", r.spec.Name, p)
		}
	}()
	r.mu.Lock()
	made = Answer{
		Projection: r.spec.Name, Version: r.spec.Version, Query: query.Name, Position: r.at, Events: r.folded, Stopped: r.stopped,
	}
	r.mu.Unlock()
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
