//go:build linux

package clustertest

import (
	"encoding/json"

	"example.com/life/events"
)

// next makes of this build a newer one: it writes a version of message.received that builds before it do not know. So every agent that got a message from it is
// one that they cannot hold.
func next() {
	for i := range events.Catalog {
		if spec := &events.Catalog[i]; spec.Kind == (events.MessageReceived{}).Kind() {
			spec.Version++
			spec.Upcasts = append(spec.Upcasts, func(data json.RawMessage) (json.RawMessage, error) { return data, nil })
		}
	}
}
