package sagas

import (
	"fmt"
	"slices"

	"example.com/life/events"
)

// Turn is one turn of one agent, folded from the agent's events.
//
//	started ─► advice and budget, side by side ─► model asked ─► replied ─┬─ no calls ─► ended: done
//	                                                  ▲                   └─ calls ─► [approval] ─► returned ─┐
//	                                                  └────────────────── all calls answered ────────────────┘
//
// Limits, loops, cancellation and refusals end it from anywhere, or pause it until a person answers. Every step is: record an
// answer, then proceed. proceed does nothing while anything is outstanding, so answers may come in any order.
type Turn struct {
	ID      events.TurnID      `json:"id,omitempty"` // empty: no turn runs
	Number  int                `json:"number,omitempty"`
	Config  events.AgentConfig `json:"config"` // as of the turn's start
	Limits  events.Limits      `json:"limits"` // with defaults, and with what a person granted since
	Started events.Micros      `json:"started,omitempty"`

	ByWindow bool `json:"by_window,omitempty"` // see events.TurnStarted

	Advice      events.RequestID `json:"advice,omitempty"` // outstanding requests; empty when there is none
	Budget      events.RequestID `json:"budget,omitempty"`
	Knowledge   events.RequestID `json:"knowledge,omitempty"`
	Model       events.RequestID `json:"model,omitempty"`
	RetryAt     events.Micros    `json:"retry_at,omitempty"`   // the model is asked again then
	Paused      events.Reason    `json:"paused,omitempty"`     // waits for a person
	Interrupted bool             `json:"cut,omitempty"`        // the model was under way when the parent was forked: it is asked again
	Compaction  *Compaction      `json:"compaction,omitempty"` // waits for a summary: what the model was asked for, or will be at RetryAt

	Round     int           `json:"round,omitempty"`
	Attempt   int           `json:"attempt,omitempty"`   // at this round's reply; a restart of the host makes one too
	Failed    int           `json:"failed,omitempty"`    // attempts of this round that failed
	Faults    int           `json:"faults,omitempty"`    // replies in a row that were no answer
	Asked     string        `json:"asked,omitempty"`     // the candidate of a route that was asked last, or for whose window the conversation is compacted
	Left      []string      `json:"left,omitempty"`      // candidates of a route that failed
	Troubles  int           `json:"troubles,omitempty"`  // failures in a row of the candidate asked last
	Calls     []Call        `json:"calls,omitempty"`     // of this round
	Answer    events.Text   `json:"answer"`              // of the latest reply
	Context   events.Digest `json:"context"`             // of the latest request
	Requested events.Money  `json:"requested,omitempty"` // asked of the wallet and not yet answered
	Held      events.Money  `json:"held,omitempty"`      // reserved for this turn
	Waited    events.Micros `json:"waited,omitempty"`    // time spent waiting for a person
	WaitingAt events.Micros `json:"waiting_at,omitempty"`

	Tally
}

// Tally counts what a turn did; limits and the state vector come from it.
type Tally struct {
	Usage       events.Usage     `json:"usage"`
	Cost        events.Money     `json:"cost,omitempty"`
	Uncharged   events.Money     `json:"free,omitempty"` // of Cost, what a fork's wallet is not charged: its parent's part and the tape's
	LastCost    events.Money     `json:"last_cost,omitempty"`
	Unpriced    bool             `json:"unpriced,omitempty"`
	ToolCalls   int              `json:"tool_calls,omitempty"`
	Failures    int              `json:"failures,omitempty"` // calls that failed or were refused
	Effects     int              `json:"effects,omitempty"`  // calls that change something
	Approvals   int              `json:"approvals,omitempty"`
	Risk        events.RiskLevel `json:"risk,omitempty"`
	ErrorStreak int              `json:"error_streak,omitempty"`
	Progress    float64          `json:"progress,omitempty"`
	LastCall    string           `json:"last_call,omitempty"` // digest of the latest call, and how often it came in a row
	Repeats     int              `json:"repeats,omitempty"`
	CutOff      int              `json:"cut_off,omitempty"`     // attempts at the model that a restart cut off
	LastResult  string           `json:"last_result,omitempty"` // digest of the latest call's result, and whether the result before it differed
	Varied      bool             `json:"varied,omitempty"`
	AdvisedAt   int              `json:"advised_at,omitempty"` // error streak when advice was last asked for
	Awake       bool             `json:"awake,omitempty"`      // a person overruled the advice to sleep

	Warned map[events.Reason]int `json:"warned,omitempty"` // the highest warning of each limit, in percent
}

