package sagas

import (
	"encoding/json"

	"example.com/life/events"
)

// Commands to an agent from outside. Their tags say what they are in JSON, over HTTP and on the bus; see [strictjson].
type (
	// Create creates an agent; it is the first command of its stream.
	Create struct {
		Meta
		Agent  events.AgentID     `json:"agent,omitempty"`
		Config events.AgentConfig `json:"config"`
		Masked []events.Masked    `json:"-"` // the host masks, and counts
	}
	// Configure replaces the configuration, from the next turn on.
	Configure struct {
		Meta
		Config events.AgentConfig `json:"config"`
		Masked []events.Masked    `json:"-"`
	}
	// Send gives the agent a message.
	Send struct {
		Meta
		events.Text
		Verb events.Verb `json:"verb"`
		From string      `json:"from,omitempty"`
	}
	// Cancel stops the running turn.
	Cancel struct {
		Meta
		Turn events.TurnID `json:"turn,omitempty"` // empty: the running turn
		By   string        `json:"by,omitempty"`
	}
	// Approve lets a waiting call run or, when Call is empty, resumes a paused turn. An answer that names its turn is for what waits in that turn: it is
	// refused when the agent has moved on. Without one it is for whatever goes by that name now.
	Approve struct {
		Meta
		Turn   events.TurnID `json:"turn,omitempty"`
		Call   events.CallID `json:"call,omitempty"`
		Digest string        `json:"digest,omitempty"` // if set, only these arguments are approved; see sameDigest
		Again  bool          `json:"again,omitempty"`  // run a call once more whose effect is unknown: an answer that names its turn has to say so
		By     string        `json:"by,omitempty"`

		Scope     events.Scope    `json:"scope,omitempty"`             // what it is remembered for; once by default
		Lasting   events.Micros   `json:"lasting_us,string,omitempty"` // how long it is remembered; 8 hours by default
		Arguments json.RawMessage `json:"arguments,omitempty"`         // what is to run in place of what was asked for
	}
	// Revoke ends a remembered approval. A retired agent's can be revoked too: it may be remembered for others.
	Revoke struct {
		Meta
		Remembered events.Ref `json:"remembered"` // the event that recorded it
		By         string     `json:"by,omitempty"`
		Reason     string     `json:"reason,omitempty"`
	}
	// Deny refuses a waiting call or, when Call is empty, ends a paused turn. Turn and Digest are as in Approve.
	Deny struct {
		Meta
		Turn   events.TurnID `json:"turn,omitempty"`
		Call   events.CallID `json:"call,omitempty"`
		Digest string        `json:"digest,omitempty"`
		By     string        `json:"by,omitempty"`
		Reason string        `json:"reason,omitempty"`
	}
	// Compact has the conversation compacted, before the model is asked the next time.
	Compact struct {
		Meta
		By string `json:"by,omitempty"`
	}
	// Retire retires the agent: it accepts no more commands.
	Retire struct {
		Meta
		Reason string `json:"reason,omitempty"`
	}
	// Quarantine stops an agent that keeps failing.
	Quarantine struct {
		Meta
		Reason   string
		Failures int
	}
	// Release ends the quarantine of an agent.
	Release struct {
		Meta
		By string `json:"by,omitempty"`
	}
)

