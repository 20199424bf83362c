package server_test

import (
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
)

// BenchmarkPersistent has one consumer process a backlog; each event is acknowledged by itself. One operation is one event.
func BenchmarkPersistent(b *testing.B) {
	client := serve(b).client(b)
	for written := 0; written < b.N; written += 500 {
		appendTo(b, client, "s", eventsOf(500)...)
	}
	group(b, client, "s", "g", func(o *esdb.PersistentStreamSubscriptionOptions) {
		settings := esdb.SubscriptionSettingsDefault()
		o.Settings = &settings
	})
	member := consumer(b, client, "s", "g", 200)
	b.ResetTimer()
	for range b.N {
		if err := member.Ack(next(b, member).Event); err != nil {
			b.Fatal(err)
		}
	}
}