// begin starts a turn with the messages that waited for it. Advice, budget and what is known are asked for side by side.
func (d *decision) begin(messages []events.MessageID) {
	turn := events.NewTurnID(d.agent.ID, d.agent.Turns+1)
	d.record(events.TurnStarted{Turn: turn, Messages: messages, ByWindow: len(d.agent.Config.Route) > 0})
	d.record(events.AdviceRequested{Turn: turn})
	d.requestBudget(min(d.agent.Turn.Limits.Reserve, d.agent.Turn.Limits.Money))
	d.requestKnowledge()
}

// proceed takes the next step, once nothing is outstanding.
func (d *decision) proceed() {
	t := &d.agent.Turn
	if t.ID == "" || t.Paused != "" || t.Advice != "" || t.Budget != "" || t.Knowledge != "" || t.Model != "" || t.RetryAt != 0 || t.open() {
		return
	}
	switch {
	case t.Interrupted:
		d.askAgain()
	case t.Round >= t.Limits.Rounds:
		d.end(events.Stopped, events.ReasonRounds, "")
	case t.ErrorStreak >= t.Limits.Errors:
		d.end(events.Stopped, events.ReasonErrors, "")
	case t.Usage.Total() >= t.Limits.Tokens:
		d.spent(events.ReasonTokens)
	case t.Cost >= t.Limits.Money:
		d.spent(events.ReasonMoney)
	case d.agent.Mode == events.ModeSleep && !t.Awake:
		d.pause(events.ReasonSleep, "homeostasis advised sleep")
	case t.ErrorStreak >= 2 && t.ErrorStreak != t.AdvisedAt, t.ErrorStreak == 0 && t.AdvisedAt != 0: // in trouble, or out of it
		d.record(events.AdviceRequested{Turn: t.ID})
	case t.short():
		d.reserveMore()
	default:
		d.ask(t.Round+1, 1)
	}
}

// ask records the next request to the model; before it, where the conversation has outgrown its window, the one for a summary. Messages that were to
// steer the turn join it here.
func (d *decision) ask(round, attempt int) {
	d.steer()
	if d.compact() {
		return
	}
	d.request(round, attempt)
}

func (d *decision) steer() {
	if steering := d.agent.waiting(events.Steer); len(steering) > 0 {
		d.record(events.MessageDelivered{Turn: d.agent.Turn.ID, Messages: steering})
	}
}

// repeat asks once more for what the model was asked for when it was cut off.
func (d *decision) repeat() {
	d.steer()
	if d.agent.Turn.Compaction != nil {
		d.requestSummary()
		return
	}
	d.request(d.agent.Turn.Round, d.agent.Turn.Attempt+1)
}

func (d *decision) request(round, attempt int) {
	model, because := d.agent.choose()
	route := ""
	if because != "" {
		route = d.agent.Turn.Config.Model
		d.suppose(model) // its window counts
	}
	context, dropped, shortened := d.agent.context()
	room := int64(0)
	if d.agent.narrow() {
		room = d.agent.room() / bytesPerToken
	}
	d.record(events.ModelRequested{
		Turn: d.agent.Turn.ID, Round: round, Attempt: attempt,
		Model: model, Context: context, Dropped: dropped, Shortened: shortened, Room: room, Route: route, Because: because,
	})
}

// short reports whether the reservation would not cover another call like the last one, and may grow.
func (t *Turn) short() bool {
	return t.Held < t.Limits.Money && (t.Held == 0 || t.Held-t.Cost < t.LastCost)
}

func (d *decision) reserveMore() {
	t := &d.agent.Turn
	d.requestBudget(min(max(t.Limits.Reserve, t.LastCost), t.Limits.Money-t.Held))
}

func (d *decision) requestBudget(amount events.Money) {
	t := &d.agent.Turn
	d.record(events.BudgetRequested{Turn: t.ID, Wallet: t.Config.Wallet, Amount: amount})
}

// spent pauses or ends a turn that has used its tokens or its money. The call that crossed the limit has finished.
func (d *decision) spent(reason events.Reason) {
	if d.agent.Turn.Config.Policy.OnLimit == events.LimitEnd {
		d.end(events.Stopped, reason, "")
		return
	}
	d.pause(reason, "approve grants the same amount again, deny ends the turn")
}

