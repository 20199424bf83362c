package projections

import (
	"fmt"

	"example.com/life/events"
)

// NoteAnswer answers the query "note" of knowledge: all that is known about one note but its text, which is in its event.
type NoteAnswer struct {
	Note     events.NoteID   `json:"note"`
	Title    string          `json:"title"`
	Removed  string          `json:"removed,omitempty"` // the reason for which it is no longer known; all else is of its last version
	Aliases  []string        `json:"aliases,omitempty"`
	Tags     []string        `json:"tags,omitempty"`
	From     events.Micros   `json:"valid_from,string,omitempty"`
	To       events.Micros   `json:"valid_to,string,omitempty"`
	Event    events.Ref      `json:"event"` // the note.written that holds the text
	Position events.Position `json:"position,string"`
	Recorded events.Micros   `json:"recorded,string"`
	By       string          `json:"by,omitempty"`
	Agent    events.AgentID  `json:"agent,omitempty"`
	Turn     events.TurnID   `json:"turn,omitempty"`
	Call     events.CallID   `json:"call,omitempty"`
	Evidence events.Ref      `json:"evidence,omitempty"` // the event that it was taken from
	Source   string          `json:"source,omitempty"`   // collection and path of the file that it was read from
	Words    int             `json:"words"`              // that are searched
	Large    bool            `json:"large,omitempty"`    // a part of its text is in a blob, and not searched

	Edges    []NoteEdge    `json:"edges"`
	Older    int           `json:"older_versions,omitempty"` // that are not listed
	Versions []NoteVersion `json:"versions"`
}

// NoteEdge is an edge of a note, from it or to it.
type NoteEdge struct {
	Relation  string        `json:"relation"`
	Inward    bool          `json:"inward,omitempty"` // it leads to this note
	Note      events.NoteID `json:"note,omitempty"`   // at the other end; empty when there is none
	Title     string        `json:"title,omitempty"`
	Target    string        `json:"target"`         // as it is written
	File      bool          `json:"file,omitempty"` // the target is a file that is no note
	Exclusive bool          `json:"exclusive,omitempty"`
	From      events.Micros `json:"valid_from,string,omitempty"`
	To        events.Micros `json:"valid_to,string,omitempty"`
	Event     events.Ref    `json:"event"` // the note.written that holds the edge
}

// NoteVersion is one event about a note.
type NoteVersion struct {
	Event    events.Ref      `json:"event"`
	Position events.Position `json:"position,string"`
	Recorded events.Micros   `json:"recorded,string"`
	Removed  bool            `json:"removed,omitempty"`
}

// mostEdges is how many edges of a note are listed in each direction.
const mostEdges = 1000

func (g *graph) note(q Query) (any, error) {
	n := g.find(q.Parameters["note"])
	if n == nil {
		n = g.removed[events.NoteID(q.Parameters["note"])]
	}
	if n == nil {
		return nil, fmt.Errorf("%w: there is no note %q", ErrMissing, events.Clip(q.Parameters["note"], 80))
	}
	written := n.written()
	answer := NoteAnswer{
		Note: n.id, Title: n.title, Removed: n.gone, Aliases: n.aliases, Tags: n.tags, From: n.valid.From, To: n.valid.To,
		Event: g.at(written), Position: written.Position, Recorded: written.Time,
		By: n.author.By, Agent: n.author.Agent, Turn: n.author.Turn, Call: n.author.Call, Evidence: n.author.Evidence,
		Words: int(n.length), Large: n.large, Edges: []NoteEdge{}, Older: n.older, Versions: []NoteVersion{}, Source: n.sourceText(),
	}
	for i := len(n.versions) - 1; i >= 0; i-- {
		v := &n.versions[i]
		answer.Versions = append(answer.Versions, NoteVersion{g.at(v), v.Position, v.Time, v.Removed})
	}
	if n.gone == "" {
		g.listEdges(n, q.moment("valid"), &answer)
	}
	return answer, nil
}

func (g *graph) listEdges(n *node, moment events.Micros, answer *NoteAnswer) {
	filter := edgeFilter{moment: moment, in: true}
	for i := range n.links {
		l := &n.links[i]
		if !filter.chooses(l) {
			continue
		}
		e := NoteEdge{Relation: l.kind(), Target: l.target, Exclusive: l.exclusive, From: l.valid.From, To: l.valid.To, Event: g.ref(n)}
		if other := g.lead(n, l); other != nil {
			e.Note, e.Title = other.id, other.title
		} else {
			e.File = l.toFile()
		}
		answer.Edges = append(answer.Edges, e)
	}
	count := 0
	g.edges(n, &filter, func(e edge) bool {
		answer.Edges = append(answer.Edges, NoteEdge{
			Relation: e.kind(), Inward: true, Note: e.other.id, Title: e.other.title, Target: e.target, Exclusive: e.exclusive,
			From: e.valid.From, To: e.valid.To, Event: g.ref(e.holder),
		})
		count++
		return count < mostEdges
	})
}

// written is the latest version that was written, of a removed note the last one before that, if it is still listed.
func (n *node) written() *version {
	for i := len(n.versions) - 1; i > 0; i-- {
		if !n.versions[i].Removed {
			return &n.versions[i]
		}
	}
	return &n.versions[0]
}

func (g *graph) at(v *version) events.Ref {
	return events.NewRef(events.KnowledgeStream(g.tenant), v.Revision)
}
