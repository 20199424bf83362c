package cmd

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/spf13/cobra"

	"example.com/life/actors"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

func agentsCommand(a *app) *cobra.Command {
	asJSON := false
	var filter projections.AgentFilter
	cmd := &cobra.Command{
		Use:     "agents",
		Short:   "List agents, and create, configure, retire or release them",
		Example: "  life agents\n  life agents --status waiting\n  life agents create reviewer --model openai/gpt-5-mini --ask bash",
		Args:    noVerb,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(host reached) error {
				list, err := host.Agents(cmd.Context(), filter)
				if err != nil {
					return err
				}
				if asJSON {
					return a.printJSON(list)
				}
				return a.printAgents(list, filter)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar((*string)(&filter.Status), "status", "", "only agents that are "+strings.Join(projections.AgentStatuses(), ", "))
	flags.StringVar(&filter.Model, "model", "", "only agents of this model")
	flags.StringVar((*string)(&filter.Parent), "parent", "", "only forks of this agent")
	flags.StringVar((*string)(&filter.After), "after", "", "only agents whose names come after this one")
	flags.IntVar(&filter.Limit, "limit", 0, "list at most this many agents (default: all)")
	jsonFlag(cmd, &asJSON)
	cmd.AddCommand(createCommand(a), configureCommand(a), retireCommand(a), releaseCommand(a))
	return cmd
}

func (a *app) printAgents(list []projections.AgentSummary, filter projections.AgentFilter) error {
	if len(list) == 0 && filter != (projections.AgentFilter{}) {
		fmt.Fprintln(a.errs, "no agent matches")
		return nil
	}
	if len(list) == 0 {
		fmt.Fprintln(a.errs, `there are no agents yet; life run "Take the tour" creates one`)
		return nil
	}
	w := table(a.out)
	fmt.Fprintln(w, "AGENT\tSTATUS\tMODEL\tTURNS\tTOKENS\tCOST\tREVISION\tLAST")
	for i := range list {
		s := &list[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%d\t%s\n", s.ID, does(s), s.Model, s.Turns, s.Usage.Total(), s.Cost, s.Revision, clock(s.Updated))
	}
	return w.Flush()
}

// does says what an agent is doing, the most pressing first.
func does(s *projections.AgentSummary) string {
	switch status := s.Status(); {
	case status == projections.StatusBroken:
		return "cannot go on: " + harmless(s.Problem)
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
