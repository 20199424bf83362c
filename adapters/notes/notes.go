// Package notes reads notes from directories of Markdown files, as Obsidian and others keep them.
//
// A file is a note; its path without the ending is the note's id. Front matter in YAML, between two lines of three dashes, may give
//
//	title:       its title; the first heading, or the file's name, if there is none
//	aliases:     other names, a text or a list
//	tags:        a text with commas or spaces, or a list
//	valid_from:  when what it says begins to hold, and valid_to when it ends: a day, or a time
//	relations:   typed links: by the name of the relation a target, or a list of them. A target is a name, a [[link]],
//	             or a mapping of to, exclusive, valid_from and valid_to
//
// Any other field whose value is a [[link]] or a list of them is a typed link too, as in supports: "[[target]]"; what else there is
// is left alone. Links in the text are found by whoever stores the note.
//
// What is read comes from outside: files are regular ones below the directory, of bounded size; front matter is bounded and holds no
// YAML anchors. An error says in which file and line.
package notes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"unicode/utf8"

	"example.com/life/events"
	"example.com/life/sagas"
)

// Config says what is read.
type Config struct {
	Dir        string // the directory
	Collection string // the name under which its notes are known
	Prefix     string // before each note's id; empty, or ending in a slash
}

// Bounds of what is read.
const (
	maxFile = 4 << 20 // bytes
	maxDeep = 64      // directories within one another
)

// Problem is what is wrong with a file.
type Problem struct {
	Path   string
	Line   int // 0: the file as a whole
	Detail string
}

// String names file and line.
func (p *Problem) String() string {
	if p.Line == 0 {
		return p.Path + ": " + p.Detail
	}
	return fmt.Sprintf("%s:%d: %s", p.Path, p.Line, p.Detail)
}

// Read hands the notes below a directory to a function, in the order of their paths. A file that is no note is handed over as a
// *Problem, with the id that its note would have.
func Read(ctx context.Context, c Config, each func(events.Note, *Problem) error) (err error) {
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return fmt.Errorf("read notes: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return fs.WalkDir(root.FS(), ".", func(at string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil && at == ".":
			return fmt.Errorf("read notes: %w", err)
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return each(events.Note{ID: c.id(at)}, &Problem{Path: at, Detail: reason(err)})
		case entry.IsDir() && (at != "." && strings.HasPrefix(entry.Name(), ".") || strings.Count(at, "/") >= maxDeep):
			return fs.SkipDir // of programs, such as .git and .obsidian
		case !entry.Type().IsRegular() || !isNote(at):
			return nil
		}
		return each(c.readFile(root, at))
	})
}

func isNote(at string) bool {
	extension := strings.ToLower(path.Ext(at))
	return (extension == ".md" || extension == ".markdown") && !strings.HasPrefix(path.Base(at), ".")
}

// id is the name of the note in a file.
func (c *Config) id(at string) events.NoteID {
	return events.NoteID(c.Prefix + strings.TrimSuffix(at, path.Ext(at)))
}

func (c *Config) readFile(root *os.Root, at string) (events.Note, *Problem) {
	text, err := readBounded(root, at)
	if err != nil {
		return events.Note{ID: c.id(at)}, &Problem{Path: at, Detail: reason(err)}
	}
	note, problem := Parse(c.id(at), at, text)
	note.Source = events.NoteFile{Collection: c.Collection, Path: at}
	return note, problem
}

func readBounded(root *os.Root, at string) ([]byte, error) {
	file, err := root.Open(at)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("it is larger than %d bytes", maxFile)
	}
	return text, nil
}

// reason is an error without the path, which is named already.
func reason(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return err.Error()
}

// Parse reads one note from the text of a file.
func Parse(id events.NoteID, at string, text []byte) (events.Note, *Problem) {
	note := events.Note{ID: id}
	if err := id.Validate(); err != nil {
		return note, &Problem{Path: at, Detail: "its name cannot be that of a note: " + err.Error()}
	}
	if !utf8.Valid(text) {
		line := 1 + bytes.Count(text[:len(text)-len(invalid(text))], []byte("\n"))
		return note, &Problem{Path: at, Line: line, Detail: "it is not valid UTF-8"}
	}
	body := strings.ReplaceAll(strings.TrimPrefix(string(text), "\ufeff"), "\r\n", "\n")
	matter, body, problem := cutFrontMatter(body)
	if problem == nil && matter != "" {
		problem = readFrontMatter(matter, &note)
	}
	if problem != nil {
		problem.Path = at
		return note, problem
	}
	note.Inline = strings.TrimLeft(body, "\n")
	if note.Title == "" {
		note.Title = firstHeading(note.Inline)
	}
	if note.Title == "" {
		note.Title = path.Base(string(id))
	}
	var refused *sagas.RefusalError
	if err := sagas.ValidateNote(&note); errors.As(err, &refused) {
		return note, &Problem{Path: at, Detail: refused.Detail}
	}
	return note, nil
}

// invalid is what follows on the valid beginning of a text.
func invalid(text []byte) []byte {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size == 1 {
			return text
		}
		text = text[size:]
	}
	return text
}

// firstHeading is the first heading of the first level.
func firstHeading(text string) string {
	for line := range strings.Lines(text) {
		if title, is := strings.CutPrefix(line, "# "); is {
			return strings.TrimSpace(strings.TrimRight(strings.TrimSpace(title), "#"))
		}
	}
	return ""
}
