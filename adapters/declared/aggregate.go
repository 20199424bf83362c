package declared

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
)

// A query with by puts together the groups that have the same values there, and sum, min and max of one thing go over those groups.
// Each is cut out of its expression and compiled by itself, as an expression about a group; where it stood is the name of its result.

// aggregate is one of them.
type aggregate struct {
	name  string // of the result
	how   string // sum, min or max
	value *expression
}

// aggregates lists what goes over groups.
func aggregates() []string { return []string{"sum", "min", "max"} }

// aggregator cuts aggregates out of an expression.
type aggregator struct {
	inner *scope // what groups have
	outer *scope // learns the names of results
	wrong string
	at    file.Location
}

// Visit implements ast.Visitor.
func (a *aggregator) Visit(node *ast.Node) {
	how, argument := aggregated(*node)
	if how == "" || a.wrong != "" {
		return
	}
	a.at = (*node).Location()
	if ast.Find(argument, isTotal) != nil {
		a.wrong = "sum, min and max go over what groups have, not over each other"
		return
	}
	value, err := compile(argument.String(), a.inner)
	var wrong *mistake
	switch {
	case errors.As(err, &wrong):
		a.wrong = "within " + how + ", " + wrong.text
	case how == "sum" && value.shape != number:
		a.wrong = fmt.Sprintf("sum goes over numbers, and this is %s", value.shape)
	case value.shape != number && value.shape != text:
		a.wrong = fmt.Sprintf("%s goes over numbers or texts, and this is %s", how, value.shape)
	}
	if a.wrong != "" {
		return
	}
	name := how + " " + argument.String() // no name that can be written
	if a.outer.types[name] == nil {
		a.outer.types[name] = typeOf(value.shape)
		a.outer.totals = append(a.outer.totals, aggregate{name, how, value})
	}
	ast.Patch(node, &ast.IdentifierNode{Value: name})
}

// isTotal reports whether a node is what an aggregate was replaced with.
func isTotal(node ast.Node) bool {
	name, is := node.(*ast.IdentifierNode)
	return is && strings.Contains(name.Value, " ")
}

// aggregated takes an aggregate apart; of anything else how is empty.
func aggregated(node ast.Node) (how string, argument ast.Node) {
	switch n := node.(type) {
	case *ast.BuiltinNode:
		if slices.Contains(aggregates(), n.Name) && len(n.Arguments) == 1 {
			return n.Name, n.Arguments[0]
		}
	case *ast.CallNode:
		if callee, is := n.Callee.(*ast.IdentifierNode); is && slices.Contains(aggregates(), callee.Value) && len(n.Arguments) == 1 {
			return callee.Value, n.Arguments[0]
		}
	}
	return "", nil
}

// together is the groups that have the same values in by.
type together struct {
	by     []any
	totals []any
}

// rowsBy computes the rows of a query with by.
func (f *fold) rowsBy(q *query) ([]row, error) {
	found := map[string]*together{}
	err := f.each(q, func() error {
		by, err := f.compute(q.by)
		if err != nil {
			return err
		}
		id := identify(by)
		t := found[id]
		if t == nil {
			t = &together{by: by}
			found[id] = t
		}
		return f.total(q, t)
	})
	if err != nil {
		return nil, err
	}
	all := make([]*together, 0, len(found))
	for _, t := range found {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *together) int { return slices.CompareFunc(a.by, b.by, compare) })
	var rows []row
	for _, t := range all {
		for i := range q.by {
			f.machine.names[q.by[i].name] = t.by[i]
		}
		for i := range q.totals {
			f.machine.names[q.totals[i].name] = t.totals[i]
		}
		r, err := f.row(q)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// total adds a group to those that it belongs to.
func (f *fold) total(q *query, t *together) error {
	first := t.totals == nil
	if first {
		t.totals = make([]any, len(q.totals))
	}
	for i, total := range q.totals {
		value, err := f.machine.run(total.value)
		switch {
		case err != nil:
			return err
		case first:
		case total.how == "sum":
			value, err = plus(t.totals[i], value)
		case total.how == "min" && compare(t.totals[i], value) < 0, total.how == "max" && compare(t.totals[i], value) > 0:
			value = t.totals[i]
		}
		if err != nil {
			return total.value.failed(err)
		}
		t.totals[i] = value
	}
	return nil
}
