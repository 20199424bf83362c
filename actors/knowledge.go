package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"example.com/life/actors/history"
	"example.com/life/actors/projector"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
	"example.com/life/sagas/markdown"
)

func knowledgeType() entityType {
	return entityType{
		stream: func(id string) events.Stream { return events.KnowledgeStream(events.TenantID(id)) },
		produce: func(r *registry, self *actor.PID, h *handle) actor.Actor {
			l := &actorShell[sagas.Knowledge]{handle: h, registry: self}
			l.entity = entity[sagas.Knowledge]{stream: r.entityType.stream(h.id), fold: history.KnowledgeFold(), host: r.host}
			l.behavior = plain{func() {}}
			return l
		},
	}
}

// completeNotes masks the secrets in each note, finds the links and tags in its text, and keeps large texts as blobs. Notes belong to all agents
// of a tenant, so they are masked at the level that most have.
func (h *Host) completeNotes(ctx context.Context, c sagas.KeepNotes) (sagas.Command, error) {
	c.Author, _ = maskIn(h, events.MaskShapes, c.Author)
	c.Remove, _ = maskIn(h, events.MaskShapes, c.Remove)
	c.Write = slices.Clone(c.Write)
	for i := range c.Write {
		note := &c.Write[i]
		masked, hits := maskIn(h, events.MaskShapes, *note)
		*note = masked
		if note.Blob != nil {
			return nil, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: "note " + string(note.ID) + " carries its text, not a blob"}
		}
		found := markdown.Read(note.Inline)
		note.Links, note.Tags = withTextLinks(note.Links, found.Links), withTextTags(note.Tags, found.Tags)
		whole := note.Inline
		text, err := h.spill(ctx, whole)
		if err != nil {
			return nil, err
		}
		if text.Blob != nil {
			text.Inline = events.Cut(strings.ToValidUTF8(whole, "\uFFFD"), events.InlineLimit)
		}
		text.Masked = hits
		note.Text = text
	}
	return c, nil
}

// withTextLinks adds the links in a text to those that were given, if there is room.
func withTextLinks(given, found []events.NoteLink) []events.NoteLink {
	all := slices.Clone(given)
	for _, link := range found {
		same := func(other events.NoteLink) bool {
			return other.Relation == link.Relation && other.Target == link.Target && other.Heading == link.Heading
		}
		if len(all) < sagas.MaxNoteLinks && !slices.ContainsFunc(all, same) {
			all = append(all, link)
		}
	}
	return all
}

// withTextTags adds the tags in a text to those that were given, if there is room.
func withTextTags(given, found []string) []string {
	all := slices.Clone(given)
	for _, tag := range found {
		if len(all) < sagas.MaxNoteNames && !slices.Contains(all, tag) {
			all = append(all, tag)
		}
	}
	return all
}

// Knowledge is what a tool may do with the notes of its agent's tenant.
type Knowledge interface {
	// Ask asks the projection knowledge, of the agent's tenant only. The answer is as projections.QuerySpec.Answer of the query. What
	// does not exist and what makes no sense is a *sagas.RefusalError.
	Ask(ctx context.Context, query projections.Query) (json.RawMessage, error)
	// Text returns the text of a note.written.
	Text(ctx context.Context, note events.Ref) (string, error)
	// Keep writes or removes a note. The call is the key: doing it again for the same call changes nothing.
	Keep(ctx context.Context, change NoteChange) (Receipt, error)
}

// NoteChange is a note that an agent writes or removes.
type NoteChange struct {
	Note     events.Note
	Remove   string        // the reason to remove it; empty: it is written
	FromCall events.CallID // an earlier call of the turn that it rests on; a note without a text gets what that returned
}

// callKnowledge is the notes as one call of a tool may use them.
type callKnowledge struct {
	host  *Host
	agent events.AgentID
	ask   sagas.AskTool
}

// Ask implements [Knowledge].
func (k *callKnowledge) Ask(ctx context.Context, query projections.Query) (json.RawMessage, error) {
	return k.host.askNotes(ctx, k.ask.Tenant, query)
}

