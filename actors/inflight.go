package actors

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// inflight holds the requests to models and tools that this host has sent, and their answers until these are stored. An agent leaves
// memory when its stream cannot be appended to, or when another writer takes it over; its requests go on. Its next activation finds them
// outstanding in history and takes them over, so that nothing which has ended is asked for, run or paid again while the host lives.
// If we die, history has the request without an answer, and the next host does what docs/turn.md says.
type inflight struct {
	host    *Host
	mu      sync.Mutex
	errands map[events.AgentID]*errand // the newest of each agent, linked by next
	bytes   int                        // of answers in memory
}

// errand is one request under way, from when it is sent until its answer is stored or it is abandoned.
type errand struct {
	in    *inflight
	about Unstored // what it is; the rest is filled in when somebody asks

	received atomic.Int64 // bytes of a model's reply, so far

	// Guarded by in.mu.
	next     *errand
	lifetime context.Context    //nolint:containedctx // until the request is abandoned, or the host closes; made when it is needed
	end      context.CancelFunc // ends it
	cut      context.CancelFunc // cuts off the work under way
	first    instruction        // the memory of the first answer
	owner    *agent             // the activation that waits for the answer; nil: none is alive
	answer   *instruction       // when it has ended; nil again while it is in the blob store
	size     int                // of the answer in memory
	blob     *events.BlobRef
	ended    time.Time // zero: it is under way
	reason   string    // why the answer is not stored; empty: it is about to be
	refused  bool      // the store refused an answer for good, and another stands for it
	released bool
	passed   bool // the answer went to another host
}

// Unstored is a request of which something cannot be stored yet: its answer, which is kept until it can be, or the claim without which a call
// does not begin.
type Unstored struct {
	Agent   events.AgentID   `json:"agent"`
	Turn    events.TurnID    `json:"turn"`
	Request events.RequestID `json:"request"`
	Call    events.CallID    `json:"call,omitempty"`
	Tool    string           `json:"tool,omitempty"`  // that was called
	Model   string           `json:"model,omitempty"` // that was asked
	Ended   events.Micros    `json:"ended,string"`    // when the answer was there; 0: it has not begun
	Reason  string           `json:"reason"`          // why it is not stored
}

// String says what waits, and why.
func (u Unstored) String() string {
	switch {
	case u.Ended == 0:
		return fmt.Sprintf("call %s (%s) of turn %s waits to begin: %s", u.Call, u.Tool, u.Turn, u.Reason)
	case u.Call != "":
		return fmt.Sprintf("call %s (%s) of turn %s has ended, and its result is kept until it can be stored: %s", u.Call, u.Tool, u.Turn, u.Reason)
	}
	return fmt.Sprintf("model %s has replied in turn %s, and the reply is kept until it can be stored: %s", u.Model, u.Turn, u.Reason)
}

// Unstored lists what waits to be stored, the oldest first: it asks no store. An empty agent means all agents.
func (h *Host) Unstored(_ context.Context, agent events.AgentID) ([]Unstored, error) {
	in := &h.inflight
	in.mu.Lock()
	defer in.mu.Unlock()
	list := []Unstored{}
	for id, newest := range in.errands {
		for e := newest; e != nil; e = e.next {
			if e.reason == "" || agent != "" && agent != id {
				continue
			}
			about := e.about
			about.Reason = e.reason
			if !e.ended.IsZero() {
				about.Ended = events.Micros(e.ended.UnixMicro())
			}
			list = append(list, about)
		}
	}
	slices.SortFunc(list, func(a, b Unstored) int {
		return cmp.Or(cmp.Compare(a.Ended, b.Ended), cmp.Compare(a.Request, b.Request))
	})
	return list, nil
}

// begin sends a request of an agent on its way.
func (in *inflight) begin(a *agent, about Unstored) *errand {
	about.Agent = events.AgentID(a.handle.id)
	e := &errand{in: in, about: about, owner: a}
	in.mu.Lock()
	defer in.mu.Unlock()
	e.next = in.errands[about.Agent]
	in.errands[about.Agent] = e
	return e
}

// life is a context that ends when the request is abandoned, or the host closes.
func (e *errand) life() context.Context {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	if e.lifetime == nil {
		e.lifetime, e.end = context.WithCancel(e.in.host.running)
		if e.released {
			e.end()
		}
	}
	return e.lifetime
}

// within is life that ends after a time, too. It is used once.
func (e *errand) within(limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(e.in.host.running, limit)
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	if e.cut = cancel; e.released {
		cancel()
	}
	return ctx, cancel
}

// abandoned reports whether nobody waits for the answer any more: the request was cancelled, as history says, or the host is closing.
func (e *errand) abandoned() bool {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	return e.released || e.in.host.running.Err() != nil
}

// takeOver hands an agent that was loaded what is under way for it. The answers that are there already are decided first.
func (in *inflight) takeOver(a *agent) {
	in.mu.Lock()
	var answers []*instruction
	for e := in.errands[events.AgentID(a.handle.id)]; e != nil; e = e.next {
		e.owner = a
		a.running[e.about.Request] = e
		switch {
		case e.answer != nil:
			answers = append(answers, e.answer)
		case e.blob != nil:
			in.host.run(e.fetch)
		}
	}
	in.mu.Unlock()
	for _, answer := range answers {
		a.instruct(answer)
	}
}

// finish takes the answer, from any goroutine. Only the first counts.
func (e *errand) finish(command sagas.Command, causation events.Ref) {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	if e.answer == nil && e.blob == nil {
		if e.reason = ""; e.ended.IsZero() {
			e.ended = time.Now()
		}
		e.keep(command, causation)
	}
}

