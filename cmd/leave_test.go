package cmd

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLeavingWithoutStore runs a turn, takes its store away, and wants to be told; then the second interrupt leaves.
func TestLeavingWithoutStore(t *testing.T) {
	t.Parallel()
	store, err := startStoreServerHere(t.TempDir(), anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer store.kill()
	life, err := exec.LookPath("life")
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Abs("testdata/models")
	if err != nil {
		t.Fatal(err)
	}
	workspace := t.TempDir()
	run := exec.CommandContext(t.Context(), life, "run", "--agent", "slow", "--model", "scripted/slow.yaml", "--workspace", workspace, "go")
	run.Env = append(os.Environ(), "LIFE_SCRIPTS="+scripts, "LIFE_DATA="+t.TempDir(), "LIFE_STORE="+store.address)
	said, err := run.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(said)
	untilSaid(t, lines, "bash") // the call runs
	if err := store.kill(); err != nil {
		t.Fatal(err)
	}
	untilSaid(t, lines, "cannot be read")
	if err := run.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	untilSaid(t, lines, "interrupt again")
	begun := time.Now()
	if err := run.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		t.Log(lines.Text())
	}
	_ = run.Wait()
	if status := run.ProcessState.ExitCode(); status != exitCancelled {
		t.Errorf("status %d, want %d", status, exitCancelled)
	}
	if took := time.Since(begun); took > 10*leaveTime {
		t.Errorf("it left after %v", took)
	}
}

func untilSaid(t *testing.T, lines *bufio.Scanner, text string) {
	t.Helper()
	for lines.Scan() {
		t.Log(lines.Text())
		if strings.Contains(lines.Text(), text) {
			return
		}
	}
	t.Fatalf("it never said %q", text)
}
