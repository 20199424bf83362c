// Package supervised runs a command so that nothing of it is left when it ends.
//
// A command can leave processes behind in many ways: in the background, in sessions of their own, orphaned twice over, holding
// its output open. Neither killing the child nor its process group finds those. So a supervisor stands between the host and the
// command: a process of the same binary, started anew, which makes itself the subreaper of all that is below it. From then on
// every orphan below becomes its child, and "no child is left" means exactly "nothing is left". Each command has its own, so it
// can never hit the processes of another, and it reaps only what is its own: the host's own waits are not disturbed.
//
//	host ──pipe──► supervisor ──► command ──► …
//
// The command ends, or the pipe does: because the context ended, or because the host died, however suddenly. In each case the
// supervisor asks all that is left to terminate, kills what remains after the grace, and exits when it has no child any more.
//
// What it does not promise: a command that runs as the same user and means harm can kill its supervisor first. Keeping it
// from that takes a boundary, such as a PID namespace, and that is a sandbox's work. So is a bound on the number of processes: a
// storm of forks is ended like everything else, but until then it takes what the machine has.
//
// The supervisor begins while this package is initialised. That is the one way in which every binary that can start a
// supervisor, tests included, can also be one, so that a start can never run the host's main again. It is early, too: Go initialises
// packages in the order of their import paths as soon as what they import is, and this one imports only the standard library, so
// the host's libraries are not even begun. That makes a supervisor cheap, about 2 ms, and keeps the command's clean environment from
// meeting libraries that want variables of the host's.
package supervised

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Command is what to run.
type Command struct {
	Path        string
	Args        []string // after the name
	Dir         string
	Env         []string     // all of it: nothing is inherited
	Output      io.Writer    // gets standard output and standard error, from one goroutine; standard input is empty
	Confinement *Confinement // nil: the command may do what the host may
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
)

// order is what a host tells a supervisor to do.
type order struct {
	Path, Dir   Bytes
	Args, Env   []Bytes
	Confinement *Confinement
}

func (c Command) order() ([]byte, error) {
	if c.Confinement != nil {
		c.Confinement.Handed = len(c.Confinement.Files)
	}
	return json.Marshal(order{Path: Bytes(c.Path), Dir: Bytes(c.Dir), Args: exact(c.Args), Env: exact(c.Env), Confinement: c.Confinement})
}

func exact(texts []string) []Bytes {
	all := make([]Bytes, len(texts))
	for i, text := range texts {
		all[i] = Bytes(text)
	}
	return all
}

// grace is the time between asking processes to terminate and killing them.
const grace = 500 * time.Millisecond

// Bounds on things that do not happen: processes that a SIGKILL does not end, output that is held open from outside.
const (
	killFor   = 15 * time.Second
	drainFor  = time.Second
	waitDelay = grace + killFor
)

