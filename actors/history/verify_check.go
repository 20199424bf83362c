package history

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// checker verifies one stream, event by event.
type checker interface {
	check(e *events.Envelope, note func(*Divergence))
	finish(note func(*Divergence)) // the last decision is complete
	rest()                         // what was read goes away: keep nothing of it
	count() counted
	size() int64 // bytes it holds, about
}

// counted is what a checker has seen.
type counted struct{ events, decisions, chained, raw, foreign int64 }

func (v *verifier) newChecker(stream events.Stream) checker {
	switch category, _ := stream.Split(); category {
	case events.AgentCategory:
		origin := func(first sagas.Fact) (sagas.Agent, error) { return forkOrigin(v.ctx, v.reader, AgentFold(), first) }
		return &sagaChecker[sagas.Agent]{v: v, saga: sagas.NewAgent(), origin: origin, weigh: weighAgent}
	case events.WalletCategory:
		return &sagaChecker[sagas.Wallet]{v: v, saga: sagas.NewWallet(), weigh: weighWallet}
	case events.HomeostasisCategory:
		return &sagaChecker[sagas.Homeostasis]{v: v, saga: sagas.NewHomeostasis(), weigh: weighHomeostasis}
	case events.KnowledgeCategory:
		return &sagaChecker[sagas.Knowledge]{v: v, saga: sagas.NewKnowledge(), weigh: weighKnowledge}
	case events.ProjectionsCategory:
		return &sagaChecker[sagas.Catalogue]{v: v, saga: sagas.NewCatalogue(), weigh: weighCatalogue}
	case events.ClusterCategory:
		_, name := stream.Split()
		return &sagaChecker[*cluster.View]{v: v, saga: cluster.NewView(name), weigh: weighCluster}
	case events.EffectCategory:
		return &chainChecker{}
	}
	return &chainChecker{open: true}
}

// What a fold takes, about: what it points at, with the overhead of pointing.
const (
	weightChecker  = 512
	weightMessage  = 160
	weightAccepted = 160
	weightAccount  = 400
)

func weighAgent(a *sagas.Agent) int64 {
	return a.Conversation.Bytes + int64(len(a.Conversation.Messages))*weightMessage + int64(len(a.Accepted))*weightAccepted + 3072
}

func weighWallet(w *sagas.Wallet) int64 {
	return int64(len(w.Accounts)+len(w.Holds))*weightAccount + int64(len(w.Accepted))*weightAccepted
}

func weighKnowledge(k *sagas.Knowledge) int64 {
	return int64(len(k.Notes)+len(k.Accepted)) * weightAccount
}

func weighCatalogue(c *sagas.Catalogue) int64 {
	return int64(len(c.Declared)+len(c.Accepted)) * weightAccount
}

func weighHomeostasis(h *sagas.Homeostasis) int64 { return int64(len(h.Rules)) * weightAccepted }

func weighCluster(v **cluster.View) int64 {
	return int64(len((*v).Members)+len((*v).Gone)+len((*v).Pins)) * weightAccount
}

// chainChecker verifies revisions and digests.
type chainChecker struct {
	next   events.Revision
	digest events.Digest
	broken bool
	open   bool // to other programs, whose events are no part of the chain and may have been removed since
	seen   counted
}

func (c *chainChecker) check(e *events.Envelope, note func(*Divergence)) {
	c.seen.events++
	if c.open && e.Foreign != nil {
		c.seen.foreign++
		c.next = e.Revision + 1
		return
	}
	c.seen.chained++
	if d := c.link(e); d != nil {
		note(d)
	}
}

// link verifies that an event goes on where the one before it ended. Behind the first break nothing can be said.
func (c *chainChecker) link(e *events.Envelope) *Divergence {
	if c.broken {
		return nil
	}
	expected := c.digest.Next(e.Kind, e.Data)
	switch {
	case e.Revision != c.next:
		c.broken = true
		return divergence(e, ProblemGap, "revision %d follows %d", e.Revision, c.next-1)
	case e.Foreign != nil:
		c.broken = true
		return divergence(e, ProblemForeign, "another program wrote into a stream of which Life is the only writer")
	case e.Digest != expected:
		c.broken = true
		return divergence(e, ProblemDigest, "the digest does not fit: this event, or one before it, was changed")
	}
	c.next, c.digest = e.Revision+1, expected
	return nil
}

