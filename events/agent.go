package events

import "fmt"

// AgentConfig is everything about an agent that its owner chooses. It is recorded whole, so that any past decision can be explained.
type AgentConfig struct {
	Model     string      `json:"model"`                          // "<provider>/<model>", such as scripted/tour
	Prompt    string      `json:"prompt,omitempty"`               // the system prompt
	Workspace string      `json:"workspace,omitempty"`            // absolute path of the directory its tools are confined to
	Tools     []ToolGrant `json:"tools,omitempty" command:"Name"` // the tools it may use
	Wallet    WalletID    `json:"wallet"`
	Tenant    TenantID    `json:"tenant"`
	Limits    Limits      `json:"limits"`
	Policy    Policy      `json:"policy"`

	Knowledge  KnowledgeConfig `json:"knowledge,omitzero"`  // what its turns begin with
	Compaction Compaction      `json:"compaction,omitzero"` // what becomes of a conversation that outgrows the window
	Once       bool            `json:"once,omitempty"`      // it is retired as soon as it has nothing left to do; its forks are not

	Masking MaskingLevel `json:"masking,omitempty"` // which secrets are masked in what it is sent, says and sees; "shapes" by default
	Secrets []string     `json:"secrets,omitempty"` // names of the host's secrets that its tools may use

	Thinking Thinking    `json:"thinking,omitzero"`                // how much its model thinks before it replies
	Editor   Editor      `json:"editor,omitempty"`                 // how it edits files; recorded when it was configured, from the table of models where nothing says it
	Route    []Candidate `json:"route,omitempty" command:"filled"` // where Model is "route/<name>": what that stood for when it was configured

	Skills SkillsConfig `json:"skills,omitzero"` // what it can be taught by files
	MCP    MCPConfig    `json:"mcp,omitzero"`    // servers whose tools it is granted too
}

// MCPConfig says of which MCP servers an agent is granted the tools. The tools are among the configuration's: see ToolGrant.
type MCPConfig struct {
	Servers  []string        `json:"servers,omitempty"`                   // as the host's configuration names them
	Problems []ServerProblem `json:"problems,omitempty" command:"filled"` // what was wrong with them when it was configured
}

// ServerProblem is what keeps an agent from using an MCP server, or a part of it.
type ServerProblem struct {
	Server  string `json:"server"`
	Problem string `json:"problem"`
}

// ServerTool is what an MCP server can be asked for, as the server described it when an agent was granted it. Nothing that it says of itself is relied on.
type ServerTool struct {
	Server      string `json:"server"`
	Tool        string `json:"tool,omitempty"`   // as the server names it; empty: the method says it all
	Method      string `json:"method,omitempty"` // of the protocol; empty: tools/call
	Description string `json:"description,omitempty"`
	Schema      string `json:"schema"` // of the arguments: JSON Schema, as JSON
}

// SkillsConfig says where an agent's skills come from, and which there are.
type SkillsConfig struct {
	From  []string `json:"from,omitempty"`                   // "user", "workspace", or absolute directories. Who names the workspace trusts whoever wrote it
	Found []Skill  `json:"found,omitempty" command:"filled"` // there when it was configured, by name
}

// Skill is a text that the model can ask for, as it is offered: see https://agentskills.io/specification.
type Skill struct {
	Name        string `json:"name"`
	Description string `json:"description"` // when to use it
	File        string `json:"file"`        // the absolute path of its SKILL.md
	Digest      string `json:"digest"`      // BLAKE3 of the file's bytes, in hex
}

// Editor is how an agent edits files: which tools its model is offered, and what it is shown of files.
type Editor string

// The editors. Empty is EditByText, as in agents of builds that had no other.
const (
	EditByAnchors Editor = "hashline"    // edit_file takes the anchors that read_file shows
	EditByText    Editor = "str_replace" // edit_file replaces a text by another, as str_replace does
	EditByBoth    Editor = "both"        // edit_file takes anchors, and str_replace is there too
)

// Anchored reports whether files are shown with anchors.
func (e Editor) Anchored() bool { return e == EditByAnchors || e == EditByBoth }

// Thinking is how much a model is asked to think. Zero is the model's own default.
type Thinking struct {
	Effort Effort `json:"effort,omitempty"`
	Budget int64  `json:"budget,string,omitempty"` // tokens of thinking in one reply; 0: no bound of its own
}

