package supervisor

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestItBeginsEarly: what this package imports is initialised before it, and before that all that comes first in the order of paths. So it imports what
// is initialised early, and above all not os/exec or os/signal.
func TestItBeginsEarly(t *testing.T) {
	early := []string{
		"bytes", "encoding/base64", "encoding/json", "errors", "fmt", "io", "math", "os", "path", "runtime", "strconv", "strings", "sync", "syscall", "time", "unsafe",
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			if path, err := strconv.Unquote(spec.Path.Value); err != nil || !slices.Contains(early, path) {
				t.Errorf("%s imports %s: see GODEBUG=inittrace=1 for what then comes before a supervisor", file, spec.Path.Value)
			}
		}
	}
}
