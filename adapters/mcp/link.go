package mcp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"example.com/life/events"
)

// link is one server for one workspace: connected, or to be connected when it is needed. A program runs for each workspace; a machine is the same for all.
type link struct {
	client    *Client
	server    *Server
	workspace string // of a program

	turn chan struct{} // a semaphore of one: who has it connects, lists or stops

	mu     sync.Mutex // guards the rest
	live   *live      // nil: there is no connection
	heard  *offer     // what it offered last; nil: nothing was heard
	failed error      // why the last attempt to connect or list failed
	again  time.Time  // before which a server that failed is not tried
	pauses *backoff.ExponentialBackOff
	used   int // calls under way
	idle   *time.Timer
	renews bool // it is being heard in the background
}

// live is a connection.
type live struct {
	session *mcp.ClientSession
	program *program // nil: it is a machine
	machine *machine
	level   string // how well a program is confined
	stale   atomic.Bool
	ended   chan struct{} // closed when the session is over

	mu    sync.Mutex
	asked []string // what the server wanted to ask people, since it was last looked at
}

// take waits until nobody else connects, lists or stops.
func (l *link) take(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *link) give() { <-l.turn }

// connected returns the connection, and makes it where there is none. One that failed a moment ago fails again at once.
func (l *link) connected(ctx context.Context) (*live, error) {
	if err := l.take(ctx); err != nil {
		return nil, err
	}
	defer l.give()
	return l.connect(ctx)
}

// connect is connected for who has the turn.
func (l *link) connect(ctx context.Context) (*live, error) {
	if at := l.current(); at != nil {
		return at, nil
	}
	l.mu.Lock()
	failed, again := l.failed, l.again
	l.mu.Unlock()
	if wait := time.Until(again); failed != nil && wait > 0 {
		return nil, fmt.Errorf("%w (it is tried again in %v)", failed, wait.Round(time.Second))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, l.server.Connect, fmt.Errorf("it did not say what it offers within %v", l.server.Connect))
	defer cancel()
	at, err := l.dial(ctx)
	if err == nil {
		if err = l.list(ctx, at); err != nil {
			at.stop(true)
			err = l.explained(ctx, at, err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed, l.again = err, time.Now().Add(l.pauses.NextBackOff())
		return nil, err
	}
	l.pauses.Reset()
	l.failed, l.live = nil, at
	l.rest()
	return at, nil
}

// current is the connection, if it holds.
func (l *link) current() *live {
	l.mu.Lock()
	at := l.live
	l.mu.Unlock()
	if at == nil {
		return nil
	}
	select {
	case <-at.ended:
		l.drop(at)
		return nil
	default:
		return at
	}
}

// dial begins a session.
func (l *link) dial(ctx context.Context) (*live, error) {
	at := &live{ended: make(chan struct{})}
	var transport mcp.Transport
	if l.server.URL != "" {
		at.machine, transport = reach(l.server)
	} else {
		report := l.client.config.Commands.Probe(ctx)
		at.level = report.Level.String()
		if report.Refused != nil {
			return nil, report.Refused
		}
		started, err := startProgram(l.client.running, &l.client.config, l.server, l.workspace)
		if err != nil {
			return nil, fmt.Errorf("start it: %w", err)
		}
		at.program, transport = started, started.transport()
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "life", Version: l.client.config.Version}, &mcp.ClientOptions{
		Capabilities:           &mcp.ClientCapabilities{}, // neither roots nor sampling: a server gets its work from calls alone
		ElicitationHandler:     at.decline,
		ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { at.stale.Store(true) },
	})
	begun := make(chan error, 1)
	go func() { // it ends with the connection, which ends with ctx
		var err error
		at.session, err = client.Connect(ctx, transport, nil)
		begun <- err
	}()
	var err error
	select {
	case err = <-begun:
	case <-ctx.Done():
		at.end(true)
		err = <-begun
	case <-at.programEnded():
		at.end(true)
		if err = <-begun; err == nil {
			err = errors.New("it ended")
		}
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		at.stop(true)
		return nil, l.explained(ctx, at, err)
	}
	if !l.client.background(func() {
		_ = at.session.Wait() //nolint:errcheck // why is of no use: what waits for an answer finds out
		close(at.ended)
	}) {
		at.stop(true)
		return nil, errClosing
	}
	return at, nil
}

// programEnded is closed when the server's program has ended; nil for a machine.
func (at *live) programEnded() <-chan struct{} {
	if at.program == nil {
		return nil
	}
	return at.program.ended
}

// end ends what the connection goes to, so that whoever waits for it waits no more.
func (at *live) end(atOnce bool) {
	if at.program != nil {
		at.program.stop(atOnce)
	}
}

// stop ends the connection, and the server's processes.
func (at *live) stop(atOnce bool) {
	at.end(atOnce)
	if at.session != nil {
		_ = at.session.Close() //nolint:errcheck // the other side may be gone
	}
	if at.machine != nil {
		at.machine.stop()
	}
}

// explained says why a server could not be talked to.
func (l *link) explained(ctx context.Context, at *live, err error) error {
	if ctx.Err() != nil {
		if err = context.Cause(ctx); errors.Is(err, context.Canceled) {
			return err
		}
	}
	if at.program != nil {
		if at.program.received.size.Load() > mostReceived {
			err = errFlood
		}
		return fmt.Errorf("%s; %s", clip(err), at.program.why())
	}
	return errors.New(clip(err))
}

func clip(err error) string {
	return events.Clip(strings.Join(strings.Fields(cleanText(err.Error())), " "), 400)
}

// decline answers what a server wants to ask people: nobody can be asked here. The call's result says so.
func (at *live) decline(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
	at.mu.Lock()
	defer at.mu.Unlock()
	if len(at.asked) < 5 {
		at.asked = append(at.asked, events.Clip(cleanText(r.Params.Message), 300))
	}
	return &mcp.ElicitResult{Action: "decline"}, nil
}

// wanted returns what the server wanted to ask since it was last called.
func (at *live) wanted() []string {
	at.mu.Lock()
	defer at.mu.Unlock()
	asked := at.asked
	at.asked = nil
	return asked
}

// drop ends a connection, and everything of its server, before it returns.
func (l *link) drop(at *live) {
	l.mu.Lock()
	if l.live == at {
		l.live = nil
	}
	l.mu.Unlock()
	at.stop(true)
}

// rest has a program ended that nobody uses. l.mu is held.
func (l *link) rest() {
	if l.idle != nil {
		l.idle.Stop()
	}
	l.idle = time.AfterFunc(idleTime, func() { l.client.background(l.leave) })
}

// leave ends the connection, if it is not used.
func (l *link) leave() {
	l.mu.Lock()
	at := l.live
	if l.used > 0 {
		at = nil
	} else {
		l.live = nil
	}
	l.mu.Unlock()
	if at != nil {
		at.stop(false)
	}
}

// use counts a call, from its beginning (1) to its end (-1).
func (l *link) use(by int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.used += by; l.used == 0 {
		l.rest()
	}
}
