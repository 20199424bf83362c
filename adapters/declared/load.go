package declared

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/types"

	"example.com/life/events"
)

// loader checks a document and makes a declaration of it. It goes on after a problem, so that all are said at once.
type loader struct {
	problems Problems
	nodes    int
	states   int // of patterns
}

// load reads, checks and compiles.
func load(source []byte) (*declaration, error) {
	document, problems := read(source)
	if document == nil {
		return nil, problems.err()
	}
	l := &loader{problems: problems}
	d := l.declaration(document)
	if err := l.problems.err(); err != nil {
		return nil, err
	}
	d.digest = events.HashBytes(source)
	return d, nil
}

var title = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

func (l *loader) declaration(doc *document) *declaration {
	d := &declaration{title: doc.name.text, about: l.about(doc.about)}
	if doc.name.line > 0 && !title.MatchString(d.title) {
		l.problems.add(doc.name.place, "%s is no name of a projection: want letters a-z, digits and -, beginning with a letter, at most 40", quote(d.title))
	}
	version, err := strconv.Atoi(doc.version.text)
	if doc.version.line > 0 && (err != nil || version < 1) {
		l.problems.add(doc.version.place, "the version is %s, want a number from 1, raised whenever the fold changes", quote(doc.version.text))
	}
	d.version = version
	d.on = l.kinds(doc.on)
	if doc.on != nil && len(doc.on) == 0 {
		l.problems.add(place{line: max(doc.name.line, 1), field: "on"}, "there is no kind of event in it")
	}
	vocabulary := vocabularyOf(listed(d.on))
	about := inEvents(d.on)
	event := newScope(about, vocabulary.types, vocabulary.refuse)
	all := types.Map{}
	add := func(name string, t types.Type) { all[name] = t }
	for name, t := range vocabulary.types {
		add(name, t)
	}
	var used []string
	for i := range doc.remember {
		m := l.memory(&doc.remember[i], event)
		d.remember = append(d.remember, m)
		used = append(used, usedBy(m.find)...)
		for _, p := range m.keep {
			add(p.name, typeOf(p.value.shape))
		}
	}
	found := newScope(about, all, vocabulary.refuse)
	d.when = l.optional(doc.when, found, truth)
	d.early = !slices.ContainsFunc(usedBy(d.when), func(name string) bool { return vocabulary.types[name] == nil })
	used = append(used, usedBy(d.when)...)
	d.key = l.parts(doc.key, found, "")
	for _, p := range d.key {
		used = append(used, p.value.used...)
	}
	d.fold = l.folds(doc, found, all)
	for _, f := range d.fold {
		used = append(used, usedBy(f.then)...)
	}
	d.reader = vocabulary.reads(used)
	if len(l.problems) == 0 { // else what is wrong here would be wrong there again
		l.answers(doc, d)
	}
	return d
}

func (l *loader) about(about words) string {
	if strings.ContainsAny(about.text, "\n\r\t") || len(about.text) > 200 {
		l.problems.add(about.place, "want one line of at most 200 bytes")
	}
	return about.text
}

// kinds reads kinds of events; the name of a family and .* are all of it.
func (l *loader) kinds(listed []words) map[events.Kind]bool {
	kinds := map[events.Kind]bool{}
	var names []string
	for i := range events.Catalog {
		names = append(names, string(events.Catalog[i].Kind))
	}
	for _, w := range listed {
		family, all := strings.CutSuffix(w.text, "*")
		matched := false
		for _, name := range names {
			if name == w.text || all && strings.HasSuffix(family, ".") && strings.HasPrefix(name, family) {
				matched = true
				kinds[events.Kind(name)] = true
			}
		}
		if !matched && w.text != "" {
			near := meant(w.text, names)
			if near == "" {
				near = "; docs/events.md lists the kinds, and NAME.* is a whole family"
			}
			l.problems.add(w.place, "there is no kind of event %s%s", quote(w.text), near)
		}
	}
	return kinds
}

// listed lists kinds in the order of the catalogue. Where none is known, because they were misspelt, all are.
func listed(kinds map[events.Kind]bool) []events.Kind {
	var all []events.Kind
	for i := range events.Catalog {
		if kinds[events.Catalog[i].Kind] {
			all = append(all, events.Catalog[i].Kind)
		}
	}
	return all
}

