package peers_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/membership"
	"example.com/life/adapters/peers"
	"example.com/life/events"
)

// credentials are a host's certificate, as a program that is no host would use it.
func credentials(t testing.TB, dir, name string) *tls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(read(t, filepath.Join(dir, "ca.pem"))))
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".pem"), filepath.Join(dir, name+"-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: roots, ClientCAs: roots, ServerName: "b", NextProtos: []string{"life-peer/1"}, MinVersion: tls.VersionTLS12,
	}
}

// head is that of a frame.
func head(length uint32, kind byte, id uint64) []byte {
	b := binary.BigEndian.AppendUint32(nil, length)
	b = append(b, kind)
	b = binary.BigEndian.AppendUint64(b, id)
	return binary.BigEndian.AppendUint32(b, 0)
}

// readFrame returns the head of a frame, and reads its body; nil: there is none.
func readFrame(conn net.Conn) []byte {
	head := make([]byte, 17)
	if _, err := io.ReadFull(conn, head); err != nil {
		return nil
	}
	if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(head))); err != nil {
		return nil
	}
	return head
}

// TestStrangersAreRefused: without TLS 1.3, this protocol and a certificate of the cluster's authority nothing is heard, and others are answered on.
func TestStrangersAreRefused(t *testing.T) {
	dir, foreign := certificates(t, "a", "b"), certificates(t, "a")
	called := make(chan struct{}, 100)
	to := server(t, dir, peers.Handlers{Ping: func(context.Context, membership.Ping) (membership.Pong, error) {
		called <- struct{}{}
		return membership.Pong{}, nil
	}})
	for _, test := range []struct {
		name   string
		config func() *tls.Config
	}{
		{"no TLS", func() *tls.Config { return nil }},
		{"TLS 1.2", func() *tls.Config {
			c := credentials(t, dir, "a")
			c.MaxVersion = tls.VersionTLS12
			return c
		}},
		{"no certificate", func() *tls.Config {
			c := credentials(t, dir, "a")
			c.Certificates = nil
			return c
		}},
		{"a certificate of another authority", func() *tls.Config {
			c := credentials(t, foreign, "a")
			c.InsecureSkipVerify = true //nolint:gosec // it is the server that is tested
			return c
		}},
		{"no protocol", func() *tls.Config {
			c := credentials(t, dir, "a")
			c.NextProtos = nil
			return c
		}},
		{"HTTP/2", func() *tls.Config {
			c := credentials(t, dir, "a")
			c.NextProtos = []string{"h2", "http/1.1"}
			return c
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", to.Joined.Peer)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if config := test.config(); config != nil {
				conn = tls.Client(conn, config)
			}
			_, _ = conn.Write(append(append(head(2, 1, 0), "{}"...), append(head(2, 2, 1), "{}"...)...)) // a hello and a ping
			answer, _ := io.ReadAll(conn)
			if len(answer) > 7 { // an alert of TLS
				t.Errorf("it was answered %q", answer)
			}
		})
	}
	if len(called) > 0 {
		t.Errorf("%d pings of strangers were heard", len(called))
	}
	if _, err := client(t, dir).Ping(t.Context(), to, membership.Ping{}); err != nil {
		t.Error(err)
	}
	conn := must(tls.Dial("tcp", to.Joined.Peer, credentials(t, dir, "a")))(t) // it may be the certificate; it is not the protocol
	defer conn.Close()
	_, _ = conn.Write([]byte("GET / HTTP/1.1\r\nHost: b\r\n\r\n"))
	if answer, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
		answer.Body.Close()
		t.Error("HTTP/1 was answered")
	}
}

