package notes

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/markdown"
)

// maxMatter is how large front matter may be, in bytes.
const maxMatter = 64 << 10

// cutFrontMatter takes a text apart. What stands between rules at the beginning and is no mapping of fields, such as a letterhead, is
// text.
func cutFrontMatter(text string) (matter, body string, problem *Problem) {
	first, after, _ := strings.Cut(text, "\n")
	if strings.TrimRight(first, " \t") != "---" {
		return "", text, nil
	}
	size := 0
	for line := range strings.Lines(after) {
		if end := strings.TrimRight(line, " \t\n"); end == "---" || end == "..." {
			if matter = after[:size]; !isMatter(matter) {
				return "", text, nil
			}
			return matter, after[size+len(line):], nil
		}
		if size += len(line); size > maxMatter {
			break
		}
	}
	switch {
	case !hasField(after[:min(size, maxMatter)]):
		return "", text, nil
	case size > maxMatter:
		return "", "", &Problem{Line: 1, Detail: "the front matter is larger than " + strconv.Itoa(maxMatter) + " bytes, or the line --- that ends it is missing"}
	}
	return "", "", &Problem{Line: 1, Detail: "the front matter has no end: a line --- is missing"}
}

// isMatter reports whether what stands between rules is front matter: a mapping, or what was meant to be one.
func isMatter(text string) bool {
	if strings.TrimSpace(text) == "" {
		return true
	}
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(text), &document); err == nil && len(document.Content) > 0 {
		return document.Content[0].Kind == yaml.MappingNode
	}
	return hasField(text)
}

// hasField reports whether a text has a line of front matter: a field that is known, or fields and nothing else.
func hasField(text string) bool {
	others, fields := 0, 0
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" || strings.ContainsAny(line[:1], " \t-") {
			continue
		}
		found := fieldLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		switch {
		case found == nil:
			others++
		case slices.Contains(knownFields, strings.ToLower(found[1])):
			return true
		default:
			fields++
		}
	}
	return fields > 0 && others == 0
}

// fieldLine is a line with a field of front matter, or with one that is commented out.
var fieldLine = regexp.MustCompile(`^(?:# ?)?["']?([\p{L}_][\p{L}\p{N} _.-]*)["']?\s*:(?:\s|$)`)

// knownFields are those by which front matter is known as such also if it cannot be read.
//
//nolint:gochecknoglobals // an explicit list, never written to
var knownFields = strings.Fields("title aliases alias tags tag valid_from valid_to relations created modified updated cssclass cssclasses " +
	"publish draft description layout categories permalink")

// matterReader fills a note from front matter. The first thing that is wrong ends it.
type matterReader struct {
	note    *events.Note
	problem *Problem
}

func readFrontMatter(matter string, note *events.Note) *Problem {
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(matter), &document); err != nil {
		return yamlProblem(err)
	}
	if len(document.Content) == 0 {
		return nil // nothing but comments
	}
	r := matterReader{note: note}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		return &Problem{Line: 1 + root.Line, Detail: "the front matter is no mapping of fields, such as title: A title"}
	}
	r.eachField(root, r.field)
	if r.problem == nil && note.From != 0 && note.To != 0 && note.To <= note.From {
		r.fail(root, "valid_to is not after valid_from")
	}
	return r.problem
}

// yamlProblem finds the line that an error of the YAML library names; the first line of the file is above the front matter.
func yamlProblem(err error) *Problem {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if found := regexp.MustCompile(`^line (\d+): (.*)`).FindStringSubmatch(text); found != nil {
		if line, err := strconv.Atoi(found[1]); err == nil {
			return &Problem{Line: 1 + line, Detail: "the front matter is no YAML: " + found[2]}
		}
	}
	return &Problem{Line: 2, Detail: "the front matter is no YAML: " + strings.ReplaceAll(text, "\n", " ")}
}

// fail notes what is wrong, if nothing was before.
func (r *matterReader) fail(at *yaml.Node, detail string) {
	if r.problem == nil {
		r.problem = &Problem{Line: 1 + at.Line, Detail: detail}
	}
}

