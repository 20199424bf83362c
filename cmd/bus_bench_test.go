package cmd

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/adapters/bus"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/eventstore"
	"example.com/life/cmd/bench"
	"example.com/life/events"
	"example.com/life/sagas"
)

// BenchmarkBus measures publishing by 64 at once, delivery to one member of a group, and commands through the ingress to a host that
// answers at once or after 2 ms, side by side and in sequence, over both stores.
func BenchmarkBus(b *testing.B) {
	store, err := embedded.Open(embedded.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	groups, err := bus.NewLocalGroups(bus.FeedConfig{Journal: store})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("embedded", func(b *testing.B) { benchBus(b, store, groups) })
	s, err := startStoreServerHere(b.TempDir(), bench.AnyPort)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Kill() }()
	journal, err := eventstore.Open(b.Context(), eventstore.Config{Connection: s.Address})
	if err != nil {
		b.Fatal(err)
	}
	defer journal.Close()
	b.Run("protocol", func(b *testing.B) { benchBus(b, journal, journal) })
}

func benchBus(b *testing.B, journal storage.Journal, groups bus.Groups) {
	publisher, err := bus.NewPublisher(bus.PublisherConfig{Journal: journal})
	if err != nil {
		b.Fatal(err)
	}
	payload := []byte(`{"agent":"demo","text":"a message of a usual length, as people write them to agents"}`)
	b.Run("publish", func(b *testing.B) {
		topic := uuid.NewString()
		b.SetParallelism(32)
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				if err := publisher.Publish(topic, message.NewMessage(uuid.NewString(), payload)); err != nil {
					b.Error(err)
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	})
	b.Run("deliver", func(b *testing.B) {
		topic := uuid.NewString()
		fill(b, publisher, topic, payload)
		subscriber, err := bus.NewSubscriber(bus.SubscriberConfig{Groups: groups, Name: "bench"})
		if err != nil {
			b.Fatal(err)
		}
		defer subscriber.Close()
		messages, err := subscriber.Subscribe(b.Context(), topic)
		if err != nil {
			b.Fatal(err)
		}
		b.ResetTimer()
		for range b.N {
			(<-messages).Ack()
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	})
	for name, c := range map[string]struct {
		side int
		each time.Duration
	}{"commands": {0, 0}, "commands in sequence": {1, 0}, "slow commands": {0, 2 * time.Millisecond}, "slow commands in sequence": {1, 2 * time.Millisecond}} {
		b.Run(name, func(b *testing.B) { benchCommands(b, journal, groups, publisher, c.side, c.each) })
	}
}

// benchCommands has a tenant's commands to 64 agents carried out, by a host that takes some time for each.
func benchCommands(b *testing.B, journal storage.Journal, groups bus.Groups, publisher *bus.Publisher, side int, each time.Duration) {
	tenant := events.TenantID(fmt.Sprint("t", time.Now().UnixNano()))
	payloads := make([][]byte, 64)
	for i := range payloads {
		payloads[i] = fmt.Appendf(nil, `{"agent":"demo-%d","text":"a message of a usual length, as people write them to agents"}`, i)
	}
	fill(b, publisher, bus.CommandTopic(tenant), payloads...)
	host := &answering{done: make(chan struct{}), last: int64(b.N), each: each}
	in, err := bus.NewIngress(bus.IngressConfig{Commands: host, Journal: journal, Groups: groups, Tenant: tenant, Side: side})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	b.ResetTimer()
	go func() {
		defer close(ended)
		_ = in.Run(ctx)
	}()
	<-host.done
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
	b.StopTimer()
	cancel()
	<-ended
}

func fill(b *testing.B, publisher *bus.Publisher, topic string, payloads ...[]byte) {
	var all []*message.Message
	for i := range b.N {
		m := message.NewMessage(uuid.NewString(), payloads[i%len(payloads)])
		m.Metadata.Set(bus.TypeKey, "SendMessage")
		all = append(all, m)
	}
	if err := publisher.Publish(topic, all...); err != nil {
		b.Fatal(err)
	}
}

// answering is a host that accepts commands, at once or after some time.
type answering struct {
	count atomic.Int64
	last  int64
	done  chan struct{}
	each  time.Duration
}

func (a *answering) Do(_ context.Context, stream events.Stream, _ sagas.Command, _ actors.Origin) (actors.Receipt, error) {
	if a.each > 0 {
		<-time.After(a.each)
	}
	if a.count.Add(1) == a.last {
		close(a.done)
	}
	return actors.Receipt{Stream: stream}, nil
}
