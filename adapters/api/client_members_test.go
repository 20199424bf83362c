package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/projector"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// cables is a network without one, for a clock that stands still while everybody waits. A host that is not on it refuses connections.
type cables map[string]http.Handler

func (c cables) RoundTrip(r *http.Request) (*http.Response, error) {
	handler := c[r.URL.Host]
	if handler == nil {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	body, out := io.Pipe()
	w := &onCable{header: http.Header{}, out: out, begun: make(chan int, 1)}
	stop := context.AfterFunc(r.Context(), func() { _ = out.CloseWithError(r.Context().Err()) })
	go func() {
		handler.ServeHTTP(w, r)
		w.WriteHeader(http.StatusOK)
		stop()
		_ = out.Close()
	}()
	select {
	case status := <-w.begun:
		return &http.Response{StatusCode: status, Header: w.header, Body: body, Request: r}, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

type onCable struct {
	header http.Header
	out    *io.PipeWriter
	once   sync.Once
	begun  chan int
}

func (w *onCable) Header() http.Header { return w.header }

func (w *onCable) WriteHeader(status int) { w.once.Do(func() { w.begun <- status }) }

func (w *onCable) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.out.Write(p)
}

// member is a host that says something after a time; with Stopped it says nothing for ever, not even that it is well.
type member struct {
	after   time.Duration
	status  int
	says    string
	header  string // Life-Position of what it says
	stopped bool

	mu    sync.Mutex
	asked []*http.Request
}

func (m *member) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	m.asked = append(m.asked, r)
	m.mu.Unlock()
	wait := time.After(m.after)
	if m.stopped {
		wait = nil
	}
	select {
	case <-wait:
	case <-r.Context().Done():
		return
	}
	if m.header != "" {
		w.Header().Set("Life-Position", m.header)
	}
	w.WriteHeader(max(m.status, http.StatusOK))
	_, _ = io.WriteString(w, m.says)
}

// requests are the ids of the commands that it was asked for, and the positions that they demand.
func (m *member) requests() (ids, positions []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.asked {
		ids, positions = append(ids, r.Header.Get("Idempotency-Key")), append(positions, r.Header.Get("Life-Position"))
	}
	return ids, positions
}

func receiptOf(stream string) string {
	return fmt.Sprintf(`{"stream":%q,"revision":"1","position":"7"}`, stream)
}

// TestOtherHosts: a call goes to the next host of a cluster under the same id when one does not answer, and only then.
func TestOtherHosts(t *testing.T) {
	closing := &member{status: http.StatusServiceUnavailable, says: `{"code":"closed","status":503}`}
	refusing := &member{status: http.StatusConflict, says: fmt.Sprintf(`{"code":%q,"status":409,"detail":"not now"}`, sagas.RefusedState)}
	for _, test := range []struct {
		name    string
		hosts   map[string]*member // a is asked first, then b, then c
		takes   time.Duration
		from    string // whose answer it is
		refusal bool
		unasked string
	}{
		{"the first answers", map[string]*member{"a": {}, "b": {}, "c": {}}, 0, "a", false, "bc"},
		{"it is slow", map[string]*member{"a": {after: 1900 * time.Millisecond}, "b": {}}, 1900 * time.Millisecond, "a", false, "b"},
		{"it is slow, and the next one slower", map[string]*member{"a": {after: 2500 * time.Millisecond}, "b": {after: time.Second}}, 2500 * time.Millisecond, "a", false, "c"},
		{"it is stopped", map[string]*member{"a": {stopped: true}, "b": {}, "c": {}}, 2 * time.Second, "b", false, "c"},
		{"two are stopped", map[string]*member{"a": {stopped: true}, "b": {stopped: true}, "c": {}}, 4 * time.Second, "c", false, ""},
		{"it is gone", map[string]*member{"b": {}, "c": {}}, 0, "b", false, "c"},
		{"two are gone", map[string]*member{"c": {after: time.Second}}, time.Second, "c", false, ""},
		{"it is closing", map[string]*member{"a": closing, "b": {}}, 0, "b", false, "c"},
		{"it refuses", map[string]*member{"a": refusing, "b": {}}, 0, "a", true, "bc"},
	} {
		synctest.Test(t, func(t *testing.T) {
			network := cables{}
			for name, m := range test.hosts {
				if m != refusing && m != closing {
					m.says = receiptOf("agent-" + name)
				}
				network[name] = m
			}
			client := newClient(t, api.ClientConfig{BaseURL: "http://a", Others: []string{"http://b", "http://c"}, HTTP: &http.Client{Transport: network}})
			began := time.Now()
			receipt, err := client.Do(t.Context(), "agent-ada", say("once", "hello"), actors.Origin{})
			if took := time.Since(began); took != test.takes {
				t.Errorf("%s: it took %s, want %s", test.name, took, test.takes)
			}
			var refusal *sagas.RefusalError
			if errors.As(err, &refusal) != test.refusal || !test.refusal && (err != nil || receipt.Stream != events.Stream("agent-"+test.from)) {
				t.Errorf("%s: %+v, %v", test.name, receipt, err)
			}
			for name, m := range test.hosts {
				ids, _ := m.requests()
				if unasked := strings.Contains(test.unasked, name); unasked != (len(ids) == 0) || !unasked && ids[0] != "once" || len(ids) > 1 {
					t.Errorf("%s: host %s was asked %q", test.name, name, ids)
				}
			}
			if test.refusal {
				return
			}
			began = time.Now() // the one that answered is asked first from now on
			if again, err := client.Do(t.Context(), "agent-ada", say("twice", "hello"), actors.Origin{}); err != nil || again.Stream != receipt.Stream ||
				time.Since(began) > test.hosts[test.from].after {
				t.Errorf("%s: after that %+v, %v, in %s", test.name, again, err, time.Since(began))
			}
			synctest.Wait()
		})
	}
}

// TestNoOtherHost: when none answers, the error says what each one did; and a call waits for those that are silent as long as its caller does.
func TestNoOtherHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(t, api.ClientConfig{BaseURL: "http://a", Others: []string{"http://b"}, HTTP: &http.Client{Transport: cables{}}})
		if _, err := client.Health(t.Context()); !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "reach a:") || !strings.Contains(err.Error(), "reach b:") {
			t.Errorf("all are gone: %v", err)
		}
		silent := cables{"a": &member{stopped: true}, "b": &member{stopped: true}}
		client = newClient(t, api.ClientConfig{BaseURL: "http://a", Others: []string{"http://b"}, HTTP: &http.Client{Transport: silent}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := client.Do(ctx, "agent-ada", say("once", "hello"), actors.Origin{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("all are silent: %v", err)
		}
	})
	if _, err := api.NewClient(api.ClientConfig{BaseURL: "http://a", Others: []string{"b:1"}}); err == nil || !strings.Contains(err.Error(), `"b:1" is not a URL`) {
		t.Errorf("an address that is none: %v", err)
	}
}

