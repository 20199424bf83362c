package embedded

import "example.com/life/events"

// Timed returns the configuration with another clock.
func (c Config) Timed(now func() events.Micros) Config {
	c.now = now
	return c
}
