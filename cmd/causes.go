package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"example.com/life/events"
	"example.com/life/projections/runs"
	"example.com/life/sagas"
)

func causesCommand(a *app) *cobra.Command {
	return traceCommand(a, &cobra.Command{
		Use:   "causes EVENT",
		Short: "Show what led to an event, back to the command that triggered it",
		Long: "Show what led to an event: the decision it was part of, the event that this decision responded to, and so on across the streams of agents,\n" +
			"wallets and the bus, back to a command from outside. Name an event by its stream and revision; demo@31 is an event of the agent demo.",
		Example: "  life causes demo@31\n  life causes wallet-main@4 --json",
	}, func(ctx context.Context, host reached, event events.Ref, progress func(int64)) (*runs.TraceNode, error) {
		return host.Causes(ctx, event, progress)
	}, printCauses)
}

func effectsCommand(a *app) *cobra.Command {
	return traceCommand(a, &cobra.Command{
		Use:   "effects EVENT",
		Short: "Show everything that followed from an event",
		Long: "Show everything that followed from an event, as a tree across the streams of agents, wallets, effects and the bus: what was decided\n" +
			"with it, what responded to that, and so on. An event with several causes appears under the first. Life reads the turns that the event\n" +
			"belongs to, and up to 4,096 later events of other streams.",
		Example: "  life effects demo@1\n  life effects command-local@3 --json",
	}, func(ctx context.Context, host reached, event events.Ref, progress func(int64)) (*runs.TraceNode, error) {
		return host.Effects(ctx, event, progress)
	}, func(out io.Writer, d *runs.TraceNode) { printEffects(out, d, 0) })
}

// traceCommand completes a verb that follows causation.
func traceCommand(
	a *app, cmd *cobra.Command, ask func(context.Context, reached, events.Ref, func(int64)) (*runs.TraceNode, error), show func(io.Writer, *runs.TraceNode),
) *cobra.Command {
	asJSON, progress := false, false
	cmd.Args = takes(1, 1, "an event, such as demo@31")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		event, err := eventRef(args[0])
		if err != nil {
			return err
		}
		return a.with(cmd.Context(), func(host reached) error {
			m := a.newMeter(progress)
			defer m.done()
			tell := func(read int64) { m.show("%d events read", read) }
			deed, err := ask(cmd.Context(), host, event, tell)
			var refusal *sagas.RefusalError
			if of := events.Ref(events.AgentCategory + "-" + args[0]); errors.As(err, &refusal) && refusal.Code == sagas.RefusedMissing && of != event {
				if other, again := ask(cmd.Context(), host, of, tell); again == nil { // an agent whose name begins like a stream's
					deed, err = other, nil
				}
			}
			m.done()
			switch {
			case err != nil:
				return err
			case asJSON:
				return a.printJSON(deed)
			}
			show(seen(a.out), deed)
			return nil
		})
	}
	jsonFlag(cmd, &asJSON)
	progressFlag(cmd, &progress)
	return cmd
}

// categories begin the names of streams. What begins otherwise is an agent's name.
func categories() []string {
	return []string{
		events.AgentCategory, events.WalletCategory, events.HomeostasisCategory, events.EffectCategory, events.ClusterCategory,
		"command", "reply", "poison", "checkpoint", "knowledge", "projections",
	}
}

// eventRef reads which event is meant: demo@31 is agent-demo@31.
func eventRef(text string) (events.Ref, error) {
	stream, _, err := events.Ref(text).Split()
	if err != nil {
		return "", usage("%q is not an event: write its stream and its revision, such as agent-demo@31 or demo@31", text)
	}
	if category, id := stream.Split(); id != "" && slices.Contains(categories(), category) || strings.HasPrefix(string(stream), "$") {
		return events.Ref(text), nil
	}
	return events.Ref(events.AgentCategory + "-" + text), nil
}

// printCauses prints what led to what, the event first. Where something has several causes they are set in.
func printCauses(out io.Writer, d *runs.TraceNode) {
	var tell func(d *runs.TraceNode, depth int)
	tell = func(d *runs.TraceNode, depth int) {
		indent := strings.Repeat("  ", depth)
		fmt.Fprintf(out, "%s%s\n", indent, happened(&d.TraceEvent))
		if d.More != "" {
			fmt.Fprintf(out, "%s  … %s\n", indent, d.More)
		}
		if d.Outside {
			if len(d.With) > 0 && d.With[0].Ref != d.Ref { // the first event of a decision carries its command
				fmt.Fprintf(out, "%s  decided with %s\n", indent, happened(&d.With[0]))
			}
			where := "published on the bus"
			if d.Command != "" {
				where = fmt.Sprintf("command %s, sent by %s", events.Visible(string(d.Command)), events.Visible(d.Actor))
			}
			fmt.Fprintf(out, "%s  from outside: %s\n", indent, where)
		}
		for i, cause := range d.Causes {
			further := depth
			if len(d.Causes) > 1 {
				further++
			}
			fmt.Fprintf(out, "%sbecause of%s\n", strings.Repeat("  ", further), map[bool]string{true: "", false: " also"}[i == 0])
			tell(cause, further)
		}
	}
	tell(d, 0)
}

// printEffects prints what followed from what.
func printEffects(out io.Writer, d *runs.TraceNode, depth int) {
	indent := strings.Repeat("  ", depth)
	fmt.Fprintf(out, "%s%s\n", indent, happened(&d.TraceEvent))
	for i := range d.With {
		fmt.Fprintf(out, "%s  with %s\n", indent, happened(&d.With[i]))
	}
	for _, effect := range d.Effects {
		printEffects(out, effect, depth+1)
	}
	if d.More != "" {
		fmt.Fprintf(out, "%s  … %s\n", indent, d.More)
	}
}

func happened(h *runs.TraceEvent) string {
	return fmt.Sprintf("%s  %s  %s", h.Ref, exactly(h.Time), cutTo(h.Text, 100))
}
