package tools

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp/syntax"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/events/pattern"
)

// What grep looks at and shows, beside outputLimit.
const (
	grepMatches  = 500
	grepLineSize = 500      // bytes of one line that are shown
	grepFileSize = 10 << 20 // bigger files are skipped
)

type grepArgs struct {
	Pattern string `json:"pattern" min:"1" max:"1000" jsonschema:"a regular expression (RE2), matched against each line"`
	Path    string `json:"path,omitempty" jsonschema:"the file or directory to search, relative to the workspace; the workspace if not given"`
	Glob    string `json:"glob,omitempty" max:"1000" jsonschema:"search only files whose name, or path below path, matches, such as *.go or cmd/**/*.md"`
}

func (f files) newGrep() (actors.Tool, error) {
	return newFileTool(f, actors.ToolSpec{Name: "grep", Risk: events.RiskLow, Repeatable: true}, grep)
}

func grep(ctx context.Context, w *workspace, args grepArgs) (string, error) {
	s, err := newSearch(ctx, w, args)
	if err != nil {
		return "", err
	}
	at, err := w.existing(args.Path)
	if err != nil {
		return "", err
	}
	if !at.info.IsDir() {
		if err := regular(at.name, at.info); err != nil {
			return "", err
		}
		if err := s.file(at.name); err != nil && !errors.Is(err, errEnough) {
			return "", err
		}
		return s.result(""), nil
	}
	note, err := w.walk(ctx, at.name, func(name, below string, entry fs.DirEntry) error {
		if !entry.Type().IsRegular() || !s.wanted(below) {
			return nil
		}
		return s.file(name)
	})
	if err != nil && !errors.Is(err, errEnough) {
		return "", err
	}
	return s.result(note), nil
}

// search is one search and what it found.
type search struct {
	w        *workspace
	ctx      context.Context //nolint:containedctx // the search is one call
	pattern  *pattern.Pattern
	required []byte // every matching line contains it
	glob     string
	found    listing
	more     bool // there were matches that found has no room for
	skipped  int  // files that are binary, too big or not readable
	buffer   bytes.Buffer
}

func newSearch(ctx context.Context, w *workspace, args grepArgs) (*search, error) {
	tree, err := syntax.Parse(args.Pattern, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	compiled, err := pattern.Compile(args.Pattern)
	if err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	if err := checkPattern("glob", args.Glob); err != nil {
		return nil, err
	}
	return &search{w: w, ctx: ctx, pattern: compiled, required: []byte(requiredLiteral(tree)), glob: args.Glob, found: listing{what: "matches", most: grepMatches}}, nil
}

// requiredLiteral is a text that everything that matches contains: the longest that is easily found, or none. To look for it first
// makes most files cost a tenth.
func requiredLiteral(tree *syntax.Regexp) string {
	switch {
	case tree.Op == syntax.OpLiteral && tree.Flags&syntax.FoldCase == 0:
		if slices.Contains(tree.Rune, utf8.RuneError) {
			return "" // it matches any byte that is not UTF-8
		}
		return string(tree.Rune)
	case tree.Op == syntax.OpCapture, tree.Op == syntax.OpPlus, tree.Op == syntax.OpRepeat && tree.Min > 0:
		return requiredLiteral(tree.Sub[0])
	case tree.Op == syntax.OpConcat:
		longest := ""
		for _, part := range tree.Sub {
			if literal := requiredLiteral(part); len(literal) > len(longest) {
				longest = literal
			}
		}
		return longest
	}
	return ""
}

func (s *search) wanted(below string) bool {
	if s.glob == "" {
		return true
	}
	if !strings.Contains(s.glob, "/") {
		below = path.Base(below)
	}
	return doublestar.MatchUnvalidated(s.glob, below)
}

// file searches one file. Not to be able to read it is a note, not an error.
func (s *search) file(name string) error {
	content, err := s.read(name)
	if err != nil {
		s.skipped++
		return nil //nolint:nilerr // see above
	}
	if len(s.required) > 0 && !bytes.Contains(content, s.required) {
		return nil
	}
	for number := 1; len(content) > 0; number++ {
		line, rest, _ := bytes.Cut(content, []byte("\n"))
		content = rest
		line = bytes.TrimSuffix(line, []byte("\r"))
		found := s.pattern.Search(line, func() bool { return s.ctx.Err() != nil })
		if err := s.ctx.Err(); err != nil {
			return err
		}
		if !found {
			continue
		}
		shown := wholeRunes(line[:min(len(line), grepLineSize)])
		if !s.found.add(fmt.Sprintf("%s:%d:%s", oneLine(name), number, strings.ToValidUTF8(string(shown), "\uFFFD"))) {
			s.more = true
			return errEnough
		}
	}
	return nil
}

// read returns the content of a text file, until the next call.
func (s *search) read(name string) ([]byte, error) {
	file, err := s.w.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(regular(name, info), s.w.within(name, info)); err != nil {
		return nil, err
	}
	if info.Size() > grepFileSize {
		return nil, fmt.Errorf("%s: it is too big", name)
	}
	s.buffer.Reset()
	if _, err := s.buffer.ReadFrom(io.LimitReader(file, grepFileSize)); err != nil {
		return nil, err
	}
	content := s.buffer.Bytes()
	if bytes.IndexByte(content[:min(len(content), sniffSize)], 0) >= 0 {
		return nil, fmt.Errorf("%s: it is binary", name)
	}
	return content, nil
}

// result is what the model sees.
func (s *search) result(note string) string {
	if s.skipped > 0 {
		note += fmt.Sprintf("[%d files were skipped: binary, bigger than %d MiB, not readable, or Life's own]\n", s.skipped, grepFileSize>>20)
	}
	switch {
	case s.found.count == 0:
		return "[nothing matches]\n" + note
	case s.more:
		return s.found.text(-1) + note
	}
	return s.found.text(s.found.count) + note
}
