package cmd

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRunAsksOnATerminal: on a terminal life run shows a waiting call and asks there and then; the answer is for that call. On a pipe it does not ask.
func TestRunAsksOnATerminal(t *testing.T) {
	for _, test := range []struct {
		answer, said string
		written      bool
	}{
		{"y\n", "turn clerk/1 done", true},
		{"n\n", "a person denied it", false},
		{"\n", "life approve clerk 1/1.1 --digest ", false},
		{"", "life approve clerk 1/1.1 --digest ", false}, // no terminal
	} {
		dir := t.TempDir()
		life := exec.CommandContext(t.Context(), os.Args[0], "run", "--agent", "clerk", "--model", "scripted/line.yaml", "--tools", "append_line",
			"--ask", "append_line", "--workspace", dir, "one \x1b[1A\u202etwo")
		life.Args[0] = "life" // as which the test's binary runs it
		life.Path = asLife(t)
		models, err := filepath.Abs("testdata/models")
		if err != nil {
			t.Fatal(err)
		}
		life.Env = append(os.Environ(), "HOME="+dir, "LIFE_DATA="+filepath.Join(t.TempDir(), "data"), "LIFE_SCRIPTS="+models, "LIFE_STORE=")
		said := ""
		if test.answer != "" {
			said = converse(t, life, test.answer)
		} else if out, err := life.CombinedOutput(); err != nil { // it waits: that is its status
			said = string(out)
		}
		if !strings.Contains(said, test.said) || strings.Contains(said, "Run it?") != (test.answer != "") {
			t.Errorf("answered %q:\n%s", test.answer, said)
		}
		if test.answer != "" && (!strings.Contains(said, "line: one ␛[1A<U+202E>two") || strings.Contains(said, "\u202e")) {
			t.Errorf("answered %q: the arguments are not shown as they are:\n%s", test.answer, said)
		}
		if _, err := os.Stat(filepath.Join(dir, "lines")); (err == nil) != test.written {
			t.Errorf("answered %q: the call's effect: %v", test.answer, err)
		}
	}
}

// converse runs a command on a terminal, answers its question, and returns all that was on the screen.
func converse(t *testing.T, life *exec.Cmd, answer string) string {
	t.Helper()
	person, process := openTerminal(t)
	life.Stdin, life.Stdout, life.Stderr = process, process, process
	if err := life.Start(); err != nil {
		t.Fatal(err)
	}
	if err := process.Close(); err != nil {
		t.Fatal(err)
	}
	var screen strings.Builder
	keys := bufio.NewReader(person)
	for {
		b, err := keys.ReadByte()
		if err != nil {
			break // the last one who had the terminal open is gone
		}
		screen.WriteByte(b)
		if strings.HasSuffix(screen.String(), "decide later: ") {
			if _, err := io.WriteString(person, answer); err != nil {
				t.Error(err)
			}
		}
	}
	_ = life.Wait() // its status is how the turn was left
	return screen.String()
}

// asLife is a file of the name life that is this test's binary.
func asLife(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "life")
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	return link
}
