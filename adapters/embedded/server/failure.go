package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/embedded/filter"
	"example.com/life/events"
)

// failure is how a call fails: a status, and the trailers by which EventStoreDB's clients tell one failure from another.
type failure struct {
	code    codes.Code
	message string
	trailer metadata.MD
}

// fail makes a failure; trailer is names and values in turn.
func fail(code codes.Code, message string, trailer ...string) *failure {
	f := &failure{code: code, message: message}
	for i := range trailer {
		trailer[i] = strings.Map(printable, trailer[i])
	}
	if len(trailer) > 0 {
		f.trailer = metadata.Pairs(trailer...)
	}
	return f
}

// printable replaces what HTTP/2 forbids in a header: clients would report only that. Names may hold it.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return '?'
	}
	return r
}

// Error says what the client is told.
func (f *failure) Error() string { return f.message }

// GRPCStatus is the part of the failure that is no trailer.
func (f *failure) GRPCStatus() *status.Status { return status.New(f.code, f.message) }

// The trailers' names, and the values of the first.
const (
	trailerException = "exception"
	trailerStream    = "stream-name"

	exceptionTooLarge = "maximum-append-size-exceeded"
)

// invalid refuses a request that no state of the store could make right.
func invalid(format string, values ...any) *failure {
	return fail(codes.InvalidArgument, fmt.Sprintf(format, values...))
}

// unexpected refuses what EventStoreDB does not expect either, with its code.
func unexpected(format string, values ...any) *failure {
	return fail(unknownCode, fmt.Sprintf(format, values...))
}

func accessDenied() *failure {
	return fail(codes.PermissionDenied, "Access Denied", trailerException, "access-denied")
}

func streamDeleted(stream events.Stream) *failure {
	return fail(codes.FailedPrecondition, fmt.Sprintf("Event stream '%s' is deleted.", stream),
		trailerException, "stream-deleted", trailerStream, string(stream))
}

func appendTooLarge() *failure {
	return fail(codes.InvalidArgument, fmt.Sprintf("Maximum Append Size of %d Exceeded.", maxAppend),
		trailerException, exceptionTooLarge, "maximum-append-size", strconv.Itoa(maxAppend))
}

func metadataMissing(name string) *failure {
	return fail(codes.InvalidArgument, fmt.Sprintf("Required Metadata Property '%s' is missing", name),
		trailerException, "missing-required-metadata-property", "required-metadata-properties", "type,content-type")
}

// wrongVersion is how a deletion fails whose expectation does not hold. An append answers this in band.
func wrongVersion(operation string, conflict *storage.ConflictError) *failure {
	expected, actual := strconv.FormatInt(int64(conflict.Expected), 10), strconv.FormatInt(int64(conflict.Actual), 10)
	return fail(codes.FailedPrecondition,
		fmt.Sprintf("%s failed due to WrongExpectedVersion. Stream: %s, Expected version: %s, Actual version: %s", operation, conflict.Stream, expected, actual),
		trailerException, "wrong-expected-version", trailerStream, string(conflict.Stream), "expected-version", expected, "actual-version", actual)
}

// notReady tells clients to come back: the store or the server is closing.
func notReady() *failure { return fail(codes.Unavailable, "Server Is Not Ready") }

// storeFailure is how a call fails whose store answered err about a stream. An error that is none of the store's kinds goes through.
func storeFailure(err error, stream events.Stream) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, storage.ErrDeleted), errors.Is(err, embedded.ErrSoftDeleted):
		return streamDeleted(stream)
	case errors.Is(err, storage.ErrInvalidAppend), errors.Is(err, storage.ErrPlace):
		return fail(codes.InvalidArgument, err.Error())
	case errors.Is(err, storage.ErrFull):
		return fail(codes.ResourceExhausted, err.Error(), trailerException, "disk-full")
	case errors.Is(err, storage.ErrReadOnly):
		return fail(codes.ResourceExhausted, err.Error(), trailerException, "read-only")
	case errors.Is(err, filter.ErrExpensive):
		return fail(codes.ResourceExhausted, err.Error())
	case errors.Is(err, storage.ErrCorrupt):
		return fail(codes.DataLoss, err.Error())
	case errors.Is(err, storage.ErrClosed):
		return notReady()
	case storage.OutOfFiles(err):
		return fail(codes.Unavailable, "the server has no file left to open: try again; if it lasts, raise its limit (ulimit -n)")
	case errors.Is(err, context.DeadlineExceeded):
		return fail(codes.DeadlineExceeded, err.Error())
	case errors.Is(err, context.Canceled):
		return fail(codes.Canceled, err.Error())
	}
	return err
}
