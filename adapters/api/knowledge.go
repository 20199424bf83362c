package api

import (
	"net/http"
	"net/url"
	"strings"

	"example.com/life/events"
	"example.com/life/sagas"
)

// The body of a command about notes.
type (
	notesBody struct {
		Write  []noteBody    `json:"write,omitempty"`
		Remove []removalBody `json:"remove,omitempty"`
		By     string        `json:"by,omitempty"`
	}
	noteBody struct {
		Note    events.NoteID   `json:"note"`
		Title   string          `json:"title"`
		Text    string          `json:"text,omitempty"` // Markdown; the links in it are found
		Aliases []string        `json:"aliases,omitempty"`
		Tags    []string        `json:"tags,omitempty"`
		Links   []linkBody      `json:"links,omitempty"`
		From    events.Micros   `json:"valid_from,string,omitempty"`
		To      events.Micros   `json:"valid_to,string,omitempty"`
		Source  events.NoteFile `json:"source,omitzero"`
	}
	linkBody struct {
		Relation  string        `json:"relation,omitempty"`
		Target    string        `json:"target"`
		Heading   string        `json:"heading,omitempty"`
		Label     string        `json:"label,omitempty"`
		Exclusive bool          `json:"exclusive,omitempty"`
		From      events.Micros `json:"valid_from,string,omitempty"`
		To        events.Micros `json:"valid_to,string,omitempty"`
	}
	removalBody struct {
		Note       events.NoteID `json:"note"`
		Reason     string        `json:"reason"`
		Collection string        `json:"collection,omitempty"`
	}
)

// keepNotes writes and removes notes of the tenant in the path.
func (s *server) keepNotes(w http.ResponseWriter, r *http.Request) error {
	var body notesBody
	meta, err := s.read(w, r, s.limits.message, &body)
	if err != nil {
		return err
	}
	command := sagas.KeepNotes{Meta: meta, Author: events.NoteAuthor{By: body.By}}
	for i := range body.Write {
		command.Write = append(command.Write, body.Write[i].note())
	}
	for _, b := range body.Remove {
		command.Remove = append(command.Remove, sagas.NoteRemoval(b))
	}
	return s.do(w, r, events.KnowledgeStream(events.TenantID(r.PathValue("tenant"))), command)
}

func (b *noteBody) note() events.Note {
	note := events.Note{
		ID: b.Note, Title: b.Title, Aliases: b.Aliases, Tags: b.Tags, Text: events.Text{Inline: b.Text},
		Validity: events.Validity{From: b.From, To: b.To}, Source: b.Source,
	}
	for _, l := range b.Links {
		note.Links = append(note.Links, events.NoteLink{
			Relation: l.Relation, Target: l.Target, Heading: l.Heading, Label: l.Label, Exclusive: l.Exclusive,
			Validity: events.Validity{From: l.From, To: l.To},
		})
	}
	return note
}

// knowledgeCall is the request that carries a command about notes.
func knowledgeCall(tenant events.TenantID, command sagas.Command) (call, error) {
	c, ok := command.(sagas.KeepNotes)
	if !ok {
		return call{}, invalid("%T cannot be sent to notes over the API", command)
	}
	if c.Author != (events.NoteAuthor{By: c.Author.By}) {
		return call{}, invalid("over the API notes are written by people, not by agents")
	}
	body := notesBody{By: c.Author.By}
	for i := range c.Write {
		if c.Write[i].Blob != nil {
			return call{}, invalid("note %s carries its text, not a blob", c.Write[i].ID)
		}
		body.Write = append(body.Write, bodyOfNote(&c.Write[i]))
	}
	for _, r := range c.Remove {
		body.Remove = append(body.Remove, removalBody(r))
	}
	return call{method: http.MethodPost, path: "/v1/knowledge/" + url.PathEscape(string(tenant)), body: body}, nil
}

func bodyOfNote(note *events.Note) noteBody {
	body := noteBody{
		Note: note.ID, Title: note.Title, Text: strings.ToValidUTF8(note.Inline, "\ufffd"), Aliases: note.Aliases, Tags: note.Tags,
		From: note.From, To: note.To, Source: note.Source,
	}
	for i := range note.Links {
		l := &note.Links[i]
		body.Links = append(body.Links, linkBody{l.Relation, l.Target, l.Heading, l.Label, l.Exclusive, l.From, l.To})
	}
	return body
}
