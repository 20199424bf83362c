package eventstoretest

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
)

// Cut is what does not arrive of what passes between a node and everybody else.
type Cut int

// The ways to be cut off. They can be added.
const (
	Requests Cut = 1 << iota // nothing reaches the node
	Answers                  // nothing that the node sends reaches anybody
)

// endpoint is where a node says that it is.
type endpoint struct {
	host string
	port int
}

// Node is one server.
type Node struct {
	cluster *Cluster
	number  int
	port    *port // its own while the test lasts, also while nobody listens

	// Below, the cluster's lock is held.
	up       bool
	frozen   bool
	cut      Cut
	public   endpoint // what gossip and trailers say
	stranger Stranger
	has      int // records
	tail     []*write
	term     int // in which the tail was written
	net      *network

	life sync.Mutex // is held while the node starts or ends
	done chan struct{}
	grpc *grpc.Server
}

func newNode(c *Cluster, number int) (*Node, error) {
	reserved, err := reserve()
	if err != nil {
		return nil, err
	}
	n := &Node{cluster: c, number: number, port: reserved, public: endpoint{host: "127.0.0.1", port: reserved.number}}
	return n, nil
}

// Address is host:port, the same for all of the node's life.
func (n *Node) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port.number)) }

// String names the node in messages of tests.
func (n *Node) String() string { return "node " + strconv.Itoa(n.number) }

// start begins to listen, if the node does not.
func (n *Node) start() error {
	n.life.Lock()
	defer n.life.Unlock()
	if n.done != nil {
		return nil
	}
	listener, err := n.port.listen()
	if err != nil {
		return fmt.Errorf("listen at %s again: %w", n.Address(), err)
	}
	c := n.cluster
	c.mu.Lock()
	n.net = newNetwork(listener, n.stranger)
	n.net.hold(n.holds())
	n.up = n.stranger == nil
	n.grpc = n.serve()
	c.settle()
	c.mu.Unlock()
	n.done = make(chan struct{})
	go func() {
		defer close(n.done)
		if err := n.grpc.Serve(n.net); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, grpc.ErrServerStopped) {
			c.t.Errorf("%s: serve: %v", n, err)
		}
	}()
	return nil
}

// serve makes the services of one life of the node.
func (n *Node) serve() *grpc.Server {
	made := grpc.NewServer(grpc.MaxConcurrentStreams(100), grpc.MaxRecvMsgSize(17<<20), grpc.WaitForHandlers(true))
	streams.RegisterStreamsServer(made, &streamsService{node: n})
	persistent.RegisterPersistentSubscriptionsServer(made, &groupsService{node: n})
	serverfeatures.RegisterServerFeaturesServer(made, &featuresService{node: n})
	gossip.RegisterGossipServer(made, &gossipService{node: n})
	return made
}

// Kill ends the node as SIGKILL does: its connections are reset, and nobody listens at its address.
func (n *Node) Kill() {
	n.life.Lock()
	defer n.life.Unlock()
	if n.done == nil {
		return
	}
	c := n.cluster
	c.mu.Lock()
	n.up, n.frozen = false, false
	n.net.reset()
	n.interrupt()
	c.settle()
	n.tail = n.tail[:c.random.IntN(len(n.tail)+1)] // the rest was not on its disk yet
	c.mu.Unlock()
	n.grpc.Stop()
	<-n.done
	n.done = nil
}

// Restart starts a node that was killed, with what it had stored.
func (n *Node) Restart() {
	if err := n.start(); err != nil {
		n.cluster.t.Errorf("restart %s: %v", n, err)
	}
}

// restart ends the node and starts it again.
func (n *Node) restart() {
	n.Kill()
	timer := time.NewTimer(n.cluster.config.Restart)
	defer timer.Stop()
	select {
	case <-timer.C:
		n.Restart()
	case <-n.cluster.stop:
	}
}

// end is for good.
func (n *Node) end() {
	n.Kill()
	n.port.release()
}

// Freeze has the node do nothing, as SIGSTOP does: connections stay and new ones are made, and nobody answers, to pings neither.
func (n *Node) Freeze() { n.become(func() { n.frozen = true }) }

// Thaw ends Freeze: what has arrived meanwhile is answered.
func (n *Node) Thaw() { n.become(func() { n.frozen = false }) }

// CutOff has nothing arrive of one way or both, without a connection being lost; 0 ends that, and what was under way arrives. The other
// nodes are cut off too: an election follows when the node leads.
func (n *Node) CutOff(what Cut) { n.become(func() { n.cut = what }) }

func (n *Node) become(what func()) {
	c := n.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	what()
	if n.net != nil {
		n.net.hold(n.holds())
	}
	c.settle()
}

// holds is what of its connections stands still.
func (n *Node) holds() (reads, writes bool) {
	return n.frozen || n.cut&Requests != 0, n.frozen || n.cut&Answers != 0
}

// Advertise has gossip and trailers name another address for the node, such as a host that does not resolve.
func (n *Node) Advertise(host string, port int) {
	n.become(func() { n.public = endpoint{host: host, port: port} })
}

// Port is where the node listens.
func (n *Node) Port() int { return n.port.number }
