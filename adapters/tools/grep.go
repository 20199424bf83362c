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
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"example.com/life/actors"
	"example.com/life/adapters/tools/hashline"
	"example.com/life/events"
	"example.com/life/events/pattern"
)

// What grep looks at and shows, beside outputLimit.
const (
	grepMatches  = 500
	grepLineSize = 500      // bytes of one line that are shown
	grepFileSize = 10 << 20 // bigger files are skipped
	// Of these files with matches lines are shown with anchors. What was shown is remembered for all agents together, and one search should not displace it.
	grepAnchored   = 32      // the first ones
	grepAnchorSize = 1 << 20 // bytes of each, at most
)

type grepArgs struct {
	Pattern string `json:"pattern" min:"1" max:"1000" jsonschema:"a regular expression (RE2), matched against each line"`
	Path    string `json:"path,omitempty" jsonschema:"the file or directory to search, relative to the workspace; the workspace if not given"`
	Glob    string `json:"glob,omitempty" max:"1000" jsonschema:"search only files whose name, or path below path, matches, such as *.go or cmd/**/*.md"`
}

func (f files) newGrep() (actors.Tool, error) {
	tool, err := newFileTool(f, actors.ToolSpec{Name: "grep", Risk: events.RiskLow, Repeatable: true}, grep)
	return anchoring(tool, err, "grep_anchors.md")
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
	note, err := w.walk(ctx, at.name, s.concern, func(name, below string, entry fs.DirEntry) error {
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

// concern is that of a search in files.
func (s *search) concern(below string, entry fs.DirEntry) concern {
	if entry.IsDir() || s.wanted(below) {
		return itsContent
	}
	return unconcerned
}

// search is one search and what it found.
type search struct {
	w        *workspace
	ctx      context.Context //nolint:containedctx // the search is one call
	pattern  *pattern.Pattern
	required []byte // every matching line contains it
	forms    bool   // the pattern may match lines in another normal form or charset
	glob     *globPattern
	lossy    []string // files of which lines were shown that hold other bytes
	guessed  []string // files of which lines were read as Windows-1252
	found    listing
	more     bool   // there were matches that found has no room for
	skipped  int    // files that are binary, too big or not readable
	gnu      string // an operator of the pattern that may be meant as GNU grep has it
	buffer   bytes.Buffer
	anchored int // files of which lines were shown with anchors
	plain    int // lines that were shown without, to an agent that edits by anchors
}

func newSearch(ctx context.Context, w *workspace, args grepArgs) (*search, error) {
	text := norm.NFC.String(args.Pattern)
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("pattern: %w; the syntax is RE2's: no backreferences, no looking ahead or behind, \\b is the edge of a word", err)
	}
	compiled, err := pattern.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	s := &search{w: w, ctx: ctx, pattern: compiled, forms: hasNormalForms(text), gnu: gnuOperator.FindString(text), found: listing{what: "matches", most: grepMatches}}
	if required := requiredLiteral(tree); ascii(required) {
		s.required = []byte(required)
	}
	if args.Glob != "" {
		s.glob, err = newGlobPattern("glob", args.Glob)
	}
	return s, err
}

// gnuOperator is an operator as GNU grep has it, which here is the character itself.
var gnuOperator = regexp.MustCompile(`\\[|(){}+?<>]`)

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
	if s.glob == nil {
		return true
	}
	if !strings.Contains(s.glob.given, "/") {
		below = path.Base(below)
	}
	return s.glob.match(below)
}

// file searches one file. Not to be able to read it is a note, not an error.
func (s *search) file(name string) error {
	content, coded, err := s.read(name)
	if err != nil {
		s.skipped++
		return nil // see above
	}
	if len(s.required) > 0 && !bytes.Contains(content, s.required) {
		return nil
	}
	hits := hits{s: s, name: name}
	defer hits.remember()
	content = maskedBytes(content, s.w.secrets) // before it is searched: a pattern would find out what a secret is, letter by letter
	end := "\n"
	if bytes.IndexByte(content, '\n') < 0 {
		end = "\r"
	}
	for number := 1; len(content) > 0; number++ {
		line, rest, _ := bytes.Cut(content, []byte(end))
		content = rest
		line = bytes.TrimSuffix(line, []byte("\r"))
		line, matches, guessed := s.match(line)
		if err := s.ctx.Err(); err != nil {
			return err
		}
		if !matches {
			continue
		}
		shown, cut := s.excerpt(line)
		if valid := strings.ToValidUTF8(shown, replacement); valid != shown || coded && strings.Contains(shown, replacement) {
			s.lossy = noted(s.lossy, name)
			shown = valid
		}
		if guessed {
			s.guessed = noted(s.guessed, name)
		}
		if !s.found.add(fmt.Sprintf("%s:%d:%s%s", oneLine(name), number, hits.tag(number, cut), shown)) {
			s.more = true
			return errEnough
		}
		hits.lines = append(hits.lines, [2]int{number, number})
	}
	return nil
}

// hits are the lines of a file that match.
type hits struct {
	s      *search
	name   string
	lines  [][2]int // that were shown
	looked bool
	v      *version // of the file; nil if its lines have no anchors
}

// tag is what makes a line's number an anchor, for agents that edit by them: the tag of the line as it is stored.
func (h *hits) tag(number int, cut bool) string {
	s := h.s
	if !s.w.editor.Anchored() {
		return ""
	}
	if !h.looked {
		h.looked = true
		if s.anchored < grepAnchored && s.buffer.Len() <= grepAnchorSize {
			if v, err := versionOf(h.name, nil, bytes.Clone(s.buffer.Bytes())); err == nil { // the buffer is for the next file
				h.v, s.anchored = v, s.anchored+1
			}
		}
	}
	if h.v == nil || number > h.v.file.Len() { // \r alone ends no line of an edit
		s.plain++
		h.v = nil
		return ""
	}
	sign := "|"
	if cut {
		sign = "~|"
	}
	return hashline.Tag(h.v.file.Line(number)) + sign
}

// remember notes that the lines were shown.
func (h *hits) remember() {
	if h.v != nil && len(h.lines) > 0 {
		h.s.w.shown.add(h.s.w.agent, h.s.w.real+"/"+h.name, h.v.digest, h.v.text, h.lines...)
	}
}

// match reports whether a line matches, and returns the line: in composed form, or as it is read in the charset it may have, if only that matches.
func (s *search) match(line []byte) (shown []byte, matches, guessed bool) {
	if s.pattern.Search(line, s.stop) {
		return line, true, false
	}
	if !s.forms {
		return line, false, false
	}
	if !utf8.Valid(line) {
		line = fromLegacy(line)
		return line, s.pattern.Search(line, s.stop), true
	}
	if norm.NFC.IsNormal(line) {
		return line, false, false
	}
	line = norm.NFC.Bytes(line)
	return line, s.pattern.Search(line, s.stop), false
}

// excerpt is a line, or, of a long one, what is around the match, and how much was cut.
func (s *search) excerpt(line []byte) (shown string, cut bool) {
	if len(line) <= grepLineSize {
		return string(line), false
	}
	match := 0
	if at := s.pattern.Find(line, s.stop); at != nil {
		match = at[0]
	}
	from := max(0, min(match-grepLineSize/5, len(line)-grepLineSize))
	for from > 0 && from < match && !utf8.RuneStart(line[from]) {
		from++
	}
	part := wholeRunes(line[from:min(len(line), from+grepLineSize)])
	text := string(part)
	if from > 0 {
		text = fmt.Sprintf("[… %d bytes]", from) + text
	}
	if rest := len(line) - from - len(part); rest > 0 {
		text += fmt.Sprintf("[… %d bytes]", rest)
	}
	return text, true
}

// stop reports that nobody waits for the search any more.
func (s *search) stop() bool { return s.ctx.Err() != nil }

// noted adds a file to those of which something has to be said.
func noted(files []string, name string) []string {
	if len(files) > 0 && files[len(files)-1] == name {
		return files
	}
	return append(files, name)
}

// named names files for a note.
func named(files []string) string {
	const most = 5
	var names []string
	for _, name := range files[:min(len(files), most)] {
		names = append(names, oneLine(name))
	}
	if len(files) > most {
		names = append(names, fmt.Sprintf("%d more", len(files)-most))
	}
	return strings.Join(names, ", ")
}

// read returns the text of a file, until the next call; coded reports that it is stored in other bytes.
func (s *search) read(name string) (content []byte, coded bool, err error) {
	file, err := s.w.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, false, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, false, err
	}
	if err := errors.Join(regular(name, info), s.w.within(name, info)); err != nil {
		return nil, false, err
	}
	if info.Size() > grepFileSize {
		return nil, false, fmt.Errorf("%s: it is too big", name)
	}
	s.buffer.Reset()
	if _, err := s.buffer.ReadFrom(io.LimitReader(file, grepFileSize)); err != nil {
		return nil, false, err
	}
	content = s.buffer.Bytes()
	set := charsetOf(content[:min(len(content), sniffSize)])
	if content, _ = set.decode(content); set.codec != nil {
		return content, true, nil
	}
	if bytes.IndexByte(content[:min(len(content), sniffSize)], 0) >= 0 {
		return nil, false, fmt.Errorf("%s: it is binary", name)
	}
	return content, false, nil
}

