package actors

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// entity is a saga with its stream: it decides commands, stores what was decided, and only then lets anyone act on it.
//
// Commands that arrive while an append is under way are decided together when it is stored, by one append, in order. A
// decision that asks for nothing and that nobody waits for (see mayLinger) lingers for a moment, to share an append. Every event carries its
// decision's command id, so history still tells decisions apart.
//
// What one entity asks of another in this process need not wait for the disk, where the journal takes appends in line: an early instruction
// is decided at once, and answered at once, with the append that the answer rests on. All of these appends go to disk in the order in which they were
// decided, and none without those that it needs; whatever acts on the world outside waits until all of them are there.
//
// An entity belongs to its actor's goroutine. It reads the journal to load, and its end before it refuses; its appends run beside it.
type entity[S sagas.Saga[S]] struct {
	stream  events.Stream
	fold    history.Fold[S]
	turn    func(*S) events.TurnID // the turn that runs; nil for sagas without turns
	working func(*S) bool          // whether the time of its turn is counted; nil for sagas without turns
	clock   clock
	host    *Host
	send    func(any)         // to its own actor
	saga    S                 // with everything decided so far
	tip     history.Tip       // after everything decided so far
	stored  history.Tip       // after everything stored
	linger  []events.Envelope // decided, to share the next append
	riders  []answered        // who waits for what lingers
	answers []answered        // none: the memory of those of the latest decisions
	queue   []*instruction    // not decided yet
	flying  []*flight         // the appends under way, in order
	unsure  []*refusals       // until it is read whether the fold is at the stream's end
	began   bool              // one was begun, and nobody has looked at what may follow from it
	timer   *time.Timer       // flushes what lingers
	saved   events.Revision   // of the newest snapshot
	every   events.Revision   // events until the next one
	encoder events.Encoder
}

// flight is an append under way, and who waits for it. When its append is over, it is sent to the entity's actor.
type flight struct {
	append   pendingAppend
	send     func(any) // to the entity's actor
	answers  []answered
	after    history.Tip
	size     int
	shared   bool // by several decisions
	stored   bool // but one before it may not be
	appended storage.Appended
	err      error
}

// land sends the flight to its entity. If we die here the batch may be stored: whoever asked tries again with the same command id and learns that
// it was.
func (f *flight) land(appended storage.Appended, err error) {
	f.appended, f.err = appended, err
	f.send(f)
}

type answered struct {
	done    func(outcome)
	outcome outcome
	early   bool // answered before it is stored
}

const (
	lingerTime = 20 * time.Millisecond // how long a decision may wait to share an append
	keepQueue  = 16                    // the longest queue whose memory is used again
	maxFlights = 4                     // appends of one entity under way; beyond, what is early waits too
)

// batchLimit says how much an append may hold: a batch that has enough takes in no further decision, and no decision is larger than
// the most. So no append is more than the store takes.
type batchLimit struct {
	most   int
	enough atomic.Int64
}

func (l *batchLimit) set(maxAppend int) {
	l.most = maxAppend / 4 * 3
	l.enough.Store(int64(maxAppend / 8))
}

// refused notes that the store takes less than it said: from now on less is appended at once.
func (l *batchLimit) refused(size int) { l.enough.Store(min(l.enough.Load(), int64(size/4))) }

// batchSize is about what a store counts, at most.
func batchSize(batch []events.Envelope) int {
	const overhead = 320 // for each event, beyond what BatchSize counts
	return storage.BatchSize(batch) + overhead*len(batch)
}

// load brings the saga to the end of its stream: from a snapshot, if there is a sound one, and the events after it.
func (e *entity[S]) load(ctx context.Context) error {
	saga, at, err := history.FoldStream(ctx, e.host.Reader, e.fold, e.stream, storage.Latest)
	if err != nil {
		return err
	}
	e.saga, e.tip, e.stored, e.saved, e.every = saga, at, at, at.Revision, storage.SnapshotEvery
	return nil
}

// instruct takes an instruction in. It is decided now, or with others when what is under way is stored.
func (e *entity[S]) instruct(in *instruction) {
	e.queue = append(e.queue, in)
	if len(e.flying) == 0 || in.early && e.mayBegin() {
		e.decide()
	}
}

