//go:build node

package cmd

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// recordedCases are the cases that were recorded from EventStoreDB, and the programs that play and compare them.
const recordedCases = "../adapters/embedded/server/testdata/eventstoredb"

// TestRecordedAnswers plays everything that was recorded from EventStoreDB 24.10 to life store serve, without security and with TLS
// and users, and fails for each answer that differs and is not one that docs/eventstore.md keeps. It needs node, npm and a registry:
// make test-recorded runs it.
func TestRecordedAnswers(t *testing.T) {
	dir, life := t.TempDir(), buildLife(t)
	if err := os.CopyFS(dir, os.DirFS(recordedCases)); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		address := serveStoreFor(t, life, t.TempDir(), "--insecure")
		playRecorded(t, dir, "plain", address.Host)
	})
	t.Run("TLS", func(t *testing.T) {
		t.Parallel()
		data, certs, password := t.TempDir(), filepath.Join(t.TempDir(), "certs"), filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(password, []byte("changeit\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, dir, life, "store", "certificates", certs)
		flags := []string{
			"--tls-cert", filepath.Join(certs, "server.crt"), "--tls-key", filepath.Join(certs, "server.key"),
			"--admin-password-file", password, "--ops-password-file", password,
		}
		address, ca := serveStoreFor(t, life, data, flags...), filepath.Join(certs, "ca.crt")
		run(t, dir, "node", "users.mjs", "localhost:"+address.Port(), "--tls-ca", ca, "--user", "admin", "--password", "changeit", "--add", "golden-plain:golden-pass")
		playRecorded(t, dir, "tls", "localhost:"+address.Port(), "--tls-ca", ca, "--user", "admin", "--password", "changeit",
			"--ops", "ops:changeit", "--plain", "golden-plain:golden-pass")
	})
}

// playRecorded plays the cases of a mode and compares the answers.
func playRecorded(t *testing.T, dir, mode, address string, flags ...string) {
	t.Helper()
	answers := filepath.Join(t.TempDir(), "answers.jsonl")
	file, err := os.Create(answers)
	if err != nil {
		t.Fatal(err)
	}
	play := exec.CommandContext(t.Context(), "node", append([]string{"run.mjs", address}, flags...)...)
	play.Dir, play.Stdout, play.Stderr = dir, file, t.Output()
	err = play.Run()
	if closing := file.Close(); err != nil || closing != nil {
		t.Fatal("run.mjs:", err, closing)
	}
	compare := exec.CommandContext(t.Context(), "node", "check.mjs", mode, answers)
	compare.Dir = dir
	output, err := compare.CombinedOutput()
	t.Logf("%s", output)
	if err != nil {
		t.Error("check.mjs:", err)
	}
}
