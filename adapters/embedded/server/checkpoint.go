package server

import "example.com/life/events"

// checkpoints says when a filtered subscription is told how far it has looked, as EventStoreDB does: while it catches up, at the end of a page, when
// the pages since the last checkpoint have at least the interval's events; then after each interval of what is appended. A checkpoint
// names the event that was sent last or, when the page began behind that, the page's beginning. None is sent twice.
type checkpoints struct {
	window, interval uint64

	counted uint64 // events looked at since the last interval ended
	page    uint64 // events of the page that is being looked at
	chosen  uint64 // of them
	begin   point  // of the page
	reached point  // what a checkpoint may name at least: the last event or checkpoint that was sent
	seen    point  // the last event that was looked at
	told    point  // the last checkpoint
}

// beginAt begins at a place that the client gave: EventStoreDB looks at the event there, and does not send it.
func (c *checkpoints) beginAt(at point) {
	c.begin = at
	if at.prepare == at.commit {
		c.page = 1
	}
}

// look notes an event of a page.
func (c *checkpoints) look(position events.Position, sent bool) {
	if c == nil {
		return
	}
	c.seen = pointAt(position)
	if c.page == 0 && c.begin == startPoint {
		c.begin = point{commit: uint64(position)}
	}
	c.page++
	if sent {
		c.chosen++
		c.reached = c.seen
	}
}

// turn ends the page when it is full, or because everything was looked at, and returns the checkpoint that is due then.
func (c *checkpoints) turn(caughtUp bool) (at point, due bool) {
	if c == nil {
		return at, false
	}
	full := c.page >= c.window || c.chosen >= readerPage
	if !full && !caughtUp {
		return at, false
	}
	begin := c.begin
	c.counted += c.page
	c.page, c.chosen, c.begin = 0, 0, startPoint
	if c.counted >= c.interval {
		c.counted %= c.interval
		if c.reached.less(begin) {
			c.reached = begin
		}
		return c.tell(c.reached)
	}
	if !caughtUp {
		return at, false
	}
	if c.reached == startPoint {
		c.reached = c.seen
	}
	return c.tell(c.reached)
}

// live notes an event that was appended, and returns the checkpoint that is due after it.
func (c *checkpoints) live(position events.Position) (at point, due bool) {
	if c == nil {
		return at, false
	}
	if c.counted++; c.counted < c.interval {
		return at, false
	}
	c.counted = 0
	return c.tell(pointAt(position))
}

// tell returns a checkpoint unless it is none after the last.
func (c *checkpoints) tell(at point) (point, bool) {
	if !c.told.less(at) {
		return at, false
	}
	c.told = at
	return at, true
}
