package declared

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/checker"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/types"

	"example.com/life/events/pattern"
)

// meter counts what the expressions of one event, or of one answer, take beyond their nodes: reading texts, which may be long, and
// matching them. It counts what a text may take, not what it took, so that an event stops a projection on every host or on none.
type meter struct {
	left, most int
	what       string
}

// begin counts anew.
func (m *meter) begin(what string, most int) { m.what, m.left, m.most = what, most, most }

// bytesPerStep is how many bytes of a text are read in the time of one step.
const bytesPerStep = 8

func (m *meter) take(steps int) error {
	if m.left -= steps; m.left < 0 {
		return fmt.Errorf("%s takes more than %d steps: look at less of the text, as cut(text, 1000), or use smaller patterns", m.what, m.most)
	}
	return nil
}

// meterName is what expressions find the meter under. It cannot be written.
const meterName = " meter"

// metered lists the functions that expressions call with the meter in place of what was written.
func metered() []function {
	return []function{
		{name: " text", call: readText, types: []any{new(func(*meter, string) string)}},
		{name: " matches", call: matchText, types: []any{new(func(*meter, string, *pattern.Pattern) bool)}},
		{name: " value", call: readValue, types: []any{new(func(*meter, string, string) string)}},
	}
}

func readText(params ...any) (any, error) {
	m, text := params[0].(*meter), params[1].(string) //nolint:errcheck,forcetypeassert // their types were checked when the expression was compiled
	return text, m.take(1 + len(text)/bytesPerStep)
}

func matchText(params ...any) (any, error) {
	m, text, wanted := params[0].(*meter), params[1].(string), params[2].(*pattern.Pattern) //nolint:errcheck,forcetypeassert // as above
	if err := m.take(wanted.Steps(len(text))); err != nil {
		return nil, err
	}
	return wanted.Match(text), nil
}

func readValue(params ...any) (any, error) {
	m, source, path := params[0].(*meter), params[1].(string), params[2].(string) //nolint:errcheck,forcetypeassert // as above
	return value(m, source, path)
}

// metering has an expression whose types are known take its steps from the meter, and compiles its patterns.
type metering struct{ err error }

// Visit implements ast.Visitor: the parts of a node come before it.
func (m *metering) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.BinaryNode:
		m.binary(node, n)
	case *ast.BuiltinNode:
		if len(n.Arguments) > 0 {
			noted(&n.Arguments[0])
		}
	case *ast.CallNode:
		m.call(n)
	}
}

func (m *metering) binary(node *ast.Node, n *ast.BinaryNode) {
	_, constant := n.Right.(*ast.StringNode)
	switch {
	case n.Operator == "matches" && constant:
		compiled, err := pattern.CompileUpTo(maxStates, n.Right.(*ast.StringNode).Value) //nolint:forcetypeassert,errcheck // it is a constant
		if err != nil {
			m.err = err
			return
		}
		ast.Patch(node, call(" matches", meterNode(), n.Left, &ast.ConstantNode{Value: compiled}))
	case n.Operator == "contains", n.Operator == "in", !constant:
		noted(&n.Left)
	}
}

// call counts what functions read. Of those that take two texts the second is read only as far as the first, or joined to it.
func (m *metering) call(n *ast.CallNode) {
	callee, named := n.Callee.(*ast.IdentifierNode)
	if !named || slices.ContainsFunc(metered(), func(f function) bool { return f.name == callee.Value }) {
		return
	}
	if callee.Value == "value" {
		n.Callee = &ast.IdentifierNode{Value: " value"}
		n.Arguments = append([]ast.Node{meterNode()}, n.Arguments...)
		return
	}
	for i := range n.Arguments {
		noted(&n.Arguments[i])
	}
}

// noted counts the reading of a text that may be long.
func noted(node *ast.Node) {
	if _, constant := (*node).(*ast.StringNode); constant || (*node).Type() == nil || (*node).Type().Kind() != reflect.String {
		return
	}
	ast.Patch(node, call(" text", meterNode(), *node))
}

func meterNode() ast.Node { return &ast.IdentifierNode{Value: meterName} }

// count makes a checked tree one that takes its steps from the meter.
func count(tree *parser.Tree, config *conf.Config, env types.Map) error {
	m := &metering{}
	if ast.Walk(&tree.Node, m); m.err != nil {
		return m.err
	}
	all := maps.Clone(env)
	all[meterName] = types.TypeOf(&meter{})
	config.WithEnv(all)
	_, err := checker.Check(tree, config)
	return err
}
