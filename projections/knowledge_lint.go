package projections

import (
	"maps"
	"slices"
	"strings"

	"example.com/life/events"
)

// NoteProblems answers the query "lint" of knowledge: each list at most as long as the limit, and how many there are in all.
type NoteProblems struct {
	Notes          int             `json:"notes"` // that were looked at
	Orphans        int             `json:"orphans"`
	Broken         int             `json:"broken_links"`
	Contradictions int             `json:"contradictions"`
	Stale          int             `json:"stale"`
	Ambiguous      int             `json:"ambiguous_names"`
	Orphan         []OrphanNote    `json:"orphan_list"`
	BrokenLink     []BrokenLink    `json:"broken_link_list"`
	Contradiction  []Contradiction `json:"contradiction_list"`
	StaleNote      []StaleNote     `json:"stale_list"`
	AmbiguousName  []AmbiguousName `json:"ambiguous_name_list"`
}

// OrphanNote is a note that no edge joins to any other.
type OrphanNote struct {
	Note  events.NoteID `json:"note"`
	Title string        `json:"title"`
	Event events.Ref    `json:"event"`
}

// BrokenLink is a link whose target nobody bears as a name.
type BrokenLink struct {
	Note     events.NoteID `json:"note"`
	Relation string        `json:"relation"`
	Target   string        `json:"target"`
	Event    events.Ref    `json:"event"`
}

// Contradiction is two edges or notes that hold at the same time and cannot both be true.
type Contradiction struct {
	Note   events.NoteID `json:"note"`
	Reason string        `json:"reason"`
	One    events.NoteID `json:"one"`
	Other  events.NoteID `json:"other"`
	Event  events.Ref    `json:"event"`
}

// StaleNote is a note that may no longer be right.
type StaleNote struct {
	Note   events.NoteID `json:"note"`
	Title  string        `json:"title"`
	Reason string        `json:"reason"`
	Linked int           `json:"linked"` // edges that lead to it
	Event  events.Ref    `json:"event"`
}

// AmbiguousName is a name that links use and that several notes bear with equal right; links lead to the first.
type AmbiguousName struct {
	Name  string   `json:"name"`
	Notes []string `json:"notes"`
}

const (
	standardProblems = 50
	standardDays     = 180 // since a note was touched, after which it is stale if others build on it
)

// lint looks for what is wrong as of a moment: that of the latest event if none is given.
func (g *graph) lint(q Query, latest events.Micros) (any, error) {
	moment := q.moment("valid")
	if moment == 0 {
		moment = latest
	}
	l := linter{
		graph: g, moment: moment, limit: q.limit(standardProblems), untouched: moment - events.Micros(q.number("days", standardDays))*microsPerDay,
		answer: NoteProblems{
			Orphan: []OrphanNote{}, BrokenLink: []BrokenLink{}, Contradiction: []Contradiction{}, StaleNote: []StaleNote{}, AmbiguousName: []AmbiguousName{},
		},
	}
	for _, n := range slices.SortedFunc(maps.Values(g.nodes), compareNodes) {
		l.answer.Notes++
		l.stale(n)
		if n.valid.At(moment) {
			l.links(n)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(g.incoming)) {
		l.ambiguous(key)
	}
	return l.answer, nil
}

type linter struct {
	*graph
	moment, untouched events.Micros
	limit             int
	answer            NoteProblems
}

// links checks the edges of a note that is valid.
func (l *linter) links(n *node) {
	filter := edgeFilter{out: true, in: true, moment: l.moment}
	joined := false
	l.edges(n, &filter, func(edge) bool {
		joined = true
		return false
	})
	if !joined {
		l.answer.Orphans++
		note(&l.answer.Orphan, l.limit, OrphanNote{n.id, n.title, l.ref(n)})
	}
	firsts := map[string]target{} // by relation
	for i := range n.links {
		link := &n.links[i]
		if !filter.chooses(link) {
			continue
		}
		other := l.lead(n, link)
		if other == nil && (link.toFile() || link.relation == tagged) {
			continue
		}
		if other == nil {
			l.answer.Broken++
			note(&l.answer.BrokenLink, l.limit, BrokenLink{n.id, link.kind(), link.target, l.ref(n)})
			continue
		}
		if link.relation == contradicts && other.valid.At(l.moment) {
			l.contradiction(n, "it contradicts another note that holds too", n.id, other.id)
		}
		first, there := firsts[link.relation]
		switch {
		case !there:
			firsts[link.relation] = target{other, link.exclusive, false}
		case first.node != other && (first.exclusive || link.exclusive) && !first.told:
			first.told = true
			firsts[link.relation] = first
			l.contradiction(n, "it has two targets of the exclusive relation "+link.kind(), first.id, other.id)
		}
	}
}

// tagged is the relation of a link that is a tag: nobody need have written about it.
const tagged = "tag"

// contradicts is the relation between notes that cannot both be true.
const contradicts = "contradicts"

// target is the first note to which a relation of a note leads. If one of its edges is exclusive, all lead to the same note.
type target struct {
	*node
	exclusive bool
	told      bool
}

func (l *linter) contradiction(n *node, reason string, one, other events.NoteID) {
	l.answer.Contradictions++
	note(&l.answer.Contradiction, l.limit, Contradiction{n.id, reason, one, other, l.ref(n)})
}

// stale checks a note's time.
func (l *linter) stale(n *node) {
	var reason string
	linked := l.linked(n)
	switch {
	case n.valid.To != 0 && n.valid.To <= l.moment:
		reason = "it was valid to " + DayOf(n.valid.To).String()
	case n.latest().Time < l.untouched && linked > 0:
		reason = "others link to it, and nobody wrote it since " + DayOf(n.latest().Time).String()
	default:
		return
	}
	l.answer.Stale++
	note(&l.answer.StaleNote, l.limit, StaleNote{n.id, n.title, reason, linked, l.ref(n)})
}

// linked counts the valid edges that lead to a note.
func (l *linter) linked(n *node) int {
	linked := 0
	l.edges(n, &edgeFilter{in: true}, func(e edge) bool {
		if e.valid.At(l.moment) && e.other.valid.At(l.moment) {
			linked++
		}
		return linked < mostEdges
	})
	return linked
}

// ambiguous checks the names that links use which have this key.
func (l *linter) ambiguous(key string) {
	type spelling struct{ name, collection string }
	var seen []spelling
	for _, i := range l.incoming[key] {
		used := spelling{i.from.links[i.at].name, i.from.source.Collection}
		if len(seen) == mostSpellings || slices.Contains(seen, used) {
			continue
		}
		seen = append(seen, used)
		if ids := l.rivals(i.from, used.name); len(ids) > 1 {
			l.answer.Ambiguous++
			note(&l.answer.AmbiguousName, l.limit, AmbiguousName{strings.Clone(used.name), ids})
		}
	}
}

// rivals are the notes that bear the name of a link with equal right, the first ones.
func (l *linter) rivals(from *node, name string) []string {
	claims, best := l.bearers(from, name)
	var ids []string
	for _, c := range claims[best:] {
		own := c.source.Collection == from.source.Collection || claims[best].source.Collection != from.source.Collection
		if own && c.equal(claims[best]) && len(ids) < 8 {
			ids = append(ids, string(c.id))
		}
	}
	return ids
}

// mostSpellings is how many spellings of one name are looked at.
const mostSpellings = 16

// note adds to a list that has a limit.
func note[T any](list *[]T, limit int, problem T) {
	if len(*list) < limit {
		*list = append(*list, problem)
	}
}
