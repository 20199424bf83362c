package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"example.com/life/actors/history"
	"example.com/life/events"
)

const mostGroups, mostFound = 200, 4096

// stretch reads from, to and direction: the part of an agent's history that is wanted, and whether the latest comes first.
func (s *server) stretch(r *http.Request, q query, reverse bool) (first, last events.Revision, backward bool, err error) {
	switch q.text("direction") {
	case "":
		backward = reverse
	case forward:
	case "backward":
		backward = true
	default:
		return 0, 0, false, problem(codeMalformed, "query parameter %q is %q, want forward or backward", "direction", events.Clip(q.text("direction"), 200))
	}
	agent := events.AgentID(r.PathValue("agent"))
	last = events.NoRevision
	if q.text("from") != "" {
		if first, err = s.end(r.Context(), agent, q, "from"); err != nil {
			return 0, 0, false, err
		}
	}
	if q.text("to") != "" {
		last, err = s.end(r.Context(), agent, q, "to")
	}
	return first, last, backward, err
}

// end resolves one end of a stretch: where the moment from begins, or where the moment to ends.
func (s *server) end(ctx context.Context, agent events.AgentID, q query, name string) (events.Revision, error) {
	m, err := q.moment(name)
	switch {
	case err != nil:
		return 0, err
	case m.Form == events.MomentRevision:
		return m.Revision, nil
	}
	if name == "from" {
		at, err := s.host.Resolve(ctx, agent, m.Onward())
		return at.First, err
	}
	at, err := s.host.Resolve(ctx, agent, m)
	return at.Revision, err
}

// groups answers with a page of an agent's history, turn by turn: the latest ones, unless direction says forward.
func (s *server) groups(w http.ResponseWriter, r *http.Request) error {
	q, err := readQuery(r, "from", "to", "limit", "direction")
	if err != nil {
		return err
	}
	limit, err := q.number("limit", 0, 1, mostGroups)
	if err != nil {
		return err
	}
	first, last, backward, err := s.stretch(r, q, true)
	if err != nil {
		return err
	}
	page, err := s.host.Groups(r.Context(), events.AgentID(r.PathValue("agent")),
		history.GroupOrder{First: first, Last: last, Limit: int(limit), Forward: !backward})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page)
}

// search answers with a page of the events that are wanted.
func (s *server) search(w http.ResponseWriter, r *http.Request) error {
	q, err := readQuery(r, "from", "to", "limit", "direction", "kind", "text", "where")
	if err != nil {
		return err
	}
	limit, err := q.number("limit", 0, 1, mostFound)
	if err != nil {
		return err
	}
	order := history.Search{Limit: int(limit), Text: q.text("text"), Where: q.text("where")}
	if order.First, order.Last, order.Reverse, err = s.stretch(r, q, false); err != nil {
		return err
	}
	if kinds := q.text("kind"); kinds != "" {
		order.Kinds = strings.Split(kinds, ",")
	}
	found, err := s.host.Search(r.Context(), events.AgentID(r.PathValue("agent")), order)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, found)
}

// stretchOf is the way back.
func stretchOf(first, last events.Revision, backward bool, limit int) url.Values {
	query := url.Values{"from": {strconv.FormatInt(max(int64(first), 0), 10)}, "direction": {forward}}
	if backward {
		query.Set("direction", "backward")
	}
	if last != events.NoRevision {
		query.Set("to", strconv.FormatInt(int64(last), 10))
	}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	return query
}

// Groups asks for a page of an agent's history, turn by turn.
func (c *Client) Groups(ctx context.Context, agent events.AgentID, order history.GroupOrder) (history.GroupPage, error) {
	var page history.GroupPage
	if err := agent.Validate(); err != nil {
		return page, invalid("%v", err)
	}
	order.Limit = min(order.Limit, mostGroups)
	err := c.get(ctx, agentPath(agent, "history"), stretchOf(order.First, order.Last, !order.Forward, order.Limit), &page)
	return page, err
}

// Search asks for a page of the events of an agent that are wanted.
func (c *Client) Search(ctx context.Context, agent events.AgentID, order history.Search) (history.Found, error) {
	var found history.Found
	if err := agent.Validate(); err != nil {
		return found, invalid("%v", err)
	}
	query := stretchOf(order.First, order.Last, order.Reverse, min(order.Limit, mostFound))
	for name, value := range map[string]string{"kind": strings.Join(order.Kinds, ","), "text": order.Text, "where": order.Where} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if slices.ContainsFunc(order.Kinds, func(kind string) bool { return strings.Contains(kind, ",") }) {
		return found, invalid("a kind holds no comma")
	}
	err := c.get(ctx, agentPath(agent, "search"), query, &found)
	return found, err
}
