package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas"
)

// Past looks at what happened before. *actors.Host documents the methods and their errors.
type Past interface {
	Resolve(ctx context.Context, agent events.AgentID, moment events.Moment) (actors.Place, error)
}

// moment reads a query parameter that names a moment. What does not say its zone is in UTC.
func (q query) moment(name string) (events.Moment, error) {
	m, err := actors.ParseMoment(q.text(name), time.Now().UTC())
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
	if s.past == nil {
		return 0, errNoPast()
	}
	at, err := s.past.Resolve(ctx, agent, m)
	return at.Revision, err
}

func errNoPast() error {
	return problem(codeUnsupported, "this server does not look at the past: look where its history is")
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
	if s.past == nil {
		return errNoPast()
	}
	at, err := s.past.Resolve(r.Context(), events.AgentID(r.PathValue("agent")), m)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, at)
}

// Resolve finds a moment in an agent's history.
func (c *Client) Resolve(ctx context.Context, agent events.AgentID, m events.Moment) (actors.Place, error) {
	var at actors.Place
	if err := agent.Validate(); err != nil {
		return at, &sagas.Refusal{Code: sagas.RefusedInvalid, Detail: err.Error()}
	}
	err := c.get(ctx, agentPath(agent, "moment"), url.Values{parameterAt: {actors.FormatMoment(m)}}, &at)
	return at, err
}
