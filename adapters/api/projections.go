package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"example.com/life/actors/projector"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// projectionList is what can be asked of history.
type projectionList struct {
	Projections []projector.Status `json:"projections"`
}

// The query parameters of a projection that are not its query's own.
const (
	parameterQuery = "query"
	parameterAt    = "at"
	parameterMin   = "min"
)

// inLines asks for progress, see inspect.go.
const inLines = "application/x-ndjson"

func (s *server) projections(w http.ResponseWriter, r *http.Request) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	list, err := s.host.Projections(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, projectionList{list})
}

// project asks a projection. It answers with one JSON value, or in lines if that is asked for.
func (s *server) project(w http.ResponseWriter, r *http.Request) error {
	ask := projector.Question{Projection: r.PathValue("name"), Query: projections.Query{Parameters: map[string]string{}}}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return problem(codeMalformed, "the query cannot be read: %s", events.Clip(err.Error(), 200))
	}
	for name, given := range values { // which ones there are the projection knows
		if len(given) > 1 {
			return problem(codeMalformed, "query parameter %q is there twice", events.Clip(name, 200))
		}
		ask.Query.Parameters[name] = given[0]
	}
	q := query(values)
	ask.Query.Name = q.text(parameterQuery)
	at, err := q.number(parameterAt, 0, 1, lastRevision)
	if err != nil {
		return err
	}
	least, err := q.number(parameterMin, 0, 0, lastRevision)
	if err != nil {
		return err
	}
	given, err := atLeast(r)
	if err != nil {
		return err
	}
	ask.At, ask.Min = events.Position(at), max(events.Position(least), given)
	for _, own := range []string{parameterQuery, parameterAt, parameterMin} {
		delete(ask.Query.Parameters, own)
	}
	if !strings.Contains(r.Header.Get("Accept"), inLines) {
		answer, err := s.host.Query(r.Context(), ask, nil)
		if err != nil {
			return err
		}
		answersAsOf(w, answer.Position)
		return writeJSON(w, http.StatusOK, answer)
	}
	out := newLines(w)
	answer, err := s.host.Query(r.Context(), ask, func(folded int64) { out.tell(progress{Checked: folded}) })
	answersAsOf(w, answer.Position) // unless there were lines before
	return finish(s, out, &answer, err)
}

// approvals answers what waits for a person, of all agents.
func (s *server) approvals(w http.ResponseWriter, r *http.Request) error {
	r.SetPathValue("name", "approvals")
	return s.project(w, r)
}

// Projections lists the catalogue of the server's host, and how each projection stands there.
func (c *Client) Projections(ctx context.Context) ([]projector.Status, error) {
	var list projectionList
	err := c.get(ctx, "/v1/projections", nil, &list)
	return list.Projections, err
}

// Query asks a projection of the server. progress, if given, hears from time to time how many events were folded.
func (c *Client) Query(ctx context.Context, ask projector.Question, progress func(folded int64)) (projector.Answer, error) {
	path, err := projectionPath(ask.Projection)
	if err != nil {
		return projector.Answer{}, err
	}
	parameters := url.Values{}
	for name, value := range ask.Query.Parameters {
		if name == parameterQuery || name == parameterAt || name == parameterMin {
			return projector.Answer{}, invalid("no query has a parameter %q", name)
		}
		parameters.Set(name, value)
	}
	if ask.Query.Name != "" {
		parameters.Set(parameterQuery, ask.Query.Name)
	}
	for name, position := range map[string]events.Position{parameterAt: ask.At, parameterMin: ask.Min} {
		if position > 0 {
			parameters.Set(name, strconv.FormatUint(uint64(position), 10))
		}
	}
	asked := call{method: http.MethodGet, path: path, query: parameters, header: http.Header{"Accept": {inLines}}}
	return readLines[projector.Answer](ctx, c, asked, func(folded, _ int64) {
		if progress != nil {
			progress(folded)
		}
	})
}

// projectionPath is where a projection is. A name that is none would be another path.
func projectionPath(name string, rest ...string) (string, error) {
	if name == "" || name == "." || name == ".." {
		return "", &sagas.RefusalError{Code: sagas.RefusedMissing, Detail: fmt.Sprintf("there is no projection %q; GET /v1/projections lists them", name)}
	}
	return "/v1/projections/" + strings.Join(append([]string{url.PathEscape(name)}, rest...), "/"), nil
}
