package declared

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/types"

	"example.com/life/events/pattern"
)

// builtins lists those of expr that expressions can use. Left out are those that see the clock, make fractions, give what may be
// nothing, or make something that is much larger than what they are given.
func builtins() []string {
	return []string{
		"all", "any", "none", "one", "count", "len", "lower", "upper", "trim", "trimPrefix", "trimSuffix",
	}
}

// operators lists those of expr that expressions can use.
func operators() []string {
	return []string{
		"+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "and", "&&", "or", "||", "not", "!", "in", "contains", "startsWith", "endsWith", "matches",
	}
}

// arithmetic is done by functions of ours.
func arithmetic() []string { return []string{"+", "-", "*", "/", "%"} }

// language holds an expression to the part of expr that is bounded and gives everybody the same, and finds the names in it.
//
//   - A name with dots, such as usage.input, becomes one name, so that its value is found at once.
//   - Arithmetic becomes calls of functions, which notice what does not fit.
type language struct {
	scope *scope
	used  []string
	nodes int

	states int                          // of patterns
	loops  bool                         // it goes through a list
	open   map[*ast.IdentifierNode]bool // names of groups of fields that no field was taken of yet
	calls  map[ast.Node]bool            // names that are called
	wrong  string
	at     file.Location
}

// check walks an expression and changes it; it returns what is not allowed, and where.
func (l *language) check(tree *ast.Node) (string, file.Location) {
	l.open, l.calls = map[*ast.IdentifierNode]bool{}, map[ast.Node]bool{}
	ast.Walk(tree, first{l})
	ast.Walk(tree, l)
	if l.wrong == "" {
		for name := range l.open {
			l.refuse(name, "%s is a group of fields: %s", name.Value, strings.Join(l.scope.groups[name.Value], ", "))
		}
	}
	return l.wrong, l.at
}

// first finds what is called, so that the name of a function is not taken for a field, and what makes names of its own.
type first struct{ *language }

// Visit implements ast.Visitor.
func (f first) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.CallNode:
		f.calls[n.Callee] = true
	case *ast.VariableDeclaratorNode, *ast.SequenceNode:
		f.refuse(n, "%s", foreign(n))
	}
}

// Visit implements ast.Visitor: the parts of a node come before it.
func (l *language) Visit(node *ast.Node) {
	l.nodes++
	switch n := (*node).(type) {
	case *ast.IntegerNode, *ast.BoolNode, *ast.StringNode, *ast.ConditionalNode, *ast.ArrayNode, *ast.PointerNode, *ast.CallNode:
		return
	case *ast.IdentifierNode:
		l.identifier(n)
	case *ast.MemberNode:
		l.member(node, n)
	case *ast.UnaryNode:
		l.unary(node, n)
	case *ast.BinaryNode:
		l.binary(node, n)
	case *ast.BuiltinNode:
		if !slices.Contains(builtins(), n.Name) {
			l.refuse(n, "%s", noFunction(n.Name))
		}
	case *ast.PredicateNode:
		l.loops = true
		inside := ast.Find(n.Node, func(part ast.Node) bool {
			_, is := part.(*ast.PredicateNode)
			return is
		})
		if inside != nil {
			l.refuse(n, "a condition on the elements of a list cannot look through a list again")
		}
	default:
		l.refuse(n, "%s", foreign(n))
	}
}

// steps is what the expression takes, with every list as long as it may be.
func (l *language) steps() int {
	switch {
	case !l.loops:
		return l.nodes
	case slices.ContainsFunc(l.used, func(name string) bool { return isList(l.scope.types[name]) }):
		return l.nodes * maxList
	}
	return l.nodes * l.nodes // the list is written out in it
}

func isList(t types.Type) bool {
	nature := t.Nature()
	return nature.Kind == reflect.Slice
}

// foreign says what to write instead of what expressions do not have.
func foreign(node ast.Node) string {
	switch node.(type) {
	case *ast.FloatNode:
		return "there are no fractions: money is in micro-dollars, 1000000 to the dollar, and time in microseconds"
	case *ast.NilNode:
		return "there is no nil: what an event does not have is 0, \"\", false or an empty list"
	case *ast.SliceNode:
		return "there are no slices; cut(text, 100) is the beginning of a text"
	case *ast.VariableDeclaratorNode, *ast.SequenceNode:
		return "there are no variables: an expression is one value"
	case *ast.ChainNode:
		return "?. is not needed: what an event does not have is 0, \"\", false or an empty list"
	}
	return "this is not part of the language of expressions"
}

func (l *language) refuse(node ast.Node, format string, args ...any) {
	if l.wrong == "" {
		l.wrong, l.at = fmt.Sprintf(format, args...), node.Location()
	}
}

