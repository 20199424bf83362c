package api

import (
	"context"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"example.com/life/actors/history"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/projections/runs"
)

// moment reads a query parameter that names a moment. What does not say its zone is in UTC.
func (q query) moment(name string) (events.Moment, error) {
	m, err := history.ParseMoment(q.text(name), time.Now().UTC())
	if err != nil {
		return m, problem(codeMalformed, "query parameter %q: %v", name, err)
	}
	return m, nil
}

// resolve finds the revision of a moment, where that takes a search.
func (s *server) resolve(ctx context.Context, agent events.AgentID, m events.Moment) (events.Revision, error) {
	switch m.Form {
	case events.MomentLatest:
		return events.NoRevision, nil
	case events.MomentRevision:
		return m.Revision, nil
	case events.MomentTime, events.MomentTurn:
	}
	at, err := s.host.Resolve(ctx, agent, m)
	return at.Revision, err
}

// moment answers with where a moment stands in an agent's history.
func (s *server) moment(w http.ResponseWriter, r *http.Request) error {
	q, err := readQuery(r, parameterAt)
	if err != nil {
		return err
	}
	m, err := q.moment(parameterAt)
	if err != nil {
		return err
	}
	at, err := s.host.Resolve(r.Context(), events.AgentID(r.PathValue("agent")), m)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, at)
}

// difference compares an agent at two moments. It answers with one JSON value, or in lines if that is asked for.
func (s *server) difference(w http.ResponseWriter, r *http.Request) error {
	q, err := readQuery(r, "from", "to")
	if err != nil {
		return err
	}
	from, err := q.moment("from")
	if err != nil {
		return err
	}
	to, err := q.moment("to")
	if err != nil {
		return err
	}
	return answer(s, w, r, func(tell func(int64)) (history.Difference, error) {
		return s.host.Difference(r.Context(), events.AgentID(r.PathValue("agent")), from, to, tell)
	})
}

// answer answers with one JSON value, or in lines if that is asked for: see inspect.go.
func answer[R any](s *server, w http.ResponseWriter, r *http.Request, ask func(tell func(int64)) (R, error)) error {
	if !strings.Contains(r.Header.Get("Accept"), inLines) {
		value, err := ask(nil)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, value)
	}
	out := newLines(w)
	value, err := ask(func(checked int64) { out.tell(progress{Checked: checked}) })
	return finish(s, out, &value, err)
}

// askInLines asks for an answer in lines, so that progress is heard of.
func askInLines[R any](ctx context.Context, c *Client, path string, query url.Values, tell func(int64)) (R, error) {
	asked := call{method: http.MethodGet, path: path, query: query, header: http.Header{"Accept": {inLines}}}
	return readLines[R](ctx, c, asked, func(checked, _ int64) {
		if tell != nil {
			tell(checked)
		}
	})
}

// Difference has the server compare an agent at two moments. progress, if given, hears how many events were looked at.
func (c *Client) Difference(
	ctx context.Context, agent events.AgentID, from, to events.Moment, progress func(looked int64),
) (history.Difference, error) {
	if err := agent.Validate(); err != nil {
		return history.Difference{}, invalid("%v", err)
	}
	query := url.Values{"from": {history.FormatMoment(from)}, "to": {history.FormatMoment(to)}}
	return askInLines[history.Difference](ctx, c, agentPath(agent, "diff"), query, progress)
}

// waterfall answers with what ran when in a turn.
func (s *server) waterfall(w http.ResponseWriter, r *http.Request) error {
	q, err := readQuery(r, "turn")
	if err != nil {
		return err
	}
	number, err := q.number("turn", 0, 1, math.MaxInt32)
	if err != nil {
		return err
	}
	if number == 0 {
		return problem(codeMalformed, "query parameter %q is not there: the number of the turn", "turn")
	}
	turn, err := s.host.Waterfall(r.Context(), events.NewTurnID(events.AgentID(r.PathValue("agent")), int(number)))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, turn)
}

// Waterfall asks what ran when in a turn.
func (c *Client) Waterfall(ctx context.Context, turn events.TurnID) (projections.Turn, error) {
	var answer projections.Turn
	if turn.Number() == 0 || turn.Agent().Validate() != nil {
		return answer, invalid("%q is no turn, such as demo/3", events.Clip(string(turn), 200))
	}
	err := c.get(ctx, agentPath(turn.Agent(), "waterfall"), url.Values{"turn": {strconv.Itoa(turn.Number())}}, &answer)
	return answer, err
}

// causes answers with what led to an event.
func (s *server) causes(w http.ResponseWriter, r *http.Request) error {
	return s.trace(w, r, func(event events.Ref, tell func(int64)) (*runs.TraceNode, error) {
		return s.host.Causes(r.Context(), event, tell)
	})
}

// effects answers with what followed from an event.
func (s *server) effects(w http.ResponseWriter, r *http.Request) error {
	return s.trace(w, r, func(event events.Ref, tell func(int64)) (*runs.TraceNode, error) {
		return s.host.Effects(r.Context(), event, tell)
	})
}

func (s *server) trace(w http.ResponseWriter, r *http.Request, ask func(events.Ref, func(int64)) (*runs.TraceNode, error)) error {
	q, err := readQuery(r, "event")
	if err != nil {
		return err
	}
	event := events.Ref(q.text("event"))
	if _, _, err := event.Split(); err != nil {
		return problem(codeMalformed, "query parameter %q: %s", "event", events.Clip(err.Error(), 200))
	}
	return answer(s, w, r, func(tell func(int64)) (*runs.TraceNode, error) { return ask(event, tell) })
}

// Causes has the server tell what led to an event. progress, if given, hears how many events were read.
func (c *Client) Causes(ctx context.Context, event events.Ref, progress func(read int64)) (*runs.TraceNode, error) {
	return c.trace(ctx, "/v1/causes", event, progress)
}

// Effects has the server tell what followed from an event. progress, if given, hears how many events were read.
func (c *Client) Effects(ctx context.Context, event events.Ref, progress func(read int64)) (*runs.TraceNode, error) {
	return c.trace(ctx, "/v1/effects", event, progress)
}

func (c *Client) trace(ctx context.Context, path string, event events.Ref, progress func(read int64)) (*runs.TraceNode, error) {
	if _, _, err := event.Split(); err != nil {
		return nil, invalid("%v", err)
	}
	return askInLines[*runs.TraceNode](ctx, c, path, url.Values{"event": {string(event)}}, progress)
}

// Resolve finds a moment in an agent's history.
func (c *Client) Resolve(ctx context.Context, agent events.AgentID, m events.Moment) (history.Stretch, error) {
	var at history.Stretch
	if err := agent.Validate(); err != nil {
		return at, invalid("%v", err)
	}
	err := c.get(ctx, agentPath(agent, "moment"), url.Values{parameterAt: {history.FormatMoment(m)}}, &at)
	return at, err
}
