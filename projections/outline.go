package projections

import "example.com/life/events"

// Omitted lists the fields that [Recorded.Outline] may leave out of events of a kind, by their names in JSON; those of structs in it
// after a dot.
func Omitted(kind events.Kind) []string {
	switch kind {
	case "message.received", "tool.returned":
		return []string{"text"}
	case "model.requested":
		return []string{"context"}
	case "model.replied":
		return []string{"text", "calls.arguments", "blocks.text.text", "blocks.raw.text"}
	case "tool.requested":
		return []string{"arguments"}
	}
	return nil
}
