package tools

import (
	"strings"
	"unicode/utf8"

	"example.com/life/events"
)

// beginning is at most limit bytes of the beginning of a text: whole lines, if there are any in it.
func beginning(text string, limit int) string {
	if len(text) <= limit {
		return lineEnd(text)
	}
	text = events.Cut(text, limit)
	if end := strings.LastIndexByte(text, '\n'); end >= 0 {
		return text[:end+1]
	}
	return text + "\n"
}

// ending is at most limit bytes of the end of a text: whole lines, if there are any in it.
func ending(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	from := len(text) - limit
	for from < len(text) && !utf8.RuneStart(text[from]) {
		from++
	}
	text = text[from:]
	if end := strings.IndexByte(text, '\n'); end >= 0 && end+1 < len(text) {
		return text[end+1:]
	}
	return text
}

// lineEnd ends the last line, if there is one.
func lineEnd(text string) string {
	if text == "" || strings.HasSuffix(text, "\n") {
		return text
	}
	return text + "\n"
}
