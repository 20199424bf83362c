package declared

import (
	"reflect"
	"slices"
	"strconv"

	"github.com/expr-lang/expr/types"
	"go.yaml.in/yaml/v3"
)

// folds checks the fields of the groups.
func (l *loader) folds(doc *document, event *scope, names types.Map) []field {
	in := types.Map{}
	for name, t := range names {
		in[name] = t
	}
	fields := make([]field, len(doc.fold))
	for i := range doc.fold {
		f := &doc.fold[i]
		fields[i] = field{name: f.name, state: "state." + f.name, start: l.start(f)}
		if fields[i].start != nil {
			in[fields[i].state] = types.TypeOf(fields[i].start)
		}
		if slices.ContainsFunc(doc.key, func(k named) bool { return k.name == f.name }) {
			l.problems.add(f.place, "%s is a name of the key already", f.name)
		}
	}
	about := event.about + ", and in state"
	infer(doc.fold, fields, about, in, event.refuse)
	scope := newScope(about, in, event.refuse)
	for i := range fields {
		if fields[i].start != nil {
			fields[i].then = l.compile(doc.fold[i].then, scope, shapeOf(reflect.TypeOf(fields[i].start)))
			continue
		}
		alone := types.Map{fields[i].state: types.Int} // so that what is wrong is not that it asks for itself
		for name, t := range in {
			alone[name] = t
		}
		l.compile(doc.fold[i].then, newScope(about, alone, event.refuse), number)
	}
	return fields
}

// infer finds what fields without a first value begin with: 0, "" or false, as what then makes of it is of that type too.
func infer(doc []folding, fields []field, about string, in types.Map, refuse map[string]string) {
	for progress := true; progress; {
		progress = false
		for i := range fields {
			if fields[i].start != nil || doc[i].start != nil || doc[i].then.line == 0 {
				continue
			}
			for _, start := range []any{0, "", false} {
				in[fields[i].state] = types.TypeOf(start)
				e, err := compile(doc[i].then.text, newScope(about, in, refuse))
				if err == nil && e.shape == shapeOf(reflect.TypeOf(start)) {
					fields[i].start, progress = start, true
					break
				}
				delete(in, fields[i].state)
			}
		}
	}
}

// start reads the first value of a field, whose type is that of the field.
func (l *loader) start(doc *folding) any {
	if doc.start == nil {
		return nil
	}
	at := place{line: doc.start.Line, column: doc.start.Column, field: doc.field}.under("start")
	switch {
	case doc.start.Kind != yaml.ScalarNode:
	case doc.start.Tag == "!!str" && len(doc.start.Value) <= maxText:
		return doc.start.Value
	case doc.start.Tag == "!!bool":
		return doc.start.Value == "true"
	case doc.start.Tag == "!!int":
		if n, err := strconv.Atoi(doc.start.Value); err == nil {
			return n
		}
	}
	l.problems.add(at, "want a whole number, a text in quotes, or true or false")
	return nil
}

// answers checks the queries and what is kept.
func (l *loader) answers(doc *document, d *declaration) {
	names := types.Map{}
	for _, p := range d.key {
		names[p.name] = typeOf(p.value.shape)
	}
	for _, f := range d.fold {
		if f.start != nil {
			names[f.name] = types.TypeOf(f.start)
		}
	}
	group := newScope("a group, which has what key and fold name", names, nil)
	if doc.keep.line > 0 {
		l.keeps(&doc.keep, d, group)
	}
	for i := range doc.answer {
		d.queries = append(d.queries, l.query(&doc.answer[i], names))
	}
}

func (l *loader) keeps(doc *keeping, d *declaration, group *scope) {
	most, err := strconv.Atoi(doc.groups.text)
	if doc.groups.line > 0 && (err != nil || most < 1 || most > maxGroups) {
		l.problems.add(doc.groups.place, "groups is %s, want a number from 1 to %d", quote(doc.groups.text), maxGroups)
	}
	d.most = most
	d.by = l.compile(doc.by, group, unusable)
}

// A query has these parameters already: they say what is asked, and as of when.
func taken() []string { return []string{"query", "at", "min"} }
