package cmd

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/actors/history"
	"example.com/life/events"
	"example.com/life/sagas/diff"
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

// printChanges prints one change a line: what, from what to what, and the event that changed it last.
func printChanges(out io.Writer, d *history.Difference) error {
	fmt.Fprintf(out, "from revision %d (%s, %s) to %d (%s, %s): %d events\n",
		d.From.Revision, d.From.Kind, exactly(d.From.Time), d.To.Revision, d.To.Kind, exactly(d.To.Time), d.Events)
	if len(d.Changes) == 0 {
		fmt.Fprintln(out, "nothing changed")
		return nil
	}
	w := table(out)
	unsaid := 0 // of the times: the day, if it is the same for all
	if day := len(time.DateOnly); exactly(d.From.Time)[:day] == exactly(d.To.Time)[:day] {
		unsaid = day + len(" ")
	}
	for i := range d.Changes {
		c := &d.Changes[i]
		fmt.Fprintf(w, "%s\t%s → %s\t%s\t%s\t%s\t%s\n", c.Path, changedValue(c.Before, c.Unit), changedValue(c.After, c.Unit),
			c.Last.Ref, c.Last.Kind, exactly(c.Last.Time)[unsaid:], cutTo(c.Last.Text, 72))
	}
	return w.Flush()
}

// changedValue shows a value on one line.
func changedValue(value json.RawMessage, unit diff.Unit) string {
	if value == nil {
		return "–"
	}
	text := string(value)
	if plain := ""; json.Unmarshal(value, &plain) == nil {
		text = plain
	} else if value[0] == '{' {
		return cutTo(changedPart(value), 72)
	}
	if _, err := hex.DecodeString(text); err == nil && len(text) == 64 { // a digest: its beginning tells it from others
		return text[:12] + "…"
	}
	if number, err := strconv.ParseInt(text, 10, 64); err == nil {
		switch unit {
		case diff.UnitMoney:
			return events.Money(number).String()
		case diff.UnitTime:
			if number > 1e14 { // since 1970
				return exactly(events.Micros(number))
			}
			return length(events.Micros(number))
		}
	}
	return cutTo(text, 48)
}

// changedPart shows what came or went as a whole.
func changedPart(value json.RawMessage) string {
	var part struct {
		ID        string
		Role      string
		Text      events.Text
		Tool      string
		Stage     string
		Arguments json.RawMessage
		Calls     []events.ModelCall
		Outcome   events.Outcome
		Turn      events.TurnID
		Round     int
	}
	if json.Unmarshal(value, &part) != nil {
		return string(value)
	}
	switch {
	case part.Role != "":
		text := part.Role + " " + strconv.Quote(cutTo(part.Text.Inline, 40))
		for _, call := range part.Calls {
			text += " → " + call.Tool
		}
		return text
	case part.Tool != "" && part.Arguments != nil:
		return strings.TrimSpace(part.Tool + " " + string(part.Arguments) + " " + part.Stage)
	case part.Outcome != "":
		return fmt.Sprintf("%s %s", part.Turn, part.Outcome)
	case part.Round > 0:
		return fmt.Sprintf("%s, round %d", part.ID, part.Round)
	}
	var short bytes.Buffer
	if json.Compact(&short, value) != nil {
		return string(value)
	}
	return short.String()
}

// cutTo shows the beginning of a text, on one line, and how many characters there are besides.
func cutTo(text string, most int) string {
	text = events.Visible(strings.Join(strings.Fields(text), " "))
	if runes := []rune(text); len(runes) > most {
		return fmt.Sprintf("%s… (+%d)", string(runes[:most]), len(runes)-most)
	}
	return text
}
