package sagas

import (
	"slices"

	"example.com/life/events"
)

// Agent is the fold of one agent's stream: its configuration, its conversation, the messages that wait and the turn that runs.
type Agent struct {
	ID           events.AgentID       `json:"id,omitempty"` // empty: not created
	Config       events.AgentConfig   `json:"config"`
	Parent       events.AgentID       `json:"parent,omitempty"` // forked from
	Fork         Lineage              `json:"fork,omitzero"`
	Retired      bool                 `json:"retired,omitempty"`
	Quarantined  string               `json:"quarantined,omitempty"` // the reason; empty when it is not
	Revision     events.Revision      `json:"revision"`              // of the latest fact
	Turns        int                  `json:"turns,omitempty"`       // started
	Received     int                  `json:"received,omitempty"`    // messages
	Mode         events.OperatingMode `json:"mode,omitempty"`
	Waiting      []Waiting            `json:"waiting,omitempty"` // messages in no turn yet, oldest first
	Conversation Conversation         `json:"conversation"`
	Turn         Turn                 `json:"turn"`
	Settling     []AskSettle          `json:"settling,omitempty"` // of turns that have ended
	Last         *events.TurnEnded    `json:"last,omitempty"`     // the latest turn that ended
	Accepted     []Accepted           `json:"accepted,omitempty"` // the latest commands, for recognising their retries
	Files        *Files               `json:"files,omitempty"`    // of its workspace, as last recorded
	Undo         *AskUndo             `json:"undo,omitempty"`     // of its files, which is asked for: no turn begins meanwhile
	Undone       string               `json:"undone,omitempty"`   // what the next turn is told of files that were restored
	Window       Window               `json:"window,omitzero"`    // of its model, where a failure told
	Windows      []Window             `json:"windows,omitempty"`  // of other candidates of its route, learnt before; the latest first
	Compact      bool                 `json:"compact,omitempty"`  // a person wants the conversation compacted
	Remembered   []Remembered         `json:"remembered,omitempty"`
	Todos        []Todo               `json:"todos,omitempty"` // what its model means to do
}

// Window is what the window of a model is known to hold.
type Window struct {
	Model string `json:"model"`
	Room  int64  `json:"room,string"` // tokens of conversation
}

// Files is what was last recorded of an agent's workspace. A fork begins with its parent's.
type Files struct {
	Workspace string        `json:"workspace"`
	Tree      events.Tree   `json:"tree"`
	Event     events.Ref    `json:"event"` // that recorded it
	Turn      events.TurnID `json:"turn"`
	Since     int           `json:"since,omitempty"` // calls after it that may have changed files and recorded nothing
}

// recorded is what was last recorded of a workspace, if it is the one of which anything was.
func (a *Agent) recorded(workspace string) *events.Tree {
	if a.Files == nil || a.Files.Workspace != workspace {
		return nil
	}
	return &a.Files.Tree
}

// Waiting is a message that no turn has taken in yet.
type Waiting struct {
	ID   events.MessageID `json:"id"`
	Verb events.Verb      `json:"verb"`
	Text events.Text      `json:"message"`
}

// NewAgent returns an agent to which nothing has happened.
func NewAgent() Agent { return Agent{Revision: events.NoRevision} }

// decision is one decision under way: the events so far, and the agent as they leave it.
type decision struct {
	agent   Agent
	command events.CommandID
	at      events.Micros
	events  []events.Event

	supposed bool   // that the turn asks another model than
	asked    string // this one
}

// suppose decides what is recorded next as if the turn asked a model already. The event itself says whom the turn asks.
func (d *decision) suppose(model string) {
	if !d.supposed {
		d.supposed, d.asked = true, d.agent.Turn.Asked
	}
	d.agent.Turn.Asked = model
}

// supposeNothing ends what was supposed: only events change the agent.
func (d *decision) supposeNothing() {
	if d.supposed {
		d.supposed, d.agent.Turn.Asked = false, d.asked
	}
}

// record adds an event to the decision.
func (d *decision) record(event events.Event) {
	d.supposeNothing()
	d.events = append(d.events, event)
	d.agent.apply(Fact{Event: event, Revision: d.agent.Revision + 1, Time: d.at, Command: d.command})
}

// Decide implements [Saga].
func (a Agent) Decide(command Command) ([]events.Event, error) {
	return a.Advance(command, command.Metadata().At)
}

