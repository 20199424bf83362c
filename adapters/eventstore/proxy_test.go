package eventstore_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// proxy stands between a journal and a server, and treats connections as bad networks do.
type proxy struct {
	t        testing.TB
	listener net.Listener
	target   string
	wait     sync.WaitGroup

	delay   atomic.Int64 // of each piece that passes, in nanoseconds
	away    atomic.Bool  // connections are closed as soon as they are accepted
	refused atomic.Int64 // so many

	mu    sync.Mutex
	pairs map[*pair]struct{}
	held  chan struct{} // nothing passes until it is closed; nil: everything does
}

// pair is one connection through the proxy.
type pair struct{ client, server *net.TCPConn }

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, listener: listener, target: target, pairs: map[*pair]struct{}{}}
	p.wait.Go(p.accept)
	t.Cleanup(func() {
		listener.Close()
		p.cut()
		p.wait.Wait()
	})
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil || p.away.Load() {
			p.refused.Add(1)
			client.Close()
			if err == nil {
				server.Close()
			}
			continue
		}
		made := &pair{client: client.(*net.TCPConn), server: server.(*net.TCPConn)}
		p.mu.Lock()
		p.pairs[made] = struct{}{}
		p.mu.Unlock()
		p.wait.Go(func() { p.pass(made.client, made.server) })
		p.wait.Go(func() { p.pass(made.server, made.client) })
	}
}

// pass copies one way, and closes that way when it ends.
func (p *proxy) pass(from, to *net.TCPConn) {
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		p.linger()
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				from.Close()
				return
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				to.CloseWrite()
			} else {
				to.Close()
			}
			return
		}
	}
}

// linger is how long a piece is on its way.
func (p *proxy) linger() {
	p.mu.Lock()
	held := p.held
	p.mu.Unlock()
	if held != nil {
		<-held
	}
	if d := time.Duration(p.delay.Load()); d > 0 {
		<-time.After(d)
	}
}

// hold lets nothing pass, without a connection being lost, until what it returns is called.
func (p *proxy) hold() (release func()) {
	held := make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = held
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.held = nil
		close(held)
	})
}

// each does something to every connection there is.
func (p *proxy) each(do func(made *pair)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for made := range p.pairs {
		do(made)
	}
}

// cut ends all connections at once, with whatever is on its way.
func (p *proxy) cut() {
	p.each(func(made *pair) {
		made.client.SetLinger(0)
		made.server.SetLinger(0)
		made.client.Close()
		made.server.Close()
		delete(p.pairs, made)
	})
}

// halve ends the server's half of all connections: the client may still speak, and nobody answers.
func (p *proxy) halve() {
	p.each(func(made *pair) { made.client.CloseWrite() })
}

// leave makes the store unreachable; back ends that.
func (p *proxy) leave() {
	p.away.Store(true)
	p.cut()
}

func (p *proxy) back() { p.away.Store(false) }
