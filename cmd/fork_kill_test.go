package cmd

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestForkKilled kills life fork at random moments and lets life serve go on with the fork: it finishes on the tape, asks nobody, and ends
// with a history equal to its parent's.
func TestForkKilled(t *testing.T) {
	life, err := exec.LookPath("life")
	if err != nil {
		t.Fatal(err)
	}
	store, err := startTestStore(t.Name(), t.TempDir(), t.Cleanup)
	if err != nil {
		t.Fatal(err)
	}
	f := &killedForks{t: t, life: life, dir: t.TempDir(), store: store}
	if err := os.Mkdir(filepath.Join(f.dir, "ws"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		f.run("run", "--agent", "demo", "--model", "scripted/line.yaml", "--tools", "append_line", "--workspace", "ws", "--quiet", "go")
	}
	names := []string{"f1", "f2", "f3", "f4", "f5"}
	begun := 0
	for _, name := range names {
		cmd := f.command("fork", "demo", "--at", "0", "--name", name, "--quiet")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		killed := time.AfterFunc(time.Duration(20+rand.IntN(400))*time.Millisecond, func() { _ = cmd.Process.Kill() }) //nolint:gosec // any moment will do
		_ = cmd.Wait()
		killed.Stop()
	}
	f.serve()
	for _, name := range names {
		if out, err := f.command("state", name).CombinedOutput(); err != nil && strings.Contains(string(out), "there is no agent") {
			continue // killed before it was made
		}
		begun++
		f.finished(name)
		if out := f.run("diff", "demo", name); !strings.Contains(out, "their histories are equal") {
			t.Errorf("%s:\n%s", name, out)
		}
	}
	t.Logf("%d of %d forks had begun", begun, len(names))
	if out := f.run("verify", "--all"); !strings.HasPrefix(out, "ok") {
		t.Errorf("verify: %s", out)
	}
}

type killedForks struct {
	t                *testing.T
	life, dir, store string
}

func (f *killedForks) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(f.t.Context()), 5*time.Minute) // no verb takes so long: one that does is stuck, and says so
	f.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, f.life, args...)
	cmd.Dir = f.dir
	scripts, err := filepath.Abs("testdata/models")
	if err != nil {
		f.t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "HOME="+f.dir, "LIFE_DATA="+filepath.Join(f.dir, "data"), "LIFE_SCRIPTS="+scripts, "LIFE_LISTEN=127.0.0.1:0", "LIFE_STORE="+f.store)
	return cmd
}

func (f *killedForks) run(args ...string) string {
	f.t.Helper()
	out, err := f.command(args...).CombinedOutput()
	if err != nil {
		f.t.Fatalf("life %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// serve starts life serve and waits until it says where it is.
func (f *killedForks) serve() {
	f.t.Helper()
	server := f.command("serve")
	if err := server.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-tick.C {
		if where, err := readServing(filepath.Join(f.dir, "data")); err == nil && where.PID == server.Process.Pid {
			return
		}
	}
	f.t.Fatal("life serve does not answer")
}

// finished waits until a fork has followed its parent to the end.
func (f *killedForks) finished(name string) {
	f.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-tick.C {
		out, err := f.command("state", name, "--json").Output()
		if err != nil {
			continue // life serve is starting
		}
		var state struct {
			Agent struct {
				Fork struct {
					Live, Skipped int
					Finished      bool
					Diverged      *struct{ Detail string }
				}
			}
		}
		if err := json.Unmarshal(out, &state); err != nil {
			f.t.Fatal(err)
		}
		if fork := state.Agent.Fork; fork.Finished {
			if fork.Live != 0 || fork.Skipped != 0 || fork.Diverged != nil {
				f.t.Errorf("%s: %+v", name, fork)
			}
			return
		}
	}
	f.t.Fatalf("%s has not finished:\n%s\n%s", name, f.run("state", name, "--json"), f.run("history", name))
}
