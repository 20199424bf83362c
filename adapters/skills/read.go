package skills

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/zeebo/blake3"
	"go.yaml.in/yaml/v3"
	"golang.org/x/text/unicode/norm"
)

// reader reads one file and collects what is wrong with it.
type reader struct {
	file, dir string
	problems  []Problem
}

func (r *reader) add(line int, weight Weight, code, text string) {
	r.problems = append(r.problems, Problem{r.file, line, code, text, weight})
}

// Read reads a SKILL.md. dir is the name of its directory. The skill is nil if one of the problems is Unusable.
func Read(file, dir string, data []byte) (*Skill, []Problem) {
	r := &reader{file: file, dir: norm.NFKC.String(dir)}
	s := r.read(data)
	return s, sorted(r.problems)
}

func (r *reader) read(data []byte) *Skill {
	digest := blake3.Sum256(data)
	data = r.encoding(data)
	if data == nil {
		return nil
	}
	matter, body, end, code, problem := cut(data)
	if code != "" {
		r.add(1, Unusable, code, problem)
		return nil
	}
	f, ok := r.readMatter(matter)
	if !ok {
		return nil
	}
	s := &Skill{File: r.file, Digest: hex.EncodeToString(digest[:])}
	if s.Name, ok = r.name(&f); !ok {
		return nil
	}
	if s.Description, ok = r.description(&f); !ok {
		return nil
	}
	s.License, _ = r.text(&f, "license")
	if s.Compatibility, ok = r.text(&f, "compatibility"); ok {
		r.length(&f, "compatibility", s.Compatibility, maxCompatibility)
	}
	s.Metadata = r.metadata(&f)
	s.AllowedTools = r.tools(&f)
	s.Extra = r.extra(&f)
	if s.Body, ok = r.body(body, end, len(data)); !ok {
		return nil
	}
	return s
}

// encoding is the file as UTF-8 without a byte order mark.
func (r *reader) encoding(data []byte) []byte {
	if len(data) > maxMatter+maxBody {
		r.add(0, Unusable, "file-large", fmt.Sprintf("the file is larger than %d KiB", (maxMatter+maxBody)>>10))
		return nil
	}
	if rest, found := bytes.CutPrefix(data, []byte("\xef\xbb\xbf")); found {
		r.add(1, Invalid, "byte-order-mark", "the file begins with a byte order mark, which is ignored")
		data = rest
	}
	if bytes.IndexByte(data, 0) >= 0 {
		r.add(0, Unusable, "binary", "the file is not text")
		return nil
	}
	if !utf8.Valid(data) {
		r.add(0, Invalid, "not-utf-8", "the file is not UTF-8; what is wrong in it is replaced by U+FFFD")
		data = bytes.ToValidUTF8(data, []byte("\uFFFD"))
	}
	if bytes.Contains(data, []byte("\r\n")) {
		r.add(0, Remark, "line-ends", "the lines end with carriage returns")
	}
	return data
}

// name is the skill's; without one it is its directory's.
func (r *reader) name(f *fields) (string, bool) {
	name, given := r.text(f, "name")
	name = norm.NFKC.String(strings.TrimSpace(name))
	if !given || name == "" {
		r.add(f.lines["name"], Invalid, "name-missing", "name is missing; the directory's is used")
		name = r.dir
	}
	line := f.lines["name"]
	switch {
	case name == "" || strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsGraphic(c) }) || len(name) > 4*maxName || strings.ContainsAny(name, "/<>\"\\"):
		r.add(line, Unusable, "name", fmt.Sprintf("%s cannot be a name: use small letters, digits and single hyphens", show(name)))
		return "", false
	case !kebab(name):
		r.add(line, Invalid, "name", fmt.Sprintf("the name %s must be of small letters, digits and single hyphens between them", show(name)))
	}
	r.length(f, "name", name, maxName)
	if name != r.dir {
		r.add(line, Invalid, "name-differs", fmt.Sprintf("the name %s must be the directory's, %s", show(name), show(r.dir)))
	}
	return name, true
}

