package eventstore

import (
	"context"
	"errors"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/keepalive"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

const (
	maxReceived = 17 << 20  // bytes of one message: an event of EventStoreDB has at most 16 MiB
	maxHeaders  = 256 << 10 // bytes of the headers of an answer, and of its trailers
	callWindow  = 1 << 20   // bytes that the store may send ahead on one call
	feedWindow  = 256 << 10 // the same of a subscription: with its queue, what a slow subscriber has in memory

	// EventStoreDB answers at most 100 calls at once on a connection, and gRPC lets the next one wait without a word. So subscriptions, which
	// never end, have connections of their own, and a call waits here for one of fewer slots: a heartbeat always gets through.
	maxFeeds = 64 // subscriptions on a connection
	maxCalls = 90 // calls at once

	// probeStream is read to find out whether a node leads. It need not be there, and every user may ask for it by the standard access list.
	probeStream events.Stream = "life"
)

// node is one server: a connection for calls, and others for subscriptions. It is given up at most once, and closed when nobody uses it
// any more.
type node struct {
	endpoint
	target  *target
	calls   *connection
	slots   chan struct{}   // has a token for each call under way
	alive   context.Context //nolint:containedctx // it is the node's life: it ends when the node is given up, and its cause says why
	end     context.CancelCauseFunc
	doubted chan struct{} // has a token when a call wants the node to be examined

	mu      sync.Mutex
	users   int
	feeds   []*feedLine
	verdict chan struct{} // closed after the examination that the doubt asked for; nil: there is no doubt
}

// feedLine is a connection for subscriptions.
type feedLine struct {
	*connection
	users int
}

// connection is a gRPC connection that remembers why its last handshake failed, which gRPC tells as text only.
type connection struct {
	*grpc.ClientConn
	handshakes *handshakes
}

// dial makes a connection, which is attempted with the first call.
func (t *target) dial(to endpoint, window int32) (*connection, error) {
	made := &connection{handshakes: &handshakes{TransportCredentials: t.transport.Clone()}}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(made.handshakes),
		// gRPC would repeat a call by itself from what it has buffered, which may be part of a batch: it is to buffer nothing.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceived), grpc.MaxRetryRPCBufferSize(0)), grpc.WithMaxHeaderListSize(maxHeaders),
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(4 * window),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: t.probe}),
		grpc.WithIdleTimeout(0), // an idle connection would look lost
		grpc.WithDisableServiceConfig(),
		grpc.WithAuthority(to.address),
	}
	if t.login != nil {
		options = append(options, grpc.WithPerRPCCredentials(t.login))
	}
	if t.idle >= 0 {
		options = append(options, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: t.idle, Timeout: t.pong, PermitWithoutStream: true}))
	}
	var err error
	made.ClientConn, err = grpc.NewClient(to.dialled(), options...)
	return made, err
}

// connect makes a node. Nothing is sent to it yet.
func (t *target) connect(to endpoint) (*node, error) {
	conn, err := t.dial(to, callWindow)
	if err != nil {
		return nil, err
	}
	n := &node{endpoint: to, target: t, calls: conn, slots: make(chan struct{}, maxCalls), doubted: make(chan struct{}, 1)}
	n.alive, n.end = context.WithCancelCause(context.Background())
	return n, nil
}

// use notes one more user; false when the node was given up.
func (n *node) use() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.isLost() {
		return false
	}
	n.users++
	return true
}

// release ends a use.
func (n *node) release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.users--; n.users == 0 && n.isLost() {
		n.calls.Close() //nolint:errcheck // nothing can be done
	}
}

// within bounds a call by the node's life: a connection that is given up may still be there, and would never answer.
func (n *node) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	detach := context.AfterFunc(n.alive, cancel)
	return ctx, func() {
		detach()
		cancel()
	}
}

