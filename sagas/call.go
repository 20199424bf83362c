package sagas

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"example.com/life/events"
)

// Call is one tool call of the running round.
type Call struct {
	ID        events.CallID    `json:"id"`
	Provider  string           `json:"provider"` // the provider's own id
	Tool      string           `json:"tool"`
	Arguments json.RawMessage  `json:"arguments"`
	Blob      *events.BlobRef  `json:"blob,omitempty"` // all of the arguments, where Arguments is a preview
	Stage     CallStage        `json:"stage"`
	Request   events.RequestID `json:"request,omitempty"` // while sent
	Digest    string           `json:"digest"`            // of tool and arguments
	Repeats   int              `json:"repeats"`           // how often this call came in a row, this one included
	Expires   events.Micros    `json:"expires,omitempty"` // while waiting for a person
	Lost      bool             `json:"lost,omitempty"`    // it was cut off and its effect is unknown
	LostBy    string           `json:"lost_by,omitempty"` // why nobody knows its effect; empty: the host stopped while it ran
	Text      events.Text      `json:"result"`            // once answered
	Failed    bool             `json:"failed,omitempty"`
	Warned    bool             `json:"warned,omitempty"`  // the model is told that it repeats itself
	Cut       bool             `json:"cut,omitempty"`     // the reply ended before it did
	Found     *Finding         `json:"found,omitempty"`   // what the host's policy said of it
	Edited    bool             `json:"edited,omitempty"`  // a person changed the arguments
	Asked     *events.Question `json:"asked,omitempty"`   // what it waits to be answered; nil: it waits for approval, if it waits
	Answers   []string         `json:"answers,omitempty"` // to what it asked so far
}

// CallStage is how far a call has come.
type CallStage string

// The stages of a call.
const (
	CallNew      CallStage = ""         // asked for by the model
	CallWaiting  CallStage = "waiting"  // for a person
	CallSent     CallStage = "sent"     // to the tool
	CallAnswered CallStage = "answered" // returned, refused, or lost and told
)

// Loops: the same tool with the same arguments and the same result this often in a row. Calls of one reply have no results yet, so
// there the arguments alone count.
const (
	loopWarning = 3
	loopEnd     = 5
)

// polls reports whether the first of these calls is one that was made before with the same arguments and returned something else each
// time: the model waits for something. The calls before the latest are then no part of a loop.
func (t *Turn) polls(calls []events.ModelCall) bool {
	return t.Varied && t.Repeats > 1 && len(calls) > 0 && callDigest(&calls[0]) == t.LastCall
}

// noteResult compares the result of a call with the one before it, for [Turn.polls].
func (t *Turn) noteResult(call *Call) {
	content := call.Text.Inline
	if call.Text.Blob != nil {
		content = call.Text.Blob.Hash
	}
	result := events.HashBytes(append(strconv.AppendBool(make([]byte, 0, 256), call.Failed), content...))[:16]
	t.Varied = call.Repeats > 1 && t.LastResult != "" && t.LastResult != result
	t.LastResult = result
}

// judgeCalls sends each call of the latest reply, has it wait for a person, or refuses it.
func (d *decision) judgeCalls(findings []Finding, met events.Bound) {
	t := &d.agent.Turn
	if t.ToolCalls > t.Limits.ToolCalls {
		d.end(events.Stopped, events.ReasonToolCalls, fmt.Sprintf("the reply asked for call %d of at most %d", t.ToolCalls, t.Limits.ToolCalls))
		return
	}
	calls := slices.Clone(t.Calls)
	for i := range calls { // before any is sent: what the turn's end abandons was never begun
		if calls[i].Repeats >= loopEnd {
			d.end(events.Stopped, events.ReasonLoop,
				fmt.Sprintf("%s was called %d times in a row with the same arguments", calls[i].Tool, calls[i].Repeats))
			return
		}
	}
	for i, call := range calls {
		if call.Repeats == loopWarning {
			d.record(events.LoopWarned{Call: call.ID, Tool: call.Tool, Count: call.Repeats})
		}
		var found *Finding
		if at := slices.IndexFunc(findings, func(f Finding) bool { return f.Call == i }); at >= 0 {
			found = &findings[at]
		}
		if call.Cut {
			d.refuseCall(call.ID, call.Tool, cutOff(met, t.Limits.ReplyTokens))
			continue
		}
		d.judgeCall(&call, found)
	}
}