// Advance implements [Advancer].
func (a *Agent) Advance(command Command, at events.Micros) ([]events.Event, error) {
	if err := a.admit(command); err != nil {
		return nil, err
	}
	d := &decision{agent: *a, command: command.Metadata().ID, at: at, events: make([]events.Event, 0, 4)}
	d.agent.Turn.Calls = slices.Clone(a.Turn.Calls) // the only memory that Apply changes in place
	if err := d.decide(command); err != nil {
		return nil, err
	}
	d.supposeNothing()
	*a = d.agent
	return d.events, nil
}

// decide is the table of contents: lives, messages, and then the turn in its order.
func (d *decision) decide(command Command) error {
	switch c := command.(type) {
	case Create, Configure, Retire, Quarantine, Release:
		return d.life(c)
	case Compact:
		return d.compactNext(c)
	case Revoke:
		return d.revoke(c)
	case Send:
		return d.send(c)
	case Undo:
		return d.undo(c)
	case RecordUndo:
		return d.recordUndo(c)
	case RecordAdvice:
		return d.recordAdvice(c)
	case AdviceTimeout:
		return d.adviceTimeout(c)
	case RecordRecall:
		return d.recordRecall(c)
	case RecallTimeout:
		return d.recallTimeout(c)
	case RecordReservation:
		return d.recordReservation(c)
	case ReservationRefused:
		return d.reservationRefused(c)
	case RecordReply:
		return d.recordReply(c)
	case ReplyFailed:
		return d.replyFailed(c)
	case Approve, Deny, RecordQuestion, Answer:
		return d.person(c)
	case RecordResult:
		return d.recordResult(c)
	case RecordLoss:
		return d.recordLoss(c)
	case Cancel:
		return d.cancel(c)
	case RecordSettlement:
		return d.recordSettlement(c)
	case Tick:
		return d.tick()
	case Recover:
		return d.recovered()
	case Abandon:
		return d.abandon(c)
	case Fork, Diverge, Skip, Elapse, Finish:
		return d.lineage(c)
	}
	return refuse(RefusedInvalid, "an agent cannot decide %T", command)
}

// person decides what people are asked, and what they say.
func (d *decision) person(command Command) error {
	switch c := command.(type) {
	case Approve:
		return d.approve(c)
	case Deny:
		return d.deny(c)
	case RecordQuestion:
		return d.recordQuestion(c)
	case Answer:
		return d.recordAnswer(c)
	}
	return refuse(RefusedInvalid, "an agent cannot decide %T", command)
}

// life decides what makes an agent, and what becomes of it.
func (d *decision) life(command Command) error {
	switch c := command.(type) {
	case Create:
		return d.create(c)
	case Configure:
		return d.configure(c)
	case Retire:
		return d.retire(c)
	case Quarantine:
		return d.quarantine(c)
	case Release:
		return d.release(c)
	}
	return refuse(RefusedInvalid, "an agent cannot decide %T", command)
}

// admit checks what holds for every command: the agent exists, is not retired, and has not accepted the command before.
func (a *Agent) admit(command Command) error {
	id := command.Metadata().ID
	if fork, forking := command.(Fork); forking && fork.Agent != a.ID {
		return nil // decided on the parent's fold: what it accepted or became is not the fork's
	}
	if err := known(a.Accepted, command); err != nil {
		return err
	}
	switch command.(type) {
	case Create, Fork:
		return nil
	}
	if a.ID == "" {
		return refuse(RefusedMissing, "the agent does not exist: create it first")
	}
	if a.Retired && !late(command) {
		if !external(id) {
			return ErrStale // an answer that comes too late
		}
		return refuse(RefusedState, "agent %s is retired", a.ID)
	}
	if a.Quarantined != "" && external(id) && !calms(command) {
		return refuse(RefusedState, "agent %s is quarantined (%s): release it first", a.ID, a.Quarantined)
	}
	return nil
}

// late reports whether a retired agent accepts a command: it ends what the agent left behind.
func late(command Command) bool {
	switch command.(type) {
	case RecordSettlement, Revoke:
		return true
	}
	return false
}

// calms reports whether a quarantined agent accepts a command: what lets it go on, or has it do less.
func calms(command Command) bool {
	switch command.(type) {
	case Release, Cancel, Retire, Revoke:
		return true
	}
	return false
}

// awake reports whether the agent may start a turn.
func (a *Agent) awake() bool { return !a.Retired && a.Quarantined == "" && a.Undo == nil }

