package projections

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"example.com/life/events"
)

// knowledge is the graph of notes of every tenant. Notes are nodes and their links are typed edges, both with the time in which they
// hold and with the event that says so. Of the texts only words are kept: whoever wants to read a note reads its event.
//
// An event changes what belongs to its note: its names, the edges that it holds, the words that it is found by. Nothing is built
// anew for a question.
type knowledge struct {
	tenants map[events.TenantID]*graph
	latest  events.Micros // the time of the latest event
}

func knowledgeSpec() Spec {
	tenant := Parameter{Name: "tenant", Description: "whose notes; local if not given", Check: func(text string) error { return events.TenantID(text).Validate() }}
	valid := Parameter{Name: "valid", Description: "only what holds at this moment: 2026-01-31, 2026-01-31T14:02:11Z, or microseconds since 1970", Check: func(text string) error {
		_, err := parseMoment(text)
		return err
	}}
	needed := func(name, about string) Parameter {
		p := ofName(name, about)
		p.Required = true
		return p
	}
	return Spec{
		Name: "knowledge", Version: 2, Description: "notes and their links: search, neighbourhoods, and what is wrong with them", Kinds: []string{"note."},
		New: func() Fold { return newKnowledge() },
		Queries: []QuerySpec{
			{
				Name: "search", Description: "the notes that fit words best, and why", Answer: FoundNotes{},
				Params: []Parameter{
					needed("text", "the words"), atMost(standardHits), valid, ofName("tag", "only notes with this tag"),
					ofName("near", "prefer what is near these notes, with commas between"), tenant,
				},
			},
			{
				Name: "traverse", Description: "what is reached from a note along its links, nearest first", Answer: Traversal{},
				Params: []Parameter{
					needed("note", "where to begin: an id or another name"), within("depth", "how far", standardDepth, mostDepth),
					within("fan_out", "edges of one note that are followed", standardFanOut, mostFanOut),
					within("limit", "notes that are reached", standardReached, mostReached), ofName("relation", "only edges of these kinds, with commas between"),
					oneOf("direction", "which way edges are followed, both if not given", "out", "in", "both"), valid, tenant,
				},
			},
			{
				Name: "note", Description: "one note with its edges and versions", Answer: NoteAnswer{},
				Params: []Parameter{needed("note", "its id or another name of it"), valid, tenant},
			},
			{
				Name: "lint", Description: "notes without links, links without notes, contradictions, what may be out of date", Answer: NoteProblems{},
				Params: []Parameter{
					{Name: "valid", Description: "as of this moment; that of the latest note if not given", Check: valid.Check},
					within("days", "after which a note that others link to is stale unless it is written again", standardDays, 36_500), atMost(standardProblems), tenant,
				},
			},
			{
				Name: "notes", Description: "notes in the order of their ids, a page of them", Answer: NoteList{},
				Params: []Parameter{
					ofName("collection", "only notes that were last read from files of this collection"), ofName("tag", "only notes with this tag"), valid,
					ofName("after", "only notes after this one"), within("limit", "notes of the page", standardListed, mostReached), tenant,
				},
			},
			{
				Name: "collections", Description: "the collections that notes were read from, and where their directories were", Answer: NoteCollections{}, Params: []Parameter{tenant},
			},
			{
				Name: "size", Description: "how many notes, links and words there are", Answer: KnowledgeSize{}, Params: []Parameter{tenant},
			},
		},
	}
}

// KnowledgeSize answers the query "size" of knowledge.
type KnowledgeSize struct {
	Notes   int `json:"notes"`
	Removed int `json:"removed"`
	Links   int `json:"links"`
	Names   int `json:"names"`
	Tags    int `json:"tags"`
	Stems   int `json:"stems"`
	Words   int `json:"words"` // of all notes
}

// within is a number from 1.
func within(name, about string, standard, most int) Parameter {
	about += ": from 1 to " + strconv.Itoa(most) + ", " + strconv.Itoa(standard) + " if not given"
	return Parameter{Name: name, Description: about, Check: func(text string) error {
		if n, err := strconv.Atoi(text); err != nil || n < 1 || n > most {
			return fmt.Errorf("want a number from 1 to %d", most)
		}
		return nil
	}}
}

func oneOf(name, about string, values ...string) Parameter {
	return Parameter{Name: name, Description: about + ": " + strings.Join(values, ", "), Check: func(text string) error {
		for _, value := range values {
			if text == value {
				return nil
			}
		}
		return errors.New("want one of " + strings.Join(values, ", "))
	}}
}

