package declared

import "go.yaml.in/yaml/v3"

// document reads the whole of a declaration, in the order in which it is best read.
func (r *yamlReader) document(n *yaml.Node) *document {
	d, top := &document{}, place{line: n.Line, column: n.Column}
	for _, p := range r.mapping(n, top, "name", "version", "about", "on", "when", "remember", "key", "fold", "keep", "answer") {
		switch p.key {
		case "name":
			d.name = r.scalar(p.value, p.place)
		case "version":
			d.version = r.scalar(p.value, p.place)
		case "about":
			d.about = r.scalar(p.value, p.place)
		case "on":
			d.on = r.texts(p.value, p.place)
		case "when":
			d.when = r.scalar(p.value, p.place)
		case "remember":
			for _, inside := range r.mapping(p.value, p.place) {
				d.remember = append(d.remember, r.remembering(inside))
			}
		case "key":
			d.key = r.names(p.value, p.place)
		case "fold":
			for _, inside := range r.mapping(p.value, p.place) {
				d.fold = append(d.fold, r.folding(inside))
			}
		case "keep":
			d.keep = r.keeping(p)
		case "answer":
			for _, inside := range r.mapping(p.value, p.place) {
				d.answer = append(d.answer, r.querying(inside))
			}
		}
	}
	for _, needed := range []struct {
		key   string
		there bool
	}{
		{"name", d.name.line > 0},
		{"version", d.version.line > 0},
		{"about", d.about.line > 0},
		{"on", d.on != nil},
		{"fold", d.fold != nil},
		{"answer", d.answer != nil},
	} {
		if !needed.there && n.Kind == yaml.MappingNode {
			r.problems.add(place{line: top.line, field: needed.key}, "it is missing: a declaration has name, version, about, on, fold and answer")
		}
	}
	return d
}

func (r *yamlReader) remembering(p pair) remembering {
	r.chosen(p.key, p.place)
	m := remembering{place: p.place, name: p.key}
	for _, inside := range r.mapping(p.value, p.place, "on", "when", "under", "keep", "find", "forget") {
		switch inside.key {
		case "on":
			m.on = r.texts(inside.value, inside.place)
		case "when":
			m.when = r.scalar(inside.value, inside.place)
		case "under":
			m.under = r.scalar(inside.value, inside.place)
		case "keep":
			m.keep = r.names(inside.value, inside.place)
		case "find":
			m.find = r.scalar(inside.value, inside.place)
		case "forget":
			m.forget = r.scalar(inside.value, inside.place)
		}
	}
	if p.value.Kind == yaml.MappingNode && (m.on == nil || m.under.line == 0 || m.find.line == 0 || m.keep == nil) {
		r.problems.add(p.place, "want on (which earlier events), under (what each is remembered under), keep (what of it) and find (what the later event finds it by)")
	}
	return m
}

// folding reads what becomes of a field with each event, alone or with its first value.
func (r *yamlReader) folding(p pair) folding {
	r.chosen(p.key, p.place)
	f := folding{place: p.place, name: p.key}
	if p.value.Kind != yaml.MappingNode {
		f.then = r.scalar(p.value, p.place)
		return f
	}
	for _, inside := range r.mapping(p.value, p.place, "start", "then") {
		switch inside.key {
		case "start":
			f.start = inside.value
		case "then":
			f.then = r.scalar(inside.value, inside.place)
		}
	}
	if f.then.line == 0 {
		r.problems.add(p.place, "want then: what the field is after each event, such as state.%s + 1", p.key)
	}
	return f
}

func (r *yamlReader) keeping(p pair) keeping {
	k := keeping{place: p.place}
	for _, inside := range r.mapping(p.value, p.place, "groups", "by") {
		switch inside.key {
		case "groups":
			k.groups = r.scalar(inside.value, inside.place)
		case "by":
			k.by = r.scalar(inside.value, inside.place)
		}
	}
	if p.value.Kind == yaml.MappingNode && (k.groups.line == 0 || k.by.line == 0) {
		r.problems.add(p.place, "want groups (how many are kept) and by (a number or a text: those with the least are dropped first)")
	}
	return k
}

func (r *yamlReader) querying(p pair) querying {
	r.chosen(p.key, p.place)
	q := querying{place: p.place, name: p.key}
	for _, inside := range r.mapping(p.value, p.place, "about", "takes", "where", "by", "columns", "sort", "limit") {
		switch inside.key {
		case "about":
			q.about = r.scalar(inside.value, inside.place)
		case "takes":
			for _, parameter := range r.mapping(inside.value, inside.place) {
				q.takes = append(q.takes, r.taking(parameter))
			}
		case "where":
			q.where = r.scalar(inside.value, inside.place)
		case "by":
			q.by = r.names(inside.value, inside.place)
		case "columns":
			q.columns = r.names(inside.value, inside.place)
		case "sort":
			q.sort = r.texts(inside.value, inside.place)
		case "limit":
			q.limit = r.scalar(inside.value, inside.place)
		}
	}
	if p.value.Kind == yaml.MappingNode && (q.about.line == 0 || q.columns == nil) {
		r.problems.add(p.place, "want about (what it answers) and columns (of each row)")
	}
	return q
}

// taking reads a parameter: what it is about, alone or with more.
func (r *yamlReader) taking(p pair) taking {
	r.chosen(p.key, p.place)
	t := taking{place: p.place, name: p.key}
	if p.value.Kind != yaml.MappingNode {
		t.about = r.scalar(p.value, p.place)
		return t
	}
	for _, inside := range r.mapping(p.value, p.place, "about", "as", "required", "otherwise") {
		switch inside.key {
		case "about":
			t.about = r.scalar(inside.value, inside.place)
		case "as":
			t.as = r.scalar(inside.value, inside.place)
		case "required":
			t.required = r.scalar(inside.value, inside.place)
		case "otherwise":
			t.otherwise = r.scalar(inside.value, inside.place)
		}
	}
	if t.about.line == 0 {
		r.problems.add(p.place, "want about: what the parameter says")
	}
	return t
}
