package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// projectionList is what can be asked of history.
type projectionList struct {
	Projections []projections.Spec `json:"projections"`
}

// The query parameters of a projection that are not its query's own.
const (
	parameterQuery = "query"
	parameterAt    = "at"
)

// inLines asks for progress, see inspect.go.
const inLines = "application/x-ndjson"

func (s *server) projections(w http.ResponseWriter, r *http.Request) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, projectionList{projections.Catalog})
}

// project asks a projection. It answers with one JSON value, or in lines if that is asked for.
func (s *server) project(w http.ResponseWriter, r *http.Request) error {
	spec, err := projections.Find(r.PathValue("name"))
	if err != nil {
		return &sagas.Refusal{Code: sagas.RefusedMissing, Detail: err.Error()}
	}
	known := []string{parameterQuery, parameterAt}
	for _, query := range spec.Queries {
		for _, p := range query.Takes {
			known = append(known, p.Name)
		}
	}
	q, err := readQuery(r, known...)
	if err != nil {
		return err
	}
	at, err := q.number(parameterAt, 0, 1, lastRevision)
	if err != nil {
		return err
	}
	asked := projections.Query{Name: q.text(parameterQuery), Parameters: map[string]string{}}
	for name := range q {
		if name != parameterQuery && name != parameterAt {
			asked.Parameters[name] = q.text(name)
		}
	}
	if !strings.Contains(r.Header.Get("Accept"), inLines) {
		answer, err := s.inspector.Project(r.Context(), spec.Name, asked, events.Position(at), nil)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, answer)
	}
	out := newLines(w)
	answer, err := s.inspector.Project(r.Context(), spec.Name, asked, events.Position(at), func(folded int64) { out.tell(progress{Checked: folded}) })
	return finish(s, out, &answer, err)
}

// Project asks a projection of the server, as of a position (0: now). progress, if given, hears from time to time how many events
// were folded.
func (c *Client) Project(
	ctx context.Context, name string, query projections.Query, at events.Position, progress func(folded int64),
) (actors.Projected, error) {
	spec, err := projections.Find(name) // a name that is none would be another path
	if err != nil {
		return actors.Projected{}, &sagas.Refusal{Code: sagas.RefusedMissing, Detail: err.Error()}
	}
	if query, _, err = spec.Check(query); err != nil {
		return actors.Projected{}, invalid("%v", err)
	}
	parameters := url.Values{parameterQuery: {query.Name}}
	if at > 0 {
		parameters.Set(parameterAt, strconv.FormatUint(uint64(at), 10))
	}
	for name, value := range query.Parameters {
		parameters.Set(name, value)
	}
	asked := call{
		method: http.MethodGet, path: "/v1/projections/" + spec.Name, query: parameters, header: http.Header{"Accept": {inLines}},
	}
	return readLines[actors.Projected](ctx, c, asked, func(folded, _ int64) {
		if progress != nil {
			progress(folded)
		}
	})
}
