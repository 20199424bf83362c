package actors

import (
	"bytes"
	"context"
	"fmt"

	"example.com/life/events"
	"example.com/life/sagas"
)

// VerifyReport says what Verify found.
type VerifyReport struct {
	Events    int64        `json:"events,string"`
	Streams   int          `json:"streams"`
	Decisions int64        `json:"decisions,string"` // decided again, with equal events
	Failures  []Divergence `json:"failures"`         // the first of each stream, at most maxDivergences
}

// Divergence is the first place where a stream is not what it should be.
type Divergence struct {
	Stream   events.Stream   `json:"stream"`
	Revision events.Revision `json:"revision,string"`
	Problem  string          `json:"problem"`
	Recorded string          `json:"recorded,omitempty"` // the event in history
	Decided  string          `json:"decided,omitempty"`  // the event that this build decides
}

const maxDivergences = 100

// Verify reads history and checks it: revisions without a gap, the digest chain, and, for every decision, that this build decides
// the same events from the command that history holds. It covers one agent, or the whole store when agent is empty. Nothing is
// asked, run or changed. progress, if given, hears how many events were checked.
func (h *Host) Verify(ctx context.Context, agent events.AgentID, progress func(checked int64)) (VerifyReport, error) {
	origin := func(first sagas.Fact) (sagas.Agent, error) { return forkOrigin(ctx, h, agentFold, first) }
	v := &verifier{report: VerifyReport{Failures: []Divergence{}}, streams: map[events.Stream]checker{}, origin: origin}
	from, position := events.Revision(0), events.Position(0)
	for {
		page, err := h.verifyPage(ctx, agent, from, position)
		if err != nil {
			return v.report, err
		}
		for i := range page.Events {
			v.check(&page.Events[i])
		}
		if progress != nil {
			progress(v.report.Events)
		}
		if page.End {
			v.finish()
			return v.report, nil
		}
		if n := len(page.Events); n > 0 {
			from = page.Events[n-1].Revision + 1
		}
		position = page.Next
	}
}

func (h *Host) verifyPage(ctx context.Context, agent events.AgentID, from events.Revision, position events.Position) (Page, error) {
	limit := Limit{Events: maxPageEvents, Bytes: 4 << 20}
	if agent == "" {
		return h.journal.ReadAll(ctx, position, Forward, Filter{}, limit)
	}
	page, err := h.journal.Read(ctx, events.AgentStream(agent), from, Forward, limit)
	if err == nil && page.Last == events.NoRevision {
		err = &sagas.Refusal{Code: sagas.RefusedMissing, Detail: "there is no agent " + string(agent)}
	}
	return page, err
}

// verifier keeps one checker for each stream, so that the whole store is verified in one pass.
type verifier struct {
	report  VerifyReport
	streams map[events.Stream]checker
	origin  func(first sagas.Fact) (sagas.Agent, error) // what an agent's first event is folded on: its parent's fold, for a fork
}

// checker verifies one stream, event by event.
type checker interface {
	check(envelope *events.Envelope) *Divergence
	finish() *Divergence // the last decision is complete
	decisions() int64
}

func (v *verifier) check(envelope *events.Envelope) {
	v.report.Events++
	c, known := v.streams[envelope.Stream]
	if !known {
		c = newChecker(envelope.Stream, v.origin)
		v.streams[envelope.Stream] = c
	}
	v.note(c.check(envelope))
}

func (v *verifier) note(d *Divergence) {
	if d != nil && len(v.report.Failures) < maxDivergences {
		v.report.Failures = append(v.report.Failures, *d)
	}
}

func (v *verifier) finish() {
	v.report.Streams = len(v.streams)
	for _, c := range v.streams {
		v.note(c.finish())
		v.report.Decisions += c.decisions()
	}
}

func newChecker(stream events.Stream, origin func(sagas.Fact) (sagas.Agent, error)) checker {
	switch category, _ := stream.Split(); category {
	case events.AgentCategory:
		return &sagaChecker[sagas.Agent]{saga: sagas.NewAgent(), origin: origin}
	case events.WalletCategory:
		return &sagaChecker[sagas.Wallet]{saga: sagas.NewWallet()}
	case events.HomeostasisCategory:
		return &sagaChecker[sagas.Homeostasis]{saga: sagas.NewHomeostasis()}
	case events.KnowledgeCategory:
		return &sagaChecker[sagas.Knowledge]{saga: sagas.NewKnowledge()}
	case events.ProjectionsCategory:
		return &sagaChecker[sagas.Catalogue]{saga: sagas.NewCatalogue()}
	case events.EffectCategory:
		return &chainChecker{}
	}
	return &chainChecker{open: true}
}

