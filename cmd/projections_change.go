package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/actors/projector"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/projections/runs"
	"example.com/life/sagas"
)

// projectionsStream is where commands about projections go.
func projectionsStream() events.Stream { return events.ProjectionsStream(sagas.DefaultTenant) }

func projectionsAddCommand(a *app) *cobra.Command {
	var id idFlags
	cmd := &cobra.Command{
		Use:   "add FILE",
		Short: "Add a projection declared in a file, or replace it",
		Long: "Add a projection declared in a YAML file; - reads standard input. The file is checked first; then the projection folds all of history.\n" +
			"If a projection of that name exists, the new one is built while the old one keeps answering.",
		Example: "  life projections add refunds.yaml",
		Args:    takes(1, 1, "one file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := readDeclaration(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			err = a.projectionsDo(cmd, id, sagas.AddProjection{Meta: newMeta(id.id), Source: events.Text{Inline: source}, By: a.person()})
			var refusal *sagas.RefusalError
			if errors.As(err, &refusal) && refusal.Code == sagas.RefusedInvalid {
				return &exit{exitUsage, fmt.Errorf("%s: %s", args[0], refusal.Detail)}
			}
			return err
		},
	}
	id.add(cmd)
	return cmd
}

// mostDeclaration bounds the text of a projection, in bytes.
const mostDeclaration = 4 << 20

func readDeclaration(stdin io.Reader, path string) (string, error) {
	from := stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return "", &exit{exitUsage, err}
		}
		defer file.Close()
		from = file
	}
	text, err := io.ReadAll(io.LimitReader(from, mostDeclaration+1))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	if len(text) > mostDeclaration {
		return "", usage("%s has more than %d bytes", path, mostDeclaration)
	}
	return string(text), nil
}

