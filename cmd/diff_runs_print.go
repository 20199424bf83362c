package cmd

import (
	"fmt"
	"io"
	"strings"

	"example.com/life/actors/history"
	"example.com/life/events"
	"example.com/life/projections/runs"
)

// mostPairs is how many pairs of turns are printed; --json has more.
const mostPairs = 40

// printPairs prints the turns of both in pairs, with what differs.
func printPairs(out io.Writer, c *history.Comparison) error {
	w := table(out)
	if len(c.Pairs) == 0 {
		fmt.Fprintln(out, "no turns to compare")
		return nil
	}
	fmt.Fprintf(w, "\t%s\t%s\t\toutcome\trounds\tcalls\ttokens\tcost\ttime\n", c.A.Agent, c.B.Agent)
	for i := range min(len(c.Pairs), mostPairs) {
		p := &c.Pairs[i]
		both := func(show func(*runs.TurnBrief) string) string { return beside(p.A, p.B, show) }
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", marks(p.Same), turns(p.A, p.Turns), turns(p.B, p.Turns), samenessOf(p),
			both(outcomeOf),
			both(func(t *runs.TurnBrief) string { return fmt.Sprint(t.Totals.Rounds) }),
			both(func(t *runs.TurnBrief) string { return fmt.Sprint(t.Totals.Calls) }),
			both(func(t *runs.TurnBrief) string { return fmt.Sprint(t.Totals.Usage.Total()) }),
			both(func(t *runs.TurnBrief) string { return t.Totals.Cost.String() }),
			both(func(t *runs.TurnBrief) string { return length(t.Totals.Elapsed) }))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if more := len(c.Pairs) - mostPairs + c.More; more > c.More {
		fmt.Fprintf(out, "… %d more; --json lists up to 1000\n", more)
	}
	return nil
}

// marks is a sign for how alike two turns are.
func marks(same runs.Sameness) string {
	switch same {
	case runs.SameAll:
		return "="
	case runs.SameAnswers:
		return "~"
	case runs.Differs:
		return "!"
	case runs.Unlike:
		return "?"
	case runs.OnlyA:
		return "<"
	case runs.OnlyB:
		return ">"
	}
	return ""
}

func samenessOf(p *runs.TurnPair) string {
	switch p.Same {
	case runs.SameAll:
		return "equal"
	case runs.SameAnswers:
		return "other requests, same responses"
	case runs.Differs:
		return fmt.Sprintf("differ from round %d", p.Round)
	case runs.Unlike:
		return "other messages"
	case runs.OnlyA, runs.OnlyB:
		return "alone"
	}
	return string(p.Same)
}

// turns names a turn, or a stretch of several.
func turns(t *runs.TurnBrief, count int) string {
	switch {
	case t == nil:
		return "-"
	case count > 1:
		return fmt.Sprintf("%s to %d", t.Turn, t.Turn.Number()+count-1)
	}
	return string(t.Turn)
}

func outcomeOf(t *runs.TurnBrief) string {
	switch {
	case t.Totals.Turns > 1:
		return outcomes(&t.Totals.Outcomes)
	case t.Outcome == "":
		return "running"
	case t.Reason != "":
		return string(t.Outcome) + " (" + string(t.Reason) + ")"
	}
	return string(t.Outcome)
}

// beside shows one value where both are the same, else both.
func beside(a, b *runs.TurnBrief, show func(*runs.TurnBrief) string) string {
	switch {
	case a == nil:
		return "- | " + show(b)
	case b == nil:
		return show(a) + " | -"
	case show(a) == show(b):
		return show(a)
	}
	return show(a) + " | " + show(b)
}

// printFirst prints the first difference, and the first in what was answered, where that is another one.
func printFirst(out io.Writer, c *history.Comparison) {
	fmt.Fprint(out, "first difference: ")
	printDifference(out, &c.First.Difference)
	printTexts(out, c.First)
	switch {
	case c.Answers == nil:
		fmt.Fprintln(out, "all responses are the same")
	case c.First.What == runs.AspectRequest:
		fmt.Fprint(out, "first difference in a response: ")
		printDifference(out, &c.Answers.Difference)
		printTexts(out, c.Answers)
	}
}

