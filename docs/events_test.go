package docs

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/life/events"
)

var rewrite = flag.Bool("rewrite", false, "write events.md")

// TestEventsDoc holds events.md to the catalogue, the source of events/ and its goldens, from which it is made.
func TestEventsDoc(t *testing.T) {
	want := newReference(t).write()
	const file = "events.md"
	if *rewrite {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), want); diff != "" {
		t.Errorf("%s is not what events/ says: run go test ./docs -run TestEventsDoc -rewrite (-is, +should be):\n%s", file, diff)
	}
}

// reference collects what the source of events/ says about its types.
type reference struct {
	t      *testing.T
	types  map[string]*ast.TypeSpec
	docs   map[string]string
	values map[string][]*ast.ValueSpec // constants by their type
	named  []string                    // types that fields mention, in the order they are met
	out    strings.Builder
}

func newReference(t *testing.T) *reference {
	t.Helper()
	r := &reference{t: t, types: map[string]*ast.TypeSpec{}, docs: map[string]string{}, values: map[string][]*ast.ValueSpec{}}
	sources, err := filepath.Glob("../events/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), source, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range parsed.Decls {
			if general, ok := declaration.(*ast.GenDecl); ok {
				r.collect(general)
			}
		}
	}
	return r
}

func (r *reference) collect(declaration *ast.GenDecl) {
	constants := ""
	for _, spec := range declaration.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			r.types[spec.Name.Name] = spec
			r.docs[spec.Name.Name] = sentence(spec.Doc)
			if spec.Doc == nil {
				r.docs[spec.Name.Name] = sentence(declaration.Doc)
			}
		case *ast.ValueSpec:
			if name, ok := spec.Type.(*ast.Ident); ok {
				constants = name.Name
			}
			if declaration.Tok == token.CONST {
				r.values[constants] = append(r.values[constants], spec)
			}
		}
	}
}

const preface = `<!-- Code generated from events/ by go test ./docs -run TestEventsDoc -rewrite. DO NOT EDIT. -->

# Events

Everything that can have happened, as it is stored. A kind is permanent, and so is each version of its shape: what was stored once
is read for ever. 64-bit numbers are strings. A reader that meets a kind or a version it does not know keeps it as it is. How events
are wrapped and chained is in [the architecture](architecture.md#what-is-stored-with-an-event).
`

func (r *reference) write() string {
	r.out.WriteString(preface)
	family := ""
	for _, spec := range events.Catalog {
		if spec.Kind.Family() != family {
			family = spec.Kind.Family()
			fmt.Fprintf(&r.out, "\n## %s\n", family)
		}
		name := reflect.TypeOf(spec.Zero).Name()
		fmt.Fprintf(&r.out, "\n### %s\n\nVersion %d. %s\n\n", spec.Kind, spec.Version, r.docs[name])
		r.fields(name)
		golden, err := os.ReadFile(fmt.Sprintf("../events/testdata/%s@%d.json", spec.Kind, spec.Version))
		if err != nil {
			r.t.Fatal(err)
		}
		fmt.Fprintf(&r.out, "\n```json\n%s```\n", golden)
	}
	r.out.WriteString("\n## Types\n")
	for i := 0; i < len(r.named); i++ { // fields adds to the list
		r.writeType(r.named[i])
	}
	return r.out.String()
}

func (r *reference) writeType(name string) {
	fmt.Fprintf(&r.out, "\n### %s\n\n%s\n", name, r.docs[name])
	if _, ok := r.types[name].Type.(*ast.StructType); ok {
		r.out.WriteString("\n")
		r.fields(name)
		return
	}
	if len(r.values[name]) == 0 || !r.listed(name) {
		return
	}
	r.out.WriteString("\n| value | |\n|---|---|\n")
	for _, value := range r.values[name] {
		name := strings.Trim(source(r.t, value.Values[0]), `"`)
		if name != "" { // the empty value stands for "not set" and is not stored
			fmt.Fprintf(&r.out, "| `%s` | %s |\n", name, sentence(value.Comment))
		}
	}
}

// listed reports whether a type's constants are all the values it has.
func (r *reference) listed(name string) bool {
	underlying, ok := r.types[name].Type.(*ast.Ident)
	return ok && underlying.Name == "string"
}

// fields writes a struct's fields as a table; the fields of embedded structs stand among them.
func (r *reference) fields(name string) {
	r.out.WriteString("| field | type | |\n|---|---|---|\n")
	r.rows(name)
}

func (r *reference) rows(name string) {
	shape, ok := r.types[name].Type.(*ast.StructType)
	if !ok {
		r.t.Fatalf("%s is not a struct", name)
	}
	for _, field := range shape.Fields.List {
		if len(field.Names) == 0 {
			r.rows(source(r.t, field.Type))
			continue
		}
		tag := reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("json")
		options := strings.Split(tag, ",")
		kind := source(r.t, field.Type)
		r.mention(kind)
		if slices.Contains(options, "string") {
			kind += ", as a string"
		}
		if slices.Contains(options, "omitempty") {
			kind += ", optional"
		}
		fmt.Fprintf(&r.out, "| `%s` | %s | %s |\n", options[0], strings.ReplaceAll(kind, "*", ""), sentence(field.Comment))
	}
}

// mention has a type of events/ described at the end.
func (r *reference) mention(kind string) {
	name := strings.TrimLeft(kind, "*[]")
	if r.types[name] != nil && !slices.Contains(r.named, name) {
		r.named = append(r.named, name)
	}
}

// sentence joins a comment into one line of Markdown.
func sentence(comment *ast.CommentGroup) string {
	return strings.NewReplacer("|", `\|`, "<", `\<`, "*", `\*`, "_", `\_`).Replace(strings.Join(strings.Fields(comment.Text()), " "))
}

func source(t *testing.T, node ast.Node) string {
	t.Helper()
	var out strings.Builder
	if err := printer.Fprint(&out, token.NewFileSet(), node); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
