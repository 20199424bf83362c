package cmd

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"example.com/life/events"
	"example.com/life/projections"
)

func waterfallCommand(a *app) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "waterfall TURN",
		Short: "Show what ran when in a turn, and where its time went",
		Long: "Show what ran when in a turn, however old: a bar for each thing that the turn waited for, how long that was queued, running or waiting\n" +
			"for a person, and its tokens and cost. These three times add up to the time of the turn.",
		Example: "  life waterfall demo/3\n  life waterfall demo/3 --json",
		Args:    takes(1, 1, "a turn, such as demo/3"),
		RunE: func(cmd *cobra.Command, args []string) error {
			turn := events.TurnID(args[0])
			if turn.Number() == 0 || turn.Agent().Validate() != nil {
				return usage("%q is not a turn: name an agent and the number of its turn, such as demo/3", args[0])
			}
			return a.with(cmd.Context(), func(host reached) error {
				answer, err := host.Waterfall(cmd.Context(), turn)
				switch {
				case err != nil:
					return err
				case asJSON:
					return a.printJSON(answer)
				}
				return printWaterfall(seen(a.out), &answer)
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// The shades of a bar.
const (
	barWidth   = 40
	shadeRuns  = '█'
	shadeWaits = '░' // for a person
	shadeQueue = '·'
)

func printWaterfall(out io.Writer, t *projections.Turn) error {
	how := cmp.Or(string(t.Outcome), "running")
	if t.Reason != "" {
		how += " (" + string(t.Reason) + ")"
	}
	fmt.Fprintf(out, "%s: %s, started %s, %s: %s running, %s queued, %s waiting for a person; %d tokens, %s\n",
		t.Turn, how, exactly(t.Started), length(t.Elapsed), length(t.Running), length(t.Queued), length(t.Person), t.Tokens, t.Cost)
	if t.Delayed > 0 {
		fmt.Fprintf(out, "its first message had waited %s before the turn started\n", length(t.Delayed))
	}
	w := table(out)
	fmt.Fprintf(w, "AT\tWHAT\tNAME\tCALL\t%-*s\tQUEUED\tRUNNING\tPERSON\tTOKENS\tCOST\t\n", barWidth, "0 to "+length(t.Elapsed))
	for i := range t.Spans {
		s := &t.Spans[i]
		tokens, cost := "", ""
		if s.What == "model" {
			tokens, cost = fmt.Sprint(s.Tokens), s.Cost.String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			length(s.At), s.What, events.Visible(s.Name), s.Call, bar(s, t.Elapsed), some(s.Queued), some(s.Running), some(s.Person), tokens, cost, s.Problem)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if t.Dropped > 0 {
		fmt.Fprintf(out, "… %d more\n", t.Dropped)
	}
	fmt.Fprintf(out, "%c running  %c queued  %c waiting for a person\n", shadeRuns, shadeQueue, shadeWaits)
	return nil
}

// some is a length of time, or nothing for none.
func some(t events.Micros) string {
	if t == 0 {
		return ""
	}
	return length(t)
}

// bar draws a span over the time of its turn: first it queues, then it runs or waits for a person.
func bar(s *projections.Span, elapsed events.Micros) string {
	column := func(at events.Micros) int {
		if elapsed <= 0 {
			return 0
		}
		return int(min(at, elapsed) * barWidth / elapsed)
	}
	begin, acts, end := column(s.At), column(s.At+s.Queued), column(s.At+s.Queued+s.Running+s.Person)
	if begin >= barWidth { // what came after the turn
		return strings.Repeat(" ", barWidth)
	}
	shade := shadeRuns
	switch {
	case s.Person > 0:
		shade = shadeWaits
	case s.Running == 0:
		shade = shadeQueue
	}
	end = max(end, begin+1) // however short, it is seen
	acts = min(acts, end-1)
	if s.Running == 0 && s.Person == 0 {
		acts = end
	}
	return strings.Repeat(" ", begin) + strings.Repeat(string(shadeQueue), acts-begin) + strings.Repeat(string(shade), end-acts) +
		strings.Repeat(" ", barWidth-end)
}