// mayBegin reports whether another append may be begun beside those under way. When a snapshot is due there is none, for it needs an
// entity that is stored.
func (e *entity[S]) mayBegin() bool {
	due := e.host.snapshots != nil && e.tip.Revision-e.saved >= 2*e.every
	return len(e.flying) < maxFlights && !due
}

// decideNext decides what waits, after an append was stored.
func (e *entity[S]) decideNext() {
	early := func(in *instruction) bool { return in.early }
	if len(e.queue) > 0 && (len(e.flying) == 0 || e.mayBegin() && slices.ContainsFunc(e.queue, early)) {
		e.decide()
	}
}

// decide decides what waits, as much as one append may hold, and stores it.
func (e *entity[S]) decide() {
	e.lookAtClock()
	queue := e.queue // still there, to be answered, if deciding panics
	batch, answers := e.linger, append(e.answers[:0], e.riders...)
	linger, waiting := true, len(e.linger) > 0
	var rest []*instruction // for the next append
	var needs []*pendingAppend
	size, enough := batchSize(batch), int(e.host.batches.enough.Load())
	for i, in := range queue {
		if size > enough {
			rest, linger = queue[i:], false
			break
		}
		in.dequeue()
		before := len(batch)
		base, based := in.base.(S)
		if based = based && e.tip.Revision == events.NoRevision; based {
			e.saga = base
		}
		result := outcome{revision: e.tip.Revision + 1}
		saga := e.saga // as it is, unless the decision is recorded
		if batch, result.err = e.step(batch, in, &result); result.err != nil {
			if e.saga = saga; based {
				e.saga = e.fold.Zero()
			}
			answers = append(answers, answered{in.done, outcome{err: result.err}, in.early})
			continue
		}
		answers = append(answers, answered{in.done, result, in.early})
		needs = append(needs, in.needs...)
		size += batchSize(batch[before:])
		linger = linger && len(in.needs) == 0 && mayLinger(in.command, result.events)
	}
	if e.linger, e.riders = nil, nil; len(rest) == 0 && cap(queue) <= keepQueue {
		clear(queue)
		rest = queue[:0]
	}
	e.queue = rest
	defer e.forget(answers)
	if len(batch) == 0 { // refused or known before: nothing to store
		e.answerRefused(answers)
		return
	}
	if linger && len(queue) > 0 {
		e.linger, e.riders = batch, slices.Clone(answers)
		if !waiting { // the first to wait says how long
			e.flushLater()
		}
		return
	}
	e.startAppend(batch, needs, answers)
}

// forget keeps the memory of answers that were given, or are kept elsewhere, for the next ones.
func (e *entity[S]) forget(answers []answered) {
	clear(answers)
	if e.answers = nil; cap(answers) <= keepQueue {
		e.answers = answers[:0]
	}
}

// answerEarly answers those who do not wait for the disk, with the append on which their answers rest, and returns the others in memory of their own.
func answerEarly(answers []answered, after *pendingAppend) (others []answered) {
	for i := range answers {
		switch a := &answers[i]; {
		case a.done == nil:
		case a.early:
			a.outcome.after = after
			a.done(a.outcome)
		default:
			others = append(others, *a)
		}
	}
	return others
}

// mayLinger reports whether a decision may wait to share an append. Only what can be had again at no cost, and what nobody is in a hurry for,
// qualifies: if the host dies before it is stored, Ready asks homeostasis or the wallet once more and gets the same answer. Whoever
// asked hears of it when it is stored.
func mayLinger(command sagas.Command, decided []events.Event) bool {
	if len(decided) != 1 || sagas.IsStep(command.Metadata().ID) {
		return false
	}
	switch command.(type) {
	case sagas.RecordAdvice, sagas.Settle, sagas.RecordSettlement:
		return true
	}
	return false
}