// cutOff is what the model is told of a call that its reply ended within.
func cutOff(met events.Bound, limit int64) string {
	reached := fmt.Sprintf("the reply met its limit of %d tokens", limit)
	switch met {
	case events.BoundWindow:
		reached = "the reply filled the window of the model"
	case events.BoundEndpoint:
		reached = "the reply met the limit of tokens of its endpoint"
	}
	return reached + " before this call was whole, so it was not run: make it again, with shorter arguments or in several calls"
}

// judgeCall applies the policy to one call: deny is stronger than ask, ask than allow.
func (d *decision) judgeCall(call *Call, found *Finding) {
	t := &d.agent.Turn
	granted, ok := grant(&t.Config, call.Tool)
	switch {
	case !ok:
		d.refuseCall(call.ID, call.Tool, "there is no such tool; the tools are: "+strings.Join(toolNames(&t.Config), ", "))
	case call.Arguments[0] != '{':
		d.refuseCall(call.ID, call.Tool, "the arguments are not a JSON object")
	case matches(t.Config.Policy.Deny, call.Tool):
		d.refuseCall(call.ID, call.Tool, "the policy denies this tool")
	default:
		d.follow(call, found, granted)
	}
}

// follow does what rules, the agent's mode and its policy say of a call that can be made.
func (d *decision) follow(call *Call, found *Finding, granted events.ToolGrant) {
	policy := &d.agent.Turn.Config.Policy
	if found == nil && policy.Mode != "" { // its host says nothing: the tool's risk is all that is known
		found = &Finding{Finding: events.Finding{Class: ClassOf(granted.Risk)}}
	}
	verdict, why := d.permit(call, found, granted.Risk)
	if found != nil {
		d.record(events.PermissionJudged{
			Call: call.ID, Tool: call.Tool, Finding: validFinding(found.Finding), Mode: policy.Mode, Verdict: verdict, Because: valid(why),
		})
	}
	switch {
	case verdict == events.VerdictAllow:
		d.sendCall(call)
	case verdict == events.VerdictDeny:
		d.refuseCall(call.ID, call.Tool, "permission_denied: "+why)
	case policy.OnAsk == events.AskDeny:
		d.refuseCall(call.ID, call.Tool, "approval_unavailable: "+why+", and nobody is there to approve it (on_ask is deny). A rule can allow such calls, or --on-ask wait has them wait")
	default:
		d.requestApproval(call, why)
	}
}

// permit says what becomes of a call, and why.
func (d *decision) permit(call *Call, found *Finding, risk events.RiskLevel) (events.Verdict, string) {
	policy := &d.agent.Turn.Config.Policy
	if found == nil {
		found = &Finding{}
	}
	if found.Ruled == events.VerdictDeny || found.Ruled == events.VerdictAsk && found.Firm {
		return found.Ruled, found.rule()
	}
	if d.agent.Mode == events.ModeAskHuman && risk >= events.RiskMedium {
		return events.VerdictAsk, askHumanReason
	}
	key := cmp.Or(found.Key, call.Digest)
	for _, r := range d.agent.Remembered {
		if r.Key == key && r.Tool == call.Tool && d.at < r.Expires {
			return events.VerdictAllow, "an earlier approval of it is remembered" + by(r.By)
		}
	}
	if found.Ruled == "" && matches(policy.Ask, call.Tool) {
		return events.VerdictAsk, "the policy asks for approval of " + call.Tool
	}
	return found.Verdict(policy.Mode)
}

