package markdown

import (
	"bytes"

	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// newParser is goldmark's parser with the structure of CommonMark, without emphasis and what else the result does not depend on, and
// with the elements of this package.
func newParser() parser.Parser {
	links := &linkParser{}
	return parser.NewParser(
		parser.WithBlockParsers(
			util.Prioritized(&hiddenParser{closed: map[string]bool{}}, 50),
			util.Prioritized(parser.NewSetextHeadingParser(), 100),
			util.Prioritized(parser.NewThematicBreakParser(), 200),
			util.Prioritized(shallow{parser.NewListParser()}, 300),
			util.Prioritized(parser.NewListItemParser(), 400),
			util.Prioritized(parser.NewCodeBlockParser(), 500),
			util.Prioritized(parser.NewATXHeadingParser(), 600),
			util.Prioritized(parser.NewFencedCodeBlockParser(), 700),
			util.Prioritized(shallow{parser.NewBlockquoteParser()}, 800),
			util.Prioritized(parser.NewParagraphParser(), 1000),
		),
		parser.WithInlineParsers(
			util.Prioritized(parser.NewCodeSpanParser(), 100),
			util.Prioritized(links, 200),
			util.Prioritized(&tagParser{}, 200),
			util.Prioritized(&asideParser{open: map[string]int{}}, 200),
			util.Prioritized(parser.NewAutoLinkParser(), 300),
			util.Prioritized(parser.NewRawHTMLParser(), 400),
		),
	)
}

// shallow bounds how deep blocks stand within one another: beyond it, their marks are text.
type shallow struct{ parser.BlockParser }

const maxDepth = 256

func tooDeep(parent ast.Node) bool {
	depth := 0
	for ; parent != nil && depth < maxDepth; parent = parent.Parent() {
		depth++
	}
	return depth == maxDepth
}

// Open implements [parser.BlockParser].
func (s shallow) Open(parent ast.Node, reader text.Reader, pc parser.Context) (ast.Node, parser.State) {
	if tooDeep(parent) {
		return nil, parser.NoChildren
	}
	return s.BlockParser.Open(parent, reader, pc)
}

// hidden is a part of a text that begins at the beginning of a line and is not read: a comment, a formula, an element of HTML that
// holds code. It may be many lines long. Its children are what follows it on its last line.
type hidden struct {
	ast.BaseBlock
	end int // in the source
}

//nolint:gochecknoglobals // kinds are numbers that goldmark gives
var (
	hiddenKind = ast.NewNodeKind("Hidden")
	linkKind   = ast.NewNodeKind("NoteLink")
	tagKind    = ast.NewNodeKind("NoteTag")
	asideKind  = ast.NewNodeKind("Aside")
)

// Kind implements [ast.Node].
func (h *hidden) Kind() ast.NodeKind { return hiddenKind }

// Dump implements [ast.Node].
func (h *hidden) Dump(source []byte, level int) { ast.DumpHelper(h, source, level, nil, nil) }

// hiddenParser finds what is hidden. What has no end hides nothing.
type hiddenParser struct {
	closed map[string]bool // false: no such end follows any more
}

// marks are what begins and ends something hidden.
//
//nolint:gochecknoglobals // an explicit list, never written to
var marks = [...]struct{ begin, end string }{
	{"<!--", "-->"},
	{"%%", "%%"},
	{"$$", "$$"},
	{"<pre", "</pre>"},
	{"<script", "</script>"},
	{"<style", "</style>"},
	{"<textarea", "</textarea>"},
}

// Trigger implements [parser.BlockParser].
func (p *hiddenParser) Trigger() []byte { return []byte{'<', '%', '$'} }

// Open implements [parser.BlockParser].
func (p *hiddenParser) Open(parent ast.Node, reader text.Reader, pc parser.Context) (ast.Node, parser.State) {
	line, segment := reader.PeekLine()
	offset := pc.BlockOffset()
	if offset < 0 || tooDeep(parent) {
		return nil, parser.NoChildren
	}
	for _, mark := range marks {
		if len(line)-offset < len(mark.begin) || !bytes.EqualFold(line[offset:offset+len(mark.begin)], []byte(mark.begin)) {
			continue
		}
		begin := segment.Start + offset + len(mark.begin) - segment.Padding
		end := p.find(reader.Source(), begin, mark.end)
		if end < 0 {
			return nil, parser.NoChildren
		}
		h := &hidden{end: end}
		if end >= segment.Stop {
			reader.AdvanceToEOL()
			return h, parser.NoChildren
		}
		reader.Advance(end - segment.Start + segment.Padding)
		return h, parser.HasChildren
	}
	return nil, parser.NoChildren
}

// find returns where an end ends, or -1.
func (p *hiddenParser) find(source []byte, from int, end string) int {
	if open, known := p.closed[end]; known && !open {
		return -1
	}
	at := indexFold(source[from:], []byte(end))
	p.closed[end] = at >= 0
	if at < 0 {
		return -1
	}
	return from + at + len(end)
}

// indexFold is bytes.Index without regard to the case of ASCII letters.
func indexFold(text, part []byte) int {
	for from := 0; ; {
		at := bytes.IndexByte(text[from:], part[0])
		if at < 0 || from+at+len(part) > len(text) {
			return -1
		}
		if from += at; bytes.EqualFold(text[from:from+len(part)], part) {
			return from
		}
		from++
	}
}

// Continue implements [parser.BlockParser].
func (p *hiddenParser) Continue(node ast.Node, reader text.Reader, _ parser.Context) parser.State {
	h, is := node.(*hidden)
	_, segment := reader.PeekLine()
	switch {
	case !is || h.end <= segment.Start:
		return parser.Close
	case h.end < segment.Stop:
		reader.Advance(h.end - segment.Start + segment.Padding)
		return parser.Close
	}
	reader.AdvanceToEOL()
	return parser.Continue | parser.NoChildren
}

// Close implements [parser.BlockParser].
func (p *hiddenParser) Close(ast.Node, text.Reader, parser.Context) {}

// CanInterruptParagraph implements [parser.BlockParser].
func (p *hiddenParser) CanInterruptParagraph() bool { return true }

// CanAcceptIndentedLine implements [parser.BlockParser].
func (p *hiddenParser) CanAcceptIndentedLine() bool { return false }
