package peers

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/membership"
	"example.com/life/adapters/places"
	"example.com/life/events"
)

// Handlers answer other hosts: they are methods of a [membership.Member] and of an [actors.Host]. Contexts end when nobody waits for the answer any
// more. from is a host that has joined, and proved its name; whether it is a member still is for the handler to know.
type Handlers struct {
	Ping    func(context.Context, membership.Ping) (membership.Pong, error)
	Confirm func(membership.Question) membership.Heard
	Probe   func(context.Context) (events.BlobRef, error) // stores a blob that the asking host has to find
	Call    func(ctx context.Context, from events.HostID, call actors.PeerCall) actors.PeerAnswer
	Deltas  func(ctx context.Context, agent events.AgentID, show func(actors.FeedDelta) error) error
}

// Bounds of a server.
const (
	mostConnections = 512
	unprovenTime    = 10 * time.Second
	mostRequests    = 1024             // of one connection, under way
	mostBytes       = 64 << 20         // of their bodies
	longest         = 60 * time.Second // that a request without parts may take
	acceptPause     = 50 * time.Millisecond
	tellEvery       = time.Second
)

// Server is the peer port of a host. Until it serves, connections to it wait.
type Server struct {
	listener net.Listener
	identity *Identity
	log      *slog.Logger
	places   *places.Places
	handlers Handlers
	alive    context.Context //nolint:containedctx // of the requests, which end with the server
	stop     context.CancelFunc
	running  sync.WaitGroup

	mu     sync.Mutex
	told   time.Time // when the end of a connection was logged
	untold int       // ended since then
}

// Listen takes the port. The address is that of the port in the network: not 0.0.0.0, and no port 0, unless Addr is published instead.
func Listen(ctx context.Context, address string, identity *Identity, log *slog.Logger) (*Server, error) {
	listener, err := (&net.ListenConfig{KeepAliveConfig: keepAlive, Control: unacknowledged}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for other hosts on %s: %w; --peer chooses another address of this machine, and port 0 any free port", address, err)
	}
	s := &Server{listener: listener, identity: identity, log: log, places: places.New(places.Config{
		Most: mostConnections, Unproven: mostConnections / 4, Patience: unprovenTime,
	})}
	s.alive, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve answers in the background, until Close.
func (s *Server) Serve(handlers Handlers) {
	s.handlers = handlers
	s.running.Go(s.accept)
}

// Close ends all connections and the contexts of all requests, and waits for their handlers.
func (s *Server) Close() {
	s.stop()
	_ = s.listener.Close() //nolint:errcheck // nothing is left to do
	s.running.Wait()
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Warn("a connection of another host could not be accepted", "error", err)
			select {
			case <-time.After(acceptPause):
			case <-s.alive.Done():
			}
			continue
		}
		s.running.Go(func() {
			if err := s.serve(conn); err != nil {
				s.tell(conn.RemoteAddr().String(), err)
			}
		})
	}
}

// tell logs how a connection ended: one of a second, for who has no certificate can make as many as it likes.
func (s *Server) tell(from string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.told) >= tellEvery {
		s.log.Warn("the connection of another host ended", "from", from, "error", err, "more", s.untold)
		s.told, s.untold = now, 0
		return
	}
	s.untold++
}

// serve answers on a connection until it ends.
func (s *Server) serve(plain net.Conn) error {
	defer func() { _ = plain.Close() }() //nolint:errcheck // it is of no more use
	place, err := s.places.Take(plain)
	if err != nil {
		return fmt.Errorf("refused: %w", err)
	}
	defer place.Leave()
	defer context.AfterFunc(s.alive, func() { _ = plain.Close() })() //nolint:errcheck // the reads say it
	conn := tls.Server(plain, s.identity.server(s.alive))
	in, from, err := s.welcome(conn)
	if err != nil {
		return err
	}
	place.Prove()
	a := &asked{server: s, from: from, place: place, open: map[uint64]context.CancelFunc{}, idle: make(chan func())}
	return a.serve(conn, in)
}

// welcome makes a connection secure and exchanges hellos.
func (s *Server) welcome(conn *tls.Conn) (in *frames, from events.HostID, err error) {
	if err := conn.SetDeadline(time.Now().Add(helloTime)); err != nil {
		return nil, "", err
	}
	if err := conn.HandshakeContext(s.alive); err != nil {
		return nil, "", err
	}
	name, err := nameOf(conn.ConnectionState())
	if err != nil {
		return nil, "", err
	}
	in = newFrames(conn)
	f, err := in.next()
	if err != nil {
		return nil, "", fmt.Errorf("host %q said no hello: %w", name, err)
	}
	var said hello
	if f.kind != kindHello {
		err = fmt.Errorf("a frame of kind %d came instead of a hello", f.kind)
	} else if err = decode(f.body, &said); err == nil && said.Host != "" && said.Host.Name() != name {
		err = fmt.Errorf("the certificate is that of host %q, the hello that of %q", name, said.Host)
	}
	if err != nil {
		return nil, "", errors.Join(err, send(conn, frame{kind: kindFailed, id: f.id, body: encode(invalid(err))}))
	}
	if err := send(conn, frame{kind: kindHello, body: []byte("{}")}); err != nil {
		return nil, "", err
	}
	return in, said.Host, conn.SetDeadline(time.Time{})
}

// encode writes what can always be written.
func encode(value any) []byte {
	body, err := json.Marshal(value)
	if err != nil {
		body, _ = json.Marshal(Failure{CodeFailed, err.Error()}) //nolint:errcheck,errchkjson // two texts
	}
	return body
}
