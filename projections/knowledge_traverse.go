package projections

import (
	"fmt"
	"strconv"
	"strings"

	"example.com/life/events"
)

// Traversal answers the query "traverse" of knowledge: the notes that are reached from one, nearest first.
type Traversal struct {
	Note  events.NoteID   `json:"note"`
	Cut   int             `json:"cut"`  // notes of which only some edges were followed
	More  bool            `json:"more"` // the limit on notes was met
	Nodes []TraversedNote `json:"nodes"`
}

// TraversedNote is a note that was reached, and by which edge first.
type TraversedNote struct {
	Depth    int           `json:"depth"`
	Note     events.NoteID `json:"note"`
	Title    string        `json:"title"`
	Relation string        `json:"relation,omitempty"`
	Via      events.NoteID `json:"via,omitempty"` // the note that it was reached from
	Inward   bool          `json:"inward,omitempty"`
	Event    events.Ref    `json:"event"`                // the note.written that it is as of
	Edge     events.Ref    `json:"edge_event,omitempty"` // the note.written that holds the edge
}

const (
	standardDepth, mostDepth     = 2, 8
	standardFanOut, mostFanOut   = 50, 1000
	standardReached, mostReached = 200, 10_000
)

func (g *graph) traverse(q Query) (any, error) {
	start := g.find(q.Parameters["note"])
	if start == nil {
		return nil, fmt.Errorf("%w: there is no note %q", ErrMissing, events.Clip(q.Parameters["note"], 80))
	}
	direction := q.Parameters["direction"]
	filter := edgeFilter{relations: q.list("relation"), out: direction != "in", in: direction != "out", moment: q.moment("valid")}
	depth, fanOut, limit := q.number("depth", standardDepth), q.number("fan_out", standardFanOut), q.limit(standardReached)
	answer := Traversal{Note: start.id, Nodes: []TraversedNote{{Note: start.id, Title: start.title, Event: g.ref(start)}}}
	reached := map[*node]bool{start: true}
	queue := []*node{start}
	for at := 0; at < len(queue) && !answer.More; at++ {
		n := queue[at]
		level := answer.Nodes[at].Depth + 1
		if level > depth {
			break
		}
		followed := 0
		g.edges(n, &filter, func(e edge) bool {
			if followed == fanOut {
				answer.Cut++
				return false
			}
			followed++
			if reached[e.other] {
				return true
			}
			if len(queue) >= limit {
				answer.More = true
				return false
			}
			reached[e.other] = true
			queue = append(queue, e.other)
			answer.Nodes = append(answer.Nodes, TraversedNote{
				Depth: level, Note: e.other.id, Title: e.other.title, Relation: e.kind(), Via: n.id, Inward: !e.out,
				Event: g.ref(e.other), Edge: g.ref(e.holder),
			})
			return true
		})
	}
	return answer, nil
}

// number reads a checked number.
func (q Query) number(name string, standard int) int {
	n, err := strconv.Atoi(q.Parameters[name])
	if err != nil {
		return standard
	}
	return n
}

// moment reads a checked moment; 0 when there is none.
func (q Query) moment(name string) events.Micros {
	at, err := parseMoment(q.Parameters[name])
	if err != nil {
		return 0
	}
	return at
}

// list reads the parts of a parameter between commas; between line ends if there are any, for names with commas.
func (q Query) list(name string) []string {
	var all []string
	separator := ","
	if strings.Contains(q.Parameters[name], "\n") {
		separator = "\n"
	}
	for part := range strings.SplitSeq(q.Parameters[name], separator) {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}
