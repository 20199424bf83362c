package tools

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/markdown"
)

type noteArgs struct {
	Note     string `json:"note" jsonschema:"the name of the note, such as projects/heat-shield; one that exists is replaced as a whole" min:"1" max:"256"`
	Title    string `json:"title,omitempty" jsonschema:"its title; the first heading of the text, or its name, if it is left out" max:"512"`
	Text     string `json:"text,omitempty" jsonschema:"Markdown; [[name]] links to another note, relation:: [[name]] says how" max:"200000"`
	Tags     string `json:"tags,omitempty" jsonschema:"with commas between" max:"2000"`
	Aliases  string `json:"aliases,omitempty" jsonschema:"other names, with commas between" max:"2000"`
	Links    string `json:"links,omitempty" jsonschema:"further links that do not stand in the text, one kind a line: relation:: [[name]], [[name]]" max:"20000"`
	From     string `json:"valid_from,omitempty" jsonschema:"the day from which it holds, as 2026-01-31" max:"40"`
	To       string `json:"valid_to,omitempty" jsonschema:"the day from which it holds no more" max:"40"`
	FromCall string `json:"from_call,omitempty" jsonschema:"the earlier call of this turn that it rests on, by round and place, such as 1.2; without a text the note gets what that call returned" max:"20"`
	Remove   string `json:"remove,omitempty" jsonschema:"remove the note instead, for this reason" max:"2000"`
}

// newNote makes the tool that writes notes. The host knows the call, so doing it again for the same call writes once.
func newNote() (actors.Tool, error) {
	return newTool(actors.ToolSpec{Name: "note", Risk: events.RiskMedium, Repeatable: true, Inside: true}, writeNote)
}

func writeNote(ctx context.Context, use actors.ToolUse, args noteArgs) (actors.ToolResult, error) {
	if use.Knowledge == nil {
		return actors.ToolResult{}, errNoNotes
	}
	change, err := args.change()
	if err != nil {
		return actors.ToolResult{}, err
	}
	receipt, err := use.Knowledge.Keep(ctx, change)
	if err != nil {
		return actors.ToolResult{}, plainRefusal(err)
	}
	done := "written"
	switch {
	case args.Remove != "":
		done = "removed"
	case receipt.Duplicate && receipt.Written == 0:
		done = "as it was already"
	}
	return actors.ToolResult{Text: fmt.Sprintf("note [[%s]] is %s", args.Note, done)}, nil
}

func (a *noteArgs) change() (actors.NoteChange, error) {
	change := actors.NoteChange{Note: events.Note{ID: events.NoteID(a.Note)}, Remove: a.Remove, FromCall: events.CallID(a.FromCall)}
	if a.Remove != "" {
		return change, nil
	}
	if a.Text == "" && a.FromCall == "" {
		return change, errors.New("text: a note has a text, or from_call names a call whose result it gets")
	}
	note := &change.Note
	note.Text = events.Text{Inline: a.Text}
	note.Title = cmp.Or(strings.TrimSpace(a.Title), events.Clip(markdown.Read(a.Text).Title, sagas.MaxNoteTitle), a.Note)
	note.Tags, note.Aliases = parts(a.Tags), parts(a.Aliases)
	if note.Links = markdown.Read(a.Links).Links; len(note.Links) == 0 && strings.TrimSpace(a.Links) != "" {
		return change, errors.New("links: there is none in it; write them as supports:: [[name]]")
	}
	for _, each := range []struct {
		name, text string
		at         *events.Micros
	}{{"valid_from", a.From, &note.From}, {"valid_to", a.To, &note.To}} {
		if each.text == "" {
			continue
		}
		at, err := moment(each.text)
		if err != nil {
			return change, fmt.Errorf("%s: %w", each.name, err)
		}
		*each.at = at
	}
	return change, nil
}

// parts are what stands between commas.
func parts(text string) []string {
	var all []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimPrefix(strings.TrimSpace(part), "#"); part != "" {
			all = append(all, part)
		}
	}
	return all
}
