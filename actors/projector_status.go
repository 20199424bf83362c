package actors

import (
	"context"

	"example.com/life/events"
	"example.com/life/projections"
)

// Projection is one of a host's catalogue, and how it stands on this host.
type Projection struct {
	projections.Spec
	State    ProjectionState `json:"state"`
	Position events.Position `json:"position,string"` // up to which history is in it
	Events   int64           `json:"events,string"`   // that were folded
	Stopped  *Stopped        `json:"stopped,omitempty"`
}

// ProjectionState sums up how a projection stands.
type ProjectionState string

// The states.
const (
	ProjectionResting  ProjectionState = "resting"     // it is read on when it is asked
	ProjectionBuilding ProjectionState = "building"    // it was never at the end of history, and cannot be asked
	ProjectionCatching ProjectionState = "catching up" // it answers as of where it is
	ProjectionLive     ProjectionState = "live"
	ProjectionStopped  ProjectionState = "stopped"
)

// Projections lists the host's catalogue, in its order.
func (h *Host) Projections(ctx context.Context) ([]Projection, error) {
	h.projector.mu.Lock()
	all := make([]*reading, len(h.projector.list))
	for i, each := range h.projector.list {
		all[i] = each.serving
	}
	h.projector.mu.Unlock()
	list := make([]Projection, len(all))
	for i, r := range all {
		list[i] = r.status(h.resting)
	}
	return list, ctx.Err()
}

func (r *reading) status(resting bool) Projection {
	r.mu.Lock()
	defer r.mu.Unlock()
	status := Projection{Spec: *r.spec, Position: r.at, Events: r.folded, Stopped: r.stopped, State: ProjectionCatching}
	switch {
	case r.stopped != nil:
		status.State = ProjectionStopped
	case resting:
		status.State = ProjectionResting
	case !r.built:
		status.State = ProjectionBuilding
	case r.live:
		status.State = ProjectionLive
	}
	return status
}
