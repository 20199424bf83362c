package hashline

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
)

// Changed is a part of the changed file: the lines that an edit made, in the new numbers. After a deletion Last is before First.
type Changed struct{ Edit, First, Last int }

// Result is a changed file.
type Result struct {
	File     *File
	Changed  []Changed // in the order of the edits
	Warnings []string
}

// span is an edit as what it puts in place of which lines, from the one after first to last: the same for an insertion.
type span struct {
	first, last int // of lines, from 0
	edit        int
	e           *Edit
}

// ErrNoChange says that the edits leave the file as it is.
var ErrNoChange = fmt.Errorf("no_change: the edits leave the file as it is")

// Apply makes a batch of edits whose anchors were resolved. Every byte outside of what they name stays.
func Apply(f *File, edits []Edit) (Result, error) {
	spans := make([]span, len(edits))
	for i := range edits {
		spans[i] = spanOf(f, i, &edits[i])
	}
	slices.SortStableFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.last, b.last))
	})
	for i := 1; i < len(spans); i++ {
		if a, b := &spans[i-1], &spans[i]; b.first < a.last {
			return Result{}, &Error{max(a.edit, b.edit), fmt.Sprintf("it is about lines that edits[%d] is about too: give them as one edit", min(a.edit, b.edit))}
		}
	}
	b := building{from: f, to: &File{mark: f.mark, lines: make([]line, 0, len(f.lines)+len(edits))}, usual: f.usualEnd(), changed: make([]Changed, len(edits))}
	for i := range spans {
		b.span(&spans[i])
	}
	b.copyTo(len(f.lines))
	b.close()
	if slices.EqualFunc(f.lines, b.to.lines, func(x, y line) bool { return x.end == y.end && bytes.Equal(x.text, y.text) }) {
		return Result{}, ErrNoChange
	}
	return Result{File: b.to, Changed: b.changed, Warnings: b.warnings}, nil
}

func spanOf(f *File, number int, e *Edit) span {
	s := span{edit: number, e: e}
	switch e.Op {
	case Prepend:
	case Append:
		s.first, s.last = len(f.lines), len(f.lines)
	case InsertBefore:
		s.first, s.last = e.At.Number-1, e.At.Number-1
	case InsertAfter:
		s.first, s.last = e.At.Number, e.At.Number
	case Replace, Delete:
		s.first, s.last = e.At.Number-1, e.last()
	}
	return s
}

// building is a file on its way to be another.
type building struct {
	from, to *File
	at       int // lines of from that were copied or left out
	usual    ending
	changed  []Changed
	warnings []string
	opened   bool // the last line came from an edit that replaced or followed a last line without an end, and its text had none
}

func (b *building) copyTo(line int) {
	b.to.lines = append(b.to.lines, b.from.lines[b.at:line]...)
	b.at = line
}

func (b *building) span(s *span) {
	b.copyTo(s.first)
	old := b.from.lines[s.first:s.last]
	c := Changed{Edit: s.edit, First: len(b.to.lines) + 1}
	for i, text := range s.e.Lines {
		end := b.usual
		if i < len(old) && old[i].end != open {
			end = old[i].end
		}
		b.to.lines = append(b.to.lines, line{[]byte(text), end})
	}
	b.at, c.Last = s.last, len(b.to.lines)
	b.changed[s.edit] = c
	if s.last == len(b.from.lines) && len(s.e.Lines) > 0 {
		_, isOpen := b.from.Ends()
		b.opened = isOpen && !s.e.Closed
	}
	b.echo(s)
}

// echo warns of a text that repeats the line before or after it, which is seldom meant.
func (b *building) echo(s *span) {
	if len(s.e.Lines) == 0 {
		return
	}
	first, last := s.e.Lines[0], s.e.Lines[len(s.e.Lines)-1]
	warn := func(where string, number int, text string) {
		b.warnings = append(b.warnings, fmt.Sprintf("edits[%d]: its %s line repeats line %d, which stays: %.80q", s.edit, where, number, text))
	}
	if s.first > 0 && first != "" && string(b.from.lines[s.first-1].text) == first {
		warn("first", s.first, first)
	}
	if s.last < len(b.from.lines) && last != "" && string(b.from.lines[s.last].text) == last {
		warn("last", s.last+1, last)
	}
}

// close ends each line but the last, which is open if it was.
func (b *building) close() {
	lines := b.to.lines
	for i := range lines {
		if i < len(lines)-1 && lines[i].end == open {
			lines[i].end = b.usual
		}
	}
	if len(lines) > 0 && b.opened {
		lines[len(lines)-1].end = open
	}
}
