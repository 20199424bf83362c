package declared

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The YAML library is go.yaml.in/yaml/v3, which Life reads its configuration with: it is where the YAML organisation goes on with
// gopkg.in/yaml.v3, which is archived, and its nodes say at which line and column they begin.

// yamlReader reads a declaration node by node, so that whatever is wrong is known by its line.
type yamlReader struct {
	problems Problems
}

// read reads a declaration. Whatever does not belong in one is a problem.
func read(source []byte) (*document, Problems) {
	r := &yamlReader{}
	if len(source) > maxSource {
		r.problems.add(place{line: 1}, "the declaration has %d bytes, at most %d are allowed", len(source), maxSource)
		return nil, r.problems
	}
	decoder := yaml.NewDecoder(bytes.NewReader(source))
	var root, more yaml.Node
	if err := decoder.Decode(&root); err != nil {
		r.syntax(err)
		return nil, r.problems
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		r.problems.add(place{line: max(more.Line, 1)}, "there is more than one document: one file is one projection")
		return nil, r.problems
	}
	if r.forbidden(&root, 0); len(r.problems) > 0 {
		return nil, r.problems
	}
	return r.document(root.Content[0]), r.problems
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(.*)$`)

// syntax words an error of the YAML library, which names a line where it knows one.
func (r *yamlReader) syntax(err error) {
	if errors.Is(err, io.EOF) {
		r.problems.add(place{line: 1}, "the declaration is empty")
		return
	}
	match := yamlLine.FindStringSubmatch(strings.ReplaceAll(err.Error(), "\n", " "))
	line, numberErr := strconv.Atoi(match[1])
	if numberErr != nil {
		line = 1
	}
	hint := ""
	if strings.Contains(match[2], "mapping values are not allowed") {
		hint = "; a text with a colon and a space in it needs quotes"
	}
	r.problems.add(place{line: line}, "this is no YAML: %s%s", match[2], hint)
}

// forbidden finds what a declaration does without: with aliases a short text can be a very long one.
func (r *yamlReader) forbidden(n *yaml.Node, depth int) {
	at := place{line: n.Line, column: n.Column}
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		r.problems.add(at, "a declaration has no anchors or aliases (& and *): write it out; a text that begins with one of them needs quotes")
		return
	case n.Style&yaml.TaggedStyle != 0:
		r.problems.add(at, "a declaration has no tags, such as %s", n.Tag)
	case depth > 8:
		r.problems.add(at, "nothing in a declaration is nested so deep")
		return
	}
	for _, inside := range n.Content {
		r.forbidden(inside, depth+1)
	}
}

// pair is one line of a mapping.
type pair struct {
	place
	key   string
	value *yaml.Node
}

// mapping reads the keys of a mapping, which must be among those known; none known: all are, as names that are chosen.
func (r *yamlReader) mapping(n *yaml.Node, at place, known ...string) []pair {
	if n.Kind != yaml.MappingNode {
		r.problems.add(at, "want a mapping, NAME: …%s", thereAre(known))
		return nil
	}
	pairs := make([]pair, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		here := place{line: key.Line, column: key.Column, field: at.field}
		switch {
		case key.Kind != yaml.ScalarNode:
			r.problems.add(here, "want a name before the colon")
		case slices.ContainsFunc(pairs, func(p pair) bool { return p.key == key.Value }):
			r.problems.add(here.under(key.Value), "it is there twice")
		case len(known) > 0 && !slices.Contains(known, key.Value):
			hint := suggest(key.Value, known)
			if n.Style&yaml.FlowStyle != 0 && !name.MatchString(key.Value) {
				hint = "; between { and } an expression with a comma needs quotes"
			}
			r.problems.add(here, "there is no key %s here%s", quote(key.Value), hint)
		case len(pairs) == maxNames:
			r.problems.add(here, "there are more than %d", maxNames)
			return pairs
		default:
			pairs = append(pairs, pair{here.under(key.Value), key.Value, n.Content[i+1]})
		}
	}
	return pairs
}

// scalar reads a text.
func (r *yamlReader) scalar(n *yaml.Node, at place) words {
	w := words{place: place{line: n.Line, column: n.Column, field: at.field}, text: n.Value}
	switch n.Style {
	case yaml.LiteralStyle, yaml.FoldedStyle:
		w.line++
		w.column = 1
	case yaml.DoubleQuotedStyle, yaml.SingleQuotedStyle:
		w.column++
	case yaml.TaggedStyle, yaml.FlowStyle:
	}
	switch {
	case n.Kind != yaml.ScalarNode:
		r.problems.add(w.place, "want a text, not %s", kindOf(n))
	case n.Tag == "!!null":
		r.problems.add(at, "there is nothing")
	}
	return w
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping (a text with { or with a colon and a space in it needs quotes)"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode, yaml.AliasNode, yaml.DocumentNode:
	}
	return "a text"
}

// texts reads a list of texts, or a single one.
func (r *yamlReader) texts(n *yaml.Node, at place) []words {
	if n.Kind != yaml.SequenceNode {
		return []words{r.scalar(n, at)}
	}
	if len(n.Content) > maxNames {
		r.problems.add(at, "there are more than %d", maxNames)
		return nil
	}
	all := make([]words, len(n.Content))
	for i, element := range n.Content {
		all[i] = r.scalar(element, at)
	}
	return all
}

// names reads named expressions: a mapping of names to expressions, or a list of such and of names that are expressions themselves.
func (r *yamlReader) names(n *yaml.Node, at place) []named {
	var all []named
	add := func(one named) {
		if slices.ContainsFunc(all, func(other named) bool { return other.name == one.name }) {
			r.problems.add(one.text.place, "%s is there twice", one.name)
			return
		}
		all = append(all, one)
	}
	switch {
	case n.Kind == yaml.MappingNode:
		for _, p := range r.mapping(n, at) {
			add(r.named(p))
		}
	case n.Kind == yaml.ScalarNode && n.Tag != "!!null":
		add(r.alone(n, at))
	case n.Kind == yaml.SequenceNode && len(n.Content) <= maxNames:
		for _, element := range n.Content {
			if element.Kind != yaml.MappingNode {
				add(r.alone(element, at))
				continue
			}
			for _, p := range r.mapping(element, at) {
				add(r.named(p))
			}
		}
	default:
		r.problems.add(at, "want a list or a mapping of names, at most %d", maxNames)
	}
	return all
}

var name = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

// chosen checks a name that the declaration makes.
func (r *yamlReader) chosen(chosen string, at place) {
	if !name.MatchString(chosen) {
		r.problems.add(at, "%s is no name: want letters a-z, digits and _, beginning with a letter, at most 40", quote(chosen))
	}
}

// alone reads a name that is an expression itself.
func (r *yamlReader) alone(n *yaml.Node, at place) named {
	w := r.scalar(n, at)
	if !name.MatchString(w.text) && n.Kind == yaml.ScalarNode {
		r.problems.add(w.place, "%s needs a name: write NAME: %s", quote(w.text), w.text)
	}
	w.place = w.under(w.text)
	return named{name: w.text, text: w}
}

// named reads an expression under its name, alone or with how it is shown.
func (r *yamlReader) named(p pair) named {
	r.chosen(p.key, p.place)
	one := named{name: p.key}
	if p.value.Kind != yaml.MappingNode {
		one.text = r.scalar(p.value, p.place)
		return one
	}
	for _, inside := range r.mapping(p.value, p.place, "value", "as") {
		switch inside.key {
		case "value":
			one.text = r.scalar(inside.value, inside.place)
		case "as":
			one.as = r.scalar(inside.value, inside.place)
		}
	}
	if one.text.line == 0 {
		one.text = words{place: p.place, text: p.key} // the name is the expression
	}
	return one
}
