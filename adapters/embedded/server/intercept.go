package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// interceptor stands before every call: it finds out who calls, keeps a panic from ending the process, and sends the trailers
// of a failure.
type interceptor struct {
	guard guard
	log   *slog.Logger
}

func (i interceptor) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (answer any, err error) {
	defer func() {
		err = i.finish(ctx, info.FullMethod, recover(), err)
		var f *failure
		if errors.As(err, &f) && f.trailer != nil {
			err = errors.Join(grpc.SetTrailer(ctx, f.trailer), err)
		}
		err = statusOf(err)
	}()
	who, err := i.guard.authenticate(ctx)
	if err != nil {
		return nil, err
	}
	return handle(context.WithValue(ctx, callerKey{}, who), request)
}

func (i interceptor) stream(service any, call grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	defer func() {
		err = i.finish(call.Context(), info.FullMethod, recover(), err)
		var f *failure
		if errors.As(err, &f) && f.trailer != nil {
			call.SetTrailer(f.trailer)
		}
		err = statusOf(err)
	}()
	who, err := i.guard.authenticate(call.Context())
	if err != nil {
		return err
	}
	return handle(service, &knownCall{ServerStream: call, who: context.WithValue(call.Context(), callerKey{}, who)})
}

// finish turns a panic into a failure and logs what nobody expected.
func (i interceptor) finish(ctx context.Context, method string, panicked any, err error) error {
	if panicked != nil {
		i.log.ErrorContext(ctx, "a call panicked", "method", method, "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
		return fail(codes.Internal, "internal error; the server's log says more")
	}
	if err != nil && status.Code(err) == codes.Unknown {
		i.log.WarnContext(ctx, "a call failed", "method", method, "error", err)
	}
	return err
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
	who context.Context //nolint:containedctx // it is the stream's own, which gRPC keeps in the stream
}

// Context implements grpc.ServerStream.
func (c *knownCall) Context() context.Context { return c.who }

// unsupported answers calls of services that are not registered.
func unsupported(_ any, call grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(call)
	return fail(codes.Unimplemented, fmt.Sprintf("%s is not supported by this server: a cluster of EventStoreDB has it", method))
}
