package server

import (
	"context"
	"strings"

	"google.golang.org/grpc/codes"

	"example.com/life/events"
)

// permit is held by a caller who goes on doing something to a stream, and may do so only as long as it is allowed.
type permit struct {
	who    caller
	what   action
	stream events.Stream
	cancel context.CancelCauseFunc
}

// hold asks once, and again whenever something changes that the answer depends on. The context it returns ends when ctx does, when
// stop is called, which has to be done, or when the caller may not go on: its cause is then the failure that says so.
func (a *authority) hold(ctx context.Context, who caller, what action, stream events.Stream) (held context.Context, stop func(), err error) {
	held, cancel := context.WithCancelCause(ctx)
	p := &permit{who: who, what: what, stream: stream, cancel: cancel}
	if !who.system {
		a.mu.Lock()
		a.permits[p] = struct{}{} // before it is asked: what changes in between is seen
		a.mu.Unlock()
	}
	stop = func() {
		a.mu.Lock()
		delete(a.permits, p)
		a.mu.Unlock()
		cancel(nil)
	}
	ask := a.again // for the user as it is by now: it may have been a while since the call began
	if who.system {
		ask = func(ctx context.Context, p *permit) error { return a.allow(ctx, p.who, p.what, p.stream) }
	}
	if err := ask(ctx, p); err != nil {
		stop()
		return nil, nil, err
	}
	return held, stop, nil
}

// settled is the context for a write. One that may change rights is waited for whatever becomes of its call: it must not be stored
// after the call has given up, when nobody tells the guard any more.
func settled(ctx context.Context, what action, stream events.Stream) context.Context {
	if what == toDelete || strings.HasPrefix(string(stream), "$") {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

// wrote is told of every stream that was appended to or, with toDelete, deleted, before whoever did it is answered: from then on
// calls are judged by what it says.
func (a *authority) wrote(ctx context.Context, what action, stream events.Stream) {
	if what != toDelete && !strings.HasPrefix(string(stream), "$") || a.insecure {
		return
	}
	of, meta := strings.CutPrefix(string(stream), metaPrefix)
	name := events.Stream(of) // whose list may have changed
	user := strings.HasPrefix(string(name), userPrefix)
	if user { // metadata too: they can delete the stream
		a.logins.changes.Add(1)
	}
	settings := name == settingsStream
	if settings {
		a.settingsChanges.Add(1)
	}
	if !user && !settings && !meta && what != toDelete {
		return
	}
	ctx = context.WithoutCancel(ctx) // whatever becomes of the call, the others have to be told
	for _, p := range a.affected(name, user || settings) {
		if err := a.again(ctx, p); err != nil {
			p.cancel(err)
		}
	}
}

// affected returns the permits for a stream, or all.
func (a *authority) affected(stream events.Stream, all bool) []*permit {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []*permit
	for p := range a.permits {
		if of, _, _ := subject(p.stream, p.what); all || of == stream {
			list = append(list, p)
		}
	}
	return list
}

// again finds out whether a permit still holds, for the user as it is by now.
func (a *authority) again(ctx context.Context, p *permit) error {
	who := p.who
	if who.name != "" {
		record, err := a.logins.load(ctx, who.name)
		if err != nil {
			return err
		}
		if who = record.caller(); who.name == "" {
			return fail(codes.Unauthenticated, "the user was removed or disabled")
		}
	}
	return a.allow(ctx, who, p.what, p.stream)
}
