package providers

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"example.com/life/events"
)

// shownDifferences is how many differing fields a miss shows; shownBytes is how much of each.
const (
	shownDifferences = 3
	shownBytes       = 80
)

// field is one leaf of a question, with the path a person would give it.
type field struct{ path, value string }

func (q tapeQuestion) fields() []field {
	all := []field{{"model", q.Model}, {"system", q.System}, {"reply", strconv.FormatInt(q.Reply, 10)}}
	for i, message := range q.Messages {
		at := fmt.Sprintf("messages[%d]", i)
		all = append(all, field{at + ".role", string(message.Role)}, field{at + ".text", message.Text})
		if message.CallID != "" {
			all = append(all, field{at + ".call_id", message.CallID}, field{at + ".tool", message.Tool},
				field{at + ".failed", strconv.FormatBool(message.Failed)})
		}
		for j, call := range message.Calls {
			at := fmt.Sprintf("%s.calls[%d]", at, j)
			all = append(all, field{at + ".id", call.ID}, field{at + ".tool", call.Tool}, field{at + ".arguments", call.Arguments})
		}
	}
	for i, tool := range q.Tools {
		at := fmt.Sprintf("tools[%d]", i)
		all = append(all, field{at + ".name", tool.Name}, field{at + ".description", tool.Description}, field{at + ".schema", tool.Schema})
	}
	return all
}

// likeness scores how much of two questions is equal; the beginning of a text counts for a part.
func likeness(recorded, asked tapeQuestion) int {
	values := map[string]string{}
	for _, f := range recorded.fields() {
		values[f.path] = f.value
	}
	score := 0
	for _, f := range asked.fields() {
		value, ok := values[f.path]
		if !ok {
			continue
		}
		if value == f.value {
			score += 100
		} else {
			score += 99 * commonPrefix(value, f.value) / max(len(value), len(f.value))
		}
	}
	return score - 10*abs(len(recorded.Messages)-len(asked.Messages))
}

func abs(n int) int { return max(n, -n) }

// commonPrefix is how many bytes two texts begin with in common, in whole characters.
func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	for n > 0 && n < len(a) && !utf8.RuneStart(a[n]) {
		n--
	}
	return n
}

// difference names the first fields that differ, and shows both values from a little before the place where they part.
func difference(recorded, asked tapeQuestion) string {
	values := map[string]string{}
	for _, f := range recorded.fields() {
		values[f.path] = f.value
	}
	var lines []string
	for _, f := range asked.fields() {
		value, ok := values[f.path]
		delete(values, f.path)
		switch {
		case !ok:
			lines = append(lines, fmt.Sprintf("  %s: not recorded, asked %s", f.path, from(f.value, 0)))
		case value != f.value:
			at := commonPrefix(value, f.value)
			lines = append(lines, fmt.Sprintf("  %s differs at byte %d:\n    recorded %s\n    asked    %s", f.path, at, from(value, at), from(f.value, at)))
		}
	}
	for _, f := range recorded.fields() { // in order; what is left was not asked
		if value, left := values[f.path]; left {
			lines = append(lines, fmt.Sprintf("  %s: recorded %s, not asked", f.path, from(value, 0)))
		}
	}
	if len(lines) > shownDifferences {
		lines = append(lines[:shownDifferences], fmt.Sprintf("  and %d more fields", len(lines)-shownDifferences))
	}
	return strings.Join(lines, "\n")
}

// from quotes the part of a text around a place.
func from(text string, at int) string {
	start := max(at-shownBytes/4, 0)
	for start > 0 && !utf8.RuneStart(text[start]) {
		start--
	}
	mark := ""
	if start > 0 {
		mark = "…"
	}
	return strconv.Quote(mark + events.Clip(text[start:], shownBytes))
}

func clip(text string, n int) string { return events.Clip(text, n) }