// Verdict says what becomes of a call of an agent with a mode, if nothing else decides, and why.
func (f *Finding) Verdict(mode events.PermissionMode) (events.Verdict, string) {
	if f.Ruled != "" {
		return f.Ruled, f.rule()
	}
	return byMode(mode, f)
}

// rule says which rule decided, and why.
func (f *Finding) rule() string {
	verb := map[events.Verdict]string{events.VerdictAllow: "allows", events.VerdictAsk: "asks for approval of", events.VerdictDeny: "denies"}[f.Ruled]
	return "the rule " + f.Rule + " " + verb + " it" + because(f.Reason)
}

// byMode says what becomes of a call that no rule decides.
func byMode(mode events.PermissionMode, found *Finding) (events.Verdict, string) {
	confined := found.Sandbox == "" || found.Sandbox == "namespaces"
	most := map[events.PermissionMode]events.CallClass{ // the classes that run
		events.PermissionPlan: events.ClassRead, events.PermissionAsk: events.ClassRead, events.PermissionEdits: events.ClassEdit, events.PermissionAuto: events.ClassRun,
	}[mode]
	switch {
	case mode == "" || mode == events.PermissionFull && found.Full:
		return events.VerdictAllow, ""
	case mode == events.PermissionFull:
		return events.VerdictAsk, "this host does not let agents have the mode full (--allow-full)"
	case found.Class != events.ClassRead && !confined && (mode == events.PermissionAuto || found.Sandbox == "host" && mode == events.PermissionEdits):
		return events.VerdictAsk, fmt.Sprintf("the mode %s is for commands that namespaces confine, and this host's are confined by: %s", mode, found.Sandbox)
	case found.Class.AtMost(most):
		return events.VerdictAllow, ""
	}
	why := fmt.Sprintf("in mode %s, %s calls need approval%s", mode, found.Class, because(found.Why))
	if mode == events.PermissionPlan {
		return events.VerdictDeny, fmt.Sprintf("in mode plan only calls run that change nothing, and this one is of the class %s%s", found.Class, because(found.Why))
	}
	return events.VerdictAsk, why
}

// ClassOf is the class of a tool's calls of which only the risk is known.
func ClassOf(risk events.RiskLevel) events.CallClass {
	switch {
	case risk <= events.RiskLow:
		return events.ClassRead
	case risk == events.RiskMedium:
		return events.ClassEdit
	}
	return events.ClassOutside
}

func (d *decision) sendCall(call *Call) {
	d.record(events.ToolRequested{Turn: d.agent.Turn.ID, Call: call.ID, Tool: call.Tool, Arguments: call.Arguments, Blob: call.Blob})
}

func (d *decision) refuseCall(id events.CallID, tool, reason string) {
	d.record(events.ToolRefused{Call: id, Tool: tool, Reason: valid(reason)})
}

func (d *decision) requestApproval(call *Call, reason string) {
	d.record(events.ApprovalRequested{
		Turn: d.agent.Turn.ID, Call: call.ID, Tool: call.Tool, Arguments: call.Arguments, Blob: call.Blob, Digest: call.Digest, Reason: reason,
		Expires: d.at + d.agent.Turn.Limits.ApprovalTime,
	})
}

// recordResult records what a call gave back.
func (d *decision) recordResult(c RecordResult) error {
	if call := d.agent.Turn.sent(c.Request); call == nil || call.ID != c.Call {
		return ErrStale
	}
	d.record(events.ToolReturned{
		Request: c.Request, Call: c.Call, Text: validText(c.Text), Full: c.Full, Failed: c.Failed, Duration: c.Duration,
		Before: validTree(c.Before), Tree: validTree(c.Tree), Sandbox: c.Sandbox, Confined: c.Confined,
	})
	d.proceed()
	return nil
}