// TestOnlyOnce: what changes something and has no id is not sent to a second host when it may have come to the first.
func TestOnlyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopped, next := &member{stopped: true}, &member{says: `{"poisoned":[]}`}
		network := cables{"a": stopped, "b": next}
		client := newClient(t, api.ClientConfig{BaseURL: "http://a", Others: []string{"http://b"}, HTTP: &http.Client{Transport: network}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := client.Retry(ctx, "main", 1, "ann"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if ids, _ := next.requests(); len(ids) != 0 {
			t.Errorf("the second host was asked too")
		}
		delete(network, "a")
		if err := client.Retry(t.Context(), "main", 1, "ann"); err != nil {
			t.Errorf("it did not leave, and was not sent to the next host: %v", err)
		}
	})
}

// TestReadYourWrites: what an answer's position says is demanded of whichever host is asked next, and the greatest counts.
func TestReadYourWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := &member{says: receiptOf("agent-a"), header: "70"}
		second := &member{says: `{"report":{"projection":"balance","position":"90","result":{}}}` + "\n", header: "9"}
		network := cables{"a": first, "b": second}
		client := newClient(t, api.ClientConfig{BaseURL: "http://a", Others: []string{"http://b"}, HTTP: &http.Client{Transport: network}})
		do(t, client, "agent-ada", say("once", "hello"))
		delete(network, "a")
		for range 2 {
			if _, err := client.Query(t.Context(), projector.Question{Projection: "balance", Query: projections.Query{}}, nil); err != nil {
				t.Fatal(err)
			}
		}
		_, before := first.requests()
		if _, positions := second.requests(); before[0] != "" || len(positions) != 2 || positions[0] != "70" || positions[1] != "70" {
			t.Errorf("demanded were %q, then %q", before, positions)
		}
	})
}

// TestReadYourWritesAtAHost: a query after a command has what the command did, each time, though nothing waits for the projection.
func TestReadYourWritesAtAHost(t *testing.T) {
	client := newClient(t, api.ClientConfig{BaseURL: serve(t, startHost(t)).URL, Others: []string{serve(t, startHost(t)).URL}})
	for i := range 20 {
		wallet := fmt.Sprint("team-", i)
		do(t, client, events.WalletStream(events.WalletID(wallet)), sagas.OpenWallet{Meta: meta("open-" + wallet), Wallet: events.WalletID(wallet), Credit: 5 * events.Dollar})
		answer, err := client.Query(t.Context(), projector.Question{Projection: "balance"}, nil)
		if text := string(answer.Answer); err != nil || !strings.Contains(text, `"`+wallet+`"`) {
			t.Fatalf("%s is not in %s, %v", wallet, text, err)
		}
	}
}

// feeding is a host whose feed gives events from where the caller was, and then nothing.
type feeding struct {
	upTo    int
	closes  bool // after that
	stopped bool // after that: it does not even say that it is well

	mu     sync.Mutex
	opened []string // Last-Event-ID of each
}

