package eventstoretest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
)

// port is a port of the loopback that stays a node's own: a socket that does not listen is bound to it all the time.
type port struct {
	number int
	socket int
}

func reserve() (*port, error) {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	p := &port{socket: socket}
	if err := p.bind(); err != nil {
		p.release()
		return nil, fmt.Errorf("reserve a port: %w", err)
	}
	return p, nil
}

func (p *port) bind() error {
	if err := syscall.SetsockoptInt(p.socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := syscall.Bind(p.socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	name, err := syscall.Getsockname(p.socket)
	if err != nil {
		return err
	}
	at, ok := name.(*syscall.SockaddrInet4)
	if !ok {
		return fmt.Errorf("a socket of the loopback has the name %v", name)
	}
	p.number = at.Port
	return nil
}

func (p *port) release() { syscall.Close(p.socket) } //nolint:errcheck // nothing can be done

func (p *port) listen() (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(context.Background(), "tcp4", fmt.Sprintf("127.0.0.1:%d", p.number))
}

// network is a node's listener and its connections, which can be made to stand still.
type network struct {
	net.Listener
	stranger Stranger
	in, out  gate

	mu    sync.Mutex
	conns map[*conn]struct{}
	wait  sync.WaitGroup // strangers
	ended chan struct{}
}

func newNetwork(listener net.Listener, stranger Stranger) *network {
	return &network{Listener: listener, stranger: stranger, conns: map[*conn]struct{}{}, ended: make(chan struct{})}
}

// Accept implements net.Listener. While nothing arrives the kernel makes connections all the same, and nobody takes them up.
func (w *network) Accept() (net.Conn, error) {
	for {
		accepted, err := w.Listener.Accept()
		if err != nil {
			return nil, err
		}
		made := &conn{Conn: accepted, network: w, closed: make(chan struct{})}
		w.mu.Lock()
		w.conns[made] = struct{}{}
		w.mu.Unlock()
		if w.stranger == nil {
			return made, nil
		}
		w.wait.Go(func() { w.stranger(made) })
	}
}

// Close implements net.Listener.
func (w *network) Close() error {
	err := w.Listener.Close()
	w.reset()
	w.wait.Wait()
	return err
}

// hold says what stands still from now on.
func (w *network) hold(reads, writes bool) {
	w.in.shut(reads)
	w.out.shut(writes)
}

// reset ends the listener, and all connections with a reset.
func (w *network) reset() {
	w.Listener.Close() //nolint:errcheck // it may be closed already
	w.mu.Lock()
	conns := w.conns
	w.conns = map[*conn]struct{}{}
	w.mu.Unlock()
	for made := range conns {
		made.Conn.(*net.TCPConn).SetLinger(0) //nolint:errcheck // then it is closed in the other way
		made.Close()                          //nolint:errcheck // it may be closed already
	}
}

// drop resets the connection with a client.
func (w *network) drop(client string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for made := range w.conns {
		if made.RemoteAddr().String() == client {
			made.Conn.(*net.TCPConn).SetLinger(0) //nolint:errcheck // then it is closed in the other way
			made.Conn.Close()                     //nolint:errcheck // it may be closed already
		}
	}
}

// gate is passed or waited at.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // is closed when the gate is opened; nil: it is open
}

func (g *gate) shut(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case shut && g.open == nil:
		g.open = make(chan struct{})
	case !shut && g.open != nil:
		close(g.open)
		g.open = nil
	}
}

// pass waits until the gate is open; false when the connection was closed before.
func (g *gate) pass(closed <-chan struct{}) bool {
	for {
		g.mu.Lock()
		open := g.open
		g.mu.Unlock()
		if open == nil {
			return true
		}
		select {
		case <-open:
		case <-closed:
			return false
		}
	}
}

// conn is one connection with a node.
type conn struct {
	net.Conn
	network *network
	once    sync.Once
	closed  chan struct{}
}

// Read implements net.Conn.
func (c *conn) Read(into []byte) (int, error) {
	n, err := c.Conn.Read(into)
	if !c.network.in.pass(c.closed) {
		return 0, net.ErrClosed
	}
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(data []byte) (int, error) {
	if !c.network.out.pass(c.closed) {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(data)
}

// Close implements net.Conn. A connection that stands still is closed for the others when it moves again.
func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	c.network.mu.Lock()
	delete(c.network.conns, c)
	c.network.mu.Unlock()
	return c.Conn.Close()
}
