// Package notes reads notes from directories of Markdown files, as Obsidian, Logseq and others keep them.
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
// is left alone. Properties at the beginning of the text, such as alias:: other name, say the same. Links and tags in the text are
// found by the host that stores the note.
//
// What is read comes from outside: files are regular ones below the directory, of bounded size; front matter is bounded and holds no
// YAML anchors. An error says in which file and line, and all other files are read.
package notes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/markdown"
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
	Ignore bool // it may not have been meant to be read
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
	found, err := list(ctx, root)
	if err != nil {
		return fmt.Errorf("read notes: %w", err)
	}
	chosen := c.choose(found.notes)
	for _, f := range found.notes {
		switch id := c.id(f.path); {
		case ctx.Err() != nil:
			return ctx.Err()
		case f.problem != nil:
			err = each(events.Note{ID: id}, f.problem)
		case chosen[id] != f.path:
			err = each(events.Note{ID: id}, &Problem{Path: f.path, Detail: fmt.Sprintf("%s is the note %s already: rename one of the two files", chosen[id], id)})
		default:
			note, problem := c.readFile(root, f.path)
			found.markFiles(&note)
			err = each(note, problem)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// choose finds the file of each note, where several would have one id: the one whose path is the id, and of these the one with the
// usual ending.
func (c *Config) choose(files []file) map[events.NoteID]string {
	chosen := map[events.NoteID]string{}
	score := func(at string) int {
		score := 0
		if name, _ := events.CutMarkdown(at); c.Prefix+name == string(c.id(at)) {
			score += 2
		}
		if strings.EqualFold(path.Ext(at), ".md") {
			score++
		}
		return score
	}
	for _, f := range files {
		if id := c.id(f.path); f.problem == nil && (chosen[id] == "" || score(f.path) > score(chosen[id])) {
			chosen[id] = f.path
		}
	}
	return chosen
}

// id is the name of the note in a file: its path with composed letters, without the signs that links are written with.
func (c *Config) id(at string) events.NoteID {
	name, _ := events.CutMarkdown(norm.NFC.String(at))
	if !strings.ContainsAny(name, "[]|#") && strings.TrimSpace(name) == name {
		return events.NoteID(c.Prefix + name)
	}
	parts := strings.Split(strings.Map(func(r rune) rune {
		if strings.ContainsRune("[]|#", r) {
			return -1
		}
		return r
	}, name), "/")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	parts = slices.DeleteFunc(parts, func(part string) bool { return part == "" })
	return events.NoteID(c.Prefix + strings.Join(parts, "/"))
}

func (c *Config) readFile(root *os.Root, at string) (events.Note, *Problem) {
	text, err := readBounded(root, at)
	if err != nil {
		return events.Note{ID: c.id(at)}, &Problem{Path: at, Detail: reason(err)}
	}
	note, problem := Parse(c.id(at), at, text)
	note.Source = events.NoteFile{Collection: c.Collection, Path: at, Dir: c.Dir}
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

// Parse reads one note from the text of a file.
func Parse(id events.NoteID, at string, text []byte) (events.Note, *Problem) {
	note := events.Note{ID: id}
	if err := id.Validate(); err != nil {
		return note, &Problem{Path: at, Detail: "its name cannot be that of a note: " + err.Error()}
	}
	if !utf8.Valid(text) {
		if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
			return note, &Problem{Path: at, Detail: "it is UTF-16: save it as UTF-8"}
		}
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
	complete(&note, at)
	var refused *sagas.RefusalError
	if err := sagas.ValidateNote(&note); errors.As(err, &refused) {
		return note, &Problem{Path: at, Detail: refused.Detail}
	}
	return note, nil
}

// complete adds to a note what its text and its file's name say.
func complete(note *events.Note, at string) {
	found := markdown.Read(note.Inline)
	for _, property := range found.Properties {
		switch property.Name {
		case "title":
			if note.Title == "" {
				note.Title = plain(property.Value)
			}
		case "alias", "aliases":
			addNames(&note.Aliases, strings.Split(property.Value, ",")...)
		case "tag", "tags":
			addNames(&note.Tags, strings.Split(property.Value, ",")...)
		}
	}
	name, aliases := fileNames(at)
	addNames(&note.Aliases, aliases...)
	if note.Title == "" {
		note.Title = found.Title
	}
	if note.Title == "" {
		note.Title = name
	}
	note.Title = events.Clip(note.Title, sagas.MaxNoteTitle)
}

// addNames adds names to a list, as far as it has room.
func addNames(list *[]string, names ...string) {
	for _, name := range names {
		if name = plain(name); name != "" && len(name) <= sagas.MaxNoteWord && len(*list) < sagas.MaxNoteNames && !slices.Contains(*list, name) {
			*list = append(*list, name)
		}
	}
}

// plain is a name without the marks of a link or a tag.
func plain(name string) string {
	name = strings.TrimSpace(name)
	if tag, is := strings.CutPrefix(name, "#"); is && !strings.HasPrefix(tag, " ") {
		name = tag
	}
	if inside, is := strings.CutPrefix(name, "[["); is {
		name = strings.TrimSuffix(inside, "]]")
	}
	return strings.TrimSpace(name)
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
