//go:build node

package cmd

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestNodeClient has EventStoreDB's own client for Node append, read, subscribe and share a stream in a group, against life store
// serve: without TLS, and with TLS, a user and a password. It needs node, npm and a registry, so it is not part of go test ./...:
// make test-node runs it.
func TestNodeClient(t *testing.T) {
	dir, life := t.TempDir(), buildLife(t)
	for _, name := range []string{"package.json", "package-lock.json", "client.mjs"} {
		content, err := os.ReadFile(filepath.Join("testdata", "node", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, dir, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")

	t.Run("plain", func(t *testing.T) {
		client(t, dir, serveStoreFor(t, life, t.TempDir(), "--insecure").String())
	})
	t.Run("TLS", func(t *testing.T) {
		certs, password := filepath.Join(t.TempDir(), "certs"), filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(password, []byte("a password for Node\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, dir, life, "store", "certificates", certs)
		address := serveStoreFor(t, life, t.TempDir(), "--tls-cert", filepath.Join(certs, "server.crt"), "--tls-key", filepath.Join(certs, "server.key"),
			"--admin-password-file", password, "--ops-password-file", password)
		address.User = url.UserPassword("admin", "a password for Node")
		address.RawQuery = "tlsCAFile=" + filepath.Join(certs, "ca.crt")
		client(t, dir, address.String())
	})
}

// client runs the program in Node, and shows what it prints.
func client(t *testing.T, dir, connection string) {
	t.Helper()
	output := run(t, dir, "node", "client.mjs", connection)
	t.Log(output)
	if !strings.HasSuffix(output, "done\n") {
		t.Error("the client did not come to its end")
	}
}

func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = dir
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, output)
	}
	return string(output)
}

// buildLife builds the binary as it is released.
func buildLife(t *testing.T) string {
	t.Helper()
	life := filepath.Join(t.TempDir(), "life")
	run(t, ".", "go", "build", "-o", life, "./life")
	return life
}

// serveStoreFor starts life store serve on a data directory for one test, and returns the address that it gives to clients.
func serveStoreFor(t *testing.T, life, data string, flags ...string) *url.URL {
	t.Helper()
	ready := filepath.Join(data, "address")
	server := exec.CommandContext(context.WithoutCancel(t.Context()), life, append([]string{"store", "serve", "--listen", "127.0.0.1:0", "--data", data, "--ready-file", ready}, flags...)...)
	server.Stderr = t.Output()
	server.Env = append(os.Environ(), "LIFE_STORE=embedded")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := server.Wait(); err != nil {
			t.Errorf("life store serve: %v", err)
		}
	})
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) { //nolint:forbidigo // another process
		if text, err := os.ReadFile(ready); err == nil {
			address, err := url.Parse(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			return address
		}
	}
	t.Fatal("life store serve does not start")
	return nil
}