// eachField hands the fields of a mapping to a function.
func (r *matterReader) eachField(mapping *yaml.Node, field func(name string, key, value *yaml.Node)) {
	var seen []string
	for i := 0; i+1 < len(mapping.Content) && r.problem == nil; i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || key.Value == "":
			r.fail(key, "a field has no name")
		case slices.Contains(seen, key.Value):
			r.fail(key, "field "+quoted(key.Value)+" is there twice")
		case key.Anchor != "" || value.Anchor != "" || value.Kind == yaml.AliasNode:
			r.fail(key, "field "+quoted(key.Value)+" uses a YAML anchor: write the value out")
		case isNull(value):
			seen = append(seen, key.Value) // as if it were not there
		default:
			seen = append(seen, key.Value)
			field(key.Value, key, value)
		}
	}
}

// isNull reports a value that is none: null, ~, or nothing.
func isNull(value *yaml.Node) bool { return value.ShortTag() == "!!null" }

// field reads one field of the front matter.
func (r *matterReader) field(name string, key, value *yaml.Node) {
	switch name {
	case "title":
		r.note.Title = r.text(name, value)
	case "aliases", "alias":
		r.note.Aliases = append(r.note.Aliases, r.words(name, value, ",")...)
	case "tags", "tag":
		r.note.Tags = append(r.note.Tags, r.words(name, value, ", ")...)
	case "valid_from":
		r.note.From = r.moment(name, value)
	case "valid_to":
		r.note.To = r.moment(name, value)
	case "relations":
		if value.Kind != yaml.MappingNode {
			r.fail(value, `relations is no mapping, such as supports: "[[target]]"`)
			return
		}
		r.eachField(value, r.relation)
	default:
		r.other(name, key, value)
	}
}

// relation reads the targets of one relation.
func (r *matterReader) relation(name string, key, value *yaml.Node) {
	kind := strings.ToLower(strings.TrimRight(name, ":"))
	if !sagas.IsRelation(kind) {
		r.fail(key, "relation "+quoted(name)+" is no name of lower-case letters, digits, - and _, beginning with a letter")
		return
	}
	targets := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode && !bareLink(value) {
		targets = value.Content
	}
	for _, target := range targets {
		if !isNull(target) {
			r.target(kind, target)
		}
	}
}

// target reads one target: a name, a link, or a mapping.
func (r *matterReader) target(kind string, value *yaml.Node) {
	link := events.NoteLink{}
	if value.Kind == yaml.MappingNode {
		r.eachField(value, func(name string, key, value *yaml.Node) { r.targetField(&link, name, key, value) })
		if link.Target == "" {
			r.fail(value, `a target of relation `+kind+` names no note: give it to: "[[note]]"`)
		}
		if link.From != 0 && link.To != 0 && link.To <= link.From {
			r.fail(value, "valid_to is not after valid_from")
		}
	} else {
		link = r.name(value)
	}
	link.Relation = kind
	r.add(value, link)
}

func (r *matterReader) targetField(link *events.NoteLink, name string, key, value *yaml.Node) {
	switch name {
	case "to":
		named := r.name(value)
		link.Target, link.Heading, link.Label = named.Target, named.Heading, named.Label
	case "exclusive":
		if value.Value != "true" && value.Value != "false" {
			r.fail(value, "exclusive is "+quoted(value.Value)+", want true or false")
		}
		link.Exclusive = value.Value == "true"
	case "valid_from":
		link.From = r.moment(name, value)
	case "valid_to":
		link.To = r.moment(name, value)
	default:
		r.fail(key, "a target has no field "+quoted(name)+"; there are to, exclusive, valid_from and valid_to")
	}
}

