package chat

import (
	"regexp"
	"strings"
)

// thinkTags finds what a model thinks at the beginning of a text, between <think> and </think>: servers that do not know how a model thinks send it as
// what it says.
type thinkTags struct {
	state tagState
	held  string // what may be a part of a tag
	end   string // the tag that ends what is thought
}

type tagState int

const (
	tagsBegin    tagState = iota // nothing but spaces has come
	tagsThinking                 // within the tags
	tagsBetween                  // after them, before the text
	tagsSaying
)

// starts are the tags that begin what is thought, each with the one that ends it.
//
//nolint:gochecknoglobals // an explicit list, never written to
var starts = map[string]string{"<think>": "</think>", "<thinking>": "</thinking>"}

// next takes a piece, and gives what is thought and what is said in it.
func (t *thinkTags) next(piece string) (thought, said string) {
	text := t.held + piece
	t.held = ""
	if t.state == tagsBegin {
		trimmed := strings.TrimLeft(text, " \t\r\n")
		may := trimmed == ""
		for start, end := range starts {
			may = may || strings.HasPrefix(start, trimmed)
			if rest, begins := strings.CutPrefix(trimmed, start); begins {
				t.state, t.end, text, may = tagsThinking, end, rest, false
				break
			}
		}
		if may {
			t.held = text
			return "", ""
		}
		if t.state == tagsBegin {
			t.state = tagsSaying
		}
	}
	if t.state == tagsThinking {
		before, after, ended := strings.Cut(text, t.end)
		if !ended {
			keep := partOf(text, t.end)
			t.held = text[len(text)-keep:]
			return text[:len(text)-keep], ""
		}
		thought, text, t.state = before, after, tagsBetween
	}
	if t.state == tagsBetween {
		if text = strings.TrimLeft(text, " \t\r\n"); text != "" {
			t.state = tagsSaying
		}
	}
	return thought, text
}

// rest gives what was held back: no more comes.
func (t *thinkTags) rest() (thought, said string) {
	held := t.held
	t.held = ""
	if t.state == tagsThinking {
		return held, ""
	}
	return "", held
}

// partOf is how many bytes at the end of a text may begin a tag.
func partOf(text, tag string) int {
	for n := min(len(tag)-1, len(text)); n > 0; n-- {
		if strings.HasSuffix(text, tag[:n]) {
			return n
		}
	}
	return 0
}

// endTag ends, on a line of its own, what was thought where the model's template has begun it.
var endTag = regexp.MustCompile(`(?:^|\n)[ \t]*</think(?:ing)?>[ \t]*(?:\r?\n|$)`)

// untagged splits a text in which what is thought only ends.
func untagged(text string) (thought, said string, found bool) {
	at := endTag.FindStringIndex(text)
	if at == nil || strings.Contains(text[:at[0]], "<think") || strings.Count(text[:at[0]], "```")%2 == 1 {
		return "", text, false
	}
	return strings.TrimSpace(text[:at[0]]), strings.TrimLeft(text[at[1]:], " \t\r\n"), true
}
