package cmd

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"example.com/life/cmd/bench"
	"example.com/life/cmd/stores"
)

func TestMain(m *testing.M) {
	// A race build sleeps for a second at its end, so that late races are seen: in each of the thousand processes that the stories start.
	if err := os.Setenv("GORACE", strings.TrimSpace("atexit_sleep_ms=10 "+os.Getenv("GORACE"))); err != nil {
		panic(err)
	}
	// Stories wait for processes more than they compute: run more of them at a time than there are processors.
	// Not in the binary as life, whose flags are its own.
	if processors := runtime.GOMAXPROCS(0); filepath.Base(os.Args[0]) != "life" {
		if flag.Parse(); flag.Lookup("test.parallel").Value.String() == strconv.Itoa(processors) {
			if err := flag.Set("test.parallel", strconv.Itoa(2*processors)); err != nil {
				panic(err)
			}
		}
	}
	testscript.Main(m, map[string]func(){"life": func() { Main(Config{Version: "test"}) }})
}

// TestScripts drives the binary as a user does: testdata/script holds one story a file. Besides testscript's own commands there are
//
//	status N life ...        the exit status is exactly N
//	serve [life flags]       starts life serve in the background and waits until it answers
//	end SIGNAL               ends it with a signal and waits; what it wrote is in stdout
//	interrupt FILE life ...  sends SIGINT once FILE exists, and leaves the exit status in $status
//	waitfile FILE            waits until FILE exists
//	waits AGENT              waits until a call of the agent waits for a person
//	count N PATTERN FILE     PATTERN is in N lines of FILE
//	big FILE N               writes a file of N bytes
//	edit FILE OLD NEW        replaces a text in a file
//	first N FILE OTHER       writes the first N lines of a file to another one
//	storeserve VAR DIR       starts life store serve on a data directory; its address is in $VAR
//	storeend VAR SIGNAL      ends it, with TERM or KILL
//	publish TYPE DATA        appends a command to the bus as another program does
//	foreign STREAM TYPE DATA appends an event to any stream as another program does
//	endpoint VAR FILE...     plays a model's endpoint that answers with the files; its address is in $VAR, what it is sent in request-N
//
// [embedded] is true unless the tests run over the EventStoreDB protocol (storeserve_test.go).
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "testdata/script",
		Setup: setUp,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status, "stopped": stoppedAt, "begin": begin, "halt": halt, "serve": serve, "waitfile": waitFile, "waits": untilAsked, "end": end, "interrupt": interrupt, "count": count, "big": big,
			"edit": edit, "first": firstLines, "publish": publish, "foreign": foreign, "endpoint": playEndpoint, "storeserve": storeServe, "storeend": storeEnd,
		},
		Condition: func(name string) (bool, error) {
			if name != "embedded" {
				return false, fmt.Errorf("there is no condition %s", name)
			}
			return !overProtocol(), nil
		},
	})
}

func setUp(e *testscript.Env) error {
	scripts, err := filepath.Abs("testdata/models")
	if err != nil {
		return err
	}
	examples, err := filepath.Abs("../adapters/declared/examples")
	if err != nil {
		return err
	}
	store, err := startTestStore("TestScripts", filepath.Join(e.WorkDir, "test-store"), e.Defer)
	if err != nil {
		return err
	}
	if story := strings.TrimPrefix(filepath.Base(e.WorkDir), "script-"); *recordStories && !overProtocol() {
		e.Defer(func() {
			if _, err := os.Stat(filepath.Join(e.WorkDir, "data", stores.StoreName)); err != nil {
				return // it has no store of its own
			}
			if err := recordStory(filepath.Join(e.WorkDir, "data"), story); err != nil {
				e.T().Log("record", story, err)
			}
		})
	}
	e.Values[serverKey{}] = new(*hosting)
	e.Values[begunKey{}] = new(func())
	e.Values[storeServersKey{}] = map[string]*bench.Child{}
	e.Setenv("HOME", e.WorkDir)
	e.Setenv("LIFE_DATA", filepath.Join(e.WorkDir, "data"))
	e.Setenv("EXAMPLES", examples)
	e.Setenv("LIFE_SCRIPTS", scripts)
	e.Setenv("LIFE_LISTEN", "127.0.0.1:0")
	e.Setenv("LIFE_MODEL", "scripted/tour")
	e.Setenv("LIFE_USER", "ada")
	e.Setenv("LIFE_STORE", store)
	e.Setenv("GORACE", os.Getenv("GORACE"))
	return nil
}

// status runs a command and compares its exit status.
func status(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exited := new(exec.ExitError); err != nil {
		if !errors.As(err, &exited) {
			ts.Fatalf("%v", err)
		}
		got = exited.ExitCode()
	}
	if got != want {
		ts.Fatalf("status %d, want %d", got, want)
	}
}

