package sagas

import (
	"cmp"
	"fmt"
	"slices"
	"unicode/utf8"

	"example.com/life/events"
)

// A conversation that outgrows the window of its model is compacted: the oldest rounds are sent no more, and a summary stands for them where the
// configuration wants one. That is rare, and leaves out much at once: in between, what is sent begins with the same bytes, which providers' caches
// reward.
//
//	over At of the window ─┬─ drop ──────► conversation.compacted ─► the model is asked
//	                       └─ summarise ─► summary.requested ─► the reply, or a failure ─► conversation.compacted ─► the model is asked
//
// If we die after the summary was requested, it is asked for once more, as another attempt: the conversation is as it was. If we die after the
// conversation was compacted, the next request is in the same decision, or due.

// DefaultCompaction is what becomes of the conversation of an agent whose configuration says nothing.
const DefaultCompaction = events.CompactSummarise

// DefaultCompactAt is the share of the window, in percent, at which a conversation is compacted.
const DefaultCompactAt = 80

// MaxSummaryFailures is how often a summary may fail; then the messages are left out without one.
const MaxSummaryFailures = 3

// Compaction is one of the running turn that waits for its summary.
type Compaction struct {
	events.LeftOut
	Model   string `json:"model"`
	Attempt int    `json:"attempt"`
	Failed  int    `json:"failed,omitempty"` // attempts
	Again   bool   `json:"again,omitempty"`  // a request of this round failed: it is repeated when the conversation is compacted
}

// compacts reports whether an agent's conversation is compacted.
func compacts(c *events.AgentConfig) bool {
	return c.Compaction.Mode == events.CompactSummarise || c.Compaction.Mode == events.CompactDrop
}

// compact leaves out the oldest part of a conversation that has outgrown its window. It reports whether a summary of it is waited for first.
func (d *decision) compact() (waits bool) {
	t := &d.agent.Turn
	switch {
	case t.Compaction != nil:
		d.requestSummary()
		return true
	case !compacts(&t.Config):
		return false
	}
	if t.ByWindow {
		model, _ := d.agent.choose()
		d.suppose(model) // its window counts
	}
	left, due := d.agent.outgrown()
	switch {
	case !due:
		return false
	case t.Config.Compaction.Mode == events.CompactSummarise:
		d.requestSummaryOf(left, 1)
		return true
	}
	d.record(events.ConversationCompacted{Turn: t.ID, How: events.Dropped, LeftOut: left})
	return false
}

// compactNext notes that a person wants the conversation compacted.
func (d *decision) compactNext(c Compact) error {
	a := &d.agent
	switch {
	case !compacts(&a.Config):
		return refuse(RefusedState, "compaction of agent %s is off: life agents configure %s --compaction %s turns it on", a.ID, a.ID, DefaultCompaction)
	case a.Compact:
		return refuse(RefusedState, "the conversation of agent %s is about to be compacted already: before the model is asked next", a.ID)
	case len(a.Conversation.Messages) < 2:
		return refuse(RefusedState, "the conversation of agent %s has %d messages: there is nothing to compact", a.ID, len(a.Conversation.Messages))
	}
	d.record(events.CompactionRequested{By: valid(c.By)})
	return nil
}

// requestSummary asks once more for the summary that is waited for, after a failure or a restart.
func (d *decision) requestSummary() {
	waits := d.agent.Turn.Compaction
	left, due := d.agent.outgrown() // after a failure the window may be known to be smaller
	if !due {
		left = waits.LeftOut
	}
	d.requestSummaryOf(left, waits.Attempt+1)
}

// requestSummaryOf asks for a summary of what is to be left out.
func (d *decision) requestSummaryOf(left events.LeftOut, attempt int) {
	t := &d.agent.Turn
	model := t.Config.Compaction.Model
	if model == "" {
		model, _ = d.agent.choose()
	}
	whose := ""
	if t.ByWindow {
		whose = t.Asked
	}
	d.record(events.SummaryRequested{Turn: t.ID, Attempt: attempt, Model: model, For: whose, Context: d.agent.summaryContext(model, &left), LeftOut: left})
}

// recordSummary puts a summary in the place of what it is about. A reply that is none leaves it out without.
func (d *decision) recordSummary(c RecordReply) error {
	t := &d.agent.Turn
	compacted := events.ConversationCompacted{
		Turn: t.ID, Request: c.Request, How: events.Summarised, LeftOut: t.Compaction.LeftOut, Text: validText(c.Text), Model: valid(c.Model),
		Usage: plausible(c.Usage), Cost: min(max(c.Cost, 0), mostCounted), Priced: c.Priced, Duration: c.Duration,
	}
	if unfit := cmp.Or(c.Unfit, d.agent.unfit(&c)); unfit != "" {
		compacted.How, compacted.Text, compacted.Because = events.Dropped, events.Text{}, valid(unfit)
	}
	d.record(compacted)
	d.warn(c.Unwarned)
	d.goOn()
	return nil
}

// summaryFailed asks for a summary again later, or does without.
func (d *decision) summaryFailed(c ReplyFailed) error {
	t := &d.agent.Turn
	s := t.Compaction
	retryAt, room := events.Micros(0), int64(0)
	switch {
	case s.Failed+1 >= MaxSummaryFailures:
	case c.Class.Retryable():
		retryAt = d.agent.after(d.at, retryDelay(s.Failed+1, c.Request, min(c.RetryAfter, mostCounted)))
	case c.Class == events.ErrorContext && c.Room > 0 && s.Model == t.model(): // at once, about less
		if room = min(c.Room, d.agent.room()/bytesPerToken*3/4); room >= minRoom {
			retryAt = d.at
		} else {
			room = 0
		}
	}
	d.recordFailure(&c, retryAt, room, false)
	if retryAt != 0 {
		return nil
	}
	d.record(events.ConversationCompacted{
		Turn: t.ID, How: events.Dropped, LeftOut: s.LeftOut, Because: valid(fmt.Sprintf("the summary failed (%s): %s", c.Class, events.Clip(c.Detail, 500))),
	})
	d.goOn()
	return nil
}