// result is what the model sees.
func (s *search) result(note string) string {
	if s.skipped > 0 {
		note += fmt.Sprintf("[%d files were skipped: binary, bigger than %d MiB, not readable, or Life's own]\n", s.skipped, grepFileSize>>20)
	}
	if s.plain > 0 {
		note += fmt.Sprintf("[matches without an anchor: %d, of files beyond the first %d, over %d MiB or with other line ends; read_file shows theirs]\n", s.plain, grepAnchored, grepAnchorSize>>20)
	}
	if len(s.lossy) > 0 {
		note += fmt.Sprintf("[not UTF-8, so U+FFFD stands for other bytes: %s]\n", named(s.lossy))
	}
	if len(s.guessed) > 0 {
		note += fmt.Sprintf("[not UTF-8, and read as Windows-1252 or Latin-1: %s]\n", named(s.guessed))
	}
	if s.glob != nil {
		note = s.glob.note() + note
	}
	switch {
	case s.found.count == 0 && s.gnu != "":
		return fmt.Sprintf("[nothing matches; %s is the character itself here: | is a choice, ( ) group, { } + ? repeat, \\b is the edge of a word]\n", s.gnu) + note
	case s.found.count == 0:
		return "[nothing matches]\n" + note
	case s.more:
		return s.found.text(-1) + note
	}
	return s.found.text(s.found.count) + note
}
