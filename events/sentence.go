package events

import (
	"fmt"
	"strings"
	"unicode"
)

// sentence is fmt.Sprintf for String methods: one line of plain text.
func sentence(format string, arguments ...any) string {
	return plain(fmt.Sprintf(format, arguments...))
}

// plain shows each control character as a space: what models, tools and people wrote may hold line breaks and terminal commands.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
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
	return ": " + plain(Clip(reason, 200))
}

// by ends a sentence with who did it, if that is known.
func by(who string) string {
	if who == "" {
		return ""
	}
	return " by " + plain(who)
}
