package cmd

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/actors/history"
	"example.com/life/adapters/api"
	"example.com/life/cmd/stores"
	"example.com/life/events"
)

func verifyCommand(a *app) *cobra.Command {
	all, asJSON, progress := false, false, false
	cmd := &cobra.Command{
		Use:   "verify [AGENT...]",
		Short: "Check history: verify every digest, and make every decision again",
		Long: "Check history: revisions without gaps, the digest chain, the blobs that events refer to, and that this build makes the same\n" +
			"decision for every command. Nothing is called, run or changed. It exits with status 1 and reports the first\n" +
			"divergence of each stream: the recorded and the decided event and, with --json, the state before it.",
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
			if err := stores.Openable(a.place()); err != nil {
				return err // nothing is not sound
			}
			return a.with(cmd.Context(), func(host reached) error {
				report, err := a.verify(cmd.Context(), host, agents, progress)
				if err != nil {
					return err
				}
				return a.printVerified(&report, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "verify everything in the store, including wallets")
	jsonFlag(cmd, &asJSON)
	progressFlag(cmd, &progress)
	return cmd
}

func (a *app) verify(ctx context.Context, host api.Host, agents []events.AgentID, progress bool) (history.VerifyReport, error) {
	sum := history.VerifyReport{Failures: []history.Divergence{}}
	m := a.newMeter(progress)
	defer m.done()
	begun := time.Now()
	defer debug.SetGCPercent(debug.SetGCPercent(200)) // folds are much of what is in memory, and there may be many
	for _, agent := range agents {
		before := sum.Events
		report, err := host.Verify(ctx, agent, func(checked, total int64) { showVerified(m, begun, before+checked, before+total) })
		if err != nil {
			return sum, err
		}
		report.Events += sum.Events
		report.Streams += sum.Streams
		report.Decisions += sum.Decisions
		report.Chained += sum.Chained
		report.Raw += sum.Raw
		report.Foreign += sum.Foreign
		report.Blobs += sum.Blobs
		report.Passes = max(report.Passes, sum.Passes)
		report.More += sum.More
		report.Failures = append(sum.Failures, report.Failures...)
		sum = report
	}
	return sum, nil
}

// showVerified says how far it is, how fast, and how long it takes from here.
func showVerified(m *meter, begun time.Time, checked, total int64) {
	seconds := max(time.Since(begun).Seconds(), 1e-3)
	if total <= checked {
		m.show("%d events checked, %.0f/s", checked, float64(checked)/seconds)
		return
	}
	left := time.Duration(seconds * (float64(total)/float64(max(checked, 1)) - 1) * float64(time.Second))
	m.show("%d of about %d events checked, %.0f%%, %.0f/s, about %s left", checked, total,
		100*float64(checked)/float64(total), float64(checked)/seconds, left.Round(time.Second))
}

func (a *app) printVerified(r *history.VerifyReport, asJSON bool) error {
	failures := int64(len(r.Failures)) + r.More
	failed := &exit{exitError, coded("differs", "history and this build differ in %d places", failures)}
	if asJSON {
		if err := a.printJSON(r); err != nil || failures == 0 {
			return err
		}
		return failed
	}
	for i := range r.Failures {
		printDivergence(seen(a.out), &r.Failures[i])
	}
	if r.More > 0 {
		fmt.Fprintf(a.out, "and %d more after these\n", r.More)
	}
	counted := fmt.Sprintf("%d events in %d streams, %d decisions decided again by life %s", r.Events, r.Streams, r.Decisions, r.Build)
	for _, part := range []struct {
		count int64
		what  string
	}{
		{r.Blobs, "blobs read"},
		{r.Chained, "events that no saga decides: only their digests were checked"},
		{r.Raw, "quarantines recorded by a host whose build could not decide for the agent"},
		{r.Foreign, "events of other programs, which have no digests: not checked"},
	} {
		if part.count > 0 {
			counted += fmt.Sprintf("\n    %d %s", part.count, part.what)
		}
	}
	if failures > 0 {
		fmt.Fprintf(a.out, "checked %s\n", counted)
		return failed
	}
	fmt.Fprintf(a.out, "ok: %s\n", counted)
	return nil
}

// printDivergence shows what differs, and how to see the rest.
func printDivergence(out io.Writer, d *history.Divergence) {
	fmt.Fprintf(out, "%s: %s: %s\n", events.NewRef(d.Stream, d.Revision), d.What, d.Detail)
	for _, each := range []struct {
		who   string
		event *history.Verified
	}{{"recorded", d.Recorded}, {"decided", d.Decided}} {
		if each.event != nil {
			fmt.Fprintf(out, "  %-8s  %s version %d %s\n", each.who, each.event.Kind, each.event.Version, preview(string(each.event.Data)))
		}
	}
	for _, f := range d.Fields {
		fmt.Fprintf(out, "  differs   %s: recorded %s, decided %s\n", f.Field, cmp.Or(f.Recorded, "nothing"), cmp.Or(f.Decided, "nothing"))
	}
	if d.Host != "" {
		fmt.Fprintf(out, "  by        host %s, build %s\n", d.Host, cmp.Or(d.Build, "unknown: its cluster's stream is not in this store"))
	}
	if agent, ok := d.Stream.Agent(); ok && d.First > 0 && (d.What == history.ProblemDecision || d.What == history.ProblemRefused || d.What == history.ProblemPanic) {
		fmt.Fprintf(out, "  before    life state %s --at %d\n", agent, d.First-1)
	}
}

// preview is the beginning of a long text.
func preview(text string) string {
	const most = 400
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + fmt.Sprintf("… (%d bytes; --json has all)", len(text))
}
