package sagas

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"example.com/life/events"
)

// unanswered is what the fork does when its parent's next answer is none to anything that the fork asks now: what was held back
// may lead to the question; if nothing does, the fork goes another way than its parent.
func (a *Agent) unanswered(f Followed) Move {
	t, step := &a.Turn, f.Step
	leave := Diverge{Meta: Meta{ID: beside(step.First-1, "leave"), At: f.At}, Turn: events.NewTurnID(a.ID, step.Turn), Round: step.Round, Call: step.Call}
	open := slices.IndexFunc(t.Calls, func(c Call) bool { return c.Stage == CallSent })
	switch {
	case t.Model != "" && step.Call != "" && t.Number == step.Turn:
		leave.Detail = "the parent ran a call of " + toolOf(f.Parent, step.Call) + " here, and the fork does not"
	case t.Model != "":
		leave.Turn, leave.Round, leave.Call = t.ID, t.Round, ""
		leave.Detail = a.difference(f.Parent, step)
	case len(f.Held) > 0:
		return Move{Kind: MoveHear, Command: f.Held[0]}
	case t.Advice != "" || t.Knowledge != "":
		return Move{Kind: MoveWait}
	case open >= 0:
		leave.Turn, leave.Round, leave.Call = t.ID, t.Round, t.Calls[open].ID
		leave.Detail = fmt.Sprintf("the recording has no outcome of this call of %s: it goes on with %s", t.Calls[open].Tool, step.place())
	case step.Call != "":
		leave.Detail = "the parent ran a call of " + toolOf(f.Parent, step.Call) + " here, and the fork does not"
	default:
		leave.Detail = "the parent asked its model here, and the fork does not"
	}
	return Move{Kind: MoveLeave, Command: leave}
}

// followOn is what the fork does where the recording ends.
func (a *Agent) followOn(f Followed) Move {
	t := &a.Turn
	leave := Diverge{Meta: Meta{ID: beside(a.Fork.Until, "leave"), At: f.At}, Turn: t.ID, Round: t.Round, Detail: cmp.Or(f.Ended, "the recording ends here")}
	open := slices.IndexFunc(t.Calls, func(c Call) bool { return c.Stage == CallSent })
	switch {
	case t.Model != "" || t.RetryAt != 0 || t.Budget != "" || a.Undo != nil:
	case len(f.Held) > 0:
		return Move{Kind: MoveHear, Command: f.Held[0]}
	case open >= 0:
		leave.Call = t.Calls[open].ID
	default:
		return Move{Kind: MoveWait}
	}
	return Move{Kind: MoveLeave, Command: leave}
}