// parseMoment reads a day, which stands for its beginning, or a time.
func parseMoment(text string) (events.Micros, error) {
	if day, err := ParseDay(text); err == nil {
		return events.Micros(day) * microsPerDay, nil
	}
	at, err := parseTime(text)
	if err != nil {
		return 0, errors.New("want a day such as 2026-01-31, a moment in UTC such as 2026-01-31T14:02:11Z, or microseconds since 1970")
	}
	return at, nil
}

func newKnowledge() *knowledge { return &knowledge{tenants: map[events.TenantID]*graph{}} }

// Apply implements [Fold].
func (k *knowledge) Apply(r *Recorded) error {
	category, tenant := r.Stream.Split()
	if category != events.KnowledgeCategory {
		return nil
	}
	event, err := r.Event()
	if err != nil {
		return err
	}
	here := version{Revision: r.Revision, Position: r.Position, Time: r.Time}
	switch e := event.(type) {
	case events.NoteWritten:
		k.graph(events.TenantID(tenant)).write(&e, here)
	case events.NoteRemoved:
		k.graph(events.TenantID(tenant)).remove(&e, here)
	default:
		return nil // of a later build
	}
	k.latest = max(k.latest, r.Time)
	return nil
}

// graph returns a tenant's notes.
func (k *knowledge) graph(tenant events.TenantID) *graph {
	g := k.tenants[tenant]
	if g == nil {
		g = newGraph(tenant)
		k.tenants[tenant] = g
	}
	return g
}

// write replaces a note, or adds one.
func (g *graph) write(e *events.NoteWritten, here version) {
	n := g.nodes[e.ID]
	switch {
	case n != nil:
		g.disconnect(n)
	case g.removed[e.ID] != nil:
		n = g.removed[e.ID]
		delete(g.removed, e.ID)
	default:
		n = &node{id: e.ID}
	}
	n.title, n.aliases, n.valid, n.source, n.author = e.Title, e.Aliases, e.Validity, e.Source, e.Author
	n.source.Collection, n.source.Dir = g.one(n.source.Collection), g.one(n.source.Dir)
	n.large, n.gone, n.tags, n.links = e.Blob != nil, "", nil, make([]link, len(e.Links))
	for _, tag := range e.Tags {
		n.tags = append(n.tags, g.one(tag))
	}
	for i := range e.Links {
		n.links[i] = g.link(n.id, &e.Links[i])
	}
	n.note(here)
	n.words, n.length = g.words.read(strings.Join(append([]string{e.Title}, e.Aliases...), "\n"), e.Inline)
	g.nodes[e.ID] = n
	g.connect(n)
}

func (g *graph) link(from events.NoteID, l *events.NoteLink) link {
	made := link{relation: g.one(l.Relation), target: l.Target, name: placed(from, l.Target), exclusive: l.Exclusive, file: l.File, valid: l.Validity}
	if made.key = nameKey(made.name); made.key == made.name {
		made.key = made.name // one string
	}
	return made
}

// note lists a version.
func (n *node) note(here version) {
	if len(n.versions) == mostVersions {
		n.versions = n.versions[:copy(n.versions, n.versions[1:])]
		n.older++
	}
	n.versions = append(n.versions, here)
}

// remove takes a note out of everything but the list of those that were removed.
func (g *graph) remove(e *events.NoteRemoved, here version) {
	n := g.nodes[e.Note]
	if n == nil {
		return
	}
	g.disconnect(n)
	delete(g.nodes, e.Note)
	n.gone, n.author, n.links, n.words, n.length = cmp.Or(e.Reason, "no reason was given"), e.Author, nil, nil, 0
	here.Removed = true
	n.note(here)
	g.removed[e.Note] = n
}

// Answer implements [Fold].
func (k *knowledge) Answer(q Query) (any, error) {
	tenant := events.TenantID(q.Parameters["tenant"])
	if tenant == "" {
		tenant = standardTenant
	}
	g := k.tenants[tenant]
	if g == nil {
		g = newGraph(tenant)
	}
	switch q.Name {
	case "search":
		return g.search(q)
	case "traverse":
		return g.traverse(q)
	case "note":
		return g.note(q)
	case "lint":
		return g.lint(q, k.latest)
	case "notes":
		return g.list(q), nil
	case "collections":
		return g.collections(), nil
	}
	return g.size(), nil
}

// standardTenant is the tenant of agents that name none.
const standardTenant events.TenantID = "local"

func (g *graph) size() KnowledgeSize {
	size := KnowledgeSize{Notes: len(g.nodes), Removed: len(g.removed), Tags: len(g.tags), Stems: len(g.words.numbers), Words: int(g.words.length)}
	for _, n := range g.nodes {
		size.Links += len(n.links)
	}
	for form := range g.names {
		if nameKey(form) == form {
			size.Names++
		}
	}
	return size
}
