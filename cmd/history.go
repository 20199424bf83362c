package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas"
)

type historyFlags struct {
	from            string
	limit           int
	reverse, asJSON bool
}

func historyCommand(a *app) *cobra.Command {
	var f historyFlags
	cmd := &cobra.Command{
		Use:     "history AGENT",
		Short:   "Print what happened to an agent",
		Long:    "Print what happened to an agent, one line for each event: its revision, its time and what it says.",
		Example: "  life history demo\n  life history demo --reverse --limit 5\n  life history demo --json | jq .kind",
		Args:    takes(1, 1, "the name of one agent"),
		RunE: func(cmd *cobra.Command, args []string) error {
			agent, err := checkAgent(args[0])
			if err != nil {
				return err
			}
			from, err := revisionFlag("from", f.from)
			if err != nil {
				return err
			}
			if f.limit < 0 {
				return usage("--limit is %d: it is a number of events, and 0 means all", f.limit)
			}
			return a.with(cmd.Context(), func(host reached) error {
				return a.history(cmd.Context(), host, agent, from, &f)
			})
		},
	}
	cmd.Flags().StringVar(&f.from, "from", "", "revision to begin at (default: the first, or with --reverse the last)")
	cmd.Flags().IntVar(&f.limit, "limit", 0, "at most this many events; 0: all")
	cmd.Flags().BoolVar(&f.reverse, "reverse", false, "the latest first")
	jsonFlag(cmd, &f.asJSON)
	return cmd
}

func (a *app) history(ctx context.Context, host driver, agent events.AgentID, from events.Revision, f *historyFlags) error {
	direction := actors.Forward
	if f.reverse {
		direction = actors.Backward
		if from == events.NoRevision {
			from = 1 << 62
		}
	}
	from = max(from, 0)
	for printed := 0; ; {
		limit := actors.Limit{}
		if f.limit > 0 {
			limit.Events = f.limit - printed
		}
		page, err := host.History(ctx, events.AgentStream(agent), from, direction, limit)
		if err != nil {
			return err
		}
		if page.Last == events.NoRevision {
			return &sagas.Refusal{Code: sagas.RefusedMissing, Detail: "there is no agent " + string(agent)}
		}
		for i := range page.Events {
			if err := a.printEvent(&page.Events[i], f.asJSON); err != nil {
				return err
			}
		}
		printed += len(page.Events)
		if printed == 0 && from > page.Last {
			fmt.Fprintf(a.errs, "life: the history of %s ends at revision %d\n", agent, page.Last)
		}
		if page.End || len(page.Events) == 0 || f.limit > 0 && printed >= f.limit {
			return nil
		}
		from = page.Events[len(page.Events)-1].Revision + 1
		if f.reverse {
			from -= 2
		}
	}
}

func (a *app) printEvent(e *events.Envelope, asJSON bool) error {
	if asJSON {
		return a.printJSON(e)
	}
	fmt.Fprintln(a.out, envelopeLine(e))
	return nil
}

func tailCommand(a *app) *cobra.Command {
	from, asJSON, deltas := "", false, false
	cmd := &cobra.Command{
		Use:   "tail AGENT",
		Short: "Print what happens to an agent, as it happens",
		Long: "Print what happens to an agent, as it happens, until Ctrl-C. When no life serve runs nothing can happen: then what is stored\n" +
			"is printed, and that is all.",
		Example: "  life tail demo\n  life tail demo --from 0 --json",
		Args:    takes(1, 1, "the name of one agent"),
		RunE: func(cmd *cobra.Command, args []string) error {
			agent, err := checkAgent(args[0])
			if err != nil {
				return err
			}
			begin, err := revisionFlag("from", from)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(host reached) error {
				if host.here {
					fmt.Fprintln(a.errs, "life: no life serve runs, so nothing can happen now; this is what is stored")
					return a.history(cmd.Context(), host, agent, begin, &historyFlags{asJSON: asJSON})
				}
				return a.tail(cmd.Context(), host, agent, begin, asJSON, deltas)
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "revision to begin at (default: what happens from now on)")
	cmd.Flags().BoolVar(&deltas, "text", false, "show the model's text while it comes in")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (a *app) tail(ctx context.Context, host driver, agent events.AgentID, begin events.Revision, asJSON, deltas bool) error {
	state, err := host.State(ctx, agent, events.NoRevision)
	if err != nil {
		return err
	}
	after := state.Revision
	if begin != events.NoRevision {
		after = begin - 1
	}
	feed, err := host.Watch(ctx, agent, after)
	if err != nil {
		return err
	}
	defer feed.Close()
	text := "" // of the line that the model is writing
	for {
		item, err := feed.Next(ctx)
		if errors.Is(err, actors.ErrClosed) {
			return errors.New("life serve stopped; life tail again when it runs")
		}
		if err != nil {
			return err
		}
		switch {
		case item.Event != nil:
			if text != "" && !strings.HasSuffix(text, "\n") {
				fmt.Fprintln(a.out)
			}
			text = ""
			if err := a.printEvent(item.Event, asJSON); err != nil {
				return err
			}
		case deltas && asJSON:
			if err := a.printJSON(map[string]*actors.Delta{"delta": item.Delta}); err != nil {
				return err
			}
		case deltas:
			text = item.Delta.Text
			fmt.Fprint(a.out, text)
		}
	}
}
