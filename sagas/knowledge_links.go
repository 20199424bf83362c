package sagas

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"example.com/life/events"
)

// NoteLinks finds the links in a note's Markdown: [[target]], [[target|label]], [[target#heading]] and ![[target]], which is the
// relation embeds. A word with two colons before links gives their relation, as in
//
//	supports:: [[first]], [[second#Results]]
//
// What stands in code is no link, and neither is what is not closed on its line. At most MaxNoteLinks are found, each once.
func NoteLinks(markdown string) []events.NoteLink {
	var f linkFinder
	for line := range strings.Lines(markdown) {
		if f.inFence(line) {
			continue
		}
		f.line(line)
		if len(f.found) == MaxNoteLinks {
			break
		}
	}
	return f.found
}

type linkFinder struct {
	found []events.NoteLink
	seen  map[events.NoteLink]bool
	fence string // that ends the code block; empty outside of one
}

// inFence reports whether a line belongs to a block of code, its fences included.
func (f *linkFinder) inFence(line string) bool {
	text := strings.TrimLeft(line, " ")
	fence := text[:len(text)-len(strings.TrimLeft(text, "`"))]
	if fence == "" {
		fence = text[:len(text)-len(strings.TrimLeft(text, "~"))]
	}
	switch {
	case len(line)-len(text) > 3 || len(fence) < 3:
		return f.fence != ""
	case f.fence == "":
		f.fence = fence
		return true
	}
	if strings.HasPrefix(fence, f.fence) && strings.TrimSpace(text[len(fence):]) == "" {
		f.fence = ""
	}
	return true
}

// line finds the links of one line. A relation holds for the links that follow it with nothing but commas between.
func (f *linkFinder) line(line string) {
	relation := ""
	for rest := withoutCode(line); len(f.found) < MaxNoteLinks; {
		before, after, found := strings.Cut(rest, "[[")
		inside, next, closed := strings.Cut(after, "]]")
		if !found || !closed {
			return
		}
		if again := strings.LastIndex(inside, "[["); again >= 0 { // [[a [[b]]: only the last is closed
			before, inside = before+"[["+inside[:again], inside[again+2:]
		}
		between, embeds := strings.CutSuffix(before, "!")
		switch named := relationBefore(between); {
		case named != "":
			relation = named
		case strings.Trim(between, ", \t") != "":
			relation = ""
		}
		kind := relation
		if embeds && kind == "" {
			kind = "embeds"
		}
		f.add(kind, inside)
		rest = next
	}
}

// relationBefore is the word that a text ends with, before two colons; empty if it does not.
func relationBefore(text string) string {
	text, is := strings.CutSuffix(strings.TrimRight(text, " \t"), "::")
	if !is {
		return ""
	}
	begin := strings.LastIndexFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' && r != '_' })
	if begin >= 0 {
		_, size := utf8.DecodeRuneInString(text[begin:])
		text = text[begin+size:]
	}
	if word := strings.ToLower(text); IsRelation(word) {
		return word
	}
	return ""
}

func (f *linkFinder) add(relation, inside string) {
	link, ok := ReadNoteLink(inside)
	link.Relation = relation
	if !ok || f.seen[link] {
		return
	}
	if f.seen == nil {
		f.seen = map[events.NoteLink]bool{}
	}
	f.seen[link] = true
	f.found = append(f.found, link)
}

// ReadNoteLink reads what stands between [[ and ]]: a target, a heading after #, a label after |.
func ReadNoteLink(inside string) (link events.NoteLink, ok bool) {
	target, label, _ := strings.Cut(inside, "|")
	target, heading, _ := strings.Cut(target, "#")
	link = events.NoteLink{Target: valid(strings.TrimSpace(target)), Heading: valid(strings.TrimSpace(heading)), Label: valid(strings.TrimSpace(label))}
	return link, link.Target != "" && max(len(link.Target), len(link.Heading), len(link.Label)) <= MaxNoteWord
}

// withoutCode blanks what stands between backquotes.
func withoutCode(line string) string {
	if strings.IndexByte(line, '`') < 0 {
		return line
	}
	var out strings.Builder
	for {
		before, after, found := strings.Cut(line, "`")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		more := len(after) - len(strings.TrimLeft(after, "`"))
		_, rest, closed := strings.Cut(after[more:], "`"+after[:more])
		if !closed { // backquotes that end nothing are text
			rest = after[more:]
		}
		out.WriteString(strings.Repeat(" ", len(after)+1-len(rest)))
		line = rest
	}
}
