package sagas

import "example.com/life/events"

// Measures are what rules can look at, by name.
func Measures(v events.AgentStateVector) map[string]float64 {
	values := map[string]float64{}
	for name, of := range measures {
		values[name] = of(&v)
	}
	return values
}