// step decides a command at the entity's time, and appends the decision to a batch. After an error the saga may be one that has decided.
func (e *entity[S]) step(batch []events.Envelope, in *instruction, result *outcome) (_ []events.Envelope, err error) {
	meta := sagas.Meta{ID: in.command.Metadata().ID, At: e.clock.now(e.tip.Time)}
	correlation := string(meta.ID)
	if e.turn != nil {
		correlation = cmp.Or(string(e.turn(&e.saga)), correlation)
	}
	advancer, advances := any(&e.saga).(sagas.Advancer)
	if advances {
		result.events, err = advancer.Advance(in.command, meta.At)
	} else {
		result.events, err = e.saga.Decide(timed(in.command, meta))
	}
	if err != nil {
		return batch, err
	}
	if batch, err = e.record(batch, in, meta, correlation, result.events); err != nil {
		e.host.log.Error("record decision", "stream", e.stream, "error", err)
		return batch, err
	}
	for i := 0; i < len(result.events) && !advances; i++ {
		e.saga = e.saga.Apply(sagas.Fact{Event: result.events[i], Revision: result.revision + events.Revision(i), Time: meta.At, Command: meta.ID})
	}
	return batch, nil
}

// timed is a command at the entity's time.
func timed(command sagas.Command, meta sagas.Meta) sagas.Command {
	if command.Metadata() == meta {
		return command
	}
	return sagas.Identified(command, meta)
}

// record appends a decision to a batch.
func (e *entity[S]) record(batch []events.Envelope, in *instruction, meta sagas.Meta, correlation string, decided []events.Event) ([]events.Envelope, error) {
	base := newBase()
	start, digest := len(batch), e.tip.Digest
	batch = slices.Grow(batch, len(decided))
	err := e.encoder.EncodeAll(decided, func(event events.Event, data json.RawMessage, version int) {
		digest = digest.Next(event.Kind(), data)
		if started, ok := event.(events.TurnStarted); ok {
			correlation = string(started.Turn)
		}
		batch = append(batch, events.Envelope{
			ID: eventID(base, len(batch)-start), Kind: event.Kind(), Version: version, Time: meta.At, Actor: in.origin.Actor,
			Command: meta.ID, Correlation: correlation, Causation: in.causation,
			Traceparent: in.origin.Traceparent, Host: e.host.id, Digest: digest, Data: data,
		})
	})
	if err != nil {
		return batch[:start], err
	}
	if size := batchSize(batch[start:]); size > e.host.batches.most {
		err := fmt.Errorf("%w to %s: what is decided has %d events of %d bytes, and the store takes at most about %d at once",
			storage.ErrInvalidAppend, e.stream, len(decided), size, e.host.batches.most)
		if in.external() {
			err = &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error() + ": send less in one command"}
		}
		return batch[:start], err
	}
	e.tip = history.Tip{Revision: e.tip.Revision + events.Revision(len(decided)), Digest: digest, Time: meta.At}
	return batch, nil
}

func (e *entity[S]) lookAtClock() {
	working := e.working != nil && e.working(&e.saga)
	e.clock.look(storage.Now(), time.Since(e.host.began), e.tip.Time, working)
}

// newBase is uuid.New, which needs memory of its own for each.
func newBase() (base uuid.UUID) {
	_, _ = rand.Read(base[:]) // it never fails
	base[6], base[8] = base[6]&0x0f|0x40, base[8]&0x3f|0x80
	return base
}

// eventID numbers the events of one attempt: random as a whole, so that two activations never write the same ids.
func eventID(base uuid.UUID, i int) events.EventID {
	tail := binary.BigEndian.Uint32(base[12:])
	binary.BigEndian.PutUint32(base[12:], tail+uint32(i))
	return base
}

// startAppend stores a batch, beside the actor. The same event ids are sent again until the outcome is known or the time is up.
func (e *entity[S]) startAppend(batch []events.Envelope, needs []*pendingAppend, answers []answered) {
	at := e.stored.Revision
	if n := len(e.flying); n > 0 {
		last := e.flying[n-1]
		at, needs = last.after.Revision, append(needs, &last.append)
	}
	f := &flight{send: e.send, after: e.tip, size: batchSize(batch), shared: batch[0].Command != batch[len(batch)-1].Command}
	f.append = pendingAppend{flight: f, stream: e.stream, expected: storage.ExpectRevision(at), batch: batch, needs: needs}
	e.host.startAppend(&f.append)
	// If we die here, or at any moment before the batch is on disk, nothing is there that rests on it: what is answered early leads to
	// appends that need this one, and to nothing else.
	f.answers = answerEarly(answers, &f.append)
	e.flying, e.began = append(e.flying, f), true
}

