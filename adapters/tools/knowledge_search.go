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

type knowledgeSearchArgs struct {
	Query string `json:"query" jsonschema:"words, names or tags to look for" min:"1" max:"2000"`
	Limit int    `json:"limit,omitempty" jsonschema:"how many notes at most; 5 if it is left out" min:"1" max:"20"`
	Tag   string `json:"tag,omitempty" jsonschema:"only notes with this tag" max:"256"`
	Near  string `json:"near,omitempty" jsonschema:"prefer what is linked with this note" max:"256"`
	Valid string `json:"valid,omitempty" jsonschema:"only what holds on this day, as 2026-01-31; today if it is left out" max:"40"`
}

func newKnowledgeSearch() (actors.Tool, error) {
	return newTool(actors.ToolSpec{Name: "knowledge_search", Risk: events.RiskLow, Repeatable: true}, knowledgeSearch)
}

func knowledgeSearch(ctx context.Context, use actors.ToolUse, args knowledgeSearchArgs) (actors.ToolResult, error) {
	at, err := moment(args.Valid)
	if err != nil {
		return actors.ToolResult{}, fmt.Errorf("valid: %w", err)
	}
	if args.Limit == 0 {
		args.Limit = 5
	}
	var found projections.FoundNotes
	err = askNotes(ctx, use, "search", map[string]string{
		"text": args.Query, "limit": strconv.Itoa(args.Limit), "tag": args.Tag, "near": args.Near, "valid": momentText(at),
	}, &found)
	if err != nil {
		return actors.ToolResult{}, err
	}
	if len(found.Notes) == 0 {
		return actors.ToolResult{Text: "[no note fits]"}, nil
	}
	var out strings.Builder
	for i := range found.Notes {
		n := &found.Notes[i]
		text, err := use.Knowledge.Text(ctx, n.Event)
		if err != nil {
			return actors.ToolResult{}, err
		}
		fmt.Fprintf(&out, "%d. %s [[%s]] (score %.2f%s%s)\n", i+1, oneLine(n.Title), n.Note, n.Score, tagged(n.Tags), period(n.From, n.To))
		out.WriteString(indented(text, (outputLimit-out.Len())/(2*(len(found.Notes)-i))))
	}
	fmt.Fprintf(&out, "[%d of %d notes that fit]", len(found.Notes), max(found.Matched, len(found.Notes)))
	return actors.ToolResult{Text: out.String()}, nil
}

func tagged(tags []string) string {
	if len(tags) == 0 {
		return ""
	}
	return ", tags " + strings.Join(tags, " ")
}
