// Package supervisor is the process between a host and a command: it confines itself and what it starts, starts the command, and ends when nothing
// of it is left. Package supervised has the host's side.
//
// It begins while this package is initialised. That is the one way in which every binary that can start a supervisor, tests included, can also be one, so that
// a start can never run the host's main again. It must also be early: Go initialises packages in the order of their import paths, as soon as what they
// import is. So this package imports nothing but what almost every package does, and the host's libraries are not even begun (a test holds it to that).
package supervisor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Name is the name, argument 0, under which a binary is a supervisor and nothing else.
const Name = "life: supervisor of a command"

// The file descriptors that a supervisor has beside the three usual ones.
const (
	lifelineFD = 3 // ends when the command must
	reportFD   = 4 // takes one line that says how the command ended
)

// grace is the time between asking processes to terminate and killing them.
const grace = 500 * time.Millisecond

// killFor bounds what does not happen: processes that a SIGKILL does not end.
const killFor = 15 * time.Second

// EndsWithin is how long a supervisor takes at most to end a command.
const EndsWithin = grace + killFor

// See the package comment for why this is here and not in main.
var _ = beSupervisor()

// beSupervisor does not return when this process was started as a supervisor.
func beSupervisor() struct{} {
	if len(os.Args) != 1 || os.Args[0] != Name {
		return struct{}{}
	}
	report := os.NewFile(reportFD, "report")
	exit, err := supervise(os.NewFile(lifelineFD, "lifeline"))
	status := 0
	if _, err := report.WriteString(formatReport(exit, err)); err != nil {
		status = 2 // the host is gone, and so is everything else
	}
	syscall.Exit(status) // unlike os.Exit it does not wait for the race detector's last words
	return struct{}{}
}

// supervise runs the command that is ordered and returns when this process has no child left. It ends the command when the lifeline ends.
func supervise(lifeline *os.File) (Exit, error) {
	// From here on orphans come to this process. Signals meant to end it are taken and dropped: it ends last.
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0, 0, 0, 0); errno != 0 {
		return Exit{}, fmt.Errorf("become a subreaper: %w", errno)
	}
	for _, number := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE} {
		if err := ignore(number); err != nil {
			return Exit{}, err
		}
	}
	// The host may have been started with files open that are not marked; a command must not get those.
	if err := closeOnExec(); err != nil {
		return Exit{}, err
	}
	makeThreads()
	o, err := receive()
	if err != nil {
		return Exit{}, fmt.Errorf("read what to run: %w", err)
	}
	child, err := o.begin()
	if err != nil {
		return Exit{}, err
	}
	ended := make(chan Exit, 1)
	empty := make(chan struct{})
	go func() {
		defer close(empty)
		reap(child, ended)
	}()
	cut, over := o.live(lifeline)
	exit := Exit{Code: -1}
	select {
	case exit = <-ended:
	case <-cut:
	case <-over:
		exit.Excess = ExcessLease
	case exit.Excess = <-o.watch():
	}
	exit.Left = endAll(empty, exit.Excess != "")
	select {
	case late := <-ended:
		exit.Code, exit.Signal = late.Code, late.Signal
	default:
	}
	return exit, nil
}

// receive waits for the order. Open files come before it; standard input is a socket for that.
func receive() (o order, err error) {
	var first [1]byte
	files := make([]byte, 4096)
	_, size, flags, _, err := syscall.Recvmsg(0, first[:], files, syscall.MSG_CMSG_CLOEXEC)
	switch {
	case err != nil:
		return o, os.NewSyscallError("recvmsg", err)
	case flags&syscall.MSG_CTRUNC != 0: // the kernel drops in silence what there is no descriptor for
		return o, os.NewSyscallError("recvmsg", syscall.EMFILE)
	}
	messages, err := syscall.ParseSocketControlMessage(files[:size])
	if err != nil {
		return o, err
	}
	if err := json.NewDecoder(io.MultiReader(bytes.NewReader(first[:]), os.Stdin)).Decode(&o); err != nil {
		return o, err
	}
	for i := range messages {
		handed, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			return o, err
		}
		o.files = append(o.files, handed...)
	}
	return o, nil
}

// makeThreads lets the runtime create all the threads that supervising takes, and more, which it keeps for later. A command may use
// up the process ids of the machine; then no thread can be created, and a runtime that needs one dies, just when its work begins.
func makeThreads() {
	const enough = 8 // one each for the main goroutine, reap, the lifeline and signals; the others are spare
	var made sync.WaitGroup
	release := make(chan struct{})
	for range enough {
		made.Add(1)
		go func() { // it ends with the process at the latest
			runtime.LockOSThread() // so that each has a thread of its own, all at the same time
			defer runtime.UnlockOSThread()
			made.Done()
			<-release
		}()
	}
	made.Wait()
	close(release)
}

