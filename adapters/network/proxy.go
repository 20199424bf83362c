package network

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"
)

// Bounds of what one command may do.
const (
	mostConnections = 64      // at the same time
	mostBytes       = 4 << 30 // over all of them, in both directions
	idleFor         = 5 * time.Minute
	headerFor       = 10 * time.Second
	mostHeader      = 64 << 10
)

// Proxy is an HTTP proxy for one command: CONNECT, and requests with absolute URLs. It speaks no other protocol.
type Proxy struct {
	policy  *Policy
	journal journal
	server  *http.Server
	forward *httputil.ReverseProxy
	left    atomic.Int64 // bytes

	ctx     context.Context //nolint:containedctx // of the connections that were taken from the server
	cancel  context.CancelFunc
	tunnels sync.WaitGroup
	serving sync.WaitGroup
}

// Proxy serves a listener by the policy until it is closed.
func (p *Policy) Proxy(listener net.Listener) *Proxy {
	x := &Proxy{policy: p}
	x.left.Store(mostBytes)
	x.ctx, x.cancel = context.WithCancel(context.Background())
	quiet := log.New(io.Discard, "", 0) // what goes wrong is in the journal
	x.forward = &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.Out.Host = r.In.URL.Host },
		ErrorLog: quiet,
		Transport: &http.Transport{
			DialContext: x.dial, DisableKeepAlives: true, DisableCompression: true, ResponseHeaderTimeout: idleFor, MaxResponseHeaderBytes: mostHeader,
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) { fail(w, err) },
	}
	x.server = &http.Server{
		Handler: x, ReadHeaderTimeout: headerFor, IdleTimeout: idleFor, MaxHeaderBytes: mostHeader, ErrorLog: quiet,
		BaseContext: func(net.Listener) context.Context { return x.ctx },
	}
	x.serving.Go(func() {
		_ = x.server.Serve(netutil.LimitListener(listener, mostConnections)) //nolint:errcheck // it was closed
	})
	return x
}

// Close ends all connections and returns, a line for each place, what was reached and what was refused.
func (x *Proxy) Close() []string {
	x.cancel()
	_ = x.server.Close() //nolint:errcheck // its listener may be closed already
	x.serving.Wait()
	x.tunnels.Wait()
	return x.journal.lines()
}

// ServeHTTP implements http.Handler.
func (x *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect:
		x.connect(w, r)
	case r.URL.Scheme == "http" && r.URL.Host != "":
		x.tunnels.Add(1)
		defer x.tunnels.Done()
		x.forward.ServeHTTP(w, r)
	default:
		http.Error(w, "this is a proxy: it takes CONNECT, and requests with an absolute http URL", http.StatusBadRequest)
	}
}

// fail tells a command why a connection was not made.
func fail(w http.ResponseWriter, err error) {
	status := http.StatusBadGateway
	var refused *RefusedError
	if errors.As(err, &refused) {
		status = http.StatusForbidden
	}
	http.Error(w, err.Error(), status)
}

// dial connects to a place, and notes it.
func (x *Proxy) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = address, ""
	}
	conn, err := x.policy.Dial(ctx, host, port)
	noted := x.journal.add(host, port, err)
	if err != nil {
		return nil, err
	}
	return &counted{Conn: conn, proxy: x, entry: noted}, nil
}

// connect joins a command's connection to one of its own.
func (x *Proxy) connect(w http.ResponseWriter, r *http.Request) {
	x.tunnels.Add(1)
	defer x.tunnels.Done()
	there, err := x.dial(x.ctx, "tcp", r.Host)
	if err != nil {
		fail(w, err)
		return
	}
	defer func() { _ = there.Close() }() //nolint:errcheck // nothing depends on it
	here, early, err := http.NewResponseController(w).Hijack()
	if err != nil {
		fail(w, err)
		return
	}
	defer func() { _ = here.Close() }()                                             //nolint:errcheck // nothing depends on it
	over := context.AfterFunc(x.ctx, func() { _, _ = here.Close(), there.Close() }) //nolint:errcheck // the command is over
	defer over()
	if err := here.SetDeadline(time.Time{}); err != nil {
		return
	}
	if _, err := io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	back := make(chan struct{})
	go func() {
		defer close(back)
		copyHalf(here, there)
	}()
	copyHalf(there, early.Reader)
	<-back
}

// copyHalf copies one direction of a connection, and then says that no more will come.
func copyHalf(to net.Conn, from io.Reader) {
	_, err := io.Copy(struct{ io.Writer }{to}, from)
	half, can := to.(interface{ CloseWrite() error })
	if err != nil || !can || half.CloseWrite() != nil {
		_ = to.Close() //nolint:errcheck // its reader ends too
	}
}

// counted is a connection whose bytes are counted. It ends when nothing went over it for a while, or the command has had its share.
type counted struct {
	net.Conn
	proxy *Proxy
	entry *entry
}

var errShare = errors.New("the command has had all the bytes that one command may")

func (c *counted) pass(n int, err error) (int, error) {
	c.proxy.journal.passed(c.entry, int64(n))
	if c.proxy.left.Add(-int64(n)) < 0 {
		return n, errors.Join(errShare, c.Close())
	}
	return n, err
}

// Read implements net.Conn.
func (c *counted) Read(b []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(idleFor)); err != nil {
		return 0, err
	}
	return c.pass(c.Conn.Read(b))
}

// Write implements net.Conn.
func (c *counted) Write(b []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(idleFor)); err != nil {
		return 0, err
	}
	return c.pass(c.Conn.Write(b))
}

// CloseWrite says that nothing more will come.
func (c *counted) CloseWrite() error {
	if half, can := c.Conn.(interface{ CloseWrite() error }); can {
		return half.CloseWrite()
	}
	return c.Close()
}
