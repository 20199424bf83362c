package world

import (
	"fmt"

	"example.com/life/events"
	"example.com/life/sagas"
)

// notebook is what a tenant's people wrote down.
type notebook struct {
	entity[sagas.Knowledge]
	latest map[events.NoteID]events.RecalledNote
	order  []events.NoteID // in which they were first written
}

// openNotebooks gives each tenant one, in which somebody writes from time to time.
func (w *World) openNotebooks() {
	for _, name := range tenants {
		w.notebooks[name] = &notebook{
			entity: entity[sagas.Knowledge]{chain: newChain(events.KnowledgeStream(name)), saga: sagas.NewKnowledge()},
			latest: map[events.NoteID]events.RecalledNote{},
		}
	}
	w.outside(w.noteAfter(), w.takeNotes)
}

// noteAfter is when the next notes are taken: of two hundred events one is about them.
func (w *World) noteAfter() events.Micros {
	const eventsPerNotes = 400
	return w.random.time(events.Second, max(2*w.config.Span*eventsPerNotes/events.Micros(max(w.config.Events, 1)), 2*events.Second))
}

// takeNotes writes a few notes, or removes one.
func (w *World) takeNotes() {
	r := &w.random
	book := w.notebooks[pick(r, tenants)]
	meta, from := w.person(pick(r, people))
	c := sagas.KeepNotes{Meta: meta, Author: events.NoteAuthor{By: from.actor}}
	if len(book.order) > 0 && r.oneIn(5) {
		c.Remove = []sagas.NoteRemoval{{Note: pick(r, book.order), Reason: "out of date"}}
	} else {
		for i := range r.between(1, 3) {
			c.Write = append(c.Write, w.note(fmt.Sprintf("notes/%d", (w.commands*3+i)%500)))
		}
	}
	decided, err := decide(w, &book.entity, c, from)
	if unexpected(err) {
		w.fail(err)
	}
	for i, event := range decided {
		book.keep(event, book.last-events.Revision(len(decided)-1-i))
	}
	w.outside(w.noteAfter(), w.takeNotes)
}

func (w *World) note(id string) events.Note {
	r := &w.random
	text := r.text()
	note := events.Note{
		ID: events.NoteID(id), Title: pick(r, words) + " and " + pick(r, words), Tags: []string{pick(r, people)},
		Links: []events.NoteLink{{Target: fmt.Sprintf("notes/%d", r.below(500)), Relation: pick(r, []string{"", "supports", "part_of"})}}, Text: text,
	}
	if r.oneIn(6) {
		note.Validity = events.Validity{From: w.now, To: w.now + r.time(day, 60*day)}
	}
	return note
}

// keep remembers what can be recalled.
func (b *notebook) keep(event events.Event, at events.Revision) {
	switch e := event.(type) {
	case events.NoteWritten:
		if _, there := b.latest[e.ID]; !there {
			b.order = append(b.order, e.ID)
		}
		b.latest[e.ID] = events.RecalledNote{
			Note: e.ID, Title: e.Title, Event: events.NewRef(b.stream, at), Text: e.Inline, Score: int64(len(e.Inline)),
		}
	case events.NoteRemoved:
		delete(b.latest, e.Note)
		for i, id := range b.order {
			if id == e.Note {
				b.order = append(b.order[:i:i], b.order[i+1:]...)
				break
			}
		}
	}
}

// inform answers what is known with some of the notes.
func (a *agent) inform(ask sagas.AskKnowledge) {
	r := &a.world.random
	if r.oneIn(50) {
		a.answer(events.Second, ask.ID, events.Ref(ask.ID), func(meta sagas.Meta) sagas.Command {
			return sagas.RecallTimeout{Meta: meta, Request: ask.ID, Detail: "no answer within 1s"}
		})
		return
	}
	book := a.world.notebooks[ask.Tenant]
	var notes []events.RecalledNote
	for range r.below(3) {
		if len(book.order) > 0 {
			notes = append(notes, book.latest[pick(r, book.order)])
		}
	}
	position := a.world.position
	a.answer(r.time(200, 20*events.Millisecond), ask.ID, events.Ref(ask.ID), func(meta sagas.Meta) sagas.Command {
		return sagas.RecordRecall{Meta: meta, Request: ask.ID, Notes: notes, Position: position}
	})
}
