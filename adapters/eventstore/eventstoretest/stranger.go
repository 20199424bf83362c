package eventstoretest

import (
	"io"
	"net"
)

// Stranger is what listens at a node's address in place of EventStoreDB. It returns when it is done with the connection.
type Stranger func(conn net.Conn)

// WebServer answers everything as HTTP/1.1.
func WebServer(conn net.Conn) {
	defer conn.Close() //nolint:errcheck // nothing can be done
	if _, err := conn.Read(make([]byte, 1024)); err == nil {
		io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: 12\r\nConnection: close\r\n\r\nBad Request\n") //nolint:errcheck // the other side may be gone
	}
}

// Mute takes everything and says nothing.
func Mute(conn net.Conn) {
	defer conn.Close()        //nolint:errcheck // nothing can be done
	io.Copy(io.Discard, conn) //nolint:errcheck // until the other side has enough
}

// Shy closes connections as soon as they are made.
func Shy(conn net.Conn) { conn.Close() } //nolint:errcheck // nothing can be done

// Babbler answers with bytes that mean nothing.
func Babbler(conn net.Conn) {
	defer conn.Close() //nolint:errcheck // nothing can be done
	babble := make([]byte, 4096)
	for i := range babble {
		babble[i] = byte(i*i>>3 ^ 0x5a)
	}
	for {
		if _, err := conn.Read(make([]byte, 1024)); err != nil {
			return
		}
		if _, err := conn.Write(babble); err != nil {
			return
		}
	}
}

// Impersonate has something else listen at the node's address; nil ends that. The node itself is then killed, or started again.
func (n *Node) Impersonate(stranger Stranger) {
	n.Kill()
	n.cluster.mu.Lock()
	n.stranger = stranger
	n.cluster.mu.Unlock()
	n.Restart()
}
