package supervised_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/life/adapters/sandbox/supervised"
	"example.com/life/adapters/sandbox/supervisor"
)

// hostVariable makes this test binary a host that runs its value and waits to be killed.
const hostVariable = "SUPERVISED_TEST_HOST"

// watchdogVariable gives it a watchdog.
const watchdogVariable = "SUPERVISED_TEST_WATCHDOG"

func TestMain(m *testing.M) {
	if script := os.Getenv(hostVariable); script != "" {
		c := bash(script, os.Stdout)
		if within, err := time.ParseDuration(os.Getenv(watchdogVariable)); err == nil {
			c.Watchdog = &supervised.Watchdog{Every: within / 8, GoesOnUntil: func() time.Duration { return sinceBoot() + within }}
		}
		_, err := supervised.Run(context.Background(), c)
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func bash(script string, output io.Writer) supervised.Command {
	return supervised.Command{
		Path: "/bin/bash", Args: []string{"-c", script}, Dir: "/", Output: output,
		Env: []string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"},
	}
}

// run runs a script in which SLEEP sleeps for long, and fails if a process of it is left.
func run(ctx context.Context, t *testing.T, script string) (supervisor.Exit, string, error) {
	t.Helper()
	mark := sleepMark(t)
	var output bytes.Buffer
	exit, err := supervised.Run(ctx, bash(strings.ReplaceAll(script, "SLEEP", "sleep "+mark), &output))
	if left := alive(t, mark); len(left) != 0 {
		t.Errorf("processes %q are left", left)
	}
	return exit, output.String(), err
}

// sleepMark is a duration that no other test sleeps for: the mark by which /proc shows whose process it is. Unlike a variable in
// the environment it cannot be scrubbed.
func sleepMark(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("1000.%d%d", os.Getpid(), time.Now().UnixNano())
}

func alive(t *testing.T, mark string) (left []string) {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if line, err := os.ReadFile(path); err == nil && bytes.Contains(line, []byte(mark)) {
			left = append(left, path+": "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return left
}

func TestExitIsToldAsItWas(t *testing.T) {
	for script, want := range map[string]supervisor.Exit{
		"exit 0":        {},
		"exit 37":       {Code: 37},
		"kill -9 $$":    {Code: -1, Signal: syscall.SIGKILL},
		"kill -SEGV $$": {Code: -1, Signal: syscall.SIGSEGV},
		"no-such-one":   {Code: 127},
	} {
		if exit, _, err := run(t.Context(), t, script); err != nil || exit != want {
			t.Errorf("%s: %+v, %v; want %+v", script, exit, err, want)
		}
	}
}

func TestOutputIsMergedAndWhole(t *testing.T) {
	_, output, err := run(t.Context(), t, "echo one; echo two >&2; echo three; cat")
	if err != nil || output != "one\ntwo\nthree\n" {
		t.Errorf("output %q, %v", output, err)
	}
	_, output, err = run(t.Context(), t, "yes 0123456789abcde | head -c 10000000")
	if err != nil || len(output) != 10_000_000 {
		t.Errorf("%d bytes of 10 MB, %v", len(output), err)
	}
}

func TestNothingIsInherited(t *testing.T) {
	t.Setenv("API_TOKEN", "secret")
	leak, err := os.Open("/etc/hostname")
	if err != nil {
		t.Fatal(err)
	}
	defer leak.Close()
	if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, leak.Fd(), syscall.F_SETFD, 0); errno != 0 {
		t.Fatal(errno)
	}
	_, output, err := run(t.Context(), t, "env | grep -c TOKEN; ls -l /proc/$$/fd | wc -l; wc -c < /proc/self/fd/0")
	if err != nil {
		t.Fatal(err)
	}
	// Three files and the line with the total; bash -c opens nothing else.
	if output != "0\n4\n0\n" {
		t.Errorf("a command sees (variables named TOKEN, open files + 1, input) = %q", output)
	}
}

// leavings are ways to leave a process behind. Each says "ready" when it did.
var leavings = map[string]string{
	"in the background":   "SLEEP & echo ready",
	"an orphan":           "(SLEEP &) ; echo ready",
	"nohup":               "nohup SLEEP >/dev/null 2>&1 & echo ready",
	"a session":           "setsid SLEEP & echo ready",
	"a daemon":            "(setsid bash -c 'SLEEP >/dev/null 2>&1 </dev/null & SLEEP & exit' &) ; echo ready",
	"without environment": "(env -i setsid setsid SLEEP &) ; echo ready",
	"deaf to SIGTERM":     "setsid bash -c 'trap \"\" TERM HUP INT; echo ready; SLEEP & wait; SLEEP' & read -t 0.2 < <(SLEEP)",
	"stopped":             "SLEEP & kill -STOP $!; echo ready",
	"deep":                "bash -c 'bash -c \"bash -c \\\"SLEEP & SLEEP\\\" & SLEEP\" & echo ready; exec setsid SLEEP' & read -t 0.1 < <(SLEEP); echo ready",
}

func TestNothingIsLeftByACommandThatEnds(t *testing.T) {
	for name, script := range leavings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun := time.Now()
			exit, output, err := run(t.Context(), t, script+"\nexit 5")
			if err != nil || exit.Code != 5 || exit.Left != 0 || !strings.Contains(output, "ready") {
				t.Errorf("%+v, %q, %v", exit, output, err)
			}
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestNothingIsLeftWhenTheContextEnds(t *testing.T) {
	for name, script := range leavings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
			defer cancel()
			exit, _, err := run(ctx, t, script+"\nSLEEP")
			if !errors.Is(err, context.DeadlineExceeded) || exit.Left != 0 {
				t.Errorf("%+v, %v; want the deadline", exit, err)
			}
			deadline, _ := ctx.Deadline()
			if late := time.Since(deadline); late > 3*time.Second {
				t.Errorf("it returned %v late", late)
			}
		})
	}
}

func TestForkStormsEnd(t *testing.T) {
	for name, script := range map[string]string{
		// Bounded: a storm that outruns the supervisor must end by itself, not take the machine with it.
		"orphans":  "for i in $(seq 400); do (SLEEP &) ; done; SLEEP",
		"sessions": "for i in $(seq 400); do setsid SLEEP & done; SLEEP",
		"doubling": "f() { [ $1 -gt 0 ] && { f $(($1-1)) & f $(($1-1)) & }; SLEEP; }; f 7 2>/dev/null",
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 80*time.Millisecond)
			defer cancel()
			exit, _, err := run(ctx, t, script)
			if !errors.Is(err, context.DeadlineExceeded) || exit.Left != 0 {
				t.Errorf("%+v, %v", exit, err)
			}
		})
	}
}

