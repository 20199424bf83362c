package server

import (
	"context"
	"errors"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

// batchFailure is how an append of BatchAppend fails: within an answer, with details by whose type clients tell one failure from
// another, where a call of its own would have trailers.
func batchFailure(a *batchAppend, err error) *status.Status {
	var f *failure
	switch conflict := conflictOf(err); {
	case conflict != nil:
		return detailed(codes.AlreadyExists, "WrongExpectedVersion", batchConflict(a.options, conflict))
	case errors.Is(err, storage.ErrDeleted), errors.Is(err, embedded.ErrSoftDeleted):
		return detailed(codes.NotFound, "StreamDeleted", &shared.StreamDeleted{StreamIdentifier: a.options.GetStreamIdentifier()})
	case errors.Is(err, context.DeadlineExceeded):
		return detailed(codes.DeadlineExceeded, "Timeout", &shared.Timeout{})
	case errors.As(storeFailure(err, a.stream), &f):
		return batchRefusal(f)
	}
	return detailed(codes.Unknown, "Unknown", &shared.Unknown{})
}

func batchRefusal(f *failure) *status.Status {
	exception := ""
	if values := f.trailer.Get(trailerException); len(values) > 0 {
		exception = values[0]
	}
	switch {
	case f.code == codes.PermissionDenied:
		return detailed(codes.PermissionDenied, "AccessDenied", &shared.AccessDenied{})
	case exception == exceptionTooLarge:
		return detailed(codes.InvalidArgument, "MaximumAppendSizeExceeded", &shared.MaximumAppendSizeExceeded{MaxAppendSize: maxAppend})
	case f.code == codes.InvalidArgument || f.code == unknownCode:
		return detailed(codes.InvalidArgument, "BadRequest", &shared.BadRequest{Message: f.message})
	}
	return detailed(f.code, f.message, &emptypb.Empty{})
}

func detailed(number codes.Code, message string, details proto.Message) *status.Status {
	packed, err := anypb.New(details)
	if err != nil { // these messages are flat and always fit
		return &status.Status{Code: int32(number), Message: message + ": " + err.Error()}
	}
	return &status.Status{Code: int32(number), Message: message, Details: []*anypb.Any{packed}}
}

func batchConflict(options *streams.BatchAppendReq_Options, conflict *storage.ConflictError) *shared.WrongExpectedVersion {
	w := &shared.WrongExpectedVersion{
		CurrentStreamRevisionOption: &shared.WrongExpectedVersion_CurrentNoStream{CurrentNoStream: &emptypb.Empty{}},
	}
	if conflict.Actual != events.NoRevision {
		w.CurrentStreamRevisionOption = &shared.WrongExpectedVersion_CurrentStreamRevision{CurrentStreamRevision: uint64(conflict.Actual)}
	}
	switch expected := options.GetExpectedStreamPosition().(type) {
	case *streams.BatchAppendReq_Options_StreamPosition:
		w.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedStreamPosition{ExpectedStreamPosition: expected.StreamPosition}
	case *streams.BatchAppendReq_Options_NoStream:
		w.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedNoStream{ExpectedNoStream: &emptypb.Empty{}}
	case *streams.BatchAppendReq_Options_Any:
		w.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedAny{ExpectedAny: &emptypb.Empty{}}
	case *streams.BatchAppendReq_Options_StreamExists:
		w.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedStreamExists{ExpectedStreamExists: &emptypb.Empty{}}
	}
	return w
}
