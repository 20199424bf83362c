package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rogpeppe/go-internal/testscript"

	"example.com/life/actors/storage"
	"example.com/life/adapters/bus"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/eventstore"
	"example.com/life/cmd/bench"
	"example.com/life/cmd/stores"
	"example.com/life/events"
)

// publish appends a command to the bus as another program does, which nobody has checked. No life serve may hold the store.
func publish(ts *testscript.TestScript, _ bool, args []string) {
	foreign(ts, false, append([]string{"command-local"}, args...))
}

// foreign appends an event to a stream as another program does.
func foreign(ts *testscript.TestScript, _ bool, args []string) {
	p := stores.Location{Data: ts.Getenv("LIFE_DATA")}
	if store := ts.Getenv("LIFE_STORE"); stores.IsAddress(store) {
		p.Address = store
	}
	journal, err := p.Open(context.Background(), slog.New(slog.DiscardHandler))
	ts.Check(err)
	e := events.Envelope{ID: uuid.New(), Kind: events.Kind(args[1]), Data: json.RawMessage(args[2])}
	e.SetMetadata([]byte(`{"actor":"shop"}`))
	_, err = journal.Append(context.Background(), events.Stream(args[0]), storage.ExpectAny, []events.Envelope{e})
	ts.Check(err)
	ts.Check(journal.Close())
}

// suite runs Watermill's universal suite over a journal and its groups.
func suite(t *testing.T, journal storage.Journal, groups bus.Groups, features tests.Features) {
	t.Helper()
	group := func(t *testing.T, name string) (message.Publisher, message.Subscriber) {
		publisher, err := bus.NewPublisher(bus.PublisherConfig{Journal: journal})
		if err != nil {
			t.Fatal(err)
		}
		subscriber, err := bus.NewSubscriber(bus.SubscriberConfig{Groups: groups, Name: name, First: time.Millisecond, Most: 10 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = subscriber.Close() }) // the suite forgets some; closing never fails
		return publisher, subscriber
	}
	tests.TestPubSub(t, features, func(t *testing.T) (message.Publisher, message.Subscriber) { return group(t, "everyone") }, group)
}

// TestUniversalSuiteEmbedded runs Watermill's suite over the embedded store and groups of this process.
func TestUniversalSuiteEmbedded(t *testing.T) {
	store, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	groups, err := bus.NewLocalGroups(bus.FeedConfig{Journal: store})
	if err != nil {
		t.Fatal(err)
	}
	suite(t, store, groups, tests.Features{ConsumerGroups: true, GuaranteedOrder: true, Persistent: true, ForceShort: testing.Short()})
}

// TestUniversalSuiteProtocol runs it through the EventStoreDB protocol, where groups are persistent subscriptions. LIFE_BUS_SUITE=full
// runs it in its full size, and kills and restarts the store server in the midst of it.
func TestUniversalSuiteProtocol(t *testing.T) {
	full := os.Getenv("LIFE_BUS_SUITE") == "full"
	r := &restarting{t: t, data: t.TempDir(), asked: filepath.Join(t.TempDir(), "restart")}
	r.start(bench.AnyPort)
	t.Cleanup(func() { _ = r.server.Kill() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	journal, err := eventstore.Open(ctx, eventstore.Config{Connection: r.server.Address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := journal.Close(); err != nil {
			t.Error(err)
		}
	})
	features := tests.Features{ConsumerGroups: true, GuaranteedOrder: true, Persistent: true, ForceShort: !full}
	if full {
		watching, stop := context.WithCancel(context.WithoutCancel(t.Context()))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			r.watch(watching)
		}()
		t.Cleanup(func() { stop(); <-ended })
		features.RestartServiceCommand = []string{"sh", "-c", "touch " + r.asked + "; while [ -e " + r.asked + " ]; do sleep 0.02; done"}
	}
	suite(t, journal, journal, features)
}

// restarting is a store server that is killed and started again whenever a file appears.
type restarting struct {
	t      *testing.T
	data   string
	asked  string // the file; it is removed when the server is back
	server *bench.Child
}

func (r *restarting) start(listen string) {
	var err error
	if r.server, err = startStoreServerHere(r.data, listen); err != nil {
		r.t.Error(err)
	}
}

func (r *restarting) watch(ctx context.Context) {
	address, err := url.Parse(r.server.Address)
	if err != nil {
		r.t.Error(err)
		return
	}
	for ; ctx.Err() == nil; wait(ctx, 20*time.Millisecond) {
		if _, err := os.Stat(r.asked); err != nil {
			continue
		}
		if err := r.server.Kill(); err != nil {
			r.t.Error(err)
		}
		r.start(address.Host)
		if err := os.Remove(r.asked); err != nil {
			r.t.Error(err)
		}
	}
}

// TestForwardVerb forwards a turn to a broker in this process, twice: the second time there is nothing new.
func TestForwardVerb(t *testing.T) {
	tour(t)
	url := startBroker(t)
	history := decodeLines[events.Envelope](t, must(t, "history", "demo", "--json"))
	connection, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	js, err := connection.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	forwarding := []string{"example", "--to", url + "/life", "--streams", "agent-"}
	first := forwardUntil(t, func() bool {
		info, err := js.StreamInfo("life")
		return err == nil && info.State.Msgs == uint64(len(history))
	}, forwarding...)
	if !strings.Contains(first, fmt.Sprintf("%d events forwarded in", len(history))) {
		t.Errorf("the first run says:\n%s", first)
	}
	subscription, err := js.SubscribeSync("life.agent-demo.>", nats.DeliverAll(), nats.OrderedConsumer())
	if err != nil {
		t.Fatal(err)
	}
	for i := range history {
		m, err := subscription.NextMsg(10 * time.Second)
		if err != nil || m.Header.Get(nats.MsgIdHdr) != history[i].ID.String() || string(m.Data) != string(history[i].Data) {
			t.Fatalf("event %d came as %+v, %v", i, m, err)
		}
	}
	began := time.Now()
	if again := forwardUntil(t, func() bool { return time.Since(began) > time.Second }, forwarding...); !strings.Contains(again, "0 events forwarded in") {
		t.Errorf("the second run says:\n%s", again)
	}
	if status, _, errs := life(t, "forward", "x", "--to", "nats://127.0.0.1:1/life"); status != exitError || !strings.Contains(errs, "connect to nats://127.0.0.1:1") {
		t.Errorf("without a broker: status %d, %s", status, errs)
	}
}

// startBroker starts a broker in this process and returns its URL.
func startBroker(t *testing.T) string {
	t.Helper()
	broker, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	broker.Start()
	t.Cleanup(func() { broker.Shutdown(); broker.WaitForShutdown() })
	if !broker.ReadyForConnections(10 * time.Second) {
		t.Fatal("the broker does not start")
	}
	return broker.ClientURL()
}

// forwardUntil runs life forward until a condition holds, interrupts it, and returns what it says.
func forwardUntil(t *testing.T, done func() bool, args ...string) string {
	t.Helper()
	binary, err := exec.LookPath("life")
	if err != nil {
		t.Fatal(err)
	}
	said := filepath.Join(t.TempDir(), "said")
	file, err := os.Create(said)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(binary, append([]string{"forward"}, args...)...)
	cmd.Stderr = file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); !done() && time.Now().Before(deadline); {
		wait(t.Context(), 20*time.Millisecond)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	failed := cmd.Wait()
	text, err := os.ReadFile(said)
	if err != nil || failed != nil {
		t.Errorf("life forward ended with %v (%v):\n%s", failed, err, text)
	}
	return string(text)
}
