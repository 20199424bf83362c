package cmd

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"example.com/life/actors"
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
	cmd.Flags().BoolVar(&f.wait, "wait", false, "follow the turn to its end; always on if no life serve runs, because then this process hosts the turn")
	cmd.Flags().StringVar(&f.id, "id", "", "command id: a retry with the same id has no further effect")
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
		r, err := a.attend(ctx, host, agent, v, act)
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
		Long: "Give an agent a message. If a turn is running, the verb decides what happens: collect waits and starts the next turn together\n" +
			"with all other waiting messages, followup waits and starts a turn of its own, steer joins the running turn before its next model\n" +
			"call, and interrupt cancels the running turn and starts one with this message. TEXT - reads standard input.",
		Example: "  life send demo \"And now the tests\"\n  life send demo --as interrupt \"Stop, look at this first\"",
		Args:    takes(2, 2, "an agent and one text, in quotes"),
		RunE: func(cmd *cobra.Command, args []string) error {
			agent, err := checkAgent(args[0])
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("verb") {
				fmt.Fprintln(a.errs, "life: --verb is called --as now")
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
			send := sagas.Send{Verb: how, From: a.person(), Text: events.Text{Inline: text}}
			if throughBus {
				return f.sendOnBus(a, cmd, agent, send)
			}
			return f.set(a, cmd, agent, func(m sagas.Meta) sagas.Command { return sagas.Identified(send, m) })
		},
	}
	cmd.Flags().StringVar(&verb, "as", string(events.Collect), "collect, followup, steer or interrupt")
	cmd.Flags().StringVar(&verb, "verb", string(events.Collect), "")
	cmd.Flags().Lookup("verb").Hidden = true
	cmd.Flags().StringVar(&via, "via", viaHost, "host, which responds at once; or bus, where the message waits for a host (with --wait, this command waits for the outcome)")
	f.add(cmd)
	return cmd
}
