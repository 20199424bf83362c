package cmd

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestStoreFlag runs the first example of every verb with the address of a store that cannot be used: each verb has to notice, or to
// refuse the flag. None ignores it.
func TestStoreFlag(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("LIFE_DATA", filepath.Join(dir, "data"))
	t.Setenv("LIFE_USER", "ada")
	t.Setenv("LIFE_MODEL", "scripted/echo")
	t.Chdir(dir)
	if err := errors.Join(os.MkdirAll("src/project", 0o700), os.MkdirAll("notes", 0o700)); err != nil { // what examples read before they look for a store
		t.Fatal(err)
	}
	for name, content := range map[string]string{"refunds.yaml": "name: refunds", "rules.json": `[{"name": "n", "measure": "progress", "at_least": 0, "mode": "verify"}]`} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, verb := range leaves(newRoot(&app{})) {
		t.Run(verb.CommandPath(), func(t *testing.T) {
			call := exampleOf(t, verb, "--store 'esdb://127.0.0.1:1?tlsCAFile=/no/such/file'")
			output, err := exec.CommandContext(t.Context(), "sh", "-c", call).CombinedOutput()
			said := string(output)
			if !strings.Contains(said, "/no/such/file") && !strings.Contains(said, "remove --store") {
				t.Errorf("%s: %v\n%s", call, err, said)
			}
		})
	}
}

// leaves are the verbs below a command that do something.
func leaves(cmd *cobra.Command) (verbs []*cobra.Command) {
	if !cmd.HasSubCommands() || cmd.CommandPath() == "life agents" {
		verbs = append(verbs, cmd)
	}
	for _, below := range cmd.Commands() {
		verbs = append(verbs, leaves(below)...)
	}
	return verbs
}

// exampleOf is the first example of a verb, with another flag.
func exampleOf(t *testing.T, verb *cobra.Command, flag string) string {
	t.Helper()
	for line := range strings.SplitSeq(verb.Example, "\n") {
		if before, rest, ok := strings.Cut(line, verb.CommandPath()); ok && strings.TrimSpace(before) == "" {
			return verb.CommandPath() + " " + flag + strings.TrimRight(rest, " &")
		}
	}
	t.Fatalf("%s has no example", verb.CommandPath())
	return ""
}
