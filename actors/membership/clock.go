package membership

import (
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Clock tells the time.
type Clock interface {
	Now() time.Duration  // by a clock that nobody sets, and that does not stand while the machine sleeps
	Wall() events.Micros // by the one that people set
}

// SystemClock is the machine's.
type SystemClock struct{}

// Now implements Clock.
func (SystemClock) Now() time.Duration { return sinceBoot() }

// Wall implements Clock.
func (SystemClock) Wall() events.Micros { return storage.Now() }