// askNotes asks the projection knowledge of one tenant.
func (h *Host) askNotes(ctx context.Context, tenant events.TenantID, query projections.Query) (json.RawMessage, error) {
	parameters := map[string]string{"tenant": string(tenant)}
	for name, value := range query.Parameters {
		if name != "tenant" {
			parameters[name] = value
		}
	}
	answer, err := h.Query(ctx, projector.Question{Projection: "knowledge", Query: projections.Query{Name: query.Name, Parameters: parameters}}, nil)
	return answer.Answer, err
}

// Text implements [Knowledge].
func (k *callKnowledge) Text(ctx context.Context, note events.Ref) (string, error) {
	written, err := k.host.noteAt(ctx, note)
	if err != nil {
		return "", err
	}
	if written.Blob == nil {
		return written.Inline, nil
	}
	return k.host.blobText(ctx, *written.Blob)
}

// noteAt reads a note.written.
func (h *Host) noteAt(ctx context.Context, ref events.Ref) (events.NoteWritten, error) {
	stream, revision, err := ref.Split()
	if err != nil {
		return events.NoteWritten{}, err
	}
	page, err := h.journal.Read(ctx, stream, revision, storage.Forward, storage.Limit{Events: 1})
	if err != nil {
		return events.NoteWritten{}, fmt.Errorf("read note %s: %w", ref, err)
	}
	if len(page.Events) == 0 || page.Events[0].Revision != revision {
		return events.NoteWritten{}, fmt.Errorf("read note %s: there is no such event", ref)
	}
	event, err := page.Events[0].Event()
	if err != nil {
		return events.NoteWritten{}, err
	}
	written, is := event.(events.NoteWritten)
	if !is {
		return written, fmt.Errorf("read note %s: it is %s", ref, event.Kind())
	}
	return written, nil
}

// Keep implements [Knowledge].
func (k *callKnowledge) Keep(ctx context.Context, change NoteChange) (Receipt, error) {
	command := sagas.KeepNotes{
		Meta:   sagas.Meta{ID: events.CommandID("note:" + string(k.ask.ID)), At: storage.Now()},
		Author: events.NoteAuthor{Agent: k.agent, Turn: k.ask.Turn, Call: k.ask.Call},
	}
	if change.FromCall != "" {
		evidence, text, err := k.returned(ctx, change.FromCall)
		if err != nil {
			return Receipt{}, err
		}
		command.Author.Evidence = evidence
		if change.Note.Inline == "" {
			change.Note.Inline = text
		}
	}
	if change.Remove != "" {
		command.Remove = []sagas.NoteRemoval{{Note: change.Note.ID, Reason: change.Remove}}
	} else {
		command.Write = []events.Note{change.Note}
	}
	origin := k.host.origin
	return k.host.Do(ctx, events.KnowledgeStream(k.ask.Tenant), command, origin)
}

// returned finds what an earlier call of the turn gave back.
func (k *callKnowledge) returned(ctx context.Context, call events.CallID) (events.Ref, string, error) {
	stream := events.AgentStream(k.agent)
	found, text := events.Ref(""), ""
	err := k.host.Scan(ctx, stream, storage.Latest, storage.Backward, func(envelope *events.Envelope) (more bool, err error) {
		event, err := envelope.Event()
		if err != nil {
			return false, err
		}
		switch e := event.(type) {
		case events.ToolReturned:
			if e.Call == call {
				found = envelope.Ref()
				text, err = k.host.whole(ctx, e.Text)
			}
		case events.TurnStarted:
			err = refusedNote("this turn has no call %s that returned: from_call names one by its number, such as 1.2 for the second of the first round", call)
		}
		return found == "", err
	})
	if err == nil && found == "" {
		err = refusedNote("there is no call %s", call)
	}
	return found, text, err
}

func refusedNote(format string, args ...any) error {
	return &sagas.RefusalError{Code: sagas.RefusedMissing, Detail: fmt.Sprintf(format, args...)}
}

// whole is a text with what of it is in a blob.
func (h *Host) whole(ctx context.Context, text events.Text) (string, error) {
	if text.Blob == nil {
		return text.Inline, nil
	}
	return h.blobText(ctx, *text.Blob)
}

