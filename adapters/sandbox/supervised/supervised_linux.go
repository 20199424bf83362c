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
// Package supervisor has the supervisor itself.
package supervised

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"example.com/life/adapters/sandbox/supervisor"
)

// Command is what to run.
type Command struct {
	Path        string
	Args        []string // after the name
	Dir         string
	Env         []string                // all of it: nothing is inherited
	Output      io.Writer               // gets standard output and standard error, from one goroutine; standard input is empty
	Confinement *supervisor.Confinement // nil: the command may do what the host may
}

// drainFor bounds what does not happen: output that is held open from outside.
const drainFor = time.Second

// Run runs the command and returns when nothing of it is left. When ctx ends first, the error is the context's.
func Run(ctx context.Context, c Command) (supervisor.Exit, error) {
	if err := ctx.Err(); err != nil {
		return supervisor.Exit{Code: -1}, err
	}
	lifelineEnd, lifeline, err := os.Pipe()
	if err != nil {
		return supervisor.Exit{}, fmt.Errorf("start %s: %w", c.Path, err)
	}
	defer lifeline.Close()
	report, reportEnd, err := os.Pipe()
	if err != nil {
		return supervisor.Exit{}, fmt.Errorf("start %s: %w", c.Path, errors.Join(err, lifelineEnd.Close()))
	}
	defer report.Close()

	order, err := supervisor.Encode(c.Path, c.Args, c.Dir, c.Env, c.Confinement)
	if err != nil {
		return supervisor.Exit{}, fmt.Errorf("start %s: %w", c.Path, errors.Join(err, lifelineEnd.Close(), reportEnd.Close()))
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe") // this binary
	cmd.Args, cmd.Env, cmd.Dir = []string{supervisor.Name}, []string{}, "/"
	printed, err := c.drain()
	if err != nil {
		return supervisor.Exit{}, fmt.Errorf("start %s: %w", c.Path, errors.Join(err, lifelineEnd.Close(), reportEnd.Close()))
	}
	defer printed.stop()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(order), printed.end, printed.end
	cmd.ExtraFiles = []*os.File{lifelineEnd, reportEnd}
	if c.Confinement != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, c.Confinement.Files...)
	}
	cmd.SysProcAttr = attributes(c.Confinement)
	cmd.Cancel = lifeline.Close
	cmd.WaitDelay = supervisor.EndsWithin
	started := cmd.Start()
	if err := errors.Join(started, lifelineEnd.Close(), reportEnd.Close(), printed.end.Close()); err != nil {
		return supervisor.Exit{}, fmt.Errorf("start %s: %w", c.Path, err)
	}
	waited := cmd.Wait()
	line, err := io.ReadAll(report) // the other end closed with the supervisor
	if err != nil {
		return supervisor.Exit{}, fmt.Errorf("run %s: read how it ended: %w", c.Path, err)
	}
	exit, err := supervisor.ParseReport(string(line))
	if err != nil {
		return supervisor.Exit{Code: -1}, fmt.Errorf("run %s: %w", c.Path, errors.Join(err, waited, ctx.Err()))
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
func attributes(c *supervisor.Confinement) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true} // a signal from the terminal is for the host, which then ends ctx
	if c == nil || !c.Namespaces {
		return attr
	}
	attr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS
	as := supervisor.Identity{UID: os.Getuid(), GID: os.Getgid()}
	if c.Identity != nil {
		as = *c.Identity
		attr.GidMappingsEnableSetgroups = true
	}
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: as.UID, HostID: as.UID, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: as.GID, HostID: as.GID, Size: 1}}
	attr.Credential = &syscall.Credential{Uid: uint32(as.UID), Gid: uint32(as.GID), NoSetGroups: c.Identity == nil}
	attr.AmbientCaps = supervisor.Capabilities() // what it takes to make a file tree, and then to give them up
	return attr
}