func (c *chainChecker) finish(func(*Divergence)) {}
func (c *chainChecker) rest()                    {}
func (c *chainChecker) count() counted           { return c.seen }
func (c *chainChecker) size() int64              { return weightChecker }

// sagaChecker verifies a saga's stream: the chain, every decision, and the blobs that events refer to.
type sagaChecker[S sagas.Saga[S]] struct {
	chainChecker
	v       *verifier
	saga    S
	origin  func(first sagas.Fact) (S, error) // what a first event is folded on, for a fork its parent's fold; nil: the saga as it is
	weigh   func(*S) int64
	strayed bool              // this build decides otherwise, or cannot: only chain and blobs are verified from there on
	pending []events.Envelope // of the decision being read
	facts   []sagas.Fact
}

func (c *sagaChecker[S]) size() int64 {
	if c.strayed {
		return weightChecker
	}
	return weightChecker + c.weigh(&c.saga)
}

func (c *sagaChecker[S]) check(e *events.Envelope, note func(*Divergence)) {
	c.seen.events++
	if len(c.pending) > 0 && c.pending[0].Command != e.Command {
		c.finish(note)
	}
	if d := c.link(e); d != nil {
		note(d)
		c.forget() // of the decision that it is in, nothing can be said
	}
	fact, problem, err := factOf(e)
	if err != nil {
		if !c.strayed {
			note(divergence(e, problem, "%v", err))
			c.forget()
		}
		return
	}
	c.v.blobs.of(c.v.ctx, fact.Event, func(problem error) { note(divergence(e, ProblemBlob, "%v", problem)) })
	if !c.strayed {
		c.pending = append(c.pending, *e)
		c.facts = append(c.facts, fact)
	}
}

// factOf reads an event, and says what is wrong if it cannot be.
func factOf(e *events.Envelope) (sagas.Fact, Problem, error) {
	event, err := e.Event()
	if err != nil {
		return sagas.Fact{}, ProblemUnreadable, err
	}
	if _, unknown := event.(events.Unknown); unknown {
		_, err := sagas.FactOf(e)
		return sagas.Fact{}, ProblemUnknown, err
	}
	return sagas.Fact{Event: event, Revision: e.Revision, Time: e.Time, Command: e.Command}, "", nil
}

// forget ends the verification of decisions: chain and blobs are left.
func (c *sagaChecker[S]) forget() {
	var none S
	c.strayed, c.saga, c.pending, c.facts = true, none, nil, nil
}

// rest keeps no more than it needs until the stream goes on: copies of what a decision that may not be complete has, since the page
// that it came with goes.
func (c *sagaChecker[S]) rest() {
	c.pending, c.facts = slices.Clip(slices.Clone(c.pending)), slices.Clip(slices.Clone(c.facts))
	for i := range c.pending {
		e := &c.pending[i]
		e.Data = bytes.Clone(e.Data)
		e.Actor, e.Correlation, e.Causation, e.Traceparent, e.Host = "", "", "", "", ""
		e.Command = events.CommandID(strings.Clone(string(e.Command)))
	}
}

// finish decides again what the pending events record.
func (c *sagaChecker[S]) finish(note func(*Divergence)) {
	if c.strayed || len(c.pending) == 0 {
		return
	}
	d := c.begin()
	if d == nil {
		d = c.redecide()
	}
	if d != nil {
		d.First = c.pending[0].Revision
		d.State = c.v.state(c.saga)
		note(d)
		c.forget()
		return
	}
	for _, fact := range c.facts {
		c.saga = c.saga.Apply(fact)
	}
	clear(c.pending) // the bytes of their pages are not held any longer
	c.pending, c.facts = c.pending[:0], c.facts[:0]
}

