// Package eventstoretest is a double of EventStoreDB for tests: a small cluster that speaks its gRPC protocol on loopback ports, behaves
// as real servers were seen to behave, and suffers on demand what real clusters suffer. No binary links it.
//
// What it is for is what `life store serve` does not do: positions with gaps that are refused when no record begins there, the
// checkpoints of each version, elections, nodes that are killed, frozen or cut off, appends without an answer, joins that are dropped.
// It keeps everything in memory. Appends, reads and subscriptions are there as Life's journal needs them; batch appends, links, metadata
// and users are not.
//
//	eventstoretest.go  a cluster, its configuration and its end
//	profile.go         what differs between versions
//	log.go             records and their places
//	election.go        who leads
//	node.go            one server: killed, restarted, frozen, cut off
//	network.go         its connections
//	stranger.go        what else can listen at an address
//	append.go          appends as they are asked for and answered
//	write.go           what the leader does with them, and what a majority has
//	lost.go            how answers to them get lost
//	read.go, subscribe.go, filter.go   reading
//	groups.go, consumer.go             persistent subscriptions
//	about.go           features and gossip
//	failure.go         statuses and trailers
//	check.go           what clients were told, compared with what is stored
package eventstoretest

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	_ "example.com/life/adapters/registration" // before the client's messages are registered
)

// Config says what the cluster is like. Zero values mean the defaults, which are a tenth of what real clusters take, or less.
type Config struct {
	Nodes   int     // 1 or 3; default 1
	Profile Profile // the version; default the newest of 24.10
	Seed    uint64  // of everything that happens by chance

	Election  time.Duration // from the loss of a leader to the next one; default 200 ms (real: 0.4-4 s)
	Notice    time.Duration // until the others hold a silent node for dead; default 400 ms (real: 7-9 s)
	Subsystem time.Duration // from leading until joins to groups are answered; default 30 ms (real: about that)
	Replicate time.Duration // from writing an event until a majority has it; default 0: at once
	Commit    time.Duration // how long an append waits for a majority; default 500 ms (real: 2 s)
	Restart   time.Duration // until a node that has ended itself is started again; default 100 ms
	Tick      time.Duration // between two looks at what groups have to do by time; default 50 ms (real: 1 s)
}

func (c Config) completed() Config {
	standard := func(value *time.Duration, otherwise time.Duration) {
		if *value == 0 {
			*value = otherwise
		}
	}
	if c.Nodes == 0 {
		c.Nodes = 1
	}
	if c.Profile.Version == "" {
		c.Profile = Version24Mended()
	}
	standard(&c.Election, 200*time.Millisecond)
	standard(&c.Notice, 400*time.Millisecond)
	standard(&c.Subsystem, 30*time.Millisecond)
	standard(&c.Commit, 500*time.Millisecond)
	standard(&c.Restart, 100*time.Millisecond)
	standard(&c.Tick, 50*time.Millisecond)
	return c
}

// Cluster is one or three servers and what they have stored together. Its methods can be called at any time.
type Cluster struct {
	t      testing.TB
	config Config
	nodes  []*Node

	mu      sync.Mutex
	random  *rand.Rand
	log     log
	changed chan struct{} // closed when something was stored or somebody else leads
	election
	faults
	groups map[string]*group // by stream::group
	came   map[eventID]bool
	counts Counts
	ended  bool

	stop chan struct{} // ends the ticks
	wait sync.WaitGroup
}

// Start makes a cluster that has a leader. It ends with the test.
func Start(t testing.TB, config Config) *Cluster {
	t.Helper()
	config = config.completed()
	if config.Nodes != 1 && config.Nodes != 3 {
		t.Fatalf("a cluster has 1 or 3 nodes, not %d", config.Nodes)
	}
	c := &Cluster{
		t: t, config: config, random: rand.New(rand.NewPCG(config.Seed, 10)), changed: make(chan struct{}),
		groups: map[string]*group{}, came: map[eventID]bool{}, stop: make(chan struct{}),
	}
	c.log.begin(c.random)
	for i := range config.Nodes {
		n, err := newNode(c, i)
		if err != nil {
			t.Fatalf("start node %d: %v", i, err)
		}
		c.nodes = append(c.nodes, n)
	}
	t.Cleanup(c.close)
	for _, n := range c.nodes {
		if err := n.start(); err != nil {
			t.Fatalf("start node %d: %v", n.number, err)
		}
	}
	c.mu.Lock()
	c.elect()
	c.startGroups()
	c.mu.Unlock()
	c.wait.Go(c.ticks)
	return c
}

func (c *Cluster) close() {
	c.mu.Lock()
	c.ended = true
	c.cancel()
	c.mu.Unlock()
	close(c.stop)
	c.wait.Wait()
	for _, n := range c.nodes {
		n.end()
	}
}

// Node returns one of the nodes, counted from 0.
func (c *Cluster) Node(number int) *Node { return c.nodes[number] }

// Connection is a connection string that names all nodes, or the given ones. Connections are not encrypted.
func (c *Cluster) Connection(nodes ...*Node) string {
	if len(nodes) == 0 {
		nodes = c.nodes
	}
	addresses := make([]string, len(nodes))
	for i, n := range nodes {
		addresses[i] = n.Address()
	}
	return "esdb://" + strings.Join(addresses, ",") + "?tls=false&discoveryInterval=10"
}

// change wakes everyone who waits for something to change. The lock is held.
func (c *Cluster) change() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// await returns when something has changed since the channel was taken, or ctx ends.
func await(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ticks has groups do what is due.
func (c *Cluster) ticks() {
	ticker := time.NewTicker(c.config.Tick)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			c.mu.Lock()
			c.tick(now)
			c.mu.Unlock()
		case <-c.stop:
			return
		}
	}
}
