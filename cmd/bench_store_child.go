package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"example.com/life/cmd/stores"
)

// storeServer is a life store serve in a process of its own.
type storeServer struct {
	address string
	cmd     *exec.Cmd
	errs    bytes.Buffer
	ended   chan struct{} // closed when it has ended, with err
	err     error
}

// storeServerTime is how long a store server may take to start.
const storeServerTime = time.Minute

// anyPort is an address of this machine with whatever port is free.
const anyPort = "127.0.0.1:0"

// thisProgram is the path of this program, to be started again.
func thisProgram() (string, error) {
	life, err := exec.LookPath(os.Args[0])
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	if strings.HasSuffix(life, ".test") {
		return "", errors.New("this is a test binary, which would run its tests again")
	}
	return life, nil
}

// startStoreServer starts life as a store server on a data directory, and waits until it can be reached.
func startStoreServer(ctx context.Context, life, data, listen string) (*storeServer, error) {
	ready := filepath.Join(data, "address")
	if err := os.RemoveAll(ready); err != nil {
		return nil, fmt.Errorf("start a store server: %w", err)
	}
	s := &storeServer{ended: make(chan struct{})}
	s.cmd = exec.CommandContext(ctx, life, "store", "serve", "--insecure", "--listen", listen, "--ready-file", ready, "--data", data)
	s.cmd.Stderr = &s.errs
	s.cmd.Env = append(os.Environ(), "LIFE_STORE="+stores.InData)
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a store server: %w", err)
	}
	go func() {
		defer close(s.ended)
		s.err = s.cmd.Wait()
	}()
	for late := time.After(storeServerTime); ; {
		if address, err := os.ReadFile(ready); err == nil {
			s.address = strings.TrimSpace(string(address))
			return s, nil
		}
		select {
		case <-s.ended:
			return nil, fmt.Errorf("the store server ended: %w\n%s", errors.Join(s.err, ctx.Err()), &s.errs)
		case <-late:
			return nil, errors.Join(fmt.Errorf("the store server did not start\n"+
				"%s", &s.errs), s.kill())
		case <-time.After(time.Millisecond):
		}
	}
}

// kill ends it as a crash does. Killing it again does nothing.
func (s *storeServer) kill() error {
	err := s.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	<-s.ended
	return err
}

// stop ends it as a person does.
func (s *storeServer) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the store server: %w", err)
	}
	if <-s.ended; s.err != nil {
		return fmt.Errorf("stop the store server: %w\n%s", s.err, &s.errs)
	}
	return nil
}
