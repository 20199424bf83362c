package server

import (
	"context"

	"example.com/life/events"
)

// guard decides who may do what. It is asked on every call: once who calls, and then before anything is read or written.
// Its errors are gRPC statuses with the trailers that EventStoreDB's clients know.
type guard interface {
	// authenticate finds out who calls by the credentials that came with the call: Unauthenticated when they are wrong. A call
	// without credentials is the anonymous caller's, and no error.
	authenticate(ctx context.Context) (caller, error)
	// allow reports nothing when the caller may do this to the stream, and PermissionDenied otherwise.
	allow(ctx context.Context, who caller, what action, stream events.Stream) error
	// operator reports nothing when the caller is in $admins or $ops.
	operator(who caller) error
	// hold is allow for what goes on for a while: the context that it returns ends when the caller loses the right, and its cause
	// says so. stop has to be called.
	hold(ctx context.Context, who caller, what action, stream events.Stream) (held context.Context, stop func(), err error)
	// wrote is told of every stream that was written to or deleted, before whoever did that is answered: rights may have changed.
	wrote(ctx context.Context, what action, stream events.Stream)
}

// caller is who calls, as the guard found out.
type caller struct {
	name   string   // empty: anonymous
	groups []string // the roles besides the name itself
	system bool     // may do everything: an insecure server knows nobody else

	stranger bool // anonymous where that grants nothing
}

// action is what a caller does to a stream. To a metastream ("$$name") it is toRead or toWrite of that stream too: the guard knows which
// right of the stream "name" that takes.
type action int

// The actions.
const (
	toRead action = iota
	toWrite
	toDelete
	toReadMeta
	toWriteMeta
)

// callerKey is where the context of a call holds its caller.
type callerKey struct{}

// callerOf returns who called; the interceptor put it there.
func callerOf(ctx context.Context) caller {
	who, _ := ctx.Value(callerKey{}).(caller) //nolint:errcheck // without one: anonymous
	return who
}

// loggedIn refuses anonymous callers.
func loggedIn(ctx context.Context) error {
	if who := callerOf(ctx); who.name == "" && !who.system {
		return accessDenied()
	}
	return nil
}
