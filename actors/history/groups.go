package history

import (
	"context"

	"example.com/life/events"
	"example.com/life/projections/runs"
)

// GroupOrder says which part of an agent's history is told as groups: from one revision to another, Last NoRevision being the end.
type GroupOrder struct {
	First   events.Revision
	Last    events.Revision
	Limit   int  // groups of one page; 0: 20; at most 200
	Forward bool // the first page first; else the latest page comes first
}

// GroupPage is some groups, in the order of history.
type GroupPage struct {
	Groups []runs.Group    `json:"groups"`
	Last   events.Revision `json:"last,string"` // the end of the history when the page was read
	Next   events.Revision `json:"next,string"` // forward where the next page begins, else where it ends; -1: there is none
}

const standardGroups, mostGroups = 20, 200

// Groups tells an agent's history turn by turn, a page at a time. It reads no more than the page.
func (r *Reader) Groups(ctx context.Context, agent events.AgentID, order GroupOrder) (GroupPage, error) {
	page := GroupPage{Groups: []runs.Group{}, Next: events.NoRevision}
	end, err := r.Resolve(ctx, agent, events.Moment{})
	if err != nil {
		return page, err
	}
	if page.Last = end.Revision; order.Last == events.NoRevision || order.Last > end.Revision {
		order.Last = end.Revision
	}
	order.First = max(order.First, 0)
	limit := order.Limit
	if limit <= 0 {
		limit = standardGroups
	}
	limit = min(limit, mostGroups)
	s := seeker{journal: r.journal, agent: agent, stream: events.AgentStream(agent), last: order.Last}
	begin := order.First
	if !order.Forward {
		if begin, err = s.turnsBack(ctx, limit); err != nil {
			return page, err
		}
		begin = max(begin, order.First)
	}
	fold := runs.NewGroupFold(agent)
	add := func(g *runs.Group) bool {
		if g != nil {
			page.Groups = append(page.Groups, *g)
		}
		return !order.Forward || len(page.Groups) < limit
	}
	err = s.each(ctx, begin, order.Last, func(e *events.Envelope) (bool, error) { return add(fold.Apply(e)), nil })
	if err != nil {
		return page, err
	}
	if !order.Forward || len(page.Groups) < limit {
		for _, g := range fold.End() {
			add(g)
		}
	}
	if n := len(page.Groups); order.Forward && n > 0 && page.Groups[n-1].Last < order.Last {
		page.Next = page.Groups[n-1].Last + 1
	}
	if !order.Forward && begin > order.First {
		page.Next = begin - 1
	}
	return page, nil
}

// turnsBack finds where the last turns begin, so many of them; the beginning, where there are no more.
func (s *seeker) turnsBack(ctx context.Context, count int) (events.Revision, error) {
	at, newest, err := s.numbered(ctx, 0, s.last, s.turnNumber)
	if err != nil || at == events.NoRevision {
		return 0, err
	}
	wanted := newest - int64(count) + 1
	started, err := s.first(ctx, wanted, s.turnNumber)
	if err != nil {
		return 0, err
	}
	oldest, err := s.first(ctx, 0, s.turnNumber)
	if err != nil || started == oldest {
		return 0, err
	}
	return s.decision(ctx, started)
}