// goOn asks the model what it was to be asked when the conversation was compacted.
func (d *decision) goOn() {
	if d.agent.Turn.RetryAt != 0 {
		d.askAgain()
		return
	}
	d.proceed()
}

// recallSummary is the command by which a conversation was compacted, where that began the decision.
func recallSummary(meta Meta, e *events.ConversationCompacted, unwarned bool) Command {
	if e.Request == "" {
		return Tick{Meta: meta} // before the model is asked again
	}
	return RecordReply{
		Meta: meta, Request: e.Request, Text: e.Text, Model: e.Model, Usage: e.Usage, Cost: e.Cost, Priced: e.Priced, Duration: e.Duration, Unfit: e.Because,
		Unwarned: unwarned,
	}
}

// outgrown is what a compaction would leave out now, and whether it is due: the conversation has outgrown its share of the window, and what can go is
// worth it.
func (a *Agent) outgrown() (left events.LeftOut, due bool) {
	t, c := &a.Turn, a.closed()
	room := a.room()
	at := room * int64(cmp.Or(t.Config.Compaction.At, DefaultCompactAt)) / 100
	keep, least := at/2, room/8
	if t.Config.Compaction.Keep > 0 {
		keep = min(t.Config.Compaction.Keep*bytesPerToken, at*3/4)
	}
	switch {
	case a.Compact:
		keep, least = 0, 1
	case c.size() <= at:
		return events.LeftOut{}, false
	}
	left, kept, bytes := a.leave(&c, c.newest(keep), at/3)
	if kept > 0 {
		left, _, bytes = a.leave(&c, c.newest(keep-kept), at/3)
	}
	return left, bytes >= least
}

// leave is what is left out where the messages from some place on are kept, but for what people said in the running turn: that stays too, as far as it
// fits. It never stands between a call and its answer, and a summary can be made of it in one request.
func (a *Agent) leave(c *Conversation, rest int, most int64) (left events.LeftOut, kept, bytes int64) {
	rest = c.round(rest)
	if a.Turn.Config.Compaction.Mode == events.CompactSummarise {
		rest = a.summarisable(c, rest)
	}
	for i := rest - 1; i >= 0; i-- {
		m := &c.Messages[i]
		size := messageSize(m)
		if m.Role == RoleUser && m.Turn == a.Turn.Number && kept+size <= most {
			left.Kept = append(left.Kept, i)
			kept += size
			continue
		}
		left.Messages++
		bytes += size
	}
	slices.Reverse(left.Kept)
	if rest > 0 {
		left.Turn, left.Round = c.Messages[rest-1].Turn, c.Messages[rest-1].Round
	}
	return left, kept, bytes
}

// summaryRequested folds that a summary is waited for.
func (a *Agent) summaryRequested(e *events.SummaryRequested, request events.RequestID) {
	t := &a.Turn
	if t.Model != "" {
		t.CutOff++
	}
	a.closeRound(false)
	waits := Compaction{LeftOut: e.LeftOut, Model: e.Model, Attempt: e.Attempt, Again: t.RetryAt != 0}
	if before := t.Compaction; before != nil {
		waits.Failed, waits.Again = before.Failed, before.Again
	}
	t.Compaction, t.Model, t.Context = &waits, request, e.Context
	if e.For != "" {
		t.asks(e.For)
	}
	t.RetryAt, t.Interrupted = 0, false
}

// compacted folds that messages are left out.
func (a *Agent) compacted(e *events.ConversationCompacted, now events.Micros) {
	t := &a.Turn
	a.closeRound(false)
	if e.Request != "" {
		t.Model = ""
		t.Usage = t.Usage.Plus(e.Usage)
		t.Cost += e.Cost
		t.LastCost = max(t.LastCost, e.Cost)
		t.Unpriced = t.Unpriced || !e.Priced
	}
	if t.Compaction != nil && t.Compaction.Again {
		t.RetryAt = now
	}
	t.Compaction, a.Compact = nil, false
	a.Conversation = a.Conversation.compact(e)
}

// attempts is how often the model was asked for what it is asked for now, and how many of them failed.
func (t *Turn) attempts() (all, failed int) {
	if t.Compaction != nil {
		return t.Compaction.Attempt, t.Compaction.Failed
	}
	return t.Attempt, t.Failed
}

// say adds a message to the conversation, and notes with which round it came in.
func (a *Agent) say(m Message) {
	m.Turn, m.Round = a.Turn.Number, a.Turn.Round
	a.Conversation = a.Conversation.add(m)
}

// validateCompaction refuses what could not be done.
func validateCompaction(c *events.Compaction) error {
	switch c.Mode {
	case "", events.CompactSummarise, events.CompactDrop, events.CompactOff:
	default:
		return refuse(RefusedInvalid, "compaction is %q, want summarise, drop or off", c.Mode)
	}
	if c.At != 0 && (c.At < 10 || c.At > 100) {
		return refuse(RefusedInvalid, "a conversation cannot be compacted at %d percent of its window: at_percent is from 10 to 100, or 0 for %d", c.At, DefaultCompactAt)
	}
	if c.Keep < 0 || c.Keep > mostCounted {
		return refuse(RefusedInvalid, "keep_tokens of compaction is %d, want a number from 0 (the default) to %d", c.Keep, int64(mostCounted))
	}
	if !utf8.ValidString(c.Model) {
		return refuse(RefusedInvalid, "the model that summarises is not valid UTF-8")
	}
	return nil
}
