package sandbox

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"example.com/life/adapters/network"
)

// TestCommandsReachWhatIsAllowed: through the proxy, and nothing else; a command without an allow-list has no proxy.
func TestCommandsReachWhatIsAllowed(t *testing.T) {
	s := newStage(t, LevelNamespaces)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello from the host") }))
	t.Cleanup(server.Close)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "out of reach") }))
	t.Cleanup(other.Close)
	rule, err := network.ParseRule(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	// get ADDRESS asks the proxy for a page.
	const get = `get() { exec 3<>/dev/tcp/127.0.0.1/3128 || return; printf 'GET http://%s/ HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$1" "$1" >&3; cat <&3; echo; }; `

	exit, output, err := s.bash(t.Context(), get+`get `+server.Listener.Addr().String()+`; echo "proxy: $HTTPS_PROXY"`)
	if err != nil || strings.Contains(output, "hello") || !strings.Contains(output, "proxy: \n") || len(exit.Network) > 0 {
		t.Errorf("without an allow-list: %v\n%s%v", err, output, exit.Network)
	}
	closed := exit.Confined

	s.config.Network = network.New([]network.Rule{rule})
	_, port, err := net.SplitHostPort(other.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // with and without a supervisor that was there before
		exit, output, err = s.bash(t.Context(), get+`get `+server.Listener.Addr().String()+`; get `+other.Listener.Addr().String()+
			`; (exec 4<>/dev/tcp/127.0.0.1/`+port+`) 2>/dev/null && echo escaped; echo "proxies: $https_proxy $HTTP_PROXY, not for $NO_PROXY"`)
		if err != nil || exit.Code != 0 {
			t.Fatalf("%v %+v\n%s", err, exit, output)
		}
		for want, is := range map[string]bool{
			"hello from the host": true, "out of reach": false, "escaped": false, "network_refused: " + other.Listener.Addr().String(): true,
			"proxies: http://127.0.0.1:3128 http://127.0.0.1:3128, not for localhost,::1": true,
		} {
			if strings.Contains(output, want) != is {
				t.Errorf("%q in the output should be %v:\n%s", want, is, output)
			}
		}
		told := strings.Join(exit.Network, "\n")
		if len(exit.Network) != 2 || !strings.Contains(told, server.Listener.Addr().String()+": ") || !strings.Contains(told, other.Listener.Addr().String()+": refused") {
			t.Errorf("it is told:\n%s", told)
		}
		if exit.Confined == closed {
			t.Error("what confined it should differ from what confines commands that reach nothing")
		}
	}

	// A command that holds a connection open ends, and its connection, when its time is over.
	ctx, cancel := context.WithCancel(t.Context())
	began := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { close(began); <-r.Context().Done() }))
	t.Cleanup(hanging.Close)
	if rule, err = network.ParseRule(hanging.Listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	s.config.Network = network.New([]network.Rule{rule})
	go func() { <-began; cancel() }()
	exit, output, err = s.bash(ctx, get+`get `+hanging.Listener.Addr().String())
	if ctx.Err() == nil || err == nil || len(exit.Network) != 1 {
		t.Errorf("%v %v\n%s", err, exit.Network, output)
	}
	asNobody(t)
}

// TestNetworkTakesNamespaces: where the allow-list cannot be kept, nothing is reached, and that is said.
func TestNetworkTakesNamespaces(t *testing.T) {
	s := newStage(t, LevelLandlock)
	s.config.Network = network.New([]network.Rule{{Host: "example.com"}})
	exit, output, err := s.bash(t.Context(), `echo "proxy: $HTTPS_PROXY"`)
	if err != nil || !strings.Contains(output, "proxy: \n") || len(exit.Network) != 1 || !strings.Contains(exit.Network[0], "takes namespaces") {
		t.Errorf("%v %v\n%s", err, exit.Network, output)
	}
}