// kebab reports whether a name has the specification's form. Its text says a to z, its reference implementation takes any letter.
func kebab(name string) bool {
	return name == strings.ToLower(name) && !strings.HasPrefix(name, "-") && !strings.HasSuffix(name, "-") && !strings.Contains(name, "--") &&
		!strings.ContainsFunc(name, func(c rune) bool { return c != '-' && !unicode.IsLetter(c) && !unicode.IsDigit(c) })
}

func (r *reader) description(f *fields) (string, bool) {
	text, given := r.text(f, "description")
	if text = strings.TrimSpace(text); !given || text == "" {
		r.add(f.lines["description"], Unusable, "description-missing", "description is missing: without it nobody knows when to use the skill")
		return "", false
	}
	if strings.Contains(text, "\n") {
		r.add(f.lines["description"], Remark, "description-lines", "the description has several lines; they are shown as one")
	}
	r.length(f, "description", text, maxDescription)
	return strings.Map(func(c rune) rune {
		if unicode.IsGraphic(c) {
			return c
		}
		return -1
	}, strings.Join(strings.Fields(text), " ")), true
}

func (r *reader) length(f *fields, name, value string, most int) {
	if n := utf8.RuneCountInString(value); n > most {
		r.add(f.lines[name], Invalid, name+"-long", fmt.Sprintf("%s has %d characters, %d more than allowed", name, n, n-most))
	}
}

// text is a field's scalar as it is written: 1.10 stays 1.10, and a date a date.
func (r *reader) text(f *fields, name string) (string, bool) {
	node := f.values[name]
	if node == nil {
		return "", false
	}
	if node.Kind != yaml.ScalarNode {
		r.add(f.lines[name], Invalid, name+"-kind", name+" must be a text")
		return flat(node), true
	}
	if node.Tag != "!!str" && node.Tag != "!!null" {
		r.add(f.lines[name], Remark, name+"-kind", fmt.Sprintf("%s is read as the text %s", name, show(node.Value)))
	}
	if node.Tag == "!!null" {
		return "", true
	}
	return node.Value, true
}

// flat is a value in one line.
func flat(node *yaml.Node) string {
	switch node.Kind {
	case yaml.ScalarNode:
		return node.Value
	case yaml.AliasNode:
		return flat(node.Alias)
	case yaml.SequenceNode, yaml.DocumentNode:
		parts := make([]string, len(node.Content))
		for i, below := range node.Content {
			parts[i] = flat(below)
		}
		return strings.Join(parts, ", ")
	case yaml.MappingNode:
		var parts []string
		for i := 0; i+1 < len(node.Content); i += 2 {
			parts = append(parts, flat(node.Content[i])+": "+flat(node.Content[i+1]))
		}
		return strings.Join(parts, ", ")
	}
	return ""
}

// metadata is a map of texts; what is nested in it gets names with dots.
func (r *reader) metadata(f *fields) map[string]string {
	node := f.values["metadata"]
	if node == nil || node.Tag == "!!null" {
		return nil
	}
	if node.Kind != yaml.MappingNode {
		r.add(f.lines["metadata"], Invalid, "metadata-kind", "metadata must be names with texts")
		return map[string]string{"metadata": flat(node)}
	}
	all, nested := map[string]string{}, false
	var put func(prefix string, n *yaml.Node)
	put = func(prefix string, n *yaml.Node) {
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := prefix+n.Content[i].Value, n.Content[i+1]
			if value.Kind == yaml.AliasNode {
				value = value.Alias
			}
			switch value.Kind {
			case yaml.MappingNode:
				nested = true
				put(key+".", value)
			case yaml.ScalarNode:
				if value.Tag != "!!str" {
					r.add(value.Line+1, Remark, "metadata-scalar", fmt.Sprintf("metadata: %s is read as the text %s", show(key), show(value.Value)))
				}
				all[key] = value.Value
			default:
				nested = true
				all[key] = flat(value)
			}
		}
	}
	put("", node)
	if nested {
		r.add(f.lines["metadata"], Invalid, "metadata-nested", "metadata must be names with texts, and no lists or further names below them")
	}
	return all
}

