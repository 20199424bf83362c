package api_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"

	"example.com/life/adapters/api"
)

// bounded serves a host as life serve does, to a process that may have so many files open.
func bounded(t *testing.T, host api.Host, files int, configure ...func(*api.Config)) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	connections := api.Bound(listener, files, slog.New(slog.DiscardHandler))
	config := api.Config{Host: host, Feeds: connections.Feeds()}
	for _, change := range configure {
		change(&config)
	}
	handler, err := api.New(config)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: connections, Config: &http.Server{Handler: handler, ConnContext: connections.Context}}
	server.Start()
	t.Cleanup(server.Close)
	return listener.Addr().String()
}

// caller is a connection on which requests are written by hand.
type caller struct {
	net.Conn
	t      *testing.T
	reader *bufio.Reader
}

func dial(t *testing.T, address string) *caller {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the server may have closed it
	return &caller{conn, t, bufio.NewReader(conn)}
}

// says writes, and does not mind that the server closed the connection.
func (c *caller) says(text string) { _, _ = io.WriteString(c, text) }

// status reads the status of an answer, and the answer if there is one with an end; 0: the connection was closed.
func (c *caller) status() int {
	answer, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return 0
	}
	if answer.Header.Get("Content-Type") != "text/event-stream" {
		_, _ = io.Copy(io.Discard, answer.Body)
	}
	return answer.StatusCode
}

const (
	health   = "GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
	openFeed = "GET /v1/agents/ada/feed HTTP/1.1\r\nHost: localhost\r\n\r\n"
)

// TestFeedsLeaveRoom: more feeds than there may be are answered 503 and closed, and whoever was there before goes on.
func TestFeedsLeaveRoom(t *testing.T) {
	host := startHost(t)
	address := bounded(t, host, 64)
	before := dial(t, address)
	before.says(health)
	if got := before.status(); got != 200 {
		t.Fatal(got)
	}
	count := map[int]int{}
	for range 50 {
		feed := dial(t, address)
		feed.says(openFeed)
		status := feed.status()
		if count[status]++; status == 503 && feed.status() != 0 {
			t.Error("a refused feed keeps its connection")
		}
	}
	if count[200] != 8 || count[503] != 42 {
		t.Errorf("the feeds were answered %v", count)
	}
	if before.says(health); before.status() != 200 {
		t.Error("the connection from before was closed")
	}
}

// TestSilentCallersMakeRoom: callers that send nothing, the beginning of a request, a request for another host, or a wrong token, shut no one
// out, however many they are.
func TestSilentCallersMakeRoom(t *testing.T) {
	host := startHost(t)
	for name, sent := range map[string]string{
		"nothing": "", "a beginning": "GET /v1/health HT", "half a header": "GET /v1/health HTTP/1.1\r\nHost: local", "no token": health,
		"a wrong token": "GET /v1/health HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n", "another host": "GET / HTTP/1.1\r\nHost: other\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			address := bounded(t, host, 64, func(c *api.Config) { c.Token = "secret" })
			with := strings.Replace(health, "\r\n\r\n", "\r\nAuthorization: Bearer secret\r\n\r\n", 1)
			before := dial(t, address)
			if before.says(with); before.status() != 200 {
				t.Fatal("the token is refused")
			}
			for range 100 {
				dial(t, address).says(sent)
			}
			after := dial(t, address)
			if after.says(with); after.status() != 200 {
				t.Error("who has the token is shut out")
			}
			if before.says(with); before.status() != 200 {
				t.Error("the connection from before was closed")
			}
		})
	}
}

// TestBusyServerRefuses: when every place has a request under way, a new connection is told so; a body that does not come is none.
func TestBusyServerRefuses(t *testing.T) {
	host := startHost(t)
	do(t, host, "agent-ada", create(ada))
	address := bounded(t, host, 64, func(c *api.Config) { c.Feeds = 100 })
	for range 4 {
		slow := dial(t, address)
		slow.says("POST /v1/agents/ada/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	}
	for range 16 {
		feed := dial(t, address)
		if feed.says(openFeed); feed.status() != 200 {
			t.Fatal("a slow body keeps out a feed")
		}
	}
	late := dial(t, address)
	late.says(health)
	answer, err := http.ReadResponse(late.reader, nil)
	if err != nil || answer.StatusCode != 503 || answer.Header.Get("Retry-After") != "1" || answer.Header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%v, %v", answer, err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); err != nil || !strings.Contains(string(body), `"code":"unavailable"`) || !strings.Contains(string(body), "there are 16 connections") {
		t.Errorf("%s, %v", body, err)
	}
}

// TestNoFileLeft: a host that has too many files open says so, and that it passes.
func TestNoFileLeft(t *testing.T) {
	server := serve(t, &fake{err: fmt.Errorf("append: %w", &os.PathError{Op: "open", Err: syscall.EMFILE})})
	answer := request(t, server, "POST", "/v1/agents", `{"config":{"model":"fake/one"}}`)
	if answer.wantProblem(t, 503, "unavailable", "no file left to open"); answer.Header.Get("Retry-After") != "1" {
		t.Errorf("%v", answer.Header)
	}
}