// feed returns a connection for one subscription, which is released after it.
func (n *node) feed() (*feedLine, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, f := range n.feeds {
		if f.users < maxFeeds {
			f.users++
			return f, nil
		}
	}
	conn, err := n.target.dial(n.endpoint, feedWindow)
	if err != nil {
		return nil, err
	}
	f := &feedLine{connection: conn, users: 1}
	n.feeds = append(n.feeds, f)
	return f, nil
}

// releaseFeed ends a subscription's use of its connection, and the connection with its last one.
func (n *node) releaseFeed(f *feedLine) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if f.users--; f.users == 0 {
		n.feeds = slices.DeleteFunc(n.feeds, func(other *feedLine) bool { return other == f })
		f.Close() //nolint:errcheck // nothing can be done
	}
}

// giveUp lets nobody begin to use the node, and ends the calls under way.
func (n *node) giveUp(cause error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.isLost() {
		return
	}
	n.end(cause)
	if n.users == 0 {
		n.calls.Close() //nolint:errcheck // nothing can be done
	}
}

func (n *node) isLost() bool { return n.alive.Err() != nil }

// examine reads what only a leader answers, on every connection to the node. It is the proof that the node works, and a heartbeat: gRPC's
// own pings are ten seconds apart, and are answered by nodes that no longer lead.
func (n *node) examine(ctx context.Context) *failure {
	ctx, cancel := context.WithTimeout(ctx, n.target.probe)
	defer cancel()
	n.mu.Lock()
	feeds := slices.Clone(n.feeds)
	for _, f := range feeds {
		f.users++ // so that it is not closed meanwhile
	}
	n.mu.Unlock()
	answers := make(chan *failure, len(feeds)+1)
	go func() { answers <- n.ask(ctx, n.calls) }()
	for _, f := range feeds {
		go func() {
			defer n.releaseFeed(f)
			answers <- n.ask(ctx, f.connection)
		}()
	}
	var first *failure
	for range len(feeds) + 1 {
		if f := <-answers; f != nil && first == nil {
			first = f
			cancel() // what the others say does not matter any more
		}
	}
	return first
}

// ask is the examination of one connection. A leader may also refuse to answer: the user may not read, somebody ended the stream.
func (n *node) ask(ctx context.Context, conn *connection) *failure {
	question := readPlan{stream: probeStream, revision: -1, direction: storage.Backward, limit: one()}
	f := read(ctx, conn.ClientConn, question.request(0), n.target.silence, func(*answer) (more bool) { return true })
	if f == nil || f.code == codes.PermissionDenied || f.exception == "stream-deleted" {
		return nil
	}
	if f.code == codes.DeadlineExceeded {
		f.message = "no answer within " + n.target.probe.String()
	}
	return f
}

// doubt has the node examined, and returns when it was, or was given up, or ctx ended.
func (n *node) doubt(ctx context.Context) {
	n.mu.Lock()
	if n.verdict == nil {
		n.verdict = make(chan struct{})
	}
	verdict := n.verdict
	n.mu.Unlock()
	signal(n.doubted)
	select {
	case <-verdict:
	case <-n.alive.Done():
	case <-ctx.Done():
	}
}

// doubts takes the doubt that there is, whose channel is to be closed after an examination; nil for none.
func (n *node) doubts() chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	verdict := n.verdict
	n.verdict = nil
	return verdict
}

// watch returns when the connection is lost, or ctx ends. gRPC would connect again by itself, perhaps to a server that was started
// meanwhile and remembers nothing of what was sent before.
func (n *node) watch(ctx context.Context) {
	for state := n.calls.GetState(); state == connectivity.Ready; state = n.calls.GetState() {
		if !n.calls.WaitForStateChange(ctx, state) {
			return
		}
	}
}

// lostInstead is the failure of a call, or why its node was given up when the call ended with that.
func (n *node) lostInstead(f *failure) *failure {
	if f == nil || f.code != codes.Canceled || !n.isLost() {
		return f
	}
	lost := &failure{code: codes.Unavailable, message: "the connection to " + n.address + " was given up"}
	if cause := context.Cause(n.alive); !errors.Is(cause, context.Canceled) {
		lost.message += ": " + cause.Error()
	}
	return lost
}
