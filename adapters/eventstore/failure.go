package eventstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// failure is a call that the store, or the way to it, answered with an error.
type failure struct {
	code      codes.Code
	message   string
	exception string // EventStoreDB's name for it, if it gave one
	trailer   metadata.MD
	answered  error // what the port calls this; nil: by the rest
}

// exceptionNotLeader is EventStoreDB's name for an answer by another node than the leader.
const exceptionNotLeader = "not-leader"

// failed reads the error of a call and the trailers that came with it.
func failed(err error, trailer metadata.MD) *failure {
	s := status.Convert(err)
	f := &failure{code: s.Code(), message: printable(s.Message()), trailer: trailer}
	switch { // errors of contexts come without a status when the call was never sent
	case errors.Is(err, context.DeadlineExceeded):
		f.code = codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		f.code = codes.Canceled
	}
	f.exception = f.trailing("exception")
	return f
}

func (f *failure) trailing(name string) string {
	if values := f.trailer.Get(name); len(values) > 0 {
		return printable(values[0])
	}
	return ""
}

// maxText is how many bytes of a server's message are shown.
const maxText = 2 << 10

// printable is a text of a server as it may be shown: not too long, and nothing that a terminal obeys.
func printable(text string) string {
	text = events.Clip(text, maxText)
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, "?"))
}

// around is what gRPC and the network put around a cause, which says no more than who talks to whom.
var around = regexp.MustCompile(`^(?:transport: |Error while dialing: |authentication handshake failed: |error reading server preface: )+|(?:dial|read|write) tcp \S+ (?:connect|read|write): `)

// plain is the message without what is around the cause.
func (f *failure) plain() string {
	message := f.message
	if rest, found := strings.CutPrefix(message, "connection error: desc = "); found {
		if text, err := strconv.Unquote(rest); err == nil {
			message = text
		}
	}
	return around.ReplaceAllString(message, "")
}

// Error says what went wrong.
func (f *failure) Error() string {
	switch message := f.plain(); {
	case message == "":
		return f.code.String()
	case f.code == codes.Unavailable || f.code == codes.DeadlineExceeded || f.code == codes.Canceled:
		return message
	default:
		return fmt.Sprintf("%s (%s)", message, f.code)
	}
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
	case f.exception == exceptionNotLeader:
		return moved
	case f.answered != nil || f.tooLarge() || f.exception != "" && (f.code == codes.ResourceExhausted || f.code == codes.Internal):
		return final
	}
	switch f.code {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded, codes.Aborted:
		return absent
	case codes.Internal, codes.Unknown, codes.ResourceExhausted:
		return puzzled
	default:
		return final
	}
}

// tooLarge reports a message that is larger than any of EventStoreDB's.
func (f *failure) tooLarge() bool {
	return f.code == codes.ResourceExhausted && strings.Contains(f.message, "received message larger than max")
}

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
		return storage.ErrDeleted
	case "disk-full":
		return storage.ErrFull
	case "read-only":
		return storage.ErrReadOnly
	case "maximum-append-size-exceeded":
		return fmt.Errorf("%w: the server takes at most %s bytes at once (its setting MaxAppendSize), less than Config.MaxAppend", storage.ErrInvalidAppend, f.trailing("maximum-append-size"))
	case "maximum-append-event-size-exceeded":
		return fmt.Errorf("%w: the server takes events of at most %s bytes (its setting MaxAppendEventSize)", storage.ErrInvalidAppend, f.trailing("maximum-append-event-size"))
	}
	switch {
	case f.answered != nil:
		return fmt.Errorf("%w (%w)", f.answered, f)
	case f.code == codes.DataLoss:
		return fmt.Errorf("%w: %w", storage.ErrCorrupt, f)
	case f.tooLarge(), f.code == codes.Internal && strings.Contains(f.message, "unmarshal"):
		return fmt.Errorf("%w: %w", ErrProtocol, f)
	}
	return f
}
