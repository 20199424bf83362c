package history

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/projections/runs"
	"example.com/life/sagas"
)

// runFrom returns the fold of a run that begins after a state.
func runFrom(state *AgentState) *runs.RunFold {
	start := runs.RunStart{Config: state.Agent.Config, Mode: state.Agent.Mode}
	for _, m := range state.Agent.Waiting {
		start.Waiting = append(start.Waiting, events.MessageReceived{Message: m.ID, Verb: m.Verb, Text: m.Text})
	}
	return runs.NewRunFoldFrom(start)
}

// read folds both histories, side by side.
func (c *comparing) read(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var both sync.WaitGroup
	for _, s := range []*side{&c.a, &c.b} {
		both.Go(func() {
			if err := c.readSide(ctx, s); err != nil {
				stop(err)
			}
		})
	}
	both.Wait()
	return context.Cause(ctx)
}

func (c *comparing) readSide(ctx context.Context, s *side) error {
	through, err := c.reader.each(ctx, s.line, s.from, func(e *events.Envelope) (bool, error) {
		if err := s.fold.Apply(&projections.Recorded{Envelope: e}); err != nil {
			return false, err
		}
		for _, turn := range s.fold.Turns() {
			s.turns = append(s.turns, turn.Sketch())
		}
		if s.events++; s.events%1024 == 0 {
			c.tell(1024)
		}
		return c.turns == 0 || len(s.turns) < c.turns, nil
	})
	if running := s.fold.Running(); running != nil {
		s.turns = append(s.turns, running.Sketch())
	}
	s.through = through
	return err
}

func (c *comparing) tell(events int64) {
	read := c.events.Add(events)
	if c.progress == nil {
		return
	}
	c.told.Lock()
	defer c.told.Unlock()
	c.progress(read)
}

// differences reads the turns again that are shown, and the texts in which they differ.
func (c *comparing) differences(ctx context.Context, answer *Comparison, aligned *runs.RunAlignment, turn events.TurnID) error {
	first, err := c.pick(ctx, aligned.First)
	if err != nil {
		return err
	}
	answer.Equal = aligned.Equal()
	if first != nil {
		if answer.First, err = c.found(ctx, first.First); err != nil {
			return err
		}
		second, err := c.pick(ctx, aligned.Answers)
		if err != nil {
			return err
		}
		if second != nil {
			if answer.Answers, err = c.found(ctx, second.Answers); err != nil {
				return err
			}
		}
		answer.Turn = first
	}
	if turn == "" {
		return nil
	}
	answer.Turn, err = c.pick(ctx, func() (a, b *runs.RunSketch) { return aligned.Find(turn) })
	if err == nil && answer.Turn == nil {
		err = &sagas.RefusalError{Code: sagas.RefusedMissing, Detail: fmt.Sprintf("turn %s is not among those that are compared", turn)}
	}
	return err
}

// pick holds the turns that are picked against each other; nil when there are none.
func (c *comparing) pick(ctx context.Context, pick func() (a, b *runs.RunSketch)) (*runs.TurnComparison, error) {
	a, b := pick()
	if a == nil && b == nil {
		return nil, nil //nolint:nilnil // there are none
	}
	one, err := c.again(ctx, &c.a, a)
	if err != nil {
		return nil, err
	}
	other, err := c.again(ctx, &c.b, b)
	if err != nil {
		return nil, err
	}
	compared := runs.CompareTurns(one, other)
	return &compared, nil
}

// again reads a turn once more.
func (c *comparing) again(ctx context.Context, s *side, sketch *runs.RunSketch) (*runs.RunTurn, error) {
	if sketch == nil {
		return nil, nil //nolint:nilnil // this side has none
	}
	fold, from := runs.NewRunFoldOf(sketch)
	line, revision, err := s.line.from(from)
	if err != nil {
		return nil, err
	}
	var turn *runs.RunTurn
	_, err = c.reader.each(ctx, line, revision, func(e *events.Envelope) (bool, error) {
		if err := fold.Apply(&projections.Recorded{Envelope: e}); err != nil {
			return false, err
		}
		for _, ended := range fold.Turns() {
			turn = ended
		}
		return e.Ref() != sketch.Last, nil
	})
	if running := fold.Running(); running != nil {
		turn = running
	}
	if err == nil && (turn == nil || turn.Turn != sketch.Turn) {
		err = fmt.Errorf("turn %s is not where it was a moment ago", sketch.Turn)
	}
	return turn, err
}

// from leaves out everything before an event.
func (d descent) from(event events.Ref) (descent, events.Revision, error) {
	stream, revision, err := event.Split()
	if err != nil {
		return nil, 0, err
	}
	for i := range d {
		if events.AgentStream(d[i].agent) == stream {
			return d[i:], revision, nil
		}
	}
	return nil, 0, fmt.Errorf("event %s is in none of the streams that were read", event)
}

// found reads the texts that a difference is about.
func (c *comparing) found(ctx context.Context, d *runs.Difference) (*FoundDifference, error) {
	found := &FoundDifference{Difference: *d}
	for _, each := range []struct {
		side *runs.Side
		into *string
	}{{d.A, &found.TextA}, {d.B, &found.TextB}} {
		if each.side == nil || each.side.Text == nil || each.side.Text.Event == "" {
			continue
		}
		text, cut, err := c.reader.textOf(ctx, d.What, each.side)
		if err != nil {
			return nil, err
		}
		*each.into, found.Cut = text, found.Cut || cut
	}
	return found, nil
}

// textOf reads the text that a difference is about from the event that holds it, or from its blob.
func (r *Reader) textOf(ctx context.Context, what runs.Aspect, side *runs.Side) (text string, cut bool, err error) {
	stream, revision, err := side.Text.Event.Split()
	if err != nil {
		return "", false, err
	}
	page, err := r.journal.Read(ctx, stream, revision, storage.Forward, storage.Limit{Events: 1})
	if err != nil || len(page.Events) == 0 {
		return "", false, errors.Join(fmt.Errorf("read event %s", side.Text.Event), err)
	}
	event, err := page.Events[0].Event()
	if err != nil {
		return "", false, err
	}
	held := runs.TextOf(event, what, side.Call)
	if held.Blob == nil {
		return clipText(held.Inline)
	}
	blob, err := r.blobs.Open(ctx, *held.Blob)
	if err != nil {
		return "", false, fmt.Errorf("open the text of event %s: %w", side.Text.Event, err)
	}
	defer blob.Close()
	whole, err := io.ReadAll(io.LimitReader(blob, mostText+1))
	if err != nil {
		return "", false, fmt.Errorf("read the text of event %s: %w", side.Text.Event, err)
	}
	return clipText(string(whole))
}

func clipText(text string) (clipped string, cut bool, err error) {
	return events.Cut(text, mostText), len(text) > mostText, nil
}
