// Package docs holds what the documents claim to be true: its tests read the documents and compare them with the code.
//
//	imports_test.go   the import table of architecture.md, enforced over every package
//	events_test.go    events.md, generated from the catalogue: go test ./docs -run TestEventsDoc -rewrite
//	packages_test.go  how many files a package may have
//	links_test.go     links between documents, and the verbs of the Makefile they name
//	verbs_test.go     the commands of life that they show, compared with what the binary's --help says
package docs

import (
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	root       = ".."
	module     = "example.com/life"
	protoactor = "github.com/asynkron/protoactor-go"
)

// testPackages are written for tests: they may import what tests may, and only tests import them.
var testPackages = []string{"actors/actorstest", "adapters/eventstore/eventstoretest"}

func isTestPackage(local string) bool {
	return slices.ContainsFunc(testPackages, func(p string) bool { return within(p, local) })
}

// imported is one import in one file.
type imported struct {
	file string // relative to the root
	line int
	path string
}

// rules are the tables of architecture.md.
type rules struct {
	may    map[string][]string // package, such as "events" or "adapters/X", to what it may import
	never  []string            // of std, for the pure packages
	pure   []string
	intest []string            // what tests may import besides
	single map[string][]string // files, as a pattern, to what they alone may import besides
}

// TestImports holds every package to the import table.
func TestImports(t *testing.T) {
	table := readRules(t)
	for _, found := range importsOf(t, root) {
		if problem := table.check(found); problem != "" {
			t.Errorf("%s:%d imports %s: %s", found.file, found.line, found.path, problem)
		}
	}
}

