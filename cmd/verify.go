package cmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"example.com/life/actors"
	"example.com/life/events"
)

func verifyCommand(a *app) *cobra.Command {
	all, asJSON, progress := false, false, false
	cmd := &cobra.Command{
		Use:   "verify [AGENT...]",
		Short: "Check history: every digest, and every decision decided again",
		Long: "Check history: revisions without a gap, the chain of digests, and for every decision that this build decides the same from the\n" +
			"same command. Nothing is asked, run or changed. It ends with status 1 and names the first divergence of each stream.",
		Example: "  life verify demo\n  life verify --all --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return usage("name the agents to verify, or --all")
			}
			agents := []events.AgentID{""}
			if !all {
				agents = nil
			}
			for _, arg := range args {
				agent, err := checkAgent(arg)
				if err != nil {
					return err
				}
				agents = append(agents, agent)
			}
			if err := openable(a.config.place()); err != nil {
				return err // nothing is not sound
			}
			return a.with(cmd.Context(), func(host reached) error {
				report, err := a.verify(cmd.Context(), host, agents, progress)
				if err != nil {
					return err
				}
				return a.printVerified(report, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "everything in the store, wallets included")
	jsonFlag(cmd, &asJSON)
	progressFlag(cmd, &progress)
	return cmd
}

func (a *app) verify(ctx context.Context, host inspector, agents []events.AgentID, progress bool) (actors.VerifyReport, error) {
	sum := actors.VerifyReport{Failures: []actors.Divergence{}}
	m := a.newMeter(progress)
	defer m.done()
	for _, agent := range agents {
		before := sum.Events
		report, err := host.Verify(ctx, agent, func(checked int64) { m.show("%d events checked", before+checked) })
		if err != nil {
			return sum, err
		}
		sum.Events += report.Events
		sum.Streams += report.Streams
		sum.Decisions += report.Decisions
		sum.Failures = append(sum.Failures, report.Failures...)
	}
	return sum, nil
}

func (a *app) printVerified(r actors.VerifyReport, asJSON bool) error {
	failed := &exit{exitError, fmt.Errorf("history and this build disagree in %d streams", len(r.Failures))}
	if asJSON {
		if err := a.printJSON(r); err != nil || len(r.Failures) == 0 {
			return err
		}
		return failed
	}
	for _, f := range r.Failures {
		fmt.Fprintf(a.out, "%s: %s\n", events.NewRef(f.Stream, f.Revision), f.Problem)
		if f.Recorded != "" {
			fmt.Fprintf(a.out, "  recorded %s\n", f.Recorded)
		}
		if f.Decided != "" {
			fmt.Fprintf(a.out, "  decided  %s\n", f.Decided)
		}
	}
	counted := fmt.Sprintf("%d events in %d streams, %d decisions decided again", r.Events, r.Streams, r.Decisions)
	if len(r.Failures) > 0 {
		fmt.Fprintf(a.out, "checked %s\n", counted)
		return failed
	}
	fmt.Fprintf(a.out, "ok: %s\n", counted)
	return nil
}
