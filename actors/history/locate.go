package history

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// Stretch is where a moment stands in an agent's history: the events from First to Revision, of which the last is described.
type Stretch struct {
	First    events.Revision `json:"first,string"`    // after Revision when nothing happened in the moment itself
	Revision events.Revision `json:"revision,string"` // the state as of the moment is that after this event
	Kind     events.Kind     `json:"kind"`            // of the event at Revision
	Time     events.Micros   `json:"time,string"`     // of the event at Revision
}

// Before is the revision as of which a part of history that begins with the moment has not begun: the first one if nothing was before.
func (s Stretch) Before() events.Revision { return max(s.First-1, 0) }

// Resolve finds a moment in an agent's history. A moment that never was is a *sagas.RefusalError. It searches by halves, so it costs some
// twenty reads in a history of a million events.
func (r *Reader) Resolve(ctx context.Context, agent events.AgentID, m events.Moment) (Stretch, error) {
	if err := agent.Validate(); err != nil {
		return Stretch{}, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
	}
	s, err := r.seeker(ctx, events.AgentStream(agent))
	if err != nil {
		return Stretch{}, err
	}
	if s.last == events.NoRevision {
		return Stretch{}, s.missing("there is no agent %s", agent)
	}
	first, last := events.Revision(0), events.Revision(0)
	switch m.Form {
	case events.MomentLatest:
		first, last = s.last, s.last
	case events.MomentRevision:
		if first, last = m.Revision, m.Revision; last > s.last {
			err = s.missing("the history of agent %s ends at revision %d", agent, s.last)
		}
	case events.MomentTime:
		first, last, err = s.time(ctx, m)
	case events.MomentTurn:
		if first, last, err = s.turn(ctx, m.Turn); err == nil && m.Round > 0 {
			first, last, err = s.round(ctx, m, first, last)
		}
	}
	if err != nil {
		return Stretch{}, err
	}
	at, err := s.event(ctx, last)
	return Stretch{First: first, Revision: last, Kind: at.Kind, Time: at.Time}, err
}

// seeker looks for places in one agent's history.
type seeker struct {
	journal storage.Journal
	agent   events.AgentID
	stream  events.Stream
	last    events.Revision
}

// seeker looks for places in a stream as it is now.
func (r *Reader) seeker(ctx context.Context, stream events.Stream) (seeker, error) {
	end, err := r.journal.Read(ctx, stream, storage.Latest, storage.Backward, storage.Limit{Events: 1})
	if err != nil {
		return seeker{}, fmt.Errorf("read the end of %s: %w", stream, err)
	}
	if err := r.beginning(ctx, stream); err != nil {
		return seeker{}, err
	}
	agent, _ := stream.Agent()
	return seeker{journal: r.journal, agent: agent, stream: stream, last: end.Last}, nil
}

func (s *seeker) missing(format string, args ...any) error {
	return &sagas.RefusalError{Code: sagas.RefusedMissing, Detail: fmt.Sprintf(format, args...)}
}

func (s *seeker) event(ctx context.Context, revision events.Revision) (events.Envelope, error) {
	page, err := s.journal.Read(ctx, s.stream, revision, storage.Forward, storage.Limit{Events: 1})
	switch {
	case err != nil:
		return events.Envelope{}, fmt.Errorf("read %s at revision %d: %w", s.stream, revision, err)
	case len(page.Events) == 0 || page.Events[0].Revision != revision:
		return events.Envelope{}, s.missing("there is no event %s", events.NewRef(s.stream, revision))
	}
	return page.Events[0], nil
}

// first finds the first event whose number is at least wanted. Some events have a number, and it never falls; if one does after
// all, because a clock was set back, one of the places is found. None is the revision after the last.
func (s *seeker) first(ctx context.Context, wanted int64, number func(*events.Envelope) (int64, bool)) (events.Revision, error) {
	low, high := events.Revision(0), s.last+1
	for low < high {
		middle := low + (high-low)/2
		at, n, err := s.numbered(ctx, low, middle, number)
		switch {
		case err != nil:
			return 0, err
		case at == events.NoRevision || n < wanted:
			low = middle + 1
		default:
			high = at
		}
	}
	return low, nil
}

// numbered finds the last event with a number between two revisions; NoRevision is none.
func (s *seeker) numbered(
	ctx context.Context, low, from events.Revision, number func(*events.Envelope) (int64, bool),
) (events.Revision, int64, error) {
	for size := 1; from >= low; size = min(4*size, storage.MaxPageEvents) {
		page, err := s.journal.Read(ctx, s.stream, from, storage.Backward, storage.Limit{Events: min(size, int(from-low)+1)})
		if err != nil {
			return 0, 0, fmt.Errorf("read %s back from revision %d: %w", s.stream, from, err)
		}
		if len(page.Events) == 0 {
			break
		}
		for i := range page.Events {
			if n, ok := number(&page.Events[i]); ok {
				return page.Events[i].Revision, n, nil
			}
		}
		from = page.Events[len(page.Events)-1].Revision - 1
	}
	return events.NoRevision, 0, nil
}

