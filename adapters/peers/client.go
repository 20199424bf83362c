package peers

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/membership"
	"example.com/life/events"
	"example.com/life/sagas/cluster"
)

// lane is what a connection is for. Each has its own, so that a large body holds up no ping.
type lane int

const (
	laneContact lane = iota
	laneCalls
	laneDeltas
)

const (
	helloTime = 5 * time.Second // for TLS and the hellos
	// A ping that has waited so long may be on a connection whose packets were lost, and TCP sends them again later and later: the next
	// ping takes a new connection. The old one stays until its pings have been answered or given up.
	quietTime = 350 * time.Millisecond
)

// connectTime is how long a connection may take to be made, so that one lost packet costs no second.
func (l lane) connectTime() time.Duration {
	if l == laneContact {
		return 300 * time.Millisecond
	}
	return time.Second
}

// ClientConfig is what a Client needs.
type ClientConfig struct {
	Identity *Identity
	Self     func() events.HostID // this host; empty while it has not joined
	// Ended is called when the connection for pings to a host ended that nobody here had ended; nil: nobody wants to know.
	Ended func(host string)
}

// Client asks other hosts. It keeps one connection to each host for each purpose, and makes another when that breaks. It is safe for concurrent use.
type Client struct {
	config ClientConfig
	alive  context.Context //nolint:containedctx // of the connections, which belong to no request
	stop   context.CancelFunc
	ends   sync.WaitGroup

	mu    sync.Mutex
	lanes map[route]*line
}

// route is where a connection leads.
type route struct {
	name, address string
	lane          lane
}

// line is the connection of a route, or the attempt to make it.
type line struct {
	conn *connection
	dial *dial
}

type dial struct {
	done chan struct{}
	conn *connection
	err  error
}

// NewClient returns a client without a connection.
func NewClient(config ClientConfig) *Client {
	c := &Client{config: config, lanes: map[route]*line{}}
	c.alive, c.stop = context.WithCancel(context.Background())
	return c
}

// Close ends all connections, and the requests on them.
func (c *Client) Close() {
	c.stop()
	c.mu.Lock()
	lanes := c.lanes
	c.lanes = nil
	c.mu.Unlock()
	for _, line := range lanes {
		if line.conn != nil {
			line.conn.end(errClosed)
		}
	}
	c.ends.Wait()
}

// Ping implements [membership.Contacts].
func (c *Client) Ping(ctx context.Context, to cluster.Member, ping membership.Ping) (pong membership.Pong, err error) {
	err = c.exchange(ctx, laneContact, to, kindPing, ping, &pong)
	return pong, err
}

// Confirm implements [membership.Contacts].
func (c *Client) Confirm(ctx context.Context, to cluster.Member, suspect events.HostID) (heard membership.Heard, err error) {
	err = c.exchange(ctx, laneContact, to, kindConfirm, membership.Question{Suspect: suspect}, &heard)
	return heard, err
}

// Probe implements [membership.Contacts].
func (c *Client) Probe(ctx context.Context, to cluster.Member) (blob events.BlobRef, err error) {
	err = c.exchange(ctx, laneContact, to, kindProbe, struct{}{}, &blob)
	return blob, err
}

// Call implements [actors.Peers]. A call may reach its host twice: if the connection breaks before the answer came, it is sent again.
func (c *Client) Call(ctx context.Context, to cluster.Member, call actors.PeerCall) (actors.PeerAnswer, error) {
	body, err := actors.WritePeer(call)
	if err != nil {
		return actors.PeerAnswer{}, fmt.Errorf("encode a call: %w", err)
	}
	if body, err = c.ask(ctx, laneCalls, to, kindCall, body); err != nil {
		return actors.PeerAnswer{}, err
	}
	answer, err := actors.ReadPeerAnswer(body)
	if err != nil {
		return actors.PeerAnswer{}, failed(to, err)
	}
	return answer, nil
}

func (c *Client) exchange(ctx context.Context, lane lane, to cluster.Member, kind kind, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode a request: %w", err)
	}
	if body, err = c.ask(ctx, lane, to, kind, body); err != nil {
		return err
	}
	if err := decode(body, answer); err != nil {
		return fmt.Errorf("host %s: %w: %w", to.Joined.Name, ErrNoAnswer, err)
	}
	return nil
}

// ask asks. A connection that was there already may have been broken for long: then another is made, which tells whether the port refuses.
func (c *Client) ask(ctx context.Context, lane lane, to cluster.Member, kind kind, body []byte) ([]byte, error) {
	if len(body) > maxBody {
		return nil, fmt.Errorf("a request to host %s has %d bytes: %w", to.Joined.Name, len(body), errTooLarge)
	}
	conn, kept, err := c.connection(ctx, lane, to)
	if err != nil {
		return nil, failed(to, err)
	}
	answer, err := conn.ask(ctx, kind, body)
	if !kept || !errors.Is(err, errBroken) {
		return answer, failed(to, err)
	}
	if conn, _, err = c.connection(ctx, lane, to); err != nil {
		return nil, failed(to, &sentError{err})
	}
	answer, err = conn.ask(ctx, kind, body)
	return answer, failed(to, err)
}

