package cmd

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"example.com/life/projections"
)

func knowledgeTraverseCommand(a *app) *cobra.Command {
	var q notesQuestion
	cmd := &cobra.Command{
		Use:     "traverse NOTE",
		Short:   "Show the notes that links lead to from a note, nearest first",
		Example: "  life knowledge traverse heat-shield\n  life knowledge traverse heat-shield --depth 3 --relation supports,part_of --direction out --json",
		Args:    takes(1, 1, "one note, by its id or another name of it"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return askNotes(cmd.Context(), a, &q, "traverse", map[string]string{"note": args[0]}, func(_ reached, t *projections.Traversal) error {
				a.printTraversal(t)
				return nil
			})
		},
	}
	q.flags(cmd, "now")
	q.parameter(cmd, "depth", "depth", "maximum distance in links (default: 2)")
	q.parameter(cmd, "fan-out", "fan_out", "links to follow from one note (default: 50)")
	q.parameter(cmd, "limit", "limit", "at most this many notes (default: 200)")
	q.parameter(cmd, "relation", "relation", "only links with these relations, comma separated")
	q.parameter(cmd, "direction", "direction", "direction in which to follow links: out, in or both (default: both)")
	return cmd
}

// printTraversal prints each note below the one that it was reached from.
func (a *app) printTraversal(t *projections.Traversal) {
	for i := range t.Nodes {
		n := &t.Nodes[i]
		if n.Depth == 0 {
			fmt.Fprintf(seen(a.out), "%s  %s\n", n.Note, n.Title)
			continue
		}
		arrow := "→"
		if n.Inward {
			arrow = "←"
		}
		via := ""
		if n.Depth > 1 {
			via = "  of " + string(n.Via)
		}
		fmt.Fprintf(seen(a.out), "%s%s %s %s  %s%s\n", strings.Repeat("    ", n.Depth), n.Relation, arrow, n.Note, n.Title, via)
	}
	if t.More {
		fmt.Fprintln(a.out, "there are more notes; --limit shows them")
	}
	if t.Cut > 0 {
		fmt.Fprintf(a.out, "for %d notes, not all links were followed; --fan-out follows more\n", t.Cut)
	}
}

func knowledgeShowCommand(a *app) *cobra.Command {
	var q notesQuestion
	cmd := &cobra.Command{
		Use:     "show NOTE",
		Short:   "Show a note: its text, links and versions, and the events they come from",
		Example: "  life knowledge show heat-shield\n  life knowledge show heat-shield --at 120 --json",
		Args:    takes(1, 1, "one note, by its id or another name of it"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return askNotes(cmd.Context(), a, &q, "note", map[string]string{"note": args[0]}, func(host reached, n *projections.NoteAnswer) error {
				return a.printNote(cmd.Context(), host, n)
			})
		},
	}
	q.flags(cmd, always)
	return cmd
}

