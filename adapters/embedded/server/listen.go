package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"

	"example.com/life/adapters/places"
)

const (
	handshakeTime = 10 * time.Second      // for TLS and for the first bytes
	acceptPause   = 50 * time.Millisecond // after an error, such as too many open files
	preface       = "PRI "                // how HTTP/2 begins, and HTTP/1 never does
)

// port is the one port of the server. It looks at the first bytes of each connection and hands it to gRPC or to HTTP/1, so that gRPC
// keeps its own transport and whoever only wants to know whether the server lives needs no gRPC.
type port struct {
	net.Listener
	tls        *TLS // nil: plain text
	log        *slog.Logger
	grpc, http *handed
	places     *places.Places
	firstCall  time.Duration // that a client's first request is waited for, to see whose it is; after that the connection is gRPC's

	mu      sync.Mutex
	opening map[*connection]struct{} // nobody's yet; nil when the port is closed
	working sync.WaitGroup
}

func listen(config Config) (*port, error) {
	listener, err := net.Listen("tcp", config.Listen) //nolint:noctx // nothing to wait for
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", config.Listen, err)
	}
	return &port{
		Listener: listener, tls: config.TLS, log: config.Log,
		grpc: newHanded(listener.Addr()), http: newHanded(listener.Addr()),
		places: places.New(places.Config{
			Most: config.Connections, Unproven: max(4, config.Connections/4), Network: max(8, config.Connections/2), Patience: unproven,
		}), firstCall: firstCall, opening: map[*connection]struct{}{},
	}, nil
}

// run accepts until the port is closed.
func (p *port) run() {
	for {
		conn, err := p.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			p.log.Warn("a connection could not be accepted", "error", err)
			p.pause()
			continue
		}
		place, err := p.places.Take(conn)
		if err != nil {
			p.log.Warn("a connection is refused: all are in use", "error", err, "from", conn.RemoteAddr().String())
			drop(conn)
			continue
		}
		c := &connection{Conn: conn, accepted: conn, left: place.Leave}
		if !p.enter(c) {
			drop(c)
			return
		}
		go func() {
			defer p.leave(c)
			if err := p.route(c); err != nil {
				p.log.Debug("a connection did not begin as it should", "from", c.RemoteAddr().String(), "error", err)
				drop(c)
			}
		}()
	}
}

func (p *port) pause() {
	timer := time.NewTimer(acceptPause)
	defer timer.Stop()
	<-timer.C
}

// enter notes a connection that is nobody's yet, which Close waits for until it leaves; false when the port is closed.
func (p *port) enter(c *connection) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opening == nil {
		return false
	}
	p.opening[c] = struct{}{}
	p.working.Add(1) // before Close, which takes the same lock, can wait
	return true
}

func (p *port) leave(c *connection) {
	defer p.working.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.opening, c)
}

// route finds out whose a connection is.
func (p *port) route(c *connection) error {
	if err := c.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		return err
	}
	if p.tls != nil {
		secure, state, err := p.tls.handshake(context.Background(), c.Conn)
		if err != nil {
			return fmt.Errorf("handshake: %w", err)
		}
		c.Conn, c.tls = secure, &state
	}
	first := make([]byte, len(preface))
	if _, err := io.ReadFull(c.Conn, first); err != nil {
		return fmt.Errorf("read the first bytes: %w", err)
	}
	c.reader = io.MultiReader(bytes.NewReader(first), c.Conn)
	if string(first) == preface {
		return p.routeHTTP2(c)
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return err
	}
	return p.http.hand(c)
}

// Close refuses new connections and drops those that are nobody's yet. The others are their servers'.
func (p *port) Close() error {
	err := p.Listener.Close()
	p.mu.Lock()
	for c := range p.opening {
		drop(c.accepted) // what wraps it is route's, which fails now and leaves its place
	}
	p.opening = nil
	p.mu.Unlock()
	err = errors.Join(err, p.grpc.Close(), p.http.Close())
	p.working.Wait()
	return err
}

// drop closes a connection that nothing was done with: there is nobody to tell if that fails.
func drop(c net.Conn) {
	_ = c.Close() //nolint:errcheck // see above
}

// connection is one whose first bytes were looked at; they are read again.
type connection struct {
	net.Conn
	accepted net.Conn             // what Conn was before a handshake wrapped it
	tls      *tls.ConnectionState // nil: plain text
	reader   io.Reader            // of what was looked at, and what comes after it
	left     func()               // leaves the connection's place
}

// Read implements net.Conn.
func (c *connection) Read(into []byte) (int, error) { return c.reader.Read(into) }

// Close implements net.Conn.
func (c *connection) Close() error {
	c.left()
	return c.Conn.Close()
}

// handed is the listener of one of the port's servers.
type handed struct {
	addr  net.Addr
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newHanded(addr net.Addr) *handed {
	return &handed{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (h *handed) hand(c net.Conn) error {
	select {
	case h.conns <- c:
		return nil
	case <-h.done:
		return net.ErrClosed
	}
}

// Accept implements net.Listener.
func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handed) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr implements net.Listener.
func (h *handed) Addr() net.Addr { return h.addr }

// shaken are gRPC's credentials for connections whose handshake the port has made: they say what it found.
type shaken struct{}

// ServerHandshake implements credentials.TransportCredentials.
func (shaken) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, ok := conn.(*connection)
	if !ok || c.tls == nil {
		return nil, nil, errors.New("the connection did not come through the port, or is not secure")
	}
	return conn, credentials.TLSInfo{
		State: *c.tls, CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

// ClientHandshake implements credentials.TransportCredentials; no client uses these.
func (shaken) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these credentials are a server's")
}

// Info implements credentials.TransportCredentials.
func (shaken) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone implements credentials.TransportCredentials.
func (s shaken) Clone() credentials.TransportCredentials { return s }

// OverrideServerName implements credentials.TransportCredentials.
func (shaken) OverrideServerName(string) error { return nil }
