package sagas

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"example.com/life/events"
)

// Lineage is where a forked agent comes from, and how far it has followed its parent.
type Lineage struct {
	Parent   events.AgentID       `json:"parent"`
	At       events.Revision      `json:"at"`     // of the parent
	Until    events.Revision      `json:"until"`  // where the parent's recording ends
	Inputs   events.Revision      `json:"inputs"` // up to where the fork is given what the parent was sent
	Done     events.Revision      `json:"done"`   // up to where the fork has followed
	Tape     events.TapeMode      `json:"tape"`
	Edit     *events.MessageEdit  `json:"edit,omitempty"`
	Paper    bool                 `json:"paper,omitempty"`
	Changed  []string             `json:"changed,omitempty"`
	Taped    int                  `json:"taped,omitempty"` // calls of models and tools that the recording answered
	Live     int                  `json:"live,omitempty"`  // that were made, until it finished
	Skipped  int                  `json:"skipped,omitempty"`
	Diverged *events.ForkDiverged `json:"diverged,omitempty"`
	Finished bool                 `json:"finished,omitempty"`
}

// Following reports whether the fork still follows its parent's history.
func (l *Lineage) Following() bool { return l.Parent != "" && !l.Finished }

// OnTape reports whether the parent's recording answers the fork's requests.
func (l *Lineage) OnTape() bool {
	return l.Following() && l.Diverged == nil && (l.Tape == events.TapeFirst || l.Tape == events.TapeOffline)
}

// stepPrefix begins the ids of the commands with which a fork follows its parent; the parent's revision ends them. So a fork's
// own history says how far it has come.
const stepPrefix = InternalPrefix + "step@"

// changed reports whether the fork's configuration has one of these otherwise than its parent's.
func (l *Lineage) changed(names ...string) bool {
	return slices.ContainsFunc(l.Changed, func(name string) bool { return slices.Contains(names, name) })
}

// OwnTenant is the tenant of a fork that has rules of its own, and OwnWallet the wallet that holds nothing real.
func OwnTenant(fork events.AgentID) events.TenantID { return events.TenantID("fork-" + fork) }

// OwnWallet is a fork's own wallet.
func OwnWallet(fork events.AgentID) events.WalletID { return events.WalletID("fork-" + fork) }

// StepCommand is the id of the command with which a fork follows the decision of its parent that begins at a revision.
func StepCommand(revision events.Revision) events.CommandID {
	return events.CommandID(stepPrefix + strconv.FormatInt(int64(revision), 10))
}

// beside is the id of a command that comes after the step of a revision, and is none of the parent's.
func beside(revision events.Revision, what string) events.CommandID {
	return StepCommand(revision) + events.CommandID("/"+what)
}

// IsStep reports whether a command is one with which a fork follows its parent.
func IsStep(id events.CommandID) bool { return strings.HasPrefix(string(id), stepPrefix) }

// follow notes how far the fork has come.
func (l *Lineage) follow(id events.CommandID) {
	digits, found := strings.CutPrefix(string(id), stepPrefix)
	if !found {
		return
	}
	digits, _, _ = strings.Cut(digits, "/")
	if revision, err := strconv.ParseInt(digits, 10, 64); err == nil {
		l.Done = max(l.Done, events.Revision(revision))
	}
}

// count notes an answer of a model or a tool.
func (l *Lineage) count(event events.Event) {
	switch e := event.(type) {
	case events.ModelReplied, events.ModelFailed, events.ToolReturned, events.ToolLost:
	case events.ConversationCompacted:
		if e.Request == "" {
			return
		}
	default:
		return
	}
	switch {
	case l.OnTape():
		l.Taped++
	case l.Following():
		l.Live++
	}
}

// Fork makes an agent that goes on from another's history. It is decided on the parent's fold at a revision, and its events begin
// the new agent's stream.
type Fork struct {
	Meta
	Agent  events.AgentID
	Parent events.AgentID
	At     events.Revision // of the parent's fold
	Digest events.Digest   // of the parent's event there
	Time   events.Micros   // of that event
	Until  events.Revision
	Inputs events.Revision
	Tape   events.TapeMode
	Edit   *events.MessageEdit
	Paper  bool
	Config events.AgentConfig
	Masked []events.Masked
	Set    []string // parts of the configuration that are the fork's own, also where they equal its parent's: see configParts
}