// Run runs the command and returns when nothing of it is left. When ctx ends first, the error is the context's.
func Run(ctx context.Context, c Command) (Exit, error) {
	if err := ctx.Err(); err != nil {
		return Exit{Code: -1}, err
	}
	lifelineEnd, lifeline, err := os.Pipe()
	if err != nil {
		return Exit{}, fmt.Errorf("start %s: %w", c.Path, err)
	}
	defer lifeline.Close()
	report, reportEnd, err := os.Pipe()
	if err != nil {
		return Exit{}, fmt.Errorf("start %s: %w", c.Path, errors.Join(err, lifelineEnd.Close()))
	}
	defer report.Close()

	order, err := c.order()
	if err != nil {
		return Exit{}, fmt.Errorf("start %s: %w", c.Path, errors.Join(err, lifelineEnd.Close(), reportEnd.Close()))
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe") // this binary
	cmd.Args, cmd.Env, cmd.Dir = []string{supervisorName}, []string{}, "/"
	printed, err := c.drain()
	if err != nil {
		return Exit{}, fmt.Errorf("start %s: %w", c.Path, errors.Join(err, lifelineEnd.Close(), reportEnd.Close()))
	}
	defer printed.stop()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(order), printed.end, printed.end
	cmd.ExtraFiles = []*os.File{lifelineEnd, reportEnd}
	if c.Confinement != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, c.Confinement.Files...)
	}
	cmd.SysProcAttr = c.Confinement.attributes()
	cmd.Cancel = lifeline.Close
	cmd.WaitDelay = waitDelay
	started := cmd.Start()
	if err := errors.Join(started, lifelineEnd.Close(), reportEnd.Close(), printed.end.Close()); err != nil {
		return Exit{}, fmt.Errorf("start %s: %w", c.Path, err)
	}
	waited := cmd.Wait()
	line, err := io.ReadAll(report) // the other end closed with the supervisor
	if err != nil {
		return Exit{}, fmt.Errorf("run %s: read how it ended: %w", c.Path, err)
	}
	exit, err := parseReport(string(line))
	if err != nil {
		return Exit{Code: -1}, fmt.Errorf("run %s: %w", c.Path, errors.Join(err, waited, ctx.Err()))
	}
	switch {
	case ctx.Err() != nil:
		return exit, ctx.Err()
	case waited == nil:
		return exit, nil
	}
	return exit, fmt.Errorf("run %s: %w", c.Path, waited)
}

// drain is where a command prints to.
type drain struct {
	end  *os.File // the command's
	ours *os.File
	done chan struct{}
}

func (c Command) drain() (*drain, error) {
	ours, end, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	d := &drain{end: end, ours: ours, done: make(chan struct{})}
	if c.Confinement != nil && c.Confinement.Identity != nil { // so that /dev/stdout can be opened
		err = end.Chown(c.Confinement.Identity.UID, c.Confinement.Identity.GID)
	}
	output := c.Output
	if output == nil {
		output = io.Discard
	}
	go func() {
		defer close(d.done)
		if _, err := io.Copy(output, ours); err != nil {
			_, _ = io.Copy(io.Discard, ours) //nolint:errcheck // what cannot be written is not wanted
		}
	}()
	if err != nil {
		d.stop()
	}
	return d, err
}

// stop returns when everything that was printed is written, or when somebody outside the tree holds the end open.
func (d *drain) stop() {
	_ = d.end.Close() //nolint:errcheck // it may be closed already
	select {
	case <-d.done:
	case <-time.After(drainFor):
	}
	_ = d.ours.Close() //nolint:errcheck // nothing reads from it any more
	<-d.done
}

// attributes are those of the supervisor's process.
func (c *Confinement) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true} // a signal from the terminal is for the host, which then ends ctx
	if c == nil || !c.Namespaces {
		return attr
	}
	attr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS
	as := Identity{os.Getuid(), os.Getgid()}
	if c.Identity != nil {
		as = *c.Identity
		attr.GidMappingsEnableSetgroups = true
	}
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: as.UID, HostID: as.UID, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: as.GID, HostID: as.GID, Size: 1}}
	attr.Credential = &syscall.Credential{Uid: uint32(as.UID), Gid: uint32(as.GID), NoSetGroups: c.Identity == nil}
	attr.AmbientCaps = []uintptr{capSysAdmin, capNetAdmin, capSetPCap} // what it takes to make a file tree, and then to give them up
	return attr
}

// parseReport reads the line in which a supervisor says how its command ended.
func parseReport(line string) (Exit, error) {
	line, whole := strings.CutSuffix(line, "\n")
	if !whole {
		return Exit{}, errors.New("its supervisor was killed; processes of it may be left")
	}
	if reason, failed := strings.CutPrefix(line, "failed "); failed {
		return Exit{}, errors.New(reason)
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

// formatReport is the opposite of parseReport.
func formatReport(exit Exit, err error) string {
	if err != nil {
		return "failed " + strings.ReplaceAll(err.Error(), "\n", " ") + "\n"
	}
	return strings.TrimSuffix(fmt.Sprintf("exit %d %d %d %s", exit.Code, int(exit.Signal), exit.Left, exit.Excess), " ") + "\n"
}
