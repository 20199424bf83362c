package whatif

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/projections/runs"
	"example.com/life/sagas"
)

// Choose finds the recorded turns that are to be run again. progress hears whose turns are looked for.
func (w *WhatIf) Choose(ctx context.Context, progress func(agent events.AgentID, number, of int)) ([]runs.RecordedTurn, error) {
	agents, err := w.host.Agents(ctx, projections.AgentFilter{})
	if err != nil {
		return nil, err
	}
	var recorded []runs.RecordedTurn
	for i := range agents {
		if agents[i].Problem != "" || !w.wants(agents[i].ID) {
			continue
		}
		progress(agents[i].ID, i+1, len(agents))
		turns, err := w.turnsOf(ctx, agents[i].ID)
		if err != nil {
			return nil, fmt.Errorf("look for turns of %s: %w", agents[i].ID, err)
		}
		recorded = append(recorded, turns...)
	}
	return runs.ChooseTurns(recorded, w.Turns), nil
}

// wants reports whether an agent is meant. The forks of what-ifs are meant only by patterns that say so.
func (w *WhatIf) wants(agent events.AgentID) bool {
	for _, pattern := range w.Agents {
		if strings.HasPrefix(string(agent), prefix) && !strings.HasPrefix(pattern, prefix) {
			continue
		}
		if is, err := path.Match(pattern, string(agent)); err == nil && is {
			return true
		}
	}
	return false
}

// turnsOf lists turns of one agent that have ended, the latest first.
func (w *WhatIf) turnsOf(ctx context.Context, agent events.AgentID) ([]runs.RecordedTurn, error) {
	from, to, err := w.window(ctx, agent)
	if err != nil || from > to {
		return nil, err
	}
	state, err := w.host.State(ctx, agent, events.NoRevision)
	if err != nil {
		return nil, err
	}
	var turns []runs.RecordedTurn
	for number := state.Agent.Turns; number > 0; number-- {
		place, err := w.host.Resolve(ctx, agent, events.Moment{Form: events.MomentTurn, Turn: number})
		if isMissing(err) || err == nil && place.First < from {
			break // of a fork, turns of its parent; or before the time that is meant
		}
		if err != nil {
			return nil, err
		}
		if place.Revision > to || place.Kind != (events.TurnEnded{}).Kind() {
			continue
		}
		turn, wanted, err := w.recorded(ctx, agent, number, place)
		if err != nil {
			return nil, err
		}
		if wanted {
			turns = append(turns, turn)
		}
		if len(turns) == w.Turns {
			break
		}
	}
	return turns, nil
}

func isMissing(err error) bool {
	var refusal *sagas.RefusalError
	return errors.As(err, &refusal) && refusal.Code == sagas.RefusedMissing
}

// window is the part of an agent's history that is meant; when it is empty from is after to.
func (w *WhatIf) window(ctx context.Context, agent events.AgentID) (from, to events.Revision, err error) {
	const end = 1 << 62
	from, to = 0, end
	if w.From != (events.Moment{}) {
		at, err := w.host.Resolve(ctx, agent, w.From.Onward())
		switch {
		case isMissing(err):
			return end, 0, nil
		case err != nil:
			return 0, 0, err
		default:
			from = at.First
		}
	}
	if w.To != (events.Moment{}) {
		at, err := w.host.Resolve(ctx, agent, w.To)
		switch {
		case isMissing(err) && w.To.Form == events.MomentRevision: // after its last
		case isMissing(err):
			return end, 0, nil
		case err != nil:
			return 0, 0, err
		default:
			to = at.Revision
		}
	}
	return from, to, nil
}

// recorded describes a turn: where it can be forked, what it cost, and whether Where chooses it.
func (w *WhatIf) recorded(ctx context.Context, agent events.AgentID, number int, place history.Stretch) (runs.RecordedTurn, bool, error) {
	turn := runs.RecordedTurn{Turn: events.NewTurnID(agent, number), At: events.NoRevision}
	wanted := w.Where == nil
	err := w.each(ctx, agent, place, func(e *events.Envelope) (err error) {
		if !wanted {
			if wanted, err = w.Where(e); err != nil {
				return err
			}
		}
		switch e.Kind {
		case (events.TurnStarted{}).Kind(), (events.TurnEnded{}).Kind():
		default:
			return nil
		}
		event, err := e.Event()
		switch event := event.(type) {
		case events.TurnStarted:
			if event.Turn == turn.Turn {
				turn.At, turn.Started = e.Revision, e.Time
			}
		case events.TurnEnded:
			if event.Turn == turn.Turn {
				turn.Cost = event.Cost
			}
		}
		return err
	})
	if err == nil && turn.At == events.NoRevision {
		err = fmt.Errorf("turn %s does not begin at revision %d", turn.Turn, place.First)
	}
	return turn, wanted, err
}

// each reads the events of a place in an agent's history: all of them for Where, else the first and the last ones.
func (w *WhatIf) each(ctx context.Context, agent events.AgentID, place history.Stretch, use func(*events.Envelope) error) error {
	const first = 64 // more than the decision that starts a turn has
	for from := place.First; from <= place.Revision; {
		limit := storage.Limit{Events: int(min(place.Revision-from+1, 512))}
		if w.Where == nil {
			limit.Events = min(limit.Events, first)
		}
		page, err := w.host.History(ctx, events.AgentStream(agent), from, storage.Forward, limit)
		if err != nil {
			return err
		}
		for i := range page.Events {
			if err := use(&page.Events[i]); err != nil {
				return err
			}
		}
		if len(page.Events) == 0 {
			return nil
		}
		if from = page.Events[len(page.Events)-1].Revision + 1; w.Where == nil {
			from = max(from, place.Revision)
		}
	}
	return nil
}
