package events

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// NoteID names a note among those of its tenant: 1 to 256 bytes of plain text such as projects/heat-shield. Of a note that was read
// from a file it is the file's path without its ending.
type NoteID string

// Validate reports whether id can name a note and stand in a [[link]].
func (id NoteID) Validate() error {
	text := string(id)
	switch {
	case text == "" || len(text) > 256:
		return fmt.Errorf("%w: note name %q has %d bytes, want 1 to 256", ErrInvalidID, Clip(text, 80), len(text))
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return fmt.Errorf("%w: note name %q has a control character, or is not UTF-8", ErrInvalidID, text)
	case strings.ContainsAny(text, "[]|#"):
		return fmt.Errorf("%w: note name %q has one of [ ] | #, which links are written with", ErrInvalidID, text)
	case strings.TrimSpace(text) != text || strings.Trim(text, "/") != text || strings.Contains(text, "//"):
		return fmt.Errorf("%w: note name %q has a space or a slash at one of its ends, or an empty part", ErrInvalidID, text)
	}
	return nil
}

// Note is what is kept of one piece of knowledge: its text, its names, and the typed edges that lead from it.
type Note struct {
	ID      NoteID     `json:"note"`
	Title   string     `json:"title"`
	Aliases []string   `json:"aliases,omitempty"` // further names that links may use
	Tags    []string   `json:"tags,omitempty"`
	Links   []NoteLink `json:"links,omitempty"`
	Validity
	Text            // over InlineLimit the beginning of that size and a blob: what is not inline is not searched
	Source NoteFile `json:"source,omitzero"`
}

// Validity is the time in which something holds in the world, whenever it was recorded. Zero is open: since ever, until further notice.
type Validity struct {
	From Micros `json:"valid_from,string,omitempty"` // from this moment on
	To   Micros `json:"valid_to,string,omitempty"`   // until before this moment
}

// At reports whether it holds at a moment.
func (v Validity) At(moment Micros) bool {
	return (v.From == 0 || v.From <= moment) && (v.To == 0 || moment < v.To)
}

// NoteLink is an edge of the knowledge graph, from the note that holds it to the note that Target names: by its id, its title, an
// alias, or the last part of its id.
type NoteLink struct {
	Relation  string `json:"relation,omitempty"` // what kind of edge; empty: a plain link
	Target    string `json:"target"`
	Heading   string `json:"heading,omitempty"`   // within the target
	Label     string `json:"label,omitempty"`     // what stands in the text in place of the target
	Exclusive bool   `json:"exclusive,omitempty"` // at any time the relation has at most one target
	File      bool   `json:"file,omitempty"`      // the target is a file beside the notes that is no note, such as a picture
	Validity
}

// NoteFile is the file that a note was read from.
type NoteFile struct {
	Collection string `json:"collection,omitempty"` // the name under which its directory was added
	Path       string `json:"path,omitempty"`       // in it
	Dir        string `json:"dir,omitempty"`        // where the directory was
}

// CutMarkdown cuts the ending of a Markdown file's name off, and reports whether there was one.
func CutMarkdown(name string) (string, bool) {
	at := strings.LastIndexByte(name, '.')
	if at <= 0 || len(name)-at > len(".markdown") {
		return name, false
	}
	switch strings.ToLower(name[at:]) {
	case ".md", ".markdown", ".mdown", ".mdwn", ".mkd", ".mkdn", ".mkdown", ".mdtxt", ".mdtext":
		return name[:at], true
	}
	return name, false
}

// NoteAuthor is who wrote or removed a note: a person, or an agent with a call of a tool; and what it rests on.
type NoteAuthor struct {
	By       string  `json:"by,omitempty"`
	Agent    AgentID `json:"agent,omitempty"`
	Turn     TurnID  `json:"turn,omitempty"`
	Call     CallID  `json:"call,omitempty"`
	Evidence Ref     `json:"evidence,omitempty"` // the event that it was taken from, such as a tool.returned
}

