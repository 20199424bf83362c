package endpoint

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// Joiner mends characters that were sent in two pieces: those beyond the basic plane whose two \u escapes were parted, and those whose
// bytes were. Decoded alone, each part would become a replacement character.
type Joiner struct {
	held string // an escape
	tail string // bytes
}

// Next takes a piece as decoded and as sent, and gives the text that is complete.
func (j *Joiner) Next(text, raw string) string { return j.Bytes(j.escapes(text, raw)) }

// escapes holds the first half of a pair back.
func (j *Joiner) escapes(text, raw string) string {
	if text == "" || j.held == "" && !strings.Contains(raw, `\u`) {
		return text
	}
	inner, err := inside(raw)
	if err != nil {
		return j.half() + text
	}
	inner, j.held = j.held+inner, ""
	if at := len(inner) - len(`\ud83d`); at >= 0 && halfPair(inner[at:]) && !escapedAt(inner, at) {
		inner, j.held = inner[:at], inner[at:]
	}
	return unquote(inner)
}

// Bytes holds the first bytes of a character back.
func (j *Joiner) Bytes(text string) string {
	if j.tail == "" && (text == "" || text[len(text)-1] < utf8.RuneSelf) {
		return text
	}
	text, j.tail = j.tail+text, ""
	for at := len(text) - 1; at >= 0 && at >= len(text)-utf8.UTFMax; at-- {
		if utf8.RuneStart(text[at]) {
			if !utf8.FullRuneInString(text[at:]) {
				text, j.tail = text[:at], text[at:]
			}
			break
		}
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// Rest gives what never met its other half.
func (j *Joiner) Rest() string {
	text := j.tail + j.half()
	j.tail = ""
	return strings.ToValidUTF8(text, "\uFFFD")
}

func (j *Joiner) half() string {
	held := j.held
	j.held = ""
	return unquote(held)
}

func inside(raw string) (string, error) {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return "", errors.New("not a JSON string")
	}
	return raw[1 : len(raw)-1], nil
}

func unquote(inner string) string {
	var text string
	if json.Unmarshal([]byte(`"`+inner+`"`), &text) != nil {
		return ""
	}
	return text
}

// halfPair reports whether an escape is the first half of a pair: \ud800 to \udbff.
func halfPair(escape string) bool {
	lower := strings.ToLower(escape)
	return strings.HasPrefix(lower, `\ud`) && strings.ContainsRune("89ab", rune(lower[3])) &&
		strings.Trim(lower[4:], "0123456789abcdef") == ""
}

// escapedAt reports whether the backslash at a place is itself escaped.
func escapedAt(text string, at int) bool {
	n := 0
	for at-n-1 >= 0 && text[at-n-1] == '\\' {
		n++
	}
	return n%2 == 1
}