// printDifference says in one line what differs, and where.
func printDifference(out io.Writer, d *runs.Difference) {
	what := string(d.What)
	if len(d.Why) > 0 {
		what += " (" + strings.Join(d.Why, ", ") + ")"
	}
	one, other := sideOf(d.A), sideOf(d.B)
	if d.A != nil && d.B != nil && d.A.Value == d.B.Value { // what differs is not in it
		one, other = strings.TrimSuffix(one, " "+d.A.Value), strings.TrimSuffix(other, " "+d.B.Value)
	}
	fmt.Fprintf(out, "%s: %s | %s\n", what, one, other)
}

func sideOf(s *runs.Side) string {
	if s == nil {
		return "nothing"
	}
	words := []string{string(s.Turn)}
	switch {
	case s.Call != "":
		words = append(words, "call "+string(s.Call))
	case s.Round > 0:
		words = append(words, fmt.Sprintf("round %d", s.Round))
	}
	if s.Value != "" {
		words = append(words, s.Value)
	}
	return strings.Join(words, " ")
}

// printTurns prints one turn of each round by round.
func printTurns(out io.Writer, c *history.Comparison) error {
	t := c.Turn
	for _, turn := range []*runs.RunTurn{t.A, t.B} {
		if turn == nil {
			fmt.Fprintln(out, "the other agent has no such turn")
			continue
		}
		brief := runs.TurnBrief{Outcome: turn.Outcome, Reason: turn.Reason, Totals: turn.Totals}
		fmt.Fprintf(out, "%s: %s, %d rounds, %d calls, %d tokens, %s, %s\n", turn.Turn, outcomeOf(&brief), turn.Totals.Rounds, turn.Totals.Calls,
			turn.Totals.Usage.Total(), costOf(&turn.Totals), length(turn.Totals.Elapsed))
	}
	for _, p := range t.Rounds {
		fmt.Fprintf(out, "\n%s round %s: %s\n", roundMark(&p), besideNumbers(p.A, p.B), besideRounds(t, &p))
		for i := range p.Differs {
			fmt.Fprint(out, "  ")
			printDifference(out, &p.Differs[i])
			printPreviews(out, &p.Differs[i])
		}
	}
	if t.First == nil {
		fmt.Fprintln(out, "\nthey are equal")
	}
	return nil
}

func roundMark(p *runs.RoundPair) string {
	switch {
	case p.B == 0:
		return marks(runs.OnlyA)
	case p.A == 0:
		return marks(runs.OnlyB)
	case len(p.Differs) == 0:
		return marks(runs.SameAll)
	case len(p.Differs) == 1 && p.Differs[0].What == runs.AspectRequest:
		return marks(runs.SameAnswers)
	}
	return marks(runs.Differs)
}

func besideNumbers(a, b int) string {
	show := func(n int) string {
		if n == 0 {
			return "-"
		}
		return fmt.Sprint(n)
	}
	if a == b {
		return show(a)
	}
	return show(a) + " | " + show(b)
}

// besideRounds says what was done in two rounds: which tools were called, or how the reply begins.
func besideRounds(t *runs.TurnComparison, p *runs.RoundPair) string {
	a, b := roundOf(t.A, p.A), roundOf(t.B, p.B)
	if a == b || b == "" {
		return a
	}
	if a == "" {
		return b
	}
	return a + " | " + b
}

func roundOf(t *runs.RunTurn, number int) string {
	if t == nil {
		return ""
	}
	for i := range t.Rounds {
		r := &t.Rounds[i]
		switch {
		case r.Round != number:
		case len(r.Calls) > 0:
			names := make([]string, len(r.Calls))
			for j := range r.Calls {
				names[j] = r.Calls[j].Tool
			}
			return strings.Join(names, " ")
		case !r.Replied:
			return "no reply"
		default:
			return firstLine(events.Text{Inline: r.Text.Preview})
		}
	}
	return ""
}

// printPreviews prints how the texts of a difference begin.
func printPreviews(out io.Writer, d *runs.Difference) {
	if d.A == nil || d.B == nil || d.A.Text == nil || d.B.Text == nil || d.A.Text.Hash == d.B.Text.Hash {
		return
	}
	if d.A.Text.Preview == d.B.Text.Preview {
		fmt.Fprintf(out, "    they begin alike: %s | %s\n", d.A.Text.Event, d.B.Text.Event)
		return
	}
	for _, change := range runs.DiffLines(d.A.Text.Preview, d.B.Text.Preview) {
		fmt.Fprintf(out, "    %c %s\n", change.In, change.Text)
	}
}
