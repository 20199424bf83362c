package cmd

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/nats-io/nats.go"

	"example.com/life/cmd/bench"
	"example.com/life/cmd/stores"
	"example.com/life/events"
)

// TestOldDirectory: a data directory of an earlier build is opened, read, gone on with and verified, and its forwarders, consumers of the
// bus and projections go on where they were.
func TestOldDirectory(t *testing.T) {
	dir := unpackOld(t, "embedded")
	t.Setenv("LIFE_STORE", stores.InData)
	o := oldStore{t: t, dir: dir}
	o.read()
	o.forward()
	o.goOn()
}

// TestOldServed: the same, of a store that the earlier build had behind life store serve and reached by the protocol. Consumer groups of
// other programs go on too.
func TestOldServed(t *testing.T) {
	dir := unpackOld(t, "served")
	server, err := startStoreServerHere(filepath.Join(dir, "there"), bench.AnyPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Kill() })
	t.Setenv("LIFE_STORE", server.Address)
	o := oldStore{t: t, dir: dir}
	o.read()
	o.forward()
	o.groups(server.Address)
	o.goOn()
}

// oldStore is what an earlier build left behind.
type oldStore struct {
	t   *testing.T
	dir string
}

// unpackOld unpacks what an earlier build made into a directory of the test, and has verbs use it.
func unpackOld(t *testing.T, name string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	packed, err := os.Open(filepath.Join("testdata", "old", name+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	plain, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	for files := tar.NewReader(plain); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = unpackOne(filepath.Join(dir, filepath.Clean("/"+header.Name)), header, files)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HOME", dir)
	t.Setenv("LIFE_DATA", filepath.Join(dir, "data"))
	t.Setenv("LIFE_LISTEN", "127.0.0.1:0")
	t.Setenv("LIFE_USER", "ada")
	t.Setenv("LIFE_MODEL", "scripted/tour")
	return dir
}

func unpackOne(path string, header *tar.Header, from io.Reader) error {
	if header.FileInfo().IsDir() {
		return os.MkdirAll(path, 0o700)
	}
	content, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, header.FileInfo().Mode().Perm())
}

// read reads what is there by every way of reading.
func (o *oldStore) read() {
	o.t.Helper()
	for _, check := range [][]string{{"verify", "--all"}, {"store", "check"}} {
		if said := must(o.t, check...); !strings.HasPrefix(said, "ok: ") {
			o.t.Errorf("life %s: %s", strings.Join(check, " "), said)
		}
	}
	for _, ask := range []struct {
		verb []string
		want string
	}{
		{[]string{"agents"}, `(?m)^big .*\n(?s:.*)^demo .*`},
		{[]string{"history", "demo"}, `\(collect\): "Take the tour again"`},
		{[]string{"history", "big"}, `on and on on and on`},
		{[]string{"state", "demo", "--at", "turn:1"}, `demo/1`},
		{[]string{"tree", "demo"}, `other`},
		{[]string{"diff", "demo", "other"}, `demo`},
		{[]string{"knowledge", "search", "burns"}, `^ablator  Ablator`},
		{[]string{"knowledge", "show", "ablator", "--at", oldNumber(o.t)}, `burns away slowly`},
		{[]string{"wallet", "show"}, `main`},
		{[]string{"workspace", "list", "demo", "--at", "turn:1"}, `README.md`},
		{[]string{"projections", "show", "shares"}, `skipped +position [0-9]+, agent-demo@21, by ada: nothing is before it`},
	} {
		if said := must(o.t, ask.verb...); !regexp.MustCompile(ask.want).MatchString(said) {
			o.t.Errorf("life %s does not say %q:\n%s", strings.Join(ask.verb, " "), ask.want, said)
		}
	}
	o.sameAnswers()
}

// oldAnswer is what does not depend on where the store puts its events.
type oldAnswer struct {
	Events  int64 `json:"events,string"`
	Answer  json.RawMessage
	Stopped *struct{ Event, Kind string } `json:"stopped"`
}

// sameAnswers holds the projections' answers to those of the earlier build, from the states that it stored and folded anew.
func (o *oldStore) sameAnswers() {
	o.t.Helper()
	for _, name := range []string{"balance", "shares"} {
		text, err := os.ReadFile(filepath.Join(o.dir, "answers-"+name+".json"))
		if err != nil {
			o.t.Fatal(err)
		}
		want := normalAnswer(o.t, string(text))
		if got := normalAnswer(o.t, must(o.t, "projections", "query", name, "--json")); got != want {
			o.t.Errorf("%s answers\n%s\nwant, as before,\n%s", name, got, want)
		}
	}
	must(o.t, "projections", "rebuild", "--all")
	for _, name := range []string{"balance", "shares"} {
		text, err := os.ReadFile(filepath.Join(o.dir, "answers-"+name+".json"))
		if err != nil {
			o.t.Fatal(err)
		}
		want := normalAnswer(o.t, string(text))
		if got := normalAnswer(o.t, must(o.t, "projections", "query", name, "--json")); got != want {
			o.t.Errorf("rebuilt, %s answers\n%s\nwant, as before,\n%s", name, got, want)
		}
	}
}

func normalAnswer(t *testing.T, text string) string {
	t.Helper()
	var a oldAnswer
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatal(err)
	}
	normal, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	return string(normal)
}

