// Package pattern matches RE2 expressions whose cost is known before they run: what a match takes is bounded by the expression's steps
// for each byte, times the bytes of the text. RE2 never takes exponential time, but a repetition of a repetition within its own limits has
// so many states that one text of 30 KB takes minutes.
package pattern

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"unicode/utf8"
)

// MaxSteps bounds what a pattern may take for each byte of a text, where nothing else does. A step takes some tens of nanoseconds.
const MaxSteps = 4096

// wide is how many ranges of characters cost one step: more are searched, which costs two.
const wide = 4

// Pattern is a compiled expression. It is safe for concurrent use.
type Pattern struct {
	expression *regexp.Regexp
	size       int
}

// Compile compiles an expression of at most MaxSteps. Nothing of it is expanded before its size is known.
func Compile(text string) (*Pattern, error) { return CompileUpTo(MaxSteps, text) }

// CompileUpTo compiles an expression that takes no more steps than that for each byte.
func CompileUpTo(most int, text string) (*Pattern, error) {
	size, err := Size(text)
	if err != nil {
		return nil, err
	}
	if size > most {
		return nil, fmt.Errorf("the pattern takes %d steps for each character, at most %d are allowed: use fewer or smaller repetitions", size, most)
	}
	expression, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	return &Pattern{expression: expression, size: size}, nil
}

// Size is how many steps an expression takes for each byte, found at a small part of the cost of compiling it. Beyond 2^30 it is not counted.
func Size(text string) (int, error) {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return 0, err
	}
	return steps(tree), nil
}

// Steps bounds what matching a text of so many bytes takes.
func (p *Pattern) Steps(bytes int) int { return p.size * (bytes + 1) }

// Regexp is the expression itself, for what Pattern does not do.
func (p *Pattern) Regexp() *regexp.Regexp { return p.expression }

// Match reports whether the pattern is found in a text.
func (p *Pattern) Match(text string) bool { return p.expression.MatchString(text) }

// atOnce is how many steps are taken without asking whether anyone still waits for the answer: some milliseconds.
const atOnce = 1 << 18

// Search is Match of a text that may be long: it asks stop from time to time, and ends early, with false, when that is so.
func (p *Pattern) Search(text []byte, stop func() bool) bool {
	if p.Steps(len(text)) <= atOnce {
		return p.expression.Match(text)
	}
	return p.expression.MatchReader(&runes{text: text, every: max(1, atOnce/p.size), stop: stop})
}

// Find is Search that returns where the first match begins and ends, or nil.
func (p *Pattern) Find(text []byte, stop func() bool) []int {
	if p.Steps(len(text)) <= atOnce {
		return p.expression.FindIndex(text)
	}
	return p.expression.FindReaderIndex(&runes{text: text, every: max(1, atOnce/p.size), stop: stop})
}

// runes reads a text until it is to stop.
type runes struct {
	text  []byte
	read  int // since stop was asked
	every int
	stop  func() bool
}

// errEnd ends a text.
var errEnd = errors.New("the text has ended")

// ReadRune implements io.RuneReader.
func (r *runes) ReadRune() (rune, int, error) {
	if r.read++; r.read > r.every {
		if r.read = 0; r.stop() {
			return 0, 0, errEnd
		}
	}
	if len(r.text) == 0 {
		return 0, 0, errEnd
	}
	found, size := utf8.DecodeRune(r.text)
	r.text = r.text[size:]
	return found, size, nil
}

// tooMany is a size that is not counted further.
const tooMany = 1 << 30

// steps is the number of states of an expression with its repetitions written out, or tooMany. The parser bounds how deep it is.
func steps(tree *syntax.Regexp) int {
	size := 1
	for _, part := range tree.Sub {
		size = min(tooMany, size+steps(part))
	}
	switch tree.Op { //nolint:exhaustive // the others are one state and their parts
	case syntax.OpLiteral:
		size = len(tree.Rune)
		if tree.Flags&syntax.FoldCase != 0 {
			size *= 2
		}
	case syntax.OpCharClass:
		if len(tree.Rune) > 2*wide {
			size = 2
		}
	case syntax.OpConcat:
		size-- // its parts are there
	case syntax.OpCapture:
		size++ // where it begins, and where it ends
	case syntax.OpRepeat:
		size = min(tooMany, 1+(size-1)*max(1, tree.Min, tree.Max)+max(0, tree.Max-tree.Min)) // each that may be missing is a choice
	}
	return size
}
