package cmd

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"example.com/life/actors/history"
	"example.com/life/adapters/api"
	"example.com/life/events"
)

func stateCommand(a *app) *cobra.Command {
	at, asJSON := "", false
	cmd := &cobra.Command{
		Use:   "state AGENT",
		Short: "Show an agent as it is, or as it was at any moment",
		Long: "Show an agent as it is, or as it was at any moment of its past. This has no effects: no model is called and no tool runs.\n" +
			"A moment is a revision, as life history lists them; a time, of today unless it has a date; a turn (turn:3), as it ended, or as far\n" +
			"as it has come; or the reply of one of its rounds (turn:3.1).",
		Example: "  life state demo\n  life state demo --at 12 --json\n  life state demo --at 14:02:11\n  life state demo --at turn:3\n" +
			"  life state demo --at turn:3.1",
		Args: takes(1, 1, "the name of one agent"),
		RunE: func(cmd *cobra.Command, args []string) error {
			agent, err := checkAgent(args[0])
			if err != nil {
				return err
			}
			moment, err := parseMoment("at", at)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(host reached) error {
				state, err := a.stateAt(cmd.Context(), host, agent, moment)
				if err != nil {
					return err
				}
				if asJSON {
					return a.printJSON(api.NewState(state))
				}
				return printState(seen(a.out), &state)
			})
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "moment to show: "+momentHelp+" (default: the latest)")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// stateAt looks at an agent as of a moment. A revision needs no search.
func (a *app) stateAt(ctx context.Context, host reached, agent events.AgentID, m events.Moment) (history.AgentState, error) {
	at := events.NoRevision
	switch m.Form {
	case events.MomentLatest:
	case events.MomentRevision:
		at = m.Revision
	case events.MomentTime, events.MomentTurn:
		found, err := a.resolve(ctx, host, agent, m)
		if err != nil {
			return history.AgentState{}, err
		}
		at = found.Revision
	}
	return host.State(ctx, agent, at)
}

// stateMessages is how much of the conversation is shown.
const stateMessages = 6

func printState(out io.Writer, s *history.AgentState) error {
	w := table(out)
	agent := &s.Agent
	line := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	line("agent", "%s", agent.ID)
	line("revision", "%d", s.Revision)
	line("digest", "%s", s.Digest)
	line("model", "%s", agent.Config.Model)
	if agent.Config.Workspace != "" {
		line("workspace", "%s", agent.Config.Workspace)
	}
	var tools []string
	for _, tool := range agent.Config.Tools {
		tools = append(tools, tool.Name)
	}
	line("tools", "%s", strings.Join(tools, " "))
	line("mode", "%s", agent.Mode)
	turn := &agent.Turn
	switch {
	case turn.ID != "":
		line("turn", "%s, round %d, %d tool calls, %d tokens, %s", turn.ID, turn.Round, turn.ToolCalls, turn.Usage.Total(), turn.Cost)
	case agent.Last != nil:
		line("last turn", "%s", agent.Last)
	}
	if turn.Paused != "" {
		line("paused", "%s", turn.Paused)
	}
	for i := range turn.Calls {
		call := &turn.Calls[i]
		line("call", "%s %s %s %s", call.ID, call.Tool, stage(string(call.Stage)), events.VisibleLine(string(call.Arguments)))
	}
	for i, todo := range agent.Todos {
		line(map[bool]string{true: "todo"}[i == 0], "%-11s  %s", todo.Status, events.VisibleLine(todo.Text))
	}
	for _, request := range s.Ready {
		line("outstanding", "%s", request)
	}
	line("waiting", "%d messages", len(agent.Waiting))
	v := s.Vector
	line("vector", "progress %.2f, uncertainty %.2f, risk %s, errors %d, context %.2f, side effects %.2f, people %.2f",
		v.Progress, v.Uncertainty, v.Risk, v.ErrorStreak, v.ContextPressure, v.SideEffectPressure, v.HumanDependency)
	if err := w.Flush(); err != nil {
		return err
	}
	return printConversation(out, s)
}

func stage(name string) string {
	if name == "" {
		return "new"
	}
	return name
}

func printConversation(out io.Writer, s *history.AgentState) error {
	messages := s.Agent.Conversation.Messages
	if len(messages) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	if summary := s.Agent.Conversation.Summary; summary != nil {
		switch {
		case summary.Text != "":
			fmt.Fprintf(out, "%-10s %s\n", "summary", fmt.Sprintf("of the first %d messages: %s", summary.Messages, firstLine(events.Text{Inline: summary.Text})))
			if summary.Dropped > 0 {
				fmt.Fprintf(out, "… %d more are left out without a summary\n", summary.Dropped)
			}
		default:
			fmt.Fprintf(out, "… the first %d messages are left out\n", summary.Dropped)
		}
	}
	if more := len(messages) - stateMessages; more > 0 {
		fmt.Fprintf(out, "… %d earlier messages\n", more)
		messages = messages[more:]
	}
	for i := range messages {
		m := &messages[i]
		text := firstLine(m.Text)
		for _, call := range m.Calls {
			text = strings.TrimSpace(text + " → " + call.Tool)
		}
		fmt.Fprintf(out, "%-10s %s\n", m.Role, text)
	}
	return nil
}

// firstLine is a text's first line, cut to what fits.
func firstLine(text events.Text) string {
	line, _, more := strings.Cut(strings.TrimSpace(text.Inline), "\n")
	if runes := []rune(line); len(runes) > 100 {
		line, more = string(runes[:100]), true
	}
	if more || text.Blob != nil {
		line += " …"
	}
	return line
}
