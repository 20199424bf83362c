package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas"
)

func approveCommand(a *app) *cobra.Command {
	var f waitFlags
	digest := ""
	cmd := &cobra.Command{
		Use:   "approve AGENT [CALL]",
		Short: "Approve a waiting call, or resume a paused turn",
		Long: "Approve a waiting call, or resume a paused turn. Exactly the requested arguments run. Without CALL, the only waiting call is\n" +
			"approved; if several wait, name one. With --digest, the call is approved only if its arguments have that digest.",
		Example: "  life approve demo\n  life approve demo 2.1",
		Args:    takes(1, 2, "an agent and at most one call"),
		RunE: func(cmd *cobra.Command, args []string) error {
			agent, err := checkAgent(args[0])
			if err != nil {
				return err
			}
			call, err := a.waitingCall(cmd.Context(), agent, args[1:])
			if err != nil {
				return err
			}
			return f.set(a, cmd, agent, func(m sagas.Meta) sagas.Command {
				return sagas.Approve{Meta: m, Call: call, Digest: digest, By: a.person()}
			})
		},
	}
	cmd.Flags().StringVar(&digest, "digest", "", "approve only the arguments with this digest")
	f.add(cmd)
	return cmd
}

func denyCommand(a *app) *cobra.Command {
	var f waitFlags
	reason := ""
	cmd := &cobra.Command{
		Use:     "deny AGENT [CALL]",
		Short:   "Deny a waiting call, or end a paused turn",
		Long:    "Deny a waiting call, or end a paused turn. The model sees the denial. Without CALL, the only waiting call is denied.",
		Example: "  life deny demo --reason \"not on a Friday\"",
		Args:    takes(1, 2, "an agent and at most one call"),
		RunE: func(cmd *cobra.Command, args []string) error {
			agent, err := checkAgent(args[0])
			if err != nil {
				return err
			}
			call, err := a.waitingCall(cmd.Context(), agent, args[1:])
			if err != nil {
				return err
			}
			return f.set(a, cmd, agent, func(m sagas.Meta) sagas.Command {
				return sagas.Deny{Meta: m, Call: call, By: a.person(), Reason: reason}
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "the reason, which the model sees")
	f.add(cmd)
	return cmd
}

// waitingCall is the call that was named, or the only one that waits; empty for a paused turn.
func (a *app) waitingCall(ctx context.Context, agent events.AgentID, named []string) (call events.CallID, err error) {
	if len(named) == 1 {
		if named[0] == "" {
			return "", usage("the call is empty; name one such as 1.1, or none")
		}
		return events.CallID(named[0]), nil
	}
	err = a.with(ctx, func(host reached) error {
		state, err := host.State(ctx, agent, events.NoRevision)
		if err != nil {
			return err
		}
		switch calls := waitingCalls(&state.Agent.Turn); len(calls) {
		case 0:
			return nil
		case 1:
			call = calls[0]
			return nil
		default:
			var lines strings.Builder
			a.nextSteps(&lines, &result{Agent: agent, Waiting: calls})
			return usage("%d calls wait; name one:\n%s", len(calls), strings.TrimSuffix(lines.String(), "\n"))
		}
	})
	return call, err
}

func cancelCommand(a *app) *cobra.Command {
	var id idFlags
	turn := ""
	cmd := &cobra.Command{
		Use:     "cancel AGENT",
		Short:   "Cancel an agent's running turn",
		Long:    "Cancel an agent's running turn. A running model call is aborted, and the whole process tree of a running command is killed.",
		Example: "  life cancel demo",
		Args:    takes(1, 1, "the name of one agent"),
		RunE: func(cmd *cobra.Command, args []string) error {
			agent, err := checkAgent(args[0])
			if err != nil {
				return err
			}
			if owner := events.TurnID(turn).Agent(); turn != "" && owner != agent {
				return usage("--turn is %q: a turn of %s is named %s", turn, agent, fmt.Sprintf("%s/1", agent))
			}
			return a.with(cmd.Context(), func(host reached) error {
				return a.cancel(cmd.Context(), host, agent, sagas.Cancel{Meta: newMeta(id.id), Turn: events.TurnID(turn), By: a.person()}, id.asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&turn, "turn", "", "cancel only this turn, such as demo/3 (default: the running turn)")
	id.add(cmd)
	return cmd
}

// cancel stops a turn. In this process it also waits until the wallet has what the turn cost: nobody else would see to that.
func (a *app) cancel(ctx context.Context, host reached, agent events.AgentID, command sagas.Cancel, asJSON bool) (err error) {
	var receipt actors.Receipt
	act := func() (actors.Receipt, error) {
		receipt, err = host.Do(ctx, events.AgentStream(agent), command, origin())
		return receipt, err
	}
	if host.here {
		_, err = a.await(ctx, host, agent, &view{app: &app{out: io.Discard, errs: io.Discard}}, act)
	} else {
		_, err = act()
	}
	var before *repeated
	if err != nil && !errors.As(err, &before) {
		return err
	}
	return a.printReceipt(receipt, asJSON)
}
