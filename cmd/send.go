package cmd

import (
	"errors"

	"github.com/spf13/cobra"

	"example.com/life/actors"
	"example.com/life/adapters/bus"
	"example.com/life/events"
	"example.com/life/sagas"
)

// waitFlags choose whether a verb follows the turn that it sets going.
type waitFlags struct {
	wait bool
	show showFlags
	id   string
}

func (f *waitFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.wait, "wait", false, "follow the turn to its end; always so when no life serve runs, as this process hosts it then")
	cmd.Flags().StringVar(&f.id, "id", "", "id of the command: sent again with the same one, it happens once")
	f.show.add(cmd)
}

// set sends a command that sets a turn going, and follows it or prints the receipt.
func (f *waitFlags) set(a *app, cmd *cobra.Command, agent events.AgentID, made func(sagas.Meta) sagas.Command) error {
	ctx := cmd.Context()
	return a.with(ctx, func(host reached) error {
		act := func() (actors.Receipt, error) {
			return host.Do(ctx, events.AgentStream(agent), made(newMeta(f.id)), origin())
		}
		if !f.wait && !host.here {
			receipt, err := act()
			if err != nil {
				return err
			}
			return a.printReceipt(receipt, f.show.asJSON)
		}
		v := f.show.view(a)
		r, err := a.await(ctx, host, agent, v, act)
		var before *repeated
		if errors.As(err, &before) {
			return a.printReceipt(before.receipt, f.show.asJSON)
		}
		if err != nil {
			return err
		}
		return v.conclude(r)
	})
}

func sendCommand(a *app) *cobra.Command {
	var f waitFlags
	verb, via := "", ""
	cmd := &cobra.Command{
		Use:   "send AGENT TEXT",
		Short: "Give an agent a message",
		Long: "Give an agent a message. While a turn runs, its verb says what it does to it: collect waits and starts the next turn together\n" +
			"with all others that wait, followup starts a turn of its own, steer joins the running turn before its next model call, and\n" +
			"interrupt stops the running turn and starts one with this message. TEXT - reads standard input.",
		Example: "  life send demo \"And now the tests\"\n  life send demo --verb interrupt \"Stop, look at this first\"",
		Args:    takes(2, 2, "an agent and one text, in quotes"),
		RunE: func(cmd *cobra.Command, args []string) error {
			agent, err := checkAgent(args[0])
			if err != nil {
				return err
			}
			how, err := checkVerb(verb)
			if err != nil {
				return err
			}
			text, err := argument(args[1], cmd.InOrStdin())
			if err != nil {
				return err
			}
			throughBus, err := checkVia(via)
			if err != nil {
				return err
			}
			if throughBus {
				return f.sendOnBus(a, cmd, bus.SendMessage{Agent: agent, Text: text, Verb: how, From: a.person()})
			}
			return f.set(a, cmd, agent, func(m sagas.Meta) sagas.Command {
				return sagas.Send{Meta: m, Verb: how, From: a.person(), Text: events.Text{Inline: text}}
			})
		},
	}
	cmd.Flags().StringVar(&verb, "verb", string(events.Collect), "collect, followup, steer or interrupt")
	cmd.Flags().StringVar(&via, "via", viaHost, "host, which answers; or bus, where the message waits for a host: --wait then waits for the outcome")
	f.add(cmd)
	return cmd
}
