package cmd

import (
	"fmt"
	"strings"

	"example.com/life/events"
	"example.com/life/projections/runs"
)

// whatIfResult is the last line of life what-if --json.
type whatIfResult struct {
	ID string `json:"id"`
	runs.WhatIfSummary
}

// print prints what became of each turn, and what it adds up to.
func (w *whatIf) print(turns []runs.WhatIfTurn) error {
	summary := runs.Summarize(turns)
	if w.flags.asJSON {
		for i := range turns {
			if err := w.app.printJSON(turns[i]); err != nil {
				return err
			}
		}
		return w.app.printJSON(map[string]whatIfResult{"summary": {w.config.ID, summary}})
	}
	if err := w.printTurns(turns); err != nil {
		return err
	}
	return w.printSummary(&summary)
}

func (w *whatIf) printTurns(turns []runs.WhatIfTurn) error {
	out := table(w.app.out)
	fmt.Fprintln(out, "\tturn\tfork\toutcome\trounds\tcalls\ttokens\tcost\trunning\tfirst difference")
	for len(turns) > 0 {
		t := &turns[0]
		if t.State == runs.WhatIfCompared {
			both := func(show func(*runs.TurnBrief) string) string { return beside(t.A, t.B, show) }
			fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", marks(t.Same), t.Turn, t.Fork, both(outcomeOf),
				both(func(t *runs.TurnBrief) string { return fmt.Sprint(t.Totals.Rounds) }),
				both(func(t *runs.TurnBrief) string { return fmt.Sprint(t.Totals.Calls) }),
				both(func(t *runs.TurnBrief) string { return fmt.Sprint(t.Totals.Usage.Total()) }),
				both(func(t *runs.TurnBrief) string { return costOf(&t.Totals) }),
				both(func(t *runs.TurnBrief) string { return length(t.Totals.Running) }), whereDiffers(t))
			turns = turns[1:]
			continue
		}
		alike := likewise(turns)
		for i := range min(alike, 3) {
			fmt.Fprintf(out, " \t%s\t%s\t%s\n", turns[i].Turn, turns[i].Fork, problemOf(&turns[i]))
		}
		if alike > 3 {
			fmt.Fprintf(out, " \t… %d more\t\tthe same\n", alike-3)
		}
		turns = turns[alike:]
	}
	return out.Flush()
}

// likewise is how many turns, from the first on, were not compared for the same reason.
func likewise(turns []runs.WhatIfTurn) int {
	reason := func(t *runs.WhatIfTurn) string { return strings.ReplaceAll(problemOf(t), string(t.Fork), "") }
	n := 1
	for n < len(turns) && turns[n].State != runs.WhatIfCompared && reason(&turns[n]) == reason(&turns[0]) {
		n++
	}
	return n
}

// problemOf says why a turn was not compared.
func problemOf(t *runs.WhatIfTurn) string {
	return strings.ReplaceAll(string(t.State), "_", " ") + ": " + events.Visible(t.Problem)
}

// whereDiffers says in short where a turn takes another way.
func whereDiffers(t *runs.WhatIfTurn) string {
	d := t.Answers
	if d == nil {
		if d = t.First; d == nil {
			return "equal"
		}
		return string(d.What) + " (" + strings.Join(d.Why, ", ") + "), same responses"
	}
	at := d.A
	if at == nil {
		at = d.B
	}
	where := fmt.Sprintf("round %d", at.Round)
	if at.Call != "" {
		where = "call " + string(at.Call)
	}
	return where + ": " + string(d.What)
}

func (w *whatIf) printSummary(s *runs.WhatIfSummary) error {
	out := w.app.out
	fmt.Fprintf(out, "\n"+
		"what-if %s: %d turns, %d compared: %d equal, %d with the same responses to other requests, %d different\n",
		w.config.ID, s.Turns, s.Compared, s.Equal, s.Asked, s.Differ)
	for _, place := range s.Where {
		fmt.Fprintf(out, "  %d differ first in: %s\n", place.Turns, place.What)
	}
	for _, end := range s.Outcomes {
		if end.A != end.B {
			fmt.Fprintf(out, "  %d ended differently: %s before, %s now\n", end.Turns, end.A, end.B)
		}
	}
	for _, other := range []struct {
		count int
		what  string
	}{{s.Waits, "are waiting for a person, or did not end in time"}, {s.Failed, "failed"}, {s.NotRun, "were not run"}} {
		if other.count > 0 {
			fmt.Fprintf(out, "  %d %s\n", other.count, other.what)
		}
	}
	if s.Compared == 0 {
		return nil
	}
	fmt.Fprintln(out)
	counts := table(out)
	fmt.Fprintln(counts, "turns with\tless\tthe same\tmore")
	for _, c := range s.Better {
		fmt.Fprintf(counts, "%s\t%d\t%d\t%d\n", c.Of, c.Less, c.Same, c.More)
	}
	if err := counts.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	if err := printTotals(out, [2]string{"before", "now"}, &s.A, &s.B); err != nil {
		return err
	}
	fmt.Fprintf(out, "spent: %s\n", s.Live)
	return nil
}
