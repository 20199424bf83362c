package tools_test

import (
	"encoding/json"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/events"
)

// someNotes is a few notes about heat, and a long one.
func someNotes(t *testing.T) actors.Knowledge {
	k := actorstest.NewKnowledge()
	for _, note := range []events.Note{
		{ID: "shield", Title: "Heat shield", Tags: []string{"thermal"}, Text: events.Text{Inline: "It takes the heat of\nsupports:: [[re-entry]]."}},
		{ID: "re-entry", Title: "Re-entry", Text: events.Text{Inline: "Hot."}, Validity: events.Validity{From: 1}},
		{ID: "old", Title: "Old heat shield", Text: events.Text{Inline: "Out of use."}, Validity: events.Validity{To: 86_400_000_000}},
		{ID: "long", Title: "Long", Text: events.Text{Inline: strings.Repeat("A long line about nothing.\n", 1_200)}},
	} {
		if _, err := k.Keep(t.Context(), actors.NoteChange{Note: note}); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

// notebook runs tools with notes.
type notebook struct {
	bench
	notes actors.Knowledge
}

func (b notebook) says(tool string, a args, want string) {
	b.Helper()
	encoded, err := json.Marshal(a)
	if err != nil {
		b.Fatal(err)
	}
	result, err := b.tools[tool].Run(b.Context(), actors.ToolUse{Arguments: encoded, Knowledge: b.notes})
	if err != nil || result.Text != want {
		b.Errorf("%s %s says (failed %v, %v)\n%s\nwant\n%s", tool, encoded, result.Failed, err, result.Text, want)
	}
}

func TestNotes(t *testing.T) {
	b := notebook{newBench(t), someNotes(t)}
	b.says("knowledge_search", args{"query": "heat shields", "limit": 2}, `1. Heat shield [[shield]] (score 2.80, tags thermal)
   It takes the heat of
   supports:: [[re-entry]].
2. Re-entry [[re-entry]] (score 0.70, valid from 1970-01-01)
   Hot.
[2 of 2 notes that fit]`)
	b.says("knowledge_search", args{"query": "heat shield", "limit": 1, "valid": "1970-01-01"}, `1. Heat shield [[shield]] (score 8.80, tags thermal)
   It takes the heat of
   supports:: [[re-entry]].
[1 of 2 notes that fit]`)
	b.says("knowledge_search", args{"query": "unicorns"}, "[no note fits]")
	b.says("knowledge_search", args{"query": "heat", "near": "unicorns"}, `not known: there is no note "unicorns" to be near to`)
	b.says("knowledge_traverse", args{"note": "re-entry"}, `Re-entry [[re-entry]]
   Hot.
  supports ← Heat shield [[shield]] (with [[re-entry]])`)
	b.says("knowledge_traverse", args{"note": "unicorns"}, `not known: there is no note "unicorns"`)
	b.says("note", args{"note": "cork", "text": "# Cork\nIt burns slowly.", "tags": "thermal, #material", "links": "made_into:: [[shield]]"}, "note [[cork]] is written")
	b.says("note", args{"note": "cork", "text": "# Cork\nIt burns slowly.", "tags": "thermal, material", "links": "made_into:: [[shield]]"}, "note [[cork]] is as it was already")
	b.says("knowledge_traverse", args{"note": "cork", "depth": 1}, `Cork [[cork]]
   # Cork
   It burns slowly.
  made_into → Heat shield [[shield]] (with [[cork]])`)
	b.says("note", args{"note": "cork", "remove": "it is a bark"}, "note [[cork]] is removed")
	b.says("note", args{"note": "cork", "remove": "it is a bark"}, "there is no note cork")
	b.says("note", args{"note": "a#b", "text": "x"}, `invalid id: note name "a#b" has one of [ ] | #, which links are written with`)
	b.says("note", args{"note": "fact", "from_call": "1.9"}, "this turn has no call 1.9 that returned")
	b.notes = nil
	b.says("note", args{"note": "cork", "text": "x"}, "there are no notes here")
	b.says("knowledge_search", args{"query": "x"}, "there are no notes here")
}
