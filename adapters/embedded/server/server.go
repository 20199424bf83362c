// Package server puts the embedded store behind the EventStoreDB gRPC protocol, so that the official client, and any other client
// or tool of EventStoreDB, talks to it unchanged.
//
// # What it is for
//
// Development, tests, and one machine: it is how several hosts share a store on a laptop, and how the adapter to EventStoreDB is tested
// where no EventStoreDB is to be had. A cluster runs EventStoreDB: this server has no replicas and moves no leader. What it
// acknowledges is on disk, as the store promises.
//
// # What it answers
//
//	Streams                  Append, BatchAppend, Read (counted and subscriptions, of a stream and of $all), Delete, Tombstone
//	PersistentSubscriptions  all of it, on streams and on $all
//	ServerFeatures, Gossip   the methods that are registered; a list of nodes that the configuration gives
//	Users                    all of it, over the users of the store
//	Operations               RestartPersistentSubscriptions and Shutdown; the rest means nothing on one embedded node, and says so
//	Monitoring, Redaction    are listed, and say why they are refused
//	HTTP/1, HTTP/2           GET /health/live: 204
//
// All on one port, which tells gRPC from HTTP by how a connection begins, with TLS or without. Anything else, such as projections,
// is Unimplemented, by name. Users, access control lists and certificates are the guard's: see authority.
//
// A call goes through the interceptor, which asks the guard who calls and contains panics; then through one file for each kind of
// call, which takes the request apart, asks the guard, and asks the store. What the store refuses becomes a status with the trailers
// that clients know (failure.go), or, where the protocol wants that, an answer.
//
// # Where it differs from EventStoreDB 24.10
//
//   - Positions are the store's own, which count events, times 128: none of them is next to another, and what lies between is refused.
//   - A filter's expression that takes more than 100 ms on one event ends its call with ResourceExhausted.
//   - A subscription says once that it caught up, not again each time that it was slow.
//   - An expression, a name or an option that makes no sense is InvalidArgument, where EventStoreDB often says Unknown.
//   - A full disk is ResourceExhausted with the exception disk-full; reads go on.
//   - There is no scavenge: what metadata hide of a stream, $all goes on to show.
//   - Names of streams are UTF-8, without NUL, of at most 1024 bytes; the "$$" of a metadata stream does not count.
//   - The greatest append is 1 MiB, EventStoreDB's default, and cannot be configured.
//
// # To add a service
//
// One struct in a file of its own that embeds the generated Unimplemented server, registered in register. Before anything is read or written, ask the guard; for what goes on for a while, hold. Every goroutine that a call starts
// runs in contained.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/embedded/groups"
	"example.com/life/adapters/embedded/server/protocol/operations"
	"example.com/life/adapters/embedded/server/protocol/users"
	_ "example.com/life/adapters/registration" // the client's messages and protoactor's register a file of the same name
	"example.com/life/events"
)

// Config is how a server is made. Zero values mean the defaults.
type Config struct {
	Store    *embedded.Store // required; it stays its owner's, who closes it after the server
	Listen   string          // host:port, or :0 for any port; required
	TLS      *TLS            // nil: plain text
	Insecure bool            // no users: everyone may do everything
	Users    UsersConfig     // who may log in, when the server is not insecure
	// Connections is how many there may be; default 1024. One address may have half of them, and callers without credentials, or with wrong
	// ones, a quarter.
	Connections int
	Members     []string             // host:port of the nodes that gossip names, this one first; default: this one alone
	Log         *slog.Logger         // default: nowhere
	Now         func() events.Micros // the time of events that bring none; default storage.Now
}

// MaxConnections is how many connections there are at most, unless Config says otherwise.
const MaxConnections = 1024

const (
	maxMessage = 20 << 20         // bytes of a request; the client allows itself 17 MiB
	maxHeaders = 64 << 10         // bytes of a call's headers
	maxCalls   = 1024             // at once on one connection
	unproven   = 10 * time.Second // that a connection may be idle before a caller with rights has called on it
	maxIdle    = 10 * time.Minute // of a connection without calls
	patience   = 5 * time.Second  // with calls that are under way when the server closes
)

func (c Config) completed() (Config, error) {
	if c.Store == nil {
		return c, errors.New("make the protocol server: no store is given")
	}
	if c.Listen == "" {
		return c, errors.New("make the protocol server: no address to listen on is given")
	}
	if c.Connections == 0 {
		c.Connections = MaxConnections
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = storage.Now
	}
	return c, nil
}

// Server is a listening server. It serves from Serve on.
type Server struct {
	config  Config
	port    *port
	grpc    *grpc.Server
	groups  *groups.Groups
	health  *http.Server
	asked   chan struct{} // closed when a client asks for the server to shut down
	closing chan struct{} // closed when Close begins
	once    sync.Once
}

