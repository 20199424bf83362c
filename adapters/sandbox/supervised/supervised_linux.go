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
// supervisor asks all that is left to terminate, kills what remains after the grace, and exits when it has no child any more. A [Watchdog] ends it
// too when a host that lives cannot say in time that it may go on.
//
// What it does not promise: a command that runs as the same user and means harm can kill its supervisor first. Keeping it
// from that takes a boundary, such as a PID namespace, and that is a sandbox's work. So is a bound on the number of processes: a
// storm of forks is ended like everything else, but until then it takes what the machine has.
//
// Package supervisor has the supervisor itself.
package supervised

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
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
	Pipes       *Pipes                  // nil: as above. Else Output gets standard error alone
	Confinement *supervisor.Confinement // nil: the command may do what the host may
	Watchdog    *Watchdog               // nil: the command runs as long as the host lives
	Listening   func(net.Listener)      // gets the listener of the command's proxy, where the confinement has a network, before the command begins; closes it
}

// Pipes are ends of pipes to a command: its standard input, and its standard output. Whoever runs the command closes them here when it has ended.
type Pipes struct{ Input, Output *os.File }

// Watchdog ends a command of a host that lives but may not go on: one that was stopped, or that others may hold for dead.
type Watchdog struct {
	// GoesOnUntil is the CLOCK_BOOTTIME until which the command may run, as far as is known now; 0: it may not. The command is not begun after it, though the host were
	// stopped before the order is out, and woken late; and it is ended then, unless a later time was told in time.
	GoesOnUntil func() time.Duration
	Every       time.Duration // is asked so often
}

// renew tells the supervisor until when the command may go on.
func (w *Watchdog) renew(lifeline io.Writer, done <-chan struct{}) {
	tick := time.NewTicker(w.Every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-done:
			return
		}
		if until := w.GoesOnUntil(); until > 0 {
			if _, err := lifeline.Write(supervisor.Renewal(until)); err != nil {
				return // it was closed
			}
		}
	}
}

// lease is how long a command may run if nothing more is told.
func (w *Watchdog) lease() supervisor.Lease {
	if w == nil {
		return supervisor.Lease{}
	}
	return supervisor.Lease{Bounded: true, Until: w.GoesOnUntil()}
}

// drainFor bounds what does not happen: output that is held open from outside.
const drainFor = time.Second

// Run runs the command and returns when nothing of it is left. When ctx ends first, the error is the context's.
func Run(ctx context.Context, c Command) (supervisor.Exit, error) {
	if err := ctx.Err(); err != nil {
		return supervisor.Exit{Code: -1}, err
	}
	s, err := Start(c.Confinement)
	if err != nil {
		return supervisor.Exit{}, fmt.Errorf("start %s: %w", c.Path, err)
	}
	return s.Run(ctx, c)
}

// Supervisor is a supervisor that has started and waits for its command. It ends when its host does.
type Supervisor struct {
	cmd      *exec.Cmd
	orders   *os.File // a socket, which takes open files too
	lifeline *os.File
	report   *os.File
	printed  *os.File
}

// Start starts a supervisor, so that it is there when there is something to run. Of the confinement only its namespaces and identity count.
func Start(c *supervisor.Confinement) (*Supervisor, error) {
	s, end, err := start(attributes(c))
	if err == nil && c != nil && c.Identity != nil { // so that commands can open /dev/stdout
		err = end.Chown(c.Identity.UID, c.Identity.GID)
	}
	if end != nil {
		err = errors.Join(err, end.Close())
	}
	if err != nil && s != nil {
		s.Discard()
	}
	return s, err
}

// start starts a supervisor. The end is the one of printed that its command writes to.
func start(attr *syscall.SysProcAttr) (s *Supervisor, end *os.File, err error) {
	var opened []*os.File
	pipe := func() (r, w *os.File) {
		if err == nil {
			r, w, err = os.Pipe()
			opened = append(opened, r, w)
		}
		return r, w
	}
	lifelineEnd, lifeline := pipe()
	report, reportEnd := pipe()
	printed, end := pipe()
	var pair [2]int
	if err == nil {
		if pair, err = syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0); err == nil {
			opened = append(opened, os.NewFile(uintptr(pair[0]), "orders"), os.NewFile(uintptr(pair[1]), "orders"))
		}
	}
	if err == nil {
		s = &Supervisor{cmd: exec.CommandContext(context.Background(), "/proc/self/exe"), lifeline: lifeline, report: report, printed: printed, orders: opened[len(opened)-2]} // this binary
		ordersEnd := opened[len(opened)-1]
		s.cmd.Args, s.cmd.Env, s.cmd.Dir, s.cmd.SysProcAttr = []string{supervisor.Name}, []string{}, "/", attr
		s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr, s.cmd.ExtraFiles = ordersEnd, end, end, []*os.File{lifelineEnd, reportEnd}
		if err = s.cmd.Start(); err == nil {
			return s, end, errors.Join(lifelineEnd.Close(), reportEnd.Close(), ordersEnd.Close())
		}
	}
	for _, file := range opened {
		_ = file.Close() // the first error is told
	}
	return nil, nil, err
}

