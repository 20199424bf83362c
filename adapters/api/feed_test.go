package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/events"
)

// cutting breaks feeds off after some bytes, again and again, as bad networks do.
type cutting struct {
	http.RoundTripper
	cuts atomic.Int64
}

func (c *cutting) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := c.RoundTripper.RoundTrip(r)
	if err == nil && strings.HasSuffix(r.URL.Path, "/feed") {
		answer.Body = &cutBody{answer.Body, rand.IntN(6000), &c.cuts}
	}
	return answer, err
}

type cutBody struct {
	io.ReadCloser
	left int
	cuts *atomic.Int64
}

func (b *cutBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		b.cuts.Add(1)
		return 0, errors.New("cut")
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// TestFeedResumes watches over a connection that keeps breaking, at any byte, while several writers make events: every event comes
// once and in order.
func TestFeedResumes(t *testing.T) {
	host := startHost(t)
	server := serve(t, host)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	cuts := &cutting{RoundTripper: transport}
	client := newClient(t, api.ClientConfig{BaseURL: server.URL, HTTP: &http.Client{Transport: cuts}})
	do(t, host, "agent-ada", create(ada))
	feed := watch(t, client, ada, events.NoRevision)
	const writers, each = 3, 20
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				id := fmt.Sprintf("s-%d-%d", w, i)
				if _, err := host.Do(t.Context(), "agent-ada", say(id, "hello "+id), actors.Origin{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	received := 0
	for next := events.Revision(0); received < writers*each || cuts.cuts.Load() < 3; {
		item, err := feed.Next(ctx)
		if err != nil {
			t.Fatalf("after %d events and %d cuts: %v", next, cuts.cuts.Load(), err)
		}
		if item.Event == nil {
			continue
		}
		if item.Event.Revision != next {
			t.Fatalf("revision %d, want %d", item.Event.Revision, next)
		}
		if next++; item.Event.Kind == "message.received" {
			received++
		}
	}
	writing.Wait()
}

// TestFeedOnTheWire reads a feed as any client of server-sent events would.
func TestFeedOnTheWire(t *testing.T) {
	host := startHost(t)
	server := serve(t, host)
	do(t, host, "agent-ada", create(ada))
	do(t, host, "agent-ada", say("s1", "wait"))
	read := func(path string, headers ...string) *bufio.Scanner {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		answer, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = answer.Body.Close() })
		if media := answer.Header.Get("Content-Type"); answer.StatusCode != 200 || media != "text/event-stream" {
			t.Fatalf("status %d, %s", answer.StatusCode, media)
		}
		return bufio.NewScanner(answer.Body)
	}
	scan := func(lines *bufio.Scanner) bool {
		more := lines.Scan()
		for more && lines.Text() == "event: delta" { // what the model says meanwhile may come at any time
			for more && lines.Text() != "" {
				more = lines.Scan()
			}
			more = more && lines.Scan()
		}
		return more
	}
	want := func(lines *bufio.Scanner, beginnings ...string) {
		t.Helper()
		for _, beginning := range beginnings {
			if !scan(lines) || !strings.HasPrefix(lines.Text(), beginning) {
				t.Fatalf("line %q, want one that begins with %q (%v)", lines.Text(), beginning, lines.Err())
			}
		}
	}
	all := read("/v1/agents/ada/feed")
	want(all, "retry: ", "", "id: 0", "event: agent.created", `data: {"id":`, "", "id: 1", "event: message.received", `data: {"id":`, "")
	some := read("/v1/agents/ada/feed?after=1")
	want(some, "retry: ", "", "id: 2", "event: turn.started")
	header := read("/v1/agents/ada/feed?after=0", "Last-Event-ID", "2") // the header is newer
	want(header, "retry: ", "", "id: 3")
	go closeHost(t, host.Host)
	for all.Scan() && all.Text() != "event: closed" {
	}
	want(all, "data: {}", "")
	if all.Scan() {
		t.Errorf("after the end: %q", all.Text())
	}
}

// TestFeedDeltas shows a model's text as it comes in.
func TestFeedDeltas(t *testing.T) {
	host := startHost(t)
	client := newClient(t, api.ClientConfig{BaseURL: serve(t, host).URL})
	do(t, client, "agent-ada", create(ada))
	feed := watch(t, client, ada, events.NoRevision)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := feed.Next(ctx); err != nil { // it watches
		t.Fatal(err)
	}
	do(t, client, "agent-ada", say("s1", "wait"))
	for {
		item, err := feed.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if item.Delta != nil {
			if item.Delta.Text != "waiting" || item.Delta.Turn != "ada/1" || item.Delta.Round != 1 {
				t.Errorf("%+v", item.Delta)
			}
			return
		}
	}
}

// TestFeedEnds ends feeds from either side.
func TestFeedEnds(t *testing.T) {
	host := startHost(t)
	server := serve(t, host)
	client := newClient(t, api.ClientConfig{BaseURL: server.URL, Patience: time.Millisecond})
	do(t, client, "agent-ada", create(ada))
	closed := watch(t, client, ada, 0)
	if err := closed.Close(); err != nil {
		t.Error(err)
	}
	if _, err := closed.Next(t.Context()); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	waiting := watch(t, client, ada, 0)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := waiting.Next(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	if _, err := client.Watch(ended, ada, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("watching with an ended context: %v", err)
	}
	closeHost(t, host.Host)
	if _, err := waiting.Next(t.Context()); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("the host closed: %v", err)
	}
	if _, err := client.Watch(t.Context(), ada, 0); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("watching a closed host: %v", err)
	}
}

