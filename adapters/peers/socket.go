package peers

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// unheard is how long a connection lives on whose other end acknowledges nothing. A host that is cut off is removed long before that; one that can be
// reached again is reached by a new connection, instead of when TCP tries the old one again.
const unheard = 3 * time.Second

// keepAlive finds ends that are gone while nothing is sent.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: time.Second, Count: 3} //nolint:gochecknoglobals // a constant

// unacknowledged bounds how long what was sent may wait to be acknowledged.
func unacknowledged(_, _ string, conn syscall.RawConn) error {
	var set error
	err := conn.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unheard.Milliseconds())) //nolint:gosec // a descriptor
	})
	if err != nil {
		return err
	}
	return set
}