func (d *decision) pause(reason events.Reason, detail string) {
	d.record(events.TurnPaused{Turn: d.agent.Turn.ID, Reason: reason, Detail: valid(detail)})
}

// end closes the turn, has its cost settled, and starts the next one if messages wait.
func (d *decision) end(outcome events.Outcome, reason events.Reason, detail string) {
	d.close(outcome, reason, detail)
	d.next()
	if a := &d.agent; a.Config.Once && a.Parent == "" && a.Turn.ID == "" && a.awake() { // a fork follows its parent further
		d.record(events.AgentRetired{Reason: "it had nothing left to do"})
	}
}

func (d *decision) close(outcome events.Outcome, reason events.Reason, detail string) {
	t := d.agent.Turn
	d.record(events.TurnEnded{
		Turn: t.ID, Outcome: outcome, Reason: reason, Detail: valid(detail),
		Rounds: t.Round, ToolCalls: t.ToolCalls, Usage: t.Usage, Cost: t.Cost, Unpriced: t.Unpriced,
	})
	if t.Held > 0 || t.Budget != "" {
		d.record(events.SettlementRequested{Turn: t.ID, Wallet: t.Config.Wallet, Spent: t.Cost - t.Uncharged})
	}
}

// next starts a turn with messages that wait, if none runs.
func (d *decision) next() {
	if d.agent.Turn.ID != "" || !d.agent.awake() {
		return
	}
	if messages := d.agent.nextMessages(); len(messages) > 0 {
		d.begin(messages)
	}
}

// recordAdvice records the mode to work in.
func (d *decision) recordAdvice(c RecordAdvice) error {
	if d.agent.Turn.Advice != c.Request || c.Request == "" {
		return ErrStale
	}
	d.record(events.AdviceGiven{Request: c.Request, Mode: c.Mode, Because: c.Because})
	d.proceed()
	return nil
}

// adviceTimeout goes on in the last mode: advice is advisory.
func (d *decision) adviceTimeout(c AdviceTimeout) error {
	if d.agent.Turn.Advice != c.Request || c.Request == "" {
		return ErrStale
	}
	d.record(events.AdviceMissed{Request: c.Request, Mode: d.agent.mode(), Detail: valid(c.Detail)})
	d.proceed()
	return nil
}

// recordReservation goes on: there is money for the next call.
func (d *decision) recordReservation(c RecordReservation) error {
	if d.agent.Turn.Budget != c.Request || c.Request == "" {
		return ErrStale
	}
	d.record(events.BudgetGranted{Request: c.Request, Amount: c.Amount})
	d.proceed()
	return nil
}

// reservationRefused fails closed: without a reservation no model is called.
func (d *decision) reservationRefused(c ReservationRefused) error {
	if d.agent.Turn.Budget != c.Request || c.Request == "" {
		return ErrStale
	}
	d.record(events.BudgetRefused{Request: c.Request, Available: c.Available, Reason: valid(c.Reason)})
	if d.agent.Turn.Paused != "" {
		return nil
	}
	if d.agent.Turn.Config.Policy.OnLimit == events.LimitEnd {
		d.end(events.Stopped, events.ReasonReservation, c.Reason)
	} else {
		d.pause(events.ReasonReservation, c.Reason)
	}
	return nil
}

