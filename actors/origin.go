package actors

import (
	"context"
	"fmt"
	"slices"

	"example.com/life/events"
	"example.com/life/sagas"
)

// forkOrigin is the fold on which an agent's first event is folded: for a fork its parent's as of the revision where it was forked,
// which may be a fork's itself. It fails if that part of the parent's history is not the one that was forked.
func forkOrigin(ctx context.Context, h *Host, f fold[sagas.Agent], first sagas.Fact) (sagas.Agent, error) {
	e, forked := first.Event.(events.AgentForked)
	if !forked {
		return f.zero(), nil
	}
	if slices.Contains(f.path, e.Parent) {
		return f.zero(), &poisoned{fmt.Errorf("agent %s was forked from itself, by way of %v", e.Parent, f.path)}
	}
	f.path = append(slices.Clip(f.path), e.Parent)
	parent, end, err := foldStream(ctx, h, f, events.AgentStream(e.Parent), e.At)
	switch {
	case err != nil:
		return f.zero(), fmt.Errorf("fold agent %s, of which %s is a fork: %w", e.Parent, e.Agent, err)
	case end.revision != e.At:
		return f.zero(), &poisoned{fmt.Errorf("agent %s was forked from %s at revision %d, but that history ends at %d", e.Agent, e.Parent, e.At, end.revision)}
	case e.Digest != (events.Digest{}) && end.digest != e.Digest:
		return f.zero(), &poisoned{fmt.Errorf("agent %s was forked from %s at revision %d, and that history was changed since: run life verify %s",
			e.Agent, e.Parent, e.At, e.Parent)}
	}
	return parent, nil
}