// Discard ends a supervisor that has no command.
func (s *Supervisor) Discard() {
	_ = s.cmd.Process.Kill() //nolint:errcheck // it may have ended
	_ = s.cmd.Wait()         //nolint:errcheck // it was killed
	s.close()
}

func (s *Supervisor) close() {
	for _, file := range []*os.File{s.orders, s.lifeline, s.report, s.printed} {
		_ = file.Close() // it may be closed already
	}
}

// Run has the supervisor run its command, as the function Run does. It can be called once.
func (s *Supervisor) Run(ctx context.Context, c Command) (supervisor.Exit, error) {
	defer s.close()
	if err := s.order(c); err != nil {
		s.Discard()
		return supervisor.Exit{Code: -1}, fmt.Errorf("start %s: %w", c.Path, supervisor.NotBegunError(err.Error()))
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		copyOutput(c.Output, s.printed)
	}()
	cut := make(chan *time.Timer, 1)
	stop := context.AfterFunc(ctx, func() {
		_ = s.lifeline.Close()                                                            // it may be closed already
		cut <- time.AfterFunc(supervisor.EndsWithin, func() { _ = s.cmd.Process.Kill() }) //nolint:errcheck // it may have ended
	})
	if c.Watchdog != nil {
		done, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			c.Watchdog.renew(s.lifeline, done)
		}()
		defer func() { close(done); <-ended }()
	}
	if c.Confinement != nil && len(c.Confinement.Network) > 0 {
		handed := make(chan struct{})
		go func() {
			defer close(handed)
			s.listener(c.Listening)
		}()
		defer func() { <-handed }() // the supervisor has ended by then, and with it its end of the socket
	}
	waited := s.cmd.Wait()
	if !stop() {
		(<-cut).Stop()
	}
	select {
	case <-copied:
	case <-time.After(drainFor): // somebody outside the tree holds the output open
	}
	_ = s.printed.Close() // nothing reads from it any more
	<-copied
	return s.ended(ctx, c, waited)
}

// order tells the supervisor what to run.
func (s *Supervisor) order(c Command) error {
	order, err := supervisor.Encode(c.Path, c.Args, c.Dir, c.Env, c.Confinement, c.Pipes != nil, c.Watchdog.lease())
	if err != nil {
		return err
	}
	handed, err := c.handed()
	if err != nil {
		return err
	}
	if len(handed) > 0 {
		if err := syscall.Sendmsg(int(s.orders.Fd()), []byte(" "), syscall.UnixRights(handed...), nil, syscall.MSG_NOSIGNAL); err != nil {
			return os.NewSyscallError("sendmsg", err)
		}
	}
	_, err = s.orders.Write(order)
	return err
}

// listener takes the listener that the supervisor made. There is none if it did not get so far: that is in its report.
func (s *Supervisor) listener(to func(net.Listener)) {
	var first [1]byte
	rights := make([]byte, syscall.CmsgSpace(4))
	size, err := 0, error(syscall.EINTR)
	for errors.Is(err, syscall.EINTR) {
		_, size, _, _, err = syscall.Recvmsg(int(s.orders.Fd()), first[:], rights, syscall.MSG_CMSG_CLOEXEC)
	}
	if err != nil || size == 0 {
		return
	}
	messages, err := syscall.ParseSocketControlMessage(rights[:size])
	if err != nil || len(messages) != 1 {
		return
	}
	files, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(files) != 1 {
		return
	}
	file := os.NewFile(uintptr(files[0]), "listener")
	defer file.Close()
	if listener, err := net.FileListener(file); err == nil {
		to(listener)
	}
}

// handed are the files that the supervisor gets with its order.
func (c *Command) handed() (handed []int, err error) {
	if c.Confinement != nil {
		for _, file := range c.Confinement.Files {
			handed = append(handed, int(file.Fd()))
		}
	}
	if c.Pipes == nil {
		return handed, nil
	}
	for _, end := range []*os.File{c.Pipes.Input, c.Pipes.Output} {
		handed = append(handed, int(end.Fd()))
		if c.Confinement != nil && c.Confinement.Identity != nil { // so that it can open /dev/stdin and /dev/stdout
			err = errors.Join(err, end.Chown(c.Confinement.Identity.UID, c.Confinement.Identity.GID))
		}
	}
	return handed, err
}

// ended is how the command ended.
func (s *Supervisor) ended(ctx context.Context, c Command, waited error) (supervisor.Exit, error) {
	line, err := io.ReadAll(s.report) // the other end closed with the supervisor
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

// copyOutput copies what a command prints until nothing can print any more.
func copyOutput(to io.Writer, printed io.Reader) {
	if to != nil {
		if _, err := io.Copy(to, printed); err == nil {
			return
		}
	}
	_, _ = io.Copy(io.Discard, printed) //nolint:errcheck // what cannot be written is not wanted
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