// tools reads allowed-tools: texts with spaces or commas between, or a list.
func (r *reader) tools(f *fields) []string {
	name := "allowed-tools"
	node := f.values[name]
	if node == nil {
		if name = "allowed_tools"; f.values[name] == nil {
			return nil
		}
		node = f.values[name]
		r.add(f.lines[name], Invalid, "allowed-tools-name", "allowed_tools must be written allowed-tools")
	}
	switch {
	case node.Kind == yaml.SequenceNode:
		r.add(f.lines[name], Invalid, "allowed-tools-list", "allowed-tools must be a text with spaces between the tools, not a list")
		var all []string
		for _, below := range node.Content {
			all = append(all, strings.TrimSpace(flat(below)))
		}
		return all
	case node.Kind != yaml.ScalarNode:
		r.add(f.lines[name], Invalid, "allowed-tools-kind", "allowed-tools must be a text with spaces between the tools")
		return nil
	}
	all, commas, open := split(node.Value)
	if open {
		r.add(f.lines[name], Invalid, "allowed-tools-open", "a parenthesis in allowed-tools is not closed")
	}
	if commas {
		r.add(f.lines[name], Invalid, "allowed-tools-commas", "allowed-tools must have spaces between the tools, not commas")
	}
	return all
}

// split is a text's words; what is in parentheses is one word.
func split(text string) (words []string, commas, open bool) {
	depth, from := 0, -1
	for i, c := range text {
		end := depth == 0 && (unicode.IsSpace(c) || c == ',')
		switch {
		case end && from >= 0:
			words, from = append(words, text[from:i]), -1
		case !end && from < 0:
			from = i
		}
		switch {
		case end && c == ',':
			commas = true
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		}
	}
	if from >= 0 {
		words = append(words, text[from:])
	}
	return words, commas, depth > 0
}

// known reports whether the specification has a field.
func known(field string) bool {
	return slices.Contains([]string{"name", "description", "license", "compatibility", "metadata", "allowed-tools", "allowed_tools"}, field)
}

func (r *reader) extra(f *fields) map[string]string {
	all := map[string]string{}
	for _, name := range f.names {
		if !known(name) {
			all[name] = flat(f.values[name])
			r.add(f.lines[name], Invalid, "field-unknown", fmt.Sprintf("there is no field %s; put it under metadata", show(name)))
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// body is the skill's text. before is the number of lines before it, size the file's.
func (r *reader) body(text []byte, before, size int) (string, bool) {
	if len(text) > maxBody {
		r.add(before+1, Unusable, "body-large", fmt.Sprintf("the text is longer than %d KiB", maxBody>>10))
		return "", false
	}
	body := strings.ReplaceAll(string(text), "\r\n", "\n")
	if strings.TrimSpace(body) == "" {
		r.add(before+1, Remark, "body-empty", "the skill has no text: the description is all that it teaches")
	}
	if lines := strings.Count(body, "\n"); lines > manyLines {
		r.add(before+1, Remark, "body-lines", fmt.Sprintf("the text has %d lines; keep it below %d, and put the rest into files beside it", lines, manyLines))
	}
	if size > bigFile {
		r.add(0, Remark, "file-big", fmt.Sprintf("the file has %d KiB; all of it goes to the model when the skill is activated", size>>10))
	}
	return strings.TrimSpace(body), true
}

// show quotes a text of a stranger for a message.
func show(text string) string {
	if runes := []rune(text); len(runes) > 80 {
		text = string(runes[:80]) + "…"
	}
	return fmt.Sprintf("%q", text)
}