// TestImportsTeach shows that the table refuses what it should.
func TestImportsTeach(t *testing.T) {
	table := readRules(t)
	for _, test := range []struct {
		file, path string
		allowed    bool
	}{
		{"events/a.go", "fmt", true},
		{"events/a.go", "time", false},
		{"events/a_test.go", "time", true},
		{"events/a.go", "io/fs", false},
		{"events/a.go", "log/slog", false},
		{"events/a.go", "github.com/google/uuid", true},
		{"events/a.go", module + "/sagas", false},
		{"sagas/a.go", module + "/events", true},
		{"sagas/a.go", "sync/atomic", false},
		{"sagas/strictjson/field.go", "sync", true},
		{"sagas/strictjson/write.go", "sync", false},
		{"sagas/a.go", module + "/sagas/strictjson", true},
		{"events/pattern/a.go", "regexp/syntax", true},
		{"events/pattern/a.go", "io", false},
		{"events/pattern/a.go", module + "/events", false},
		{"adapters/tools/a.go", module + "/events/pattern", true},
		{"adapters/embedded/filter/a.go", module + "/events/pattern", true},
		{"sagas/strictjson/a.go", module + "/sagas", false},
		{"adapters/bus/a.go", module + "/sagas/strictjson", true},
		{"sagas/markdown/a.go", "github.com/yuin/goldmark/ast", true},
		{"sagas/markdown/a.go", "io", false},
		{"sagas/a.go", "github.com/yuin/goldmark", false},
		{"sagas/cluster/a.go", module + "/sagas", true},
		{"sagas/cluster/a.go", "time", false},
		{"sagas/cluster/a.go", module + "/actors/storage", false},
		{"actors/a.go", module + "/sagas/cluster", true},
		{"projections/a.go", "golang.org/x/text/unicode/norm", true},
		{"sagas/a.go", "github.com/google/uuid", false},
		{"sagas/a.go", "github.com/expr-lang/expr/ast", true},
		{"sagas/a_test.go", "pgregory.net/rapid", true},
		{"sagas/a_test.go", module + "/actors", false},
		{"projections/a.go", module + "/sagas", false},
		{"projections/runs/a.go", module + "/projections", true},
		{"projections/runs/a.go", "time", false},
		{"projections/runs/a.go", "github.com/blevesearch/segment", false},
		{"actors/a.go", protoactor + "/actor", true},
		{"actors/a.go", "go.opentelemetry.io/otel/trace", true},
		{"actors/a.go", "go.opentelemetry.io/otel/sdk/trace", false},
		{"actors/a.go", "go.opentelemetry.io/otelish", false},
		{"actors/a.go", module + "/adapters/embedded", false},
		{"actors/a.go", module + "/actors/actorstest", false},
		{"actors/a_test.go", module + "/actors/actorstest", true},
		{"actors/actorstest/a.go", "pgregory.net/rapid", true},
		{"actors/storage/a.go", module + "/events", true},
		{"actors/storage/a.go", module + "/actors", false},
		{"actors/storage/a.go", protoactor + "/actor", false},
		{"actors/storage/a.go", "github.com/google/uuid", true},
		{"actors/storage/a.go", module + "/sagas", false},
		{"actors/a.go", module + "/actors/storage", true},
		{"actors/a.go", module + "/actors/history", true},
		{"actors/history/a.go", module + "/actors/storage", true},
		{"actors/history/a.go", module + "/projections", true},
		{"actors/history/a.go", module + "/actors", false},
		{"actors/history/a_test.go", module + "/actors", false},
		{"actors/history/a.go", protoactor + "/actor", false},
		{"actors/whatif/a.go", module + "/actors", true},
		{"actors/whatif/a.go", protoactor + "/actor", false},
		{"actors/membership/a.go", module + "/sagas/cluster", true},
		{"actors/membership/a.go", module + "/actors/storage", true},
		{"actors/membership/a.go", module + "/actors", false},
		{"actors/membership/a.go", protoactor + "/actor", false},
		{"actors/projector/a.go", module + "/actors/storage", true},
		{"actors/projector/a.go", module + "/actors", false},
		{"actors/projector/a.go", protoactor + "/actor", false},
		{"actors/projector/a_test.go", module + "/actors/actorstest", true},
		{"adapters/embedded/a.go", module + "/actors/storage", true},
		{"adapters/embedded/a.go", module + "/actors", false},
		{"adapters/embedded/server/a.go", module + "/actors", false},
		{"adapters/eventstore/a.go", module + "/actors", false},
		{"adapters/blobs/a.go", module + "/actors", false},
		{"adapters/embedded/a.go", "github.com/cockroachdb/pebble/v2", true},
		{"adapters/embedded/a.go", protoactor + "/actor", false},
		{"adapters/cluster/a.go", protoactor + "/cluster", true},
		{"adapters/embedded/a.go", module + "/adapters/blobs", false},
		{"adapters/embedded/server/a.go", module + "/adapters/embedded", true},
		{"adapters/embedded/server/a.go", module + "/adapters/registration", true},
		{"adapters/embedded/server/a.go", module + "/adapters/places", true},
		{"adapters/peers/a.go", module + "/adapters/places", true},
		{"adapters/peers/a.go", module + "/actors/membership", true},
		{"adapters/peers/a.go", module + "/adapters/blobs", false},
		{"adapters/peers/a.go", protoactor + "/remote", false},
		{"adapters/api/a.go", module + "/adapters/places", true},
		{"adapters/api/a.go", module + "/adapters/registration", false},
		{"adapters/places/a.go", module + "/events", false},
		{"adapters/bus/a.go", module + "/adapters/places", false},
		{"adapters/embedded/server/a.go", module + "/adapters/eventstore", false},
		{"adapters/embedded/server/a_test.go", "github.com/EventStore/EventStore-Client-Go/v4/esdb", true},
		{"adapters/eventstore/a.go", module + "/adapters/registration", true},
		{"adapters/eventstore/a.go", module + "/adapters/embedded", false},
		{"adapters/eventstore/a_test.go", module + "/adapters/embedded/server", true},
		{"adapters/eventstore/a_test.go", module + "/adapters/blobs", false},
		{"adapters/eventstore/a.go", module + "/adapters/eventstore/eventstoretest", false},
		{"adapters/eventstore/a_test.go", module + "/adapters/eventstore/eventstoretest", true},
		{"adapters/tools/a_test.go", module + "/adapters/ignore", true},
		{"adapters/tools/a_test.go", module + "/adapters/datadir", true},
		{"adapters/tools/a.go", module + "/adapters/datadir", false},
		{"adapters/eventstore/eventstoretest/a.go", module + "/adapters/embedded", false},
		{"adapters/eventstore/eventstoretest/a.go", module + "/adapters/registration", true},
		{"cmd/a.go", module + "/adapters/eventstore/eventstoretest", false},
		{"cmd/a_test.go", module + "/adapters/eventstore/eventstoretest", true},
		{"adapters/bus/a.go", module + "/adapters/registration", false},
		{"adapters/embedded/a_test.go", module + "/actors/actorstest", true},
		{"adapters/tools/a.go", module + "/adapters/sandbox", true},
		{"adapters/tools/a.go", module + "/adapters/sandbox/supervised", true},
		{"adapters/sandbox/a.go", module + "/adapters/sandbox/supervised", true},
		{"adapters/sandbox/a.go", module + "/actors", false},
		{"adapters/sandbox/a.go", module + "/adapters/fspolicy", true},
		{"adapters/tools/a.go", module + "/adapters/fspolicy", true},
		{"adapters/permission/a.go", module + "/adapters/fspolicy", true},
		{"adapters/permission/a.go", module + "/adapters/tools", false},
		{"adapters/fspolicy/a.go", module + "/events", false},
		{"adapters/sandbox/supervisor/a.go", "golang.org/x/sys/unix", false},
		{"adapters/a.go", "fmt", false},
		{"adapters/registration/a.go", "os", true},
		{"adapters/registration/a.go", "os/exec", false},
		{"adapters/registration/a.go", "fmt", false},
		{"adapters/registration/a.go", "github.com/EventStore/EventStore-Client-Go/v4/protos/gossip", false},
		{"adapters/registration/a.go", protoactor + "/cluster", false},
		{"adapters/registration/a_test.go", protoactor + "/cluster", false},
		{"adapters/registration/registration_test.go", protoactor + "/cluster", true},
		{"adapters/registration/registration_test.go", "github.com/EventStore/EventStore-Client-Go/v4/protos/gossip", true},
		{"adapters/registration/registration_test.go", module + "/adapters/registration", true},
		{"adapters/registration/registration_test.go", module + "/adapters/embedded", false},
		{"cmd/a.go", module + "/adapters/embedded", true},
		{"cmd/a.go", protoactor + "/actor", false},
		{"cmd/stores/a.go", module + "/adapters/embedded", true},
		{"cmd/clustertest/a_test.go", "github.com/vishvananda/netlink", true},
		{"cmd/clustertest/a_test.go", protoactor + "/actor", false},
		{"cmd/stores/a.go", protoactor + "/actor", false},
		{"helpers/a.go", "fmt", false},
	} {
		if problem := table.check(imported{file: test.file, path: test.path}); (problem == "") != test.allowed {
			t.Errorf("%s importing %s: allowed is %v, want %v (%s)", test.file, test.path, problem == "", test.allowed, problem)
		}
	}
}