// other reads a field that nobody asked for: links in it are typed by its name, anything else is somebody else's.
func (r *matterReader) other(name string, key, value *yaml.Node) {
	kind := strings.ToLower(strings.TrimRight(name, ":"))
	if !sagas.IsRelation(kind) {
		return
	}
	targets := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode && !bareLink(value) {
		targets = value.Content
	}
	for _, target := range targets {
		if !bareLink(target) && (target.Kind != yaml.ScalarNode || !strings.HasPrefix(strings.TrimSpace(target.Value), "[[")) {
			continue
		}
		link := r.name(target)
		link.Relation = kind
		r.add(key, link)
	}
}

func (r *matterReader) add(at *yaml.Node, link events.NoteLink) {
	if len(r.note.Links) >= sagas.MaxNoteLinks {
		r.fail(at, "there are more than "+strconv.Itoa(sagas.MaxNoteLinks)+" links")
	}
	if r.problem == nil {
		r.note.Links = append(r.note.Links, link)
	}
}

// bareLink reports a [[link]] without quotes, which YAML reads as a list in a list.
func bareLink(value *yaml.Node) bool {
	return value.Kind == yaml.SequenceNode && value.Style&yaml.FlowStyle != 0 && len(value.Content) == 1 &&
		value.Content[0].Kind == yaml.SequenceNode && len(value.Content[0].Content) > 0 &&
		!slices.ContainsFunc(value.Content[0].Content, func(n *yaml.Node) bool { return n.Kind != yaml.ScalarNode })
}

// name reads the name of a note, with or without brackets.
func (r *matterReader) name(value *yaml.Node) events.NoteLink {
	text := value.Value
	switch {
	case bareLink(value):
		var parts []string
		for _, part := range value.Content[0].Content {
			parts = append(parts, part.Value)
		}
		text = strings.Join(parts, ", ")
	case value.Kind != yaml.ScalarNode:
		r.fail(value, "this is no name of a note")
	}
	text = strings.TrimSpace(text)
	if inside, is := strings.CutPrefix(text, "[["); is {
		text, _, is = strings.Cut(inside, "]]")
		if !is {
			r.fail(value, "the link "+quoted(inside)+" has no end")
		}
	}
	link, ok := markdown.ReadLink(text)
	if !ok {
		r.fail(value, quoted(text)+" is no name of a note")
	}
	return link
}

// text reads a text.
func (r *matterReader) text(name string, value *yaml.Node) string {
	if value.Kind != yaml.ScalarNode {
		r.fail(value, name+" is no text")
	}
	return strings.TrimSpace(value.Value)
}

// words reads a list, or a text with separators.
func (r *matterReader) words(name string, value *yaml.Node, separators string) []string {
	var all []string
	add := func(text string) {
		if text = plain(text); text != "" && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	switch value.Kind {
	case yaml.ScalarNode:
		for _, text := range strings.FieldsFunc(value.Value, func(c rune) bool { return strings.ContainsRune(separators, c) }) {
			add(text)
		}
	case yaml.SequenceNode:
		for _, item := range value.Content {
			if !isNull(item) {
				add(r.text(name, item))
			}
		}
	default:
		r.fail(value, name+" is neither a text nor a list of texts")
	}
	if len(all) > sagas.MaxNoteNames {
		r.fail(value, name+" has more than "+strconv.Itoa(sagas.MaxNoteNames)+" entries")
	}
	return all
}

// moment reads a day or a time.
func (r *matterReader) moment(name string, value *yaml.Node) events.Micros {
	at, err := parseMoment(value.Value)
	if value.Kind != yaml.ScalarNode || err != nil {
		r.fail(value, name+" is "+quoted(value.Value)+", want a day such as 2026-01-31, or a time such as 2026-01-31T14:02:11Z")
	}
	return at
}

func parseMoment(text string) (events.Micros, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04"} {
		if at, err := time.Parse(layout, text); err == nil {
			return events.Micros(at.UnixMicro()), nil
		}
	}
	return 0, errors.New("no time")
}

// quoted shows a text in an error, not all of a long one.
func quoted(text string) string {
	const most = 80
	return strconv.Quote(events.Clip(text, most))
}