// chainChecker verifies revisions and digests.
type chainChecker struct {
	next   events.Revision
	digest events.Digest
	failed bool
	open   bool // to other programs, whose events are no part of the chain and may have been removed since
}

func (c *chainChecker) check(e *events.Envelope) *Divergence {
	if c.failed {
		return nil
	}
	if c.open && e.Foreign != nil {
		c.next = e.Revision + 1
		return nil
	}
	expected := c.digest.Next(e.Kind, e.Data)
	switch {
	case e.Revision != c.next:
		c.failed = true
		return &Divergence{Stream: e.Stream, Revision: e.Revision, Problem: fmt.Sprintf("revision %d follows %d", e.Revision, c.next-1)}
	case e.Digest != expected:
		c.failed = true
		return &Divergence{
			Stream: e.Stream, Revision: e.Revision, Problem: "the digest does not fit: this event, or one before it, was changed",
			Recorded: string(e.Data),
		}
	}
	c.next, c.digest = e.Revision+1, expected
	return nil
}

func (c *chainChecker) finish() *Divergence { return nil }
func (c *chainChecker) decisions() int64    { return 0 }

// sagaChecker verifies a saga's stream: the chain, and every decision.
type sagaChecker[S sagas.Saga[S]] struct {
	chainChecker
	saga    S
	origin  func(first sagas.Fact) (S, error) // nil: the saga as it is
	pending []events.Envelope                 // of the decision being read
	facts   []sagas.Fact
	decided int64
}

func (c *sagaChecker[S]) decisions() int64 { return c.decided }

func (c *sagaChecker[S]) check(e *events.Envelope) *Divergence {
	if c.failed {
		return nil
	}
	if len(c.pending) > 0 && c.pending[0].Command != e.Command {
		if d := c.finish(); d != nil {
			return d
		}
	}
	if d := c.chainChecker.check(e); d != nil {
		return d
	}
	fact, err := sagas.FactOf(e)
	if err != nil {
		c.failed = true
		return &Divergence{Stream: e.Stream, Revision: e.Revision, Problem: err.Error(), Recorded: string(e.Data)}
	}
	c.pending = append(c.pending, *e)
	c.facts = append(c.facts, fact)
	return nil
}

// finish decides again what the pending events record.
func (c *sagaChecker[S]) finish() *Divergence {
	if c.failed || len(c.pending) == 0 {
		return nil
	}
	d := c.begin()
	if d == nil {
		d = c.redecide()
	}
	c.failed = d != nil
	for _, fact := range c.facts {
		c.saga = c.saga.Apply(fact)
	}
	c.pending, c.facts = c.pending[:0], c.facts[:0]
	c.decided++
	return d
}

// begin has a stream's first decision decided on its origin.
func (c *sagaChecker[S]) begin() *Divergence {
	if c.origin == nil || c.facts[0].Revision != 0 {
		return nil
	}
	saga, err := c.origin(c.facts[0])
	if err != nil {
		return &Divergence{Stream: c.pending[0].Stream, Problem: err.Error(), Recorded: c.facts[0].String()}
	}
	c.saga = saga
	return nil
}

func (c *sagaChecker[S]) redecide() *Divergence {
	first := &c.pending[0]
	problem := func(format string, args ...any) *Divergence {
		return &Divergence{Stream: first.Stream, Revision: first.Revision, Problem: fmt.Sprintf(format, args...), Recorded: c.facts[0].String()}
	}
	command, err := c.saga.Recall(c.facts)
	if err != nil {
		return problem("%v", err)
	}
	decided, err := c.saga.Decide(command)
	if err != nil {
		return problem("this build refuses %T: %v", command, err)
	}
	for i := range min(len(decided), len(c.pending)) {
		data, version, err := events.Encode(decided[i])
		if err != nil {
			return problem("%v", err)
		}
		recorded := &c.pending[i]
		if decided[i].Kind() == recorded.Kind && (version != recorded.Version || bytes.Equal(data, recorded.Data)) {
			continue
		}
		return &Divergence{
			Stream: recorded.Stream, Revision: recorded.Revision, Problem: fmt.Sprintf("this build decides something else for %T", command),
			Recorded: string(recorded.Kind) + " " + string(recorded.Data), Decided: string(decided[i].Kind()) + " " + string(data),
		}
	}
	if len(decided) != len(c.pending) {
		return problem("this build decides %d events for %T, history holds %d", len(decided), command, len(c.pending))
	}
	return nil
}
