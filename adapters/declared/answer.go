package declared

import (
	"fmt"
	"slices"

	"example.com/life/projections"
)

// spec describes the query to whoever asks it.
func (q *query) spec() projections.QuerySpec {
	spec := projections.QuerySpec{Name: q.name, Description: q.about, Columns: q.table, Params: []projections.Parameter{}}
	for i := range q.takes {
		p := &q.takes[i]
		spec.Params = append(spec.Params, projections.Parameter{Name: p.called, Description: p.about, Required: p.required, Check: p.check})
	}
	spec.Answer = projections.NewTable(q.table).Answer()
	return spec
}

// wantNumber checks a parameter that is a number.
func wantNumber(given string) error {
	var n int
	if _, err := fmt.Sscanf(given, "%d", &n); err != nil || fmt.Sprint(n) != given {
		return fmt.Errorf("want a whole number")
	}
	return nil
}

// row is a group as a query shows it.
type row struct {
	cells []any
	sort  []any
}

// Answer implements projections.Fold.
func (f *fold) Answer(asked projections.Query) (any, error) {
	i := slices.IndexFunc(f.of.queries, func(q *query) bool { return q.name == asked.Name })
	if i < 0 {
		return nil, fmt.Errorf("%w: there is no query %q", projections.ErrQuery, asked.Name)
	}
	q := f.of.queries[i]
	f.machine.meter.begin("the answer", maxAnswer)
	for j := range q.takes {
		p := &q.takes[j]
		f.machine.names[p.name] = p.otherwise
		if given, there := asked.Parameters[p.called]; there {
			f.machine.names[p.name] = p.read(given)
		}
	}
	most, err := f.limit(q)
	if err != nil {
		return nil, unanswered(q, err)
	}
	rows, err := f.rows(q)
	if err != nil {
		return nil, unanswered(q, err)
	}
	table := projections.NewTable(q.table)
	for _, r := range rows[:min(most, len(rows))] {
		table.Add(r.cells)
	}
	table.Note(projections.TableNotes{LeftOut: int64(max(0, len(rows)-most)), Unmatched: f.unmatched, Dropped: f.dropped})
	return table.Answer(), nil
}

// unanswered says that it is the question, or the declaration, that is wrong, and not history.
func unanswered(q *query, err error) error {
	return fmt.Errorf("%w: query %s cannot be computed: %w", projections.ErrQuery, q.name, err)
}

func (f *fold) limit(q *query) (int, error) {
	if q.limit == nil {
		return maxRows, nil
	}
	limit, err := f.machine.run(q.limit)
	if err != nil {
		return 0, err
	}
	most, _ := limit.(int) //nolint:errcheck // it was compiled to be one
	return max(0, most), nil
}

// rows computes the rows of a query, in its order; those that it does not tell apart are in the order of their keys.
func (f *fold) rows(q *query) (rows []row, err error) {
	if len(q.by) > 0 {
		rows, err = f.rowsBy(q)
	} else {
		err = f.each(q, func() error {
			r, err := f.row(q)
			rows = append(rows, r)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		for i := range q.sort {
			order := compare(a.sort[i], b.sort[i])
			if q.sort[i].descending {
				order = -order
			}
			if order != 0 {
				return order
			}
		}
		return 0
	})
	return rows, nil
}

// each goes over the groups that a query chooses, in the order of their keys.
func (f *fold) each(q *query, do func() error) error {
	for _, g := range f.sorted() {
		f.of.name(g, f.machine.names)
		holds, err := f.machine.holds(q.where)
		if err != nil {
			return err
		}
		if !holds {
			continue
		}
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// row computes the row of what the names say at present.
func (f *fold) row(q *query) (r row, err error) {
	r = row{cells: make([]any, len(q.columns)), sort: make([]any, len(q.sort))}
	for i := range q.columns {
		if r.cells[i], err = f.keepable(q.columns[i].value); err != nil {
			return r, err
		}
	}
	for i := range q.sort {
		if r.sort[i], err = f.machine.run(q.sort[i].by); err != nil {
			return r, err
		}
	}
	return r, nil
}