// String says it in a few words.
func (t Thinking) String() string {
	switch {
	case t == Thinking{}:
		return "as the model does by itself"
	case t.Budget == 0:
		return string(t.Effort)
	case t.Effort == "":
		return fmt.Sprintf("at most %d tokens", t.Budget)
	}
	return fmt.Sprintf("%s, at most %d tokens", t.Effort, t.Budget)
}

// Effort is how hard a model is asked to think.
type Effort string

// The efforts. Empty is the model's default.
const (
	EffortOff    Effort = "off" // no thinking, where the model can do without
	EffortLow    Effort = "low"
	EffortMedium Effort = "medium"
	EffortHigh   Effort = "high"
)

// Candidate is one of a route's models. Of those that fit a turn the first is asked.
type Candidate struct {
	Model      string          `json:"model"`
	Modes      []OperatingMode `json:"modes,omitempty"`              // it is for these; none: for all
	Needs      []Need          `json:"needs,omitempty"`              // it is for turns that need all of this
	MaxContext int64           `json:"max_context,string,omitempty"` // it is for conversations of at most this many tokens; 0: of any size
}

// Need is something that a turn asks of its model.
type Need string

// The needs.
const (
	NeedTools    Need = "tools"    // the agent has tools
	NeedThinking Need = "thinking" // the agent's configuration asks for it
)

// MaskingLevel says which secrets are masked before they are stored or shown. Those that the host knows always are.
type MaskingLevel string

// The levels, each with what the one before it masks.
const (
	MaskKnown  MaskingLevel = "known"  // what the host knows: its keys, tokens and passwords, and the secrets that its configuration names
	MaskShapes MaskingLevel = "shapes" // credentials of well-known shape
	MaskStrict MaskingLevel = "strict" // what the name before it says is a secret
)

// ToolGrant lets an agent use a tool. Risk and repeatability are recorded as they were when it was granted, so that decisions
// about calls can be explained from history alone.
type ToolGrant struct {
	Name       string    `json:"name"`
	Risk       RiskLevel `json:"risk" command:"filled"`
	Repeatable bool      `json:"repeatable,omitempty" command:"filled"`

	Of ServerTool `json:"of,omitzero" command:"filled"` // of an MCP server; none: the tool is the host's
}

// Limits bound one turn. Zero means the default (see sagas.DefaultLimits), never "no limit".
type Limits struct {
	Rounds        int    `json:"rounds,omitempty"`                  // model calls
	Tokens        int64  `json:"tokens,string,omitempty"`           // input and output together
	Money         Money  `json:"micro_dollars,string,omitempty"`    // model cost
	Reserve       Money  `json:"reserve,string,omitempty"`          // asked of the wallet at a time
	Time          Micros `json:"time_us,string,omitempty"`          // from start to end, waiting for a person not counted
	ToolCalls     int    `json:"tool_calls,omitempty"`              //
	Errors        int    `json:"errors,omitempty"`                  // failures in a row, after which the turn ends
	ContextTokens int64  `json:"context_tokens,string,omitempty"`   // size of the conversation sent to the model
	ReplyTokens   int64  `json:"reply_tokens,string,omitempty"`     // size of one reply
	Queue         int    `json:"queue,omitempty"`                   // messages that may wait; more are refused
	ApprovalTime  Micros `json:"approval_time_us,string,omitempty"` // after which an unanswered approval counts as denied
}

// Policy says which calls need a person.
type Policy struct {
	Ask     []string `json:"ask,omitempty"`      // tools whose calls wait for approval; "*" is every tool
	Deny    []string `json:"deny,omitempty"`     // tools whose calls are refused; stronger than Ask
	OnLost  OnLost   `json:"on_lost,omitempty"`  // what becomes of a call whose effect is unknown; "ask" by default
	OnLimit OnLimit  `json:"on_limit,omitempty"` // what becomes of a turn over its token or money limit; "ask" by default

	Mode  PermissionMode `json:"mode,omitempty"`   // what becomes of calls that no rule decides; empty: Ask and Deny say it alone
	OnAsk OnAsk          `json:"on_ask,omitempty"` // what becomes of a call that needs a person; "wait" by default
}

// PermissionMode says what becomes of calls that no rule decides.
type PermissionMode string

