package cmd

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"example.com/life/actors/history"
	"example.com/life/events"
	"example.com/life/projections/runs"
)

// diffRuns is what life diff is asked about two agents.
type diffRuns struct {
	turn     string
	asJSON   bool
	progress bool
}

func (a *app) diffRuns(ctx context.Context, one, other string, d *diffRuns) error {
	var order history.CompareOrder
	var err error
	if order.A, err = checkAgent(one); err != nil {
		return err
	}
	if order.B, err = checkAgent(other); err != nil {
		return err
	}
	if order.Turn, err = turnFlag(d.turn, order.A); err != nil {
		return err
	}
	return a.with(ctx, func(host reached) error {
		m := a.newMeter(d.progress)
		defer m.done()
		compared, err := host.Compare(ctx, order, func(read int64) { m.show("%d events read", read) })
		m.done()
		if err != nil {
			return err
		}
		if d.asJSON {
			return a.printJSON(compared)
		}
		return printComparison(seen(a.out), &compared, order.Turn != "")
	})
}

// turnFlag reads which turn is meant: a number, of an agent, or a name.
func turnFlag(text string, agent events.AgentID) (events.TurnID, error) {
	if number, err := strconv.Atoi(text); err == nil && number > 0 {
		return events.NewTurnID(agent, number), nil
	}
	if text != "" && events.TurnID(text).Number() == 0 {
		return "", usage("--turn is %q: it must be the number of a turn, or its name, such as demo/3", text)
	}
	return events.TurnID(text), nil
}

// printComparison prints what two agents did side by side; of one turn all rounds, if that was asked for.
func printComparison(out io.Writer, c *history.Comparison, oneTurn bool) error {
	if oneTurn {
		return printTurns(out, c)
	}
	if c.Shared != nil {
		fmt.Fprintf(out, "%s and %s diverge after revision %d of %s; the %d turns before that are shared and not counted here\n",
			c.A.Agent, c.B.Agent, c.Shared.Revision, c.Shared.Agent, c.Shared.Turns)
	}
	if err := printTotals(out, [2]string{string(c.A.Agent), string(c.B.Agent)}, &c.A.Totals, &c.B.Totals); err != nil {
		return err
	}
	fmt.Fprintln(out)
	if err := printPairs(out, c); err != nil {
		return err
	}
	fmt.Fprintln(out)
	if c.Equal {
		fmt.Fprintln(out, "their histories are equal")
		return nil
	}
	printFirst(out, c)
	return nil
}

// printTotals prints what both did and what it took.
func printTotals(out io.Writer, names [2]string, a, b *runs.RunTotals) error {
	w := table(out)
	fmt.Fprintf(w, "\t%s\t%s\tdifference\n", names[0], names[1])
	count := func(name string, x, y int64) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", name, x, y, change(fmt.Sprintf("%+d", y-x), x, y))
	}
	count("turns", int64(a.Turns), int64(b.Turns))
	fmt.Fprintf(w, "outcomes\t%s\t%s\t\n", outcomes(&a.Outcomes), outcomes(&b.Outcomes))
	count("rounds", int64(a.Rounds), int64(b.Rounds))
	count("calls", int64(a.Calls), int64(b.Calls))
	count("failed calls", int64(a.Failures), int64(b.Failures))
	count("failed attempts", int64(a.Attempts), int64(b.Attempts))
	count("tokens in", a.Usage.Input, b.Usage.Input)
	count("tokens out", a.Usage.Output, b.Usage.Output)
	fmt.Fprintf(w, "cost\t%s\t%s\t%s\n", costOf(a), costOf(b), change(signed((b.Cost-a.Cost).String(), b.Cost > a.Cost), int64(a.Cost), int64(b.Cost)))
	for _, t := range []struct {
		name string
		x, y events.Micros
	}{{"time", a.Elapsed, b.Elapsed}, {"  running", a.Running, b.Running}, {"  queued", a.Queued, b.Queued}, {"  person", a.Person, b.Person}} {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.name, length(t.x), length(t.y), change(signed(length(t.y-t.x), t.y > t.x), int64(t.x), int64(t.y)))
	}
	return w.Flush()
}

// change adds to a difference what it is of the first value.
func change(difference string, from, to int64) string {
	switch from {
	case to:
		return ""
	case 0:
		return difference
	}
	return fmt.Sprintf("%s (%+.0f%%)", difference, 100*float64(to-from)/float64(from))
}

func signed(text string, more bool) string {
	if more {
		return "+" + text
	}
	return text
}

// costOf says what turns cost, as far as that is known.
func costOf(t *runs.RunTotals) string {
	if t.Unpriced > 0 {
		return t.Cost.String() + " and " + strconv.Itoa(t.Unpriced) + " replies without a price"
	}
	return t.Cost.String()
}

// length is a length of time, to three or four digits.
func length(t events.Micros) string {
	d := time.Duration(t) * time.Microsecond
	for _, unit := range []time.Duration{time.Minute, time.Second, time.Millisecond} {
		if d.Abs() >= unit {
			return d.Round(unit / 100).String()
		}
	}
	return d.String()
}

func outcomes(o *runs.RunOutcomes) string {
	var all []string
	for _, each := range []struct {
		name  string
		count int
	}{{"done", o.Done}, {"stopped", o.Stopped}, {"failed", o.Failed}, {"cancelled", o.Cancelled}, {"running", o.Running}} {
		if each.count > 0 {
			all = append(all, fmt.Sprintf("%d %s", each.count, each.name))
		}
	}
	return strings.Join(all, ", ")
}
