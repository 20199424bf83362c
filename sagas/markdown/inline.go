package markdown

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"

	"example.com/life/events"
	"example.com/life/sagas"
)

// link is a [[link]] in a text.
type link struct {
	ast.BaseInline
	events.NoteLink
}

// Kind implements [ast.Node].
func (l *link) Kind() ast.NodeKind { return linkKind }

// Dump implements [ast.Node].
func (l *link) Dump(source []byte, level int) { ast.DumpHelper(l, source, level, nil, nil) }

// tag is a #tag in a text.
type tag struct {
	ast.BaseInline
	name string
}

// Kind implements [ast.Node].
func (t *tag) Kind() ast.NodeKind { return tagKind }

// Dump implements [ast.Node].
func (t *tag) Dump(source []byte, level int) { ast.DumpHelper(t, source, level, nil, nil) }

// aside is a part of a paragraph that is not read: a comment or a formula.
type aside struct{ ast.BaseInline }

// Kind implements [ast.Node].
func (a *aside) Kind() ast.NodeKind { return asideKind }

// Dump implements [ast.Node].
func (a *aside) Dump(source []byte, level int) { ast.DumpHelper(a, source, level, nil, nil) }

// linkParser reads links. A relation holds for the links that follow it on its line with nothing but commas between.
type linkParser struct {
	end      int    // of the link before
	relation string // of that
}

// tagRelation is the relation of a link that is a tag, such as #[[two words]].
const tagRelation = "tag"

// maxInside bounds what may stand between the brackets.
const maxInside = 3*sagas.MaxNoteWord + 16

// Trigger implements [parser.InlineParser].
func (p *linkParser) Trigger() []byte { return []byte{'[', '!', '#'} }

// Parse implements [parser.InlineParser].
func (p *linkParser) Parse(parent ast.Node, block text.Reader, _ parser.Context) ast.Node {
	line, segment := block.PeekLine()
	before := line
	embeds, tagged := false, false
	switch line[0] {
	case '!':
		embeds, before = true, line[1:]
	case '#':
		tagged, before = beginsTag(block), line[1:]
	}
	inside, is := insideOf(before)
	if !is {
		return nil
	}
	read, ok := ReadLink(string(inside))
	if !ok {
		return nil
	}
	relation := p.relationOf(block.Source(), segment.Start)
	size := len(line) - len(before) + len("[[") + len(inside) + len("]]")
	p.end, p.relation = segment.Start+size, relation
	block.Advance(size)
	if tagged {
		parent.AppendChild(parent, &tag{name: read.Target})
	}
	switch relation {
	case "title", "alias", "aliases":
		return &aside{} // a name, see Property
	case "tag", "tags":
		return &tag{name: read.Target}
	case "":
		if embeds {
			relation = "embeds"
		} else if tagged {
			relation = tagRelation
		}
	}
	read.Relation = relation
	return &link{NoteLink: read}
}

// insideOf is what stands between the brackets that a text begins with.
func insideOf(line []byte) ([]byte, bool) {
	after, is := bytes.CutPrefix(line, []byte("[["))
	if !is {
		return nil, false
	}
	inside, _, closed := bytes.Cut(after[:min(len(after), maxInside)], []byte("]]"))
	target, _, _ := bytes.Cut(inside, []byte("|"))
	return inside, closed && !bytes.ContainsAny(target, "[]\n") && !bytes.Contains(inside, []byte("[["))
}

// relationOf is the relation of a link that begins at a place in the source.
func (p *linkParser) relationOf(source []byte, at int) string {
	between := source[min(p.end, at):at]
	if begin := bytes.LastIndexByte(between, '\n'); begin >= 0 {
		p.relation, between = "", between[begin+1:]
	}
	nearest := between[max(len(between)-2*sagas.MaxNoteWord, 0):]
	switch named := relationBefore(nearest); {
	case named != "":
		return named
	case bytes.HasSuffix(bytes.TrimRight(nearest, " "), []byte("{{embed")):
		return "embeds"
	case len(bytes.Trim(between, ", \t")) != 0:
		return ""
	}
	return p.relation
}