// Commands with which a fork follows its parent.
type (
	// Diverge says that the parent's recording does not answer a request.
	Diverge struct {
		Meta
		Turn   events.TurnID
		Round  int
		Call   events.CallID // empty: the model's reply
		Detail string
	}
	// Skip says that the fork does not accept what its parent was sent.
	Skip struct {
		Meta
		Revision events.Revision // of the parent
		What     events.Kind
		Reason   string
	}
	// Elapse says that the parent met a limit of time here: an approval's, or its turn's when Call is empty.
	Elapse struct {
		Meta
		Call events.CallID
	}
	// Finish says that the parent's history holds nothing more for the fork.
	Finish struct{ Meta }
)

// lineage decides what makes a fork and has it follow its parent.
func (d *decision) lineage(command Command) error {
	switch c := command.(type) {
	case Fork:
		return d.fork(c)
	case Diverge:
		return d.diverge(c)
	case Skip:
		return d.skip(c)
	case Elapse:
		return d.elapse(c)
	default:
		return d.finish()
	}
}

// fork begins the new agent's history. What was outstanding in the parent is asked for anew, under the fork's own ids: it never
// uses its parent's claims, reservations or settlements.
func (d *decision) fork(c Fork) error {
	parent := d.agent
	switch {
	case parent.ID == "":
		return refuse(RefusedMissing, "agent %s does not exist: there is nothing to fork", c.Parent)
	case parent.ID == c.Agent:
		return refuse(RefusedExists, "agent %s exists already", c.Agent)
	case parent.ID != c.Parent || parent.Revision != c.At:
		return refuse(RefusedInvalid, "agent %s cannot be forked at revision %d from %s at revision %d", c.Parent, c.At, parent.ID, parent.Revision)
	case c.Until < c.At || c.Inputs < c.At || c.Inputs > c.Until:
		return refuse(RefusedInvalid, "revisions %d, %d and %d of the parent are not in order", c.At, c.Inputs, c.Until)
	}
	if err := c.Agent.Validate(); err != nil {
		return refuse(RefusedInvalid, "%v", err)
	}
	if err := ValidateConfig(c.Config); err != nil {
		return err
	}
	switch c.Tape {
	case events.TapeFirst, events.TapeLive, events.TapeOffline:
	default:
		return refuse(RefusedInvalid, "the tape is %q, want tape, live or offline", c.Tape)
	}
	calls := slices.Clone(parent.Turn.Calls)
	d.agent.Revision = events.NoRevision
	d.record(events.AgentForked{
		Agent: c.Agent, Parent: c.Parent, At: c.At, Digest: c.Digest, Time: c.Time, Until: c.Until, Inputs: c.Inputs, Tape: c.Tape,
		Edit: c.Edit, Paper: c.Paper, Changed: changed(&parent.Config, &c), Config: c.Config, Masked: c.Masked,
	})
	if d.agent.Turn.ID == "" {
		d.next()
		return nil
	}
	if parent.Turn.Advice != "" {
		d.record(events.AdviceRequested{Turn: d.agent.Turn.ID})
	}
	if owed := parent.Turn.Held - d.agent.Turn.Held + parent.Turn.Requested; owed > 0 {
		d.requestBudget(owed)
	}
	if parent.Turn.Knowledge != "" {
		d.requestKnowledge()
	}
	for i := range calls {
		d.callAgain(&calls[i], &parent.Turn.Config)
	}
	d.proceed()
	return nil
}