// difference says in what the fork's request to its model is another than the parent's.
func (a *Agent) difference(parent *Agent, step *Step) string {
	mine, theirs := &a.Turn, &parent.Turn
	if step.Call != "" || theirs.Model == "" || mine.Number != theirs.Number || mine.Round != theirs.Round {
		return "the parent was not asking its model here: the recording goes on with " + step.place()
	}
	var parts []string
	note := func(differs bool, format string, args ...any) {
		if differs {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	note(mine.model() != theirs.model(), "the model is %s, was %s", mine.model(), theirs.model())
	note(mine.Config.Prompt != theirs.Config.Prompt, "the prompt is another")
	note(hint(a.mode()) != hint(parent.mode()), "the operating mode is %s, was %s", a.mode(), parent.mode())
	note(!slices.Equal(toolNames(&mine.Config), toolNames(&theirs.Config)), "the tools are %s, were %s",
		list(toolNames(&mine.Config)), list(toolNames(&theirs.Config)))
	note(!slices.Equal(serverTools(&mine.Config), serverTools(&theirs.Config)), "tools of MCP servers are described otherwise")
	note(!slices.Equal(mine.Config.MCP.Problems, theirs.Config.MCP.Problems), "other MCP servers cannot be used")
	note(mine.Limits.ReplyTokens != theirs.Limits.ReplyTokens, "the most tokens of a reply are %d, were %d", mine.Limits.ReplyTokens, theirs.Limits.ReplyTokens)
	note(a.Conversation.Chain != parent.Conversation.Chain, "the conversation is another")
	if len(parts) == 0 {
		return "the window onto the conversation is another"
	}
	return strings.Join(parts, "; ")
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func toolOf(a *Agent, id events.CallID) string {
	if call := a.Turn.call(id); call != nil {
		return call.Tool
	}
	return "a tool"
}

// place names the step in a sentence.
func (s *Step) place() string {
	return fmt.Sprintf("%s, turn %d, round %d", s.Kind, s.Turn, s.Round)
}

// input is what the parent was sent, for the fork.
func (a *Agent) input(f Followed) Command {
	id, step := f.meta(), f.Step
	switch c := step.Command.(type) {
	case Send:
		c.Meta = id
		if a.Fork.Edit != nil && a.Fork.Edit.Revision == step.First {
			c.Text = a.Fork.Edit.Text
		}
		return c
	case Approve:
		c.Meta = id
		return c
	case Deny:
		c.Meta = id
		return c
	case Answer:
		c.Meta = id
		return c
	case Cancel:
		c.Meta = id
		if c.Turn != "" {
			c.Turn = events.NewTurnID(a.ID, c.Turn.Number())
		}
		return c
	case Configure:
		c.Meta, c.Config = id, a.reconfigured(c.Config)
		return c
	case Compact:
		c.Meta = id
		return c
	case Undo:
		c.Meta = id
		return c
	case Revoke:
		if stream, revision, err := c.Remembered.Split(); err == nil && stream == events.AgentStream(f.Parent.ID) && revision > a.Fork.At { // the fork remembers it by an event of its own
			if i := slices.IndexFunc(f.Parent.Remembered, func(r Remembered) bool { return r.At == c.Remembered }); i >= 0 {
				theirs := f.Parent.Remembered[i]
				if mine := slices.IndexFunc(a.Remembered, func(r Remembered) bool { return r.Key == theirs.Key && r.Tool == theirs.Tool }); mine >= 0 {
					c.Remembered = a.Remembered[mine].At
				}
			}
		}
		c.Meta = id
		return c
	}
	return Finish{Meta: id} // there is no other
}

// reconfigured is a configuration of the parent, with what the fork has otherwise.
func (a *Agent) reconfigured(c events.AgentConfig) events.AgentConfig {
	c.Wallet, c.Workspace = a.Config.Wallet, a.Config.Workspace
	for _, name := range a.Fork.Changed {
		switch name {
		case "model":
			c.Model, c.Route = a.Config.Model, a.Config.Route
		case "prompt":
			c.Prompt = a.Config.Prompt
		case "tools":
			c.Tools = mixed(&a.Config, &c)
		case "tenant":
			c.Tenant = a.Config.Tenant
		case "limits":
			c.Limits = a.Config.Limits
		case "policy":
			c.Policy = a.Config.Policy
		case "knowledge":
			c.Knowledge = a.Config.Knowledge
		case "editor":
			c.Editor = a.Config.Editor
		case "thinking":
			c.Thinking = a.Config.Thinking
		case "compaction":
			c.Compaction = a.Config.Compaction
		case "masking":
			c.Masking = a.Config.Masking
		case "secrets":
			c.Secrets = a.Config.Secrets
		case "skills":
			c.Skills = a.Config.Skills
		case "mcp":
			c.MCP, c.Tools = a.Config.MCP, mixed(&c, &a.Config)
		}
	}
	return c
}

// Skipped is the command that records why the fork did not accept a step; nil when it answers nothing that is outstanding.
func Skipped(step *Step, err error, at events.Micros) Command {
	var refused *RefusalError
	if !errors.As(err, &refused) {
		return nil
	}
	return Skip{Meta: Meta{ID: beside(step.Last, "skip"), At: at}, Revision: step.First, What: step.Kind, Reason: refused.Detail}
}