// recordLoss applies the agent's policy to a call whose effect is unknown. It is never repeated silently.
func (d *decision) recordLoss(c RecordLoss) error {
	call := d.agent.Turn.sent(c.Request)
	if call == nil || call.ID != c.Call {
		return ErrStale
	}
	d.record(events.ToolLost{Request: c.Request, Call: c.Call, Detail: valid(c.Detail), Host: valid(c.Host)})
	call = d.agent.Turn.call(c.Call)
	switch d.agent.Turn.Config.Policy.OnLost {
	case events.LostEnd:
		d.end(events.Stopped, events.ReasonLost, c.Detail)
	case events.LostTell:
		d.refuseCall(c.Call, call.Tool, call.lostText())
		d.proceed()
	case events.LostAsk, "":
		if d.agent.Turn.Config.Policy.OnAsk == events.AskDeny {
			d.refuseCall(c.Call, call.Tool, call.lostText())
			d.proceed()
			return nil
		}
		d.requestApproval(call, call.lostReason())
	}
	return nil
}

// askHumanReason is why a call waits for a person.
const askHumanReason = "in mode ask_human, calls that change something need approval"

// lostReason is why a lost call waits for a person.
func (c *Call) lostReason() string {
	return "its effect is unknown because " + cmp.Or(c.LostBy, "the host stopped while it ran") + ": approve runs it again, deny tells the model"
}

// lostText is what the model is told of a lost call.
func (c *Call) lostText() string {
	return cmp.Or(c.LostBy, "the host stopped while this call ran") + ": whether it took effect is unknown; check before you repeat it"
}

// approve runs exactly what was asked for, once.
func (d *decision) approve(c Approve) error {
	if err := d.agent.movedOn(c.Turn); err != nil {
		return err
	}
	if c.Call == "" {
		return d.resume(c)
	}
	call, err := d.agent.waitingCall(c.Turn, c.Call, c.Digest)
	if err != nil {
		return err
	}
	if call.Asked != nil {
		return refuse(RefusedState, "call %s of %s asks a question, which approving does not answer: answer or deny it", c.Call, d.agent.ID)
	}
	if d.agent.over(call.Expires, d.at) {
		return refuse(RefusedState, "the time to approve call %s of %s is over: it counts as denied", c.Call, d.agent.ID)
	}
	if call.Lost && c.Turn != "" && !c.Again {
		return refuse(RefusedMismatch, "call %s of %s ran, and its effect is unknown: the answer has to say that it is to run again", c.Call, c.Turn)
	}
	if err := d.checkAnswer(call, &c); err != nil {
		return err
	}
	granted := events.ApprovalGranted{Call: c.Call, Digest: call.Digest, By: valid(c.By)}
	if len(c.Arguments) > 0 {
		granted.Arguments = CanonicalArguments(c.Arguments)
	}
	d.record(granted)
	if c.Scope != "" && c.Scope != events.ScopeOnce {
		d.record(events.PermissionRemembered{
			Call: c.Call, Tool: call.Tool, Key: call.key(), Text: events.Clip(string(call.Arguments), 300), Scope: c.Scope,
			Expires: d.at + cmp.Or(c.Lasting, rememberedFor), By: valid(c.By),
		})
	}
	d.sendCall(d.agent.Turn.call(c.Call)) // with the arguments of whoever approved it
	return nil
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return ", by " + who
}

// key is what an approval of the call is remembered for.
func (c *Call) key() string {
	if c.Found == nil {
		return c.Digest
	}
	return cmp.Or(c.Found.Key, c.Digest)
}

// Bounds of remembered approvals.
const (
	mostRemembered = 200
	rememberedFor  = 8 * 60 * events.Minute
	rememberedMost = 90 * 24 * 60 * events.Minute
)