// New checks the configuration, makes the users that a new store needs, and listens, so that Addr is known; clients wait until Serve
// is called.
func New(config Config) (*Server, error) {
	config, err := config.completed()
	if err != nil {
		return nil, err
	}
	s := &Server{config: config, health: newHealth(config.Log), asked: make(chan struct{}), closing: make(chan struct{})}
	if s.port, err = listen(config); err != nil {
		return nil, err
	}
	store, err := newWireStore(context.Background(), config.Store)
	if err != nil {
		return nil, errors.Join(err, s.port.Close())
	}
	g, err := newAuthority(context.Background(), config)
	if err != nil {
		return nil, errors.Join(err, s.port.Close())
	}
	if s.groups, err = groups.Open(context.Background(), groups.Config{Store: store, Log: config.Log, Now: config.Now, Spread: int64(store.factor)}); err != nil {
		return nil, errors.Join(err, s.port.Close())
	}
	if err := s.register(g, store); err != nil {
		s.groups.Close()
		return nil, errors.Join(err, s.port.Close())
	}
	return s, nil
}

// register makes the gRPC server and its services.
func (s *Server) register(g *authority, store wireStore) error {
	each := interceptor{guard: g, strangers: newStrangers(), places: s.port.places, log: s.config.Log}
	options := []grpc.ServerOption{
		grpc.StreamInterceptor(each.stream),
		grpc.UnknownServiceHandler(unsupported),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxCalls),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.ConnectionTimeout(handshakeTime),
		// Clients ping every ten seconds, also without a call.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 10 * time.Second, MaxConnectionIdle: maxIdle}),
	}
	if s.config.TLS != nil {
		options = append(options, grpc.Creds(shaken{}))
	}
	s.grpc = grpc.NewServer(options...)
	members, err := newGossip(s.Addr(), s.config.Members, s.config.Now)
	if err != nil {
		return err
	}
	services, open := registrar{Server: s.grpc}, registrar{Server: s.grpc, open: true}
	streams.RegisterStreamsServer(services, &streamsService{store: store, guard: g, now: s.config.Now, longest: longestWrite, closing: s.closing})
	persistent.RegisterPersistentSubscriptionsServer(services, &persistentService{groups: s.groups, guard: g})
	serverfeatures.RegisterServerFeaturesServer(open, featuresService{services: s.grpc.GetServiceInfo})
	gossip.RegisterGossipServer(open, members)
	users.RegisterUsersServer(services, &usersService{authority: g})
	operations.RegisterOperationsServer(services, &operationsService{groups: s.groups, guard: g, log: s.config.Log, shutdown: sync.OnceFunc(func() { close(s.asked) })})
	for _, service := range refusedServices() {
		services.refuse(service)
	}
	return nil
}

// Addr is where the server listens, as host:port.
func (s *Server) Addr() string { return s.port.Addr().String() }

// Serve answers calls until ctx ends, Close is called or a client that may do so asks for it, and returns nil then; another error says
// why it cannot go on.
func (s *Server) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { s.Close(context.WithoutCancel(ctx)) })
	defer stop()
	failed := make(chan error, 2)
	var serving sync.WaitGroup
	defer serving.Wait()
	serving.Go(s.port.run)
	serving.Go(func() { failed <- s.grpc.Serve(s.port.grpc) })
	serving.Go(func() { failed <- s.health.Serve(s.port.http) })
	var err error
	select {
	case err = <-failed:
	case <-s.asked:
		s.Close(ctx)
		return nil
	}
	select {
	case <-s.closing:
		return nil
	default:
		s.Close(ctx)
		return fmt.Errorf("serve on %s: %w", s.Addr(), errors.Join(err, <-failed))
	}
}

// Close refuses new calls, ends subscriptions, and waits for other calls that are under way until ctx ends, five seconds at most.
// The store stays open.
func (s *Server) Close(ctx context.Context) {
	s.once.Do(func() { s.close(ctx) })
}

func (s *Server) close(ctx context.Context) {
	close(s.closing)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.port.Close(); err != nil {
		s.config.Log.Warn("the port was not closed as it should be", "error", err)
	}
	if err := s.health.Shutdown(ctx); err != nil {
		s.config.Log.Warn("a caller of the health check had to be cut off", "error", errors.Join(err, s.health.Close()))
	}
	s.groups.Close() // ends its consumers' calls
	finished := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(finished)
	}()
	select {
	case <-finished:
	case <-ctx.Done():
		s.grpc.Stop()
		<-finished
	}
}
