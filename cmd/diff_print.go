package cmd

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"example.com/life/actors/history"
	"example.com/life/events"
	"example.com/life/sagas/diff"
)

// printChanges prints one change a line: what, from what to what, and the event that changed it last.
func printChanges(out io.Writer, d *history.Difference) error {
	fmt.Fprintf(out, "from revision %d (%s, %s) to %d (%s, %s): %d events\n",
		d.From.Revision, d.From.Kind, exactly(d.From.Time), d.To.Revision, d.To.Kind, exactly(d.To.Time), d.Events)
	if len(d.Changes) == 0 {
		fmt.Fprintln(out, "nothing changed")
		return nil
	}
	w := table(out)
	unsaid := 0 // of the times: the day, if it is the same for all
	if day := len(time.DateOnly); exactly(d.From.Time)[:day] == exactly(d.To.Time)[:day] {
		unsaid = day + len(" ")
	}
	for i := range d.Changes {
		c := &d.Changes[i]
		fmt.Fprintf(w, "%s\t%s → %s\t%s\t%s\t%s\t%s\n", c.Path, changedValue(c.Before, c.Unit), changedValue(c.After, c.Unit),
			c.Last.Ref, c.Last.Kind, exactly(c.Last.Time)[unsaid:], cutTo(c.Last.Text, 72))
	}
	return w.Flush()
}

// changedValue shows a value on one line.
func changedValue(value json.RawMessage, unit diff.Unit) string {
	if value == nil {
		return "–"
	}
	text := string(value)
	if plain := ""; json.Unmarshal(value, &plain) == nil {
		text = plain
	} else if value[0] == '{' {
		return cutTo(changedPart(value), 72)
	}
	if _, err := hex.DecodeString(text); err == nil && len(text) == 64 { // a digest: its beginning tells it from others
		return text[:12] + "…"
	}
	if number, err := strconv.ParseInt(text, 10, 64); err == nil {
		switch unit {
		case diff.UnitMoney:
			return events.Money(number).String()
		case diff.UnitTime:
			if number > 1e14 { // since 1970
				return exactly(events.Micros(number))
			}
			return length(events.Micros(number))
		}
	}
	return cutTo(text, 48)
}

// changedPart shows what came or went as a whole.
func changedPart(value json.RawMessage) string {
	var part struct {
		ID        string
		Role      string
		Text      events.Text
		Tool      string
		Stage     string
		Arguments json.RawMessage
		Calls     []events.ModelCall
		Outcome   events.Outcome
		Turn      events.TurnID
		Round     int
	}
	if json.Unmarshal(value, &part) != nil {
		return string(value)
	}
	switch {
	case part.Role != "":
		text := part.Role + " " + strconv.Quote(cutTo(part.Text.Inline, 40))
		for _, call := range part.Calls {
			text += " → " + call.Tool
		}
		return text
	case part.Tool != "" && part.Arguments != nil:
		return strings.TrimSpace(part.Tool + " " + string(part.Arguments) + " " + part.Stage)
	case part.Outcome != "":
		return fmt.Sprintf("%s %s", part.Turn, part.Outcome)
	case part.Round > 0:
		return fmt.Sprintf("%s, round %d", part.ID, part.Round)
	}
	var short bytes.Buffer
	if json.Compact(&short, value) != nil {
		return string(value)
	}
	return short.String()
}

// cutTo shows the beginning of a text, on one line, and how many characters there are besides.
func cutTo(text string, most int) string {
	text = events.Visible(strings.Join(strings.Fields(text), " "))
	if runes := []rune(text); len(runes) > most {
		return fmt.Sprintf("%s… (+%d)", string(runes[:most]), len(runes)-most)
	}
	return text
}
