//go:build linux

// Package clustertest runs a cluster as processes: a store and hosts, each in a network of its own, between which ways can be cut. The program under test
// is this package's own test binary under another name, so that it has the race detector when the tests have it, and can be of a second build.
//
// It needs root, for the networks. Elsewhere its tests are skipped, with the reason.
package clustertest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"example.com/life/cmd"
)

// The names under which the test binary is life.
const (
	oldLife = "life"
	newLife = "life-next" // a build that is newer: see next
)

// alone is set for the test process that has a network of its own, in which nothing else is.
const alone = "LIFE_CLUSTERTEST_ALONE"

// asked is set by make test-cluster. These tests need the machine for some minutes, and hosts that may be silent for longer when it does something else too: see the flag silent.
const asked = "LIFE_TEST_CLUSTER"

// unable is why there are no networks here.
var unable string // found out once, before the tests

func TestMain(m *testing.M) {
	if err := os.Setenv("GORACE", strings.TrimSpace("atexit_sleep_ms=10 "+os.Getenv("GORACE"))); err != nil {
		panic(err)
	}
	switch filepath.Base(os.Args[0]) {
	case oldLife:
		cmd.Main(cmd.Config{Version: "one"})
	case newLife:
		next()
		cmd.Main(cmd.Config{Version: "two"})
	}
	flag.Parse()
	switch {
	case os.Getenv(asked) == "":
		unable = "make test-cluster runs it: it takes some minutes, and root"
	case os.Getenv(alone) == "" && !testing.Short():
		status, err := again()
		if err == nil {
			os.Exit(status)
		}
		unable = err.Error()
	}
	os.Exit(m.Run())
}

// again runs the tests in a process that has a network of its own, and returns its status. An error says that this process may make none.
func again() (int, error) {
	runtime.LockOSThread() // the process dies with this thread
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	tests := exec.Command(self, os.Args[1:]...)
	tests.Args[0] = os.Args[0]
	tests.Env = append(os.Environ(), alone+"=yes")
	tests.Stdin, tests.Stdout, tests.Stderr = os.Stdin, os.Stdout, os.Stderr
	tests.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := tests.Start(); err != nil {
		return 0, fmt.Errorf("each host needs a network of its own, which root can make: %w", err)
	}
	var exit *exec.ExitError
	if err := tests.Wait(); err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	return max(tests.ProcessState.ExitCode(), 0) | signalled(tests.ProcessState), nil
}

// signalled is 1 for a process that a signal ended.
func signalled(state *os.ProcessState) int {
	if status, is := state.Sys().(syscall.WaitStatus); is && status.Signaled() {
		return 1
	}
	return 0
}