// begin has a stream's first decision decided on its origin.
func (c *sagaChecker[S]) begin() *Divergence {
	if c.origin == nil || c.facts[0].Revision != 0 {
		return nil
	}
	saga, err := c.origin(c.facts[0])
	if err != nil {
		return divergence(&c.pending[0], ProblemOrigin, "%v", err)
	}
	c.saga = saga
	return nil
}

// state is a saga as JSON, for the first failures that are found.
func (v *verifier) state(saga any) json.RawMessage {
	if v.states.Add(1) > maxStates*maxStates {
		return nil
	}
	encoded, err := json.Marshal(saga)
	if err != nil {
		return nil
	}
	return encoded
}

// redecide has the saga decide the command of the pending events, and compares.
func (c *sagaChecker[S]) redecide() (d *Divergence) {
	first := &c.pending[0]
	defer func() {
		if failure := recover(); failure != nil {
			d = divergence(first, ProblemPanic, "this build fails on the command: %v", failure)
		}
	}()
	command, err := c.saga.Recall(c.facts)
	if err != nil {
		return divergence(first, ProblemRecall, "%v", err)
	}
	decided, err := c.saga.Decide(command)
	if err != nil {
		if c.raw() {
			c.seen.raw++
			return nil
		}
		return divergence(first, ProblemRefused, "this build refuses %s: %v", nameOf(command), err)
	}
	for i := range min(len(decided), len(c.pending)) {
		if d := c.compare(i, decided[i], command); d != nil {
			return d
		}
	}
	if len(decided) > len(c.pending) {
		d := divergence(first, ProblemDecision, "this build decides %d events for %s, history holds %d", len(decided), nameOf(command), len(c.pending))
		d.Decided = encoded(decided[len(c.pending)])
		return d
	}
	if len(decided) < len(c.pending) {
		return divergence(&c.pending[len(decided)], ProblemDecision, "this build decides %d events for %s, history holds %d", len(decided), nameOf(command), len(c.pending))
	}
	c.seen.decisions++
	return nil
}

// compare holds an event of the decision to the recorded one. A version that is older than this build's is compared as this build
// reads it, without what it could not hold.
func (c *sagaChecker[S]) compare(i int, decided events.Event, command sagas.Command) *Divergence {
	recorded := &c.pending[i]
	if decided.Kind() == recorded.Kind {
		decided = events.As(decided, recorded.Version)
	}
	data, version, err := events.Encode(decided)
	if err != nil {
		return divergence(recorded, ProblemPanic, "%v", err)
	}
	have := []byte(recorded.Data)
	if version != recorded.Version {
		if have, _, err = events.Encode(c.facts[i].Event); err != nil {
			return divergence(recorded, ProblemUnreadable, "%v", err)
		}
	}
	if decided.Kind() == recorded.Kind && bytes.Equal(data, have) {
		return nil
	}
	d := divergence(recorded, ProblemDecision, "this build decides something else for %s", nameOf(command))
	d.Decided = verified(decided.Kind(), version, data)
	d.Fields = differences(verified(recorded.Kind, version, have), d.Decided)
	return d
}

func encoded(event events.Event) *Verified {
	data, version, err := events.Encode(event)
	if err != nil {
		data = nil
	}
	return verified(event.Kind(), version, data)
}

// CircuitCommand is the command of a quarantine that a host stored without a decision.
const CircuitCommand = sagas.InternalPrefix + "circuit"

// raw reports whether the pending events are a quarantine that a host recorded because it could not have the agent decide it.
func (c *sagaChecker[S]) raw() bool {
	_, quarantine := c.facts[0].Event.(events.AgentQuarantined)
	return quarantine && len(c.facts) == 1 && c.pending[0].Command == CircuitCommand
}

// nameOf is the name of a command.
func nameOf(command sagas.Command) string {
	name := fmt.Sprintf("%T", command)
	return name[strings.LastIndexByte(name, '.')+1:]
}