// NoteWritten records a note, or a new version of one. All that is in it is new: nothing is taken over from the version it replaces.
type NoteWritten struct {
	Note
	Author   NoteAuthor `json:"author"`
	Replaces Revision   `json:"replaces,string"` // of the version before, in the same stream; NoRevision: there is none
}

// NoteRemoved records that a note is no longer part of what is known.
type NoteRemoved struct {
	Note     NoteID     `json:"note"`
	Reason   string     `json:"reason"`
	Author   NoteAuthor `json:"author"`
	Replaces Revision   `json:"replaces,string"` // of its last version
}

// KnowledgeConfig has the turns of an agent begin with what its tenant's notes say about their messages. Zero is: they do not.
type KnowledgeConfig struct {
	Tokens int64    `json:"tokens,string,omitempty"` // at most so many of the prompt; 0: nothing is recalled
	Notes  int      `json:"notes,omitempty"`         // at most so many notes; 0: the default, see sagas.DefaultRecall
	Near   []NoteID `json:"near,omitempty"`          // notes whose neighbourhood is preferred
}

// KnowledgeRequested records that the turn asks what is known about its messages.
type KnowledgeRequested struct {
	Turn   TurnID `json:"turn"`
	Tokens int64  `json:"tokens,string"`
	Notes  int    `json:"notes"`
}

// KnowledgeRecalled records what came back, and thereby what the model is shown of it.
type KnowledgeRecalled struct {
	Request  RequestID      `json:"request"`
	Notes    []RecalledNote `json:"notes,omitempty"` // the best first; none when nothing fits
	Tokens   int64          `json:"tokens,string"`   // estimate of what they take of the prompt
	Position Position       `json:"position,string"` // up to which history was searched
}

// RecalledNote is what was recalled of a note.
type RecalledNote struct {
	Note  NoteID `json:"note"`
	Title string `json:"title"`
	Event Ref    `json:"event"`        // the note.written that it is taken from
	Text  string `json:"text"`         // its beginning, as much as had room
	Score int64  `json:"score,string"` // in thousandths
}

// KnowledgeMissed records that nothing came back in time: the turn goes on without.
type KnowledgeMissed struct {
	Request RequestID `json:"request"`
	Detail  string    `json:"detail"`
}

// Kind returns the permanent name.
func (NoteWritten) Kind() Kind        { return "note.written" }
func (NoteRemoved) Kind() Kind        { return "note.removed" }
func (KnowledgeRequested) Kind() Kind { return "knowledge.requested" }
func (KnowledgeRecalled) Kind() Kind  { return "knowledge.recalled" }
func (KnowledgeMissed) Kind() Kind    { return "knowledge.missed" }

func (e NoteWritten) String() string {
	verb := "written"
	if e.Replaces != NoRevision {
		verb = "written anew"
	}
	return sentence("note %s was %s%s: %q, with %d links", e.ID, verb, e.Author.sentence(), Clip(e.Title, 60), len(e.Links))
}

func (e NoteRemoved) String() string {
	return sentence("note %s was removed%s%s", e.Note, e.Author.sentence(), because(e.Reason))
}

func (a NoteAuthor) sentence() string {
	if a.Agent == "" {
		return by(a.By)
	}
	return by(string(a.Agent) + " in call " + string(a.Call) + " of " + string(a.Turn))
}

func (e KnowledgeRequested) String() string {
	return sentence("turn %s asked what is known, at most %d notes and %d tokens", e.Turn, e.Notes, e.Tokens)
}

func (e KnowledgeRecalled) String() string {
	if len(e.Notes) == 0 {
		return sentence("no note was recalled")
	}
	names := make([]NoteID, len(e.Notes))
	for i := range e.Notes {
		names[i] = e.Notes[i].Note
	}
	return sentence("%d notes were recalled, %d tokens: %s", len(e.Notes), e.Tokens, Clip(list(names), 200))
}

func (e KnowledgeMissed) String() string {
	return sentence("nothing was recalled%s; the turn goes on without", because(e.Detail))
}
