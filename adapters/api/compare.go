package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"example.com/life/actors/history"
	"example.com/life/events"
	"example.com/life/sagas"
)

// mostPairs is how many pairs of turns one answer may list.
const mostPairs = 100_000

// diff compares two agents' histories. It answers with one JSON value, or in lines if that is asked for.
func (s *server) diff(w http.ResponseWriter, r *http.Request) error {
	q, err := readQuery(r, "a", "b", "turn", "turns", "pairs")
	if err != nil {
		return err
	}
	pairs, err := q.number("pairs", 0, 1, mostPairs)
	if err != nil {
		return err
	}
	turns, err := q.number("turns", 0, 1, lastRevision)
	if err != nil {
		return err
	}
	order := history.CompareOrder{
		A: events.AgentID(q.text("a")), B: events.AgentID(q.text("b")), Turn: events.TurnID(q.text("turn")), Turns: int(turns), Pairs: int(pairs),
	}
	for _, agent := range []events.AgentID{order.A, order.B} {
		if err := agent.Validate(); err != nil {
			return &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
		}
	}
	if !strings.Contains(r.Header.Get("Accept"), inLines) {
		answer, err := s.host.Compare(r.Context(), order, nil)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, answer)
	}
	out := newLines(w)
	answer, err := s.host.Compare(r.Context(), order, func(read int64) { out.tell(progress{Checked: read}) })
	return finish(s, out, &answer, err)
}

// Compare has the server compare two agents' histories. progress, if given, hears from time to time how many events were read.
func (c *Client) Compare(ctx context.Context, order history.CompareOrder, progress func(read int64)) (history.Comparison, error) {
	query := url.Values{"a": {string(order.A)}, "b": {string(order.B)}}
	if order.Turn != "" {
		query.Set("turn", string(order.Turn))
	}
	if order.Turns > 0 {
		query.Set("turns", strconv.Itoa(order.Turns))
	}
	if order.Pairs > 0 {
		query.Set("pairs", strconv.Itoa(min(order.Pairs, mostPairs)))
	}
	asked := call{method: http.MethodGet, path: "/v1/diff", query: query, header: http.Header{"Accept": {inLines}}}
	return readLines[history.Comparison](ctx, c, asked, func(read, _ int64) {
		if progress != nil {
			progress(read)
		}
	})
}