// hosting is the life serve that a script started.
type hosting struct {
	cmd   *exec.Cmd
	errs  bytes.Buffer
	ended chan struct{} // closed when it has ended, with err
	err   error
}

type serverKey struct{}

func theServer(ts *testscript.TestScript) *hosting {
	s, ok := ts.Value(serverKey{}).(**hosting)
	if !ok {
		ts.Fatalf("the script's setup is missing")
	}
	if *s == nil {
		*s = &hosting{}
	}
	return *s
}

// serve starts life serve, and returns once it says where it is.
func serve(ts *testscript.TestScript, _ bool, args []string) {
	s := theServer(ts)
	*s = hosting{ended: make(chan struct{})}
	s.cmd = exec.Command(lookPath(ts), append([]string{"serve"}, args...)...)
	s.cmd.Env, s.cmd.Dir, s.cmd.Stderr = environment(ts), ts.MkAbs("."), &s.errs
	ts.Check(s.cmd.Start())
	go func() {
		defer close(s.ended)
		s.err = s.cmd.Wait()
	}()
	ts.Defer(func() {
		_ = s.cmd.Process.Kill()
		<-s.ended
	})
	for deadline := time.After(20 * time.Second); ; {
		if where, err := readServing(ts.Getenv("LIFE_DATA")); err == nil && where.PID == s.cmd.Process.Pid {
			return
		}
		select {
		case <-s.ended:
			ts.Fatalf("life serve ended: %v\n%s", s.err, &s.errs)
		case <-deadline:
			ts.Fatalf("life serve does not say where it is\n%s", &s.errs)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// end ends the server of this script.
func end(ts *testscript.TestScript, neg bool, args []string) {
	s := theServer(ts)
	signal := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL}[args[0]]
	ts.Check(s.cmd.Process.Signal(signal))
	select {
	case <-s.ended:
	case <-time.After(20 * time.Second):
		ts.Fatalf("life serve does not end")
	}
	if (s.err != nil) != neg {
		ts.Fatalf("life serve ended with %v\n%s", s.err, &s.errs)
	}
	_, err := ts.Stdout().Write(s.errs.Bytes())
	ts.Check(err)
}

// interrupt runs a command and interrupts it, once a file exists.
func interrupt(ts *testscript.TestScript, _ bool, args []string) {
	cmd := exec.Command(lookPath(ts), args[2:]...)
	cmd.Env, cmd.Dir = environment(ts), ts.MkAbs(".")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	waitForFile(ts, ts.MkAbs(args[0]))
	ts.Check(cmd.Process.Signal(os.Interrupt))
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		<-ended
		ts.Fatalf("it does not end\n%s", &errs)
	}
	ts.Setenv("status", strconv.Itoa(cmd.ProcessState.ExitCode()))
	ts.Logf("%s%s", &out, &errs)
}

func waitForFile(ts *testscript.TestScript, path string) {
	for deadline := time.Now().Add(20 * time.Second); ; <-time.After(5 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s does not come to be", path)
		}
	}
}

func count(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	for _, line := range strings.Split(ts.ReadFile(args[2]), "\n") {
		if strings.Contains(line, args[1]) {
			got++
		}
	}
	if got != want {
		ts.Fatalf("%q is in %d lines of %s, want %d", args[1], got, args[2], want)
	}
}

func big(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), bytes.Repeat([]byte("a"), size), 0o600))
}

func environment(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "LIFE_DATA", "LIFE_STORE", "LIFE_SCRIPTS", "LIFE_LISTEN", "LIFE_USER", "TMPDIR", "GORACE", "LIFE_TOKEN_FILE", "GOCOVERDIR"} {
		if value := ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// lookPath finds life in the script's own PATH.
func lookPath(ts *testscript.TestScript) string {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		path := filepath.Join(dir, "life")
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	ts.Fatalf("life is not in PATH")
	return ""
}

func TestQuantile(t *testing.T) {
	times := []time.Duration{time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond}
	for q, want := range map[float64]string{0: "1", 0.5: "2", 1: "3"} {
		if got := fmt.Sprint(quantile(times, q)); got != want {
			t.Errorf("quantile %v is %s, want %s", q, got, want)
		}
	}
}

func waitFile(ts *testscript.TestScript, _ bool, args []string) { waitForFile(ts, ts.MkAbs(args[0])) }

func untilAsked(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		cmd := exec.Command(lookPath(ts), "state", args[0])
		cmd.Env = environment(ts)
		if out, err := cmd.Output(); err == nil && bytes.Contains(out, []byte(" waiting ")) {
			return
		}
	}
	ts.Fatalf("no call of %s waits for a person", args[0])
}
