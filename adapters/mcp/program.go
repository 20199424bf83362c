package mcp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"example.com/life/adapters/plaintext"
	"example.com/life/adapters/sandbox"
	"example.com/life/adapters/sandbox/supervised"
	"example.com/life/events"
)

// program is a server that runs in the sandbox.
type program struct {
	input, output *os.File // this side of its standard input and output
	received      *meter
	complaints    complaints
	cancel        context.CancelFunc
	ended         chan struct{} // closed when nothing of it is left
	exit          sandbox.Exit
	err           error // why it could not be run to its end
}

// startProgram starts a server in a workspace; without one it gets an empty directory. It ends with ctx.
func startProgram(ctx context.Context, c *Config, s *Server, workspace string) (*program, error) {
	own := filepath.Join(c.Scratch, "mcp", events.HashBytes([]byte(s.Name + "\x00" + workspace))[:16])
	if workspace == "" {
		workspace = filepath.Join(own, "workspace")
		if err := os.MkdirAll(workspace, 0o700); err != nil {
			return nil, fmt.Errorf("make a directory for it: %w", err)
		}
	}
	theirInput, input, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	output, theirOutput, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, theirInput.Close(), input.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &program{input: input, output: output, received: &meter{source: output}, cancel: cancel, ended: make(chan struct{})}
	env := []string{"LANG=C.UTF-8", "TERM=dumb"}
	for name, value := range s.Env {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	command := sandbox.Command{
		Path: "/usr/bin/env", Args: s.Command, Env: env, Output: &p.complaints, Pipes: &supervised.Pipes{Input: theirInput, Output: theirOutput},
		Workspace: workspace, Home: filepath.Join(own, "home"), Temp: filepath.Join(own, "tmp"),
	}
	go func() { // it ends with the program: see stop
		defer close(p.ended)
		p.exit, p.err = c.Commands.Run(ctx, command)
		_ = theirInput.Close()  // so that nobody who writes to it waits any more
		_ = theirOutput.Close() // so that whoever reads from it finds its end
	}()
	return p, nil
}

// stop ends the program and all that it started. It has a second to end by itself, unless it is to end at once.
func (p *program) stop(atOnce bool) {
	_ = p.input.Close() // it may be closed already
	if !atOnce {
		select {
		case <-p.ended:
		case <-time.After(endsWithin):
		}
	}
	p.cancel()
	<-p.ended
	_ = p.output.Close() // as above
}

// why is how the program ended, and what it complained of last.
func (p *program) why() string {
	var why string
	select {
	case <-p.ended:
	default:
		return "the program runs still"
	}
	switch {
	case p.err != nil && !errors.Is(p.err, context.Canceled):
		why = "the program could not be run to its end: " + p.err.Error()
	case p.exit.Excess != "":
		why = "the program was ended: it took too much of: " + string(p.exit.Excess)
	case p.exit.Signal != 0:
		why = fmt.Sprintf("the program was ended by a signal: %v", p.exit.Signal)
	case p.err != nil:
		why = "the program was ended"
	default:
		why = fmt.Sprintf("the program ended with exit status %d", p.exit.Code)
	}
	if said := p.complaints.last(); said != "" {
		why += "; it printed last: " + said
	}
	return why
}

// transport is how the program is talked to.
func (p *program) transport() mcp.Transport {
	return &mcp.IOTransport{Reader: readCloser{p.received, p.output}, Writer: p.input, MaxLineLength: mostMessage}
}

type readCloser struct {
	io.Reader
	io.Closer
}

// meter is a source that ends with an error when more comes from it than a server may send for one call.
type meter struct {
	source io.Reader
	size   atomic.Int64
}

// errFlood says that a server sent too much.
var errFlood = fmt.Errorf("it sent more than %d MiB for one call", mostReceived>>20)

// Read implements io.Reader.
func (m *meter) Read(p []byte) (int, error) {
	n, err := m.source.Read(p)
	if m.size.Add(int64(n)) > mostReceived {
		return 0, errFlood
	}
	return n, err
}

// complaints keep the end of what a program printed to its standard error.
type complaints struct {
	mu   sync.Mutex
	kept []byte
}

// Write implements io.Writer.
func (c *complaints) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = append(c.kept, p[max(0, len(p)-mostComplain):]...)
	if over := len(c.kept) - mostComplain; over > 0 {
		c.kept = append(c.kept[:0], c.kept[over:]...)
	}
	return len(p), nil
}

// last is the last of it, in one line.
func (c *complaints) last() string {
	c.mu.Lock()
	text := plaintext.Of(bytes.Clone(c.kept))
	c.mu.Unlock()
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
	return events.Clip(strings.Join(lines[max(0, len(lines)-3):], " | "), 300)
}
