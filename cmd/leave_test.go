package cmd

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/life/cmd/bench"
)

// TestLeavingWithoutStore runs a turn, takes its store away, and wants to be told; then the second interrupt leaves.
func TestLeavingWithoutStore(t *testing.T) {
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
	scripts, err := filepath.Abs("testdata/models")
	if err != nil {
		t.Fatal(err)
	}
	workspace := t.TempDir()
	run := exec.CommandContext(t.Context(), life, "run", "--agent", "slow", "--model", "scripted/slow.yaml", "--workspace", workspace, "go")
	run.Env = append(os.Environ(), "LIFE_SCRIPTS="+scripts, "LIFE_DATA="+t.TempDir(), "LIFE_STORE="+store.Address)
	said, err := run.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(said)
	untilSaid(t, lines, "bash") // the call runs
	if err := store.Kill(); err != nil {
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

// TestSecondInterrupt has verbs wait for a store that was killed, and for somebody who does not read what they print: at the second interrupt they end.
func TestSecondInterrupt(t *testing.T) {
	t.Parallel()
	life, err := exec.LookPath("life")
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Abs("testdata/models")
	if err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"tail":      {"tail", "slow"},
		"send":      {"send", "slow", "more", "--wait"},
		"serve":     {"serve", "--listen", "127.0.0.1:0"},
		"run":       {"run", "--agent", "slow", "more"},
		"full pipe": {"history", "slow", "--json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, err := startStoreServerHere(t.TempDir(), bench.AnyPort)
			if err != nil {
				t.Fatal(err)
			}
			defer store.Kill()
			env := append(os.Environ(), "LIFE_SCRIPTS="+scripts, "LIFE_DATA="+t.TempDir(), "LIFE_STORE="+store.Address)
			made := exec.CommandContext(t.Context(), life, "agents", "create", "slow", "--model", "scripted/slow.yaml", "--tools", "bash", "--workspace", t.TempDir())
			if made.Env = env; made.Run() != nil {
				t.Fatal("the agent was not created")
			}
			verb := exec.CommandContext(t.Context(), life, args...)
			verb.Env = env
			reader, stdout := fullPipe(t)
			defer reader.Close()
			if verb.Stdout = stdout; name != "full pipe" {
				verb.Stdout = nil
			}
			said := startSaying(t, verb)
			stdout.Close()
			switch name {
			case "serve":
				untilSaid(t, said, "serving")
			case "run", "send":
				untilSaid(t, said, "bash")
			default: // it reads and prints by itself
				<-time.After(2 * startTime)
			}
			if name != "full pipe" {
				if err := store.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			ended := make(chan error, 1)
			go func() { ended <- verb.Wait() }()
			begun := time.Now()
			for interrupts := 0; ; interrupts++ {
				if interrupts < 2 {
					_ = verb.Process.Signal(os.Interrupt)
				}
				select {
				case <-ended:
					if took := time.Since(begun); took > 10*insistTime {
						t.Errorf("it ended after %v", took)
					}
					return
				case <-time.After(10 * insistTime):
					t.Fatal("it goes on after two interrupts")
				case <-time.After(leaveTime / 2):
				}
			}
		})
	}
}

// fullPipe is a pipe that takes nothing more.
func fullPipe(t *testing.T) (reader, writer *os.File) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = writer.Write(make([]byte, 4096))
	}
	return reader, writer
}

// startSaying starts a verb and returns what it says on standard error, which is read to the end.
func startSaying(t *testing.T, verb *exec.Cmd) *bufio.Scanner {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	verb.Stderr = writer
	if err := verb.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	return bufio.NewScanner(reader)
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
