package history

import (
	"context"
	"fmt"
	"slices"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// segment is the part of one agent's stream that belongs to a history: all of it, or for an ancestor what was before the fork.
type segment struct {
	agent   events.AgentID
	through events.Revision
}

// descent is an agent's history as segments, the oldest ancestor first. The last is the agent's own stream.
type descent []segment

// mostAncestors bounds how long a line of forks of forks may be.
const mostAncestors = 10_000

// descent finds where an agent's history is.
func (r *Reader) descent(ctx context.Context, agent events.AgentID) (descent, error) {
	if err := agent.Validate(); err != nil {
		return nil, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
	}
	line := descent{{agent, storage.Latest}}
	for len(line) < mostAncestors {
		page, err := r.journal.Read(ctx, events.AgentStream(line[0].agent), 0, storage.Forward, storage.Limit{Events: 1})
		if err != nil {
			return nil, fmt.Errorf("read the first event of %s: %w", line[0].agent, err)
		}
		if len(page.Events) == 0 {
			return nil, &sagas.RefusalError{Code: sagas.RefusedMissing, Detail: "there is no agent " + string(line[0].agent)}
		}
		first, err := page.Events[0].Event()
		if err != nil {
			return nil, err
		}
		forked, ok := first.(events.AgentForked)
		if !ok {
			return line, nil
		}
		line = append(descent{{forked.Parent, forked.At}}, line...)
	}
	return nil, fmt.Errorf("agent %s has more than %d ancestors", agent, mostAncestors)
}

// shared returns how many segments two histories begin with alike, the last of them up to a revision: 0 when they have no event in
// common.
func (d descent) shared(other descent) (segments int, through events.Revision) {
	for i := range min(len(d), len(other)) {
		if d[i].agent != other[i].agent {
			return segments, through
		}
		segments, through = i+1, min(d[i].through, other[i].through)
		if d[i].through != other[i].through {
			break
		}
	}
	return segments, through
}

// after leaves out everything up to a revision of one segment.
func (d descent) after(segment int, revision events.Revision) (rest descent, from events.Revision) {
	if revision >= d[segment].through && segment+1 < len(d) {
		return d[segment+1:], 0
	}
	return d[segment:], revision + 1
}

// each hands over events from a revision of the first segment on, in order, until the end or until no more are wanted. through is
// the last revision of the agent's own stream that was read.
func (r *Reader) each(ctx context.Context, d descent, from events.Revision, use func(*events.Envelope) (more bool, err error)) (through events.Revision, err error) {
	through = events.NoRevision
	for i := 0; i < len(d); {
		page, err := r.journal.Read(ctx, events.AgentStream(d[i].agent), from, storage.Forward, storage.Limit{Events: storage.MaxPageEvents, Bytes: 4 << 20})
		if err != nil {
			return through, fmt.Errorf("read the history of %s: %w", d[i].agent, err)
		}
		over := page.End || len(page.Events) == 0
		for j := range page.Events {
			e := &page.Events[j]
			if over = over || e.Revision >= d[i].through; e.Revision > d[i].through {
				break
			}
			if more, err := use(e); err != nil || !more {
				return through, err
			}
			if from = e.Revision + 1; i == len(d)-1 {
				through = e.Revision
			}
		}
		if over {
			i, from = i+1, 0
		}
	}
	return through, nil
}

// forkOrigin is the fold on which an agent's first event is folded: for a fork its parent's as of the revision where it was forked,
// which may be a fork's itself. It fails if that part of the parent's history is not the one that was forked.
func forkOrigin(ctx context.Context, r *Reader, f Fold[sagas.Agent], first sagas.Fact) (sagas.Agent, error) {
	e, forked := first.Event.(events.AgentForked)
	if !forked {
		return f.Zero(), nil
	}
	if slices.Contains(f.path, e.Parent) {
		return f.Zero(), &UnreadableError{fmt.Errorf("agent %s was forked from itself, by way of %v", e.Parent, f.path)}
	}
	f.path = append(slices.Clip(f.path), e.Parent)
	parent, end, err := FoldStream(ctx, r, f, events.AgentStream(e.Parent), e.At)
	switch {
	case err != nil:
		return f.Zero(), fmt.Errorf("fold agent %s, of which %s is a fork: %w", e.Parent, e.Agent, err)
	case end.Revision != e.At:
		return f.Zero(), &UnreadableError{fmt.Errorf("agent %s was forked from %s at revision %d, but that history ends at %d", e.Agent, e.Parent, e.At, end.Revision)}
	case e.Digest != (events.Digest{}) && end.Digest != e.Digest:
		return f.Zero(), &UnreadableError{fmt.Errorf("agent %s was forked from %s at revision %d, and that history was changed since: run life verify %s",
			e.Agent, e.Parent, e.At, e.Parent)}
	}
	return parent, nil
}