// recordReply records the model's answer and sends its calls, or ends the turn.
func (d *decision) recordReply(c RecordReply) error {
	t := &d.agent.Turn
	if t.Model != c.Request || c.Request == "" {
		return ErrStale
	}
	if t.Compaction != nil {
		return d.recordSummary(c)
	}
	calls := canonicalCalls(t.Round, c.Calls)
	d.record(events.ModelReplied{
		Request: c.Request, Text: validText(c.Text), Calls: calls, Withheld: valid(c.Withheld), Stop: c.Stop, Met: c.Met, Model: valid(c.Model),
		Usage: plausible(c.Usage), Cost: min(max(c.Cost, 0), mostCounted), Priced: c.Priced, Duration: c.Duration,
		Polling: !c.Former && t.polls(calls),
		Fault:   c.Fault, Blocks: validBlocks(&c, len(calls)),
	})
	d.warn(c.Unwarned)
	if len(c.Calls) > 0 {
		d.judgeCalls(c.Findings, c.Met)
		d.proceed()
		return nil
	}
	switch {
	case c.Withheld != "":
		d.end(events.Failed, events.ReasonUnstored, c.Withheld)
	case c.Fault != "" && t.Faults >= maxFaults:
		d.end(events.Failed, events.ReasonModel, fmt.Sprintf("the model gave no answer %d times in a row: %s", t.Faults, faultDetail(c.Fault)))
	case c.Fault != "":
		d.proceed() // the model is told
	case c.Stop == events.StopLength:
		d.end(events.Stopped, events.ReasonTruncated, truncated(c.Met))
	case c.Stop == events.StopPaused:
		d.proceed() // the reply so far goes back, and the next round continues it
	case c.Stop == events.StopFiltered:
		d.end(events.Stopped, events.ReasonFiltered, declined(c.Blocks))
	case len(d.agent.waiting(events.Steer)) > 0:
		d.proceed() // a message came in while the model spoke: it is part of this turn
	default:
		d.end(events.Done, events.ReasonNone, "")
	}
	return nil
}

// truncated says why a reply stopped for its length, and what helps.
func truncated(met events.Bound) string {
	switch met {
	case events.BoundWindow:
		return "the conversation and the reply fill the model's window; compact the conversation (life compact), have less of it sent (--limit-context-tokens), or enlarge the window where the model is served"
	case events.BoundEndpoint:
		return "the model or its endpoint gives fewer tokens in one reply than reply_tokens allows; ask for less at once, raise the limit at the endpoint, or choose another model"
	}
	return "the reply met its token limit; raise reply_tokens to allow longer ones"
}

// declined says that the model did not answer, and why if its provider says so in an item.
func declined(blocks []events.Block) string {
	const declined = "the model declined to answer"
	for _, b := range blocks {
		if b.Kind == events.BlockItem && b.Text != nil && b.Text.Inline != "" {
			return declined + ": " + events.Clip(valid(b.Text.Inline), 300)
		}
	}
	return declined
}

// replyFailed asks the model again later, if that can help.
func (d *decision) replyFailed(c ReplyFailed) error {
	t := &d.agent.Turn
	if t.Model != c.Request || c.Request == "" {
		return ErrStale
	}
	if t.Compaction != nil {
		return d.summaryFailed(c)
	}
	retryAt, room := events.Micros(0), int64(0)
	if c.Class == events.ErrorContext && c.Room > 0 {
		room = d.agent.roomAfter(c.Room)
	}
	left := d.agent.leaves(&c)
	switch {
	case t.Failed+1 >= MaxFailures+len(t.Left):
		left = false
	case left:
		if retryAt = d.at; !t.ByWindow {
			room = 0
		}
	case c.Class.Retryable():
		retryAt = d.agent.after(d.at, retryDelay(t.Failed+1, c.Request, min(c.RetryAfter, mostCounted)))
	case room > 0: // at once: it is another question
		retryAt = d.at
	}
	d.recordFailure(&c, retryAt, room, left)
	if retryAt == 0 {
		d.end(events.Failed, events.ReasonModel, string(c.Class)+": "+c.Detail)
	}
	return nil
}

func (d *decision) recordFailure(c *ReplyFailed, retryAt events.Micros, room int64, left bool) {
	d.record(events.ModelFailed{
		Request: c.Request, Class: c.Class, Detail: valid(c.Detail), RetryAt: retryAt,
		Usage: plausible(c.Usage), Cost: min(max(c.Cost, 0), mostCounted), Priced: c.Priced, Room: room, Left: left,
	})
	d.warn(c.Unwarned)
}

// recovered asks the model again for a reply that was under way when the host stopped: the attempt is an event, so that
// history says what it cost. Everything else that was outstanding is sent again as it was.
func (d *decision) recovered() error {
	if d.agent.Turn.Model == "" {
		return ErrStale
	}
	d.repeat()
	return nil
}

