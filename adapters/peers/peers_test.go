package peers_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/life/actors"
	"example.com/life/actors/membership"
	"example.com/life/adapters/peers"
	"example.com/life/events"
	"example.com/life/sagas/cluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What a cluster is put together from fits together.
var (
	_ actors.Peers        = (*peers.Client)(nil)
	_ membership.Contacts = (*peers.Client)(nil)
	_ actors.Membership   = (*membership.Member)(nil)
)

// certificates makes those of some hosts in a directory.
func certificates(t testing.TB, hosts ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, host := range hosts {
		if _, err := peers.MakeCertificate(dir, peers.Wanted{Host: host, Now: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func identity(t testing.TB, dir, name string) *peers.Identity {
	t.Helper()
	loaded, err := peers.LoadIdentity(dir, name, time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// server serves as host "b" with the handlers, and says where.
func server(t testing.TB, dir string, handlers peers.Handlers) cluster.Member {
	t.Helper()
	return serverOf(t, identity(t, dir, "b"), handlers)
}

func serverOf(t testing.TB, as *peers.Identity, handlers peers.Handlers) cluster.Member {
	t.Helper()
	s, err := peers.Listen(t.Context(), "127.0.0.1:0", as, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(handlers)
	t.Cleanup(s.Close)
	return member("b", s.Addr().String())
}

func member(name, address string) cluster.Member {
	return cluster.Member{ID: events.NewHostID(name, 1), Joined: events.HostJoined{Name: name, Peer: address}}
}

// client asks as host "a".
func client(t testing.TB, dir string) *peers.Client {
	t.Helper()
	return clientAs(t, identity(t, dir, "a"), "a#0")
}

func clientAs(t testing.TB, as *peers.Identity, self events.HostID) *peers.Client {
	t.Helper()
	c := peers.NewClient(peers.ClientConfig{Identity: as, Self: func() events.HostID { return self }})
	t.Cleanup(c.Close)
	return c
}

// echo answers with what a call holds.
func echo(_ context.Context, _ events.HostID, call actors.PeerCall) actors.PeerAnswer {
	return actors.PeerAnswer{Epoch: call.Epoch, Outcome: &actors.PeerOutcome{Events: []actors.PeerEvent{{Kind: "x.y", Version: 1, Data: call.Keep.State}}}}
}

// with is a call that holds a text.
func with(text string) actors.PeerCall {
	return actors.PeerCall{Epoch: 3, Keep: &actors.PeerSnapshot{Fold: "agent", Stream: "agent-a", State: json.RawMessage(`{"x":"` + text + `"}`)}}
}

// textOf is what echo answered.
func textOf(answer actors.PeerAnswer) string {
	if answer.Outcome == nil {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(string(answer.Outcome.Events[0].Data), `{"x":"`), `"}`)
}

// called reports whether a call is answered as it should be.
func called(t testing.TB, c *peers.Client, to cluster.Member, text string) {
	t.Helper()
	if answer, err := c.Call(t.Context(), to, with(text)); err != nil || textOf(answer) != text {
		t.Errorf("a call with %d bytes: %d bytes, %v", len(text), len(textOf(answer)), err)
	}
}

func TestExchanges(t *testing.T) {
	dir := certificates(t, "a", "b")
	blob := events.BlobRef{Size: 5, Media: "text/plain"}
	var froms atomic.Value
	to := server(t, dir, peers.Handlers{
		Ping: func(_ context.Context, ping membership.Ping) (membership.Pong, error) {
			return membership.Pong{Host: "b#1", Epoch: ping.Epoch + 1, Settled: 3, Entities: 4, Wall: 5}, nil
		},
		Confirm: func(question membership.Question) membership.Heard {
			return membership.Heard{Known: question.Suspect == "c#2", Within: 7}
		},
		Probe: func(context.Context) (events.BlobRef, error) { return blob, nil },
		Call: func(ctx context.Context, from events.HostID, call actors.PeerCall) actors.PeerAnswer {
			froms.Store(from)
			if string(call.Keep.State) == `{"x":"wide"}` {
				call = with(strings.Repeat("x", actors.MaxPeerBody))
			}
			return echo(ctx, from, call)
		},
	})
	c := client(t, dir)
	if pong, err := c.Ping(t.Context(), to, membership.Ping{From: "a#0", Epoch: 8}); err != nil || pong.Epoch != 9 || pong.Host != "b#1" || pong.Entities != 4 {
		t.Errorf("ping: %+v, %v", pong, err)
	}
	if heard, err := c.Confirm(t.Context(), to, "c#2"); err != nil || !heard.Known || heard.Within != 7 {
		t.Errorf("confirm: %+v, %v", heard, err)
	}
	if got, err := c.Probe(t.Context(), to); err != nil || got != blob {
		t.Errorf("probe: %+v, %v", got, err)
	}
	for _, size := range []int{0, 1, 16 << 10, 1 << 20} {
		called(t, c, to, strings.Repeat("x", size))
	}
	if froms.Load() != events.HostID("a#0") {
		t.Errorf("the call came from %v", froms.Load())
	}
	if _, err := c.Call(t.Context(), to, with(strings.Repeat("x", actors.MaxPeerBody))); err == nil || !strings.Contains(err.Error(), "larger than 9 MiB") {
		t.Errorf("a call that is too large: %v", err)
	}
	if _, err := c.Call(t.Context(), to, with("wide")); !failedAs(err, peers.CodeFailed) || !strings.Contains(err.Error(), "larger than 9 MiB") {
		t.Errorf("an answer that is too large: %v", err)
	}
	if _, err := c.Call(t.Context(), to, actors.PeerCall{}); !failedAs(err, peers.CodeInvalid) {
		t.Errorf("a call that asks nothing: %v", err)
	}
	called(t, c, to, "after all that")
}

func failedAs(err error, code peers.Code) bool {
	failure, ok := errors.AsType[*peers.Failure](err)
	return ok && failure.Code == code
}

// TestHandlersFail: a panic, and a handler that answers too late, are errors of their call and of no other.
func TestHandlersFail(t *testing.T) {
	dir := certificates(t, "a", "b")
	canceled := make(chan struct{})
	to := server(t, dir, peers.Handlers{
		Call: func(ctx context.Context, from events.HostID, call actors.PeerCall) actors.PeerAnswer {
			switch string(call.Keep.State) {
			case `{"x":"panic"}`:
				panic("on purpose")
			case `{"x":"hang"}`:
				<-ctx.Done()
				close(canceled)
			}
			return echo(ctx, from, call)
		},
		Probe: func(context.Context) (events.BlobRef, error) { return events.BlobRef{}, errors.New("no luck") },
	})
	c := client(t, dir)
	if _, err := c.Probe(t.Context(), to); !failedAs(err, peers.CodeFailed) || !strings.Contains(err.Error(), "no luck") || !strings.Contains(err.Error(), "host b at ") {
		t.Errorf("an error came as %v", err)
	}
	if _, err := c.Call(t.Context(), to, with("panic")); !failedAs(err, peers.CodeFailed) || !strings.Contains(err.Error(), "panicked") {
		t.Errorf("a panic came as %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := c.Call(ctx, to, with("hang")); !errors.Is(err, context.Canceled) {
		t.Errorf("a call that was given up: %v", err)
	}
	<-canceled // the handler was told so
	called(t, c, to, "fine")
}

// TestRefused: a port on which nobody listens is told apart from a host that does not answer, on a connection that was there as well as on a new one.
func TestRefused(t *testing.T) {
	dir := certificates(t, "a", "b")
	s, err := peers.Listen(t.Context(), "127.0.0.1:0", identity(t, dir, "b"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(peers.Handlers{Ping: func(context.Context, membership.Ping) (membership.Pong, error) { return membership.Pong{}, nil }})
	to := member("b", s.Addr().String())
	c := client(t, dir)
	if _, err := c.Ping(t.Context(), to, membership.Ping{}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := c.Ping(t.Context(), to, membership.Ping{}); !errors.Is(err, membership.ErrRefused) {
		t.Errorf("a ping after the server ended: %v", err)
	}
	if _, err := c.Call(t.Context(), to, with("x")); !errors.Is(err, membership.ErrRefused) || !errors.Is(err, actors.ErrPeerRefused) {
		t.Errorf("a call after the server ended: %v", err)
	}

	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // accepts nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Ping(ctx, member("b", silent.Addr().String()), membership.Ping{}); err == nil || errors.Is(err, membership.ErrRefused) || !errors.Is(err, peers.ErrNoAnswer) {
		t.Errorf("a ping to a port that accepts nothing: %v", err)
	}
}

// TestRestartedServer: a connection that broke is made again without an error.
func TestRestartedServer(t *testing.T) {
	dir := certificates(t, "a", "b")
	address := "127.0.0.1:0"
	c := client(t, dir)
	for range 3 {
		s, err := peers.Listen(t.Context(), address, identity(t, dir, "b"), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		s.Serve(peers.Handlers{Call: echo})
		address = s.Addr().String()
		called(t, c, member("b", address), "x")
		s.Close()
	}
}

// TestEnded: a host that ends is told of at once, once for the connection that pings it; who closes a connection itself is told nothing.
func TestEnded(t *testing.T) {
	dir := certificates(t, "a", "b")
	ends := make(chan string, 16)
	c := peers.NewClient(peers.ClientConfig{
		Identity: identity(t, dir, "a"), Self: func() events.HostID { return "a#0" }, Ended: func(host string) { ends <- host },
	})
	listen := func() (*peers.Server, cluster.Member) {
		s := must(peers.Listen(t.Context(), "127.0.0.1:0", identity(t, dir, "b"), slog.New(slog.DiscardHandler)))(t)
		s.Serve(peers.Handlers{Call: echo, Ping: func(context.Context, membership.Ping) (membership.Pong, error) {
			return membership.Pong{Host: "b#1"}, nil
		}})
		return s, member("b", s.Addr().String())
	}
	s, b := listen()
	for range 2 {
		if _, err := c.Ping(t.Context(), b, membership.Ping{From: "a#0"}); err != nil {
			t.Error(err)
		}
	}
	called(t, c, b, "x")
	s.Close()
	if host := <-ends; host != "b" {
		t.Errorf("host %q ended", host)
	}
	s, b = listen()
	defer s.Close()
	if _, err := c.Ping(t.Context(), b, membership.Ping{From: "a#0"}); err != nil {
		t.Error(err)
	}
	c.Close()
	if len(ends) > 0 {
		t.Errorf("host %q ended, too", <-ends)
	}
}

// TestNotJoined: a host that has not joined may be pinged and may probe, but it commands nobody; and its calls are heard once it has.
func TestNotJoined(t *testing.T) {
	dir := certificates(t, "a", "b")
	to := server(t, dir, peers.Handlers{Call: echo, Ping: func(context.Context, membership.Ping) (membership.Pong, error) {
		return membership.Pong{Host: "b#1"}, nil
	}})
	var self atomic.Value
	self.Store(events.HostID(""))
	c := peers.NewClient(peers.ClientConfig{Identity: identity(t, dir, "a"), Self: func() events.HostID { return self.Load().(events.HostID) }})
	defer c.Close()
	if _, err := c.Ping(t.Context(), to, membership.Ping{}); err != nil {
		t.Error(err)
	}
	if _, err := c.Call(t.Context(), to, with("x")); !failedAs(err, peers.CodeInvalid) {
		t.Errorf("a call of a host that has not joined: %v", err)
	}
	self.Store(events.HostID("a#7"))
	if _, err := c.Call(t.Context(), to, with("x")); err != nil {
		t.Errorf("a call after the join: %v", err)
	}
	self.Store(events.HostID("c#7")) // which is not what the certificate says
	if _, err := c.Call(t.Context(), to, with("x")); !failedAs(err, peers.CodeInvalid) || !strings.Contains(err.Error(), `the hello that of "c#7"`) {
		t.Errorf("a call under another name: %v", err)
	}
}

// TestDeltas: pieces come in order until the end; a slow watcher loses some and sees that; who goes away ends the handler.
func TestDeltas(t *testing.T) {
	dir := certificates(t, "a", "b")
	const many = 2000
	ended := make(chan error, 1)
	sent := make(chan struct{})
	to := server(t, dir, peers.Handlers{Deltas: func(ctx context.Context, agent events.AgentID, show func(actors.FeedDelta) error) error {
		switch agent {
		case "fail":
			return errors.New("no luck")
		case "some", "many":
			n := 3
			if agent == "many" {
				n = many
			}
			for i := range n {
				if err := show(actors.FeedDelta{Round: i, Delta: actors.Delta{Text: "<x>"}}); err != nil {
					return err
				}
			}
			if agent == "many" {
				close(sent)
			}
			return nil
		}
		if err := show(actors.FeedDelta{}); err != nil {
			return err
		}
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}})
	c := client(t, dir)
	var got []actors.FeedDelta
	take := func(delta actors.FeedDelta) { got = append(got, delta) }
	if err := c.Deltas(t.Context(), to, "some", take); err != nil || len(got) != 3 || got[2].Round != 2 || got[0].Text != "<x>" {
		t.Errorf("pieces: %+v, %v", got, err)
	}
	if err := c.Deltas(t.Context(), to, "fail", take); !failedAs(err, peers.CodeFailed) || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("a failure: %v", err)
	}
	got = nil
	if err := c.Deltas(t.Context(), to, "many", func(delta actors.FeedDelta) {
		<-sent // a slow watcher; the network holds what is not taken yet, and then it is dropped
		take(delta)
	}); err != nil {
		t.Error(err)
	}
	for i, delta := range got {
		if gap := i > 0 && delta.Round != got[i-1].Round+1; gap != delta.Lost {
			t.Errorf("piece %d after %d: lost is %v", delta.Round, got[max(0, i-1)].Round, delta.Lost)
		}
	}
	if len(got) == 0 || len(got) > many {
		t.Errorf("%d of %d pieces came", len(got), many)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := c.Deltas(ctx, to, "wait", func(actors.FeedDelta) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("a watcher who goes away: %v", err)
	}
	<-ended
}

// TestPortInUse: a port that another program has is named, with what to do.
func TestPortInUse(t *testing.T) {
	dir := certificates(t, "a", "b")
	to := server(t, dir, peers.Handlers{})
	_, err := peers.Listen(t.Context(), to.Joined.Peer, identity(t, dir, "a"), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "address already in use; --peer chooses another address") {
		t.Error(err)
	}
}