func TestCancelIsPrompt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var begun time.Time
	started := writerFunc(func(p []byte) (int, error) {
		begun = time.Now()
		cancel()
		return len(p), nil
	})
	_, err := supervised.Run(ctx, bash("echo started; sleep 1000", started))
	if took := time.Since(begun); !errors.Is(err, context.Canceled) || took > time.Second {
		t.Errorf("%v after %v", err, took)
	}
	if _, err := supervised.Run(ctx, bash("exit 0", nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("a run whose context has ended before: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestCommandsAtTheSameTimeLeaveEachOtherAlone(t *testing.T) {
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			exit, output, err := run(t.Context(), t, fmt.Sprintf("(setsid SLEEP &); sleep 0.%d; echo done", i))
			if err != nil || exit.Code != 0 || output != "done\n" {
				t.Errorf("command %d: %+v, %q, %v", i, exit, output, err)
			}
		})
	}
	all.Wait()
}

func TestNothingIsLeftWhenTheHostIsKilled(t *testing.T) {
	mark := sleepMark(t)
	host := exec.Command("/proc/self/exe")
	host.Env = append(os.Environ(), fmt.Sprintf("%s=(setsid sleep %s >/dev/null &); setsid nohup sleep %[2]s & echo ready; sleep %[2]s", hostVariable, mark))
	output, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(output).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the host said %q, %v", line, err)
	}
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for len(alive(t, mark)) != 0 { // a test that fails here ends by its time limit, and shows this line
		<-time.After(5 * time.Millisecond)
	}
	if err := host.Wait(); err == nil {
		t.Error("the killed host ended well")
	}
}

func TestWhatCannotStartIsAnError(t *testing.T) {
	for name, c := range map[string]supervised.Command{
		"no such program":   {Path: "/no/such/program", Dir: "/"},
		"no such directory": {Path: "/bin/bash", Dir: "/no/such/directory"},
		"too long":          {Path: "/bin/bash", Dir: "/", Args: []string{"-c", strings.Repeat("x", 1<<20)}},
	} {
		if exit, err := supervised.Run(t.Context(), c); err == nil || strings.Contains(err.Error(), "was killed") {
			t.Errorf("%s: %+v, %v", name, exit, err)
		}
	}
}

func TestKilledSupervisorIsAnAlarm(t *testing.T) {
	_, err := supervised.Run(t.Context(), bash("kill -9 $PPID; sleep 1000", nil))
	if err == nil || !strings.Contains(err.Error(), "supervisor was killed") {
		t.Errorf("%v", err)
	}
}

