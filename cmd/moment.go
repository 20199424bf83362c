package cmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/life/actors/history"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/sagas"
)

// momentHelp ends the help of a flag that takes a moment.
const momentHelp = "revision (31), time (14:02:11), or turn (turn:3, turn:3.1)"

// parseMoment reads a flag that names a moment, in the local time zone.
func parseMoment(flag, text string) (events.Moment, error) {
	m, err := history.ParseMoment(text, time.Now())
	var refusal *sagas.RefusalError
	if errors.As(err, &refusal) {
		return m, usage("--%s: %s", flag, refusal.Detail)
	}
	return m, err
}

// resolve finds a moment, and says which one was understood unless it is plain.
func (a *app) resolve(ctx context.Context, host api.Host, agent events.AgentID, m events.Moment) (history.Stretch, error) {
	at, err := host.Resolve(ctx, agent, m)
	if err != nil {
		return at, err
	}
	switch m.Form {
	case events.MomentLatest, events.MomentRevision:
	case events.MomentTime, events.MomentTurn:
		fmt.Fprintf(a.errs, "life: %s is %s: %s at %s\n",
			understood(m), events.NewRef(events.AgentStream(agent), at.Revision), at.Kind, exactly(at.Time))
	}
	return at, nil
}

// understood names a moment so that nobody can take it for another.
func understood(m events.Moment) string {
	if m.Form == events.MomentTime {
		at, yet := time.UnixMicro(int64(m.Begin)), ""
		if at.After(time.Now()) {
			yet = ", in the future,"
		}
		return at.Format("2006-01-02 15:04:05.999999 -07:00") + yet
	}
	return history.FormatMoment(m)
}

// exactly writes a time to the millisecond.
func exactly(at events.Micros) string {
	return time.UnixMicro(int64(at)).Format("2006-01-02 15:04:05.000")
}
