package sandbox

import (
	"context"
	"errors"
	"sync"
	"time"

	"example.com/life/adapters/sandbox/supervised"
	"example.com/life/adapters/sandbox/supervisor"
)

// spareFor is how long a supervisor waits for a command.
const spareFor = time.Minute

// ownTime is what a command has to start before the next supervisor starts too.
const ownTime = 10 * time.Millisecond

// spares keeps a supervisor that has started already, in its namespaces, for the command that comes after one: most of the time that a command takes to start
// is the start of its supervisor.
type spares struct {
	mu       sync.Mutex
	closed   bool
	next     *spare // nil: there is none
	starting sync.WaitGroup
}

// spare is a supervisor that waits for a command, or soon will.
type spare struct {
	started chan struct{} // closed when it is there, or could not be started
	*supervised.Supervisor
	timer *time.Timer
}

// run runs a command in the spare supervisor, if there is one, and has the next one started.
func (s *spares) run(ctx context.Context, c supervised.Command) (supervisor.Exit, error) {
	if c.Confinement == nil || !c.Confinement.Namespaces || ctx.Err() != nil {
		return supervised.Run(ctx, c)
	}
	spare := s.take()
	next := sync.OnceFunc(func() { s.startNext(&supervisor.Confinement{Namespaces: true, Identity: c.Confinement.Identity}) })
	defer next()
	defer time.AfterFunc(ownTime, next).Stop()
	if spare == nil {
		return supervised.Run(ctx, c)
	}
	exit, err := spare.Run(ctx, c)
	var not supervisor.NotBegunError
	if errors.As(err, &not) && ctx.Err() == nil { // the file system may have changed since it started
		return supervised.Run(ctx, c)
	}
	return exit, err
}

// take returns the spare supervisor, if there is one; nobody else gets it. One that is starting is there sooner than a new one.
func (s *spares) take() *supervised.Supervisor {
	s.mu.Lock()
	taken := s.next
	s.next = nil
	s.mu.Unlock()
	if taken == nil {
		return nil
	}
	<-taken.started
	if taken.timer != nil {
		taken.timer.Stop()
	}
	return taken.Supervisor
}

// startNext starts a spare supervisor, unless there is one.
func (s *spares) startNext(c *supervisor.Confinement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.next != nil {
		return
	}
	next := &spare{started: make(chan struct{})}
	s.next = next
	s.starting.Go(func() {
		defer close(next.started)
		found, err := supervised.Start(c)
		if err != nil {
			return // the command that would have had it finds out why
		}
		next.Supervisor, next.timer = found, time.AfterFunc(spareFor, func() { s.discard(next) })
	})
}

// discard ends a spare supervisor, if it still is one.
func (s *spares) discard(unused *spare) {
	s.mu.Lock()
	mine := s.next == unused
	if mine {
		s.next = nil
	}
	s.mu.Unlock()
	if mine {
		unused.Discard()
	}
}

func (s *spares) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	if spare := s.take(); spare != nil {
		spare.Discard()
	}
	s.starting.Wait()
}
