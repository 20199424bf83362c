package cmd

import (
	"bufio"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/life/adapters/eventstore/eventstoretest"
	"example.com/life/cmd/bench"
	"example.com/life/cmd/stores"
)

// processOf starts life in a process of its own, with a data directory of its own, and returns what it says on standard error.
func processOf(t *testing.T, store string, args ...string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	binary, err := exec.LookPath("life")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "LIFE_DATA="+t.TempDir(), "LIFE_STORE="+store, "LIFE_LISTEN=127.0.0.1:0")
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(said)
}

// ending is the status with which a command ends, after all that it says.
func ending(t *testing.T, cmd *exec.Cmd, said *bufio.Scanner) int {
	t.Helper()
	for said.Scan() {
		t.Log(said.Text())
	}
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

// restarting is for how long the store is away: longer than verbs waited before.
const restartingFor = 6 * time.Second

// TestVerbWaitsForStore: a verb waits for a store that restarts, says so, and then does what it was asked.
func TestVerbWaitsForStore(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	store, err := startStoreServerHere(data, bench.AnyPort)
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(store.Address)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Kill(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	verb, said := processOf(t, store.Address, "agents")
	untilSaid(t, said, "life: looking for the event store "+store.Address+", for 20s at most: ")
	wait(t.Context(), restartingFor-time.Since(began))
	if store, err = startStoreServerHere(data, address.Host); err != nil {
		t.Fatal(err)
	}
	defer store.Kill()
	untilSaid(t, said, "life: the event store "+store.Address+" is back")
	if status := ending(t, verb, said); status != exitDone {
		t.Errorf("status %d", status)
	}
}

// TestServeWaitsForStore: life serve waits for its store without end, can be left meanwhile, and when its store is away again a second
// interrupt leaves.
func TestServeWaitsForStore(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	store, err := startStoreServerHere(data, bench.AnyPort)
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(store.Address)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Kill(); err != nil {
		t.Fatal(err)
	}
	looking := "life: looking for the event store " + store.Address + ": "
	impatient, said := processOf(t, store.Address, "serve")
	untilSaid(t, said, looking)
	if err := impatient.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if status := ending(t, impatient, said); status != exitCancelled {
		t.Errorf("interrupted while it waits it ends with status %d", status)
	}

	host, said := processOf(t, store.Address, "serve")
	untilSaid(t, said, looking)
	if store, err = startStoreServerHere(data, address.Host); err != nil {
		t.Fatal(err)
	}
	untilSaid(t, said, "life: serving ")
	if err := store.Kill(); err != nil {
		t.Fatal(err)
	}
	untilSaid(t, said, looking)
	if err := host.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	untilSaid(t, said, "again to stop now")
	began := time.Now()
	if err := host.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ending(t, host, said)
	if took := time.Since(began); took > 10*leaveTime {
		t.Errorf("it left after %v", took)
	}
}

// TestDoctorKnowsWhatHelps: each kind of trouble with a store has its remedy.
func TestDoctorKnowsWhatHelps(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("LIFE_DATA", filepath.Join(dir, "data"))
	secured := secureStore(t, dir)
	plain, err := startStoreServerHere(filepath.Join(dir, "plain"), bench.AnyPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plain.Kill() })
	cluster := eventstoretest.Start(t, eventstoretest.Config{Nodes: 3})
	lost, leaderless := append(cluster.Followers()[:1], cluster.Leader()), cluster.Followers()[1]
	for _, node := range lost {
		node.Kill()
	}
	insecure := func(host string) string { return "esdb://" + host + "?tls=false" }
	impersonated := func(stranger eventstoretest.Stranger) string {
		node := eventstoretest.Start(t, eventstoretest.Config{}).Node(0)
		node.Impersonate(stranger)
		return insecure(node.Address())
	}
	trusting := "?tlsCAFile=" + filepath.Join(dir, "certs", "ca.crt")
	credentials := func(line string) string {
		file := filepath.Join(t.TempDir(), "credentials")
		if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for name, row := range map[string]struct{ store, credentials, want, remedy string }{
		"no such host":      {insecure("no-such-host.invalid:2113"), "", "cannot be resolved", "correct the host, or this machine's name resolution"},
		"nobody listens":    {insecure("127.0.0.1:1"), "", "connection refused", "start it, or correct the host and the port"},
		"no answer":         {impersonated(eventstoretest.Mute), "", "no answer within", "check that its machine runs"},
		"a web server":      {impersonated(eventstoretest.WebServer), "", "does not answer as EventStoreDB does", "correct the host and the port"},
		"babble":            {impersonated(eventstoretest.Babbler), "", "does not answer as EventStoreDB does", "correct the host and the port"},
		"no leader":         {insecure(leaderless.Address()), "", "Server Is Not Ready", "wait until it has elected a leader"},
		"encrypted":         {insecure(secured), "", "wants encrypted connections", "leave out tls=false"},
		"not encrypted":     {strings.TrimSuffix(plain.Address, "?tls=false"), "", "does not encrypt its connections", "add tls=false"},
		"unknown issuer":    {"esdb://" + secured, "", "of a CA that this machine does not know", "name the CA's file with tlsCAFile=FILE"},
		"nobody":            {"esdb://" + secured + trusting, "", "denies access to a client without a user name and password", "give a user's name and password"},
		"a wrong password":  {"esdb://" + secured + trusting, credentials("admin:not-the-password"), "does not accept the user name and password", "correct one of them"},
		"a user of no list": {"esdb://" + secured + trusting, credentials("ada:a long password"), "cannot be read", "access list of $all"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of the time it waits
			status, out, errs := life(t, "doctor", "--store", row.store, "--store-credentials-file", row.credentials)
			if status != exitError {
				t.Errorf("status %d: %s", status, errs)
			}
			_, after, _ := strings.Cut(out, "WRONG")
			lines := strings.Split(after, "\n")
			if !strings.Contains(lines[0], row.want) || len(lines) < 2 || !strings.Contains(lines[1], row.remedy) {
				t.Errorf("doctor says\n%s\nwant %q, and %q as the remedy", out, row.want, row.remedy)
			}
		})
	}
}

// secureStore starts a life store serve with TLS and the users admin and ada, and returns its host and port.
func secureStore(t *testing.T, dir string) string {
	t.Helper()
	binary, err := exec.LookPath("life")
	if err != nil {
		t.Fatal(err)
	}
	data, certs, password := filepath.Join(dir, "secure"), filepath.Join(dir, "certs"), filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("a long password\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "store", "certificates", certs)
	ready := filepath.Join(dir, "ready")
	serve := func() *exec.Cmd {
		cmd := exec.Command(binary, "store", "serve", "--listen", "127.0.0.1:0", "--data", data, "--ready-file", ready,
			"--tls-cert", filepath.Join(certs, "server.crt"), "--tls-key", filepath.Join(certs, "server.key"), "--admin-password-file", password)
		cmd.Env = append(os.Environ(), "LIFE_STORE="+stores.InData)
		cmd.Stderr = t.Output()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitForReady(t, ready)
		return cmd
	}
	first := serve()
	_ = first.Process.Signal(syscall.SIGTERM)
	if err := first.Wait(); err != nil {
		t.Fatal(err)
	}
	must(t, "store", "users", "add", "ada", "--data", data, "--password-file", password)
	server := serve()
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	text, err := os.ReadFile(ready)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(strings.TrimSpace(string(text)), "esdb://")
}

func waitForReady(t *testing.T, path string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); wait(t.Context(), 10*time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
	}
	t.Fatal("life store serve does not start")
}
