package cmd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"example.com/life/cmd/bench"
	"example.com/life/cmd/stores"
)

// The tests of this package run over two stores. LIFE_TEST_STORE=esdb gives each test a life store serve of its own, and has its
// verbs reach that through the EventStoreDB protocol; without it events are in the data directory. Tests about the embedded
// directory itself say LIFE_STORE=embedded.
const testStoreVariable = "LIFE_TEST_STORE"

func overProtocol() bool { return os.Getenv(testStoreVariable) == "esdb" }

// startTestStore starts a store server on a directory and returns its address; "embedded" when tests are not over the protocol. The
// test has to be among those that make test-esdb names: the others do the same whatever LIFE_TEST_STORE says.
func startTestStore(test, dir string, done func(func())) (address string, err error) {
	makefile, err := os.ReadFile(filepath.Join("..", "Makefile"))
	if err != nil {
		return "", err
	}
	_, verb, _ := strings.Cut(string(makefile), "\ntest-esdb:")
	verb, _, _ = strings.Cut(verb, "\n\n")
	if !slices.Contains(regexp.MustCompile(`Test\w+`).FindAllString(verb, -1), test) {
		return "", fmt.Errorf("%s uses a store, but test-esdb in the Makefile does not run it: add it there", test)
	}
	if !overProtocol() {
		return stores.InData, nil
	}
	s, err := startStoreServerHere(dir, bench.AnyPort)
	if err != nil {
		return "", err
	}
	done(func() { _ = s.Kill() })
	return s.Address, nil
}

// startStoreServerHere starts a store server on a data directory that outlives the context of whoever asks.
func startStoreServerHere(data, listen string) (*bench.Child, error) {
	life, err := exec.LookPath("life")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	return bench.StartStore(context.Background(), life, data, listen)
}

// useTestStore sets LIFE_STORE for a test that runs verbs in its own process.
func useTestStore(t *testing.T) {
	t.Helper()
	address, err := startTestStore(t.Name(), t.TempDir(), t.Cleanup)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LIFE_STORE", address)
}

// storeServe starts life store serve on a data directory and puts its address into a variable of the script.
func storeServe(ts *testscript.TestScript, _ bool, args []string) {
	s, err := startStoreServerHere(ts.MkAbs(args[1]), bench.AnyPort)
	ts.Check(err)
	servers, ok := ts.Value(storeServersKey{}).(map[string]*bench.Child)
	if !ok {
		ts.Fatalf("the script's setup is missing")
	}
	servers[args[0]] = s
	ts.Defer(func() { _ = s.Kill() })
	ts.Setenv(args[0], s.Address)
}

// storeEnd ends one of them with a signal, and waits.
func storeEnd(ts *testscript.TestScript, _ bool, args []string) {
	servers, ok := ts.Value(storeServersKey{}).(map[string]*bench.Child)
	if !ok || servers[args[0]] == nil {
		ts.Fatalf("there is no store server %s", args[0])
	}
	if args[1] == "KILL" {
		ts.Check(servers[args[0]].Kill())
		return
	}
	ts.Check(servers[args[0]].Stop())
}

type storeServersKey struct{}

// edit replaces a text in a file, as damage does.
func edit(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	text, err := os.ReadFile(path)
	ts.Check(err)
	if !strings.Contains(string(text), args[1]) {
		ts.Fatalf("%q is not in %s", args[1], args[0])
	}
	ts.Check(os.WriteFile(path, []byte(strings.Replace(string(text), args[1], args[2], 1)), 0o600))
}

// firstLines keeps the first lines of a file in another one.
func firstLines(ts *testscript.TestScript, _ bool, args []string) {
	count, err := strconv.Atoi(args[0])
	ts.Check(err)
	lines := strings.SplitAfter(ts.ReadFile(args[1]), "\n")
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(strings.Join(lines[:min(count, len(lines))], "")), 0o600))
}
