package groups

import (
	"slices"

	"example.com/life/events"
)

// consumer is a member of a group as the machine sees it.
type consumer struct {
	name, user string
	buffer     int        // how many messages it may hold
	held       int        // how many it holds
	queue      []*message // held, and not yet taken by its transport
	weight     int        // bytes of what it holds
	congested  bool       // its transport took nothing for so long that messages were taken back; it gets none until it does
	wake       chan struct{}
	counts     counts
}

// maxWeight is after how many bytes a consumer gets nothing more until it answers.
const maxWeight = 64 << 20

func (c *consumer) hasRoom() bool {
	return c.held < c.buffer && c.weight < maxWeight && !c.congested
}

// signal tells the transport that there is something to look at. It never waits.
func (c *consumer) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *consumer) unqueue(m *message) {
	if i := slices.Index(c.queue, m); i >= 0 {
		c.queue = slices.Delete(c.queue, i, i+1)
	}
}

// counts is what was done, for those who look.
type counts struct {
	items     int64           // delivered, again too
	seen      int64           // items when somebody last looked
	since     events.Micros   // when it began
	latencies []events.Micros // of the newest answers, oldest first from next
	next      int
}

// latencyWindow is how many of the newest answers statistics are made of.
const latencyWindow = 1000

func (c *counts) answered(latency events.Micros) {
	if len(c.latencies) < latencyWindow {
		c.latencies = append(c.latencies, latency)
		return
	}
	c.latencies[c.next] = latency
	c.next = (c.next + 1) % latencyWindow
}

// rate is items per second since it began.
func (c *counts) rate(now events.Micros) int {
	return int(c.items * int64(events.Second) / int64(max(now-c.since, events.Second)))
}
