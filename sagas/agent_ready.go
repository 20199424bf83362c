package sagas

import (
	"encoding/binary"
	"slices"

	"example.com/life/events"
)

// Ready implements [Saga].
func (a Agent) Ready() []Request {
	ready := make([]Request, 0, len(a.Settling)+len(a.Turn.Calls)+3)
	for _, settling := range a.Settling {
		ready = append(ready, settling)
	}
	t := &a.Turn
	if a.Undo != nil && a.Quarantined == "" && (a.Fork.OnTape() || a.Fork.Tape != events.TapeOffline) { // a fork that is offline acts on nothing
		ready = append(ready, a.askUndo())
	}
	if t.ID == "" || a.Quarantined != "" {
		return ready
	}
	if t.Advice != "" {
		ready = append(ready, AskAdvice{Outstanding: Outstanding{t.Advice}, Tenant: t.Config.Tenant, Turn: t.ID, Vector: a.Vector(), Mode: a.mode()})
	}
	if t.Budget != "" {
		ready = append(ready, AskReserve{Outstanding: Outstanding{t.Budget}, Wallet: t.Config.Wallet, Turn: t.ID, Amount: t.Requested})
	}
	if t.Knowledge != "" {
		ready = append(ready, a.askKnowledge())
	}
	if t.Model != "" {
		ready = append(ready, a.askModel())
	}
	for i := range t.Calls {
		if call := &t.Calls[i]; call.Stage == CallSent {
			granted, _ := grant(&t.Config, call.Tool)
			ready = append(ready, AskTool{
				Outstanding: Outstanding{call.Request}, Turn: t.ID, Call: call.ID, Tool: call.Tool, Arguments: call.Arguments, Blob: call.Blob,
				Workspace: t.Config.Workspace, Recorded: a.recorded(t.Config.Workspace), Repeatable: granted.Repeatable, Tenant: t.Config.Tenant,
				Masking: t.Config.Masking, Secrets: t.Config.Secrets, Skills: t.Config.Skills.Found, Editor: t.Config.Editor, Of: granted.Of,
				Answers: call.Answers,
			})
		}
	}
	if at := a.wake(); at != 0 {
		ready = append(ready, Wake{At: at})
	}
	return ready
}

// Awaits reports whether an answer to a request would be recorded.
func (a *Agent) Awaits(request events.RequestID) bool {
	t := &a.Turn
	switch request {
	case t.Advice, t.Budget, t.Knowledge, t.Model:
		return request != ""
	}
	if a.Undo != nil && a.Undo.ID == request {
		return true
	}
	for i := range t.Calls {
		if t.Calls[i].Stage == CallSent && t.Calls[i].Request == request {
			return true
		}
	}
	return slices.ContainsFunc(a.Settling, func(s AskSettle) bool { return s.ID == request })
}

func (a *Agent) askModel() AskModel {
	t := &a.Turn
	if t.Compaction != nil {
		return a.askSummary()
	}
	f := a.fitted(&a.Conversation)
	return AskModel{
		Outstanding: Outstanding{t.Model}, Turn: t.ID, Round: t.Round, Model: t.model(), System: a.system(),
		Messages: f.messages, Blobs: a.Conversation.Blobs, Tools: toolNames(&t.Config), Reply: t.Limits.ReplyTokens, Context: t.Context,
		Masking: t.Config.Masking, Thinking: t.Config.Thinking, Editor: t.Config.Editor, Bounded: t.Config.Limits.ContextTokens > 0 || a.narrow(),
		Workspace: t.Config.Workspace, Mode: t.Config.Policy.Mode, Servers: serverTools(&t.Config),
	}
}

// system is the system prompt: the agent's own, the skills that it can ask for, the servers that it has to do without, and what its operating mode asks of it.
func (a *Agent) system() string {
	prompt := a.Turn.Config.Prompt
	for _, more := range []string{offered(a.Turn.Config.Skills.Found), unusable(a.Turn.Config.MCP.Problems), hint(a.mode()), a.planned()} {
		if prompt != "" && more != "" {
			prompt += "\n\n"
		}
		prompt += more
	}
	return prompt
}

// hint is what an operating mode asks of the model; empty for most.
func hint(mode events.OperatingMode) string {
	switch mode {
	case events.ModeVerify:
		return "Operating mode: verify. Check what has been done before you do more."
	case events.ModeRecover:
		return "Operating mode: recover. Recent steps failed. Take smaller steps and repair what is broken first."
	case events.ModeAskHuman:
		return "Operating mode: ask_human. Calls that change something wait for a person. Say what you need and why."
	case events.ModeExplore, events.ModeExecute, events.ModeSleep:
	}
	return ""
}

// context digests the request that would be sent now, and says what the window leaves out. The conversation's
// own digest stands for its messages, so that the cost does not grow with it.
func (a *Agent) context() (digest events.Digest, dropped, shortened int) {
	t := &a.Turn
	next := a.closed()
	f := a.fitted(&next)
	dropped, shortened = f.dropped+next.Dropped, f.shortened
	b := make([]byte, 0, 256)
	b = appendField(b, t.model())
	b = appendField(b, a.system())
	for i := range t.Config.Tools {
		b = appendField(b, t.Config.Tools[i].Name)
		if of := &t.Config.Tools[i].Of; of.Server != "" {
			b = appendField(b, of.Description)
			b = appendField(b, of.Schema)
		}
	}
	b = binary.AppendVarint(b, t.Limits.ReplyTokens)
	b = binary.AppendVarint(b, int64(dropped))
	if a.narrow() {
		b = binary.AppendVarint(b, a.room())
	}
	if thinking := t.Config.Thinking; thinking != (events.Thinking{}) {
		b = appendField(b, string(thinking.Effort))
		b = binary.AppendVarint(b, thinking.Budget)
	}
	if editor := t.Config.Editor; editor.Anchored() {
		b = appendField(b, string(editor))
	}
	return next.Chain.Next("context", b), dropped, shortened
}

// closed is the conversation with the round's results, which join it with the next request.
func (a *Agent) closed() Conversation {
	if len(a.Turn.Calls) == 0 {
		return a.Conversation
	}
	a.Conversation.grow(len(a.Turn.Calls)) // here, where it is kept
	closed := *a
	closed.closeRound(false)
	return closed.Conversation
}

// Vector is the agent's state as homeostasis sees it.
func (a Agent) Vector() events.AgentStateVector {
	t := &a.Turn
	share := func(n, of int) float64 {
		if of == 0 {
			return 0
		}
		return min(1, float64(n)/float64(of))
	}
	pressure := 0.0
	if size := a.room(); size > 0 {
		pressure = min(1, float64(a.Conversation.Bytes)/float64(size))
	}
	return events.AgentStateVector{
		Progress:    t.Progress,
		Uncertainty: share(t.Failures, t.ToolCalls),
		Risk:        t.Risk,
		Budget: events.Budget{
			Tokens:    t.Limits.Tokens - t.Usage.Total(),
			Money:     t.Limits.Money - t.Cost,
			Time:      t.Limits.Time,
			ToolCalls: t.Limits.ToolCalls - t.ToolCalls,
			Errors:    t.Limits.Errors - t.ErrorStreak,
		},
		ErrorStreak:        t.ErrorStreak,
		ContextPressure:    pressure,
		SideEffectPressure: share(t.Effects, t.ToolCalls),
		HumanDependency:    share(t.Approvals, t.ToolCalls),
	}
}