func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// TestHostilePeers: a host of the cluster that sends what it should not loses its connection, or is told so; other hosts notice nothing.
func TestHostilePeers(t *testing.T) {
	dir := certificates(t, "a", "b", "c")
	to := server(t, dir, peers.Handlers{Call: echo, Ping: func(context.Context, membership.Ping) (membership.Pong, error) { return membership.Pong{}, nil }})
	c := client(t, dir)
	hello := append(head(2, 1, 0), "{}"...)
	for _, test := range []struct {
		name string
		send []byte
		want string // in what it sends, or nothing: it ends the connection
	}{
		{"garbage", []byte(strings.Repeat("garbage ", 100)), ""},
		{"a call instead of a hello", append(head(2, 5, 1), "{}"...), "instead of a hello"},
		{"a hello that is no JSON", append(head(2, 1, 0), "{{"...), "read a body"},
		{"a hello with more", append(head(15, 1, 0), `{"power":"all"}`...), "unknown field"},
		{"a hello of another", append(head(14, 1, 0), `{"host":"a#0"}`...), `that of host`},
		{"a frame that is too large", append(hello, head(actors.MaxPeerBody+1, 5, 1)...), ""},
		{"the largest length", append(hello, head(0xffffffff, 5, 1)...), ""},
		{"an answer", append(hello, head(0, 16, 1)...), ""},
		{"a second hello", append(hello, hello...), ""},
		{"an unknown request", append(hello, head(0, 9, 1)...), `"unknown"`},
		{"a ping that is no JSON", append(append(hello, head(1, 2, 1)...), "x"...), `"invalid"`},
		{"a ping with more", append(append(hello, head(7, 2, 1)...), `{"x":1}`...), "unknown field"},
		{"two pings in one", append(append(hello, head(4, 2, 1)...), `{}{}`...), "more follows"},
		{"a cancel of nothing", append(append(append(hello, head(0, 7, 99)...), head(2, 2, 1)...), `{}`...), `"host"`},
		{"a call without an id", append(append(hello, head(2, 5, 1)...), `{}`...), "has not joined"},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn := must(tls.Dial("tcp", to.Joined.Peer, credentials(t, dir, "c")))(t)
			defer conn.Close()
			if _, err := conn.Write(test.send); err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			buffer := make([]byte, 1024)
			for test.want == "" || !strings.Contains(got.String(), test.want) {
				n, err := conn.Read(buffer)
				got.Write(buffer[:n])
				if err != nil {
					break
				}
			}
			if !strings.Contains(got.String(), test.want) {
				t.Errorf("it was answered %q, want %q", got.String(), test.want)
			}
			called(t, c, to, "fine")
		})
	}
}