// begin starts the command on a thread of its own, which is kept: what confines the command confines this thread and what it starts, while the rest of
// the supervisor goes on as it is. If the supervisor is killed, the command dies with the thread.
func (o *order) begin() (pid int, err error) {
	begun := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		pid, err = o.start()
		close(begun)
		select {}
	}()
	<-begun
	return pid, err
}

// start begins the command in a session of its own, so that it cannot signal its supervisor by way of a process group.
func (o *order) start() (int, error) {
	streams, err := o.streams()
	if err != nil {
		return 0, err
	}
	attr := &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if o.Confinement != nil {
		if err := o.Confinement.begin(attr, o.files); err != nil {
			return 0, fmt.Errorf("confine the command: %w", err)
		}
	}
	argv := make([]string, 0, len(o.Args)+1)
	argv = append(argv, string(o.Path))
	for _, arg := range o.Args {
		argv = append(argv, string(arg))
	}
	env := make([]string, len(o.Env))
	for i, variable := range o.Env {
		env[i] = string(variable)
	}
	if o.over() { // as late as this can be found
		return 0, errors.New("the command did not begin: its host was stopped since it was last known to be a member of its cluster, and others may go on with its work")
	}
	pid, err := syscall.ForkExec(string(o.Path), argv, &syscall.ProcAttr{Dir: string(o.Dir), Env: env, Files: streams, Sys: attr})
	if err != nil {
		return 0, fmt.Errorf("start %s in %s: %w", o.Path, o.Dir, err)
	}
	return pid, nil
}

// streams are the command's standard input, output and error.
func (o *order) streams() ([]uintptr, error) {
	if o.Piped {
		ends := o.files[max(0, len(o.files)-2):]
		if len(ends) < 2 {
			return nil, errors.New("the pipes to the command were not handed down")
		}
		return []uintptr{uintptr(ends[0]), uintptr(ends[1]), 2}, nil
	}
	input, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	return []uintptr{uintptr(input), 1, 2}, err
}

// begin confines this thread, and what attr starts on it.
func (c *Confinement) begin(attr *syscall.SysProcAttr, files []int) error {
	// The rest of this process keeps its rights, and the command is the same user: it must not reach in here through /proc.
	if err := prctl("PR_SET_DUMPABLE", prSetDumpable, 0, 0); err != nil {
		return err
	}
	if c.Namespaces {
		if err := c.enter(files); err != nil {
			return fmt.Errorf("make its file tree: %w", err)
		}
		if len(c.Network) > 0 {
			if err := handListener(); err != nil {
				return fmt.Errorf("make the listener of its proxy: %w", err)
			}
		}
	}
	if err := c.Limits.set(c.Namespaces); err != nil {
		return err
	}
	if c.Identity != nil && !c.Namespaces { // it takes privileges, and takes them away
		attr.Credential = &syscall.Credential{Uid: uint32(c.Identity.UID), Gid: uint32(c.Identity.GID)}
	} else if err := dropCapabilities(); err != nil {
		return err
	}
	if err := prctl("PR_SET_NO_NEW_PRIVS", prSetNoNewPrivs, 1, 0); err != nil {
		return err
	}
	if c.Ruleset != nil {
		if err := c.Ruleset.restrict(); err != nil {
			return fmt.Errorf("restrict it with Landlock: %w", err)
		}
	}
	if len(c.Filter) > 0 {
		return install(c.Filter)
	}
	return nil
}

// reap waits for children, own and adopted, until none is left, and tells how the one it is asked about ended.
func reap(child int, ended chan<- Exit) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return // ECHILD: none is left
		case pid == child && status.Signaled():
			ended <- Exit{Code: -1, Signal: status.Signal()}
		case pid == child:
			ended <- Exit{Code: status.ExitStatus()}
		}
	}
}

// endAll ends everything below this process and returns how much of it could not be ended. Unless it must be at once, it asks first.
func endAll(empty <-chan struct{}, atOnce bool) (left int) {
	select {
	case <-empty: // the common case: the command left nothing behind
		return 0
	default:
	}
	asked := time.Now()
	if atOnce {
		asked = asked.Add(-grace)
		signalTree(syscall.SIGKILL)
	} else {
		signalTree(syscall.SIGTERM)
	}
	pause := time.Millisecond
	for {
		select {
		case <-empty:
			return 0
		case <-time.After(pause):
		}
		if since := time.Since(asked); since > grace+killFor {
			return signalTree(syscall.SIGKILL)
		} else if since > grace {
			signalTree(syscall.SIGKILL)
		}
		pause = min(2*pause, 20*time.Millisecond)
	}
}

