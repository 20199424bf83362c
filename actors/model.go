package actors

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"example.com/life/events"
	"example.com/life/sagas"
)

// Model asks one provider's models. Its conformance suite is actorstest.TestModel. It asks once: retries belong to the turn,
// which records every attempt.
type Model interface {
	// Ask returns the model's complete reply. As it streams in, each piece is passed to delta, which may be nil and must not block, from
	// one goroutine at a time, and never after Ask has returned. A reply is returned only if the provider said that it is complete; everything else is a *ModelError.
	// When ctx ends, the call is aborted and ctx's error is returned.
	// A request that is refused for the way it was put may be put in another way within one Ask: a refusal costs nothing.
	Ask(ctx context.Context, question ModelRequest, delta func(Delta)) (ModelResponse, error)
}

// ModelRequest is one request to a model.
type ModelRequest struct {
	Model    string // without the provider's name
	System   string
	Messages []sagas.Message // every Text is whole: blobs have been read
	Tools    []ToolSpec
	Reply    int64         // maximum tokens of the reply; 0 leaves it to the provider
	Context  events.Digest // of the whole request; equal digests mean equal requests
	Thinking events.Thinking
	Bounded  bool // the size of the conversation is as the agent's configuration wants it, or as a failure taught
}

// Delta is a piece of a reply that streams in. A call's first piece names its tool, its last one says that all of it has come; a call that is cut off
// has none. What a call is run with is what its reply holds, never its pieces.
type Delta struct {
	Block  int              `json:"block"` // which of the blocks that stream in, from 0
	Kind   events.BlockKind `json:"kind"`  // of the block: text, thinking, or call, of which the pieces are its arguments as the model writes them
	Offset int              `json:"offset"`
	Text   string           `json:"text"`           // from that many bytes of the block on
	Tool   string           `json:"tool,omitempty"` // of a call's first piece, which has no text
	Done   bool             `json:"done,omitempty"` // of a call's last piece, which has no text either
}

// Block is one part of a reply; see events.Block.
type Block struct {
	Kind  events.BlockKind
	Bytes int    // of a text: how many of the reply's text are its own
	Text  string // of thinking, and of an item: what may be shown to people
	Raw   string // the provider's own form of it: one JSON value, or empty
}

// ModelResponse is a model's complete reply.
type ModelResponse struct {
	Text  string
	Calls []events.ModelCall // Arguments as the model wrote them: JSON, or a JSON string holding what was not JSON
	Stop  events.StopReason
	Met   events.Bound // what a reply of stop "length" met, where it is not the limit that was asked for
	Model string       // as the provider names it
	Usage events.Usage
	Fault events.Fault // why the reply is no answer

	Blocks []Block // its layout, nil for the text and then the calls; see events.ModelReplied
}

// ModelError is a failed attempt.
type ModelError struct {
	Class      events.ErrorClass
	RetryAfter time.Duration // what the provider asked for; 0 when it said nothing
	Detail     string        // what failed, on what; never a secret
	Usage      events.Usage  // what the attempt cost nonetheless
	Room       int64         // tokens of conversation that the model's window holds, where the failure tells
}

// Error says what class of failure it was, and the detail.
func (e *ModelError) Error() string { return fmt.Sprintf("model %s: %s", e.Class, e.Detail) }

// Prices knows what models cost.
type Prices interface {
	// Cost prices a usage; priced is false for a model that the table does not know.
	Cost(model string, usage events.Usage) (cost events.Money, priced bool)
}

// Editors knows which way of editing files models do best with.
type Editors interface {
	Editor(model string) events.Editor
}

// Tool is something an agent can do. Its conformance suite is actorstest.TestTool.
type Tool interface {
	// Spec describes the tool. It never changes.
	Spec() ToolSpec
	// Run does it. What the model should see of a failure is a result with Failed; an error means that Run could not find
	// out, and the host records it as a failure too. When ctx ends, whatever was started is gone when Run returns.
	Run(ctx context.Context, use ToolUse) (ToolResult, error)
}

