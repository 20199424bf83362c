package sagas_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/markdown"
)

// keep is one change a line: write ID TITLE: TEXT, or remove ID REASON. The command's collection is that of its notes' files.
func (s *script) keep(d *datadriven.TestData, meta sagas.Meta) sagas.KeepNotes {
	c := sagas.KeepNotes{Meta: meta, Author: events.NoteAuthor{By: text(d, "by")}}
	collection := text(d, "collection")
	for line := range strings.Lines(d.Input) {
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		id, rest, _ := strings.Cut(rest, " ")
		switch verb {
		case "write":
			title, body, _ := strings.Cut(rest, ": ")
			note := events.Note{ID: events.NoteID(id), Title: title, Text: events.Text{Inline: body}, Links: markdown.Read(body).Links}
			if collection != "" {
				note.Source = events.NoteFile{Collection: collection, Path: id + ".md"}
			}
			c.Write = append(c.Write, note)
		case "remove":
			c.Remove = append(c.Remove, sagas.NoteRemoval{Note: events.NoteID(id), Reason: rest, Collection: collection})
		default:
			d.Fatalf(s.t, "no change is called %s", verb)
		}
	}
	return c
}

func linksText(links []events.NoteLink) string {
	var out strings.Builder
	for _, link := range links {
		fmt.Fprintf(&out, "%q relation=%s heading=%q label=%q\n", link.Target, link.Relation, link.Heading, link.Label)
	}
	return out.String()
}

// TestKnowledgeAnyOrder writes and removes notes in any order, some of them again: what is known is what was written last, and what
// is known already is never recorded.
func TestKnowledgeAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(sagas.NewKnowledge)
		titles := map[events.NoteID]string{}
		ids := rapid.SampledFrom([]events.NoteID{"a", "b", "c/d"})
		for i := range rapid.IntRange(1, 30).Draw(t, "commands") {
			c := sagas.KeepNotes{Meta: sagas.Meta{ID: events.CommandID(fmt.Sprintf("k%d", i)), At: start}}
			changed := 0
			for _, id := range rapid.SliceOfNDistinct(ids, 1, 3, rapid.ID[events.NoteID]).Draw(t, "notes") {
				title := rapid.SampledFrom([]string{"", "one", "two\xff"}).Draw(t, "title")
				if title == "" {
					c.Remove = append(c.Remove, sagas.NoteRemoval{Note: id, Reason: "old", Collection: "files"})
					if _, there := titles[id]; there {
						changed++
					}
					continue
				}
				c.Write = append(c.Write, events.Note{ID: id, Title: title, Source: events.NoteFile{Collection: "files", Path: string(id)}})
				if titles[id] != strings.ToValidUTF8(title, "\ufffd") {
					changed++
				}
			}
			decided, err := h.decide(t, c)
			var known *sagas.DuplicateError
			if changed == 0 && (!errors.As(err, &known) || !known.Same) || changed > 0 && err != nil || len(decided) != changed {
				t.Fatalf("%+v changes %d notes, recorded %v, %v", c, changed, decided, err)
			}
			for _, event := range decided {
				switch e := event.(type) {
				case events.NoteWritten:
					titles[e.ID] = e.Title
				case events.NoteRemoved:
					delete(titles, e.Note)
				}
			}
			if len(h.saga.Notes) != len(titles) {
				t.Fatalf("known are %v, want %v", h.saga.Notes, titles)
			}
			if rapid.Bool().Draw(t, "snapshot") {
				h.snap(t)
			}
		}
		h.replay(t)
	})
}

// TestNotesAreChecked: each refusal names the note and what is wrong with it.
func TestNotesAreChecked(t *testing.T) {
	note := func(change func(*events.Note)) []events.Note {
		n := events.Note{ID: "a", Title: "A"}
		change(&n)
		return []events.Note{n}
	}
	for want, c := range map[string]sagas.KeepNotes{
		"want 1 to 512":          {},
		"note a is in the":       {Write: []events.Note{{ID: "a", Title: "A"}}, Remove: []sagas.NoteRemoval{{Note: "a", Reason: "x"}}},
		"links are written with": {Write: note(func(n *events.Note) { n.ID = "a#b" })},
		"title of 0 bytes":       {Write: note(func(n *events.Note) { n.Title = "" })},
		"has the tag":            {Write: note(func(n *events.Note) { n.Tags = []string{" "} })},
		"has the alias":          {Write: note(func(n *events.Note) { n.Aliases = []string{strings.Repeat("x", 257)} })},
		"has the relation":       {Write: note(func(n *events.Note) { n.Links = []events.NoteLink{{Target: "b", Relation: "Owns"}} })},
		"the target at least":    {Write: note(func(n *events.Note) { n.Links = []events.NoteLink{{}} })},
		"1025 links":             {Write: note(func(n *events.Note) { n.Links = make([]events.NoteLink, 1025) })},
		"not after":              {Write: note(func(n *events.Note) { n.Validity = events.Validity{From: 7, To: 7} })},
		"the year 9999":          {Write: note(func(n *events.Note) { n.From = 1 << 62 })},
		"bytes of text":          {Write: note(func(n *events.Note) { n.Inline = strings.Repeat("x", events.InlineLimit+1) })},
		"for no reason":          {Remove: []sagas.NoteRemoval{{Note: "a"}}},
		"there is no note a":     {Remove: []sagas.NoteRemoval{{Note: "a", Reason: "x"}}},
	} {
		c.Meta = sagas.Meta{ID: "k1", At: start}
		if _, err := sagas.NewKnowledge().Decide(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestRecallIsBounded: a configuration asks for no more than one event may hold, and names notes that can be.
func TestRecallIsBounded(t *testing.T) {
	for want, knowledge := range map[string]events.KnowledgeConfig{
		"at most 7000 tokens": {Tokens: sagas.MostRecalled + 1},
		"at most 50":          {},
		"a note that cannot":  {Tokens: 10, Near: []events.NoteID{"#"}},
		"-1 tokens":           {Tokens: -1},
	} {
		c := testConfig()
		if c.Knowledge = knowledge; knowledge.Tokens == 0 {
			c.Knowledge.Notes = sagas.MostRecall + 1
		}
		if err := sagas.ValidateConfig(c); err == nil || !strings.Contains(err.Error(), strings.TrimSuffix(want, " 50")) {
			t.Errorf("%+v: %v, want %q", c.Knowledge, err, want)
		}
	}
}
