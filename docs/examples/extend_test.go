// Package examples does what docs/extend.md says, to see that it is so. It is apart from the other tests of documents because it
// builds life twice.
package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.com/life/adapters/declared"
)

const root = "../.."

// files are the files that extend.md shows: each is named, in code, at the end of the line before its block.
func files(t *testing.T) map[string]string {
	t.Helper()
	document, err := os.ReadFile("../extend.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{}
	for _, match := range regexp.MustCompile("(?m)`([^`\n]+)`:\n\n```[a-z]*\n((?s:.*?)\n)```$").FindAllStringSubmatch(string(document), -1) {
		shown[match[1]] = match[2]
	}
	return shown
}

// TestExtendShowsFiles: what extend.md shows of files that are in the tree is what is in them.
func TestExtendShowsFiles(t *testing.T) {
	shown := files(t)
	for name, file := range map[string]string{
		"adapters/declared/examples/tool-failures.yaml": "../../adapters/declared/examples/tool-failures.yaml",
		"go.mod": "hello/go.mod", "main.go": "hello/main.go",
	} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if shown[name] != string(content) {
			t.Errorf("extend.md shows another %s than %s is:\n%s", name, file, shown[name])
		}
	}
	misspelt := strings.Replace(shown["adapters/declared/examples/tool-failures.yaml"], "int(failed)", "int(faild)", 1)
	document, err := os.ReadFile("../extend.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := declared.Parse([]byte(misspelt)); err == nil || !strings.Contains(string(document), ": "+err.Error()+"\n") {
		t.Errorf("extend.md shows another problem than %v", err)
	}
	if lines := strings.Count(shown["go.mod"], "\n") + strings.Count(shown["main.go"], "\n"); lines >= 40 {
		t.Errorf("the module has %d lines, want less than 40", lines)
	}
}

// TestExtendInTheTree does what extend.md says in a copy of the tree: the file, its line in the catalogue, its transcript, and the
// tests of the package.
func TestExtendInTheTree(t *testing.T) {
	shown, tree := files(t), t.TempDir()
	for _, part := range []string{"events", "sagas", "projections"} { // its benchmarks use the made-up world of sagas
		if err := os.CopyFS(filepath.Join(tree, part), os.DirFS(filepath.Join(root, part))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		copyFile(t, filepath.Join(root, name), filepath.Join(tree, name), func(s string) string { return s })
	}
	for _, name := range []string{"projections/verbs.go", "projections/testdata/verbs.txt"} {
		if shown[name] == "" {
			t.Fatalf("extend.md does not show %s", name)
		}
		write(t, filepath.Join(tree, name), shown[name])
	}
	catalogue := filepath.Join(tree, "projections/projection.go")
	copyFile(t, catalogue, catalogue, func(source string) string {
		before, catalogue, found := strings.Cut(source, "var Catalog = []Spec{\n")
		list, after, closed := strings.Cut(catalogue, "\n}\n")
		if !found || !closed {
			t.Fatal("projections.Catalog is not where it was")
		}
		return before + "var Catalog = []Spec{\n" + list + "\n\tverbsSpec(),\n}\n" + after
	})
	run(t, tree, "go", "vet", "./projections")
	run(t, tree, "go", "test", "./projections")
}

// TestExtendFromAnotherModule builds the module of docs/examples/hello as somebody else would, with nothing from the network, and asks
// its projection about a turn.
func TestExtendFromAnotherModule(t *testing.T) {
	module, here := t.TempDir(), absolute(t, root)
	copyFile(t, "hello/main.go", filepath.Join(module, "main.go"), func(s string) string { return s })
	copyFile(t, "hello/go.mod", filepath.Join(module, "go.mod"), func(s string) string { return strings.Replace(s, "../../..", here, 1) })
	copyFile(t, filepath.Join(root, "go.sum"), filepath.Join(module, "go.sum"), func(s string) string { return s })
	t.Setenv("GOFLAGS", "-mod=mod")
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOWORK", "off")
	run(t, module, "go", "build", "-ldflags=-s -w", "-o", "life", ".")

	for name, value := range map[string]string{"HOME": module, "LIFE_DATA": filepath.Join(module, "data"), "LIFE_USER": "ada", "LIFE_STORE": ""} {
		t.Setenv(name, value)
	}
	run(t, module, "./life", "sample", "ws")
	if answer := run(t, module, "./life", "projections", "query", "hello"); !strings.Contains(answer, "messages  0\n") {
		t.Errorf("before anything happened there are messages:\n%s", answer)
	}
	run(t, filepath.Join(module, "ws"), "../life", "run", "--model", "scripted/tour", "Take the tour")
	answer := run(t, module, "./life", "projections", "query", "hello")
	shown, err := os.ReadFile("../extend.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := "    $ ./life run --model scripted/tour \"Take the tour\"\n    …\n    $ ./life projections query hello\n    " +
		strings.ReplaceAll(strings.TrimSpace(answer), "\n", "\n    ") + "\n\n"; !strings.Contains(string(shown), want) {
		t.Errorf("extend.md does not show\n%s", want)
	}
	file := absolute(t, filepath.Join(root, "adapters/declared/examples/tool-failures.yaml"))
	run(t, module, "./life", "projections", "add", file) // the first way works in such a binary too
	if answer := run(t, module, "./life", "projections", "query", "tool-failures", "tools"); !regexp.MustCompile(`(?m)^bash +1 +0 +0.0% `).MatchString(answer) {
		t.Errorf("the projection of the file answers\n%s", answer)
	}
	if listed := run(t, module, "./life", "projections", "list"); !strings.Contains(listed, "hello, version 1") || !strings.Contains(listed, ": messages to agents\n") {
		t.Errorf("the projection is not in the list:\n%s", listed)
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	found, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string, change func(string) string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, change(string(content)))
}

// run runs a command that succeeds, and returns what it printed.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	var errs strings.Builder
	command := exec.CommandContext(t.Context(), name, args...)
	command.Dir, command.Stderr = dir, &errs
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, errs.String())
	}
	return string(out)
}