// check returns why an import is not allowed, and what to do instead.
func (r *rules) check(found imported) string {
	if strings.HasPrefix(found.file, "docs/") {
		return "" // these tests
	}
	row, own := r.rowOf(found.file)
	may, ok := r.may[row]
	if !ok {
		return "the import table of docs/architecture.md has no row for " + path.Dir(found.file) + ": a package is one of its rows"
	}
	covered := func(entry string) bool { return covers(entry, found.path) }
	test := strings.HasSuffix(found.file, "_test.go") || isTestPackage(path.Dir(found.file))
	if test && slices.ContainsFunc(r.intest, covered) || slices.ContainsFunc(r.besides(found.file), covered) {
		return ""
	}
	switch local, inModule := strings.CutPrefix(found.path, module+"/"); {
	case !test && slices.Contains(r.pure, row) && slices.ContainsFunc(r.never, func(p string) bool { return within(p, found.path) }):
		return "pure packages have no clock, randomness, goroutine, I/O or log: do it in actors/ or an adapter and hand in the result"
	case within(protoactor, found.path) && row != "actors" && own != "adapters/cluster":
		return "only actors and adapters/cluster know protoactor: go through a port"
	case inModule && isTestPackage(local):
		return local + " is for tests"
	case inModule && within(own, local):
		return ""
	case slices.ContainsFunc(may, covered):
		return ""
	case inModule && strings.HasPrefix(local, "adapters/"):
		return "an adapter is reached through the port it implements; cmd puts the two together"
	}
	return "the import table of docs/architecture.md lets " + row + " import " + strings.Join(may, ", ")
}

// besides is what a file may import beyond its package's row.
func (r *rules) besides(file string) []string {
	var list []string
	for pattern, more := range r.single {
		if matched, err := path.Match(pattern, file); err == nil && matched {
			list = append(list, more...)
		}
	}
	return list
}

// rowOf returns the row of the table that a file falls under, and the package it belongs to: the row with the longest name of those that its
// directory is in. An adapter without a row of its own falls under adapters/X.
func (r *rules) rowOf(file string) (row, own string) {
	dir := path.Dir(file)
	for own = dir; own != "."; own = path.Dir(own) {
		if r.may[own] != nil {
			return own, own
		}
	}
	if parts := strings.Split(dir, "/"); parts[0] == "adapters" && len(parts) > 1 {
		return "adapters/X", "adapters/" + parts[1]
	}
	return dir, dir
}