// inEvents says where a name was looked for.
func inEvents(kinds map[events.Kind]bool) string {
	names := listed(kinds)
	if len(names) == 0 || len(names) > 4 {
		return "these events"
	}
	texts := make([]string, len(names))
	for i, kind := range names {
		texts[i] = string(kind)
	}
	return strings.Join(texts, " or ")
}

func typeOf(s shape) types.Type {
	switch s {
	case number:
		return types.Int
	case truth:
		return types.Bool
	case text, unusable, list, record:
	}
	return types.String
}

func zeroOf(s shape) any {
	switch s {
	case number:
		return 0
	case truth:
		return false
	case text, unusable, list, record:
	}
	return ""
}

// usedBy lists the names that an expression uses, if there is one.
func usedBy(e *expression) []string {
	if e == nil {
		return nil
	}
	return e.used
}

// compile compiles an expression that gives something of a shape (unusable: of any that can be kept). What is wrong is a problem,
// and then it is nil.
func (l *loader) compile(source words, in *scope, want shape) *expression {
	if source.line == 0 {
		return nil
	}
	e, err := compile(source.text, in)
	if err != nil {
		l.wrong(source, err)
		return nil
	}
	e.at = source.place
	switch {
	case e.shape == unusable:
		l.problems.add(source.place, "this may be one thing or another: want a text, a number, or true or false, whatever the event is")
		return nil
	case want != unusable && e.shape != want:
		l.problems.add(source.place, "want %s, and this is %s", want, e.shape)
		return nil
	case !single(e.shape):
		l.problems.add(source.place, "want a text, a number, or true or false, and this is %s", e.shape)
		return nil
	}
	if l.states += e.states; l.states > maxAllStates && l.states-e.states <= maxAllStates {
		l.problems.add(source.place, "all patterns together take more than %d steps for each character", maxAllStates)
	}
	before := l.nodes
	if l.nodes += e.nodes; l.nodes > maxAllNodes && before <= maxAllNodes {
		l.problems.add(source.place, "all expressions together have more than %d names, values and operators", maxAllNodes)
	}
	return e
}

// wrong says what is wrong with an expression, and where in the file.
func (l *loader) wrong(source words, err error) {
	m, is := err.(*mistake) //nolint:errorlint // compile returns no other
	if !is {
		l.problems.add(source.place, "%v", err)
		return
	}
	at := source.place
	if m.line > 0 {
		at.column = 1
	}
	at.line, at.column = at.line+m.line, at.column+m.column
	l.problems.add(at, "%s", m.text)
}

// optional compiles an expression that may be missing.
func (l *loader) optional(source words, in *scope, want shape) *expression {
	return l.compile(source, in, want)
}

// parts compiles named expressions; prefix is what they are found under.
func (l *loader) parts(all []named, in *scope, prefix string) []part {
	parts := make([]part, 0, len(all))
	for _, one := range all {
		if e := l.compile(one.text, in, unusable); e != nil {
			parts = append(parts, part{prefix + one.name, e})
		}
	}
	return parts
}

// reserved are names that mean something in every expression.
func reserved() []string { return []string{"state", "given"} }

// memory checks one part of remember.
func (l *loader) memory(doc *remembering, later *scope) *memory {
	if slices.Contains(reserved(), doc.name) || later.types[doc.name] != nil || later.groups[doc.name] != nil {
		l.problems.add(doc.place, "%s already is something in expressions: choose another name", doc.name)
	}
	m := &memory{name: doc.name, on: l.kinds(doc.on), once: true}
	vocabulary := vocabularyOf(listed(m.on))
	earlier := newScope(inEvents(m.on), vocabulary.types, vocabulary.refuse)
	m.when = l.optional(doc.when, earlier, truth)
	m.under = l.compile(doc.under, earlier, text)
	m.find = l.compile(doc.find, later, text)
	m.keep = l.parts(doc.keep, earlier, doc.name+".")
	used := append(usedBy(m.when), usedBy(m.under)...)
	for _, p := range m.keep {
		used = append(used, p.value.used...)
		m.zeros = append(m.zeros, zeroOf(p.value.shape))
	}
	m.reader = vocabulary.reads(used)
	switch doc.forget.text {
	case "", "when found":
	case "never":
		m.once = false
	default:
		l.problems.add(doc.forget.place, "forget is %s, want \"when found\" or \"never\"", quote(doc.forget.text))
	}
	return m
}