// checkAnswer refuses an approval that says more than it can mean.
func (d *decision) checkAnswer(call *Call, c *Approve) error {
	switch c.Scope {
	case "", events.ScopeOnce:
		if c.Lasting != 0 {
			return refuse(RefusedInvalid, "the approval is for once: how long it lasts is said of one that is remembered")
		}
	case events.ScopeSession:
		switch {
		case call.Lost:
			return refuse(RefusedInvalid, "call %s ran, and its effect is unknown: that it may run again is not remembered", c.Call)
		case len(c.Arguments) > 0:
			return refuse(RefusedInvalid, "an approval with other arguments is for once")
		case c.Lasting < 0 || c.Lasting > rememberedMost:
			return refuse(RefusedInvalid, "an approval is remembered for at most 90 days")
		case len(d.agent.Remembered) >= mostRemembered:
			return refuse(RefusedState, "%s remembers %d approvals: revoke one, or write a rule", d.agent.ID, mostRemembered)
		}
	default:
		return refuse(RefusedInvalid, "scope is %q, want once or session", c.Scope)
	}
	if arguments := CanonicalArguments(c.Arguments); len(c.Arguments) > 0 && (arguments[0] != '{' || len(arguments) > events.InlineLimit) {
		return refuse(RefusedInvalid, "the arguments must be a JSON object of at most %d bytes", events.InlineLimit)
	}
	return nil
}

// revoke ends a remembered approval.
func (d *decision) revoke(c Revoke) error {
	if !slices.ContainsFunc(d.agent.Remembered, func(r Remembered) bool { return r.At == c.Remembered }) {
		return refuse(RefusedMissing, "%s remembers no approval %s", d.agent.ID, events.Clip(string(c.Remembered), 100))
	}
	d.record(events.PermissionRevoked{Remembered: c.Remembered, By: valid(c.By), Reason: valid(c.Reason)})
	return nil
}

// Remembered is an approval that holds for the same call when it is made again.
type Remembered struct {
	At      events.Ref    `json:"at"` // the event that recorded it, of this agent or of the one that it is a fork of
	Tool    string        `json:"tool"`
	Key     string        `json:"key"`
	Text    string        `json:"text,omitempty"`
	Scope   events.Scope  `json:"scope"`
	Expires events.Micros `json:"expires,string"`
	By      string        `json:"by,omitempty"`
}

// remember adds an approval, and forgets those that have expired.
func (a *Agent) remember(fact Fact, e *events.PermissionRemembered) {
	kept := without(a.Remembered, func(r Remembered) bool { return r.Expires <= fact.Time })
	a.Remembered = append(slices.Clip(kept), Remembered{
		At: events.Ref(a.outstanding(fact).ID), Tool: e.Tool, Key: e.Key, Text: e.Text, Scope: e.Scope, Expires: e.Expires, By: e.By,
	})
}

// deny refuses a waiting call, or ends a paused turn.
func (d *decision) deny(c Deny) error {
	if err := d.agent.movedOn(c.Turn); err != nil {
		return err
	}
	t := &d.agent.Turn
	if c.Call == "" {
		if t.Paused == "" {
			return refuse(RefusedState, "no turn of %s is paused", d.agent.ID)
		}
		reason := t.Paused
		d.record(events.ApprovalDenied{By: valid(c.By), Reason: valid(c.Reason)})
		d.end(events.Stopped, reason, "a person refused to let it go on"+because(c.Reason))
		return nil
	}
	call, err := d.agent.waitingCall(c.Turn, c.Call, c.Digest)
	if err != nil {
		return err
	}
	d.record(events.ApprovalDenied{Call: c.Call, By: valid(c.By), Reason: valid(c.Reason)})
	switch {
	case call.Lost:
		d.refuseCall(c.Call, call.Tool, call.lostText())
	case call.Asked != nil:
		d.refuseCall(c.Call, call.Tool, "a person declined to answer"+because(c.Reason))
	default:
		d.refuseCall(c.Call, call.Tool, "a person denied it"+because(c.Reason))
	}
	d.proceed()
	return nil
}

