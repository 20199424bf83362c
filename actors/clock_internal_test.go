package actors

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.com/life/events"
)

// TestClock sets the machine's clock back and forth under an entity: its time never goes back and, while a turn works, passes as a clock does that
// nobody sets.
func TestClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, wall, steady := clock{}, events.Micros(1_700_000_000_000_000), time.Duration(0)
		latest := wall - events.Micros(rapid.Int64Range(-1e12, 1e12).Draw(t, "the stream ended ago"))
		worked := rapid.Bool().Draw(t, "a turn is at work") // at the last look too
		c.look(wall, steady, latest, worked)
		if at := c.now(latest); worked && at-latest >= jumpLeast {
			t.Fatalf("the turn was charged %d us in which no host was there", at-latest)
		}
		latest = c.now(latest)
		for range rapid.IntRange(1, 40).Draw(t, "looks") {
			passed := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "passed")).Truncate(time.Microsecond)
			jump := events.Micros(0)
			if rapid.IntRange(0, 3).Draw(t, "jumps") == 0 {
				jump = events.Micros(rapid.Int64Range(-1e11, 1e11).Draw(t, "jump"))
				if jump > -jumpLeast && jump < jumpLeast {
					jump = 0
				}
			}
			wall, steady = wall+micros(passed)+jump, steady+passed
			works := rapid.Bool().Draw(t, "works")
			c.look(wall, steady, latest, works)
			at := c.now(latest)
			if at < latest {
				t.Fatalf("time went back by %d", latest-at)
			}
			if worked && works && at-latest != micros(passed) {
				t.Fatalf("%s passed and the turn was charged %d us (jump %d)", passed, at-latest, jump)
			}
			if !works && at > max(wall, latest) {
				t.Fatalf("%d us ahead of the machine's clock", at-wall)
			}
			latest, worked = at, works
		}
	})
}
