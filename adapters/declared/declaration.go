package declared

import (
	"fmt"

	"example.com/life/events"
	"example.com/life/projections"
)

// declaration is a projection as it was declared, checked and compiled. Folds of it share it, and nobody changes it.
type declaration struct {
	title   string
	version int
	about   string
	digest  string // of the source: a state is restored into the declaration that saved it

	on       map[events.Kind]bool
	reader   *reader
	remember []*memory
	when     *expression // nil: always
	early    bool        // when asks nothing of earlier events, so it is asked before they are looked for
	key      []part
	fold     []field
	most     int         // groups that are kept; 0: all
	by       *expression // those with the least are dropped first
	queries  []*query
}

// part is a named value of an event: of its key, or of what is remembered of it.
type part struct {
	name  string // as expressions find it
	value *expression
}

// field is a value of each group.
type field struct {
	name  string
	state string // as then finds it
	start any
	then  *expression
}

// memory remembers earlier events, so that later ones can ask what they said.
type memory struct {
	name   string
	on     map[events.Kind]bool
	reader *reader
	when   *expression // nil: always
	under  *expression
	keep   []part
	zeros  []any // of keep
	find   *expression
	once   bool // forgotten when found
}

// query is one query of a declaration.
type query struct {
	name    string
	about   string
	takes   []parameter
	where   *expression // nil: every group
	by      []part      // groups that have the same here are put together; none: each is by itself
	totals  []aggregate // of groups that are put together
	columns []part
	table   []projections.Column
	sort    []order
	limit   *expression // nil: maxRows
}

type parameter struct {
	name      string // as expressions find it
	called    string // as it is given
	about     string
	required  bool
	shape     shape
	check     func(string) error // nil: any text
	otherwise any                // where it is not given
}

type order struct {
	by         *expression
	descending bool
}

// Parse reads a declaration, checks it against the catalogue of events, and returns its projection. What is wrong with it is a
// Problems, which names the line and the field of each.
func Parse(source []byte) (projections.Spec, error) {
	d, err := load(source)
	if err != nil {
		return projections.Spec{}, err
	}
	return d.spec(), nil
}

func (d *declaration) spec() projections.Spec {
	spec := projections.Spec{Name: d.title, Version: d.version, Description: d.about, Kinds: d.kinds(), New: func() projections.Fold { return newFold(d) }}
	for _, q := range d.queries {
		spec.Queries = append(spec.Queries, q.spec())
	}
	return spec
}

// kinds lists what the projection folds and what it remembers, in the order of the catalogue.
func (d *declaration) kinds() []string {
	var kinds []string
	for i := range events.Catalog {
		kind := events.Catalog[i].Kind
		needed := d.on[kind]
		for _, m := range d.remember {
			needed = needed || m.on[kind]
		}
		if needed {
			kinds = append(kinds, string(kind))
		}
	}
	return kinds
}

// The shapes that can be kept and answered.
func single(s shape) bool { return s == text || s == number || s == truth }

// fits checks a value before it is kept.
func (e *expression) fits(value any) error {
	if kept, is := value.(string); is && len(kept) > maxText {
		return e.failed(fmt.Errorf("the text has %d bytes, at most %d can be kept; cut(text, 100) is its beginning", len(kept), maxText))
	}
	return nil
}