// appended ends an append. With an error the saga has decided what is not stored: the entity must be given up.
func (e *entity[S]) appended(f *flight) error {
	if f.err != nil {
		reason := e.reason(f.err)
		if f.shared && errors.Is(f.err, storage.ErrInvalidAppend) { // each alone may be taken
			e.host.batches.refused(f.size)
			reason = &UnavailableError{Stream: e.stream, Reason: f.err.Error()}
		}
		fail(f.answers, reason)
		f.answers = nil
		return f.err
	}
	f.stored = true
	for len(e.flying) > 0 && e.flying[0].stored { // an answer that was lost on its way comes after later ones
		f := e.flying[0]
		e.flying = slices.Delete(e.flying, 0, 1)
		e.stored = f.after
		for i := range f.answers {
			f.answers[i].outcome.position = f.appended.Position
		}
		answer(f.answers)
		f.answers = nil // others may hold its append for longer
	}
	return nil
}

// reason is what whoever waits is told of an append's error.
func (e *entity[S]) reason(err error) error {
	var conflict *storage.ConflictError
	switch {
	case errors.As(err, &conflict):
		return &FencedError{Stream: e.stream}
	case errors.Is(err, storage.ErrClosed), errors.Is(err, storage.ErrFull), errors.Is(err, storage.ErrReadOnly), errors.Is(err, storage.ErrInvalidAppend), errors.Is(err, storage.ErrDeleted):
		return err
	}
	return &UnavailableError{Stream: e.stream, Reason: err.Error()}
}

// flushLater stores what lingers after a moment, if no other decision has come.
func (e *entity[S]) flushLater() {
	if e.timer == nil {
		e.timer = time.AfterFunc(lingerTime, func() { e.send(flush{}) })
		return
	}
	e.timer.Reset(lingerTime)
}

// flushNow stores what lingers.
func (e *entity[S]) flushNow() {
	if len(e.linger) > 0 {
		e.decide()
	}
}

// settled reports whether everything decided is stored, and everything refused is answered.
func (e *entity[S]) settled() bool {
	return len(e.flying) == 0 && len(e.linger) == 0 && len(e.queue) == 0 && len(e.unsure) == 0
}

// snapshot saves the fold, beside the actor. It is a cache: failing to save it costs time at the next load.
func (e *entity[S]) snapshot() {
	if e.host.snapshots == nil || e.stored != e.tip || e.stored.Revision == e.saved {
		return
	}
	state, err := json.Marshal(e.saga)
	if err != nil {
		e.host.log.Error("encode snapshot", "stream", e.stream, "error", err)
		return
	}
	e.saved = e.stored.Revision
	e.every = events.Revision(storage.SnapshotSpacing(len(state)))
	snapshot := storage.Snapshot{Revision: e.stored.Revision, Digest: e.stored.Digest, State: state}
	e.host.run(func() {
		if e.host.cluster != nil {
			e.host.cluster.sendSnapshot(e.fold.Name, e.stream, snapshot)
		}
		if err := e.host.snapshots.Save(context.Background(), e.fold.Name, e.stream, snapshot); err != nil && !errors.Is(err, storage.ErrClosed) {
			e.host.log.Warn("save snapshot", "stream", e.stream, "error", err)
		}
	})
}

// rejectAll answers everything that still waits, with the reason.
func (e *entity[S]) rejectAll(err error) {
	if e.timer != nil {
		e.timer.Stop()
	}
	for _, f := range e.flying {
		fail(f.answers, err)
	}
	e.flying = nil
	for _, in := range e.queue {
		answer([]answered{{done: in.done, outcome: outcome{err: err}}})
	}
	fail(e.riders, err)
	for _, r := range e.unsure {
		fail(r.answers, err)
	}
	e.unsure = nil
	e.queue, e.linger, e.riders = nil, nil, nil
}

func answer(answers []answered) {
	for _, a := range answers {
		if a.done != nil {
			a.done(a.outcome)
		}
	}
}

// fail answers everyone with an error. Also those who were refused, or whose command was known already: it may have been because of
// the very decisions that are not stored.
func fail(answers []answered, err error) {
	for i := range answers {
		answers[i].outcome = outcome{err: err}
	}
	answer(answers)
}