func projectionsRemoveCommand(a *app) *cobra.Command {
	var id idFlags
	reason := ""
	cmd := &cobra.Command{
		Use:     "remove NAME",
		Short:   "Remove a declared projection",
		Long:    "Remove a declared projection, with its state and its skipped events. Built-in projections cannot be removed.",
		Example: "  life projections remove refunds --reason \"nobody asks it\"",
		Args:    takes(1, 1, "the name of one projection"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.projectionsDo(cmd, id, sagas.RemoveProjection{Meta: newMeta(id.id), Name: args[0], By: a.person(), Reason: reason})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "the reason, for the record")
	id.add(cmd)
	return cmd
}

func projectionsSkipCommand(a *app) *cobra.Command {
	var id idFlags
	reason := ""
	cmd := &cobra.Command{
		Use:   "skip NAME POSITION",
		Short: "Make a projection skip an event that it cannot fold",
		Long: "Make a projection skip the event at the position where it stopped, which it cannot fold, and continue; no other position is accepted. The\n" +
			"skip is recorded with its reason, so that every host skips the same event whenever it builds the projection.",
		Example: "  life projections skip balance 4711 --reason \"imported with an amount that is no number\"",
		Args:    takes(2, 2, "the name of a projection and a position"),
		RunE: func(cmd *cobra.Command, args []string) error {
			position, err := parsePosition("POSITION", args[1], 1)
			if err != nil {
				return err
			}
			if strings.TrimSpace(reason) == "" {
				return usage("--reason is required: %s will skip the event permanently", args[0])
			}
			by := a.person()
			if by == "" {
				return usage("the user who skips an event is recorded: set LIFE_USER")
			}
			return a.projectionsDo(cmd, id, sagas.SkipEvent{Meta: newMeta(id.id), Name: args[0], Position: position, Reason: reason, By: by})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "the reason (required)")
	id.add(cmd)
	return cmd
}

// projectionsDo sends a command about projections and prints the receipt.
func (a *app) projectionsDo(cmd *cobra.Command, id idFlags, command sagas.Command) error {
	return a.with(cmd.Context(), func(host reached) error {
		return a.do(cmd, host, projectionsStream(), command, id)
	})
}

func projectionsRebuildCommand(a *app) *cobra.Command {
	all, asJSON, progress := false, false, false
	cmd := &cobra.Command{
		Use:   "rebuild NAME... | --all",
		Short: "Rebuild projections from the beginning of history",
		Long: "Rebuild projections from the beginning of history, several in one pass. Each old fold keeps answering until the new one has caught up and\n" +
			"replaces it. If the process is killed before that, the old one stays. A running life serve continues the rebuild after this command is left.",
		Example: "  life projections rebuild balance\n  life projections rebuild --all --progress",
		Args:    takes(0, -1, "the names of projections"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return usage("name the projections to rebuild, or give --all")
			}
			return a.with(cmd.Context(), func(host reached) error {
				return a.rebuild(cmd.Context(), host, args, asJSON, progress)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "rebuild all projections")
	jsonFlag(cmd, &asJSON)
	progressFlag(cmd, &progress)
	return cmd
}

func (a *app) rebuild(ctx context.Context, host api.Host, names []string, asJSON, progress bool) error {
	m, began := a.newMeter(progress), time.Now()
	defer m.done()
	report, err := host.Rebuild(ctx, names, func(at, head events.Position) {
		took := time.Since(began)
		rate, left := float64(at)/took.Seconds(), time.Duration(0)
		if at > 0 && head > at {
			left = time.Duration(float64(took) * float64(head-at) / float64(at))
		}
		m.show("at position %d of %d, %.0f positions/s, %s left", at, head, rate, left.Round(time.Second))
	})
	m.done()
	if err != nil {
		return askedWrong(err)
	}
	if asJSON {
		return a.printJSON(report)
	}
	for i := range report.Projections {
		p := &report.Projections[i]
		fmt.Fprintf(a.out, "%s, version %d: %d events folded, as of position %d\n", p.Name, p.Version, p.Events, p.Position)
		if p.Stopped != nil {
			fmt.Fprintf(a.out, "  it %v\n", p.Stopped)
		}
	}
	seconds := (time.Duration(report.Took) * time.Microsecond).Seconds()
	fmt.Fprintf(a.out, "%d events read in %.1f s, %.0f events/s\n", report.Events, seconds, float64(report.Events)/max(seconds, 1e-6))
	return nil
}

func projectionsStepCommand(a *app) *cobra.Command {
	from, count, asJSON := "", 1, false
	cmd := &cobra.Command{
		Use:   "step NAME",
		Short: "Show how single events change a projection's state",
		Long: "Show how single events change a projection's state, as differences between the saved states before and after. Start with the first\n" +
			"event from --from on that the projection folds; without --from, with the event where it stopped, or the latest one. Nothing is changed.",
		Example: "  life projections step balance\n  life projections step balance --from 4711 --count 5",
		Args:    takes(1, 1, "the name of one projection"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			position := events.Position(0)
			if from != "" {
				if position, err = parsePosition("--from", from, 0); err != nil {
					return err
				}
				position = max(position, 1)
			}
			if count < 1 || count > projector.MaxSteps {
				return usage("--count is %d, want 1 to %d", count, projector.MaxSteps)
			}
			return a.with(cmd.Context(), func(host reached) error {
				steps, err := host.Step(cmd.Context(), args[0], position, count)
				if err != nil {
					return askedWrong(err)
				}
				if asJSON {
					return a.printJSON(map[string][]projector.Step{"steps": steps})
				}
				for i := range steps {
					printStep(seen(a.out), &steps[i])
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "position to start at")
	cmd.Flags().IntVar(&count, "count", 1, "number of events")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func printStep(out io.Writer, s *projector.Step) {
	fmt.Fprintf(out, "%d  %s  %s: %s\n", s.Position, s.Event, s.Kind, s.Text)
	switch {
	case s.Problem != "":
		fmt.Fprintf(out, "  stops here: %s\n", s.Problem)
	case s.Skipped:
		fmt.Fprintln(out, "  is skipped")
	case len(s.Changes) == 0:
		fmt.Fprintln(out, "  changes nothing")
	}
	for _, c := range s.Changes {
		fmt.Fprintf(out, "  %s\n", changeText(c))
	}
}

// changeText is a change as one line; long values are cut.
func changeText(c runs.Change) string {
	const most = 120
	value := func(text []byte) string { return events.Clip(string(text), most) }
	switch {
	case c.Before == nil:
		return fmt.Sprintf("+ %s: %s", c.Path, value(c.After))
	case c.After == nil:
		return fmt.Sprintf("- %s: %s", c.Path, value(c.Before))
	}
	return fmt.Sprintf("~ %s: %s → %s", c.Path, value(c.Before), value(c.After))
}