// Responses to an agent's requests, and its clock.
type (
	// RecordAdvice is the response to AskAdvice.
	RecordAdvice struct {
		Meta
		Request events.RequestID
		Mode    events.OperatingMode
		Because []string
	}
	// AdviceTimeout says that no advice arrived in time.
	AdviceTimeout struct {
		Meta
		Request events.RequestID
		Detail  string
	}
	// RecordRecall is the response to AskKnowledge: the matching notes, best first. Notes beyond the requested number are dropped.
	RecordRecall struct {
		Meta
		Request  events.RequestID
		Notes    []events.RecalledNote
		Position events.Position // up to which history was searched
	}
	// RecallTimeout says that no response to AskKnowledge arrived in time.
	RecallTimeout struct {
		Meta
		Request events.RequestID
		Detail  string
	}
	// RecordReservation is the response to AskReserve.
	RecordReservation struct {
		Meta
		Request events.RequestID
		Amount  events.Money
	}
	// ReservationRefused is the response to AskReserve when the wallet refused or could not be reached.
	ReservationRefused struct {
		Meta
		Request   events.RequestID
		Available events.Money
		Reason    string
	}
	// RecordReply is the response to AskModel.
	RecordReply struct {
		Meta
		Request  events.RequestID
		Text     events.Text
		Calls    []events.ModelCall
		Withheld string // why the calls are not there: the reply is too large to be stored
		Stop     events.StopReason
		Met      events.Bound
		Model    string
		Usage    events.Usage
		Cost     events.Money
		Priced   bool
		Duration events.Micros
		Former   bool // recalled from a build that counted repeated calls without regard to their results
		Fault    events.Fault
		Blocks   []events.Block
		Unfit    string // recalled: why it did not become the summary that it was asked for as
		Unwarned bool   // recalled: it led to no warning of a limit, as in builds that had none

		Findings []Finding // what the host's policy says of the calls; of those that are not here it says nothing
	}
	// ReplyFailed is the response to AskModel when the attempt failed.
	ReplyFailed struct {
		Meta
		Request    events.RequestID
		Class      events.ErrorClass
		Detail     string
		RetryAfter events.Micros // what the provider asked for; 0 when it said nothing
		Usage      events.Usage  // what it cost nonetheless
		Cost       events.Money
		Priced     bool
		Room       int64 // tokens of conversation that the window holds; 0 when the failure does not tell
		Unwarned   bool  // as in RecordReply
	}
	// RecordResult is the response to AskTool.
	RecordResult struct {
		Meta
		Request  events.RequestID
		Call     events.CallID
		Text     events.Text
		Full     *events.BlobRef
		Failed   bool
		Duration events.Micros
		Before   *events.Tree // the workspace before it, and before the calls beside it, where it was not as last recorded
		Tree     *events.Tree // the workspace as the call left it, if its tool may change files
		Sandbox  string       // how well a command was confined; empty: the call ran none
		Confined string       // what confined it
	}
	// RecordLoss is the response to AskTool when the call's effect had already started, cannot be repeated, and its result is unknown.
	RecordLoss struct {
		Meta
		Request events.RequestID
		Call    events.CallID
		Detail  string
		Host    string // that began it
	}
	// RecordSettlement is the response to AskSettle.
	RecordSettlement struct {
		Meta
		Request  events.RequestID
		Released events.Money
	}
	// Tick says that the time of a Wake has come.
	Tick struct {
		Meta
	}
	// Recover says that the agent was reloaded from its history. A model call that was in flight is sent again.
	Recover struct {
		Meta
	}
)

// Finding is what the host's policy says of one of a reply's calls.
type Finding struct {
	Call int `json:"place,omitempty"` // in the reply
	events.Finding
}

// Abandon ends a turn whose attempts at the model were cut off too often: each may have cost what a reply costs, and nobody knows.
type Abandon struct {
	Meta
	Reason events.Reason
	Detail string
}

