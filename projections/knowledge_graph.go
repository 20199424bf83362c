package projections

import (
	"cmp"
	"slices"

	"example.com/life/events"
)

// graph is what one tenant knows: notes as nodes, their links as edges. Links name their targets as people do, so an edge leads to
// whoever bears the name at the moment; names and incoming links are kept by key, and an event changes only the entries of its note.
type graph struct {
	tenant   events.TenantID
	nodes    map[events.NoteID]*node
	removed  map[events.NoteID]*node
	names    map[string][]claim  // by the forms of names, the best claim first
	incoming map[string][]inward // by the key of the target, in the order of their sources
	tags     map[string]map[*node]bool
	words    wordIndex
	shared   map[string]string // relations and tags, of which there are few: one string for all
}

// node is the latest version of a note.
type node struct {
	id       events.NoteID
	title    string
	aliases  []string
	tags     []string
	links    []link
	valid    events.Validity
	source   events.NoteFile
	author   events.NoteAuthor
	large    bool      // part of its text is in a blob
	gone     string    // the reason for which it was removed
	versions []version // the latest ones, the newest last; never none
	older    int       // versions before these

	doc    uint32 // its number in the index of words
	length uint32 // in words
	words  []byte
}

// link is an edge as the note has it that it leads from.
type link struct {
	relation  string
	target    string
	name      string // the target, as a path from the top
	key       string // of the name
	exclusive bool
	file      bool // the target is no note
	valid     events.Validity
}

// version is one event about a note.
type version struct {
	Revision events.Revision `json:"r"`
	Position events.Position `json:"p"`
	Time     events.Micros   `json:"t"`
	Removed  bool            `json:"d,omitempty"`
}

// inward is a link that leads to a name.
type inward struct {
	from *node
	at   int // in from.links
}

// mostVersions is how many versions of a note are listed; what was before them is asked for as of an earlier position.
const mostVersions = 32

func newGraph(tenant events.TenantID) *graph {
	return &graph{
		tenant: tenant, nodes: map[events.NoteID]*node{}, removed: map[events.NoteID]*node{}, names: map[string][]claim{}, incoming: map[string][]inward{},
		tags: map[string]map[*node]bool{}, words: newWordIndex(), shared: map[string]string{},
	}
}

// one returns the one string of all that are equal to it.
func (g *graph) one(text string) string {
	if found, there := g.shared[text]; there {
		return found
	}
	g.shared[text] = text
	return text
}

func (n *node) latest() *version { return &n.versions[len(n.versions)-1] }

func (g *graph) ref(n *node) events.Ref {
	return events.NewRef(events.KnowledgeStream(g.tenant), n.latest().Revision)
}

func compareNodes(a, b *node) int { return cmp.Compare(a.id, b.id) }

// connect puts a note's names, links, tags and words in.
func (g *graph) connect(n *node) {
	for form, mine := range n.claims() {
		at, _ := slices.BinarySearchFunc(g.names[form], mine, compareClaims)
		g.names[form] = slices.Insert(g.names[form], at, mine)
	}
	for i := range n.links {
		mine := inward{n, i}
		at, _ := slices.BinarySearchFunc(g.incoming[n.links[i].key], mine, compareInward)
		g.incoming[n.links[i].key] = slices.Insert(g.incoming[n.links[i].key], at, mine)
	}
	for _, tag := range n.tags {
		for _, key := range tagKeys(tag) {
			if g.tags[key] == nil {
				g.tags[key] = map[*node]bool{}
			}
			g.tags[key][n] = true
		}
	}
	g.words.add(n)
}

// disconnect takes them out again.
func (g *graph) disconnect(n *node) {
	for form, mine := range n.claims() {
		if g.names[form] = dropped(g.names[form], mine, compareClaims); len(g.names[form]) == 0 {
			delete(g.names, form)
		}
	}
	for i := range n.links {
		key := n.links[i].key
		g.incoming[key] = dropped(g.incoming[key], inward{n, i}, compareInward)
		if len(g.incoming[key]) == 0 {
			delete(g.incoming, key)
		}
	}
	for _, tag := range n.tags {
		for _, key := range tagKeys(tag) {
			if delete(g.tags[key], n); len(g.tags[key]) == 0 {
				delete(g.tags, key)
			}
		}
	}
	g.words.remove(n)
}

func compareInward(a, b inward) int {
	return cmp.Or(compareNodes(a.from, b.from), cmp.Compare(a.at, b.at))
}

// dropped removes an element of a sorted list.
func dropped[T any](list []T, unwanted T, compare func(a, b T) int) []T {
	if at, there := slices.BinarySearchFunc(list, unwanted, compare); there {
		return slices.Delete(list, at, at+1)
	}
	return list
}

// edge is a link between two notes, seen from one of them.
type edge struct {
	*link
	holder *node // whose link it is
	other  *node
	out    bool // it leads from the one it is seen from
}

// edgeFilter chooses edges.
type edgeFilter struct {
	relations []string // none: all
	out, in   bool
	moment    events.Micros // at which edge and notes are valid; 0: whenever
}

func (f *edgeFilter) chooses(l *link) bool {
	return (f.moment == 0 || l.valid.At(f.moment)) && (len(f.relations) == 0 || slices.Contains(f.relations, l.kind()))
}

func (f *edgeFilter) admits(n *node) bool { return f.moment == 0 || n.valid.At(f.moment) }

// kind is what an edge is called: plain links have a name too.
func (l *link) kind() string { return cmp.Or(l.relation, plainLink) }

// plainLink is the relation of links without one.
const plainLink = "links"

// edges hands the edges of a note to a function until it says no: those that lead from it in the order in which they are written,
// then those that lead to it in the order of their sources.
func (g *graph) edges(n *node, f *edgeFilter, visit func(edge) bool) {
	if f.out {
		for i := range n.links {
			l := &n.links[i]
			if !f.chooses(l) {
				continue
			}
			if other := g.lead(n, l); other != nil && other != n && f.admits(other) && !visit(edge{l, n, other, true}) {
				return
			}
		}
	}
	if !f.in {
		return
	}
	for _, key := range n.keys() {
		for _, i := range g.incoming[key] {
			l := &i.from.links[i.at]
			if i.from != n && f.chooses(l) && f.admits(i.from) && g.lead(i.from, l) == n && !visit(edge{l, i.from, i.from, false}) {
				return
			}
		}
	}
}
