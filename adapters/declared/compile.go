package declared

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/checker"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/optimizer"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"
)

// scope is what an expression can name.
type scope struct {
	about  string              // as in "there is no … in <about>"
	types  types.Map           // names, those in groups with dots
	groups map[string][]string // names of groups, such as usage, and what is in them
	refuse map[string]string   // names that cannot be used, and why
	states int                 // that the patterns of one expression may have

	inner  *scope      // what the groups have that sum, min and max go over; nil: there are none
	totals []aggregate // those that expressions asked for
}

func newScope(about string, all types.Map, refuse map[string]string) *scope {
	s := &scope{about: about, types: all, groups: map[string][]string{}, refuse: refuse, states: maxStates}
	for name := range all {
		for i := range len(name) {
			if name[i] == '.' {
				s.groups[name[:i]] = append(s.groups[name[:i]], name)
			}
		}
	}
	for _, inside := range s.groups {
		slices.Sort(inside)
	}
	return s
}

// names lists everything that can be named.
func (s *scope) names() []string {
	names := make([]string, 0, len(s.types))
	for name := range s.types {
		if !strings.Contains(name, " ") { // else it is an aggregate
			names = append(names, name)
		}
	}
	return names
}

// inLists lists the fields of the elements of lists.
func (s *scope) inLists() []string {
	var names []string
	for _, t := range s.types {
		nature := t.Nature()
		if nature.Ref == nil || nature.Ref.TypeData == nil {
			continue
		}
		for name := range nature.Ref.Fields {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// expression is a compiled one.
type expression struct {
	program *vm.Program
	shape   shape
	used    []string // names
	nodes   int
	states  int // of its patterns
	steps   int // that running it takes, without reading texts
	at      place
}

// mistake is what is wrong with an expression, and where in it.
type mistake struct {
	text         string
	line, column int // from 0
}

// Error says what is wrong.
func (m *mistake) Error() string {
	if m.line > 0 {
		return fmt.Sprintf("%s (line %d, column %d)", m.text, m.line+1, m.column+1)
	}
	return fmt.Sprintf("%s (column %d)", m.text, m.column+1)
}

// compile checks an expression against what it can name, and compiles it. What is wrong is a *mistake.
func compile(source string, in *scope) (*expression, error) {
	switch {
	case strings.TrimSpace(source) == "":
		return nil, &mistake{text: "want an expression, there is nothing"}
	case len(source) > maxExpression:
		return nil, &mistake{text: fmt.Sprintf("the expression has %d bytes, at most %d are allowed", len(source), maxExpression)}
	}
	tree, err := parser.ParseWithConfig(source, configure()) // without names: a field called count does not hide the function
	if err != nil {
		return nil, mistaken(err, in)
	}
	refused := func(wrong string, at file.Location) error {
		located := (&file.Error{Location: at}).Bind(tree.Source)
		return &mistake{text: wrong, line: located.Line - 1, column: located.Column}
	}
	if in.inner != nil {
		totals := &aggregator{inner: in.inner, outer: in}
		if ast.Walk(&tree.Node, totals); totals.wrong != "" {
			return nil, refused(totals.wrong, totals.at)
		}
	}
	found := &language{scope: in}
	if wrong, at := found.check(&tree.Node); wrong != "" {
		return nil, refused(wrong, at)
	}
	config := configure()
	expr.Env(in.types)(config)
	result, err := checker.Check(tree, config)
	if err != nil {
		return nil, mistaken(err, in)
	}
	e := &expression{shape: shapeOf(result), used: found.used, nodes: found.nodes, steps: found.steps(), states: found.states}
	if err := count(tree, config, in.types); err != nil {
		return nil, mistaken(err, in)
	}
	if err := optimizer.Optimize(&tree.Node, config); err != nil {
		return nil, mistaken(err, in)
	}
	if e.program, err = compiler.Compile(tree, config); err != nil {
		return nil, mistaken(err, in)
	}
	return e, nil
}

func configure() *conf.Config {
	config := conf.CreateNew()
	apply := append(options(), expr.MaxNodes(maxNodes), expr.DisableAllBuiltins())
	for _, name := range builtins() {
		apply = append(apply, expr.EnableBuiltin(name))
	}
	for _, option := range apply {
		option(config)
	}
	for name := range config.Disabled {
		delete(config.Builtins, name)
	}
	return config
}

var (
	unknownField = regexp.MustCompile(`^unknown field (\S+)$`)
	notList      = regexp.MustCompile(`^builtin (\w+) takes only array \(got (.*)\)$`)
	operand      = regexp.MustCompile(`^cannot use (\S+) as argument \(type \S+\) to call ([-+*/%]) ?$`)
)

// mistaken words an error of expr's as the rest of Life words its errors.
func mistaken(err error, in *scope) *mistake {
	var at *file.Error
	if !errors.As(err, &at) {
		return &mistake{text: plain(err.Error())}
	}
	return &mistake{text: reworded(at.Message, in), line: max(at.Line-1, 0), column: at.Column}
}

func reworded(said string, in *scope) string {
	if match := unknownField.FindStringSubmatch(said); match != nil {
		return "the elements of the list have no " + match[1] + suggest(match[1], in.inLists())
	}
	if match := notList.FindStringSubmatch(said); match != nil {
		return match[1] + " looks through a list, and this is " + strings.TrimSpace(plain(" "+match[2]))
	}
	match := operand.FindStringSubmatch(said)
	switch {
	case match != nil && match[2] == "+":
		return "+ adds two numbers or joins two texts; string(n) is a number as text"
	case match != nil:
		return match[2] + " works on two numbers, not on " + strings.TrimSpace(plain(" "+match[1]))
	case strings.Contains(said, "exceeds maximum allowed nodes"):
		return fmt.Sprintf("the expression has more than %d names, values and operators", maxNodes)
	case strings.HasPrefix(said, "invalid operation: in "), strings.HasSuffix(said, " in array"):
		return "in looks for a text or a number in a list, such as agent in [\"a\", \"b\"]; contains looks for a text in a text"
	case strings.Contains(said, "unexpected token EOF"):
		return "the expression ends too early; in YAML what follows # after a space is a comment, unless the expression is in quotes"
	case strings.Contains(said, `Operator("=")`):
		return "a single = is not part of the language; == compares"
	}
	return plain(said)
}

// plain replaces the names of Go's types.
func plain(said string) string {
	return strings.NewReplacer(
		"[]interface {}", "a list", "[]string", "a list", "map[string]interface {}", "a group of fields", "interface {}", "anything",
		"bool expression", "expression that is not true or false", "non-bool", "non-true-or-false",
		" string", " text", "(string", "(text", " int", " number", "(int", "(number", " bool", " true or false", "(bool", "(true or false",
	).Replace(said)
}

// machine runs expressions, one at a time.
type machine struct {
	vm    vm.VM
	meter *meter
	names map[string]any // what expressions find
}

func newMachine() *machine {
	m := &meter{}
	return &machine{vm: vm.VM{MemoryBudget: maxBudget}, meter: m, names: map[string]any{meterName: m}}
}

// run computes an expression. The error says where in the declaration it is.
func (m *machine) run(e *expression) (any, error) {
	if err := m.meter.take(e.steps); err != nil {
		return nil, e.failed(err)
	}
	result, err := m.vm.Run(e.program, m.names)
	if err != nil {
		return nil, e.failed(err)
	}
	if shapeOf(reflect.TypeOf(result)) != e.shape {
		return nil, e.failed(fmt.Errorf("it gives %s, not %s", shapeOf(reflect.TypeOf(result)), e.shape))
	}
	return result, nil
}

// holds computes a condition; none always holds.
func (m *machine) holds(e *expression) (bool, error) {
	if e == nil {
		return true, nil
	}
	result, err := m.run(e)
	return result == true, err
}

// failed says which expression failed, and why.
func (e *expression) failed(err error) error {
	said := err.Error()
	var at *file.Error
	if errors.As(err, &at) {
		said = at.Message
	}
	if said == "memory budget exceeded" {
		said = fmt.Sprintf("it makes more than %d elements of lists", maxBudget)
	}
	if e.at.line == 0 {
		return errors.New(said)
	}
	return &Problem{Line: e.at.line, Field: e.at.field, Text: said}
}
