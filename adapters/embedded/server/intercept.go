package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"example.com/life/adapters/places"
)

// interceptor stands before every call: it finds out who calls, keeps a panic from ending the process, and sends the trailers
// of a failure.
type interceptor struct {
	guard     guard
	strangers strangers
	places    *places.Places
	log       *slog.Logger
}

func (i interceptor) stream(service any, call grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	ctx := call.Context()
	var place *places.Place
	if from, ok := peer.FromContext(ctx); ok {
		place = i.places.Of(from.Addr)
	}
	place.Begin()
	defer place.End()
	who, err := i.guard.authenticate(ctx)
	if err == nil && !who.stranger {
		place.Prove()
	}
	if err == nil {
		err = contained(func() error {
			return handle(service, &knownCall{ServerStream: call, ctx: context.WithValue(ctx, callerKey{}, who), who: who, strangers: i.strangers})
		})
	} else {
		i.strangers.first(call, info)
	}
	err = i.finish(ctx, info.FullMethod, err)
	if err != nil && info.IsClientStream && !info.IsServerStream {
		i.strangers.discard(call)
	}
	var f *failure
	if errors.As(err, &f) && f.trailer != nil {
		call.SetTrailer(f.trailer)
	}
	return statusOf(err)
}

// finish logs what nobody expected, and keeps the details of a panic from the client.
func (i interceptor) finish(ctx context.Context, method string, err error) error {
	var p *panicked
	if errors.As(err, &p) {
		i.log.ErrorContext(ctx, "a call panicked", "method", method, "panic", fmt.Sprint(p.value), "stack", string(p.stack))
		return fail(codes.Internal, "internal error; the server's log says more")
	}
	var expected *failure
	if err != nil && status.Code(err) == codes.Unknown && !errors.As(err, &expected) {
		i.log.WarnContext(ctx, "a call failed", "method", method, "error", err)
	}
	return err
}

// panicked is a panic as an error.
type panicked struct {
	value any
	stack []byte
}

// Error names the panic without its stack.
func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// contained turns a panic into an error. Every goroutine that a call starts needs it: the interceptor is beneath none but the call's own.
func contained(do func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &panicked{value: value, stack: debug.Stack()}
		}
	}()
	return do()
}

// statusOf makes the error one that is its status alone: gRPC would put what wraps it into the message.
func statusOf(err error) error {
	var f *failure
	if errors.As(err, &f) {
		return f.GRPCStatus().Err()
	}
	return err
}

// knownCall is a call whose context holds the caller.
type knownCall struct {
	grpc.ServerStream
	ctx       context.Context //nolint:containedctx // it is the stream's own, which gRPC keeps in the stream
	who       caller
	strangers strangers
}

// Context implements grpc.ServerStream.
func (c *knownCall) Context() context.Context { return c.ctx }

// RecvMsg implements grpc.ServerStream.
func (c *knownCall) RecvMsg(into any) error {
	if c.who.stranger {
		return c.strangers.receive(c.ServerStream, into)
	}
	return c.ServerStream.RecvMsg(into)
}

// unsupported answers calls of services and methods that are not registered.
func unsupported(_ any, call grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(call)
	return unsupportedHere(method, "a cluster of EventStoreDB has it")
}

func unsupportedHere(method, why string) *failure {
	return fail(codes.Unimplemented, fmt.Sprintf("%s is not supported by this server: %s", method, why))
}
