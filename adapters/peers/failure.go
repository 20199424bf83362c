package peers

import (
	"errors"
	"fmt"

	"example.com/life/actors"
	"example.com/life/actors/membership"
)

// Code says why a peer did not answer a request as it was meant.
type Code string

// The codes.
const (
	CodeBusy     Code = "busy"     // it has too many requests of this host under way: try again in a moment
	CodeUnknown  Code = "unknown"  // it does not know this kind of request
	CodeInvalid  Code = "invalid"  // it could not read the request
	CodeFailed   Code = "failed"   // what the request was for failed
	CodeCanceled Code = "canceled" // the time that the asker gave was over
)

// Failure is the answer of a peer that could not, or would not, answer.
type Failure struct {
	Code   Code   `json:"code"`
	Detail string `json:"detail"`
}

// Error says what the peer said.
func (f *Failure) Error() string { return fmt.Sprintf("%s (%s)", f.Detail, f.Code) }

// invalid marks the error of a request that could not be read.
func invalid(err error) *Failure { return &Failure{CodeInvalid, err.Error()} }

// failureOf is what is sent for an error.
func failureOf(err error) *Failure {
	if failure, ok := errors.AsType[*Failure](err); ok {
		return failure
	}
	return &Failure{CodeFailed, err.Error()}
}

// ErrNoAnswer says that a peer did not answer, or that what it sent is no answer. Whether it did what it was asked is unknown.
var ErrNoAnswer = errors.New("no answer")

// notTaken: nothing listens on the port, and nothing was sent.
type notTaken struct{}

func (notTaken) Error() string   { return membership.ErrRefused.Error() }
func (notTaken) Unwrap() []error { return []error{membership.ErrRefused, actors.ErrPeerRefused} }

// errClosed ends what is under way when this side closes a connection.
var errClosed = errors.New("the connection is closed")
