package permission_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/life/adapters/fspolicy"
	"example.com/life/adapters/permission"
	"example.com/life/events"
)

// workspace is a directory with a repository, for the tests that judge paths.
var workspace string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "permission")
	if err != nil {
		panic(err)
	}
	workspace = dir
	for _, sub := range []string{".git/objects", ".git/refs", ".git/hooks", "src", "secret"} {
		err = errors.Join(err, os.MkdirAll(filepath.Join(dir, sub), 0o700))
	}
	err = errors.Join(err, os.WriteFile(filepath.Join(dir, ".git/HEAD"), []byte("ref: refs/heads/main\n"), 0o600))
	if err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// files is what is protected by itself.
func files() permission.Paths { return permission.Files{Policy: &fspolicy.Policy{}} }

func judge(t *testing.T, rules []permission.Rule, command string) events.Finding {
	t.Helper()
	arguments, err := json.Marshal(map[string]string{"command": command})
	if err != nil {
		t.Fatal(err)
	}
	return permission.Judge(rules, files(), permission.Place{Workspace: workspace, Confined: true}, "bash", events.ClassUnclear, arguments)
}

// rulesOf reads rules as a user's file has them.
func rulesOf(t *testing.T, scope permission.Scope, text string) ([]permission.Rule, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return permission.ReadFile(file, scope)
}

func mustRules(t *testing.T, text string) []permission.Rule {
	t.Helper()
	rules, err := rulesOf(t, permission.ScopeUser, text)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// TestClasses reads testdata/classes.txt: a class, and a command line of that class.
func TestClasses(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/classes.txt")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for line := range strings.Lines(string(text)) {
		class, command, is := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !is {
			continue // a heading
		}
		count++
		command = strings.ReplaceAll(command, `⏎`, "\n")
		if found := judge(t, nil, command); string(found.Class) != class {
			t.Errorf("%q is %s (%s), want %s", command, found.Class, found.Why, class)
		}
	}
	if count < 150 {
		t.Errorf("%d command lines, want at least 150", count)
	}
}