func (a *app) printNote(ctx context.Context, host reached, n *projections.NoteAnswer) error {
	w := table(a.out)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, value)
		}
	}
	line("note", string(n.Note))
	line("title", n.Title)
	line("removed", n.Removed)
	line("aliases", strings.Join(n.Aliases, ", "))
	line("tags", strings.Join(n.Tags, ", "))
	line("valid", strings.Trim(heldWhen(n.From, n.To), " ()"))
	line("source", n.Source)
	line("by", strings.TrimSpace(n.By+" "+string(n.Agent)))
	if n.Call != "" {
		line("in", fmt.Sprintf("call %s of turn %s", n.Call, n.Turn))
	}
	line("rests on", string(n.Evidence))
	line("event", fmt.Sprintf("%s, position %d, %s", n.Event, n.Position, clock(n.Recorded)))
	for i, e := range n.Edges {
		name, arrow, other := "", "→", string(e.Note)
		if i == 0 {
			name = "links"
		}
		switch {
		case e.Inward:
			arrow = "←"
		case e.Note == "" && e.File:
			other = e.Target + " (a file)"
		case e.Note == "":
			other = e.Target + " (no such note)"
		}
		fmt.Fprintf(w, "%s\t%s %s %s%s\n", name, e.Relation, arrow, other, heldWhen(e.From, e.To))
	}
	if len(n.Versions)+n.Older > 1 {
		for i, v := range n.Versions {
			name := ""
			if i == 0 {
				name = "versions"
			}
			what := "written"
			if v.Removed {
				what = "removed"
			}
			fmt.Fprintf(w, "%s\t%s, position %d, %s %s\n", name, v.Event, v.Position, what, clock(v.Recorded))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	written, err := noteAt(ctx, host, n.Event)
	if err != nil {
		return err
	}
	if text := strings.TrimSpace(written.Inline); text != "" {
		fmt.Fprintf(a.out, "\n%s\n", text)
	}
	if written.Blob != nil {
		fmt.Fprintf(a.out, "\n"+
			"[the beginning of %d bytes; the whole text is blob %s]\n", written.Blob.Size, written.Blob.Hash)
	}
	return nil
}

func knowledgeLintCommand(a *app) *cobra.Command {
	var q notesQuestion
	cmd := &cobra.Command{
		Use:   "lint",
		Short: "Check notes for orphans, broken links, contradictions and stale notes",
		Long: "Check notes. An orphan has no link from or to another note. A link is broken if no note has its target's name. Two notes contradict each\n" +
			"other if one says so, or if an exclusive relation has two targets at the same time. A note is stale if its period of validity is over,\n" +
			"or if others link to it and it has not been written for --days. A name is ambiguous if links use it and several notes have it.",
		Example: "  life knowledge lint\n  life knowledge lint --days 30 --json",
		Args:    takes(0, 0, "nothing"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return askNotes(cmd.Context(), a, &q, "lint", map[string]string{}, func(_ reached, p *projections.NoteProblems) error {
				a.printProblems(p)
				return nil
			})
		},
	}
	q.flags(cmd, "now")
	q.parameter(cmd, "days", "days", "days after which a note that others link to is stale unless it is written again (default: 180)")
	q.parameter(cmd, "limit", "limit", "at most this many findings of each kind (default: 50)")
	return cmd
}

func (a *app) printProblems(p *projections.NoteProblems) {
	list := func(what string, all, listed int, line func(int) string) {
		if all == 0 {
			return
		}
		fmt.Fprintf(a.out, "%s: %d\n", what, all)
		for i := range listed {
			fmt.Fprintf(seen(a.out), "    %s\n", line(i))
		}
		if all > listed {
			fmt.Fprintf(a.out, "    … and %d more\n", all-listed)
		}
	}
	list("contradictions", p.Contradictions, len(p.Contradiction), func(i int) string {
		c := &p.Contradiction[i]
		return fmt.Sprintf("%s: %s: %s, %s", c.Note, c.Reason, c.One, c.Other)
	})
	list("broken links", p.Broken, len(p.BrokenLink), func(i int) string {
		l := &p.BrokenLink[i]
		return fmt.Sprintf("%s: %s → %s", l.Note, l.Relation, l.Target)
	})
	list("stale notes", p.Stale, len(p.StaleNote), func(i int) string {
		s := &p.StaleNote[i]
		return fmt.Sprintf("%s: %s", s.Note, s.Reason)
	})
	list("ambiguous names", p.Ambiguous, len(p.AmbiguousName), func(i int) string {
		n := &p.AmbiguousName[i]
		return n.Name + ": " + strings.Join(n.Notes, ", ")
	})
	list("orphans", p.Orphans, len(p.Orphan), func(i int) string { return fmt.Sprintf("%s  %s", p.Orphan[i].Note, p.Orphan[i].Title) })
	fmt.Fprintf(a.out, "%d notes checked\n", p.Notes)
}
