package projections

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"example.com/life/events"
)

// FoundNotes answers the query "search" of knowledge.
type FoundNotes struct {
	Matched int         `json:"matched"` // in which a word stands, or that bear a tag or a name asked for
	Notes   []FoundNote `json:"notes"`
}

// FoundNote is one note that fits, and why: its score is the sum of three.
type FoundNote struct {
	Note      events.NoteID `json:"note"`
	Title     string        `json:"title"`
	Score     float64       `json:"score"`
	BM25      float64       `json:"bm25"`      // of its words, those of the title counted three times
	Boost     float64       `json:"boost"`     // the words are its name, an alias or tags of it
	Proximity float64       `json:"proximity"` // it is linked to other notes that fit, or near those it is to be near
	Tags      []string      `json:"tags,omitempty"`
	From      events.Micros `json:"valid_from,string,omitempty"`
	To        events.Micros `json:"valid_to,string,omitempty"`
	Recorded  events.Micros `json:"recorded,string"`
	Event     events.Ref    `json:"event"` // the note.written that it is as of
}

// What boosts and proximity give. A word that is rare among the notes gives a BM25 of 5 to 10.
const (
	boostName     = 6.0  // the whole question is a name of the note; a part of it gives its share
	boostExact    = 0.5  // more than to notes with a similar name
	boostTag      = 1.5  // for each word that is a tag of it
	strongHits    = 32   // the best by words and boosts, whose neighbours are near
	strongSpread  = 32   // neighbours of each, at most
	strongShare   = 0.25 // of its score goes to them, by the root of their number
	nearSeed      = 3.0  // a note that the question is to be near to; half of it for its neighbours, a quarter for theirs
	nearSpread    = 64
	questionWords = 64 // that are looked for, at most
)

// search is one question.
type search struct {
	*graph
	*scoreboard
	filter edgeFilter // of the edges that bring notes near
	tag    string     // its key; empty: any
}

func (g *graph) search(q Query) (any, error) {
	g.words.found.begin(len(g.words.docs))
	s := search{graph: g, scoreboard: &g.words.found, filter: edgeFilter{out: true, in: true, moment: q.moment("valid")}}
	if tag := q.Parameters["tag"]; tag != "" {
		s.tag = nameKey(tag)
	}
	s.match(q.Parameters["text"])
	answer := FoundNotes{Matched: s.matched(), Notes: []FoundNote{}}
	matched := len(s.touched)
	s.spread()
	if err := s.approach(q.list("near"), matched); err != nil {
		return nil, err
	}
	for _, doc := range s.top(q.limit(standardHits)) {
		n := g.words.docs[doc]
		answer.Notes = append(answer.Notes, FoundNote{
			Note: n.id, Title: n.title, Score: rounded(s.total(doc)),
			BM25: rounded(s.scoreboard.words[doc]), Boost: rounded(s.boost[doc]), Proximity: rounded(s.near[doc]),
			Tags: n.tags, From: n.valid.From, To: n.valid.To, Recorded: n.latest().Time, Event: g.ref(n),
		})
	}
	return answer, nil
}

const standardHits = 10

// match finds the notes that fit by themselves.
func (s *search) match(text string) {
	var words, stems []string
	room := questionWords
	tokens(text, func(word string) {
		if len(words) < questionWords && !slices.Contains(words, word) {
			words = append(words, word)
		}
	}, func(r run) {
		pairs, need, first := r.asked()
		pairs = pairs[:min(len(pairs), room)]
		room -= len(pairs)
		s.graph.words.rankRun(pairs, need, first)
		words = append(words, strings.Join(r.letters, ""))
	})
	for _, word := range words {
		if found := stem(word); found != "" && !slices.Contains(stems, found) {
			stems = append(stems, found)
			s.graph.words.rank(found)
		}
	}
	for _, word := range words {
		for n := range s.tags[nameKey(word)] {
			s.give(s.boost, n.doc, boostTag)
		}
	}
	s.boostNames(text)
	if claims := s.named(text); len(claims) > 0 && claims[0].form == 0 && len(s.names[nameKey(text)]) > 1 {
		for _, c := range claims[:min(len(claims), strongSpread)] {
			if c.form == 0 {
				s.give(s.boost, c.doc, boostExact)
			}
		}
	}
}

// admits reports whether a note may be in the answer.
func (s *search) admits(n *node) bool {
	return s.filter.admits(n) && (s.tag == "" || s.tags[s.tag][n])
}

// matched counts the notes that fit by themselves.
func (s *search) matched() int {
	if s.filter.moment == 0 && s.tag == "" {
		return len(s.touched)
	}
	count := 0
	for _, doc := range s.touched {
		if s.admits(s.graph.words.docs[doc]) {
			count++
		}
	}
	return count
}