// goOn does what a user does next.
func (o *oldStore) goOn() {
	o.t.Helper()
	ws := filepath.Join(o.dir, "ws")
	must(o.t, "agents", "configure", "demo", "--workspace", ws)
	must(o.t, "run", "--agent", "demo", "Take the tour once more")
	must(o.t, "run", "--agent", "other", "Take the tour")
	must(o.t, "knowledge", "remove", "re-entry", "--reason", "nobody comes home")
	host := startHost(o.t)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); wait(o.t.Context(), 10*time.Millisecond) {
		if where, err := readServing(os.Getenv("LIFE_DATA")); err == nil && where.PID == host.Process.Pid {
			break
		}
	}
	must(o.t, "send", "demo", "Over the bus again", "--via", "bus", "--wait")
	if err := host.Process.Signal(os.Interrupt); err != nil {
		o.t.Error(err)
	}
	if err := host.Wait(); err != nil {
		o.t.Errorf("life serve ended with %v", err)
	}
	var got []string
	for _, e := range decodeLines[events.Envelope](o.t, must(o.t, "history", "demo", "--json")) {
		event, err := e.Event()
		if err != nil {
			o.t.Fatal(err)
		}
		if m, ok := event.(events.MessageReceived); ok {
			got = append(got, m.Inline)
		}
	}
	want := []string{"Take the tour", "Over the bus", "And once more", "Take the tour again", "Take the tour once more", "Over the bus again"}
	if !slices.Equal(got, want) {
		o.t.Errorf("demo was sent %q, want %q", got, want)
	}
	for _, check := range [][]string{{"verify", "--all"}, {"store", "check"}} {
		if said := must(o.t, check...); !strings.HasPrefix(said, "ok: ") {
			o.t.Errorf("life %s: %s", strings.Join(check, " "), said)
		}
	}
}

// forward goes on with each forwarder: it publishes what the earlier build had not, in order, and nothing twice.
func (o *oldStore) forward() {
	o.t.Helper()
	url := startBroker(o.t)
	for name, flags := range map[string][]string{"odd": {"--streams", "wallet-"}, "even": {"--streams", "wallet-"}, "audit": nil} {
		o.t.Run("forward "+name, func(t *testing.T) {
			said, err := os.ReadFile(filepath.Join(o.dir, "forward-"+name+".log"))
			if err != nil {
				t.Fatal(err)
			}
			count, _, _ := strings.Cut(strings.TrimPrefix(strings.Split(string(said), "\n")[1], "life: "), " events forwarded")
			done, err := strconv.Atoi(count)
			if err != nil {
				t.Fatal(err)
			}
			all := forwardable(t, flags)
			want := all[done:]
			connection, err := nats.Connect(url)
			if err != nil {
				t.Fatal(err)
			}
			defer connection.Close()
			js, err := connection.JetStream()
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			forwardUntil(t, func() bool {
				info, err := js.StreamInfo(name, &nats.StreamInfoRequest{})
				return err == nil && info.State.Msgs >= uint64(len(want)) && lastOf(js, name) == want[len(want)-1] || time.Since(began) > 15*time.Second
			}, append([]string{name, "--to", url + "/" + name}, flags...)...)
			if got := forwarded(t, js, name); !slices.Equal(got, want) {
				t.Errorf("it forwarded %d events, want the %d after the %d of before; the first ones are %v, want %v", len(got), len(want), done, got[:min(2, len(got))], want[:2])
			}
		})
	}
}

