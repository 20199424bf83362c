package eventstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

const (
	maxReceived = 17 << 20  // bytes of one message: an event of EventStoreDB has at most 16 MiB
	callWindow  = 1 << 20   // bytes that the store may send ahead on one call
	feedWindow  = 256 << 10 // the same of a subscription: with its queue, what a slow subscriber has in memory
)

// node is one server: a connection for calls, and others for subscriptions. It is given up at most once, and closed when nobody uses it
// any more.
type node struct {
	address string
	conn    *grpc.ClientConn
	lost    chan struct{} // closed when it was given up

	mu    sync.Mutex
	users int
	feeds []*feedLine
}

// feedLine is a connection for subscriptions. EventStoreDB answers at most 100 calls at once on a connection, and gRPC lets the next one
// wait without a word: subscriptions, which never end, would keep appends from being sent.
type feedLine struct {
	conn  *grpc.ClientConn
	users int
}

// maxFeeds is how many subscriptions share a connection.
const maxFeeds = 64

// dial makes a connection, which is attempted with the first call.
func (t *target) dial(address string, window int32) (*grpc.ClientConn, error) {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(t.transport),
		// gRPC would repeat a call by itself from what it has buffered, which may be part of a batch: it is to buffer nothing.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceived), grpc.MaxRetryRPCBufferSize(0)),
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(4 * window),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: t.probe}),
		grpc.WithIdleTimeout(0), // an idle connection would look lost
		grpc.WithDisableServiceConfig(),
	}
	if t.login != nil {
		options = append(options, grpc.WithPerRPCCredentials(t.login))
	}
	if t.idle >= 0 {
		options = append(options, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: t.idle, Timeout: t.pong, PermitWithoutStream: true}))
	}
	return grpc.NewClient(address, options...)
}

// discover finds a server that answers: the one named, or the leader of a cluster. One that another server has named is tried first.
func (t *target) discover(ctx context.Context, leader string) (*node, error) {
	if leader != "" {
		if n, err := t.reach(ctx, leader); err == nil {
			return n, nil
		}
	}
	addresses := slices.Clone(t.addresses)
	rand.Shuffle(len(addresses), func(i, k int) { addresses[i], addresses[k] = addresses[k], addresses[i] })
	var errs []error
	for _, address := range addresses {
		n, err := t.through(ctx, address)
		if err == nil {
			return n, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", address, err))
	}
	return nil, joined(errs)
}

// through reaches the server at an address, or the leader that it names.
func (t *target) through(ctx context.Context, address string) (*node, error) {
	if !t.cluster {
		return t.reach(ctx, address)
	}
	leader, err := t.leader(ctx, address)
	if err != nil {
		return nil, err
	}
	return t.reach(ctx, leader)
}

// leader asks a server who its cluster's leader is.
func (t *target) leader(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, t.probe)
	defer cancel()
	conn, err := t.dial(address, callWindow)
	if err != nil {
		return "", err
	}
	defer conn.Close() //nolint:errcheck // it was for one question
	answer, err := gossip.NewGossipClient(conn).Read(ctx, &shared.Empty{})
	if err != nil {
		return "", failed(err, nil)
	}
	for _, member := range answer.GetMembers() {
		if at := member.GetHttpEndPoint(); member.GetIsAlive() && member.GetState() == gossip.MemberInfo_Leader && at.GetAddress() != "" {
			return at.GetAddress() + ":" + strconv.FormatUint(uint64(at.GetPort()), 10), nil
		}
	}
	return "", fmt.Errorf("of the cluster's %d members none is an alive leader at the moment", len(answer.GetMembers()))
}

// reach connects to a server and asks what it can do: the first proof that it is there, and that the credentials are right.
func (t *target) reach(ctx context.Context, address string) (*node, error) {
	ctx, cancel := context.WithTimeout(ctx, t.probe)
	defer cancel()
	conn, err := t.dial(address, callWindow)
	if err != nil {
		return nil, err
	}
	_, err = serverfeatures.NewServerFeaturesClient(conn).GetSupportedMethods(ctx, &shared.Empty{})
	switch status.Code(err) {
	case codes.OK, codes.Unimplemented, codes.NotFound: // servers before 21.10 have no such call
		return &node{address: address, conn: conn, lost: make(chan struct{})}, nil
	default:
		return nil, errors.Join(failed(err, nil), conn.Close())
	}
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
		n.conn.Close() //nolint:errcheck // nothing can be done
	}
}

// feed returns a connection for one subscription, which is released after it.
func (n *node) feed(t *target) (*feedLine, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, f := range n.feeds {
		if f.users < maxFeeds {
			f.users++
			return f, nil
		}
	}
	conn, err := t.dial(n.address, feedWindow)
	if err != nil {
		return nil, err
	}
	f := &feedLine{conn: conn, users: 1}
	n.feeds = append(n.feeds, f)
	return f, nil
}

// releaseFeed ends a subscription's use of its connection, and the connection with its last one.
func (n *node) releaseFeed(f *feedLine) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if f.users--; f.users == 0 {
		n.feeds = slices.DeleteFunc(n.feeds, func(other *feedLine) bool { return other == f })
		f.conn.Close() //nolint:errcheck // nothing can be done
	}
}

// giveUp lets nobody begin to use the node. Calls under way may still be answered; subscriptions end by themselves.
func (n *node) giveUp() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.isLost() {
		return
	}
	close(n.lost)
	if n.users == 0 {
		n.conn.Close() //nolint:errcheck // nothing can be done
	}
}

func (n *node) isLost() bool {
	select {
	case <-n.lost:
		return true
	default:
		return false
	}
}

// watch returns when the connection is lost, the node was given up, or ctx ends.
func (n *node) watch(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-n.lost:
			cancel()
		case <-ctx.Done():
		}
	}()
	for state := n.conn.GetState(); state == connectivity.Ready; state = n.conn.GetState() {
		if !n.conn.WaitForStateChange(ctx, state) {
			return
		}
	}
}

// pause is the wait between attempts: longer each time, up to a bound, and by chance up to half as long, so that many hosts do not
// come at once.
type pause struct {
	least, most time.Duration
	next        time.Duration
}

func newPause(least time.Duration) *pause {
	return &pause{least: least, most: max(least, min(20*least, 5*time.Second)), next: least}
}

func (p *pause) reset() { p.next = p.least }

// wait returns when it is time for the next attempt, or ctx's error.
func (p *pause) wait(ctx context.Context) error {
	timer := time.NewTimer(p.next/2 + rand.N(p.next/2+1))
	defer timer.Stop()
	p.next = min(2*p.next, p.most)
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// joined puts errors into one line.
func joined(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return &several{text: strings.Join(texts, "; "), errs: errs}
}

type several struct {
	text string
	errs []error
}

func (s *several) Error() string   { return s.text }
func (s *several) Unwrap() []error { return s.errs }
