// Package bench starts this program as processes of its own, a store and hosts on it, and measures what they do together.
package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"example.com/life/cmd/stores"
)

// startTime is how long a process may take to start.
const startTime = time.Minute

// AnyPort is an address of this machine with whatever port is free.
const AnyPort = "127.0.0.1:0"

// Program is the path of this program, to be started again.
func Program() (string, error) {
	life, err := exec.LookPath(os.Args[0])
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	if strings.HasSuffix(life, ".test") {
		return "", errors.New("this is a test binary, which would run its tests again")
	}
	return life, nil
}

// Child is this program in a process of its own.
type Child struct {
	Address string // where it answers
	name    string
	command *exec.Cmd
	errs    said
	ended   chan struct{} // closed when it has ended, with err
	err     error
}

// StartStore starts life as a store server on a data directory, and waits until it can be reached.
func StartStore(ctx context.Context, life, data, listen string) (*Child, error) {
	ready := filepath.Join(data, "address")
	if err := os.RemoveAll(ready); err != nil {
		return nil, fmt.Errorf("start a store server: %w", err)
	}
	command := exec.CommandContext(ctx, life, "store", "serve", "--insecure", "--listen", listen, "--ready-file", ready, "--data", data)
	command.Env = append(os.Environ(), "LIFE_STORE="+stores.InData)
	return start(ctx, "store server", command, func() (string, bool) {
		address, err := os.ReadFile(ready)
		return strings.TrimSpace(string(address)), err == nil
	})
}

// said is the end of what a process said.
type said struct {
	mu   sync.Mutex
	text []byte
}

// mostSaid is how much of it is kept, in bytes.
const mostSaid = 64 << 10

// Write implements io.Writer.
func (s *said) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = append(s.text, text...)
	s.text = s.text[max(0, len(s.text)-mostSaid):]
	return len(text), nil
}

// String is its end.
func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.text)
}

// start starts a process and waits until it says where it answers.
func start(ctx context.Context, name string, command *exec.Cmd, ready func() (address string, is bool)) (*Child, error) {
	c := &Child{name: name, command: command, ended: make(chan struct{})}
	command.Stderr = &c.errs
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start a %s: %w", name, err)
	}
	go func() {
		defer close(c.ended)
		c.err = command.Wait()
	}()
	for late := time.After(startTime); ; {
		if address, is := ready(); is {
			c.Address = address
			return c, nil
		}
		select {
		case <-c.ended:
			return nil, fmt.Errorf("the %s ended: %w\n%s", name, errors.Join(c.err, ctx.Err()), &c.errs)
		case <-late:
			return nil, errors.Join(fmt.Errorf("the %s did not start", name), c.Kill(), fmt.Errorf("what it said:\n%s", &c.errs))
		case <-time.After(time.Millisecond):
		}
	}
}

// Signal sends it a signal.
func (c *Child) Signal(signal syscall.Signal) error {
	if err := c.command.Process.Signal(signal); err != nil {
		return fmt.Errorf("send %s to the %s: %w", signal, c.name, err)
	}
	return nil
}

// Kill ends it as a crash does. Killing it again does nothing.
func (c *Child) Kill() error {
	err := c.command.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	<-c.ended
	return err
}

// Stop ends it as a person does.
func (c *Child) Stop() error {
	if err := c.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if <-c.ended; c.err != nil {
		return fmt.Errorf("stop the %s: %w\n%s", c.name, c.err, &c.errs)
	}
	return nil
}
