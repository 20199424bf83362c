package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"example.com/life/actors/projector"
	"example.com/life/projections"
)

func treeCommand(a *app) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "tree [AGENT]",
		Short: "Show the tree of forks and their outcomes",
		Long: "Show the tree of forks that an agent belongs to: for each fork, where it was forked, which settings differ from its parent's, its first\n" +
			"difference, the outcome of its latest turn and the cost of its own calls. Without an agent, show all trees.",
		Example: "  life tree demo\n  life tree --json",
		Args:    takes(0, 1, "at most one agent"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ask := projector.Question{Projection: "forks", Query: projections.Query{Name: "tree", Parameters: map[string]string{}}}
			if len(args) > 0 {
				agent, err := checkAgent(args[0])
				if err != nil {
					return err
				}
				ask.Query.Parameters["agent"] = string(agent)
			}
			return a.with(cmd.Context(), func(host reached) error {
				answer, err := host.Query(cmd.Context(), ask, nil)
				if err != nil {
					return err
				}
				var tree projections.ForkTree
				if err := json.Unmarshal(answer.Answer, &tree); err != nil {
					return fmt.Errorf("read the tree: %w", err)
				}
				if asJSON {
					return a.printJSON(tree)
				}
				return printTree(seen(a.out), &tree, args)
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func printTree(out io.Writer, tree *projections.ForkTree, asked []string) error {
	if len(tree.Nodes) == 0 {
		fmt.Fprintln(out, "there are no forks; life fork AGENT --at REVISION creates one")
		return nil
	}
	w := table(out)
	fmt.Fprintln(w, "AGENT\tAT\tCHANGED\tFIRST DIFFERENCE\tTAPED\tLIVE\tTURNS\tOUTCOME\tCOST")
	for i := range tree.Nodes {
		n := &tree.Nodes[i]
		name := strings.Repeat("  ", n.Depth) + string(n.Agent)
		if len(asked) > 0 && asked[0] == string(n.Agent) {
			name += " *"
		}
		at, taped, live := "", "", ""
		if n.Parent != "" {
			at, taped, live = fmt.Sprint(n.At), fmt.Sprint(n.Taped), fmt.Sprint(n.Live)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", name, at, otherwise(n), difference(n), taped, live, n.Turns, leftAs(n), n.Cost)
	}
	return w.Flush()
}

// otherwise says what a fork has otherwise than its parent.
func otherwise(n *projections.ForkNode) string {
	parts := n.Changed
	if n.Edited {
		parts = append([]string{"a message"}, parts...)
	}
	return strings.Join(parts, ", ")
}

// difference says where a fork went another way than its parent first.
func difference(n *projections.ForkNode) string {
	switch d := n.Diverged; {
	case d == nil && n.Parent == "":
		return ""
	case d == nil && !n.Finished:
		return "(still following)"
	case d == nil && string(n.Tape) == "live":
		return "(all live)"
	case d == nil:
		return "none"
	case d.Call != "":
		return fmt.Sprintf("turn %d, call %s", d.Turn.Number(), d.Call)
	default:
		return fmt.Sprintf("turn %d, round %d", d.Turn.Number(), d.Round)
	}
}

func leftAs(n *projections.ForkNode) string {
	if n.Reason != "" {
		return fmt.Sprintf("%s (%s)", n.Outcome, n.Reason)
	}
	return string(n.Outcome)
}
