package sagas

import (
	"fmt"
	"slices"

	"example.com/life/events"
)

// Knowledge is the fold of a tenant's notes, as much of it as deciding needs: which there are, and what their latest versions hold.
type Knowledge struct {
	Revision events.Revision             `json:"revision"`
	Notes    map[events.NoteID]KnownNote `json:"notes,omitempty"`
	Accepted []Accepted                  `json:"accepted,omitempty"` // the latest commands from outside
}

// KnownNote is the latest version of a note.
type KnownNote struct {
	Digest     string          `json:"d"` // of its content
	Revision   events.Revision `json:"r"`
	Collection string          `json:"c,omitempty"` // of the file that it was read from
}

// NewKnowledge returns what is known before anything was written.
func NewKnowledge() Knowledge { return Knowledge{Revision: events.NoRevision} }

// KeepNotes writes and removes notes, all of them or none. What is written as it is known already, or removed for a collection that
// has it no longer, changes nothing: so the same directory may be read in any number of times.
type KeepNotes struct {
	Meta
	Write  []events.Note     `json:"write,omitempty"`
	Remove []NoteRemoval     `json:"remove,omitempty"`
	Author events.NoteAuthor `json:"by,omitempty" command:"By"` // from outside, notes are written by people, not by agents
}

// NoteRemoval is a note to be removed, and why.
type NoteRemoval struct {
	Note       events.NoteID `json:"note"`
	Reason     string        `json:"reason"`
	Collection string        `json:"collection,omitempty"` // if set, the note is removed only if its latest version is from a file of this collection
}

// Decide implements [Saga].
func (k Knowledge) Decide(command Command) ([]events.Event, error) {
	c, ok := command.(KeepNotes)
	if !ok {
		return nil, refuse(RefusedInvalid, "knowledge cannot decide %T", command)
	}
	if err := known(k.Accepted, c); err != nil {
		return nil, err
	}
	if err := validateNotes(&c); err != nil {
		return nil, err
	}
	author := validAuthor(c.Author)
	var decided []events.Event
	latest := events.NoRevision // of what changes nothing
	for i := range c.Write {
		note := validNote(&c.Write[i])
		before, there := k.Notes[note.ID]
		if from := note.Source.Collection; from != "" && before.Collection != "" && before.Collection != from {
			return nil, refuse(RefusedState, "note %s belongs to collection %s, so it is not written from collection %s: give one of them a prefix",
				note.ID, before.Collection, from)
		}
		if there && before.Digest == noteDigest(&note) {
			latest = max(latest, before.Revision)
			continue
		}
		decided = append(decided, events.NoteWritten{Note: note, Author: author, Replaces: before.replaced(there)})
	}
	for _, removal := range c.Remove {
		before, there := k.Notes[removal.Note]
		if removal.Collection != "" && before.Collection != removal.Collection {
			continue
		}
		if !there {
			return nil, refuse(RefusedMissing, "there is no note %s", removal.Note)
		}
		decided = append(decided, events.NoteRemoved{
			Note: removal.Note, Reason: valid(removal.Reason), Author: author, Replaces: before.Revision,
		})
	}
	if len(decided) == 0 {
		return nil, &DuplicateError{Revision: latest, Same: true}
	}
	return decided, nil
}

// replaced is the revision that a new version of the note replaces.
func (n KnownNote) replaced(there bool) events.Revision {
	if !there {
		return events.NoRevision
	}
	return n.Revision
}

// noteDigest identifies what a note says, wherever it was read from.
func noteDigest(note *events.Note) string {
	said := *note
	said.Source = events.NoteFile{}
	return events.HashBytes(appendJSON(nil, said))[:32]
}

// Apply implements [Saga].
func (k Knowledge) Apply(fact Fact) Knowledge {
	k.Revision = fact.Revision
	k.Accepted = accept(k.Accepted, fact)
	switch e := fact.Event.(type) {
	case events.NoteWritten:
		k.Notes = put(k.Notes, e.ID, KnownNote{Digest: noteDigest(&e.Note), Revision: fact.Revision, Collection: e.Source.Collection})
	case events.NoteRemoved:
		delete(k.Notes, e.Note)
	}
	return k
}

// Ready implements [Saga]: knowledge asks nothing of anyone.
func (k Knowledge) Ready() []Request { return nil }

// Recall implements [Saga]: all events of a decision together are its command, without what changed nothing.
func (k Knowledge) Recall(facts []Fact) (Command, error) {
	if len(facts) == 0 {
		return nil, fmt.Errorf("recall a command: no facts")
	}
	c := KeepNotes{Meta: Meta{ID: facts[0].Command, At: facts[0].Time}}
	for _, fact := range facts {
		switch e := fact.Event.(type) {
		case events.NoteWritten:
			c.Write, c.Author = append(c.Write, e.Note), e.Author
		case events.NoteRemoved:
			c.Remove, c.Author = append(c.Remove, NoteRemoval{Note: e.Note, Reason: e.Reason}), e.Author
		default:
			return nil, fmt.Errorf("recall a command: no decision about notes holds %s", fact.Kind())
		}
	}
	return c, nil
}

// fingerprints identify each change that the command asks for: one of them is that of the decision's first event.
func (c *KeepNotes) fingerprints() []string {
	all := make([]string, 0, len(c.Write)+len(c.Remove))
	for i := range c.Write {
		all = append(all, fingerprintEvent(events.NoteWritten{Note: validNote(&c.Write[i])}))
	}
	for _, removal := range c.Remove {
		all = append(all, fingerprintEvent(events.NoteRemoved{Note: removal.Note, Reason: valid(removal.Reason)}))
	}
	return all
}

// validNote makes a note fit for history.
func validNote(note *events.Note) events.Note {
	made := *note
	made.Title, made.Text = valid(note.Title), validText(note.Text)
	made.Aliases, made.Tags = validList(note.Aliases), validList(note.Tags)
	made.Links = slices.Clone(note.Links)
	for i := range made.Links {
		link := &made.Links[i]
		link.Relation, link.Target, link.Heading, link.Label = valid(link.Relation), valid(link.Target), valid(link.Heading), valid(link.Label)
	}
	if len(made.Links) == 0 {
		made.Links = nil // as it is read back
	}
	made.Source = events.NoteFile{Collection: valid(note.Source.Collection), Path: valid(note.Source.Path), Dir: valid(note.Source.Dir)}
	return made
}

func validList(list []string) []string {
	var made []string
	for _, text := range list {
		made = append(made, valid(text))
	}
	return made
}

func validAuthor(a events.NoteAuthor) events.NoteAuthor {
	a.By = valid(a.By)
	return a
}