// Recovery is the command for an agent that was loaded while a model was asked, and whose attempt was cut off. It is asked again, unless what was
// cut off may have cost too much: an attempt that nobody heard the end of counts as the costliest reply of the turn.
func (a *Agent) Recovery(meta Meta) Command {
	t := &a.Turn
	cutOff := t.CutOff + 1
	attempts, failed := t.attempts()
	switch spent := t.Cost + events.Money(cutOff)*t.LastCost; {
	case attempts-failed >= maxCutOff:
		return Abandon{Meta: meta, Reason: events.ReasonModel, Detail: fmt.Sprintf("the host stopped during %d attempts in a row to ask the model", attempts-failed)}
	case t.LastCost > 0 && spent >= t.Limits.Money:
		return Abandon{Meta: meta, Reason: events.ReasonMoney, Detail: fmt.Sprintf(
			"the host stopped during %d attempts to ask the model, and with them the turn may have cost %s of %s", cutOff, spent, t.Limits.Money)}
	}
	return Recover{Meta: meta}
}

func (d *decision) abandon(c Abandon) error {
	if d.agent.Turn.Model == "" {
		return ErrStale
	}
	d.end(events.Failed, c.Reason, c.Detail)
	return nil
}

// tick does the first thing that is due: an expired approval, the turn's time limit, another attempt at the model.
func (d *decision) tick() error {
	for due := range d.agent.due {
		switch {
		case due.at > d.at:
			continue
		case due.call != nil:
			d.expire(due.call)
		case due.retry:
			d.askAgain()
		default:
			d.end(events.Stopped, events.ReasonTime, "")
		}
		return nil
	}
	return ErrStale
}

// askAgain asks the model once more in the same round. A fork needs a reservation of its own first.
func (d *decision) askAgain() {
	t := &d.agent.Turn
	switch {
	case t.Held == 0:
		d.requestBudget(min(t.Limits.Reserve, t.Limits.Money))
	case t.Interrupted && t.Compaction != nil:
		d.requestSummary()
	case t.Interrupted:
		d.request(t.Round, t.Attempt+1) // the parent's question as it was: what is to steer the turn has not joined it
	case t.Usage.Total() >= t.Limits.Tokens: // failed attempts cost too
		d.spent(events.ReasonTokens)
	case t.Cost >= t.Limits.Money:
		d.spent(events.ReasonMoney)
	case t.short():
		d.reserveMore()
	default:
		d.ask(t.Round, t.Attempt+1)
	}
}

// expire refuses a call that nobody answered.
func (d *decision) expire(call *Call) {
	id, tool, why := call.ID, call.Tool, "nobody approved it in time"
	if call.Asked != nil {
		why = "nobody answered in time"
	}
	d.record(events.ApprovalExpired{Call: id})
	d.refuseCall(id, tool, why)
	d.proceed()
}

// resume lets a paused turn go on: the limit that it met is granted once more.
func (d *decision) resume(c Approve) error {
	if d.agent.Turn.Paused == "" {
		return refuse(RefusedState, "no turn of %s is paused", d.agent.ID)
	}
	d.record(events.TurnResumed{Turn: d.agent.Turn.ID, By: valid(c.By)})
	d.proceed()
	return nil
}

// cancel stops the running turn.
func (d *decision) cancel(c Cancel) error {
	t := &d.agent.Turn
	if t.ID == "" {
		return refuse(RefusedState, "no turn of %s runs: nothing to cancel", d.agent.ID)
	}
	if c.Turn != "" && c.Turn != t.ID {
		return refuse(RefusedState, "turn %s does not run, %s does: nothing to cancel", c.Turn, t.ID)
	}
	d.end(events.Cancelled, events.ReasonUser, c.By)
	return nil
}

// open reports whether a call of this round has no answer yet.
func (t *Turn) open() bool {
	return slices.ContainsFunc(t.Calls, func(c Call) bool { return c.Stage != CallAnswered })
}

// blocked reports whether only a person can move the turn.
func (t *Turn) blocked() bool {
	return t.Paused != "" ||
		slices.ContainsFunc(t.Calls, func(c Call) bool { return c.Stage == CallWaiting }) &&
			!slices.ContainsFunc(t.Calls, func(c Call) bool { return c.Stage == CallSent })
}

// Working reports whether a turn runs whose time is counted: it does not wait for a person.
func (a *Agent) Working() bool { return a.Turn.ID != "" && a.Turn.WaitingAt == 0 }

// deadline is when the turn's time is up; 0 while it waits for a person, whose time is not counted.
func (t *Turn) deadline() events.Micros {
	if t.ID == "" || t.WaitingAt != 0 {
		return 0
	}
	return t.Started + t.Waited + t.Limits.Time
}
