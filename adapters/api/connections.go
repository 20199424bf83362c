package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"example.com/life/adapters/places"
)

// What a server's connections may be, where the process may have files enough open.
const (
	mostConnections = 4096
	mostRefusals    = 16               // connections, beyond those, that are told at once that there are too many; others are closed
	refusalTime     = 2 * time.Second  // for that
	writeTime       = 30 * time.Second // for a client to take writePiece bytes of an answer
	writePiece      = 64 << 10
)

// Connections is a listener whose connections are bounded, and leave more than half of the files that the process may have open to the host. Those that
// have sent no request that this server takes, with the token where it wants one, have a quarter of the places: the longest there makes room
// for the next, and after ten idle seconds they are closed. When all places are taken, the proven connection that has been idle longest is
// closed for a new one; when all are busy, a new one is answered 503.
type Connections struct {
	net.Listener
	log      *slog.Logger
	places   *places.Places
	feeds    int
	refusing chan struct{}
}

// Bound bounds the connections of a listener, for a process that may have so many files open.
func Bound(listener net.Listener, files int, log *slog.Logger) *Connections {
	config := places.Scaled(mostConnections, files)
	return &Connections{Listener: listener, log: log, places: places.New(config), feeds: config.Most / 2, refusing: make(chan struct{}, max(1, min(mostRefusals, config.Most/16)))}
}

// Feeds is how many feeds may be open at once, so that other requests find a place: what Config.Feeds should be.
func (c *Connections) Feeds() int { return c.feeds }

// Accept implements net.Listener.
func (c *Connections) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		place, tooMany := c.places.Take(conn)
		if tooMany == nil {
			return &placed{Conn: conn, place: place}, nil
		}
		c.log.Warn("a connection is refused: all are in use", "error", tooMany, "from", conn.RemoteAddr().String())
		c.refuse(conn, tooMany)
	}
}

// refuse answers a connection that there is no room for.
func (c *Connections) refuse(conn net.Conn, tooMany error) {
	select {
	case c.refusing <- struct{}{}:
	default:
		_ = conn.Close() //nolint:errcheck // there is no one to tell
		return
	}
	go func() {
		defer func() { <-c.refusing }()
		defer conn.Close() //nolint:errcheck // as above
		p := problem(codeUnavailable, "%v, and all of them are busy: try again", tooMany)
		body, err := json.Marshal(p)
		if err != nil || conn.SetDeadline(time.Now().Add(refusalTime)) != nil {
			return
		}
		_, err = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\nRetry-After: %d\r\nConnection: close\r\n\r\n%s\n",
			p.Status, http.StatusText(p.Status), len(body)+1, meaningOf(p.Code).again, body)
		half, ok := conn.(interface{ CloseWrite() error })
		if err == nil && ok && half.CloseWrite() == nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(conn, writePiece)) //nolint:errcheck // what is not read would reset the connection, and lose the answer
		}
	}()
}

// Context is what http.Server.ConnContext wants.
func (c *Connections) Context(ctx context.Context, conn net.Conn) context.Context {
	if ours, ok := conn.(*placed); ok {
		return context.WithValue(ctx, placeKey{}, ours.place)
	}
	return ctx
}

type placeKey struct{}

// placeOf is the place of the connection that a request came by; nil, which allows everything, where connections are not bounded.
func placeOf(ctx context.Context) *places.Place {
	place, _ := ctx.Value(placeKey{}).(*places.Place) //nolint:errcheck // see above
	return place
}

// placed is a connection that has a place. A client that does not take what it asked for is cut off.
type placed struct {
	net.Conn
	place    *places.Place
	deadline atomic.Pointer[time.Time] // for writing, where a handler has set one
}

// Close implements net.Conn.
func (c *placed) Close() error {
	c.place.Leave()
	return c.Conn.Close()
}

// SetDeadline implements net.Conn.
func (c *placed) SetDeadline(t time.Time) error {
	c.deadline.Store(&t)
	return c.Conn.SetDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (c *placed) SetWriteDeadline(t time.Time) error {
	c.deadline.Store(&t)
	return c.Conn.SetWriteDeadline(t)
}

// Write implements net.Conn.
func (c *placed) Write(all []byte) (written int, err error) {
	for {
		until := time.Now().Add(writeTime)
		if set := c.deadline.Load(); set != nil && !set.IsZero() && set.Before(until) {
			until = *set
		}
		if err := c.Conn.SetWriteDeadline(until); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(all[written:min(len(all), written+writePiece)])
		if written += n; err != nil || written == len(all) {
			return written, err
		}
	}
}
