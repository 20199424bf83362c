package projections

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"example.com/life/events"
)

// The parameters that several queries take.
func ofAgent() Parameter {
	return Parameter{Name: "agent", Description: "only this agent", Check: func(text string) error { return events.AgentID(text).Validate() }}
}

func ofWallet() Parameter {
	return Parameter{Name: "wallet", Description: "only this wallet", Check: func(text string) error { return events.WalletID(text).Validate() }}
}

func ofName(name, about string) Parameter {
	return Parameter{Name: name, Description: about, Check: func(text string) error {
		if text == "" {
			return errors.New("want a name")
		}
		return nil
	}}
}

func fromDay() Parameter { return dayParameter("from", "the first day, in UTC, as 2026-01-31") }
func toDay() Parameter   { return dayParameter("to", "the last day, in UTC, as 2026-01-31") }

func dayParameter(name, about string) Parameter {
	return Parameter{Name: name, Description: about, Check: func(text string) error {
		_, err := ParseDay(text)
		return err
	}}
}

// atTime is a moment. It is not named at, which is a position.
func atTime() Parameter {
	return Parameter{Name: "time", Description: "as of this moment: 2026-01-31T14:02:11Z, or microseconds since 1970", Check: func(text string) error {
		_, err := parseTime(text)
		return err
	}}
}

func atMost(standard int) Parameter {
	return Parameter{Name: "limit", Description: "at most so many, " + strconv.Itoa(standard) + " if not given", Check: func(text string) error {
		if n, err := strconv.Atoi(text); err != nil || n < 1 {
			return errors.New("want a number from 1")
		}
		return nil
	}}
}

// limit reads a checked limit.
func (q Query) limit(standard int) int {
	n, err := strconv.Atoi(q.Parameters["limit"])
	if err != nil {
		return standard
	}
	return n
}

// groupedBy chooses the columns of a table.
func groupedBy(columns ...string) Parameter {
	about := "columns to count by, such as " + strings.Join(columns[:2], ",") + "; of " + strings.Join(columns, ", ")
	return Parameter{Name: "by", Description: about, Check: func(text string) error {
		chosen := strings.Split(text, ",")
		for i, name := range chosen {
			if !slices.Contains(columns, name) || slices.Contains(chosen[:i], name) {
				return fmt.Errorf("want some of %s, each once", strings.Join(columns, ", "))
			}
		}
		return nil
	}}
}

// columns reads checked columns; none given are the standard ones.
func (q Query) columns(standard string) []string {
	if by := q.Parameters["by"]; by != "" {
		standard = by
	}
	return strings.Split(standard, ",")
}

// days reads a checked range of days.
func (q Query) days() (from, to Day) {
	from, to = firstDay, lastDay
	if day, err := ParseDay(q.Parameters["from"]); err == nil {
		from = day
	}
	if day, err := ParseDay(q.Parameters["to"]); err == nil {
		to = day
	}
	return from, to
}
