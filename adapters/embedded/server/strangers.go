package server

import (
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// What is read of those who may do nothing.
const (
	maxStrangers = 32               // messages that are read at once, each of maxMessage at most
	strangerTime = 10 * time.Second // that a message is waited for
	discardTime  = time.Second
	discardBytes = 32 << 20
)

// strangers bounds what callers without credentials, or with wrong ones, can have the server hold in memory: it has a place for each of
// their messages that is being read. They are refused anyway, but after their first message: a client whose call ends while it sends
// reports that it could not send, and not why.
type strangers chan struct{}

func newStrangers() strangers { return make(strangers, maxStrangers) }

// receive reads a message of a stranger, who is not waited for long.
func (s strangers) receive(call grpc.ServerStream, into any) error {
	return s.within(strangerTime, func() error { return call.RecvMsg(into) })
}

// first reads the first message of a call that is refused. The answer does not depend on it.
func (s strangers) first(call grpc.ServerStream, info *grpc.StreamServerInfo) {
	if info.IsClientStream && info.IsServerStream {
		_ = s.within(discardTime, func() error { return call.RecvMsg(new(discarded)) }) //nolint:errcheck // see above
	}
}

// discard reads what a client goes on to send on a call that is refused: the official client reads the status only after its last message.
func (s strangers) discard(call grpc.ServerStream) {
	_ = s.within(discardTime, func() error { //nolint:errcheck // the call is refused whatever it sends
		var d discarded
		for d.bytes < discardBytes {
			if err := call.RecvMsg(&d); err != nil {
				return err
			}
		}
		return nil
	})
}

// within reads if there is a place, for some time. A reading that takes longer goes on, and keeps its place, until the call ends, which
// is when its handler returns.
func (s strangers) within(limit time.Duration, read func() error) error {
	select {
	case s <- struct{}{}:
	default:
		return fail(codes.ResourceExhausted, fmt.Sprintf("%d callers without credentials, or with wrong ones, are being answered: try again", maxStrangers))
	}
	done := make(chan error, 1)
	go func() {
		err := contained(read)
		<-s
		done <- err
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return accessDenied()
	}
}