// movedOn refuses an answer to what waited in another turn than the one that runs.
func (a *Agent) movedOn(turn events.TurnID) error {
	switch {
	case turn == "" || turn == a.Turn.ID:
		return nil
	case turn.Agent() != a.ID || turn.Number() == 0:
		return refuse(RefusedMismatch, "%q is no turn of %s", events.Clip(string(turn), 100), a.ID)
	case turn.Number() > a.Turns:
		return refuse(RefusedMismatch, "there is no turn %s yet", turn)
	case a.Turn.ID == "":
		return refuse(RefusedMismatch, "turn %s is over: nothing of it waits any more", turn)
	}
	return refuse(RefusedMismatch, "turn %s is over, %s runs: what waits there is something else, and is answered for itself", turn, a.Turn.ID)
}

// waitingCall returns the call that an answer is about.
func (a *Agent) waitingCall(turn events.TurnID, id events.CallID, digest string) (*Call, error) {
	call := a.Turn.call(id)
	if call == nil || call.Stage != CallWaiting {
		return nil, refuse(RefusedState, "call %s of %s does not wait for approval", id, a.ID)
	}
	if !sameDigest(call.Digest, turn, digest) {
		return nil, refuse(RefusedMismatch, "call %s waits with arguments %s, not with those that were answered", id, call.Digest)
	}
	return call, nil
}

// ShortDigest is how many digits of a digest are enough in an answer that names its turn: there a call has its arguments for good, and the
// digits are for whoever mistypes its name.
const ShortDigest = 12

// sameDigest reports whether an answer is about arguments with a digest. One that names neither turn nor arguments is about any.
func sameDigest(have string, turn events.TurnID, given string) bool {
	if turn != "" && len(given) >= ShortDigest {
		return strings.HasPrefix(have, given)
	}
	return given == "" || given == have
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// call returns the call of this round with that id, or nil.
func (t *Turn) call(id events.CallID) *Call {
	i := slices.IndexFunc(t.Calls, func(c Call) bool { return c.ID == id })
	if i < 0 {
		return nil
	}
	call := t.Calls[i]
	return &call
}

// sent returns the call that a request sent, or nil.
func (t *Turn) sent(request events.RequestID) *Call {
	i := slices.IndexFunc(t.Calls, func(c Call) bool { return c.Stage == CallSent && c.Request == request })
	if i < 0 {
		return nil
	}
	call := t.Calls[i]
	return &call
}

// canonicalCalls rewrites the arguments of calls as canonical JSON, or as a JSON string holding what was no JSON object. Each call
// of a reply gets an id of its own: some providers leave ids out, and none accepts results that it cannot tell apart.
func canonicalCalls(round int, calls []events.ModelCall) []events.ModelCall {
	if len(calls) == 0 {
		return nil
	}
	canonical := make([]events.ModelCall, len(calls))
	for i, call := range calls {
		id := valid(call.ID)
		for id == "" || slices.ContainsFunc(canonical[:i], func(c events.ModelCall) bool { return c.ID == id }) {
			id += "call_" + strconv.Itoa(round) + "_" + strconv.Itoa(i+1)
		}
		canonical[i] = events.ModelCall{ID: id, Tool: valid(call.Tool), Arguments: CanonicalArguments(call.Arguments), Cut: call.Cut, Blob: call.Blob}
	}
	return canonical
}

// CanonicalArguments is [Canonical] for the arguments of a call, and keeps what is no JSON object as a JSON string; what already is one stays as it is.
func CanonicalArguments(raw json.RawMessage) json.RawMessage {
	if arguments, err := Canonical(raw); err == nil {
		return arguments
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = string(raw)
	}
	encoded, err := events.PlainJSON(valid(text))
	if err != nil { // strings always encode
		return json.RawMessage(`""`)
	}
	return encoded
}

func matches(tools []string, tool string) bool {
	return slices.Contains(tools, tool) || slices.Contains(tools, "*")
}