// Exit says how a command ended.
type Exit struct {
	Code   int            // its exit status; -1 when a signal ended it or it was cut off
	Signal syscall.Signal // the signal that ended it, or 0
	Left   int            // processes that could not be killed; anything but 0 is an alarm
	Excess Excess         // the limit for which it was cut off, if it was
}

// Excess is a limit that a command exceeded.
type Excess string

// The limits that a supervisor watches.
const (
	ExcessMemory Excess = "memory"
	ExcessDisk   Excess = "disk"
	ExcessLease  Excess = "lease" // of time, since the host could last say that it may go on
)

// order is what a host tells a supervisor to do.
type order struct {
	Path, Dir   Bytes
	Args, Env   []Bytes
	Confinement *Confinement
	Piped       bool // the last two files that were handed down are its standard input and output
	Lease

	files []int // that were handed down
}

// Lease is a host's right to a command, which it may lose while it lives.
type Lease struct {
	Bounded bool          // else the command may run as long as the host lives
	Until   time.Duration // CLOCK_BOOTTIME; later the command is not begun, and ended if it runs. The lifeline carries later times, see [Renewal]
}

// over reports whether it has ended.
func (l Lease) over() bool { return l.Bounded && sinceBoot() >= l.Until }

// Renewal is what a host writes to the lifeline to have the lease end later, in one piece. What was written when the supervisor comes to read it late counts as it
// stands: no time is taken from when something arrives.
func Renewal(until time.Duration) []byte {
	renewal := make([]byte, renewalSize)
	for i := range renewal {
		renewal[i] = byte(until >> (8 * i))
	}
	return renewal
}

const renewalSize = 8

func readRenewal(renewal [renewalSize]byte) (until time.Duration) {
	for i := range renewal {
		until |= time.Duration(renewal[i]) << (8 * i)
	}
	return until
}

// Encode is how a host orders a supervisor to run a program: it is to be written to its standard input. piped says that the last two files handed down with it are
// the program's standard input and output.
func Encode(path string, args []string, dir string, env []string, c *Confinement, piped bool, lease Lease) ([]byte, error) {
	return json.Marshal(order{Path: Bytes(path), Dir: Bytes(dir), Args: exact(args), Env: exact(env), Confinement: c, Piped: piped, Lease: lease})
}

func exact(texts []string) []Bytes {
	all := make([]Bytes, len(texts))
	for i, text := range texts {
		all[i] = Bytes(text)
	}
	return all
}

// ErrKilled says that the supervisor did not live to say how its command ended.
var ErrKilled = errors.New("its supervisor was killed; processes of it may be left")

// NotBegunError is why a command did not begin.
type NotBegunError string

// Error implements error.
func (e NotBegunError) Error() string { return string(e) }

// ParseReport reads the line in which a supervisor says how its command ended.
func ParseReport(line string) (Exit, error) {
	line, whole := strings.CutSuffix(line, "\n")
	if !whole {
		return Exit{}, ErrKilled
	}
	if reason, failed := strings.CutPrefix(line, "failed "); failed {
		return Exit{}, NotBegunError(reason)
	}
	fields := strings.Fields(line)
	if len(fields) < 4 || len(fields) > 5 || fields[0] != "exit" {
		return Exit{}, fmt.Errorf("its supervisor reported %q", line)
	}
	var numbers [3]int
	for i, field := range fields[1:4] {
		number, err := strconv.Atoi(field)
		if err != nil {
			return Exit{}, fmt.Errorf("its supervisor reported %q: %w", line, err)
		}
		numbers[i] = number
	}
	exit := Exit{Code: numbers[0], Signal: syscall.Signal(numbers[1]), Left: numbers[2]}
	if len(fields) == 5 {
		exit.Excess = Excess(fields[4])
	}
	return exit, nil
}

// formatReport is the opposite of ParseReport.
func formatReport(exit Exit, err error) string {
	if err != nil {
		return "failed " + strings.ReplaceAll(err.Error(), "\n", " ") + "\n"
	}
	return strings.TrimSuffix(fmt.Sprintf("exit %d %d %d %s", exit.Code, int(exit.Signal), exit.Left, exit.Excess), " ") + "\n"
}
