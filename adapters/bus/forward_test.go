package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
)

// broker is a publisher that remembers, and fails when it is told to.
type broker struct {
	mu       sync.Mutex
	got      []string // topic and payload
	ids      []string
	failures int // next so many publishings fail
}

func (b *broker) Publish(topic string, messages ...*message.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures > 0 {
		b.failures--
		return errors.New("no route to broker")
	}
	for _, m := range messages {
		b.got = append(b.got, topic+" "+string(m.Payload))
		b.ids = append(b.ids, m.UUID)
	}
	return nil
}

func (b *broker) Close() error { return nil }

// forward forwards until it has nothing more to do, and then stops.
func forward(t *testing.T, c ForwardConfig) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Forward(ctx, c) }()
	elapse(time.Hour) // of the bubble
	synctest.Wait()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("forwarding ended with %v", err)
	}
}

func TestForwarding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := actorstest.NewMemory()
		b := &broker{failures: 3}
		var heard []string
		config := ForwardConfig{
			Name: "out", Journal: journal, Publisher: b, Topic: func(e *events.Envelope) string { return "x." + string(e.Stream) },
			Forwarded: func(count int64, e events.Ref) { heard = append(heard, fmt.Sprint(count, " ", e)) },
		}
		publish(t, journal, "agent-a", 0, 2)
		publish(t, journal, "wallet-main", 2, 3)
		forward(t, config)
		publish(t, journal, "agent-b", 3, 4)
		forward(t, config)
		if want := []string{"x.agent-a 0", "x.agent-a 1", "x.wallet-main 2", "x.agent-b 3"}; !slices.Equal(b.got, want) {
			t.Errorf("forwarded %q, want %q", b.got, want)
		}
		if want := []string{"1 agent-a@0", "2 agent-a@1", "3 wallet-main@0", "1 agent-b@0"}; !slices.Equal(heard, want) {
			t.Errorf("heard %q, want %q", heard, want)
		}
		page, err := journal.ReadAll(t.Context(), storage.Start(), storage.Forward, storage.Filter{Streams: []string{"checkpoint-"}}, storage.Limit{})
		if err != nil || len(page.Events) != 2 {
			t.Errorf("%d positions were stored in two hours (%v): they must not be forwarded and so stored for ever", len(page.Events), err)
		}
	})
}

func TestForwardingChooses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := actorstest.NewMemory()
		publisher, err := NewPublisher(PublisherConfig{Journal: journal})
		if err != nil {
			t.Fatal(err)
		}
		for i, where := range []string{"agent-a turn.ended", "agent-a model.asked", "wallet-w turn.like", "wallet-w other"} {
			stream, kind, _ := strings.Cut(where, " ")
			m := message.NewMessage(fmt.Sprint(i), fmt.Append(nil, i))
			m.Metadata[TypeKey] = kind
			if err := publisher.Publish(stream, m); err != nil {
				t.Fatal(err)
			}
		}
		for _, test := range []struct{ streams, kinds, want []string }{
			{nil, nil, []string{"x 0", "x 1", "x 2", "x 3"}},
			{[]string{"agent-"}, nil, []string{"x 0", "x 1"}},
			{nil, []string{"turn."}, []string{"x 0", "x 2"}},
			{[]string{"agent-"}, []string{"turn."}, []string{"x 0"}},
		} {
			b := &broker{}
			forward(t, ForwardConfig{
				Name: fmt.Sprintf("n%d%d", len(test.streams), len(test.kinds)), Journal: journal, Publisher: b, Streams: test.streams, Kinds: test.kinds,
				Topic: func(*events.Envelope) string { return "x" },
			})
			if !slices.Equal(b.got, test.want) {
				t.Errorf("streams %q and kinds %q: forwarded %q, want %q", test.streams, test.kinds, b.got, test.want)
			}
		}
		if err := Forward(t.Context(), ForwardConfig{Name: "Not a name", Journal: journal, Publisher: &broker{}, Topic: func(*events.Envelope) string { return "x" }}); err == nil {
			t.Error("a name that no stream can have was taken")
		}
	})
}
