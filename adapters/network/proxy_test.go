package network

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// proxied is a proxy by which a server can be reached, and a client that goes through it.
func proxied(t *testing.T, tls bool, handler http.HandlerFunc) (*Proxy, *httptest.Server, *http.Client) {
	t.Helper()
	start := httptest.NewServer
	if tls {
		start = httptest.NewTLSServer
	}
	server := start(handler)
	t.Cleanup(server.Close)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x := New(rules(t, server.Listener.Addr().String())).Proxy(listener)
	client := server.Client()
	transport, ok := client.Transport.(*http.Transport)
	if !ok {
		t.Fatal("it has another transport")
	}
	transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: listener.Addr().String()})
	t.Cleanup(transport.CloseIdleConnections)
	return x, server, client
}

func get(t *testing.T, client *http.Client, address string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return response.StatusCode, string(body) + err.Error()
	}
	return response.StatusCode, string(body)
}

func TestProxy(t *testing.T) {
	for name, tls := range map[string]bool{"requests": false, "tunnels": true} {
		t.Run(name, func(t *testing.T) {
			x, server, client := proxied(t, tls, func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, "hello from ", r.Host, r.Header.Get("X-Forwarded-For"))
			})
			at := server.Listener.Addr().String()
			for range 2 {
				if status, body := get(t, client, server.URL); status != http.StatusOK || body != "hello from "+at {
					t.Errorf("%d %s", status, body)
				}
			}
			for _, address := range []string{"http://169.254.169.254/latest", "https://evil.example/", "http://localhost:1/"} {
				if status, body := get(t, client, address); status == http.StatusOK || !strings.Contains(body, "network_refused") && !strings.Contains(body, "Forbidden") {
					t.Errorf("%s: %d %s", address, status, body)
				}
			}
			told := strings.Join(x.Close(), "\n")
			for _, want := range []string{at, "bytes", "169.254.169.254:80: refused", "evil.example:443: refused", "localhost:1: refused"} {
				if !strings.Contains(told, want) {
					t.Errorf("%q is not in\n%s", want, told)
				}
			}
		})
	}
}

// TestProxyEnds: a tunnel that is open ends with the proxy.
func TestProxyEnds(t *testing.T) {
	began := make(chan struct{})
	x, server, _ := proxied(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		close(began)
		<-r.Context().Done()
	})
	conn := tunnel(t, x, server)
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-began
	told := x.Close()
	if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
	if len(told) != 1 || !strings.Contains(told[0], server.Listener.Addr().String()) {
		t.Error(told)
	}
}

// tunnel is a connection through a proxy, as CONNECT makes it.
func tunnel(t *testing.T, x *Proxy, server *httptest.Server) net.Conn {
	t.Helper()
	here, there := net.Pipe()
	t.Cleanup(func() { _ = here.Close() })
	x.serving.Go(func() {
		_ = x.server.Serve(&once{conns: []net.Conn{there}, closed: x.ctx.Done()})
	})
	fmt.Fprintf(here, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", server.Listener.Addr())
	response, err := http.ReadResponse(bufio.NewReader(here), &http.Request{Method: http.MethodConnect})
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(err, response)
	}
	return here
}

// once is a listener with some connections.
type once struct {
	conns  []net.Conn
	closed <-chan struct{}
}

func (o *once) Accept() (net.Conn, error) {
	if len(o.conns) == 0 {
		<-o.closed
		return nil, net.ErrClosed
	}
	conn := o.conns[0]
	o.conns = o.conns[1:]
	return conn, nil
}
func (o *once) Close() error   { return nil }
func (o *once) Addr() net.Addr { return &net.TCPAddr{} }

// TestProxyIsBounded: what one command may transfer is less than what a server would send.
func TestProxyIsBounded(t *testing.T) {
	x, server, client := proxied(t, true, func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	x.left.Store(1 << 20) // and what one read takes more
	if status, body := get(t, client, server.URL); len(body) > 1<<20+64<<10 {
		t.Errorf("%d: %d bytes", status, len(body))
	}
	if _, body := get(t, client, server.URL); !strings.Contains(body, "EOF") && !strings.Contains(body, "reset") {
		t.Errorf("the next connection got %q", body)
	}
	x.Close()
}

// TestProxyRefusesOthers: what is no request to a proxy reaches nothing.
func TestProxyRefusesOthers(t *testing.T) {
	closed := make(chan struct{})
	x := New(nil).Proxy(&once{closed: closed})
	t.Cleanup(func() { close(closed); x.Close() })
	for _, request := range []*http.Request{
		httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://a.example/", nil),
		httptest.NewRequestWithContext(t.Context(), http.MethodGet, "file:///etc/passwd", nil), httptest.NewRequestWithContext(t.Context(), http.MethodOptions, "*", nil),
	} {
		w := httptest.NewRecorder()
		x.ServeHTTP(w, request)
		if w.Code != http.StatusBadRequest {
			t.Errorf("%s %s: %d", request.Method, request.URL, w.Code)
		}
	}
}