// covers reports whether an entry of the table, as people write it, means an import path.
func covers(entry, importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	std := !strings.Contains(first, ".")
	inModule := within(module, importPath)
	switch entry {
	case "everything":
		return true
	case "std":
		return std
	case "X's own libraries and subpackages": // those of its own directory are allowed before
		return !std && !inModule
	case "protoactor":
		return within(protoactor, importPath)
	case "otel (API only)":
		return within("go.opentelemetry.io/otel", importPath) && !within("go.opentelemetry.io/otel/sdk", importPath) &&
			!within("go.opentelemetry.io/otel/exporters", importPath)
	case "no other adapter":
		return false
	}
	return within("github.com/"+entry, importPath) || within(module+"/"+entry, importPath) || within(entry, importPath) && !std ||
		std && entry == importPath
}

func within(parent, importPath string) bool {
	return importPath == parent || strings.HasPrefix(importPath, parent+"/")
}

// readRules reads the tables out of architecture.md.
func readRules(t *testing.T) *rules {
	t.Helper()
	document, err := os.ReadFile("architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	r := &rules{may: map[string][]string{}, single: map[string][]string{}}
	for _, row := range rowsUnder(t, string(document), "| package | may import |") {
		for _, name := range splitList(row[0]) {
			r.may[name] = splitList(row[1])
		}
	}
	for _, row := range rowsUnder(t, string(document), "| who | besides |") {
		switch row[0] {
		case "events, events/pattern, sagas, sagas/strictjson, sagas/markdown, sagas/cluster, projections, projections/runs":
			list, ok := strings.CutPrefix(row[1], "never, of std: ")
			if !ok {
				t.Fatalf("architecture.md: the row of %s does not begin with %q", row[0], "never, of std: ")
			}
			r.pure, r.never = splitList(row[0]), splitList(list)
		case "tests, " + strings.Join(testPackages, ", "):
			r.intest = append(append(splitList(row[1]), testPackages...), "std")
		default:
			if found, err := filepath.Glob(path.Join(root, row[0])); len(found) == 0 || !strings.HasSuffix(row[0], ".go") {
				t.Errorf("architecture.md: %s in the table of what else may be imported is no file: %v", row[0], err)
			}
			r.single[row[0]] = splitList(row[1])
		}
	}
	if len(r.may) < 6 || len(r.never) == 0 || len(r.intest) == 0 {
		t.Fatalf("architecture.md: the import tables are incomplete: %+v", r)
	}
	return r
}

// rowsUnder returns the cells of the table that begins with a header.
func rowsUnder(t *testing.T, document, header string) [][]string {
	t.Helper()
	_, after, found := strings.Cut(document, header+"\n|---|---|\n")
	if !found {
		t.Fatalf("architecture.md has no table %q", header)
	}
	var rows [][]string
	for line := range strings.Lines(after) {
		cells := strings.Split(strings.Trim(line, "|\n "), "|")
		if !strings.HasPrefix(line, "|") || len(cells) != 2 {
			break
		}
		rows = append(rows, []string{strings.TrimSpace(cells[0]), strings.TrimSpace(cells[1])})
	}
	return rows
}

func splitList(cell string) []string {
	return regexp.MustCompile(`[,;] `).Split(strings.ReplaceAll(cell, "`", ""), -1)
}

// importsOf returns every import of every Go file below a directory.
func importsOf(t *testing.T, root string) []imported {
	t.Helper()
	var all []imported
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() && name != root && (base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(base, ".go") {
			return nil
		}
		found, err := importsOfFile(name)
		all = append(all, found...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("found %d imports below %s: that cannot be all", len(all), root)
	}
	return all
}

func importsOfFile(name string) ([]imported, error) {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, name, nil, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return nil, err
	}
	for _, group := range parsed.Comments {
		for _, comment := range group.List {
			if expr, err := constraint.Parse(comment.Text); err == nil && !expr.Eval(func(tag string) bool { return tag != "depskeep" }) {
				return nil, nil // in no build: it keeps modules in go.mod
			}
		}
	}
	relative, err := filepath.Rel(root, name)
	if err != nil {
		return nil, err
	}
	var found []imported
	for _, spec := range parsed.Imports {
		importPath, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		found = append(found, imported{file: filepath.ToSlash(relative), line: files.Position(spec.Pos()).Line, path: importPath})
	}
	return found, nil
}
