package eventstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"example.com/life/actors"
)

// failure is a call that the store, or the way to it, answered with an error.
type failure struct {
	code      codes.Code
	message   string
	exception string // EventStoreDB's name for it, if it gave one
	trailer   metadata.MD
	unsent    bool // the store cannot have seen the call
}

// failed reads the error of a call and the trailers that came with it.
func failed(err error, trailer metadata.MD) *failure {
	s := status.Convert(err)
	f := &failure{code: s.Code(), message: s.Message(), trailer: trailer}
	switch { // errors of contexts come without a status when the call was never sent
	case errors.Is(err, context.DeadlineExceeded):
		f.code = codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		f.code = codes.Canceled
	}
	f.exception = f.trailing("exception")
	return f
}

// unsentCall is the failure of a call that could not even begin.
func unsentCall(err error) *failure {
	f := failed(err, nil)
	f.unsent = true
	return f
}

func (f *failure) trailing(name string) string {
	if values := f.trailer.Get(name); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Error says what went wrong, and for the kinds that someone can mend, how.
func (f *failure) Error() string {
	switch {
	case f.code == codes.Unauthenticated:
		return "the event store does not accept the user name and password: check both (" + f.message + ")"
	case f.code == codes.PermissionDenied:
		return "the event store denies access: check that credentials are given, that the connection is encrypted (they are not sent otherwise), " +
			"and that the user has this right by the stream's ACL (" + f.message + ")"
	case strings.Contains(f.message, "authentication handshake failed"):
		return f.message + " (check tls, tlsCAFile and the certificate's names)"
	case strings.Contains(f.message, "error reading server preface"):
		return f.message + " (is this EventStoreDB's port, and is it encrypted? then leave out tls=false)"
	}
	return fmt.Sprintf("%s (%s)", f.message, f.code)
}

// verdict is what to do about a failure.
type verdict int

const (
	final   verdict = iota // nothing: the store has answered
	moved                  // go to the leader; nothing was done
	absent                 // the node does not answer: wait for another
	puzzled                // whatever it was, try again, but not for ever
)

func (f *failure) verdict() verdict {
	switch {
	case f.exception == "not-leader":
		return moved
	case f.exception == "disk-full" || f.code == codes.ResourceExhausted && f.exception != "":
		return final
	}
	switch f.code {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded, codes.Aborted:
		return absent
	case codes.Internal, codes.ResourceExhausted:
		return puzzled
	default:
		return final
	}
}

// gone reports that the connection is of no use: a call that only took too long says nothing about it.
func (f *failure) gone() bool { return f.code == codes.Unavailable }

// leader is where the leader is, as host:port; empty when the store did not say.
func (f *failure) leader() string {
	host, port := f.trailing("leader-endpoint-host"), f.trailing("leader-endpoint-port")
	if number, err := strconv.ParseUint(port, 10, 16); host == "" || err != nil || number == 0 {
		return ""
	}
	return net.JoinHostPort(host, port)
}

// known is the failure as an error that the port names, or itself.
func (f *failure) known() error {
	switch f.exception {
	case "stream-deleted":
		return actors.ErrDeleted
	case "disk-full":
		return actors.ErrFull
	case "maximum-append-size-exceeded":
		return fmt.Errorf("%w: the server takes at most %s bytes at once (its setting MaxAppendSize), less than Config.MaxAppend", actors.ErrInvalidAppend, f.trailing("maximum-append-size"))
	case "maximum-append-event-size-exceeded":
		return fmt.Errorf("%w: the server takes events of at most %s bytes (its setting MaxAppendEventSize)", actors.ErrInvalidAppend, f.trailing("maximum-append-event-size"))
	}
	if f.code == codes.DataLoss {
		return fmt.Errorf("%w: %w", actors.ErrCorrupt, f)
	}
	return f
}

// Denied reports an error that waiting does not cure: someone has to change credentials or rights.
func Denied(err error) bool {
	var f *failure
	return errors.As(err, &f) && (f.code == codes.Unauthenticated || f.code == codes.PermissionDenied)
}