// ToolSpec describes a tool to models, policies and people.
type ToolSpec struct {
	Name        string
	Description string          // what the model reads
	Schema      json.RawMessage // JSON Schema of the arguments
	Risk        events.RiskLevel
	Repeatable  bool          // running it twice does what running it once does; others are claimed first and never repeated silently
	Inside      bool          // it changes nothing outside Life's own history: the markers of masked secrets may stand in its arguments
	Plain       *PlainSpec    // of a tool that is another for agents that edit by text; nil: it is the same for all
	Timeout     time.Duration // after which it is cut off; 0 means the host's default
}

// PlainSpec is how a tool describes itself to agents that edit by text, without anchors.
type PlainSpec struct {
	Description string
	Schema      json.RawMessage
}

// ToolUse is one call of a tool.
type ToolUse struct {
	Agent     events.AgentID
	Request   events.RequestID  // the same for every attempt: a key for idempotent effects
	Workspace string            // absolute path; empty when the agent has none
	Arguments json.RawMessage   // canonical JSON, not yet validated
	Editor    events.Editor     // how the agent edits files
	Secrets   Secrets           // nil where a tool is run without a host
	Skills    []events.Skill    // those that the agent is offered
	Of        events.ServerTool // of an MCP server, as it was granted
	Answers   []string          // of people, to what the call asked so far; see [ToolResult.Ask]
	Knowledge Knowledge         // the notes of the agent's tenant; nil where a tool is run without a host
	Watchdog  *Watchdog         // nil: the host is the only one, and what it began may run as long as it lives
}

// Watchdog is what keeps a call that cannot be repeated from outliving its host's right to make it. A tool that starts a process has it ended, by something
// that runs beside the host, when the time has come that GoesOnUntil last said, by a clock that does not stand while the machine sleeps (CLOCK_BOOTTIME); 0: it may not
// run. It is asked before the process begins, as the host may be stopped after that, and Every so often.
type Watchdog struct {
	GoesOnUntil func() time.Duration
	Every       time.Duration
}

// ToolResult is what a tool gave back.
type ToolResult struct {
	Text   string          // what the model sees; at most events.InlineLimit bytes, cut by the tool
	Full   *events.BlobRef // the whole output, where Text is a part of it
	Failed bool

	Sandbox  string // how well a command was confined: namespaces, bwrap, landlock or host; empty: the call ran none
	Confined string // what confined it, as a hash

	// Ask is what a person has to answer before the call can go on; nothing else of the result counts then. Nothing waits for the answer: the call is made again
	// with it, as another request, or is refused. A tool that asks more than once gets all answers, in the order of its questions.
	Ask *events.Question

	masked []events.Masked // by the call itself
}

// bytesPerToken estimates tokens from sizes, where no provider counts them.
const bytesPerToken = 4

// estimate is what an attempt at a model has used, from the sizes of what was sent and of what has come of the reply; false: nothing has come, and
// whether anything was charged is not known.
func (h *Host) estimate(ask *sagas.AskModel, received int64) (events.Usage, bool) {
	if received == 0 {
		return events.Usage{}, false
	}
	sent := int64(len(ask.System))
	for _, name := range ask.Tools {
		if tool, known := h.toolbox[name]; known {
			spec := tool.Spec()
			sent += int64(len(spec.Name) + len(spec.Description) + len(spec.Schema))
		}
	}
	for i := range ask.Servers {
		sent += int64(len(ask.Servers[i].Name) + len(ask.Servers[i].Of.Description) + len(ask.Servers[i].Of.Schema))
	}
	for i := range ask.Messages {
		m := &ask.Messages[i]
		sent += m.Text.Size()
		for j := range m.Calls {
			sent += int64(len(m.Calls[j].Tool) + len(m.Calls[j].Arguments))
		}
	}
	tokens := func(bytes int64) int64 { return (bytes + bytesPerToken - 1) / bytesPerToken }
	return events.Usage{Input: tokens(sent), Output: tokens(received), Estimated: true}, true
}

