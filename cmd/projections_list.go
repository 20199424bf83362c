package cmd

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/actors/projector"
)

func projectionsListCommand(a *app) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the projections, their states and their queries",
		Example: "  life projections list\n  life projections list --json",
		Args:    takes(0, 0, "nothing"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(host reached) error {
				list, err := host.Projections(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return a.printJSON(map[string][]projector.Status{"projections": list})
				}
				for i := range list {
					printProjection(seen(a.out), &list[i])
				}
				return nil
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// printProjection prints what a projection is about, its queries and what they take.
func printProjection(out io.Writer, p *projector.Status) {
	fmt.Fprintf(out, "%s, version %d, %s: %s\n", p.Name, p.Version, p.State, p.Description)
	if p.State == projector.StateBroken {
		fmt.Fprintf(out, "  unusable: %s\n", p.Problem)
	}
	if p.Stopped != nil {
		fmt.Fprintf(out, "  %v\n", p.Stopped)
	}
	for _, query := range p.Queries {
		fmt.Fprintf(out, "  %s: %s\n", query.Name, query.Description)
		for _, parameter := range query.Params {
			needed := ""
			if parameter.Required {
				needed = " (needed)"
			}
			fmt.Fprintf(out, "      %s=: %s%s\n", parameter.Name, parameter.Description, needed)
		}
	}
}

func projectionsShowCommand(a *app) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show the state of a projection: position, lag, rate, errors",
		Long: "Show the state of a projection: its position and lag, its rate and whether it is catching up, the size of its state, where it stopped and\n" +
			"why, which events it skips, and a rebuild in progress.",
		Example: "  life projections show balance\n  life projections show balance --json",
		Args:    takes(1, 1, "the name of one projection"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(host reached) error {
				shown, err := host.Projection(cmd.Context(), args[0])
				if err != nil {
					return askedWrong(err)
				}
				if asJSON {
					return a.printJSON(shown)
				}
				return printStanding(seen(a.out), &shown)
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func printStanding(out io.Writer, p *projector.Status) error {
	w := table(out)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	line("projection", "%s, version %d: %s", p.Name, p.Version, p.Description)
	line("state", "%s", p.State)
	if p.Problem != "" {
		line("problem", "%s", p.Problem)
	}
	if d := p.Declared; d != nil {
		line("declared", "%s by %s", clock(d.Since), d.By)
	}
	line("position", "%d of %d", p.Position, p.Head)
	line("behind", "%d events, %s", p.Behind, p.Trend)
	if p.Left > 0 {
		line("left", "%s at %d events/s", (time.Duration(p.Left) * time.Microsecond).Round(time.Second), p.Rate)
	}
	line("rate", "%d events/s", p.Rate)
	line("folded", "%d events since %s", p.Events, clock(p.Since))
	line("stored", "%s", stateText(p))
	if s := p.Stopped; s != nil {
		line("stopped", "before position %d: %s, %s", s.Position, s.Event, s.Kind)
		line("because", "%s", s.Problem)
	}
	for _, s := range p.Skipped {
		line("skipped", "position %d, %s, by %s: %s", s.Position, s.Event, s.By, s.Reason)
	}
	if b := p.Building; b != nil {
		line("building", "version %d, at position %d of %d, %d events/s, %s left", b.Version, b.Position, p.Head, b.Rate,
			(time.Duration(b.Left) * time.Microsecond).Round(time.Second))
	}
	return w.Flush()
}

// stateText says what is stored of a projection's state.
func stateText(p *projector.Status) string {
	switch {
	case p.TooLarge:
		return fmt.Sprintf("nothing after position %d: the state of %d bytes is too large to store, so each start folds history again", p.Stored, p.Bytes)
	case p.Stored == 0:
		return "nothing yet"
	}
	return fmt.Sprintf("%d bytes as of position %d", p.Bytes, p.Stored)
}
