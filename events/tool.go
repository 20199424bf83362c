package events

import "encoding/json"

// ToolRequested records that a call may run: it passed the policy and, if it needed one, has its approval.
type ToolRequested struct {
	Turn      TurnID          `json:"turn"`
	Call      CallID          `json:"call"`
	Tool      string          `json:"tool"`
	Arguments json.RawMessage `json:"arguments"`      // canonical JSON
	Blob      *BlobRef        `json:"blob,omitempty"` // all of the arguments, where they are large: Arguments is a preview of them
}

// ToolReturned records what a call gave back. An error is what the model sees too; it does not end the turn.
type ToolReturned struct {
	Request  RequestID `json:"request"`
	Call     CallID    `json:"call"`
	Text               // what the model sees
	Failed   bool      `json:"failed,omitempty"`
	Full     *BlobRef  `json:"full,omitempty"` // the whole output, where Text is a part of it
	Duration Micros    `json:"duration_us,string"`
	Before   *Tree     `json:"before,omitempty"`   // the workspace before it, and before the calls beside it, where it was not as last recorded
	Tree     *Tree     `json:"tree,omitempty"`     // the workspace as the call left it, if its tool may change files
	Sandbox  string    `json:"sandbox,omitempty"`  // how well the command was confined, if the call ran one: namespaces, bwrap, landlock or host, which is not at all
	Confined string    `json:"confined,omitempty"` // BLAKE3 of what confined it: equal for what could reach the same
}

// sameReturn carries a ToolReturned of version 1, in which no files were recorded, to version 2: they are recorded in none.
func sameReturn(data json.RawMessage) (json.RawMessage, error) { return data, nil }

// ToolLost records that a call which cannot be repeated was cut off: its effect is unknown and it is not run again by itself.
type ToolLost struct {
	Request RequestID `json:"request"`
	Call    CallID    `json:"call"`
	Detail  string    `json:"detail,omitempty"`
	Host    string    `json:"host,omitempty"` // that began it; empty in version 1, of which only the detail is known
}

// ToolRefused records that a call was not run: the policy, a person or the approval's time limit refused it. The model is told.
type ToolRefused struct {
	Call   CallID `json:"call"`
	Tool   string `json:"tool"`
	Reason string `json:"reason"`
}

// EffectClaimed is the only event of an effect's stream: whoever appends it first may begin the effect, once.
type EffectClaimed struct {
	Request RequestID `json:"request"`
	Tool    string    `json:"tool"`
	Host    string    `json:"host"`
}

// ApprovalRequested records that a call, or the repetition of a lost one, waits for a person.
type ApprovalRequested struct {
	Turn      TurnID          `json:"turn"`
	Call      CallID          `json:"call"`
	Tool      string          `json:"tool"`
	Arguments json.RawMessage `json:"arguments,omitempty"` // canonical JSON: what the person decides on. In version 1 the model's reply alone has them
	Blob      *BlobRef        `json:"blob,omitempty"`      // all of the arguments, where they are large: Arguments is a preview of them
	Digest    string          `json:"digest"`              // BLAKE3 of tool and canonical arguments (of large ones: of their blob's hash): exactly these are approved
	Reason    string          `json:"reason"`
	Expires   Micros          `json:"expires,string"` // after which it counts as denied
}

// as implements older.
func (e ApprovalRequested) as(version int) Event {
	if version < 2 {
		e.Arguments, e.Blob = nil, nil
	}
	return e
}

// Cut reports whether the event's sentence leaves out some of the arguments.
func (e ApprovalRequested) Cut() bool {
	return e.Blob != nil || len(VisibleLine(string(e.Arguments))) > AskedBytes
}

// Bytes of a call's arguments on one line.
const (
	AskedBytes = 4000 // where a person decides on them
	sentBytes  = 200
)

// ApprovalGranted records that a person allowed the call; with arguments of theirs, if they changed them: those run, and nothing else.
type ApprovalGranted struct {
	Call      CallID          `json:"call"`
	Digest    string          `json:"digest"` // of what was asked for
	By        string          `json:"by,omitempty"`
	Arguments json.RawMessage `json:"arguments,omitempty"` // canonical JSON: what runs in place of what was asked for
}

// ApprovalDenied records that a person refused the call, or to answer its question, or, without a call, refused to let the paused turn go on.
type ApprovalDenied struct {
	Call   CallID `json:"call,omitempty"`
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// ApprovalExpired records that nobody answered in time; the call is refused.
type ApprovalExpired struct {
	Call CallID `json:"call"`
}

// Kind returns the permanent name.
func (ToolRequested) Kind() Kind     { return "tool.requested" }
func (ToolReturned) Kind() Kind      { return "tool.returned" }
func (ToolLost) Kind() Kind          { return "tool.lost" }
func (ToolRefused) Kind() Kind       { return "tool.refused" }
func (EffectClaimed) Kind() Kind     { return "effect.claimed" }
func (ApprovalRequested) Kind() Kind { return "approval.requested" }
func (ApprovalGranted) Kind() Kind   { return "approval.granted" }
func (ApprovalDenied) Kind() Kind    { return "approval.denied" }
func (ApprovalExpired) Kind() Kind   { return "approval.expired" }

func (e ToolRequested) String() string {
	return sentence("call %s was sent: %s %s", e.Call, e.Tool, LineArguments(e.Arguments, e.Blob, sentBytes))
}

func (e ToolReturned) String() string {
	verb := "returned"
	if e.Failed {
		verb = "failed"
	}
	return sentence("call %s %s: %s%s%s", e.Call, verb, line(e.Text), e.less(), e.Tree.unrecorded())
}

// less says that a command was confined less than one can be.
func (e ToolReturned) less() string {
	switch e.Sandbox {
	case "", "namespaces":
		return ""
	case "host":
		return " [it ran without a sandbox]"
	}
	return " [it ran in a lesser sandbox: " + e.Sandbox + "]"
}

func (e ToolLost) String() string {
	return sentence("call %s was lost, its effect is unknown%s", e.Call, because(e.Detail))
}

func (e ToolRefused) String() string {
	return sentence("call %s of %s was refused%s", e.Call, e.Tool, because(e.Reason))
}

func (e EffectClaimed) String() string {
	return sentence("host %s claimed the effect of %s for %s", e.Host, e.Tool, e.Request)
}

func (e ApprovalRequested) String() string {
	asked := ""
	if len(e.Arguments) > 0 {
		asked = ": " + LineArguments(e.Arguments, e.Blob, AskedBytes)
	}
	return sentence("call %s of %s waits for approval%s%s", e.Call, e.Tool, because(e.Reason), asked)
}

func (e ApprovalGranted) String() string {
	if len(e.Arguments) > 0 {
		return sentence("call %s was approved%s with other arguments: %s", e.Call, by(e.By), LineArguments(e.Arguments, nil, AskedBytes))
	}
	return sentence("call %s was approved%s", e.Call, by(e.By))
}

func (e ApprovalDenied) String() string {
	if e.Call == "" {
		return "the paused turn was refused" + by(e.By) + because(e.Reason)
	}
	return sentence("call %s was denied%s%s", e.Call, by(e.By), because(e.Reason))
}

func (e ApprovalExpired) String() string {
	return sentence("nobody answered call %s in time", e.Call)
}
