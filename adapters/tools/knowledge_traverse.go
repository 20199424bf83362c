package tools

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/projections"
)

type knowledgeTraverseArgs struct {
	Note      string `json:"note" jsonschema:"where to begin: the name of a note" min:"1" max:"256"`
	Depth     int    `json:"depth,omitempty" jsonschema:"how many links away; 2 if it is left out" min:"1" max:"5"`
	Relation  string `json:"relation,omitempty" jsonschema:"only links of these kinds, with commas between" max:"400"`
	Direction string `json:"direction,omitempty" jsonschema:"out: links of the note; in: links to it; both if it is left out" max:"4"`
	Limit     int    `json:"limit,omitempty" jsonschema:"how many notes at most; 50 if it is left out" min:"1" max:"200"`
	Valid     string `json:"valid,omitempty" jsonschema:"only what holds on this day, as 2026-01-31; today if it is left out" max:"40"`
}

func newKnowledgeTraverse() (actors.Tool, error) {
	return newTool(actors.ToolSpec{Name: "knowledge_traverse", Risk: events.RiskLow, Repeatable: true}, knowledgeTraverse)
}

func knowledgeTraverse(ctx context.Context, use actors.ToolUse, args knowledgeTraverseArgs) (actors.ToolResult, error) {
	at, err := moment(args.Valid)
	if err != nil {
		return actors.ToolResult{}, fmt.Errorf("valid: %w", err)
	}
	parameters := map[string]string{
		"note": args.Note, "relation": args.Relation, "direction": args.Direction, "valid": momentText(at), "limit": strconv.Itoa(max(args.Limit, 0)),
	}
	if args.Limit == 0 {
		parameters["limit"] = "50"
	}
	if args.Depth > 0 {
		parameters["depth"] = strconv.Itoa(args.Depth)
	}
	var reached projections.Traversal
	if err := askNotes(ctx, use, "traverse", parameters, &reached); err != nil {
		return actors.ToolResult{}, err
	}
	text, err := use.Knowledge.Text(ctx, reached.Nodes[0].Event)
	if err != nil {
		return actors.ToolResult{}, err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s [[%s]]\n%s", oneLine(reached.Nodes[0].Title), reached.Note, indented(text, outputLimit/2))
	for i, n := range reached.Nodes[1:] {
		if out.Len() > outputLimit-1000 {
			fmt.Fprintf(&out, "[%d more notes are left out]\n", len(reached.Nodes)-1-i)
			break
		}
		arrow := "→"
		if n.Inward {
			arrow = "←"
		}
		fmt.Fprintf(&out, "%s%s %s %s [[%s]] (with [[%s]])\n", strings.Repeat("  ", n.Depth), n.Relation, arrow, oneLine(n.Title), n.Note, n.Via)
	}
	if reached.More || reached.Cut > 0 {
		out.WriteString("[there is more: raise limit, or choose relations]")
	}
	return actors.ToolResult{Text: strings.TrimSuffix(out.String(), "\n")}, nil
}
