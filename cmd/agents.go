package cmd

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/actors"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

func agentsCommand(a *app) *cobra.Command {
	asJSON, watch, all := false, false, false
	var filter projections.AgentFilter
	cmd := &cobra.Command{
		Use:     "agents",
		Short:   "List agents, and show, create, configure, retire or release them",
		Long:    "List agents by name, with what they are doing. Retired agents are not listed, except with --all or --status retired.",
		Example: "  life agents\n  life agents --status waiting\n  life agents --watch\n  life agents create reviewer --model openai/gpt-5-mini --ask bash",
		Args:    noVerb,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter.Active = !all && filter.Status == ""
			return a.with(cmd.Context(), func(host reached) error {
				if watch {
					return a.watchAgents(cmd.Context(), host, filter, asJSON)
				}
				list, err := host.Agents(cmd.Context(), filter)
				if err != nil {
					return err
				}
				if asJSON {
					return a.printJSON(list)
				}
				if err := a.printAgents(list, filter); err != nil {
					return err
				}
				return a.printWaiting(cmd.Context(), host, list)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar((*string)(&filter.Status), "status", "", "only agents that are "+strings.Join(projections.AgentStatuses(), ", "))
	flags.StringVar(&filter.Model, "model", "", "only agents of this model")
	flags.StringVar((*string)(&filter.Parent), "parent", "", "only forks of this agent")
	flags.StringVar((*string)(&filter.After), "after", "", "only agents whose names come after this one")
	flags.IntVar(&filter.Limit, "limit", 0, "list at most this many agents (default: all)")
	flags.BoolVar(&all, "all", false, "also list retired agents")
	flags.BoolVar(&watch, "watch", false, "list them again whenever something changed, until interrupted")
	jsonFlag(cmd, &asJSON)
	cmd.AddCommand(showAgentCommand(a), createCommand(a), configureCommand(a), retireCommand(a), releaseCommand(a))
	return cmd
}

// watchTime is how often a list that is watched is looked at.
const watchTime = time.Second

// watchAgents prints the list whenever it changed: in place on a terminal, else below what was printed before.
func (a *app) watchAgents(ctx context.Context, host reached, filter projections.AgentFilter, asJSON bool) error {
	tick := time.NewTicker(watchTime)
	defer tick.Stop()
	var before []projections.AgentSummary
	for first := true; ; first = false {
		list, err := host.Agents(ctx, filter)
		if err != nil {
			return err
		}
		if changed := first || !reflect.DeepEqual(list, before); changed {
			before = list
			if asJSON {
				err = a.printJSON(list)
			} else {
				a.clearScreen()
				if err = a.printAgents(list, filter); err == nil {
					err = a.printWaiting(ctx, host, list)
				}
			}
			if err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (a *app) printAgents(list []projections.AgentSummary, filter projections.AgentFilter) error {
	if len(list) == 0 && filter != (projections.AgentFilter{Active: filter.Active}) {
		fmt.Fprintln(a.errs, "no agent matches")
		return nil
	}
	if len(list) == 0 {
		fmt.Fprintln(a.errs, `there are no agents; life demo shows one at work, life run "…" creates one, life agents --all lists retired ones`)
		return nil
	}
	var text bytes.Buffer
	w := table(&text)
	fmt.Fprintln(w, "AGENT\tSTATUS\tMODEL\tTURNS\tTOKENS\tCOST\tREVISION\tLAST")
	for i := range list {
		s := &list[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%d\t%s\n", s.ID, does(s), s.Model, s.Turns, s.Usage.Total(), s.Cost, s.Revision, clock(s.Updated))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	row := -2 // the heading
	for line := range strings.Lines(text.String()) {
		if row++; row < 0 {
			a.colour(faint, line)
			continue
		}
		a.colour(agentColour(&list[row]), line)
	}
	return nil
}

// agentColour draws the eye to what a person has to do something about.
func agentColour(s *projections.AgentSummary) colour {
	switch s.Status() {
	case projections.StatusQuarantined, projections.StatusBroken:
		return red
	case projections.StatusWaiting, projections.StatusPaused:
		return yellow
	case projections.StatusWorking:
		return green
	case projections.StatusRetired:
		return faint
	case projections.StatusIdle:
		if s.Outcome == events.Failed {
			return red
		}
	}
	return plain
}

func showAgentCommand(a *app) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:     "show AGENT",
		Short:   "Show what an agent is doing and how it is configured",
		Long:    "Show what an agent is doing and how it is configured. life state shows everything, also as it was at another moment.",
		Example: "  life agents show demo\n  life agents show demo --json",
		Args:    takes(1, 1, "the name of one agent"),
		RunE: func(cmd *cobra.Command, args []string) error {
			agent, err := checkAgent(args[0])
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(host reached) error {
				list, err := host.Agents(cmd.Context(), projections.AgentFilter{Agent: agent})
				if err != nil {
					return err
				}
				state, err := host.State(cmd.Context(), agent, events.NoRevision)
				if err != nil {
					return err
				}
				shown := shownAgent{Config: state.Agent.Config}
				if len(list) == 1 {
					shown.Summary = list[0]
				}
				if asJSON {
					return a.printJSON(shown)
				}
				if err := a.printAgent(&shown); err != nil {
					return err
				}
				return a.printWaiting(cmd.Context(), host, list)
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// shownAgent is an agent as life agents show prints it.
type shownAgent struct {
	Summary projections.AgentSummary `json:"summary"`
	Config  events.AgentConfig       `json:"config"`
}

func (a *app) printAgent(s *shownAgent) error {
	w := table(a.out)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	c, sum := &s.Config, &s.Summary
	row("agent", "%s", sum.ID)
	row("status", "%s", does(sum))
	if sum.Problem != "" {
		row("problem", "%s", events.Visible(sum.Problem))
	}
	if sum.Parent != "" {
		row("forked from", "%s", sum.Parent)
	}
	row("created", "%s", clock(sum.Created))
	row("last event", "%s, revision %d", clock(sum.Updated), sum.Revision)
	row("turns", "%d ended, %d messages waiting, %d tokens, %s", sum.Turns, sum.Waiting, sum.Usage.Total(), sum.Cost)
	row("model", "%s", c.Model)
	if c.Thinking != (events.Thinking{}) {
		row("thinking", "%s", c.Thinking)
	}
	if c.Editor != "" {
		row("editor", "%s", c.Editor)
	}
	row("workspace", "%s", c.Workspace)
	var tools []string
	for i := range c.Tools {
		tools = append(tools, c.Tools[i].Name)
	}
	row("tools", "%s", cmp.Or(strings.Join(tools, ", "), "none"))
	if len(c.Skills.From) > 0 {
		var skills []string
		for _, s := range c.Skills.Found {
			skills = append(skills, s.Name)
		}
		row("skills", "%s (from %s)", cmp.Or(strings.Join(skills, ", "), "none"), strings.Join(c.Skills.From, ", "))
	}
	if len(c.MCP.Servers) > 0 {
		row("MCP servers", "%s", strings.Join(c.MCP.Servers, ", "))
	}
	for _, p := range c.MCP.Problems {
		row("problem", "MCP server %s: %s", p.Server, p.Problem)
	}
	row("asks for", "%s", cmp.Or(strings.Join(c.Policy.Ask, ", "), "no tool"))
	if len(c.Policy.Deny) > 0 {
		row("denied", "%s", strings.Join(c.Policy.Deny, ", "))
	}
	row("wallet", "%s", c.Wallet)
	limits, err := events.PlainJSON(c.Limits)
	if err != nil {
		return err
	}
	row("limits", "%s", strings.Replace(string(limits), "{}", "the defaults", 1))
	if c.Prompt != "" {
		row("prompt", "%s", events.Visible(events.Clip(strings.Join(strings.Fields(c.Prompt), " "), 200)))
	}
	return w.Flush()
}

// mostWaiting is of how many agents the waiting calls are shown.
const mostWaiting = 20

// printWaiting shows what waits for a person: who is told that something does sees what.
func (a *app) printWaiting(ctx context.Context, host api.Host, list []projections.AgentSummary) error {
	shown, out := 0, seen(a.out)
	for i := range list {
		if list[i].Status() != projections.StatusWaiting {
			continue
		}
		if shown++; shown > mostWaiting {
			fmt.Fprintf(out, "\nthe calls of more than %d agents wait; life projections query approvals lists them all\n", mostWaiting)
			return nil
		}
		state, err := host.State(ctx, list[i].ID, events.NoRevision)
		if err != nil {
			fmt.Fprintf(out, "\nwhat %s waits for cannot be read: %v\n", list[i].ID, err)
			continue
		}
		calls := waitingCalls(list[i].ID, &state.Agent.Turn)
		for j := range calls {
			fmt.Fprintln(out)
			a.printAsked(out, &calls[j], shownArguments)
		}
	}
	return nil
}

// does says what an agent is doing, the most pressing first.
func does(s *projections.AgentSummary) string {
	switch status := s.Status(); {
	case status == projections.StatusBroken:
		return "cannot go on: " + events.Visible(s.Problem)
	case status == projections.StatusQuarantined:
		return "quarantined: " + s.Quarantined
	case status == projections.StatusWaiting:
		calls := make([]string, len(s.Approvals))
		for i, call := range s.Approvals {
			calls[i] = string(call)
		}
		return "waiting for approval of " + strings.Join(calls, ", ")
	case status == projections.StatusPaused:
		return "paused: " + string(s.Paused)
	case status == projections.StatusWorking:
		return "working on " + string(s.Turn)
	case status == projections.StatusIdle && s.Outcome != "":
		return "idle, last turn " + string(s.Outcome)
	default:
		return string(status)
	}
}

func createCommand(a *app) *cobra.Command {
	var f agentFlags
	var id idFlags
	cmd := &cobra.Command{
		Use:     "create AGENT",
		Short:   "Create an agent",
		Example: "  life agents create reviewer --workspace ~/src/project --ask bash",
		Args:    takes(1, 1, "the name of one agent"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var c events.AgentConfig
			if err := f.apply(a, cmd, &c, true); err != nil {
				return err
			}
			return a.command(cmd, args[0], id, func(agent events.AgentID, meta sagas.Meta) sagas.Command {
				return sagas.Create{Meta: meta, Agent: agent, Config: c}
			})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&f.once, "once", false, "retire the agent as soon as it has nothing left to do")
	id.add(cmd)
	return cmd
}

func configureCommand(a *app) *cobra.Command {
	var f agentFlags
	var id idFlags
	cmd := &cobra.Command{
		Use:     "configure AGENT",
		Short:   "Change an agent's configuration, from its next turn on",
		Long:    "Change an agent's configuration, from its next turn on. Settings without a flag stay as they are.",
		Example: "  life agents configure reviewer --model openai/gpt-5 --limit-money 2.50",
		Args:    takes(1, 1, "the name of one agent"),
		RunE: func(cmd *cobra.Command, args []string) error {
			agent, err := checkAgent(args[0])
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(host reached) error {
				state, err := host.State(cmd.Context(), agent, events.NoRevision)
				if err != nil {
					return err
				}
				c := state.Agent.Config
				if err := f.apply(a, cmd, &c, false); err != nil {
					return err
				}
				if reflect.DeepEqual(c, state.Agent.Config) {
					return usage("nothing to change: give at least one setting, such as --model; see %s --help", cmd.CommandPath())
				}
				return a.do(cmd, host, events.AgentStream(agent), sagas.Configure{Meta: newMeta(id.id), Config: c}, id)
			})
		},
	}
	f.add(cmd)
	id.add(cmd)
	return cmd
}

func retireCommand(a *app) *cobra.Command {
	var id idFlags
	reason := ""
	cmd := &cobra.Command{
		Use:     "retire AGENT",
		Short:   "Retire an agent: its history stays, but it accepts no more commands",
		Example: "  life agents retire reviewer --reason \"the project is over\"",
		Args:    takes(1, 1, "the name of one agent"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.command(cmd, args[0], id, func(_ events.AgentID, meta sagas.Meta) sagas.Command {
				return sagas.Retire{Meta: meta, Reason: reason}
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "the reason, for the record")
	id.add(cmd)
	return cmd
}

func releaseCommand(a *app) *cobra.Command {
	var id idFlags
	cmd := &cobra.Command{
		Use:     "release AGENT",
		Short:   "Release an agent that was quarantined because it kept failing",
		Example: "  life agents release reviewer",
		Args:    takes(1, 1, "the name of one agent"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.command(cmd, args[0], id, func(_ events.AgentID, meta sagas.Meta) sagas.Command {
				return sagas.Release{Meta: meta, By: a.person()}
			})
		},
	}
	id.add(cmd)
	return cmd
}

func compactCommand(a *app) *cobra.Command {
	var id idFlags
	cmd := &cobra.Command{
		Use:   "compact AGENT",
		Short: "Compact an agent's conversation before its model is asked next",
		Long: "Compact an agent's conversation before its model is asked next: everything but the newest round is summarised or dropped, as its configuration says\n" +
			"(--compaction of life agents configure). It happens by itself when the conversation outgrows the model's window. What is left out stays in\n" +
			"history: life state AGENT --at MOMENT shows the conversation as it was.",
		Example: "  life compact demo",
		Args:    takes(1, 1, "the name of one agent"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.command(cmd, args[0], id, func(_ events.AgentID, meta sagas.Meta) sagas.Command {
				return sagas.Compact{Meta: meta, By: a.person()}
			})
		},
	}
	id.add(cmd)
	return cmd
}

// idFlags are those of every verb that sends a command.
type idFlags struct {
	id     string
	asJSON bool
}

func (f *idFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.id, "id", "", "command id: a retry with the same id has no further effect")
	jsonFlag(cmd, &f.asJSON)
}

// command sends one command to an agent and prints the receipt.
func (a *app) command(cmd *cobra.Command, name string, id idFlags, made func(events.AgentID, sagas.Meta) sagas.Command) error {
	agent, err := checkAgent(name)
	if err != nil {
		return err
	}
	return a.with(cmd.Context(), func(host reached) error {
		return a.do(cmd, host, events.AgentStream(agent), made(agent, newMeta(id.id)), id)
	})
}

func (a *app) do(cmd *cobra.Command, host api.Host, stream events.Stream, command sagas.Command, id idFlags) error {
	receipt, err := host.Do(cmd.Context(), stream, command, origin())
	if err != nil {
		return err
	}
	return a.printReceipt(receipt, id.asJSON)
}

func (a *app) printReceipt(r actors.Receipt, asJSON bool) error {
	if asJSON {
		return a.printJSON(r)
	}
	line := fmt.Sprintf("accepted: %s at revision %d", r.Stream, r.Revision)
	if r.Duplicate {
		line = fmt.Sprintf("already accepted: %s at revision %d", r.Stream, r.Revision)
	}
	if r.Message != "" {
		line += ", message " + string(r.Message)
	}
	if r.Turn != "" {
		line += ", turn " + string(r.Turn)
	}
	fmt.Fprintf(a.out, "%s, position %d\n", line, r.Position)
	return nil
}
