package api

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// piped is a listener that one connection comes to.
type piped struct {
	net.Listener
	conn net.Conn
}

func (p piped) Accept() (net.Conn, error) { return p.conn, nil }

// TestSlowReaderIsCutOff: a client that takes its answer slowly gets it, and one that does not take it is cut off.
func TestSlowReaderIsCutOff(t *testing.T) {
	for name, reads := range map[string]bool{"slow": true, "not at all": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				here, there := net.Pipe()
				conn, err := Bound(piped{conn: here}, 64, slog.New(slog.DiscardHandler)).Accept()
				if err != nil {
					t.Fatal(err)
				}
				placeOf(new(Connections).Context(t.Context(), conn)).Prove()
				var reading sync.WaitGroup
				defer reading.Wait()
				if reads {
					reading.Go(func() {
						piece := make([]byte, writePiece)
						for _, err := io.ReadFull(there, piece); err == nil; _, err = io.ReadFull(there, piece) {
							<-time.After(writeTime / 2) // of the bubble
						}
					})
				}
				began := time.Now()
				n, err := conn.Write(make([]byte, 10*writePiece))
				if took := time.Since(began); reads && (err != nil || n != 10*writePiece || took < 2*writeTime) || !reads && (!errors.Is(err, os.ErrDeadlineExceeded) || took != writeTime) {
					t.Errorf("%d bytes were written in %s: %v", n, took, err)
				}
				if err := conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
					t.Fatal(err)
				}
				if began = time.Now(); !reads {
					if _, err = conn.Write([]byte("x")); time.Since(began) != time.Second || !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("a handler's own deadline is not kept: %v", err)
					}
				}
				if err := errors.Join(conn.Close(), there.Close()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