// callAgain asks anew for a call that was open in the parent. What a person approved there stays approved, unless the fork's
// policy asks for what the parent's did not.
func (d *decision) callAgain(call *Call, before *events.AgentConfig) {
	t := &d.agent.Turn
	granted, ok := grant(&t.Config, call.Tool)
	asks := matches(t.Config.Policy.Ask, call.Tool)
	switch {
	case call.Stage == CallAnswered:
	case !ok || matches(t.Config.Policy.Deny, call.Tool) || call.Stage == CallNew:
		d.judgeCall(call, call.Found)
	case call.Stage == CallWaiting && call.Asked != nil:
		d.questionAgain(call)
	case call.Stage == CallWaiting && call.Lost:
		d.requestApproval(call, call.lostReason())
	case before.Policy.Mode != t.Config.Policy.Mode, call.Stage == CallWaiting && call.Found != nil:
		d.follow(call, call.Found, granted)
	case call.Stage == CallSent && asks && !matches(before.Policy.Ask, call.Tool), call.Stage == CallWaiting && asks:
		d.requestApproval(call, "the policy asks for approval of "+call.Tool)
	case call.Stage == CallWaiting && d.agent.Mode == events.ModeAskHuman && granted.Risk >= events.RiskMedium:
		d.requestApproval(call, askHumanReason)
	default:
		d.sendCall(call)
	}
}

// changed names what a fork's configuration has otherwise than its parent's, and what was set for it although the parent has it so at the moment:
// that stays when the parent is configured later. A workspace and a wallet of its own every fork has.
func changed(before *events.AgentConfig, c *Fork) []string {
	var names []string
	for _, part := range configParts(before, &c.Config) {
		if c.Paper && part.name == "wallet" {
			continue
		}
		same := bytes.Equal(appendJSON(nil, part.before), appendJSON(nil, part.after)) // as stored: no list and an empty one are the same
		if !same || slices.Contains(c.Set, part.name) {
			names = append(names, part.name)
		}
	}
	return names
}

type configPart struct {
	name          string
	before, after any
}

func configParts(before, after *events.AgentConfig) []configPart {
	return []configPart{
		{"model", before.Model, after.Model},
		{"prompt", before.Prompt, after.Prompt},
		{"tools", events.AgentConfig{Tools: mixed(before, nil)}, events.AgentConfig{Tools: mixed(after, nil)}},
		{"wallet", before.Wallet, after.Wallet},
		{"tenant", before.Tenant, after.Tenant},
		{"limits", withDefaults(before.Limits), withDefaults(after.Limits)},
		{"policy", before.Policy, after.Policy},
		{"knowledge", before.Knowledge, after.Knowledge},
		{"editor", before.Editor, after.Editor},
		{"thinking", before.Thinking, after.Thinking},
		{"compaction", before.Compaction, after.Compaction},
		{"masking", before.Masking, after.Masking},
		{"secrets", before.Secrets, after.Secrets},
		{"skills", before.Skills, after.Skills},
		{"mcp", events.AgentConfig{MCP: before.MCP, Tools: serverTools(before)}, events.AgentConfig{MCP: after.MCP, Tools: serverTools(after)}},
	}
}

// diverge records where the fork leaves the recording. Offline the run stops there.
func (d *decision) diverge(c Diverge) error {
	if !d.agent.Fork.OnTape() {
		return ErrStale
	}
	d.record(events.ForkDiverged{Turn: c.Turn, Round: c.Round, Call: c.Call, Detail: valid(c.Detail)})
	if d.agent.Fork.Tape != events.TapeOffline {
		d.proceed()
		return nil
	}
	if d.agent.Turn.ID != "" {
		d.close(events.Stopped, events.ReasonOffline, c.Detail) // no further turn: it would ask too
	}
	d.finished()
	return nil
}

func (d *decision) skip(c Skip) error {
	if !d.agent.Fork.Following() {
		return ErrStale
	}
	d.record(events.ForkSkipped{At: c.Revision, What: c.What, Reason: valid(c.Reason)})
	return nil
}

// elapse meets a limit of time where the parent met it: on the tape time is recorded too.
func (d *decision) elapse(c Elapse) error {
	if !d.agent.Fork.OnTape() || d.agent.Turn.ID == "" {
		return ErrStale
	}
	if c.Call == "" {
		d.end(events.Stopped, events.ReasonTime, "")
		return nil
	}
	call := d.agent.Turn.call(c.Call)
	if call == nil || call.Stage != CallWaiting {
		return ErrStale
	}
	d.expire(call)
	return nil
}