// Requests of an agent.
type (
	// AskAdvice asks homeostasis for an operating mode. It is advisory: without a response in time the turn continues.
	AskAdvice struct {
		Outstanding
		Tenant events.TenantID
		Turn   events.TurnID
		Vector events.AgentStateVector
		Mode   events.OperatingMode // the last one
	}
	// AskKnowledge asks for notes that match a text. It is advisory, as AskAdvice is.
	AskKnowledge struct {
		Outstanding
		Tenant events.TenantID
		Turn   events.TurnID
		Text   string
		Tokens int64 // of the prompt, at most
		Notes  int   // at most
		Near   []events.NoteID
	}
	// AskReserve asks the wallet to reserve money. It fails closed: no reservation, no model call.
	AskReserve struct {
		Outstanding
		Wallet events.WalletID
		Turn   events.TurnID
		Amount events.Money
	}
	// AskModel asks the provider for the next reply.
	AskModel struct {
		Outstanding
		Turn     events.TurnID
		Round    int
		Model    string
		System   string
		Messages []Message // shared with the saga: read only. The first may be a summary of those that were left out
		Blobs    bool      // whether the text of some message is in a blob
		Masking  events.MaskingLevel
		Tools    []string
		Reply    int64 // maximum tokens of the reply
		Thinking events.Thinking
		Editor   events.Editor
		Context  events.Digest
		Summary  bool // it is no reply of the turn's: nobody is shown it as it comes
		Bounded  bool // the configuration, or a failure, says how long the conversation may be: tables of models do not count

		Workspace string
		Mode      events.PermissionMode
		Servers   []events.ToolGrant // those of Tools that are of MCP servers
	}
	// AskTool runs a call.
	AskTool struct {
		Outstanding
		Turn       events.TurnID
		Tenant     events.TenantID
		Call       events.CallID
		Tool       string
		Arguments  []byte          // canonical JSON
		Blob       *events.BlobRef // all of the arguments, where Arguments is a preview
		Workspace  string
		Recorded   *events.Tree // of the workspace, when its files were last recorded; nil: never
		Repeatable bool
		Masking    events.MaskingLevel
		Secrets    []string // of the host's, which it may use
		Skills     []events.Skill
		Editor     events.Editor
		Of         events.ServerTool // of an MCP server; none: the tool is the host's
		Answers    []string          // to what the call asked so far
	}
	// AskSettle tells the wallet what a turn cost; the rest of its reservation is released.
	AskSettle struct {
		Outstanding
		Wallet events.WalletID
		Turn   events.TurnID
		Spent  events.Money
	}
	// Wake asks for a Tick at a time: a retry, an approval's expiry, or the turn's time limit, whichever is first.
	Wake struct {
		Outstanding
		At events.Micros
	}
)

// Commands to a wallet.
type (
	// OpenWallet creates a wallet; it is the first command of its stream.
	OpenWallet struct {
		Meta
		Wallet events.WalletID `json:"-"` // its stream says it
		Credit events.Money    `json:"micro_dollars,string"`
	}
	// Credit adds money.
	Credit struct {
		Meta
		Amount events.Money `json:"micro_dollars,string"`
		By     string       `json:"by,omitempty"`
		Memo   string       `json:"memo,omitempty"`
	}
	// Reserve reserves money for a turn.
	Reserve struct {
		Meta
		Request events.RequestID
		Turn    events.TurnID
		Amount  events.Money
	}
	// Settle ends a turn's reservations.
	Settle struct {
		Meta
		Request events.RequestID
		Turn    events.TurnID
		Spent   events.Money

		Unwarned bool // as in RecordReply
	}
)

// Adopt replaces a tenant's homeostasis rules.
type Adopt struct {
	Meta
	Rules []events.Rule `json:"rules"`
	By    string        `json:"by,omitempty"`
}

// Commands to a tenant's catalogue of projections.
type (
	// AddProjection declares a projection, or replaces its text.
	AddProjection struct {
		Meta
		Name    string      `json:"-"` // the text says it
		Version int         `json:"-"`
		Source  events.Text `json:"source" command:"Inline"`
		By      string      `json:"by,omitempty"`
	}
	// RemoveProjection removes a declared projection.
	RemoveProjection struct {
		Meta
		Name   string `json:"-"` // the route says it
		By     string `json:"by,omitempty"`
		Reason string `json:"reason,omitempty"`
	}
	// SkipEvent has a projection leave out an event that it cannot fold.
	SkipEvent struct {
		Meta
		Name     string          `json:"-"` // the route says it
		Position events.Position `json:"position,string"`
		Event    events.Ref      `json:"-"` // the host fills in which event stands there
		Of       events.Kind     `json:"-"`
		Reason   string          `json:"reason"`
		By       string          `json:"by"`
	}
)