// before implements behavior.
func (a *agent) before(command sagas.Command) {
	if _, message := command.(sagas.Send); message && a.saga.Turn.ID == "" && (len(a.saga.Config.Skills.From) > 0 || len(a.saga.Config.MCP.Servers) > 0) {
		a.renew() // files, or what servers offer, may have changed since the last turn
	}
	a.cutOff(command)
}

// cutOff records what came of a reply before a command is decided that ends its turn: it was generated, and will be charged. If we die in
// between, the attempt has failed and the command was not accepted; the model is asked again.
func (a *agent) cutOff(command sagas.Command) {
	switch c := command.(type) {
	case sagas.Cancel, sagas.Retire, sagas.Tick:
	case sagas.Send:
		if c.Verb != events.Interrupt {
			return
		}
	default:
		return
	}
	t := &a.saga.Turn
	under, is := a.running[t.Model].(*errand)
	if t.Model == "" || !is || t.Failed+1 >= sagas.MaxFailures {
		return
	}
	usage, came := a.usageOf(under)
	if !came {
		return
	}
	decided, err := a.saga.Decide(command)
	if err != nil || !slices.ContainsFunc(decided, func(e events.Event) bool { _, ends := e.(events.TurnEnded); return ends }) {
		return
	}
	cost, priced := a.host.prices.Cost(under.about.Model, usage)
	a.command(sagas.ReplyFailed{
		Meta: meta(t.Model), Request: t.Model, Class: events.ErrorCancelled, Detail: "its turn ended while it replied",
		Usage: usage, Cost: cost, Priced: priced,
	}, events.Ref(t.Model))
}

// usageOf estimates what the attempt that is under way has used. What it was sent is what the saga would send now: the request is outstanding.
func (a *agent) usageOf(under *errand) (usage events.Usage, came bool) {
	received := under.received.Load()
	if received == 0 {
		return usage, false
	}
	for _, request := range a.saga.Ready() {
		if ask, is := request.(sagas.AskModel); is {
			return a.host.estimate(&ask, received)
		}
	}
	return usage, false
}

// Permissions says what calls of tools are before they run, and what the rules of the host say of them.
type Permissions interface {
	// Judge says what a call is, and false where it has nothing to say: no mode asks for it, and there are no rules.
	Judge(ctx context.Context, c ToJudge) (sagas.Finding, bool)
}

// ToJudge is a call that a model asks for.
type ToJudge struct {
	Workspace string
	Mode      events.PermissionMode // of the agent
	Tool      string
	Class     events.CallClass // of the tool's calls, as far as its risk tells
	Arguments json.RawMessage
}

// findingsMost bounds what is recorded of the commands of one reply's calls, in bytes.
const findingsMost = 64 << 10

// judge asks the host's policy about the calls of a reply.
func (h *Host) judge(ctx context.Context, what *sagas.AskModel, calls []events.ModelCall) (findings []sagas.Finding) {
	if h.permissions == nil {
		return nil
	}
	size := 0
	for i := range calls {
		tool, known := h.tool(calls[i].Tool)
		if !known || !slices.Contains(what.Tools, calls[i].Tool) {
			continue // it is refused
		}
		found, said := h.permissions.Judge(ctx, ToJudge{
			Workspace: what.Workspace, Mode: what.Mode, Tool: calls[i].Tool, Class: sagas.ClassOf(tool.Spec().Risk), Arguments: calls[i].Arguments,
		})
		if !said {
			continue
		}
		for _, c := range found.Commands {
			size += len(c.Text) + len(c.Why) + len(c.Rule) + 64
		}
		if size > findingsMost {
			found.More, found.Commands = found.More+len(found.Commands), nil
		}
		found.Call = i
		findings = append(findings, found)
	}
	return findings
}
