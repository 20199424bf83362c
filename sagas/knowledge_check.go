package sagas

import (
	"strings"
	"unicode"

	"example.com/life/events"
)

// Bounds of one command about notes, and of one note.
const (
	MaxNotes     = 512     // changes of one command
	MaxNotesText = 4 << 20 // bytes of all texts of one command, without what is in blobs
	MaxNoteLinks = 1024
	MaxNoteNames = 64   // aliases, and tags
	MaxNoteTitle = 512  // in bytes
	maxNoteDir   = 4096 // in bytes
	MaxNoteWord  = 256  // of a tag, an alias, a target, a heading or a label, in bytes
)

// validateNotes reports what makes no sense in a command about notes, as a *RefusalError that names the note.
func validateNotes(c *KeepNotes) error {
	count := len(c.Write) + len(c.Remove)
	if count == 0 || count > MaxNotes {
		return refuse(RefusedInvalid, "the command has %d notes, want 1 to %d: send more in several commands", count, MaxNotes)
	}
	size := 0
	for i := range c.Write {
		size += len(c.Write[i].Inline)
	}
	if size > MaxNotesText {
		return refuse(RefusedInvalid, "the command has %d bytes of text, at most %d are allowed: send the notes in several commands", size, MaxNotesText)
	}
	seen := make(map[events.NoteID]bool, count)
	name := func(id events.NoteID) error {
		if err := id.Validate(); err != nil {
			return refuse(RefusedInvalid, "%v", err)
		}
		if seen[id] {
			return refuse(RefusedInvalid, "note %s is in the command twice", id)
		}
		seen[id] = true
		return nil
	}
	for i := range c.Write {
		if err := name(c.Write[i].ID); err != nil {
			return err
		}
		if err := ValidateNote(&c.Write[i]); err != nil {
			return err
		}
		if size := len(c.Write[i].Inline); size > events.InlineLimit {
			return refuse(RefusedInvalid, "note %s has %d bytes of text beside its blob, at most %d are kept there", c.Write[i].ID, size, events.InlineLimit)
		}
	}
	for _, removal := range c.Remove {
		if err := name(removal.Note); err != nil {
			return err
		}
		if strings.TrimSpace(removal.Reason) == "" {
			return refuse(RefusedInvalid, "note %s is removed for no reason: give one", removal.Note)
		}
	}
	return nil
}

// ValidateNote reports what makes no sense in a note, as a *RefusalError. How long its text may be is not looked at.
func ValidateNote(note *events.Note) error {
	switch {
	case strings.TrimSpace(note.Title) == "" || len(note.Title) > MaxNoteTitle:
		return refuse(RefusedInvalid, "note %s has a title of %d bytes, want 1 to %d", note.ID, len(note.Title), MaxNoteTitle)
	case len(note.Aliases) > MaxNoteNames || len(note.Tags) > MaxNoteNames:
		return refuse(RefusedInvalid, "note %s has %d aliases and %d tags, at most %d of each", note.ID, len(note.Aliases), len(note.Tags), MaxNoteNames)
	case len(note.Links) > MaxNoteLinks:
		return refuse(RefusedInvalid, "note %s has %d links, at most %d", note.ID, len(note.Links), MaxNoteLinks)
	case len(note.Source.Collection) > MaxNoteWord || len(note.Source.Path) > 2*MaxNoteWord || len(note.Source.Dir) > maxNoteDir:
		return refuse(RefusedInvalid, "note %s names a collection of %d bytes, a path of %d and a directory of %d, at most %d, %d and %d",
			note.ID, len(note.Source.Collection), len(note.Source.Path), len(note.Source.Dir), MaxNoteWord, 2*MaxNoteWord, maxNoteDir)
	}
	if err := validatePeriod(note.Validity, "note", string(note.ID)); err != nil {
		return err
	}
	for what, words := range map[string][]string{"alias": note.Aliases, "tag": note.Tags} {
		for _, word := range words {
			if strings.TrimSpace(word) == "" || len(word) > MaxNoteWord {
				return refuse(RefusedInvalid, "note %s has the %s %q: want 1 to %d bytes", note.ID, what, events.Clip(word, 200), MaxNoteWord)
			}
		}
	}
	for i := range note.Links {
		if err := validateLink(note.ID, &note.Links[i]); err != nil {
			return err
		}
	}
	return nil
}

func validateLink(id events.NoteID, link *events.NoteLink) error {
	if strings.TrimSpace(link.Target) == "" || max(len(link.Target), len(link.Heading), len(link.Label)) > MaxNoteWord {
		return refuse(RefusedInvalid, "note %s has a link to %q: target, heading and label have at most %d bytes, and the target at least one",
			id, events.Clip(link.Target, 200), MaxNoteWord)
	}
	if link.Relation != "" && !IsRelation(link.Relation) {
		return refuse(RefusedInvalid, "note %s has the relation %q: want at most 64 lower-case letters, digits, - and _, beginning with a letter",
			id, events.Clip(link.Relation, 200))
	}
	return validatePeriod(link.Validity, "a link of note", string(id))
}

// validatePeriod refuses times that are none, and periods that end before they begin.
func validatePeriod(v events.Validity, what, name string) error {
	if max(v.From, v.To, -v.From, -v.To) > latestTime {
		return refuse(RefusedInvalid, "%s %s is valid from or to a time beyond the year 9999, or as long before 1970", what, name)
	}
	if v.From != 0 && v.To != 0 && v.To <= v.From {
		return refuse(RefusedInvalid, "%s %s is valid to a time that is not after the one from which it is valid", what, name)
	}
	return nil
}

// latestTime is the beginning of the year 10000.
const latestTime = 253_402_300_800 * events.Second

// IsRelation reports whether a text can name what kind of edge a link is.
func IsRelation(text string) bool {
	if text == "" || len(text) > 64 {
		return false
	}
	for i, r := range text {
		letter := unicode.IsLetter(r) && !unicode.IsUpper(r) && !unicode.IsTitle(r)
		if !letter && (i == 0 || !unicode.IsDigit(r) && r != '-' && r != '_') {
			return false
		}
	}
	return true
}
