package declared

import (
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/types"

	"example.com/life/projections"
)

// query checks one query.
func (l *loader) query(doc *querying, names types.Map) *query {
	q := &query{name: doc.name, about: l.about(doc.about)}
	all := types.Map{}
	for name, t := range names {
		all[name] = t
	}
	for i := range doc.takes {
		p := l.parameter(&doc.takes[i])
		q.takes = append(q.takes, p)
		all[p.name] = typeOf(p.shape)
	}
	in := newScope("a group, which has what key and fold name, and given", all, nil)
	q.where = l.optional(doc.where, in, truth)
	limit := in
	if doc.by != nil {
		if q.by = l.parts(doc.by, in, ""); len(q.by) < len(doc.by) {
			return q // what is wrong there would be wrong in every column again
		}
		in = l.together(q.by, in)
	}
	for _, column := range doc.columns {
		e := l.compile(column.text, in, unusable)
		if e == nil {
			continue
		}
		q.columns = append(q.columns, part{column.name, e})
		q.table = append(q.table, l.column(&column, e.shape))
	}
	for _, by := range doc.sort {
		text, descending := strings.CutSuffix(by.text, " desc")
		by.text = strings.TrimSuffix(text, " asc")
		if e := l.compile(by, in, unusable); e != nil {
			q.sort = append(q.sort, order{e, descending})
		}
	}
	q.limit = l.optional(doc.limit, limit, number)
	q.totals = in.totals
	return q
}

// together is what can be said of groups that are put together.
func (l *loader) together(by []part, each *scope) *scope {
	names := types.Map{}
	for name, t := range each.types {
		if strings.HasPrefix(name, "given.") {
			names[name] = t
		}
	}
	for _, p := range by {
		names[p.name] = typeOf(p.value.shape)
	}
	all := newScope("groups that by puts together, which have what by names, and sum, min and max of what each has", names, nil)
	all.inner = each
	return all
}

// column says how a column is shown.
func (l *loader) column(doc *named, s shape) projections.Column {
	c := projections.Column{Name: doc.name, As: projections.ColumnText}
	switch s {
	case number:
		c.As = projections.ColumnNumber
	case truth:
		c.As = projections.ColumnTruth
	case text, unusable, list, record:
	}
	as := projections.ColumnAs(doc.as.text)
	switch as {
	case "":
		return c
	case projections.ColumnMoney, projections.ColumnTime, projections.ColumnLength:
		if s != number {
			l.problems.add(doc.as.place, "only a number can be shown as %s, and %s is %s", as, doc.name, s)
		}
	case projections.ColumnText, projections.ColumnNumber, projections.ColumnTruth:
		l.problems.add(doc.as.place, "a column is shown as what it is; as is for numbers that are money, time or length")
	default:
		l.problems.add(doc.as.place, "as is %s, want money, time or length", quote(doc.as.text))
	}
	c.As = as
	if as == projections.ColumnLength {
		c.Name += "_us"
	}
	return c
}

// The kinds of parameters.
const (
	parameterText   = "text"
	parameterNumber = "number"
	parameterDay    = "day"
)

func (l *loader) parameter(doc *taking) parameter {
	p := parameter{name: "given." + doc.name, called: doc.name, shape: text, about: l.about(doc.about), required: doc.required.text == "true"}
	if slices.Contains(taken(), doc.name) {
		l.problems.add(doc.place, "a parameter cannot be called %s: it says what is asked, or as of when", doc.name)
	}
	if doc.required.line > 0 && doc.required.text != "true" && doc.required.text != "false" {
		l.problems.add(doc.required.place, "want true or false")
	}
	switch doc.as.text {
	case "", parameterText:
	case parameterDay:
		p.check = func(given string) error {
			_, err := projections.ParseDay(given)
			return err
		}
	case parameterNumber:
		p.shape, p.check = number, wantNumber
	default:
		l.problems.add(doc.as.place, "as is %s, want %s, %s or %s", quote(doc.as.text), parameterText, parameterNumber, parameterDay)
	}
	p.otherwise = zeroOf(p.shape)
	if doc.otherwise.line > 0 {
		if p.check != nil && p.check(doc.otherwise.text) != nil {
			l.problems.add(doc.otherwise.place, "%s is no %s", quote(doc.otherwise.text), doc.as.text)
		}
		p.otherwise = p.read(doc.otherwise.text)
	}
	return p
}

// read reads a checked value.
func (p *parameter) read(given string) any {
	if p.shape != number {
		return given
	}
	n, err := strconv.Atoi(given)
	if err != nil {
		return 0
	}
	return n
}