func BenchmarkRun(b *testing.B) {
	for b.Loop() {
		if _, err := supervised.Run(b.Context(), bash("exit 0", nil)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPlainExec(b *testing.B) {
	for b.Loop() {
		if err := exec.CommandContext(b.Context(), "/bin/bash", "-c", "exit 0").Run(); err != nil {
			b.Fatal(err)
		}
	}
}

// TestWatchdog: a command of a host that lives ends when the time has come until which the host could last say that it may go on, with all that it started, and not
// before. How often the host says so does not matter, nor when that arrives.
func TestWatchdog(t *testing.T) {
	for name, further := range map[string]time.Duration{"it may go on twice as long": 1500 * time.Millisecond, "the host says the same again and again": 0} {
		mark := sleepMark(t)
		var mu sync.Mutex
		var asked int
		end := sinceBoot() + 1500*time.Millisecond
		c := bash("setsid sleep "+mark+" & sleep "+mark, io.Discard)
		c.Watchdog = &supervised.Watchdog{Every: 20 * time.Millisecond, GoesOnUntil: func() time.Duration {
			mu.Lock()
			defer mu.Unlock()
			if asked++; asked == 4 {
				end += further
			}
			return end
		}}
		exit, err := supervised.Run(t.Context(), c)
		if err != nil || exit.Excess != supervisor.ExcessLease {
			t.Errorf("%s: %+v, %v", name, exit, err)
		}
		if now := sinceBoot(); now < end-10*time.Millisecond {
			t.Errorf("%s: it was ended %s early", name, end-now)
		}
		if left := alive(t, mark); len(left) != 0 {
			t.Errorf("%s: processes %q are left", name, left)
		}
	}
}

// TestWatchdogOfAQuickCommand: what ends by itself is not touched.
func TestWatchdogOfAQuickCommand(t *testing.T) {
	c := bash("exit 3", io.Discard)
	c.Watchdog = &supervised.Watchdog{Every: time.Second, GoesOnUntil: func() time.Duration { return sinceBoot() + time.Minute }}
	if exit, err := supervised.Run(t.Context(), c); err != nil && exit.Code != 3 || exit.Code != 3 || exit.Excess != "" {
		t.Errorf("%+v, %v", exit, err)
	}
}

// sinceBoot is CLOCK_BOOTTIME, to a hundredth of a second.
func sinceBoot() time.Duration {
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		panic(err)
	}
	seconds, _, _ := strings.Cut(string(text), " ")
	length, err := time.ParseDuration(seconds + "s")
	if err != nil {
		panic(err)
	}
	return length
}

// TestWatchdogOfAHostThatWokeLate: a command whose host was stopped between its last look and the order is not begun, however gladly the host says then that it may.
func TestWatchdogOfAHostThatWokeLate(t *testing.T) {
	for name, begins := range map[string]time.Duration{"the lease is over": sinceBoot() - 10*time.Millisecond, "there was none": 0} {
		var output bytes.Buffer
		c := bash("echo begun", &output)
		asked := 0
		c.Watchdog = &supervised.Watchdog{Every: time.Millisecond, GoesOnUntil: func() time.Duration {
			if asked++; asked == 1 {
				return begins
			}
			return sinceBoot() + time.Minute
		}}
		_, err := supervised.Run(t.Context(), c)
		if not := new(supervisor.NotBegunError); !errors.As(err, not) || !strings.Contains(err.Error(), "its host was stopped") {
			t.Errorf("%s: %v", name, err)
		}
		if output.Len() > 0 {
			t.Errorf("%s: it printed %q", name, &output)
		}
	}
}

// TestWatchdogOfAStoppedHost: a host that was stopped, and never feeds again, loses its commands though it is not dead.
func TestWatchdogOfAStoppedHost(t *testing.T) {
	mark := sleepMark(t)
	host := exec.Command("/proc/self/exe")
	host.Env = append(os.Environ(), hostVariable+"=sleep "+mark, watchdogVariable+"=300ms")
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = host.Process.Kill()
		_ = host.Wait()
	}()
	for len(alive(t, mark)) == 0 {
		<-time.After(5 * time.Millisecond)
	}
	if err := host.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for len(alive(t, mark)) != 0 { // a test that fails here ends by its time limit, and shows this line
		<-time.After(5 * time.Millisecond)
	}
}

// TestPipes: a command that is talked to reads until its input ends; what it says and what it complains of come apart.
func TestPipes(t *testing.T) {
	input, ask, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	answer, output, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints bytes.Buffer
	c := bash("echo begun >&2; while read -r line; do echo \"heard $line\"; done; exit 4", &complaints)
	c.Pipes = &supervised.Pipes{Input: input, Output: output}
	said := make(chan string)
	go func() {
		lines := bufio.NewReader(answer)
		for _, line := range []string{"one\n", "two\n"} {
			if _, err := ask.WriteString(line); err != nil {
				t.Error(err)
			}
			heard, err := lines.ReadString('\n')
			if err != nil || heard != "heard "+line {
				t.Errorf("%q, %v", heard, err)
			}
		}
		_ = ask.Close()
		rest, _ := io.ReadAll(lines)
		said <- string(rest)
	}()
	exit, err := supervised.Run(t.Context(), c)
	_, _ = input.Close(), output.Close()
	if rest := <-said; err != nil || exit.Code != 4 || complaints.String() != "begun\n" || rest != "" {
		t.Errorf("%+v, %v; it complained %q, and said %q at last", exit, err, &complaints, rest)
	}
	_ = answer.Close()
}