// TestFeedGivesUp: a server that is gone for good is told as what it is.
func TestFeedGivesUp(t *testing.T) {
	host := startHost(t)
	server := serve(t, host)
	client := newClient(t, api.ClientConfig{BaseURL: server.URL, Patience: time.Millisecond})
	feed := watch(t, client, ada, events.NoRevision)
	server.CloseClientConnections()
	server.Listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := feed.Next(ctx); err == nil || !strings.Contains(err.Error(), "given up after 1ms") {
		t.Errorf("got %v", err)
	}
}

// TestFeedFails: a feed that cannot be read on ends with the reason, typed.
func TestFeedFails(t *testing.T) {
	port := &failing{err: fmt.Errorf("read: %w", storage.ErrCorrupt)}
	client := newClient(t, api.ClientConfig{BaseURL: serve(t, port).URL})
	feed := watch(t, client, ada, 0)
	if _, err := feed.Next(t.Context()); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

// failing is a host whose feeds fail.
type failing struct {
	fake
	err error
}

func (f *failing) Watch(context.Context, events.AgentID, events.Revision) (actors.Feed, error) {
	return endedFeed{f.err}, nil
}

// script is a host whose feed shows given items and then waits.
type script struct {
	fake
	items []actors.Item
}

func (s *script) Watch(context.Context, events.AgentID, events.Revision) (actors.Feed, error) {
	return &scriptFeed{s.items}, nil
}

type scriptFeed struct{ items []actors.Item }

func (f *scriptFeed) Next(ctx context.Context) (actors.Item, error) {
	if len(f.items) == 0 {
		<-ctx.Done()
		return actors.Item{}, ctx.Err()
	}
	item := f.items[0]
	f.items = f.items[1:]
	return item, nil
}

func (f *scriptFeed) Close() error { return nil }

// reader reads what a handler writes at its own pace.
type reader struct {
	header http.Header
	got    strings.Builder
	pause  func(written string) time.Duration
}

func (r *reader) Header() http.Header { return r.header }
func (r *reader) WriteHeader(int)     {}
func (r *reader) Flush()              {}
func (r *reader) Write(b []byte) (int, error) {
	<-time.After(r.pause(string(b)))
	return r.got.Write(b)
}

func watchScript(ctx context.Context, t *testing.T, items []actors.Item, pause func(string) time.Duration) string {
	t.Helper()
	port := &script{items: items}
	handler, err := api.New(api.Config{Host: port})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/v1/agents/ada/feed", nil)
	w := &reader{header: http.Header{}, pause: pause}
	handler.ServeHTTP(w, r)
	return w.got.String()
}

func event(revision events.Revision, kind events.Kind) actors.Item {
	return actors.Item{Event: &events.Envelope{Stream: "agent-ada", Revision: revision, Kind: kind, Data: []byte(`{}`)}}
}

// TestFeedSlowWatcher tells a watcher that takes too long for an item to come back, after that item, and cuts it off.
func TestFeedSlowWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		items := []actors.Item{event(0, "a.b"), event(1, "a.slow"), event(2, "a.c")}
		got := watchScript(t.Context(), t, items, func(written string) time.Duration {
			if strings.Contains(written, "a.slow") {
				return 6 * time.Second
			}
			return time.Second
		})
		if !strings.HasSuffix(got, "\n\nevent: resync\ndata: {\"after\":\"1\"}\n\n") || strings.Contains(got, "a.c") {
			t.Errorf("the watcher got %s", got)
		}
	})
}

// TestFeedHeartbeat: a silent feed says that it is alive, and ends when the watcher leaves.
func TestFeedHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 65*time.Second)
		defer cancel()
		got := watchScript(ctx, t, []actors.Item{event(0, "a\nid: 9\n\n.b")}, func(string) time.Duration { return 0 })
		if n := strings.Count(got, ": alive\n\n"); n != 6 {
			t.Errorf("%d heartbeats in 65 s", n)
		}
		if !strings.Contains(got, "\nevent: aid: 9.b\n") {
			t.Errorf("a kind with line breaks: %s", got)
		}
	})
}

// TestFeedClientResyncs comes back from where a server that found it slow cut it off, and notices a gap.
func TestFeedClientResyncs(t *testing.T) {
	frame := func(revision int) string {
		return fmt.Sprintf("id: %d\nevent: a.b\ndata: {\"revision\":\"%d\",\"stream\":\"agent-ada\",\"data\":{}}\n\n", revision, revision)
	}
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Last-Event-ID"))
		switch len(asked) {
		case 1:
			_, _ = io.WriteString(w, frame(0)+frame(1)+"event: resync\ndata: {\"after\":\"1\"}\n\n")
		case 2:
			_, _ = io.WriteString(w, frame(2)+frame(4))
		}
	}))
	defer server.Close()
	feed := watch(t, newClient(t, api.ClientConfig{BaseURL: server.URL}), ada, events.NoRevision)
	for want := events.Revision(0); want < 3; want++ {
		item, err := feed.Next(t.Context())
		if err != nil || item.Event.Revision != want {
			t.Fatalf("%+v, %v", item, err)
		}
	}
	if _, err := feed.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "agent-ada@4 follows revision 2") {
		t.Errorf("a gap: %v", err)
	}
	if len(asked) != 2 || asked[0] != "" || asked[1] != "1" {
		t.Errorf("asked after %q", asked)
	}
}
