package projector

import (
	"context"
	"fmt"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/projections/runs"
	"example.com/life/sagas"
)

// Step is what one event does to a projection's state.
type Step struct {
	Position events.Position `json:"position,string"`
	Event    events.Ref      `json:"event"`
	Kind     events.Kind     `json:"kind"`
	Text     string          `json:"text"`              // the event as a sentence
	Changes  []runs.Change   `json:"changes"`           // of the saved state, path by path
	Skipped  bool            `json:"skipped,omitempty"` // it is left out
	Problem  string          `json:"problem,omitempty"` // why it cannot be folded: the projection stops here
}

// MaxSteps bounds how many events are stepped through at once.
const MaxSteps = 100

// Step shows what each of some events does to a projection's state: the first of them that it needs from a position on; without a
// position, those from where it stopped, or the latest that it folded. Nothing is changed: a fold of its own is read to there.
func (p *Projector) Step(ctx context.Context, name string, from events.Position, count int) ([]Step, error) {
	if err := p.catalogueIfResting(ctx); err != nil {
		return nil, err
	}
	of, err := p.find(name)
	if err != nil {
		return nil, err
	}
	serving, err := p.serves(of)
	if err != nil {
		return nil, err
	}
	if p.config.Resting {
		serving, err = p.refresh(ctx, of, func(int64) {})
	} else {
		err = p.prepare(ctx, serving)
	}
	if err != nil {
		return nil, err
	}
	if from == 0 {
		if from, err = p.stepsFrom(ctx, serving); err != nil {
			return nil, err
		}
	}
	r, err := p.restore(ctx, serving, max(from, 1)-1, func(int64) {})
	if err != nil {
		return nil, err
	}
	return p.step(ctx, r, min(max(count, 1), MaxSteps))
}

// stepsFrom is where stepping begins by default.
func (p *Projector) stepsFrom(ctx context.Context, r *reading) (events.Position, error) {
	if stopped := r.stopReason(); stopped != nil {
		return stopped.Position, nil
	}
	for place := storage.After(r.readFrom()); ; {
		page, err := p.config.Journal.ReadAll(ctx, place, storage.Backward, chosen(r.spec), storage.Limit{Events: 64})
		if err != nil {
			return 1, err
		}
		for i := range page.Events {
			if r.spec.Wants(&page.Events[i]) {
				return page.Events[i].Position, nil
			}
		}
		if page.End {
			return 1, nil
		}
		place = page.Next
	}
}

// step feeds a reading, which only the caller has, one event after another.
func (p *Projector) step(ctx context.Context, r *reading, count int) ([]Step, error) {
	steps := []Step{}
	if r.stopped != nil {
		return steps, &sagas.RefusalError{Code: sagas.RefusedState, Detail: fmt.Sprintf("projection %s %v: steps are shown up to there", r.spec.Name, r.stopped)}
	}
	before, err := r.fold.Save()
	if err != nil {
		return nil, fmt.Errorf("encode the state of projection %s: %w", r.spec.Name, err)
	}
	for next := storage.After(r.place); ; {
		page, err := p.config.Journal.ReadAll(ctx, next, storage.Forward, chosen(r.spec), storage.Limit{Events: count - len(steps)})
		if err != nil {
			return nil, fmt.Errorf("read events for projection %s: %w", r.spec.Name, err)
		}
		for i := range page.Events {
			if page.Events[i].Position <= r.at || !r.spec.Wants(&page.Events[i]) {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			step, after, err := r.step(&page.Events[i], before)
			if err != nil {
				return nil, err
			}
			steps, before = append(steps, step), after
			if step.Problem != "" || len(steps) == count {
				return steps, nil
			}
		}
		if page.End {
			return steps, nil
		}
		next = page.Next
	}
}

// step folds one event and compares the states around it.
func (r *reading) step(envelope *events.Envelope, before []byte) (step Step, after []byte, err error) {
	step = Step{Position: envelope.Position, Event: envelope.Ref(), Kind: envelope.Kind, Changes: []runs.Change{}}
	if event, err := envelope.Event(); err == nil {
		step.Text = fmt.Sprint(event)
	}
	if step.Skipped = r.skips.all()[envelope.Position]; step.Skipped {
		return step, before, nil
	}
	if err := r.apply(&projections.Recorded{Envelope: envelope}); err != nil {
		step.Problem = problemOf(err)
		return step, before, nil
	}
	if after, err = r.fold.Save(); err != nil {
		return step, nil, fmt.Errorf("encode the state of projection %s: %w", r.spec.Name, err)
	}
	step.Changes, err = runs.Changes(before, after)
	return step, after, err
}