// TestUntrusted: a host that does not accept the other's certificate is no host that does not answer.
func TestUntrusted(t *testing.T) {
	ours, theirs := certificates(t, "a", "b", "c"), certificates(t, "a", "b")
	for _, test := range []struct {
		name           string
		client, server *peers.Identity
	}{
		{"another authority", identity(t, ours, "a"), identity(t, theirs, "b")},
		{"another host", identity(t, ours, "a"), identity(t, ours, "c")},
	} {
		to := serverOf(t, test.server, peers.Handlers{Ping: func(context.Context, membership.Ping) (membership.Pong, error) { return membership.Pong{}, nil }})
		if _, err := clientAs(t, test.client, "").Ping(t.Context(), to, membership.Ping{}); !errors.Is(err, membership.ErrUntrusted) || !errors.Is(err, peers.ErrNoAnswer) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	refuses := credentials(t, ours, "b")
	refuses.ClientCAs, refuses.ClientAuth = credentials(t, theirs, "b").ClientCAs, tls.RequireAndVerifyClientCert
	to := member("b", hostile(t, refuses, func(conn net.Conn) { _ = readFrame(conn) }))
	if _, err := client(t, ours).Ping(t.Context(), to, membership.Ping{}); !errors.Is(err, membership.ErrUntrusted) {
		t.Errorf("it knows another authority: %v", err)
	}
}

// TestHostileServers: what answers nothing, garbage, too much or as somebody else is an error within the caller's time.
func TestHostileServers(t *testing.T) {
	dir, foreign := certificates(t, "a", "b", "c"), certificates(t, "b")
	hello := append(head(2, 1, 0), "{}"...)
	answers := func(frames ...[]byte) func(net.Conn) {
		return func(conn net.Conn) {
			for i, f := range frames {
				if i == 1 { // the rest answers the ping, which follows the hello
					readFrame(conn)
					readFrame(conn)
				}
				if _, err := conn.Write(f); err != nil {
					return
				}
			}
			_, _ = io.Copy(io.Discard, conn)
		}
	}
	for _, test := range []struct {
		name   string
		config *tls.Config
		do     func(net.Conn)
		want   string
	}{
		{"nothing", credentials(t, dir, "b"), answers(), "deadline"},
		{"nothing after the hello", credentials(t, dir, "b"), answers(hello), "deadline"},
		{"garbage", credentials(t, dir, "b"), answers([]byte(strings.Repeat("garbage ", 100))), "no answer"},
		{"garbage after the hello", credentials(t, dir, "b"), answers(hello, []byte(strings.Repeat("garbage ", 100))), "larger than 9 MiB"},
		{"too large a frame", credentials(t, dir, "b"), answers(hello, head(actors.MaxPeerBody+1, 16, 1)), "larger than 9 MiB"},
		{"a request", credentials(t, dir, "b"), answers(hello, head(0, 5, 1)), "is no answer"},
		{"an answer that is no JSON", credentials(t, dir, "b"), answers(hello, append(head(1, 16, 1), 'x')), "read a body"},
		{"an answer with more", credentials(t, dir, "b"), answers(hello, append(head(7, 16, 1), `{"x":1}`...)), "unknown field"},
		{"parts", credentials(t, dir, "b"), answers(hello, head(0, 17, 1), head(0, 17, 1), head(0, 17, 1)), "deadline"},
		{"a failure that is no JSON", credentials(t, dir, "b"), answers(hello, append(head(1, 18, 1), 'x')), "cannot be read"},
		{"answers to nobody", credentials(t, dir, "b"), answers(hello, head(0, 16, 77), head(0, 18, 78)), "deadline"},
		{"another host", credentials(t, dir, "c"), answers(hello), `it is host "c", not "b"`},
		{"a foreign authority", credentials(t, foreign, "b"), answers(hello), "unknown authority"},
		{"TLS 1.2", func() *tls.Config {
			c := credentials(t, dir, "b")
			c.MaxVersion = tls.VersionTLS12
			return c
		}(), answers(hello), "protocol version"},
		{"no TLS", nil, answers([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")), "TLS"},
	} {
		t.Run(test.name, func(t *testing.T) {
			to := hostile(t, test.config, test.do)
			patience := time.Minute
			if test.want == "deadline" {
				patience = 50 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := client(t, dir).Ping(ctx, member("b", to), membership.Ping{})
			if err == nil || !errors.Is(err, peers.ErrNoAnswer) || errors.Is(err, membership.ErrRefused) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// hostile serves each connection as it likes.
func hostile(t testing.TB, config *tls.Config, do func(net.Conn)) (address string) {
	t.Helper()
	listener := must((&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0"))(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var open []net.Conn
		defer func() {
			for _, conn := range open {
				conn.Close()
			}
		}()
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			open = append(open, conn)
			if config != nil {
				conn = tls.Server(conn, config)
			}
			go do(conn)
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	return listener.Addr().String()
}

// TestIdleStrangers: connections that prove nothing shut out no host.
func TestIdleStrangers(t *testing.T) {
	dir := certificates(t, "a", "b")
	to := server(t, dir, peers.Handlers{Call: echo})
	for range 300 { // of which the server lets 128 stay
		conn := must((&net.Dialer{}).DialContext(t.Context(), "tcp", to.Joined.Peer))(t)
		defer conn.Close()
	}
	called(t, client(t, dir), to, "x")
}

// TestStrangersFillNoLog: of many connections that end badly, few are logged, and those that are not are counted.
func TestStrangersFillNoLog(t *testing.T) {
	dir, lines := certificates(t, "a", "b"), &lineCounter{}
	s := must(peers.Listen(t.Context(), "127.0.0.1:0", identity(t, dir, "b"), slog.New(slog.NewTextHandler(lines, nil))))(t)
	s.Serve(peers.Handlers{Call: echo})
	began := time.Now()
	for range 200 {
		conn := must((&net.Dialer{}).DialContext(t.Context(), "tcp", s.Addr().String()))(t)
		_, _ = conn.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		_, _ = io.Copy(io.Discard, conn) // until it has ended
		conn.Close()
	}
	s.Close()
	if most := 2 + int32(time.Since(began)/time.Second); lines.Load() < 1 || lines.Load() > most {
		t.Errorf("%d lines were logged, at most %d are expected", lines.Load(), most)
	}
}

type lineCounter struct{ atomic.Int32 }

func (l *lineCounter) Write(b []byte) (int, error) {
	l.Add(1)
	return len(b), nil
}

// TestBusy: a host that has too much under way is told so, and goes on when some of it is done.
func TestBusy(t *testing.T) {
	dir := certificates(t, "a", "b")
	answer := make(chan struct{})
	to := server(t, dir, peers.Handlers{Call: func(ctx context.Context, from events.HostID, call actors.PeerCall) actors.PeerAnswer {
		select {
		case <-answer:
		case <-ctx.Done():
		}
		return echo(ctx, from, call)
	}})
	c := client(t, dir)
	const callers = 1100 // of which 1024 may wait
	results := make(chan error, callers)
	for range callers {
		go func() {
			_, err := c.Call(t.Context(), to, with("x"))
			results <- err
		}()
	}
	for range callers - 1024 {
		if err := <-results; !failedAs(err, peers.CodeBusy) {
			t.Errorf("one call too many: %v", err)
		}
	}
	close(answer)
	for range 1024 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	called(t, c, to, "x")
}

// TestLostPackets: a connection on which nothing comes back any more is given up by pings, which go on over a new one.
func TestLostPackets(t *testing.T) {
	dir := certificates(t, "a", "b")
	var connections atomic.Int32
	to := hostile(t, credentials(t, dir, "b"), func(conn net.Conn) {
		first := connections.Add(1) == 1
		_, _ = conn.Write(append(head(2, 1, 0), "{}"...))
		for {
			asked := readFrame(conn)
			if asked == nil {
				return
			}
			if asked[4] == 2 && !first { // a ping
				_, _ = conn.Write(append(head(2, 16, binary.BigEndian.Uint64(asked[5:])), "{}"...))
			}
		}
	})
	c := client(t, dir)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, _ = c.Ping(ctx, member("b", to), membership.Ping{})
		cancel()
		if connections.Load() > 1 {
			break
		}
	}
	if _, err := c.Ping(t.Context(), member("b", to), membership.Ping{}); err != nil {
		t.Error(err)
	}
}
