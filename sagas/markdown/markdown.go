// Package markdown finds what a note's text says beside its words: title, links, tags and properties.
//
// The structure is that of CommonMark, read by goldmark: what stands in code is code, in whatever quotation or list it stands. Beside it
// go the conventions of editors that link notes, such as Obsidian and Logseq: [[links]], ![[embeds]], #tags, %%comments%%, $formulas$
// and lines of a property with two colons.
package markdown

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/text"

	"example.com/life/events"
	"example.com/life/sagas"
)

// MaxRead is how much of a text is read, in bytes: its tree takes a hundred times as much.
const MaxRead = 512 << 10

// Text is what is found in a text.
type Text struct {
	Title      string            // the first heading of the first level; empty if there is none
	Links      []events.NoteLink // each once, at most sagas.MaxNoteLinks
	Tags       []string          // each once, at most sagas.MaxNoteNames
	Properties []Property        // of the page: the lines at its beginning
}

// Property is a line such as alias:: the other name.
type Property struct {
	Name, Value string // the name in lower case
}

// Read reads a text: [[target]], [[target|label]], [[target#heading]], and ![[target]], which is the relation embeds, are links. A word
// with two colons before links gives their relation, as in
//
//	supports:: [[first]], [[second#Results]]
//
// What stands in code, comments and formulas is none of these, and neither is what is not closed on its line.
func Read(markdown string) Text {
	markdown = events.Cut(markdown, MaxRead)
	source := []byte(markdown)
	c := collector{source: source, found: Text{Properties: properties(markdown)}}
	c.walk(newParser().Parse(text.NewReader(source)))
	return c.found
}

// collector takes what is found out of the tree of a text.
type collector struct {
	source []byte
	found  Text
	seen   map[events.NoteLink]bool
	code   int // elements of HTML that hold code and are open
}

func (c *collector) walk(n ast.Node) {
	for child := n.FirstChild(); child != nil; child = child.NextSibling() {
		switch child := child.(type) {
		case *ast.Heading:
			if child.Level == 1 && c.found.Title == "" {
				c.found.Title = headingText(child.Lines().Value(c.source))
			}
		case *ast.RawHTML:
			c.html(child)
		case *link:
			c.link(child)
		case *tag:
			if _, heading := n.(*ast.Heading); !heading {
				c.tag(child.name)
			}
		}
		c.walk(child)
	}
	if n.Type() == ast.TypeBlock && n.Lines() != nil && n.Lines().Len() > 0 {
		c.code = 0 // an element that is not closed ends with its paragraph
	}
}

// headingText is a heading on one line, without what closes it.
func headingText(lines []byte) string {
	heading := strings.Join(strings.Fields(string(lines)), " ")
	if bare := strings.TrimRight(heading, "#"); bare == "" || strings.HasSuffix(bare, " ") {
		heading = bare
	}
	return strings.TrimSpace(heading)
}

// html counts the elements of HTML that hold code.
func (c *collector) html(n *ast.RawHTML) {
	element := strings.ToLower(string(n.Segments.Value(c.source)))
	name, end := strings.CutPrefix(element, "</")
	if !end {
		name = strings.TrimPrefix(element, "<")
	}
	at := strings.IndexFunc(name, func(r rune) bool { return !unicode.IsLetter(r) })
	switch name[:max(at, 0)] {
	case "code", "pre", "kbd", "samp", "script", "style":
		if end {
			c.code = max(c.code-1, 0)
		} else if !strings.HasSuffix(element, "/>") {
			c.code++
		}
	}
}

func (c *collector) link(n *link) {
	if c.code > 0 || len(c.found.Links) >= sagas.MaxNoteLinks || c.seen[n.NoteLink] {
		return
	}
	if c.seen == nil {
		c.seen = map[events.NoteLink]bool{}
	}
	c.seen[n.NoteLink] = true
	c.found.Links = append(c.found.Links, n.NoteLink)
}

func (c *collector) tag(name string) {
	if c.code == 0 && len(c.found.Tags) < sagas.MaxNoteNames && !slices.Contains(c.found.Tags, name) {
		c.found.Tags = append(c.found.Tags, name)
	}
}

// properties reads the properties that a text begins with.
func properties(markdown string) []Property {
	var all []Property
	for line := range strings.Lines(strings.TrimLeft(markdown, "\n")) {
		name, value, is := strings.Cut(strings.TrimRight(line, "\r\n"), "::")
		name = strings.ToLower(strings.TrimSpace(name))
		if !is || name == "" || len(name) > sagas.MaxNoteWord || strings.ContainsAny(name, "[]#`<>|:") || len(all) == sagas.MaxNoteNames {
			break
		}
		all = append(all, Property{name, strings.TrimSpace(value)})
	}
	return all
}

// ReadLink reads what stands between [[ and ]]: a target, a heading after #, a label after |.
func ReadLink(inside string) (link events.NoteLink, ok bool) {
	inside = strings.ReplaceAll(inside, `\|`, "|") // as it is written in tables
	target, label, _ := strings.Cut(inside, "|")
	target, heading, _ := strings.Cut(target, "#")
	link = events.NoteLink{Target: cleaned(target), Heading: cleaned(heading), Label: cleaned(label)}
	return link, link.Target != "" && link.Target[0] != '^' && max(len(link.Target), len(link.Heading), len(link.Label)) <= sagas.MaxNoteWord
}

func cleaned(text string) string { return strings.TrimSpace(strings.ToValidUTF8(text, "\uFFFD")) }

// relationBefore is the word that a text ends with, before two colons; empty if it does not.
func relationBefore(text []byte) string {
	text, is := bytes.CutSuffix(bytes.TrimRight(text, " \t"), []byte("::"))
	if !is {
		return ""
	}
	text = bytes.TrimRight(text, "* ") // the word may be bold
	begin := bytes.LastIndexFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' && r != '_' })
	if begin >= 0 {
		_, size := utf8.DecodeRune(text[begin:])
		text = text[begin+size:]
	}
	if word := strings.ToLower(string(text)); sagas.IsRelation(word) {
		return word
	}
	return ""
}