// mode is the operating mode; before any advice an agent explores.
func (a *Agent) mode() events.OperatingMode {
	if a.Mode == "" {
		return events.ModeExplore
	}
	return a.Mode
}

func (d *decision) create(c Create) error {
	if d.agent.ID != "" {
		return refuse(RefusedExists, "agent %s exists already", d.agent.ID)
	}
	if err := c.Agent.Validate(); err != nil {
		return refuse(RefusedInvalid, "%v", err)
	}
	if err := ValidateConfig(c.Config); err != nil {
		return err
	}
	d.record(events.AgentCreated{Agent: c.Agent, Config: c.Config, Masked: c.Masked})
	return nil
}

func (d *decision) configure(c Configure) error {
	if err := ValidateConfig(c.Config); err != nil {
		return err
	}
	d.record(events.AgentConfigured{Config: c.Config, Masked: c.Masked})
	return nil
}

// retire ends the running turn, and the agent accepts nothing more.
func (d *decision) retire(c Retire) error {
	d.record(events.AgentRetired{Reason: valid(c.Reason)})
	if d.agent.Turn.ID != "" {
		d.end(events.Cancelled, events.ReasonRetired, "")
	}
	return nil
}

// quarantine keeps everything as it is, and nothing is sent until the agent is released.
func (d *decision) quarantine(c Quarantine) error {
	if d.agent.Quarantined != "" {
		return ErrStale
	}
	d.record(events.AgentQuarantined{Reason: valid(c.Reason), Failures: c.Failures})
	return nil
}

func (d *decision) release(c Release) error {
	if d.agent.Quarantined == "" {
		return refuse(RefusedState, "agent %s is not quarantined", d.agent.ID)
	}
	d.record(events.AgentReleased{By: valid(c.By)})
	if d.agent.Turn.Model != "" { // cut off by the quarantine: another attempt, as after a restart
		d.repeat()
		return nil
	}
	d.next() // its turn may have ended meanwhile, with messages waiting
	d.proceed()
	return nil
}

// send accepts a message. What it does to a running turn is its verb's business; without one it starts a turn.
func (d *decision) send(c Send) error {
	switch c.Verb {
	case events.Collect, events.Followup, events.Steer, events.Interrupt:
	default:
		return refuse(RefusedInvalid, "verb %q is not collect, followup, steer or interrupt", c.Verb)
	}
	if c.Inline == "" && c.Blob == nil {
		return refuse(RefusedInvalid, "the message is empty")
	}
	if limit := withDefaults(d.agent.Config.Limits).Queue; len(d.agent.Waiting) >= limit {
		return refuse(RefusedQueue, "%d messages wait for agent %s, and no more than that may: try again later", limit, d.agent.ID)
	}
	d.record(events.MessageReceived{
		Message: messageID(d.agent.Received + 1), Verb: c.Verb, From: valid(c.From), Text: validText(c.Text),
	})
	switch {
	case d.agent.Turn.ID == "":
		d.next()
	case c.Verb == events.Interrupt:
		d.end(events.Cancelled, events.ReasonInterrupt, "")
	}
	return nil
}

// nextMessages chooses what the next turn begins with: an interrupt alone, else the oldest; a message to collect, or to steer a
// turn that is over, brings all others of its kind along.
func (a *Agent) nextMessages() []events.MessageID {
	if len(a.Waiting) == 0 {
		return nil
	}
	if interrupts := a.waiting(events.Interrupt); len(interrupts) > 0 {
		return interrupts[:1]
	}
	if a.Waiting[0].Verb == events.Followup {
		return []events.MessageID{a.Waiting[0].ID}
	}
	return a.waiting(events.Collect, events.Steer)
}

// waiting returns the waiting messages with one of the verbs, oldest first.
func (a *Agent) waiting(verbs ...events.Verb) []events.MessageID {
	var ids []events.MessageID
	for i := range a.Waiting {
		if slices.Contains(verbs, a.Waiting[i].Verb) {
			ids = append(ids, a.Waiting[i].ID)
		}
	}
	return ids
}

// recordSettlement notes that the wallet has what it needs from a turn that ended.
func (d *decision) recordSettlement(c RecordSettlement) error {
	if !slices.ContainsFunc(d.agent.Settling, func(s AskSettle) bool { return s.ID == c.Request }) {
		return ErrStale
	}
	d.record(events.SettlementRecorded{Request: c.Request, Released: c.Released})
	return nil
}