// time finds the events of a time, and the last one no later than its end.
func (s *seeker) time(ctx context.Context, m events.Moment) (first, last events.Revision, err error) {
	when := func(e *events.Envelope) (int64, bool) { return int64(e.Time), true }
	if first, err = s.first(ctx, int64(m.Begin), when); err != nil {
		return 0, 0, err
	}
	after, err := s.first(ctx, int64(m.End), when)
	if err != nil {
		return 0, 0, err
	}
	if after == 0 {
		begun, err := s.event(ctx, 0)
		if err != nil {
			return 0, 0, err
		}
		return 0, 0, s.missing("agent %s did not exist at %s: its history begins at %s", s.agent, utc(m.Begin), utc(begun.Time))
	}
	return first, after - 1, nil
}

func utc(at events.Micros) string {
	return time.UnixMicro(int64(at)).UTC().Format("2006-01-02T15:04:05.000Z")
}

// turnNumber is the number of the turn that an event belongs to: its correlation names it.
func (s *seeker) turnNumber(e *events.Envelope) (int64, bool) {
	digits, is := strings.CutPrefix(e.Correlation, string(s.agent)+"/")
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, is && err == nil
}

// turn finds a turn: from the beginning of the decision that started it to its end, or as far as it has come.
func (s *seeker) turn(ctx context.Context, number int) (first, last events.Revision, err error) {
	started, err := s.first(ctx, int64(number), s.turnNumber)
	if err != nil {
		return 0, 0, err
	}
	next, err := s.first(ctx, int64(number)+1, s.turnNumber)
	if err != nil {
		return 0, 0, err
	}
	if started == next {
		return 0, 0, s.noTurn(ctx, number)
	}
	if first, err = s.decision(ctx, started); err != nil {
		return 0, 0, err
	}
	ended := func(e *events.Envelope) (int64, bool) { return 0, e.Kind == events.TurnEnded{}.Kind() }
	last, _, err = s.numbered(ctx, started, next-1, ended)
	if err == nil && last == events.NoRevision {
		last = next - 1 // it runs
	}
	return first, last, err
}

// noTurn says which turns there are.
func (s *seeker) noTurn(ctx context.Context, number int) error {
	at, newest, err := s.numbered(ctx, 0, s.last, s.turnNumber)
	if err != nil {
		return err
	}
	if at == events.NoRevision {
		return s.missing("agent %s has no turn yet", s.agent)
	}
	start, err := s.first(ctx, 0, s.turnNumber)
	if err != nil {
		return err
	}
	begun, err := s.event(ctx, start)
	if err != nil {
		return err
	}
	oldest, _ := s.turnNumber(&begun)
	return s.missing("agent %s has no turn %d: its history holds turns %d to %d", s.agent, number, oldest, newest)
}

// decision finds where the decision begins that started a turn, without what it may have ended before.
func (s *seeker) decision(ctx context.Context, started events.Revision) (events.Revision, error) {
	at, err := s.event(ctx, started)
	if err != nil {
		return 0, err
	}
	other := func(e *events.Envelope) (int64, bool) {
		_, inTurn := s.turnNumber(e)
		return 0, e.Command != at.Command || inTurn && e.Correlation != at.Correlation
	}
	before, _, err := s.numbered(ctx, 0, started, other)
	return before + 1, err
}

// round finds a round of a turn, from the first request to the reply.
func (s *seeker) round(ctx context.Context, m events.Moment, first, last events.Revision) (asked, replied events.Revision, err error) {
	request, rounds := events.RequestID(""), 0
	asked, replied = events.NoRevision, events.NoRevision
	err = s.each(ctx, first, last, func(e *events.Envelope) (more bool, err error) {
		if e.Kind != (events.ModelRequested{}).Kind() && e.Kind != (events.ModelReplied{}).Kind() {
			return true, nil
		}
		event, err := e.Event()
		switch event := event.(type) {
		case events.ModelRequested:
			if rounds = event.Round; rounds == m.Round {
				request = events.RequestID(e.Ref())
				if asked == events.NoRevision {
					asked = e.Revision
				}
			}
		case events.ModelReplied:
			if request != "" && event.Request == request {
				replied = e.Revision
			}
		}
		return replied == events.NoRevision, err
	})
	turn := events.NewTurnID(s.agent, m.Turn)
	switch {
	case err != nil || replied != events.NoRevision:
		return asked, replied, err
	case asked != events.NoRevision:
		return 0, 0, s.missing("round %d of turn %s has no reply", m.Round, turn)
	}
	return 0, 0, s.missing("turn %s has no round %d: it has %d", turn, m.Round, rounds)
}

// each reads the events from one revision to another, until more is false.
func (s *seeker) each(ctx context.Context, from, to events.Revision, use func(*events.Envelope) (more bool, err error)) error {
	for from <= to {
		page, err := s.journal.Read(ctx, s.stream, from, storage.Forward, storage.Limit{Events: int(min(to-from+1, storage.DefaultPageEvents))})
		if err != nil {
			return fmt.Errorf("read %s from revision %d: %w", s.stream, from, err)
		}
		for i := range page.Events {
			if more, err := use(&page.Events[i]); err != nil || !more {
				return err
			}
		}
		if len(page.Events) == 0 {
			return nil
		}
		from = page.Events[len(page.Events)-1].Revision + 1
	}
	return nil
}
