package whatif

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"example.com/life/actors/history"
	"example.com/life/events"
	"example.com/life/projections/runs"
	"example.com/life/sagas"
)

// Run runs turns, several at a time, and returns what became of each, in the same order. progress hears how many are done, and about how much
// time the others take.
func (w *WhatIf) Run(ctx context.Context, turns []runs.RecordedTurn, progress func(done int, left time.Duration)) []runs.WhatIfTurn {
	results := make([]runs.WhatIfTurn, len(turns))
	begun := time.Now()
	var mu sync.Mutex // guards the budget, next and done
	next, done := 0, 0
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		for ; next < len(turns); next++ {
			result := &results[next]
			*result = runs.WhatIfTurn{Turn: turns[next].Turn, State: runs.WhatIfNotRun}
			switch {
			case ctx.Err() != nil:
				result.Problem = "interrupted"
			case !w.budget.Admit(&turns[next]):
				result.Problem = "the budget is spent"
			default:
				next++
				return next - 1, true
			}
		}
		return 0, false
	}
	var workers sync.WaitGroup
	for range min(w.Parallel, len(turns)) {
		workers.Go(func() {
			for at, more := take(); more; at, more = take() {
				results[at] = w.one(ctx, &turns[at])
				mu.Lock()
				w.budget.Settle(&turns[at], results[at].Live)
				done++
				left := time.Since(begun) / time.Duration(done) * time.Duration(len(turns)-done)
				progress(done, left)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return results
}

// one runs one turn with the change, and compares.
func (w *WhatIf) one(ctx context.Context, turn *runs.RecordedTurn) runs.WhatIfTurn {
	result := runs.WhatIfTurn{Turn: turn.Turn, State: runs.WhatIfFailed, Fork: w.forkName(turn.Turn)}
	if _, err := w.host.Fork(ctx, w.order(turn), w.Origin); err != nil {
		if result.Problem = err.Error(); ctx.Err() != nil {
			result.State = runs.WhatIfNotRun
		}
		return result
	}
	state, err := w.await(ctx, turn)
	if err != nil {
		result.Problem = err.Error()
		return result
	}
	ctx = context.WithoutCancel(ctx) // what was run is compared
	number := turn.Turn.Number()
	compared, err := w.host.Compare(ctx, history.CompareOrder{
		A: turn.Turn.Agent(), B: result.Fork, Turn: events.NewTurnID(result.Fork, number), Turns: 1,
	}, nil)
	if err != nil {
		result.Problem = err.Error()
		return result
	}
	result.Live = liveCost(&state.Agent.Fork, compared.Turn)
	if state.Agent.Turn.Number == number {
		result.State, result.Problem = runs.WhatIfWaits, waitsFor(&state.Agent)
		return result
	}
	result.Compared(&compared.Pairs[0], compared.Turn)
	if w.Discard {
		result.Problem = w.discard(ctx, turn)
	}
	return result
}

// await waits for a fork to come to its end, or as far as it comes in time.
func (w *WhatIf) await(ctx context.Context, turn *runs.RecordedTurn) (history.AgentState, error) {
	within, stop := context.WithTimeout(ctx, w.Patience)
	defer stop()
	err := w.watch(within, turn)
	if err != nil && within.Err() == nil {
		return history.AgentState{}, err
	}
	return w.host.State(context.WithoutCancel(ctx), w.forkName(turn.Turn), events.NoRevision)
}

// watch watches a fork until it has followed its parent to the end of the turn, or can do nothing more. A message that waited for the
// turn to end starts another one, which nobody asked for: it is cancelled.
func (w *WhatIf) watch(ctx context.Context, turn *runs.RecordedTurn) error {
	fork := w.forkName(turn.Turn)
	feed, err := w.host.Watch(ctx, fork, events.NoRevision)
	if err != nil {
		return fmt.Errorf("watch fork %s: %w", fork, err)
	}
	defer feed.Close()
	for {
		item, err := feed.Next(ctx)
		if err != nil {
			return fmt.Errorf("watch fork %s: %w", fork, err)
		}
		if item.Event == nil {
			continue
		}
		switch item.Event.Kind {
		case (events.ForkFinished{}).Kind(), (events.AgentRetired{}).Kind(), (events.AgentQuarantined{}).Kind():
			return nil
		case (events.TurnStarted{}).Kind():
			if err := w.cancelLater(ctx, turn, item.Event); err != nil {
				return err
			}
		}
	}
}

// cancelLater cancels a turn of a fork that is not the one to compare.
func (w *WhatIf) cancelLater(ctx context.Context, turn *runs.RecordedTurn, e *events.Envelope) error {
	event, err := e.Event()
	if err != nil {
		return err
	}
	started, is := event.(events.TurnStarted)
	if !is || started.Turn.Number() == turn.Turn.Number() {
		return nil
	}
	order := w.order(turn)
	cancel := sagas.Cancel{Meta: meta(&order, fmt.Sprintf("cancel-%d", started.Turn.Number())), Turn: started.Turn, By: prefix + w.ID}
	_, err = w.host.Do(ctx, events.AgentStream(order.Name), cancel, w.Origin)
	var refusal *sagas.RefusalError
	if errors.As(err, &refusal) { // it has ended
		return nil
	}
	return err
}

// discard retires a fork that has been compared, and says why it could not.
func (w *WhatIf) discard(ctx context.Context, turn *runs.RecordedTurn) string {
	order := w.order(turn)
	retire := sagas.Retire{Meta: meta(&order, "retire"), Reason: "it was created for a comparison"}
	if _, err := w.host.Do(ctx, events.AgentStream(order.Name), retire, w.Origin); err != nil {
		return "the fork was not retired: " + err.Error()
	}
	return ""
}

// waitsFor says why a fork has not come to its end.
func waitsFor(agent *sagas.Agent) string {
	turn := &agent.Turn
	if turn.Paused != "" {
		return fmt.Sprintf("paused (%s): life approve %s %d resumes it", turn.Paused, agent.ID, turn.Number)
	}
	for i := range turn.Calls {
		if turn.Calls[i].Stage == sagas.CallWaiting {
			return fmt.Sprintf("call %s of %s is waiting for approval: life approve %s shows it and approves it", turn.Calls[i].ID, turn.Calls[i].Tool, agent.ID)
		}
	}
	return "it did not end in time"
}

// liveCost is what a turn of a fork cost beyond what the recording answered.
func liveCost(lineage *sagas.Lineage, turns *runs.TurnComparison) events.Money {
	switch {
	case turns == nil || turns.B == nil:
		return 0
	case lineage.Tape == events.TapeLive:
		return runs.LiveCost(turns.B, 1)
	case lineage.Diverged == nil:
		return 0
	case lineage.Diverged.Call != "":
		return runs.LiveCost(turns.B, lineage.Diverged.Round+1)
	}
	return runs.LiveCost(turns.B, lineage.Diverged.Round)
}
