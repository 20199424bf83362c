package projections

import (
	"errors"
	"fmt"
	"strconv"

	"example.com/life/events"
)

// Day is a day in UTC, counted from 1970-01-01. As text, and in JSON, it is written 2026-01-31.
type Day int32

const (
	microsPerDay     = 24 * 60 * 60 * events.Second
	firstDay     Day = -719528 // 0000-01-01
	lastDay      Day = 2932896 // 9999-12-31
)

// DayOf returns the day of a moment; moments beyond the years 0 to 9999 count as the first or the last.
func DayOf(at events.Micros) Day {
	days := at / microsPerDay
	if at%microsPerDay < 0 {
		days--
	}
	return Day(min(max(days, events.Micros(firstDay)), events.Micros(lastDay)))
}

// daysBefore counts the days of a common year before each of its months.
func daysBefore(month int) int {
	return [...]int{0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365}[month]
}

func leap(year int) bool { return year%4 == 0 && (year%100 != 0 || year%400 == 0) }

// yearStart is the number of days from 1970-01-01 to the first of a year's.
func yearStart(year int) int {
	before := year - 1 + 400 // so that division rounds down for the year 0 too
	return 365*(year-1970) + before/4 - before/100 + before/400 - (1969+400)/4 + (1969+400)/100 - (1969+400)/400
}

// monthStart is the day of the year, from 0, on which a month, from 0, begins.
func monthStart(year, month int) int {
	days := daysBefore(month)
	if month > 1 && leap(year) {
		days++
	}
	return days
}

// String writes the day as 2026-01-31.
func (d Day) String() string {
	year := 1970 + int(d)/366 // no later than the right one, from 1970 on
	if d < 0 {
		year = 1969 + int(d)/365
	}
	for year > 0 && yearStart(year) > int(d) {
		year--
	}
	for yearStart(year+1) <= int(d) {
		year++
	}
	rest, month := int(d)-yearStart(year), 0
	for month < 11 && monthStart(year, month+1) <= rest {
		month++
	}
	return fmt.Sprintf("%04d-%02d-%02d", year, month+1, rest-monthStart(year, month)+1)
}

// ParseDay reads a day written as 2026-01-31.
func ParseDay(text string) (Day, error) {
	wrong := errors.New("want a day such as 2026-01-31")
	if len(text) != 10 || text[4] != '-' || text[7] != '-' {
		return 0, wrong
	}
	year, month, day := digits(text[:4]), digits(text[5:7])-1, digits(text[8:])
	if year < 0 || month < 0 || month > 11 || day < 1 || day > monthStart(year, month+1)-monthStart(year, month) {
		return 0, wrong
	}
	return Day(yearStart(year) + monthStart(year, month) + day - 1), nil
}

// digits reads a number that is digits alone; else -1.
func digits(text string) int {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return -1
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}
	return n
}

// MarshalText writes the day as 2026-01-31.
func (d Day) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a day written as 2026-01-31.
func (d *Day) UnmarshalText(text []byte) error {
	read, err := ParseDay(string(text))
	if err != nil {
		return fmt.Errorf("read day %q: %w", events.Clip(string(text), 80), err)
	}
	*d = read
	return nil
}

// parseTime reads a moment: 2026-01-31T14:02:11Z, or microseconds since 1970.
func parseTime(text string) (events.Micros, error) {
	if micros, err := strconv.ParseInt(text, 10, 64); err == nil {
		return events.Micros(micros), nil
	}
	wrong := errors.New("want a moment in UTC such as 2026-01-31T14:02:11Z, or microseconds since 1970")
	if len(text) != 20 || text[10] != 'T' || text[13] != ':' || text[16] != ':' || text[19] != 'Z' {
		return 0, wrong
	}
	day, err := ParseDay(text[:10])
	hour, minute, second := digits(text[11:13]), digits(text[14:16]), digits(text[17:19])
	if err != nil || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 {
		return 0, wrong
	}
	return events.Micros(day)*microsPerDay + events.Micros(3600*hour+60*minute+second)*events.Second, nil
}
