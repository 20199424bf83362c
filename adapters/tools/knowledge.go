package tools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// errNoNotes is the answer of a tool that is run without a host.
var errNoNotes = errors.New("there are no notes here")

// askNotes asks the notes of the agent's tenant, and reads the answer.
func askNotes(ctx context.Context, use actors.ToolUse, query string, parameters map[string]string, answer any) error {
	if use.Knowledge == nil {
		return errNoNotes
	}
	for name, value := range parameters {
		if value == "" {
			delete(parameters, name)
		}
	}
	text, err := use.Knowledge.Ask(ctx, projections.Query{Name: query, Parameters: parameters})
	if err != nil {
		return plainRefusal(err)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("read the answer of the notes: %w", err)
	}
	return nil
}

// plainRefusal is a refusal in words for a model, without its code.
func plainRefusal(err error) error {
	var refused *sagas.RefusalError
	if errors.As(err, &refused) {
		return errors.New(refused.Detail)
	}
	return err
}

// moment reads a day or a time; none is now.
func moment(text string) (events.Micros, error) {
	if text == "" {
		return storage.Now(), nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, text); err == nil {
			return events.Micros(at.UnixMicro()), nil
		}
	}
	return 0, fmt.Errorf("%q is no day such as 2026-01-31 and no time such as 2026-01-31T14:02:11Z", events.Cut(text, 40))
}

func momentText(at events.Micros) string { return strconv.FormatInt(int64(at), 10) }

// period says when something holds, as much as is known.
func period(from, to events.Micros) string {
	day := func(at events.Micros) string { return time.UnixMicro(int64(at)).UTC().Format(time.DateOnly) }
	switch {
	case from != 0 && to != 0:
		return ", valid from " + day(from) + " to " + day(to)
	case from != 0:
		return ", valid from " + day(from)
	case to != 0:
		return ", valid to " + day(to)
	}
	return ""
}

// indented is a text that stands below a line, cut to a number of bytes.
func indented(text string, limit int) string {
	text = strings.TrimSpace(text)
	if short := events.Cut(text, limit); short != text {
		text = strings.TrimSpace(short) + " […]"
	}
	return "   " + strings.ReplaceAll(text, "\n", "\n   ") + "\n"
}
