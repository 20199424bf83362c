package actors

import (
	"time"

	"example.com/life/events"
)

// clock makes an entity's time of the machine's clock, which people and programs set: it never goes back behind the latest event of the
// stream, so that nothing lasts less than no time; and it does not jump while a turn works, in either direction, so that no turn is ended whose work took no
// such time, as after a machine slept. A turn that is found at work, because its host was away, goes on at the time of its latest event: whether the host was
// away for an hour, or the clock was set meanwhile, nobody can tell. When the turn is over, or waits for a person, the machine's clock counts again: a jump is in
// the time between then.
//
// If we die, what is left of it is the latest event's time.
type clock struct {
	offset events.Micros // to the machine's clock
	wall   events.Micros // when it was last looked at, by the machine's clock,
	steady time.Duration // and by one that nobody sets
	began  bool
}

// jumpLeast is what counts as a jump. Clocks that are set right little by little never make one.
const jumpLeast = events.Second

// look brings the clock up to date: it is looked at before every decision.
func (c *clock) look(wall events.Micros, steady time.Duration, latest events.Micros, working bool) {
	jump := wall - c.wall - micros(steady-c.steady)
	if !c.began { // since the latest event nobody has worked, or nobody who is still there
		jump = wall - latest
	}
	switch {
	case !working:
		c.offset = 0
	case jump >= jumpLeast || jump <= -jumpLeast:
		c.offset -= jump
	}
	c.offset = max(c.offset, latest-wall)
	c.wall, c.steady, c.began = wall, steady, true
}

// now is the entity's time at the last look. It is the time of whatever is decided then, however long that waited: the clock may have been set since.
func (c *clock) now(latest events.Micros) events.Micros { return max(c.wall+c.offset, latest) }
