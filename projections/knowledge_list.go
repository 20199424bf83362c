package projections

import (
	"maps"
	"slices"

	"example.com/life/events"
)

// NoteList answers the query "notes" of knowledge.
type NoteList struct {
	Notes []ListedNote `json:"notes"`
	More  bool         `json:"more"` // there are others after these
}

// ListedNote is a note in a list.
type ListedNote struct {
	Note     events.NoteID `json:"note"`
	Title    string        `json:"title"`
	Tags     []string      `json:"tags,omitempty"`
	From     events.Micros `json:"valid_from,string,omitempty"`
	To       events.Micros `json:"valid_to,string,omitempty"`
	Source   string        `json:"source,omitempty"`
	Recorded events.Micros `json:"recorded,string"`
	Event    events.Ref    `json:"event"`
}

const standardListed = 100

func (g *graph) list(q Query) NoteList {
	collection, tag, moment := q.Parameters["collection"], q.Parameters["tag"], q.moment("valid")
	after, limit := events.NoteID(q.Parameters["after"]), q.limit(standardListed)
	answer := NoteList{Notes: []ListedNote{}}
	for _, id := range slices.Sorted(maps.Keys(g.nodes)) {
		n := g.nodes[id]
		if id <= after || !matches(collection, n.source.Collection) || tag != "" && !g.tags[nameKey(tag)][n] || moment != 0 && !n.valid.At(moment) {
			continue
		}
		if len(answer.Notes) == limit {
			answer.More = true
			break
		}
		answer.Notes = append(answer.Notes, ListedNote{
			Note: id, Title: n.title, Tags: n.tags, From: n.valid.From, To: n.valid.To, Source: n.sourceText(), Recorded: n.latest().Time, Event: g.ref(n),
		})
	}
	return answer
}

// NoteCollections answers the query "collections" of knowledge.
type NoteCollections struct {
	Collections []NoteCollection `json:"collections"` // in the order of their names
}

// NoteCollection is the notes that were last read from the files of one collection.
type NoteCollection struct {
	Name  string   `json:"name"`
	Notes int      `json:"notes"`
	Dirs  []string `json:"dirs,omitempty"` // where its directory was when they were read, as far as that was recorded
}

func (g *graph) collections() NoteCollections {
	byName := map[string]*NoteCollection{}
	for _, n := range g.nodes {
		name, dir := n.source.Collection, n.source.Dir
		if name == "" {
			continue
		}
		c := byName[name]
		if c == nil {
			c = &NoteCollection{Name: name}
			byName[name] = c
		}
		if c.Notes++; dir != "" && !slices.Contains(c.Dirs, dir) {
			c.Dirs = append(c.Dirs, dir)
		}
	}
	answer := NoteCollections{Collections: []NoteCollection{}}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		slices.Sort(byName[name].Dirs)
		answer.Collections = append(answer.Collections, *byName[name])
	}
	return answer
}

// sourceText names the file that a note was read from; empty if it was from none.
func (n *node) sourceText() string {
	if n.source.Path == "" {
		return ""
	}
	return n.source.Collection + ":" + n.source.Path
}