// The modes.
const (
	PermissionPlan  PermissionMode = "plan"         // calls that change nothing run, the others are refused
	PermissionAsk   PermissionMode = "ask"          // calls that change nothing run, the others wait for a person
	PermissionEdits PermissionMode = "accept-edits" // edits of the workspace run too
	PermissionAuto  PermissionMode = "auto"         // where commands are confined, all runs that stays in the workspace, is clear and destroys nothing
	PermissionFull  PermissionMode = "full"         // everything runs that no rule forbids, where the host agrees
)

// OnAsk names what happens to a call that needs a person.
type OnAsk string

// The outcomes for such a call.
const (
	AskWait OnAsk = "wait" // until somebody answers, or the approval expires
	AskDeny OnAsk = "deny" // it is refused at once: nobody is there to answer
)

// OnLost names what happens when a call that cannot be repeated was cut off and its effect is unknown.
type OnLost string

// The outcomes for a lost call.
const (
	LostAsk  OnLost = "ask"  // wait for a person: approve runs it again, deny tells the model
	LostTell OnLost = "tell" // tell the model that the effect is unknown
	LostEnd  OnLost = "end"  // end the turn
)

// OnLimit names what happens when a turn has used its tokens or its money.
type OnLimit string

// The outcomes for a spent limit.
const (
	LimitAsk OnLimit = "ask" // pause: approve grants the same amount again, deny ends the turn
	LimitEnd OnLimit = "end" // end the turn
)

// AgentCreated is the first event of an agent.
type AgentCreated struct {
	Agent  AgentID     `json:"agent"`
	Config AgentConfig `json:"config"`
	Masked []Masked    `json:"masked,omitempty"` // in the configuration
}

// AgentConfigured replaces an agent's configuration, from its next turn on.
type AgentConfigured struct {
	Config AgentConfig `json:"config"`
	Masked []Masked    `json:"masked,omitempty"` // in the configuration
}

// AgentRetired is the last event of an agent: it accepts nothing more.
type AgentRetired struct {
	Reason string `json:"reason,omitempty"`
}

// AgentQuarantined stops an agent that keeps failing; it accepts nothing until released.
type AgentQuarantined struct {
	Reason   string `json:"reason"`
	Failures int    `json:"failures"`
}

// AgentReleased lets a quarantined agent go on.
type AgentReleased struct {
	By string `json:"by,omitempty"`
}

// Verb says what a message that arrives while a turn runs does to it.
type Verb string

// The four verbs.
const (
	Collect   Verb = "collect"   // wait; all waiting collect messages start the next turn together
	Followup  Verb = "followup"  // wait; starts a turn of its own
	Steer     Verb = "steer"     // join the running turn before its next model call
	Interrupt Verb = "interrupt" // stop the running turn now and start with this
)

// MessageReceived records that a message was accepted. Nothing that was accepted is lost.
type MessageReceived struct {
	Message MessageID `json:"message"`
	Verb    Verb      `json:"verb"`
	From    string    `json:"from,omitempty"`
	Text
}

// MessageDelivered records that waiting messages joined a running turn.
type MessageDelivered struct {
	Turn     TurnID      `json:"turn"`
	Messages []MessageID `json:"messages"`
}

// Kind returns the permanent name.
func (AgentCreated) Kind() Kind     { return "agent.created" }
func (AgentConfigured) Kind() Kind  { return "agent.configured" }
func (AgentRetired) Kind() Kind     { return "agent.retired" }
func (AgentQuarantined) Kind() Kind { return "agent.quarantined" }
func (AgentReleased) Kind() Kind    { return "agent.released" }
func (MessageReceived) Kind() Kind  { return "message.received" }
func (MessageDelivered) Kind() Kind { return "message.delivered" }

func (e AgentCreated) String() string {
	return sentence("agent %s was created with model %s", e.Agent, e.Config.Model)
}

func (e AgentConfigured) String() string {
	return sentence("the agent was configured with model %s", e.Config.Model)
}

func (e AgentRetired) String() string { return sentence("the agent was retired%s", because(e.Reason)) }

func (e AgentQuarantined) String() string {
	return sentence("the agent was quarantined after %d failures%s", e.Failures, because(e.Reason))
}

func (e AgentReleased) String() string {
	return sentence("the agent was released from quarantine%s", by(e.By))
}

func (e MessageReceived) String() string {
	return sentence("message %s was received (%s): %s", e.Message, e.Verb, line(e.Text))
}

func (e MessageDelivered) String() string {
	return sentence("turn %s took in %s", e.Turn, list(e.Messages))
}