// boostNames boosts the notes whose names stand in the question: the longest first, and within what is a name no shorter one.
func (s *search) boostNames(text string) {
	parts := strings.Split(nameKey(text), "-")
	if len(parts) > questionWords {
		parts = parts[:questionWords]
	}
	const longest = 8
	for length := min(len(parts), longest); length > 0; length-- {
		for begin := 0; begin+length <= len(parts); begin++ {
			name := strings.Join(parts[begin:begin+length], "-")
			claims := s.names[name]
			if name == "" || len(claims) == 0 {
				continue
			}
			for _, c := range claims[:min(len(claims), strongSpread)] {
				s.give(s.boost, c.doc, boostName*float64(length)/float64(len(parts)))
			}
			for i := range length {
				parts[begin+i] = ""
			}
		}
	}
}

// spread gives a share of the score of the best to their neighbours, also to such as fit by nothing else.
func (s *search) spread() {
	type given struct {
		*node
		share float64
	}
	var all []given // at once, so that what one gets it does not pass on
	for _, doc := range s.top(strongHits) {
		var around []*node
		s.edges(s.graph.words.docs[doc], &s.filter, func(e edge) bool {
			if !slices.Contains(around, e.other) {
				around = append(around, e.other)
			}
			return len(around) < strongSpread
		})
		for _, n := range around {
			all = append(all, given{n, strongShare * s.total(doc) / math.Sqrt(float64(len(around)))})
		}
	}
	for _, g := range all {
		s.give(s.near, g.doc, g.share)
	}
}

// approach gives the notes that fit by themselves, which are the first ones touched, their proximity to the named ones: to be near is
// no answer in itself.
func (s *search) approach(names []string, matched int) error {
	gives := map[*node]float64{}
	for _, name := range names {
		seed := s.find(name)
		if seed == nil {
			return fmt.Errorf("%w: there is no note %q to be near to", ErrMissing, events.Clip(name, 80))
		}
		ring, value := []*node{seed}, nearSeed
		for range 3 {
			var next []*node
			for _, n := range ring {
				if gives[n] >= value {
					continue
				}
				gives[n] = value
				count := 0
				s.edges(n, &s.filter, func(e edge) bool {
					next = append(next, e.other)
					count++
					return count < nearSpread
				})
			}
			ring, value = next, value/2
		}
	}
	if len(gives) == 0 {
		return nil
	}
	for _, doc := range s.touched[:matched] {
		s.near[doc] += gives[s.graph.words.docs[doc]]
	}
	return nil
}

// top returns the documents with the highest scores that the answer may hold, equal ones by id. It keeps the worst of them at the top
// of a heap, so that of many documents most are looked at once.
func (s *search) top(most int) []uint32 {
	docs := s.graph.words.docs
	compare := func(a, b uint32) int {
		return cmp.Or(cmp.Compare(s.total(b), s.total(a)), compareNodes(docs[a], docs[b]))
	}
	best := worstFirst{make([]uint32, 0, min(most, len(s.touched))), compare}
	for _, doc := range s.touched {
		if len(best.heap) == most && (s.total(doc) < s.total(best.heap[0]) || compare(doc, best.heap[0]) >= 0) || !s.admits(docs[doc]) {
			continue
		}
		best.take(doc, most)
	}
	slices.SortFunc(best.heap, compare)
	return best.heap
}

// worstFirst is a heap of documents with the worst at its top.
type worstFirst struct {
	heap    []uint32
	compare func(a, b uint32) int // below 0: a is better
}

// take adds a document, or has it take the place of the worst.
func (h *worstFirst) take(doc uint32, most int) {
	if len(h.heap) == most {
		h.heap[0] = doc
		h.sink()
		return
	}
	at := len(h.heap)
	h.heap = append(h.heap, doc)
	for parent := (at - 1) / 2; at > 0 && h.compare(h.heap[at], h.heap[parent]) > 0; parent = (at - 1) / 2 {
		h.heap[at], h.heap[parent] = h.heap[parent], h.heap[at]
		at = parent
	}
}

// sink moves the top down to where it belongs.
func (h *worstFirst) sink() {
	for at := 0; ; {
		child := 2*at + 1
		if child >= len(h.heap) {
			return
		}
		if child+1 < len(h.heap) && h.compare(h.heap[child+1], h.heap[child]) > 0 {
			child++
		}
		if h.compare(h.heap[child], h.heap[at]) <= 0 {
			return
		}
		h.heap[at], h.heap[child] = h.heap[child], h.heap[at]
		at = child
	}
}

// rounded is a score as it is shown.
func rounded(score float64) float64 { return math.Round(score*10_000) / 10_000 }
