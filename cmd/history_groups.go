package cmd

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"example.com/life/actors/history"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/projections/runs"
)

// groups prints an agent's history turn by turn, page by page.
func (a *app) groups(ctx context.Context, host api.Host, agent events.AgentID, first, last events.Revision, f *historyFlags) error {
	limit := f.limit
	if !f.limited && !f.asJSON && first == events.NoRevision && last == events.NoRevision {
		limit = shownTurns
	}
	order := history.GroupOrder{First: first, Last: last, Forward: !f.reverse && (limit == 0 || f.fromHere)}
	tail := !f.reverse && !order.Forward // the latest, in the order of history
	var kept []runs.Group
	for printed := 0; ; {
		if order.Limit = 100; limit > 0 {
			order.Limit = min(limit-printed, order.Limit)
		}
		page, err := host.Groups(ctx, agent, order)
		if err != nil {
			return err
		}
		if !order.Forward {
			slices.Reverse(page.Groups)
		}
		if limit > 0 {
			page.Groups = page.Groups[:min(len(page.Groups), limit-printed)]
		}
		printed += len(page.Groups)
		if tail {
			kept = append(kept, page.Groups...)
		} else if err := a.printGroups(page.Groups, f.asJSON); err != nil {
			return err
		}
		if page.Next == events.NoRevision || len(page.Groups) == 0 || limit > 0 && printed >= limit {
			slices.Reverse(kept)
			if err := a.printGroups(kept, f.asJSON); err != nil {
				return err
			}
			if n := len(kept); !f.limited && n > 0 && kept[0].First > 0 {
				fmt.Fprintf(a.errs, "life: these are the latest %d turns; --limit 0 shows all, --from and --to select a part\n", n)
			}
			return nil
		}
		if order.Forward {
			order.First = page.Next
		} else {
			order.Last = page.Next
		}
	}
}

func (a *app) printGroups(groups []runs.Group, asJSON bool) error {
	for i := range groups {
		if asJSON {
			if err := a.printJSON(&groups[i]); err != nil {
				return err
			}
			continue
		}
		printGroup(seen(a.out), &groups[i])
	}
	return nil
}

// printGroup prints a turn as a block.
func printGroup(out io.Writer, g *runs.Group) {
	at := fmt.Sprintf("@%d", g.First)
	if g.Last > g.First {
		at += fmt.Sprintf("-%d", g.Last)
	}
	if g.Turn == "" {
		fmt.Fprintf(out, "before the first turn  %s  %s\n", exactly(g.Started), at)
	} else {
		fmt.Fprintf(out, "%s  %s  %s  %s\n", g.Turn, exactly(g.Started), groupOutcome(g), at)
	}
	for _, m := range g.Messages {
		if !slices.ContainsFunc(g.Lines, func(l runs.GroupLine) bool { return l.ID == string(m.ID) }) {
			fmt.Fprintf(out, "  %-5s %s\n", m.ID, cutTo(m.Text, 100)) // it came before
		}
	}
	for i := range g.Lines {
		line := groupLine(&g.Lines[i])
		if l := &g.Lines[i]; l.LeftOut {
			line += "; " + seeAll(g.Turn, events.CallID(l.ID), l.Revision, true)
		}
		fmt.Fprintf(out, "  %s\n", line)
	}
	if len(g.Others) > 0 {
		fmt.Fprintf(out, "  and %s\n", others(g.Others))
	}
}

func groupOutcome(g *runs.Group) string {
	how := "running"
	if g.Outcome != "" {
		how = string(g.Outcome)
	}
	if g.Reason != "" {
		how += " (" + string(g.Reason) + ")"
	}
	cost := g.Cost.String()
	if g.Unpriced {
		cost += " and calls without a price"
	}
	return fmt.Sprintf("%s: %d rounds, %d calls, %d tokens, %s, %s", how, g.Rounds, g.Calls, g.Tokens, cost, length(g.Elapsed))
}

// groupLine is one message, round, call or event.
func groupLine(l *runs.GroupLine) string {
	switch l.What {
	case runs.LineMessage:
		who := l.State
		if l.Name != "" {
			who += " from " + l.Name
		}
		return fmt.Sprintf("%-5s %s: %s", l.ID, events.Visible(who), cutTo(l.Text, 100))
	case runs.LineSummary:
		if l.State == "asked" {
			return fmt.Sprintf("%-5s %s is asked to summarise the oldest messages: no reply yet", "", events.Visible(l.Name))
		}
		return fmt.Sprintf("%-5s %s %s", "", events.Visible(l.Name), cutTo(l.Text, 160))
	case runs.LineRound:
		took := fmt.Sprintf("%d tokens, %s", l.Tokens, length(l.Duration))
		if l.Cost > 0 {
			took += ", " + l.Cost.String()
		}
		if l.Attempts > 1 {
			took += fmt.Sprintf(", %d attempts", l.Attempts)
		}
		if l.State == "asked" {
			took = "no reply yet"
		}
		return fmt.Sprintf("%-5s %s %s: %s (%s)", l.ID, events.Visible(l.Name), l.State, cutTo(l.Text, 90), took)
	case runs.LineCall:
		text := cutTo(l.Text, 60)
		if l.State == "waits for approval" { // a person decides on it
			text = events.Visible(l.Text)
		}
		line := fmt.Sprintf("%-5s %s %s: %s", l.ID, events.Visible(l.Name), text, l.State)
		if l.Result != "" {
			line += " " + cutTo(l.Result, 60)
		}
		if l.Duration > 0 {
			line += " (" + length(l.Duration) + ")"
		}
		return line
	}
	return fmt.Sprintf("@%-4d %s", l.Revision, cutTo(l.Text, 120))
}

// others counts the events without a line, by what they are about.
func others(counts []runs.GroupCount) string {
	var names []string
	sums := map[string]int{}
	for _, c := range counts {
		family, _, _ := strings.Cut(string(c.Kind), ".")
		if sums[family] == 0 {
			names = append(names, family)
		}
		sums[family] += c.Count
	}
	for i, name := range names {
		names[i] = fmt.Sprintf("%d of %s", sums[name], name)
	}
	return strings.Join(names, ", ")
}
