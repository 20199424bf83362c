package actors

// Limits are what tests set instead of a host's defaults.
type Limits = limits

// Within returns the configuration with other limits.
func (c Config) Within(l Limits) Config {
	c.limits = l
	return c
}
