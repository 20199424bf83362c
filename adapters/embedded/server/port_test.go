package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/projections"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"example.com/life/adapters/embedded/server"
	"example.com/life/events"
)

func get(t *testing.T, w world, path string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(within(t), http.MethodGet, "http://"+w.server.Addr()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

// TestOnePort asks for health where gRPC is spoken.
func TestOnePort(t *testing.T) {
	w := serve(t)
	appendTo(t, w.client(t), "s", eventsOf(1)...)
	if code := get(t, w, "/health/live"); code != http.StatusNoContent {
		t.Errorf("the health check was answered %d", code)
	}
	if code := get(t, w, "/streams/s"); code != http.StatusNotFound {
		t.Errorf("another path was answered %d", code)
	}
}

// TestHealthOverHTTP2: containers of tests ask so, with TLS and without, on the port where gRPC is spoken.
func TestHealthOverHTTP2(t *testing.T) {
	s, plain := secure(t), serve(t)
	for name, c := range map[string]struct {
		world
		protocol, scheme string
		set              func(*http.Protocols)
	}{
		"HTTP/2 with TLS":    {s.world, "HTTP/2.0", "https", func(p *http.Protocols) { p.SetHTTP2(true) }},
		"HTTP/1.1 with TLS":  {s.world, "HTTP/1.1", "https", func(p *http.Protocols) { p.SetHTTP1(true) }},
		"HTTP/2 in the open": {plain, "HTTP/2.0", "http", func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }},
	} {
		t.Run(name, func(t *testing.T) {
			transport := &http.Transport{TLSClientConfig: trusting(t, s.certificates), Protocols: new(http.Protocols)}
			defer transport.CloseIdleConnections()
			c.set(transport.Protocols)
			ask := func(method, path string, want int) {
				t.Helper()
				request, err := http.NewRequestWithContext(within(t), method, c.scheme+"://"+c.server.Addr()+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				answer, err := transport.RoundTrip(request)
				if err != nil {
					t.Fatal(err)
				}
				defer answer.Body.Close()
				if answer.StatusCode != want || answer.Proto != c.protocol {
					t.Errorf("%s %s was answered %s in %s, want %d", method, path, answer.Status, answer.Proto, want)
				}
			}
			for range 3 {
				ask(http.MethodGet, "/health/live", http.StatusNoContent)
				ask(http.MethodGet, "/streams/s", http.StatusNotFound)
				ask(http.MethodPost, "/health/live", http.StatusMethodNotAllowed)
			}
		})
	}
	appendTo(t, plain.client(t), "s", eventsOf(1)...)
	appendTo(t, s.as(t, "admin:password@", ""), "s", eventsOf(1)...)
}

// TestNonsense connects with what is neither, or nothing: it harms nobody and does not hold up closing.
func TestNonsense(t *testing.T) {
	w := serve(t)
	for _, first := range []string{"", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense", "\x00\x01\x02\x03\x04", "GET", "GET / HTTP/1.1\r\n"} {
		conn, err := new(net.Dialer).DialContext(within(t), "tcp", w.server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte(first)); err != nil {
			t.Fatal(err)
		}
	}
	if code := get(t, w, "/health/live"); code != http.StatusNoContent {
		t.Errorf("the health check was answered %d", code)
	}
	appendTo(t, w.client(t), "s", eventsOf(1)...)
}

// TestFeatures: clients choose their calls by these names.
func TestFeatures(t *testing.T) {
	answer, err := serverfeatures.NewServerFeaturesClient(serve(t).dial(t)).GetSupportedMethods(within(t), &shared.Empty{})
	if err != nil || strings.Count(answer.GetEventStoreServerVersion(), ".") != 2 {
		t.Fatalf("answered %v: %v", answer, err)
	}
	have := map[string][]string{}
	for _, method := range answer.GetMethods() {
		name := method.GetMethodName()
		if features := method.GetFeatures(); len(features) > 0 {
			name += " (" + strings.Join(features, " ") + ")"
		}
		have[method.GetServiceName()] = append(have[method.GetServiceName()], name)
	}
	for service := range have {
		slices.Sort(have[service])
	}
	if diff := cmp.Diff(have, map[string][]string{ // what EventStoreDB 24.10 answers
		"event_store.client.gossip.gossip":         {"read"},
		"event_store.client.monitoring.monitoring": {"stats"},
		"event_store.client.operations.operations": {
			"mergeindexes", "resignnode", "restartpersistentsubscriptions", "setnodepriority", "shutdown", "startscavenge", "stopscavenge",
		},
		"event_store.client.persistent_subscriptions.persistentsubscriptions": {
			"create (stream all)", "delete (stream all)", "getinfo (stream all)", "list (stream all)", "read (stream all)",
			"replayparked (stream all)", "restartsubsystem (stream all)", "update (stream all)",
		},
		"event_store.client.redaction.redaction":            {"geteventpositions", "switchchunks"},
		"event_store.client.server_features.serverfeatures": {"getsupportedmethods"},
		"event_store.client.streams.streams":                {"append", "batchappend (deadline_duration)", "delete", "read (position events)", "tombstone"},
		"event_store.client.users.users": {
			"changepassword", "create", "delete", "details", "disable", "enable", "resetpassword", "update",
		},
	}); diff != "" {
		t.Error(diff)
	}
}

func TestGossip(t *testing.T) {
	read := func(members ...string) []*gossip.MemberInfo {
		t.Helper()
		w := serve(t, func(c *server.Config) { c.Members = members })
		answer, err := gossip.NewGossipClient(w.dial(t)).Read(within(t), &shared.Empty{})
		if err != nil {
			t.Fatal(err)
		}
		if len(members) == 0 && answer.GetMembers()[0].GetHttpEndPoint().GetPort() == 0 {
			t.Errorf("the server says it is at %v", answer)
		}
		return answer.GetMembers()
	}
	if alone := read(); len(alone) != 1 || alone[0].GetState() != gossip.MemberInfo_Leader || !alone[0].GetIsAlive() {
		t.Errorf("a server alone answers %v", alone)
	}
	w := serve(t, func(c *server.Config) { c.Listen = ":0" })
	_, port, err := net.SplitHostPort(w.server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("localhost:"+port, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer, err := gossip.NewGossipClient(conn).Read(within(t), &shared.Empty{})
	if err != nil || answer.GetMembers()[0].GetHttpEndPoint().GetAddress() != "localhost" {
		t.Errorf("a server on all addresses answers %v: %v", answer, err)
	}
	several := read("a.example:2113", "b.example:2114")
	if len(several) != 2 || several[1].GetHttpEndPoint().GetAddress() != "b.example" || several[1].GetHttpEndPoint().GetPort() != 2114 ||
		several[0].GetState() != gossip.MemberInfo_Leader || several[1].GetState() != gossip.MemberInfo_Follower {
		t.Errorf("two members are %v", several)
	}
}

// TestUnsupported names what is missing.
func TestUnsupported(t *testing.T) {
	w := serve(t)
	_, err := projections.NewProjectionsClient(w.dial(t)).Enable(within(t), &projections.EnableReq{})
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "event_store.client.projections.Projections/Enable") {
		t.Errorf("projections: %v", err)
	}
}

// TestRefusedServices: what means nothing on one embedded node is listed, there, and says why it is refused.
func TestRefusedServices(t *testing.T) {
	conn := serve(t).dial(t)
	for method, why := range map[string]string{
		"/event_store.client.monitoring.Monitoring/Stats":           "statistics",
		"/event_store.client.redaction.Redaction/GetEventPositions": "chunk files",
		"/event_store.client.redaction.Redaction/SwitchChunks":      "chunk files",
	} {
		err := conn.Invoke(within(t), method, &shared.Empty{}, &shared.Empty{})
		if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), method) {
			t.Errorf("%s: %v", method, err)
		}
	}
}

// TestPanic: a panic in a call ends the call, not the server, and is logged.
func TestPanic(t *testing.T) {
	var log strings.Builder
	var mu sync.Mutex
	w := serve(t, func(c *server.Config) {
		c.Log = slog.New(slog.NewTextHandler(writer(func(b []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return log.Write(b)
		}), nil))
		c.Now = func() events.Micros { panic("the clock fell down") }
	})
	_, _, err := propose(t, w.raw(t), to("s"), proposedEvent(as))
	if status.Code(err) != codes.Internal {
		t.Errorf("the call was answered %v", err)
	}
	call := batchCall(t, w)
	if err := call.Send(&streams.BatchAppendReq{CorrelationId: idOf(numbered(1)), Options: batchTo("s"), ProposedMessages: batchEvents(1, 1), IsFinal: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := call.Recv(); status.Code(err) != codes.Internal {
		t.Errorf("the call of many appends was answered %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(log.String(), "the clock fell down") || !strings.Contains(log.String(), "server.(*streamsService).Append") {
		t.Errorf("the log says %q", log.String())
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// TestTooLarge: a message over the limit is refused, and one that a client may send is read and answered with the reason.
func TestTooLarge(t *testing.T) {
	w := serve(t)
	client := streams.NewStreamsClient(w.dial(t, grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(64<<20))))
	for size, want := range map[int]codes.Code{16 << 20: codes.InvalidArgument, 32 << 20: codes.ResourceExhausted} {
		_, _, err := propose(t, client, to("s"), proposedEvent(func(m *streams.AppendReq_ProposedMessage) { m.Data = make([]byte, size) }))
		if status.Code(err) != want {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// TestCloseIsBounded: a client that takes nothing of what it asked for cannot keep the server open.
func TestCloseIsBounded(t *testing.T) {
	w := serve(t)
	client := w.client(t)
	for range 4 {
		big := event("big", "")
		big.Data = bytes.Repeat([]byte("7"), 900<<10)
		appendTo(t, client, "s", big)
	}
	call, err := w.raw(t).Read(within(t), streamFrom("s", func(o *streams.ReadReq_Options) { o.CountOption = &streams.ReadReq_Options_Count{Count: 100} }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := call.Recv(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	w.server.Close(ctx)
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("closing took %s", took)
	}
	for err == nil {
		_, err = call.Recv()
	}
	if errors.Is(err, io.EOF) {
		t.Error("the read went on to its end")
	}
}

func TestNewRefuses(t *testing.T) {
	w := serve(t)
	for name, config := range map[string]server.Config{
		"no store":    {Listen: "127.0.0.1:0", Insecure: true},
		"no address":  {Store: w.store, Insecure: true},
		"bad address": {Store: w.store, Listen: "nowhere:-1", Insecure: true},
		"taken":       {Store: w.store, Listen: w.server.Addr(), Insecure: true},
		"bad member":  {Store: w.store, Listen: "127.0.0.1:0", Insecure: true, Members: []string{"nowhere"}},
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := server.New(config); err == nil {
				s.Close(t.Context())
				t.Error("the server was made")
			}
		})
	}
}