func (f *feeding) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	stopped := f.stopped && len(f.opened) > 0
	f.mu.Unlock()
	switch {
	case stopped:
		<-r.Context().Done()
		return
	case r.URL.Path == "/v1/health":
		_, _ = io.WriteString(w, `{}`)
		return
	}
	last := r.Header.Get("Last-Event-ID")
	f.mu.Lock()
	f.opened = append(f.opened, last)
	f.mu.Unlock()
	next := 0
	if _, err := fmt.Sscan(last, &next); err == nil {
		next++
	}
	for ; next <= f.upTo; next++ {
		_, _ = fmt.Fprintf(w, "id: %d\nevent: agent.created\ndata: {\"stream\":\"agent-ada\",\"revision\":\"%d\",\"kind\":\"agent.created\",\"version\":1,\"data\":{}}\n\n", next, next)
	}
	if f.closes {
		_, _ = io.WriteString(w, "event: closed\ndata: {}\n\n")
		return
	}
	w.WriteHeader(http.StatusOK)
	<-r.Context().Done()
}

// TestFeedGoesOnElsewhere: a feed whose host is stopped, or closes, goes on at the next one with the event after the last; and one in which nothing happens stays.
func TestFeedGoesOnElsewhere(t *testing.T) {
	for _, test := range []struct {
		name   string
		a      *feeding
		within time.Duration // until the first event that the other host has
	}{
		{"stopped", &feeding{upTo: 2, stopped: true}, 5 * time.Second},
		{"closing", &feeding{upTo: 2, closes: true}, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &feeding{upTo: 4}
			client := newClient(t, api.ClientConfig{BaseURL: "http://a", Others: []string{"http://b"}, HTTP: &http.Client{Transport: cables{"a": test.a, "b": b}}})
			began := time.Now()
			feed := watch(t, client, ada, events.NoRevision)
			for want := range events.Revision(5) {
				item, err := feed.Next(t.Context())
				if err != nil || item.Event.Revision != want {
					t.Fatalf("%s: %+v, %v; want event %d", test.name, item, err, want)
				}
			}
			if took := time.Since(began); took > test.within {
				t.Errorf("%s: the feed went on after %s", test.name, took)
			}
			quiet, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			if _, err := feed.Next(quiet); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", test.name, err)
			}
			if len(test.a.opened) != 1 || len(b.opened) != 1 || b.opened[0] != "2" {
				t.Errorf("%s: feeds were opened after %q, and at the other host after %q", test.name, test.a.opened, b.opened)
			}
			if err := feed.Close(); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		})
	}
}

// TestOtherHostsOverTCP: a host that has ended refuses connections, one whose process dies breaks them.
func TestOtherHostsOverTCP(t *testing.T) {
	host := startHost(t)
	gone, lives := serve(t, host), serve(t, host)
	client := newClient(t, api.ClientConfig{BaseURL: gone.URL, Others: []string{lives.URL}})
	do(t, client, "agent-ada", create(ada))
	feed := watch(t, client, ada, events.NoRevision)
	if item, err := feed.Next(t.Context()); err != nil || item.Event.Revision != 0 {
		t.Fatalf("%+v, %v", item, err)
	}
	gone.CloseClientConnections()
	gone.Close()
	receipt := do(t, client, "agent-ada", say("after", "hello"))
	for at := events.Revision(0); at < receipt.Revision; {
		item, err := feed.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if item.Event != nil {
			if at++; item.Event.Revision != at {
				t.Errorf("event %d follows %d", item.Event.Revision, at-1)
			}
		}
	}
	if health, err := client.Health(t.Context()); err != nil || health.PID != 7 {
		t.Errorf("%+v, %v", health, err)
	}
}

// TestBrokenAnswer: an answer that breaks off in its middle is asked for again elsewhere.
func TestBrokenAnswer(t *testing.T) {
	cut := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"stream":"agent-a`)
	})
	host := startHost(t)
	do(t, host, "agent-ada", create(ada))
	broken := httptest.NewServer(cut)
	defer broken.Close()
	client := newClient(t, api.ClientConfig{BaseURL: broken.URL, Others: []string{serve(t, host).URL}})
	if receipt := do(t, client, "agent-ada", say("once", "hello")); receipt.Stream != "agent-ada" {
		t.Errorf("%+v", receipt)
	}
}

// TestHealthNamesMembers: a host says where the others of its cluster are, as of now.
func TestHealthNamesMembers(t *testing.T) {
	others := []string{"http://b:1"}
	server := serve(t, startHost(t), func(c *api.Config) { c.Members = func() []string { return others } })
	client := newClient(t, api.ClientConfig{BaseURL: server.URL})
	for range 2 {
		health, err := client.Health(t.Context())
		if err != nil || fmt.Sprint(health.Members) != fmt.Sprint(others) {
			t.Errorf("%+v, %v", health, err)
		}
		others = append(others, "http://c:1")
	}
}