// askKnowledge has the notes searched for what fits the turn's messages, beside the actor. It is advisory: after its time the turn
// goes on without.
func (a *agent) askKnowledge(r sagas.AskKnowledge) asked {
	limit := a.host.limits.Knowledge
	ctx, cancel := context.WithTimeout(a.host.running, limit)
	answer, host, level := a.answer(), a.host, a.saga.Turn.Config.Masking
	host.run(func() {
		notes, position, err := host.recollect(ctx, &r)
		notes, _ = maskIn(host, level, notes) // of notes that were written before secrets were masked
		switch {
		case abandoned(ctx):
		case errors.Is(err, context.DeadlineExceeded):
			answer(sagas.RecallTimeout{Meta: meta(r.ID), Request: r.ID, Detail: "no answer within " + limit.String()}, events.Ref(r.ID))
		case err != nil:
			host.log.Warn("recall notes", "turn", r.Turn, "error", err)
			answer(sagas.RecallTimeout{Meta: meta(r.ID), Request: r.ID, Detail: err.Error()}, events.Ref(r.ID))
		default:
			answer(sagas.RecordRecall{Meta: meta(r.ID), Request: r.ID, Notes: notes, Position: position}, events.Ref(r.ID))
		}
	})
	return asked(cancel)
}

// Of a note at most half of the room that is left is recalled, so that several have some; one that fits much worse than the best is
// not recalled at all.
const (
	recallLeast = 160 // bytes of a note's text that are worth recalling
	recallWorst = 0.15
)

// recollect searches the notes and reads as much of the best as has room.
func (h *Host) recollect(ctx context.Context, r *sagas.AskKnowledge) ([]events.RecalledNote, events.Position, error) {
	found, position, err := h.searchFor(ctx, r)
	if err != nil {
		return nil, 0, err
	}
	var notes []events.RecalledNote
	for i := range found.Notes {
		hit := &found.Notes[i]
		room := (r.Tokens - sagas.RecalledTokens(notes)) * 4 / 2
		if room < recallLeast || hit.Score < recallWorst*found.Notes[0].Score {
			break
		}
		written, err := h.noteAt(ctx, hit.Event)
		if err != nil {
			return nil, 0, err
		}
		note := events.RecalledNote{Note: hit.Note, Title: hit.Title, Event: hit.Event, Score: int64(hit.Score * 1000), Text: belowTitle(hit.Title, written.Inline)}
		if int64(len(note.Text)) > room {
			note.Text = events.Cut(note.Text, int(room)-len("…")) + "…"
		}
		if sagas.RecalledTokens(append(notes, note)) > r.Tokens {
			break
		}
		notes = append(notes, note)
	}
	return notes, position, nil
}

// belowTitle is a text without the heading that is its title.
func belowTitle(title, text string) string {
	heading, rest, _ := strings.Cut(strings.TrimLeft(text, "\n"), "\n")
	if strings.TrimSpace(strings.TrimPrefix(heading, "#")) != title || !strings.HasPrefix(heading, "#") {
		return text
	}
	return strings.TrimLeft(rest, "\n")
}

// searchFor asks what fits the messages of a turn. Notes that it is to be near to and that are no longer there are no reason not to.
func (h *Host) searchFor(ctx context.Context, r *sagas.AskKnowledge) (found projections.FoundNotes, at events.Position, err error) {
	query := projections.Query{Name: "search", Parameters: map[string]string{
		"text": r.Text, "limit": strconv.Itoa(r.Notes), "tenant": string(r.Tenant), "valid": strconv.FormatInt(int64(storage.Now()), 10),
	}}
	if strings.TrimSpace(r.Text) == "" {
		return found, 0, nil
	}
	var near strings.Builder
	for _, note := range r.Near {
		near.WriteString(string(note) + "\n")
	}
	if near.Len() > 0 {
		query.Parameters["near"] = near.String()
	}
	answer, err := h.Query(ctx, projector.Question{Projection: "knowledge", Query: query}, nil)
	var refused *sagas.RefusalError
	if errors.As(err, &refused) && refused.Code == sagas.RefusedMissing && near.Len() > 0 {
		delete(query.Parameters, "near")
		answer, err = h.Query(ctx, projector.Question{Projection: "knowledge", Query: query}, nil)
	}
	if err != nil {
		return found, 0, err
	}
	return found, answer.Position, json.Unmarshal(answer.Answer, &found)
}
