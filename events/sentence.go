package events

import (
	"fmt"
	"strings"
)

// sentence is fmt.Sprintf for String methods: one line, on which everything is visible.
func sentence(format string, arguments ...any) string {
	return VisibleLine(fmt.Sprintf(format, arguments...))
}

// line shows a text in a sentence: quoted, at most 60 bytes.
func line(t Text) string { return fmt.Sprintf("%q", Clip(t.Inline, 60)) }

// list joins ids for a sentence.
func list[T ~string](ids []T) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = string(id)
	}
	return strings.Join(names, ", ")
}

// because ends a sentence with its reason, if there is one.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + VisibleLine(Clip(reason, 200))
}

// by ends a sentence with who did it, if that is known.
func by(who string) string {
	if who == "" {
		return ""
	}
	return " by " + VisibleLine(who)
}
