package projections

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"example.com/life/events"
)

// The saved state holds what the notes are, without their texts: names, links, versions, and for each note its words as numbers
// beside a list of stems. Names by key, incoming links and the places of words are built from that when it is restored.

type savedKnowledge struct {
	Latest  events.Micros `json:"latest"`
	Tenants []savedGraph  `json:"tenants"`
}

type savedGraph struct {
	Tenant events.TenantID `json:"tenant"`
	Stems  []string        `json:"stems"` // of the notes that are known, in the order of their numbers
	Notes  []savedNote     `json:"notes"` // the removed ones among them
}

type savedNote struct {
	ID       events.NoteID      `json:"i"`
	Title    string             `json:"t"`
	Aliases  []string           `json:"a,omitempty"`
	Tags     []string           `json:"g,omitempty"`
	Links    []savedLink        `json:"l,omitempty"`
	From     events.Micros      `json:"f,omitempty"`
	To       events.Micros      `json:"u,omitempty"`
	Source   *events.NoteFile   `json:"s,omitempty"`
	Author   *events.NoteAuthor `json:"b,omitempty"`
	Large    bool               `json:"x,omitempty"`
	Gone     string             `json:"d,omitempty"`
	Older    int                `json:"o,omitempty"`
	Versions []version          `json:"v"`
	Length   uint32             `json:"n,omitempty"`
	Words    []byte             `json:"w,omitempty"` // numbers of stems in Stems
}

type savedLink struct {
	Relation  string        `json:"r,omitempty"`
	Target    string        `json:"t"`
	Exclusive bool          `json:"e,omitempty"`
	File      bool          `json:"n,omitempty"`
	From      events.Micros `json:"f,omitempty"`
	To        events.Micros `json:"u,omitempty"`
}

// Save implements [Fold].
func (k *knowledge) Save() ([]byte, error) {
	saved := savedKnowledge{Latest: k.latest, Tenants: []savedGraph{}}
	for _, tenant := range slices.Sorted(maps.Keys(k.tenants)) {
		saved.Tenants = append(saved.Tenants, k.tenants[tenant].save())
	}
	return json.Marshal(saved)
}

func (g *graph) save() savedGraph {
	saved := savedGraph{Tenant: g.tenant, Stems: []string{}, Notes: make([]savedNote, 0, len(g.nodes)+len(g.removed))}
	numbers := make([]uint32, len(g.words.stems))
	for number, text := range g.words.stems {
		if text != "" {
			numbers[number] = uint32(len(saved.Stems))
			saved.Stems = append(saved.Stems, text)
		}
	}
	for _, n := range slices.SortedFunc(maps.Values(g.nodes), compareNodes) {
		s := n.save()
		s.Words, s.Length = renumbered(n.words, numbers), n.length
		saved.Notes = append(saved.Notes, s)
	}
	for _, n := range slices.SortedFunc(maps.Values(g.removed), compareNodes) {
		saved.Notes = append(saved.Notes, n.save())
	}
	return saved
}

func (n *node) save() savedNote {
	s := savedNote{
		ID: n.id, Title: n.title, Aliases: n.aliases, Tags: n.tags, From: n.valid.From, To: n.valid.To, Large: n.large, Gone: n.gone,
		Older: n.older, Versions: n.versions,
	}
	if n.source != (events.NoteFile{}) {
		s.Source = &n.source
	}
	if n.author != (events.NoteAuthor{}) {
		s.Author = &n.author
	}
	for i := range n.links {
		l := &n.links[i]
		s.Links = append(s.Links, savedLink{l.relation, l.target, l.exclusive, l.file, l.valid.From, l.valid.To})
	}
	return s
}

// Restore implements [Fold].
func (k *knowledge) Restore(state []byte) error {
	var saved savedKnowledge
	if err := json.Unmarshal(state, &saved); err != nil {
		return fmt.Errorf("restore the saved state: %w", err)
	}
	restored := newKnowledge()
	restored.latest = saved.Latest
	for i := range saved.Tenants {
		g := newGraph(saved.Tenants[i].Tenant)
		if err := g.restore(&saved.Tenants[i]); err != nil {
			return fmt.Errorf("restore the saved state: %w", err)
		}
		restored.tenants[g.tenant] = g
	}
	if saved.Tenants == nil {
		return errors.New("restore the saved state: it has no tenants")
	}
	*k = *restored
	return nil
}

func (g *graph) restore(saved *savedGraph) error {
	for i, text := range saved.Stems {
		if text == "" || int(g.words.number(text)) != i {
			return fmt.Errorf("the stem %q is there twice, or is none", events.Clip(text, 80))
		}
	}
	for i := range saved.Notes {
		s := &saved.Notes[i]
		if len(s.Versions) == 0 || !fits(s.Words, len(saved.Stems)) {
			return fmt.Errorf("note %q has no versions, or words that are none", events.Clip(string(s.ID), 80))
		}
		n := g.restoreNode(s)
		if n.gone != "" {
			g.removed[n.id] = n
			continue
		}
		g.nodes[n.id] = n
		g.connect(n)
	}
	return nil
}

// fits reports whether bytes are words whose numbers are below a bound.
func fits(words []byte, bound int) bool {
	number, first := uint64(0), true
	for len(words) > 0 {
		more, count, size := nextPair(words)
		number += uint64(more)
		if size == 0 || count == 0 || number >= uint64(bound) || more == 0 && !first {
			return false
		}
		words, first = words[size:], false
	}
	return true
}

func (g *graph) restoreNode(s *savedNote) *node {
	n := &node{
		id: s.ID, title: s.Title, aliases: s.Aliases, valid: events.Validity{From: s.From, To: s.To}, large: s.Large, gone: s.Gone,
		older: s.Older, versions: s.Versions, length: s.Length, words: s.Words,
	}
	for _, tag := range s.Tags {
		n.tags = append(n.tags, g.one(tag))
	}
	if s.Source != nil {
		n.source = *s.Source
		n.source.Collection, n.source.Dir = g.one(n.source.Collection), g.one(n.source.Dir)
	}
	if s.Author != nil {
		n.author = *s.Author
	}
	n.links = make([]link, len(s.Links))
	for i, l := range s.Links {
		n.links[i] = g.link(n.id, &events.NoteLink{Relation: l.Relation, Target: l.Target, Exclusive: l.Exclusive, File: l.File, Validity: events.Validity{From: l.From, To: l.To}})
	}
	return n
}
