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

// timeForms are the ways to write a time. What does not say its zone is in that of now, what does not say its day is today.
func timeForms() []string {
	return []string{
		time.RFC3339Nano, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04",
		"2006-01-02", "15:04:05", "15:04",
	}
}

// ParseMoment reads a moment as people write it: a revision (31), a time (14:02:11, 2026-11-26T14:02:11Z), or a turn (turn:3) or a round
// of it (turn:3.1). Nothing is the latest. A time without a fraction is all of its second. The error is a *sagas.RefusalError that shows
// the forms.
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
		"%q is no moment; write a revision (31), a time (14:02:11 today, 2026-11-26T14:02:11Z), a turn as it ended (turn:3), or the reply of a round (turn:3.1)",
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
	for _, form := range timeForms() {
		at, err := time.ParseInLocation(form, text, now.Location())
		if err != nil {
			continue
		}
		if !strings.HasPrefix(form, "2006") {
			year, month, day := now.Date()
			at = time.Date(year, month, day, at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), now.Location())
		}
		length := events.Second
		if strings.ContainsAny(text, ".,") {
			length = 1
		}
		begin := events.Micros(at.UnixMicro())
		return events.Moment{Form: events.MomentTime, Begin: begin, End: begin + length}, at.Year() > 0 && at.Year() < 10_000
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
		at := time.UnixMicro(int64(m.Begin)).UTC()
		if m.End-m.Begin == events.Second && m.Begin%events.Second == 0 {
			return at.Format(time.RFC3339)
		}
		return at.Format("2006-01-02T15:04:05.000000Z07:00")
	case events.MomentTurn:
		if m.Round > 0 {
			return fmt.Sprintf("turn:%d.%d", m.Turn, m.Round)
		}
		return fmt.Sprintf("turn:%d", m.Turn)
	}
	return ""
}