// forwardable are the ids of the events that a forwarder chooses, in order.
func forwardable(t *testing.T, flags []string) (ids []string) {
	t.Helper()
	for _, e := range decodeLines[events.Envelope](t, must(t, "store", "export")) {
		stream := string(e.Stream)
		if stream == "" || strings.HasPrefix(stream, "$") || strings.HasPrefix(stream, "checkpoint-") || len(flags) > 0 && !strings.HasPrefix(stream, flags[1]) {
			continue
		}
		ids = append(ids, e.ID.String())
	}
	return ids
}

func lastOf(js nats.JetStreamContext, stream string) string {
	info, err := js.StreamInfo(stream)
	if err != nil {
		return ""
	}
	m, err := js.GetMsg(stream, info.State.LastSeq)
	if err != nil {
		return ""
	}
	return m.Header.Get(nats.MsgIdHdr)
}

// forwarded are the ids of what a broker has got, in order.
func forwarded(t *testing.T, js nats.JetStreamContext, stream string) (ids []string) {
	t.Helper()
	info, err := js.StreamInfo(stream)
	if err != nil {
		t.Fatal(err)
	}
	for i := range info.State.LastSeq {
		m, err := js.GetMsg(stream, i+1)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.Header.Get(nats.MsgIdHdr))
	}
	return ids
}

// groups goes on with the groups that a program in Node left: what it had not settled comes, once and in order, and what it parked is kept.
func (o *oldStore) groups(address string) {
	config, err := esdb.ParseConnectionString(address)
	if err != nil {
		o.t.Fatal(err)
	}
	config.Logger = esdb.NoopLogging()
	client, err := esdb.NewClient(config)
	if err != nil {
		o.t.Fatal(err)
	}
	defer client.Close()
	join := map[string]func(context.Context) (*esdb.PersistentSubscription, error){
		"workers": func(ctx context.Context) (*esdb.PersistentSubscription, error) {
			return client.SubscribeToPersistentSubscription(ctx, "jobs", "workers", esdb.SubscribeToPersistentSubscriptionOptions{})
		},
		"readers": func(ctx context.Context) (*esdb.PersistentSubscription, error) {
			return client.SubscribeToPersistentSubscriptionToAll(ctx, "readers", esdb.SubscribeToPersistentSubscriptionOptions{})
		},
	}
	replay := map[string]func(context.Context) error{
		"workers": func(ctx context.Context) error {
			return client.ReplayParkedMessages(ctx, "jobs", "workers", esdb.ReplayParkedMessagesOptions{})
		},
		"readers": func(ctx context.Context) error {
			return client.ReplayParkedMessagesToAll(ctx, "readers", esdb.ReplayParkedMessagesOptions{})
		},
	}
	for _, group := range []string{"workers", "readers"} {
		o.t.Run("group "+group, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			subscription, err := join[group](ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer subscription.Close()
			want := []int{30, 31, 32, 33, 34, 35, 36, 37, 38, 39}
			if got := takeNumbers(t, subscription, len(want)); !slices.Equal(got, want) {
				t.Errorf("it goes on with %v, want %v", got, want)
			}
			if err := replay[group](ctx); err != nil {
				t.Fatal(err)
			}
			if got := takeNumbers(t, subscription, 1); !slices.Equal(got, []int{7}) {
				t.Errorf("%v was parked, want 7", got)
			}
		})
	}
}

// takeNumbers takes the next messages of a group.
func takeNumbers(t *testing.T, from *esdb.PersistentSubscription, count int) (numbers []int) {
	t.Helper()
	for len(numbers) < count {
		next := from.Recv()
		if next.EventAppeared == nil {
			if next.SubscriptionDropped != nil {
				t.Fatalf("dropped after %v: %v", numbers, next.SubscriptionDropped.Error)
			}
			continue
		}
		var data struct{ N int }
		if err := json.Unmarshal(next.EventAppeared.Event.Event.Data, &data); err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, data.N)
		if err := from.Ack(next.EventAppeared.Event); err != nil {
			t.Fatal(err)
		}
	}
	return numbers
}

// oldNumber is the position of the last event.
func oldNumber(t *testing.T) string {
	t.Helper()
	at := events.Position(0)
	for _, e := range decodeLines[events.Envelope](t, must(t, "store", "export")) {
		at = max(at, e.Position)
	}
	return fmt.Sprint(at)
}

func startHost(t *testing.T) *exec.Cmd {
	t.Helper()
	binary, err := exec.LookPath("life")
	if err != nil {
		t.Fatal(err)
	}
	host := exec.Command(binary, "serve")
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	return host
}
