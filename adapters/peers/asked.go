package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/membership"
	"example.com/life/adapters/places"
	"example.com/life/events"
)

// asked is a connection from the side that answers.
type asked struct {
	server *Server
	from   events.HostID // empty: it has not joined yet
	place  *places.Place
	outbox *outbox
	broken <-chan struct{}
	work   sync.WaitGroup
	idle   chan func() // to workers that have nothing to do
	free   atomic.Int64

	mu    sync.Mutex
	open  map[uint64]context.CancelFunc
	bytes int
}

// serve answers until the connection ends; then it waits for the handlers.
func (a *asked) serve(conn net.Conn, in *frames) error {
	ctx, cancel := context.WithCancel(a.server.alive)
	a.broken = ctx.Done()
	a.outbox = newOutbox(conn, a.broken)
	defer a.work.Wait()
	defer cancel()
	a.work.Go(func() {
		if err := a.outbox.run(); err != nil {
			cancel()
			_ = conn.Close() //nolint:errcheck // the reads say it
		}
	})
	for {
		f, err := in.next()
		if err == nil {
			err = a.take(ctx, f)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed): // between two frames
			return nil
		case err != nil:
			return fmt.Errorf("host %q: %w", a.from, err)
		}
	}
}

// take begins what a frame asks for.
func (a *asked) take(ctx context.Context, f frame) error {
	switch f.kind {
	case kindPing, kindConfirm, kindProbe, kindCall, kindDeltas:
	case kindCancel:
		a.cancel(f.id)
		return nil
	case kindHello, kindAnswer, kindPart, kindFailed:
		return fmt.Errorf("a frame of kind %d is no request", f.kind)
	default: // of a later version of this protocol
		a.put(frame{kind: kindFailed, id: f.id, body: encode(&Failure{CodeUnknown, fmt.Sprintf("requests of kind %d are unknown here", f.kind)})})
		return nil
	}
	ctx, err := a.enter(ctx, &f)
	if failure, busy := errors.AsType[*Failure](err); busy {
		a.put(frame{kind: kindFailed, id: f.id, body: encode(failure)})
		return nil
	}
	if err != nil {
		return err
	}
	a.run(func() {
		defer a.leave(&f)
		body, err := a.answer(ctx, &f)
		if ended := ctx.Err(); err != nil && ended != nil {
			err = &Failure{CodeCanceled, ended.Error()}
		}
		answer := frame{kind: kindAnswer, id: f.id, body: body}
		if len(body) > maxBody {
			err = fmt.Errorf("the answer has %d bytes: %w", len(body), errTooLarge)
		}
		if err != nil {
			answer.kind, answer.body = kindFailed, encode(failureOf(err))
		}
		a.put(answer)
	})
	return nil
}

// mostFree is how many workers of a connection wait for its next requests: a new one would have to grow its stack for each.
const mostFree = 64

// run has a worker do something.
func (a *asked) run(task func()) {
	select {
	case a.idle <- task:
		return
	default:
	}
	a.work.Go(func() {
		for {
			task()
			if a.free.Add(1) > mostFree {
				a.free.Add(-1)
				return
			}
			select {
			case task = <-a.idle:
				a.free.Add(-1)
			case <-a.broken:
				return
			}
		}
	})
}

// enter counts a request, unless there are too many.
func (a *asked) enter(ctx context.Context, f *frame) (context.Context, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[f.id] != nil {
		return nil, fmt.Errorf("request %d came twice", f.id)
	}
	if len(a.open) >= mostRequests || a.bytes+len(f.body) > mostBytes {
		return nil, &Failure{CodeBusy, fmt.Sprintf("%d requests of %d bytes of this host are under way", len(a.open), a.bytes)}
	}
	var cancel context.CancelFunc
	switch patience := time.Duration(f.left) * time.Millisecond; {
	case f.kind == kindDeltas:
		ctx, cancel = context.WithCancel(ctx)
	case patience <= 0 || patience > longest:
		ctx, cancel = context.WithTimeout(ctx, longest)
	default:
		ctx, cancel = context.WithTimeout(ctx, patience)
	}
	a.open[f.id] = cancel
	a.bytes += len(f.body)
	a.place.Begin()
	return ctx, nil
}

func (a *asked) leave(f *frame) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open[f.id]()
	delete(a.open, f.id)
	a.bytes -= len(f.body)
	a.place.End()
}

func (a *asked) cancel(id uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if cancel := a.open[id]; cancel != nil {
		cancel()
	}
}

// put sends a frame, unless the connection ends.
func (a *asked) put(f frame) {
	select {
	case a.outbox.frames <- f:
	case <-a.broken:
	}
}

// answer lets a handler answer. One that panics has failed.
func (a *asked) answer(ctx context.Context, f *frame) (body []byte, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			a.server.log.ErrorContext(ctx, "answering another host panicked", "host", a.from, "panic", panicked, "stack", string(debug.Stack()))
			err = &Failure{CodeFailed, "answering it panicked: the log of that host says where"}
		}
	}()
	handlers := &a.server.handlers
	switch f.kind { //nolint:exhaustive // take lets only these through
	case kindPing:
		return typed(f, func(ping membership.Ping) (membership.Pong, error) { return handlers.Ping(ctx, ping) })
	case kindConfirm:
		return typed(f, func(question membership.Question) (membership.Heard, error) { return handlers.Confirm(question), nil })
	case kindProbe:
		return typed(f, func(struct{}) (events.BlobRef, error) { return handlers.Probe(ctx) })
	}
	if a.from == "" {
		return nil, invalid(errors.New("a host that has not joined commands nobody"))
	}
	if f.kind == kindCall {
		call, err := actors.ReadPeerCall(f.body)
		if err != nil {
			return nil, invalid(err)
		}
		return actors.WritePeer(handlers.Call(ctx, a.from, call))
	}
	return typed(f, func(of deltasOf) (struct{}, error) {
		return struct{}{}, handlers.Deltas(ctx, of.Agent, func(delta actors.FeedDelta) error { return a.part(ctx, f.id, encode(delta)) })
	})
}

func (a *asked) part(ctx context.Context, id uint64, part []byte) error {
	if len(part) > maxBody {
		return fmt.Errorf("a part of %d bytes: %w", len(part), errTooLarge)
	}
	select {
	case a.outbox.frames <- frame{kind: kindPart, id: id, body: part}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// typed reads the body of a request and writes that of its answer.
func typed[Q, A any](f *frame, answer func(Q) (A, error)) ([]byte, error) {
	var question Q
	if err := decode(f.body, &question); err != nil {
		return nil, invalid(err)
	}
	answered, err := answer(question)
	if err != nil {
		return nil, err
	}
	return encode(answered), nil
}
