package history

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// settledWithin is how many events after the end of a turn its settlement is looked for.
const settledWithin = 256

// Waterfall says what ran when in a turn, whichever turn of an agent's life it is. It reads the turn's own events.
func (r *Reader) Waterfall(ctx context.Context, turn events.TurnID) (projections.Turn, error) {
	if turn.Number() == 0 {
		return projections.Turn{}, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: fmt.Sprintf("%q is no turn, such as demo/3", events.Clip(string(turn), 60))}
	}
	agent := turn.Agent()
	at, err := r.Resolve(ctx, agent, events.Moment{Form: events.MomentTurn, Turn: turn.Number()})
	if err != nil {
		return projections.Turn{}, err
	}
	s := seeker{journal: r.journal, agent: agent, stream: events.AgentStream(agent), last: at.First - 1}
	f := projections.NewTurnFold(turn)
	if err := s.messagesBefore(ctx, at, f); err != nil {
		return projections.Turn{}, err
	}
	err = s.each(ctx, at.First, at.Revision+settledWithin, func(e *events.Envelope) (bool, error) {
		if e.Revision > at.Revision && f.Settled() && e.Correlation != string(turn) {
			return false, nil
		}
		return true, f.Apply(&projections.Recorded{Envelope: e})
	})
	if err != nil {
		return projections.Turn{}, err
	}
	answer, found := f.Turn()
	if !found {
		return answer, s.missing("turn %s has not begun", turn)
	}
	return answer, nil
}

// messagesBefore folds the messages of a turn that came before the decision that began it, while another turn ran.
func (s *seeker) messagesBefore(ctx context.Context, at Stretch, f *projections.TurnFold) error {
	wanted := map[events.MessageID]bool{}
	err := s.each(ctx, at.First, at.Revision, func(e *events.Envelope) (bool, error) {
		if e.Kind != (events.TurnStarted{}).Kind() {
			return e.Revision < at.First+64, nil
		}
		event, err := e.Event()
		if started, is := event.(events.TurnStarted); is {
			for _, m := range started.Messages {
				wanted[m] = true
			}
		}
		return false, err
	})
	if err != nil || len(wanted) == 0 {
		return err
	}
	for number := range wanted {
		found, err := s.first(ctx, int64(messageNumber(number)), messageOf)
		if err != nil {
			return err
		}
		if found >= at.First {
			continue // it is among those that begin the turn
		}
		e, err := s.event(ctx, found)
		if err != nil {
			return err
		}
		if n, is := messageOf(&e); !is || n != int64(messageNumber(number)) {
			continue
		}
		if err := f.Apply(&projections.Recorded{Envelope: &e}); err != nil {
			return err
		}
	}
	return nil
}

// messageNumber is the number in a message's id: m12 is the twelfth of its agent.
func messageNumber(id events.MessageID) int {
	n, err := strconv.Atoi(strings.TrimPrefix(string(id), "m"))
	if err != nil {
		return -1
	}
	return n
}

// messageOf is the number of the message that an event says was received.
func messageOf(e *events.Envelope) (int64, bool) {
	if e.Kind != (events.MessageReceived{}).Kind() {
		return 0, false
	}
	event, err := e.Event()
	received, is := event.(events.MessageReceived)
	if err != nil || !is {
		return 0, false
	}
	return int64(messageNumber(received.Message)), true
}