func (l *language) identifier(n *ast.IdentifierNode) {
	switch {
	case l.calls[n]:
		if !slices.ContainsFunc(functions(), func(f function) bool { return f.about != "" && f.name == n.Value }) {
			l.refuse(n, "%s", noFunction(n.Value))
		}
	case l.scope.types[n.Value] != nil:
		l.use(n)
	case len(l.scope.groups[n.Value]) > 0:
		l.open[n] = true
	default:
		l.unknown(n, n.Value)
	}
}

// use notes a name, unless it cannot be used.
func (l *language) use(n *ast.IdentifierNode) {
	if why := l.scope.refuse[n.Value]; why != "" {
		l.refuse(n, "%s", why)
	}
	if !slices.Contains(l.used, n.Value) {
		l.used = append(l.used, n.Value)
	}
}

func (l *language) unknown(at ast.Node, name string) {
	if why := l.scope.refuse[name]; why != "" {
		l.refuse(at, "%s", why)
		return
	}
	names := l.scope.names()
	l.refuse(at, "there is no %s in %s%s", name, l.scope.about, suggest(name, names))
}

// member joins a group of fields and the name of one.
func (l *language) member(node *ast.Node, n *ast.MemberNode) {
	group, is := n.Node.(*ast.IdentifierNode)
	property, named := n.Property.(*ast.StringNode)
	switch {
	case n.Optional:
		l.refuse(n, "%s", foreign(&ast.ChainNode{}))
		return
	case !named:
		l.refuse(n, "single elements cannot be taken from a list: any(calls, .tool == \"bash\") asks about all of them, first(messages) is the first text")
		return
	case !is: // of an element of a list
		return
	case !l.open[group]:
		if l.wrong == "" && l.scope.types[group.Value] != nil && l.scope.types[group.Value].Nature().Type != nil {
			l.refuse(n, "%s is %s and has no field %s", group.Value, shapeOf(l.scope.types[group.Value].Nature().Type), property.Value)
		}
		return
	}
	delete(l.open, group)
	joined := &ast.IdentifierNode{Value: group.Value + "." + property.Value}
	ast.Patch(node, joined)
	l.identifier(joined)
}

func (l *language) unary(node *ast.Node, n *ast.UnaryNode) {
	switch _, constant := n.Node.(*ast.IntegerNode); {
	case n.Operator == "-" && !constant:
		ast.Patch(node, call("-", &ast.IntegerNode{}, n.Node))
	case n.Operator != "-" && n.Operator != "+" && !slices.Contains(operators(), n.Operator):
		l.refuse(n, "there is no operator %s", n.Operator)
	}
}

func (l *language) binary(node *ast.Node, n *ast.BinaryNode) {
	_, constant := n.Right.(*ast.StringNode)
	switch {
	case n.Operator == "matches" && !constant:
		l.refuse(n, "matches wants a pattern in quotes")
	case n.Operator == "matches":
		l.pattern(n, n.Right.(*ast.StringNode).Value) //nolint:forcetypeassert,errcheck // it is a constant
	case slices.Contains(arithmetic(), n.Operator):
		ast.Patch(node, call(n.Operator, n.Left, n.Right))
	case n.Operator == "??":
		l.refuse(n, "%s", strings.Replace(foreign(&ast.ChainNode{}), "?.", "??", 1))
	case !slices.Contains(operators(), n.Operator):
		l.refuse(n, "there is no operator %s", n.Operator)
	}
}

// pattern counts the states of a pattern, which are not there yet.
func (l *language) pattern(n *ast.BinaryNode, text string) {
	size, err := pattern.Size(text)
	if err != nil {
		l.refuse(n, "%v", err)
		return
	}
	if l.states += min(size, 1<<40-l.states); l.states > l.scope.states {
		l.refuse(n, "the patterns of the expression take %d steps for each character, at most %d are allowed: use fewer or smaller repetitions", l.states, l.scope.states)
	}
}

func call(name string, arguments ...ast.Node) *ast.CallNode {
	return &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: arguments}
}

// noFunction says which functions there are.
func noFunction(name string) string {
	known := slices.Clone(builtins())
	for _, f := range functions() {
		if f.about != "" {
			known = append(known, f.name)
		}
	}
	switch name {
	case "sum":
		return "sum goes over groups: it is there in a query with by"
	case "now", "date", "duration", "timezone":
		return name + " is not there: a projection has no clock, it has the time of each event"
	case "float", "round", "ceil", "floor", "mean", "median":
		return name + " is not there: " + foreign(&ast.FloatNode{})
	}
	return "there is no function " + name + suggest(name, known)
}
