package eventstoretest

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// election is who leads. Real nodes agree on it with each other; here the cluster knows how they are and decides for them.
type election struct {
	leader    *Node
	passed    *Node                 // resigned, so another is to lead
	elected   int                   // leaders so far
	subsystem bool                  // the leader's groups have started
	known     map[uuid.UUID]*record // what this leader has stored: it remembers the ids of no other

	due   string // what happens next by itself
	timer *time.Timer
	turn  int // of the timer: one that fires after its turn does nothing
}

// schedule has something happen later, in place of what was to happen; what is scheduled already keeps its time. The lock is held, here and
// in what happens.
func (c *Cluster) schedule(what string, delay time.Duration, happen func()) {
	if c.due == what {
		return
	}
	c.cancel()
	c.due = what
	turn := c.turn
	c.timer = time.AfterFunc(delay, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if turn == c.turn && !c.ended {
			c.cancel()
			happen()
		}
	})
}

func (c *Cluster) cancel() {
	c.turn++
	if c.due != "" {
		c.timer.Stop()
		c.due = ""
	}
}

// healthy reports that the other nodes hear a node and that it hears them.
func (n *Node) healthy() bool { return n.up && !n.frozen && n.cut == 0 }

// quorum reports that a majority hear each other.
func (c *Cluster) quorum() bool {
	count := 0
	for _, n := range c.nodes {
		if n.healthy() {
			count++
		}
	}
	return count > len(c.nodes)/2
}

// settle is called when a node has become another. The lock is held.
func (c *Cluster) settle() {
	if c.ended {
		return
	}
	defer c.change()
	for _, n := range c.nodes {
		if n.healthy() {
			n.join()
		}
	}
	switch {
	case c.leader == nil && c.quorum():
		c.schedule("election", c.config.Election, c.elect)
	case c.leader == nil:
		c.cancel()
	case !c.leader.up: // its connections are gone, which everyone sees at once
		c.depose()
	case c.leader.healthy() && c.quorum():
		for _, w := range c.leader.tail {
			w.alone = false
		}
		c.replicate()
		if c.subsystem {
			c.cancel()
		} else {
			c.schedule("subsystem", c.config.Subsystem, c.startGroups)
		}
	case len(c.nodes) > 1 && (c.quorum() || !c.leader.frozen): // somebody is there to notice
		c.schedule("notice", c.config.Notice, c.depose)
	default:
		c.cancel()
	}
}

// join brings a node that the others hear up to date. One that has written what another leader's term made void ends itself to cut it off, and is
// started again by whatever watches over it.
func (n *Node) join() {
	c := n.cluster
	n.has = len(c.log.records)
	if len(n.tail) > 0 && (n.term != c.elected || c.leader != nil && c.leader != n) {
		n.interrupt()
		n.tail = nil
		c.wait.Go(n.restart)
	}
}

// depose ends a leader's term. What the others have of its last writes, though it had not heard so, is stored.
func (c *Cluster) depose() {
	old := c.leader
	old.interrupt()
	survivors := 0
	for survivors < len(old.tail) && !old.tail[survivors].alone {
		survivors++
	}
	survivors = c.random.IntN(survivors + 1)
	if c.quorum() {
		for _, w := range old.tail[:survivors] {
			c.store(w)
		}
		old.tail = old.tail[survivors:]
	}
	c.leader, c.subsystem = nil, false
	c.stopGroups()
	c.cancel()
	c.settle()
}

// elect makes a node the leader, if a majority is there: the one that has most, and what it has beyond the others is stored then.
func (c *Cluster) elect() {
	if !c.quorum() {
		return
	}
	var best *Node
	for _, i := range c.random.Perm(len(c.nodes)) {
		n := c.nodes[i]
		if n.healthy() && (n != c.passed || len(c.nodes) == 1) && (best == nil || len(n.tail) > len(best.tail)) {
			best = n
		}
	}
	c.leader, c.passed, c.known = best, nil, map[uuid.UUID]*record{}
	tail := best.tail
	best.tail = nil
	c.elected++
	best.term = c.elected
	for _, w := range tail {
		c.store(w)
	}
	c.settle()
}

// Leader is the node that leads; nil while none does.
func (c *Cluster) Leader() *Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader
}

// Followers are the nodes that do not lead.
func (c *Cluster) Followers() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	var followers []*Node
	for _, n := range c.nodes {
		if n != c.leader {
			followers = append(followers, n)
		}
	}
	return followers
}

// Resign ends the leader's term without a failure, as an operator can: its connections stay, and another node leads after the election.
func (c *Cluster) Resign() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leader != nil {
		c.passed = c.leader
		c.depose()
	}
}

// AwaitLeader returns the node that leads, which may have to be elected first. With a node given, another than that one.
func (c *Cluster) AwaitLeader(ctx context.Context, not *Node) (*Node, error) {
	leader, err := c.awaitLeading(ctx, func(n *Node) bool { return n != nil && n != not })
	if err != nil {
		return nil, fmt.Errorf("nobody leads, or nobody else: %w", err)
	}
	return leader, nil
}

// AwaitNone returns when no node leads.
func (c *Cluster) AwaitNone(ctx context.Context) error {
	if _, err := c.awaitLeading(ctx, func(n *Node) bool { return n == nil }); err != nil {
		return fmt.Errorf("somebody leads: %w", err)
	}
	return nil
}

func (c *Cluster) awaitLeading(ctx context.Context, suits func(n *Node) bool) (*Node, error) {
	for {
		c.mu.Lock()
		leader, changed := c.leader, c.changed
		c.mu.Unlock()
		if suits(leader) {
			return leader, nil
		}
		if err := await(ctx, changed); err != nil {
			return nil, err
		}
	}
}
