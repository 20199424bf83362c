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
const momentHelp = "revision (31), time (2026-11-26, 14:02), or turn (turn:3, turn:3.1)"

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

// begin finds where a part of history begins that begins with a moment, and says which event that is unless it is plain.
func (a *app) begin(ctx context.Context, host api.Host, agent events.AgentID, m events.Moment) (history.Stretch, error) {
	found, err := host.Resolve(ctx, agent, m.Onward())
	if err != nil || found.First > found.Revision {
		return found, err
	}
	first, err := host.Resolve(ctx, agent, events.AtRevision(found.First))
	if err == nil {
		fmt.Fprintf(a.errs, "life: %s begins with %s: %s at %s\n",
			understood(m.Onward()), events.NewRef(events.AgentStream(agent), found.First), first.Kind, exactly(first.Time))
	}
	return found, err
}

// understood names a moment so that nobody can take it for another.
func understood(m events.Moment) string {
	if m.Form == events.MomentTime {
		at, yet := time.UnixMicro(int64(m.Begin)), ""
		if at.After(time.Now()) {
			yet = ", in the future,"
		}
		const layout = "2006-01-02 15:04:05.999999 -07:00"
		if m.End-m.Begin > events.Second && m.End != events.EndOfTime {
			return at.Format(layout) + " to " + time.UnixMicro(int64(m.End)).Format(layout) + yet
		}
		return at.Format(layout) + yet
	}
	return history.FormatMoment(m)
}

// exactly writes a time to the millisecond.
func exactly(at events.Micros) string {
	return time.UnixMicro(int64(at)).Format("2006-01-02 15:04:05.000")
}
