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
	Warned    bool             `json:"warned,omitempty"` // the model is told that it repeats itself
	Cut       bool             `json:"cut,omitempty"`    // the reply ended before it did
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
func (d *decision) judgeCalls() {
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
	for _, call := range calls {
		if call.Repeats == loopWarning {
			d.record(events.LoopWarned{Call: call.ID, Tool: call.Tool, Count: call.Repeats})
		}
		d.judgeCall(&call)
	}
}

// judgeCall applies the policy to one call: deny is stronger than ask, ask than allow.
func (d *decision) judgeCall(call *Call) {
	t := &d.agent.Turn
	granted, ok := grant(&t.Config, call.Tool)
	switch {
	case call.Cut:
		d.refuseCall(call.ID, call.Tool, fmt.Sprintf(
			"the reply met its limit of %d tokens before this call was whole, so it was not run: make it again, with shorter arguments or in several calls", t.Limits.ReplyTokens))
	case !ok:
		d.refuseCall(call.ID, call.Tool, "there is no such tool; the tools are: "+strings.Join(toolNames(&t.Config), ", "))
	case call.Arguments[0] != '{':
		d.refuseCall(call.ID, call.Tool, "the arguments are not a JSON object")
	case matches(t.Config.Policy.Deny, call.Tool):
		d.refuseCall(call.ID, call.Tool, "the policy denies this tool")
	case matches(t.Config.Policy.Ask, call.Tool):
		d.requestApproval(call, "the policy asks for approval of "+call.Tool)
	case d.agent.Mode == events.ModeAskHuman && granted.Risk >= events.RiskMedium:
		d.requestApproval(call, askHumanReason)
	default:
		d.sendCall(call)
	}
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
	if d.agent.over(call.Expires, d.at) {
		return refuse(RefusedState, "the time to approve call %s of %s is over: it counts as denied", c.Call, d.agent.ID)
	}
	if call.Lost && c.Turn != "" && !c.Again {
		return refuse(RefusedMismatch, "call %s of %s ran, and its effect is unknown: the answer has to say that it is to run again", c.Call, c.Turn)
	}
	d.record(events.ApprovalGranted{Call: c.Call, Digest: call.Digest, By: valid(c.By)})
	d.sendCall(call)
	return nil
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
	if call.Lost {
		d.refuseCall(c.Call, call.Tool, call.lostText())
	} else {
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