// sentError is why no connection was made after the request had been sent over another.
type sentError struct{ error }

func (s *sentError) Unwrap() error { return s.error }

// failed says whom an error is about, and what it means.
func failed(to cluster.Member, err error) error {
	if err == nil {
		return nil
	}
	if _, said := errors.AsType[*Failure](err); said {
		return fmt.Errorf("host %s at %s: %w", to.Joined.Name, to.Joined.Peer, err)
	}
	meaning := ErrNoAnswer
	if alert, ok := errors.AsType[*net.OpError](err); ok && alert.Op == "remote error" { // of TLS: it ended the handshake
		err = fmt.Errorf("%w: it refuses this host's certificate (do both have the same ca.pem?): %w", membership.ErrUntrusted, err)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		meaning = membership.ErrRefused
		if _, sent := errors.AsType[*sentError](err); !sent {
			meaning = notTaken{}
		}
	}
	return fmt.Errorf("host %s at %s: %w: %w", to.Joined.Name, to.Joined.Peer, meaning, err)
}

// connection returns one that can be asked on. kept: it was there already.
func (c *Client) connection(ctx context.Context, lane lane, to cluster.Member) (conn *connection, kept bool, err error) {
	route := route{to.Joined.Name, to.Joined.Peer, lane}
	self := c.config.Self()
	c.mu.Lock()
	if c.lanes == nil {
		c.mu.Unlock()
		return nil, false, errClosed
	}
	l := c.lanes[route]
	if l == nil {
		l = &line{}
		c.lanes[route] = l
	}
	if conn := l.conn; conn != nil && conn.usable() {
		if conn.self == self && (lane != laneContact || !conn.quiet(time.Now(), quietTime)) {
			c.mu.Unlock()
			return conn, true, nil
		}
		conn.retire()
	}
	if l.conn = nil; l.dial == nil {
		d := &dial{done: make(chan struct{})}
		l.dial = d
		c.ends.Go(func() { c.make(route, self, d) })
	}
	d := l.dial
	c.mu.Unlock()
	select {
	case <-d.done:
		return d.conn, false, d.err
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
}

// make makes the connection of a route, and stays until it has ended.
func (c *Client) make(route route, self events.HostID, d *dial) {
	d.conn, d.err = c.connect(c.alive, route, self)
	c.mu.Lock()
	l := c.lanes[route]
	if c.lanes == nil && d.conn != nil {
		d.conn.end(errClosed)
	}
	if l != nil {
		l.conn, l.dial = d.conn, nil
	}
	c.mu.Unlock()
	close(d.done)
	if d.conn == nil {
		c.leave(route, nil)
		return
	}
	d.conn.ended.Wait()
	c.leave(route, d.conn)
	if route.lane == laneContact && c.config.Ended != nil && !d.conn.endedHere() {
		c.config.Ended(route.name)
	}
}

// leave forgets a route that has no connection any more, so that hosts which are gone leave nothing behind.
func (c *Client) leave(route route, ended *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.lanes[route]; l != nil && l.conn == ended && l.dial == nil {
		delete(c.lanes, route)
	}
}

func (c *Client) connect(ctx context.Context, route route, self events.HostID) (*connection, error) {
	dialer := net.Dialer{Timeout: route.lane.connectTime(), KeepAliveConfig: keepAlive, Control: unacknowledged}
	plain, err := dialer.DialContext(ctx, "tcp", route.address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(plain, c.config.Identity.dialer(ctx, route.name))
	stop := context.AfterFunc(ctx, func() { _ = plain.Close() }) //nolint:errcheck // the reads say it
	defer stop()
	in, err := greet(ctx, conn, self)
	if err != nil {
		_ = plain.Close() //nolint:errcheck // it is of no more use
		return nil, err
	}
	made := newConnection(conn, self)
	made.read(in)
	return made, nil
}

// greet makes a connection secure and exchanges hellos: only then is it known that the other end has accepted this host's certificate.
func greet(ctx context.Context, conn *tls.Conn, self events.HostID) (*frames, error) {
	if err := conn.SetDeadline(time.Now().Add(helloTime)); err != nil {
		return nil, err
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	body, err := json.Marshal(hello{Host: self})
	if err != nil {
		return nil, err
	}
	if err := send(conn, frame{kind: kindHello, body: body}); err != nil {
		return nil, err
	}
	in := newFrames(conn)
	f, err := in.next()
	if err != nil {
		return nil, fmt.Errorf("it ended the connection instead of greeting: %w", err)
	}
	if f.kind == kindFailed {
		_, err := f.answered()
		return nil, err
	}
	if f.kind != kindHello {
		return nil, fmt.Errorf("it greeted with a frame of kind %d", f.kind)
	}
	return in, conn.SetDeadline(time.Time{})
}
