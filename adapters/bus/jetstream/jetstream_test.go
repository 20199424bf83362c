package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/adapters/bus"
	"example.com/life/adapters/bus/jetstream"
	"example.com/life/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// broker runs a NATS server with JetStream in this process, on a free port.
func broker(t *testing.T) string {
	t.Helper()
	options := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true}
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the broker does not start")
	}
	return s.ClientURL()
}

// received reads a subject's messages, so many of them.
func received(t *testing.T, url, subject string, count int) []*nats.Msg {
	t.Helper()
	connection, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	js, err := connection.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	subscription, err := js.SubscribeSync(subject, nats.DeliverAll(), nats.OrderedConsumer())
	if err != nil {
		t.Fatal(err)
	}
	var all []*nats.Msg
	for range count {
		m, err := subscription.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatalf("after %d messages: %v", len(all), err)
		}
		all = append(all, m)
	}
	if m, err := subscription.NextMsg(100 * time.Millisecond); err == nil {
		t.Errorf("one more: %s %s", m.Subject, m.Data)
	}
	return all
}

// forwarding forwards a journal until some events are out.
func forwarding(t *testing.T, journal storage.Journal, to message.Publisher, subject func(*events.Envelope) string, until int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := bus.Forward(ctx, bus.ForwardConfig{
		Name: "example", Journal: journal, Publisher: to, Topic: subject, Streams: []string{"agent-"},
		Forwarded: func(count int64, _ events.Ref) {
			if count == until {
				cancel()
			}
		},
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func open(t *testing.T, url, prefix string) *jetstream.Publisher {
	t.Helper()
	p, err := jetstream.Open(url+"/"+prefix, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// TestAcrossAKill is the worked example of docs/bus.md: events are forwarded to JetStream, the forwarder is killed before it stores how
// far it has come, a new one publishes some again, and a consumer sees each once, in order.
func TestAcrossAKill(t *testing.T) {
	url := broker(t)
	journal := actorstest.NewMemory()
	var ids []string
	for i := range 10 {
		id := uuid.New()
		ids = append(ids, id.String())
		e := events.Envelope{ID: id, Kind: "turn.started", Version: 1, Time: 1, Data: fmt.Appendf(nil, `{"turn":"demo/%d"}`, i)}
		if _, err := journal.Append(t.Context(), "agent-demo", storage.ExpectAny, []events.Envelope{e}); err != nil {
			t.Fatal(err)
		}
	}
	out := open(t, url, "life")
	counted := &counting{Publisher: out}
	killed := true
	journal.Fail(func(stream events.Stream, _ []events.Envelope) error {
		if killed && strings.HasPrefix(string(stream), "checkpoint-") {
			return storage.ErrClosed // it died before it could store its position
		}
		return nil
	})
	forwarding(t, journal, counted, out.Subject, 6)
	killed = false
	forwarding(t, journal, counted, out.Subject, 10) // from the beginning: no position is there
	if counted.n != 16 {
		t.Errorf("%d messages were published, want 6 and all 10", counted.n)
	}
	for i, m := range received(t, url, "life.agent-demo.>", 10) { // JetStream knows the ids
		if m.Subject != "life.agent-demo.turn.started" || string(m.Data) != fmt.Sprintf(`{"turn":"demo/%d"}`, i) {
			t.Errorf("message %d: %s %s", i, m.Subject, m.Data)
		}
		if m.Header.Get(nats.MsgIdHdr) != ids[i] || m.Header.Get("life.revision") != fmt.Sprint(i) {
			t.Errorf("message %d has headers %v", i, m.Header)
		}
	}
}

// counting counts what is published.
type counting struct {
	message.Publisher
	n int
}

func (c *counting) Publish(topic string, messages ...*message.Message) error {
	c.n += len(messages)
	return c.Publisher.Publish(topic, messages...)
}

// TestTheStreamThatIsThere is used as it is.
func TestTheStreamThatIsThere(t *testing.T) {
	url := broker(t)
	connection, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	js, err := connection.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: "everything", Subjects: []string{"org.>"}, Storage: nats.MemoryStorage}); err != nil {
		t.Fatal(err)
	}
	p := open(t, url, "org.life")
	if err := p.Publish(p.Subject(&events.Envelope{Stream: "agent-a", Kind: "k"}), message.NewMessage("1", []byte("x"))); err != nil {
		t.Fatal(err)
	}
	if info, err := js.StreamInfo("everything"); err != nil || info.State.Msgs != 1 {
		t.Errorf("the stream holds %+v, %v", info, err)
	}
}

func TestSubjects(t *testing.T) {
	p := open(t, broker(t), "life")
	for _, test := range []struct {
		stream events.Stream
		kind   events.Kind
		want   string
	}{
		{"agent-demo", "turn.started", "life.agent-demo.turn.started"},
		{"agent-v1.2", "SendMessage", "life.agent-v1_2.SendMessage"},
		{"odd *>\n", "..a b", "life.odd____._._.a_b"},
	} {
		if got := p.Subject(&events.Envelope{Stream: test.stream, Kind: test.kind}); got != test.want {
			t.Errorf("%q %q is published to %q, want %q", test.stream, test.kind, got, test.want)
		}
	}
}

func TestTargets(t *testing.T) {
	for target, problem := range map[string]string{
		"http://127.0.0.1:1/life":          "is not such as nats://",
		"nats://127.0.0.1:1":               "names no prefix",
		"nats://127.0.0.1:1/a..b":          "names no prefix",
		"nats://127.0.0.1:1/a/>":           "names no prefix",
		"nats://me:secret@127.0.0.1:1/a?x": "me:xxxxx@",
		"nats://me:secret@127.0.0.1:1/a":   "connect to nats://me:xxxxx@127.0.0.1:1",
		"nats://me:%zz@127.0.0.1:1/a":      "target is no URL",
	} {
		_, err := jetstream.Open(target, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), problem) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", target, err, problem)
		}
	}
}
