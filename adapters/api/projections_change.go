package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"example.com/life/actors/projector"
	"example.com/life/events"
)

// rebuildBody names projections; none: all.
type rebuildBody struct {
	Projections []string `json:"projections,omitempty"`
}

// projectionStatus answers with one projection as the list has it.
func (s *server) projectionStatus(w http.ResponseWriter, r *http.Request) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	shown, err := s.host.Projection(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, shown)
}

// stepList is what some events do to a projection.
type stepList struct {
	Steps []projector.Step `json:"steps"`
}

func (s *server) projectionSteps(w http.ResponseWriter, r *http.Request) error {
	q, err := readQuery(r, "from", "count")
	if err != nil {
		return err
	}
	from, err := q.number("from", 0, 1, lastRevision)
	if err != nil {
		return err
	}
	count, err := q.number("count", 1, 1, projector.MaxSteps)
	if err != nil {
		return err
	}
	steps, err := s.host.Step(r.Context(), r.PathValue("name"), events.Position(from), int(count))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, stepList{steps})
}

// rebuildProjections answers in lines. It goes on when nobody listens any more.
func (s *server) rebuildProjections(w http.ResponseWriter, r *http.Request) error {
	var body rebuildBody
	if _, err := readQuery(r); err != nil {
		return err
	}
	if err := decode(w, r, s.limits.body, &body); err != nil {
		return err
	}
	out := newLines(w)
	report, err := s.host.Rebuild(r.Context(), body.Projections, func(at, head events.Position) {
		out.tell(progress{Checked: int64(at), Total: int64(head)})
	})
	return finish(s, out, &report, err)
}

// Projection says how one projection stands on the server.
func (c *Client) Projection(ctx context.Context, name string) (projector.Status, error) {
	path, err := projectionPath(name, "status")
	if err != nil {
		return projector.Status{}, err
	}
	var shown projector.Status
	return shown, c.get(ctx, path, nil, &shown)
}

// Rebuild has the server fold all of history anew. It goes on there when ctx ends.
func (c *Client) Rebuild(ctx context.Context, names []string, progress func(at, head events.Position)) (projector.Rebuilt, error) {
	asked := call{method: http.MethodPost, path: "/v1/projections/rebuild", body: rebuildBody{names}}
	return readLines[projector.Rebuilt](ctx, c, asked, func(at, head int64) {
		if progress != nil {
			progress(events.Position(at), events.Position(head))
		}
	})
}

// Step shows what each of some events does to a projection's state.
func (c *Client) Step(ctx context.Context, name string, from events.Position, count int) ([]projector.Step, error) {
	path, err := projectionPath(name, "steps")
	if err != nil {
		return nil, err
	}
	query := url.Values{"count": {strconv.Itoa(min(max(count, 1), projector.MaxSteps))}}
	if from > 0 {
		query.Set("from", strconv.FormatUint(uint64(from), 10))
	}
	var list stepList
	return list.Steps, c.get(ctx, path, query, &list)
}