// tagParser reads tags: letters, digits, signs such as - _ and /, and among them something that is no digit.
type tagParser struct{}

// Trigger implements [parser.InlineParser].
func (p *tagParser) Trigger() []byte { return []byte{'#'} }

// Parse implements [parser.InlineParser].
func (p *tagParser) Parse(_ ast.Node, block text.Reader, _ parser.Context) ast.Node {
	line, _ := block.PeekLine()
	name := tagName(line[1:])
	if name == "" || !beginsTag(block) {
		return nil
	}
	block.Advance(1 + len(name))
	if name = strings.Trim(name, "/"); len(name) > sagas.MaxNoteWord {
		return &aside{}
	}
	return &tag{name: name}
}

// beginsTag reports whether a # may begin a tag here: not within a word, an address or another mark.
func beginsTag(block text.Reader) bool {
	before := block.PrecendingCharacter()
	if unicode.IsLetter(before) || unicode.IsDigit(before) || strings.ContainsRune(`_-/&#=?\:.+%~@`, before) {
		return false
	}
	_, position := block.Position()
	source := block.Source()[:position.Start]
	return !bytes.HasSuffix(source, []byte("](")) && !bytes.HasSuffix(source, []byte("[[")) // a place in this or another text
}

// tagName is the tag that a text begins with; empty if it begins with none.
func tagName(text []byte) string {
	size, digits := 0, true
	for size < len(text) {
		r, width := utf8.DecodeRune(text[size:])
		if r == utf8.RuneError || !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.So, unicode.Sk) && !strings.ContainsRune("-_/\u200d", r) {
			break
		}
		digits = digits && (unicode.IsDigit(r) || strings.ContainsRune("-_/", r))
		size += width
	}
	if digits {
		return ""
	}
	return string(text[:size])
}

// asideParser skips comments and formulas within a paragraph.
type asideParser struct {
	open map[string]int // up to where in the source no such end is
}

// Trigger implements [parser.InlineParser].
func (p *asideParser) Trigger() []byte { return []byte{'%', '$'} }

// Parse implements [parser.InlineParser].
func (p *asideParser) Parse(_ ast.Node, block text.Reader, _ parser.Context) ast.Node {
	line, _ := block.PeekLine()
	switch {
	case bytes.HasPrefix(line, []byte("%%")):
		return p.skip(block, "%%", func(line []byte) int { return bytes.Index(line, []byte("%%")) }, true)
	case bytes.HasPrefix(line, []byte("$$")):
		return p.skip(block, "$$", func(line []byte) int { return bytes.Index(line, []byte("$$")) }, true)
	case line[0] == '$' && len(line) > 1 && !unicode.IsSpace(rune(line[1])):
		return p.skip(block, "$", formulaEnd, false)
	}
	return nil
}

// formulaEnd is where the next dollar sign ends a formula, which it does if no space is before it and no digit after it: dollars are
// also an amount.
func formulaEnd(line []byte) int {
	for at := 0; at < len(line); at++ {
		switch {
		case line[at] == '\\':
			at++
		case line[at] == '$' && at > 0 && line[at-1] != ' ' && line[at-1] != '\t' && (at+1 == len(line) || line[at+1] < '0' || line[at+1] > '9'):
			return at
		case line[at] == '$':
			return -1
		}
	}
	return -1
}

// skip advances behind an end, on the same line or in the same paragraph.
func (p *asideParser) skip(block text.Reader, mark string, find func([]byte) int, further bool) ast.Node {
	if _, segment := block.PeekLine(); segment.Start < p.open[mark] {
		return nil
	}
	row, position := block.Position()
	block.Advance(len(mark))
	for line, segment := block.PeekLine(); line != nil; line, segment = block.PeekLine() {
		if at := find(line); at >= 0 {
			block.Advance(at + len(mark))
			return &aside{}
		}
		if !further {
			break
		}
		p.open[mark] = segment.Stop
		block.AdvanceLine()
	}
	block.SetPosition(row, position)
	return nil
}
