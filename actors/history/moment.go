package history

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// timeForm is a way to write a time, and how much of time that is.
type timeForm struct {
	layout string
	days   int // 0: less than a day
	months int
	length time.Duration
}

// timeForms are the ways to write a time. What does not say its zone is in that of now, what does not say its day is today.
func timeForms() []timeForm {
	return []timeForm{
		{layout: time.RFC3339Nano, length: time.Second},
		{layout: "2006-01-02 15:04:05Z07:00", length: time.Second},
		{layout: "2006-01-02T15:04:05", length: time.Second},
		{layout: "2006-01-02 15:04:05", length: time.Second},
		{layout: "2006-01-02T15:04Z07:00", length: time.Minute},
		{layout: "2006-01-02 15:04Z07:00", length: time.Minute},
		{layout: "2006-01-02T15:04", length: time.Minute},
		{layout: "2006-01-02 15:04", length: time.Minute},
		{layout: "2006-01-02T15", length: time.Hour},
		{layout: "2006-01-02 15", length: time.Hour},
		{layout: "2006-01-02", days: 1},
		{layout: "2006-01", months: 1},
		{layout: "15:04:05", length: time.Second},
		{layout: "15:04", length: time.Minute},
	}
}

// ParseMoment reads a moment as people write it: a revision (31), a time (14:02:11, 2026-11-26T14:02:11Z), or a turn (turn:3) or a round
// of it (turn:3.1). Nothing is the latest. A time is all of what it names: a month, day, hour, minute or second; with a fraction, a
// microsecond; with a slash between two times, from the first until before the second, or on and on if that is two dots. The error is
// a *sagas.RefusalError that shows the forms.
func ParseMoment(text string, now time.Time) (events.Moment, error) {
	if text == "" {
		return events.Moment{}, nil
	}
	if turn, is := strings.CutPrefix(text, "turn:"); is {
		if m, ok := parseTurn(turn); ok {
			return m, nil
		}
	} else if n, ok := plainNumber(text); ok {
		return events.AtRevision(events.Revision(n)), nil
	} else if m, ok := parseTime(text, now); ok {
		return m, nil
	}
	return events.Moment{}, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: fmt.Sprintf(
		"%q is no moment; write a revision (31), a time (14:02 today, 2026-11-26, 2026-11-26T14:02:11Z), a turn as it ended (turn:3), or the reply of a round (turn:3.1)",
		events.Clip(text, 60))}
}

func parseTurn(text string) (events.Moment, bool) {
	m := events.Moment{Form: events.MomentTurn}
	turn, round, rounds := strings.Cut(text, ".")
	n, ok := plainNumber(turn)
	if m.Turn = int(n); !ok || n == 0 || n > math.MaxInt32 {
		return m, false
	}
	if !rounds {
		return m, true
	}
	n, ok = plainNumber(round)
	m.Round = int(n)
	return m, ok && n > 0 && n <= math.MaxInt32
}

// plainNumber reads a number as it is usually written: digits alone, no zero before others.
func plainNumber(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n >= 0 && n < int64(storage.Latest) && strconv.FormatInt(n, 10) == text
}

func parseTime(text string, now time.Time) (events.Moment, bool) {
	first, second, between := strings.Cut(text, "/")
	m, ok := parseOneTime(first, now)
	if !ok || !between {
		return m, ok
	}
	if second == onAndOn {
		return m.Onward(), true
	}
	until, ok := parseOneTime(second, now)
	m.End = until.Begin
	return m, ok && m.Begin < m.End
}

// onAndOn is the end of a time without an end.
const onAndOn = ".."

func parseOneTime(text string, now time.Time) (events.Moment, bool) {
	for _, form := range timeForms() {
		at, err := time.ParseInLocation(form.layout, text, now.Location())
		if err != nil {
			continue
		}
		if !strings.HasPrefix(form.layout, "2006") {
			year, month, day := now.Date()
			at = time.Date(year, month, day, at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), now.Location())
		}
		end := at.AddDate(0, form.months, form.days).Add(form.length)
		if strings.ContainsAny(text, ".,") {
			at = at.Truncate(time.Microsecond)
			end = at.Add(time.Microsecond)
		}
		m := events.Moment{Form: events.MomentTime, Begin: events.Micros(at.UnixMicro()), End: events.Micros(end.UnixMicro())}
		if end.UTC().Year() >= 10_000 {
			m.End = events.EndOfTime
		}
		return m, at.UTC().Year() > 0 && at.UTC().Year() < 10_000
	}
	return events.Moment{}, false
}

// FormatMoment writes a moment so that ParseMoment reads the same one anywhere and on any day.
func FormatMoment(m events.Moment) string {
	switch m.Form {
	case events.MomentLatest:
		return ""
	case events.MomentRevision:
		return strconv.FormatInt(int64(m.Revision), 10)
	case events.MomentTime:
		return formatTime(m)
	case events.MomentTurn:
		if m.Round > 0 {
			return fmt.Sprintf("turn:%d.%d", m.Turn, m.Round)
		}
		return fmt.Sprintf("turn:%d", m.Turn)
	}
	return ""
}

func formatTime(m events.Moment) string {
	at := time.UnixMicro(int64(m.Begin)).UTC()
	const exact = "2006-01-02T15:04:05.000000Z07:00"
	switch {
	case m.End == events.EndOfTime:
		return at.Format(exact) + "/" + onAndOn
	case m.End-m.Begin == 1:
		return at.Format(exact)
	case m.End-m.Begin == events.Second && m.Begin%events.Second == 0:
		return at.Format(time.RFC3339)
	}
	return at.Format(exact) + "/" + time.UnixMicro(int64(m.End)).UTC().Format(exact)
}
