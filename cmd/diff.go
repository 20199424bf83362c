package cmd

import (
	"context"

	"github.com/spf13/cobra"
)

func diffCommand(a *app) *cobra.Command {
	var runs diffRuns
	var moments diffMoments
	cmd := &cobra.Command{
		Use:   "diff AGENT [AGENT]",
		Short: "Show what changed in an agent between two moments, or compare two agents",
		Long: "With one agent: what changed in it between two moments, path by path, and which event changed each path last. A moment is a revision,\n" +
			"a time, a turn or a round of one, as in life state --at.\n\n" +
			"With two agents: what they did, their turns side by side, the first difference, and what both cost. Turns are paired by what\n" +
			"happened in them and by their messages. What a fork shares with its parent is equal by construction and left out. Differences in names,\n" +
			"times, attempts and wallets do not count.",
		Example: "  life diff demo --from turn:2 --to turn:3\n  life diff demo --from 14:02:11\n" +
			"  life diff demo demo-2\n  life diff demo demo-2 --turn 3\n  life diff demo demo-2 --json",
		Args: takes(1, 2, "the name of an agent, or the names of two agents"),
		RunE: func(cmd *cobra.Command, args []string) error {
			flags := cmd.Flags()
			if len(args) == 1 {
				if flags.Changed("turn") {
					return usage("--turn needs two agents; for one agent, --from turn:3.1 --to turn:3 shows what changed in a turn")
				}
				return a.diffMoments(cmd.Context(), args[0], &moments, &runs)
			}
			if flags.Changed("from") || flags.Changed("to") {
				return usage("--from and --to need exactly one agent: name one, or leave them out")
			}
			return a.diffRuns(cmd.Context(), args[0], args[1], &runs)
		},
	}
	cmd.Flags().StringVar(&moments.from, "from", "", "with one agent, the earlier moment: "+momentHelp)
	cmd.Flags().StringVar(&moments.to, "to", "", "with one agent, the later moment (default: the latest)")
	cmd.Flags().StringVar(&runs.turn, "turn", "", "with two agents, show this turn round by round: its number in the first agent, or its name, such as demo/3")
	jsonFlag(cmd, &runs.asJSON)
	progressFlag(cmd, &runs.progress)
	return cmd
}

// diffMoments is what life diff is asked about one agent.
type diffMoments struct{ from, to string }

func (a *app) diffMoments(ctx context.Context, name string, d *diffMoments, shown *diffRuns) error {
	agent, err := checkAgent(name)
	if err != nil {
		return err
	}
	if d.from == "" {
		return usage("--from is required: a %s", momentHelp)
	}
	from, err := parseMoment("from", d.from)
	if err != nil {
		return err
	}
	to, err := parseMoment("to", d.to)
	if err != nil {
		return err
	}
	return a.with(ctx, func(host reached) error {
		m := a.newMeter(shown.progress)
		defer m.done()
		found, err := host.Difference(ctx, agent, from, to, func(looked int64) { m.show("%d events read", looked) })
		m.done()
		switch {
		case err != nil:
			return err
		case shown.asJSON:
			return a.printJSON(found)
		}
		return printChanges(seen(a.out), &found)
	})
}