// arrived notes that the answer is there, though not yet as it can be stored.
func (e *errand) arrived() {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	e.ended, e.reason = time.Now(), ""
}

// keep has the answer in memory and hands it to the activation that waits. The lock is held.
func (e *errand) keep(command sagas.Command, causation events.Ref) {
	if e.released {
		return
	}
	e.in.bytes -= e.size
	if e.answer = &e.first; e.first.command != nil {
		e.answer = new(instruction) // an activation that has stopped may hold the first one
	}
	*e.answer = instruction{command: command, origin: e.in.host.origin, causation: causation, done: e.decided}
	e.size, e.blob = answerSize(command), nil
	e.in.bytes += e.size
	if e.owner != nil {
		e.owner.send(own{e.answer})
		return
	}
	e.spillIfMany()
}

// decided hears what became of the answer, in the goroutine of the activation that decided it.
func (e *errand) decided(o outcome) {
	var away *UnavailableError
	switch {
	case o.err == nil:
	case errors.Is(o.err, storage.ErrInvalidAppend), errors.Is(o.err, storage.ErrDeleted):
		e.wait(o.err)
		e.standIn(o.err)
	case errors.As(o.err, &away), errors.Is(o.err, storage.ErrFull):
		e.wait(o.err)
	}
}

// wait notes why there is no answer in history yet.
func (e *errand) wait(err error) {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	if e.reason == "" && !e.released {
		e.in.host.log.Warn("a request waits for the store", "request", e.about.Request, "error", err)
	}
	e.reason = err.Error()
}

// standIn replaces an answer that the store will never take by one that says so, once.
func (e *errand) standIn(err error) {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	if e.refused || e.answer == nil {
		return
	}
	e.refused = true
	if command := unstorable(e.answer.command, err); command != nil {
		e.keep(command, e.answer.causation)
	}
}

// leave implements [underway].
func (e *errand) leave() {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	e.owner = nil
	e.spillIfMany()
}

// abandon implements [underway]: the answer is stored, or nobody waits for one any more. What still works on it is cut off.
func (e *errand) abandon() {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	if e.released {
		return
	}
	e.released = true
	for _, cancel := range []context.CancelFunc{e.cut, e.end} {
		if cancel != nil {
			cancel()
		}
	}
	e.in.bytes -= e.size
	newest := e.in.errands[e.about.Agent]
	if newest == e && e.next == nil {
		delete(e.in.errands, e.about.Agent)
		return
	}
	if newest == e {
		e.in.errands[e.about.Agent] = e.next
		return
	}
	for ; newest != nil; newest = newest.next {
		if newest.next == e {
			newest.next = e.next
			return
		}
	}
}

// spillIfMany writes the answer to the blob store when many wait for agents that are not in memory. The lock is held.
func (e *errand) spillIfMany() {
	if e.answer != nil && e.owner == nil && e.in.bytes > e.in.host.limits.Answers {
		e.in.host.run(e.spill)
	}
}

// kept is an answer in the blob store. Exactly one of the commands is set.
type kept struct {
	Reply     *sagas.RecordReply
	Failure   *sagas.ReplyFailed
	Result    *sagas.RecordResult
	Loss      *sagas.RecordLoss
	Question  *sagas.RecordQuestion `json:",omitempty"`
	Causation events.Ref
}

func (k kept) command() sagas.Command {
	switch {
	case k.Reply != nil:
		return *k.Reply
	case k.Failure != nil:
		return *k.Failure
	case k.Result != nil:
		return *k.Result
	case k.Question != nil:
		return *k.Question
	}
	return *k.Loss
}

// spill moves an answer from memory to the blob store. If that fails it stays in memory: it is kept whatever it costs.
func (e *errand) spill() {
	e.in.mu.Lock()
	answer := e.answer
	e.in.mu.Unlock()
	if answer == nil {
		return
	}
	k := kept{Causation: answer.causation}
	switch c := answer.command.(type) {
	case sagas.RecordReply:
		k.Reply = &c
	case sagas.ReplyFailed:
		k.Failure = &c
	case sagas.RecordResult:
		k.Result = &c
	case sagas.RecordLoss:
		k.Loss = &c
	case sagas.RecordQuestion:
		k.Question = &c
	}
	data, err := events.PlainJSON(k)
	var ref events.BlobRef
	if err == nil {
		ref, err = e.in.host.blobs.Put(e.life(), "application/json", bytes.NewReader(data))
	}
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	switch {
	case err != nil:
		e.in.host.log.Warn("an answer stays in memory", "request", e.about.Request, "error", err)
	case e.owner == nil && e.answer == answer && !e.released:
		e.in.bytes -= e.size
		e.answer, e.size, e.blob = nil, 0, &ref
	}
}

// fetch reads an answer back for the activation that waits for it.
func (e *errand) fetch() {
	e.in.mu.Lock()
	ref := e.blob
	e.in.mu.Unlock()
	if ref == nil {
		return
	}
	var k kept
	err := e.in.host.patiently(e.life(), e.wait, func() error {
		text, err := e.in.host.blobText(e.life(), *ref)
		if err != nil {
			return err
		}
		return json.Unmarshal([]byte(text), &k)
	})
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	if err == nil && e.blob == ref {
		e.keep(k.command(), k.Causation)
	}
}

// patiently does something again and again until it succeeds or ctx ends, and notes why it fails.
func (h *Host) patiently(ctx context.Context, note func(error), do func() error) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := do()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		note(err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}
