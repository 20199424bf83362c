package cmd

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/life/cmd/bench"
)

// TestLargeReplies has a scripted model write more in one reply than EventStoreDB takes at once: one large file, and many that together are
// large. Each turn is done, with the files whole, and its model was asked once for each round.
func TestLargeReplies(t *testing.T) {
	t.Parallel()
	store, err := startStoreServerHere(t.TempDir(), bench.AnyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Kill()
	life, err := exec.LookPath("life")
	if err != nil {
		t.Fatal(err)
	}
	scripts, workspace := t.TempDir(), t.TempDir()
	env := append(os.Environ(), "LIFE_SCRIPTS="+scripts, "LIFE_DATA="+t.TempDir(), "LIFE_STORE="+store.Address)
	verb := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), life, args...)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("life %s: %v\n%s", strings.Join(args, " "), err, bytes.TrimSpace(out))
		}
		return string(out)
	}
	for name, sizes := range map[string][]int{"one": {600_000}, "many": repeat(30, 25_000), "most": {990_000, 10}} {
		writeLargeScript(t, filepath.Join(scripts, name+".yaml"), name, sizes)
		verb("run", "--agent", name, "--workspace", workspace, "--model", "scripted/"+name+".yaml", "--ask", "none",
			"--limit-tokens", "10000000", "--limit-context-tokens", "10000000", "go")
		history := verb("history", name, "--limit", "0")
		if n := strings.Count(history, "was asked (round"); n != 2 || !strings.Contains(history, "ended: done") {
			t.Errorf("%s: the model was asked %d times:\n%s", name, n, history)
		}
		for i, size := range sizes {
			content, err := os.ReadFile(filepath.Join(workspace, fmt.Sprintf("%s%d.txt", name, i)))
			if err != nil || len(content) != size {
				t.Errorf("%s: file %d has %d bytes, want %d: %v", name, i, len(content), size, err)
			}
		}
	}
	verb("verify", "--all")
}

func repeat(n, size int) []int {
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = size
	}
	return sizes
}

// writeLargeScript writes a model that makes one file of each size.
func writeLargeScript(t *testing.T, path, name string, sizes []int) {
	t.Helper()
	var b strings.Builder
	b.WriteString("rules:\n  - when: {role: user}\n    text: I write.\n    calls:\n")
	for i, size := range sizes {
		fmt.Fprintf(&b, "      - {tool: write_file, arguments: {path: %s%d.txt, content: \"%s\"}}\n", name, i, strings.Repeat("x", size))
	}
	b.WriteString("  - when: {}\n    text: done\n")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}