func (d *decision) finish() error {
	if !d.agent.Fork.Following() || !d.agent.resting() { // a turn that is under way would have nobody to answer it
		return ErrStale
	}
	d.finished()
	return nil
}

func (d *decision) finished() {
	l := &d.agent.Fork
	d.record(events.ForkFinished{Taped: l.Taped, Live: l.Live, Skipped: l.Skipped})
}

// applyFork folds the beginning of a fork on its parent's fold, and what became of its following the parent.
func (a *Agent) applyFork(fact Fact) {
	if a.Fork.count(fact.Event); a.Fork.Following() {
		a.Fork.follow(fact.Command)
	}
	switch e := fact.Event.(type) {
	case events.AgentForked:
		a.forked(e, fact)
	case events.ForkDiverged:
		a.untape()
		a.Fork.Diverged = &e
	case events.ForkSkipped:
		a.Fork.Skipped++
	case events.ForkFinished:
		a.untape()
		a.Fork.Finished = true
	}
}

// forked makes the parent's fold the fork's. The conversation, waiting messages and counters go on; whatever is between the parent
// and others does not: commands it accepted, reservations, settlements, quarantine, retirement.
func (a *Agent) forked(e events.AgentForked, fact Fact) {
	a.ID, a.Config, a.Parent = e.Agent, e.Config, e.Parent
	a.Retired, a.Quarantined, a.Settling = false, "", nil
	a.Accepted = accept(nil, fact)
	if a.Undo != nil {
		undo := *a.Undo // the parent has the old one
		undo.Outstanding, undo.Workspace = a.outstanding(fact), a.Config.Workspace
		a.Undo = &undo
	}
	a.Fork = Lineage{
		Parent: e.Parent, At: e.At, Until: e.Until, Inputs: e.Inputs, Done: e.At, Tape: e.Tape, Edit: e.Edit, Paper: e.Paper, Changed: e.Changed,
	}
	t := &a.Turn
	if t.ID == "" {
		return
	}
	t.ID = events.NewTurnID(e.Agent, t.Number)
	before := withDefaults(t.Config.Limits)
	t.Config = a.reconfigured(t.Config) // the parent may have been configured since the turn began
	t.Limits = carried(withDefaults(t.Config.Limits), t.Limits, before)
	t.Interrupted = t.Interrupted || t.Model != ""
	t.Advice, t.Budget, t.Knowledge, t.Model = "", "", "", ""
	if t.RetryAt != 0 {
		t.RetryAt = fact.Time
	}
	t.Requested, t.Uncharged = 0, 0
	if !a.Fork.OnTape() { // else it is settled as in the parent, by nobody
		t.Held, t.Uncharged = 0, t.Cost
	}
	if e.Time > 0 { // the turn's time stood still since
		passed := fact.Time - e.Time
		t.Started += passed
		if t.WaitingAt != 0 {
			t.WaitingAt += passed
		}
	}
	t.Calls = slices.Clone(t.Calls) // the parent's fold may be forked again
	for i := range t.Calls {
		call := &t.Calls[i]
		if call.Stage == CallWaiting {
			t.Approvals-- // counted when it is asked for again
		}
		if call.Stage != CallAnswered {
			call.Stage, call.Request, call.Expires = CallNew, "", 0
		}
	}
}

// untape has the agent stand on its own: what the recording granted it, its own wallet is asked for before the model is asked again, and
// what the recording answered is settled by nobody.
func (a *Agent) untape() {
	if !a.Fork.OnTape() {
		return
	}
	a.Settling = nil
	t := &a.Turn
	if t.ID == "" {
		return
	}
	t.Interrupted = t.Interrupted || t.Model != ""
	t.Model, t.Budget = "", ""
	t.Held, t.Requested, t.Uncharged = 0, 0, t.Cost
}

// carried are new limits with what a person granted beyond the old ones.
func carried(limits, granted, before events.Limits) events.Limits {
	limits.Tokens += granted.Tokens - before.Tokens
	limits.Money += granted.Money - before.Money
	return limits
}
