package peers

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/life/actors/membership"
	"example.com/life/events"
)

// TestSlowFrames: a frame may begin when it likes; once it has begun, it has its time, however slowly its bytes come.
func TestSlowFrames(t *testing.T) {
	whole := frame{kind: kindCall, id: 1, body: bytes.Repeat([]byte("x"), 2*preparing)}
	for _, test := range []struct {
		name  string
		sent  int // bytes, in all
		every time.Duration
	}{
		{"in the head", 3, 0},
		{"after the head", frameHead, 0},
		{"in the body", frameHead + 5, 0},
		{"byte by byte", frameHead + 100, time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				here, there := net.Pipe()
				var sender sync.WaitGroup
				defer sender.Wait()
				defer here.Close()
				defer there.Close()
				sender.Go(func() {
					<-time.After(time.Hour)
					var encoded bytes.Buffer
					if err := send(pipe{Writer: &encoded}, whole); err != nil {
						panic(err)
					}
					if test.every == 0 {
						_, _ = there.Write(encoded.Bytes()[:test.sent])
						return
					}
					for _, b := range encoded.Bytes()[:test.sent] {
						_ = there.SetWriteDeadline(time.Now().Add(time.Minute))
						if _, err := there.Write([]byte{b}); err != nil {
							return
						}
						<-time.After(test.every)
					}
				})
				began := time.Now()
				_, err := newFrames(here).next()
				if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took > time.Hour+2*frameTime {
					t.Errorf("%v after %s", err, took)
				}
			})
		})
	}
}

// TestStuckWriter: a host that takes nothing loses its connection.
func TestStuckWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer here.Close()
		defer there.Close()
		out := newOutbox(here, nil)
		out.frames <- frame{kind: kindCall, body: []byte("x")}
		began := time.Now()
		if err := out.run(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != frameTime {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

// pipe is a connection of a reader and a writer.
type pipe struct {
	io.Reader
	io.Writer
	net.Conn
}

func (p pipe) Read(b []byte) (int, error)      { return p.Reader.Read(b) }
func (p pipe) Write(b []byte) (int, error)     { return p.Writer.Write(b) }
func (p pipe) SetReadDeadline(time.Time) error { return nil }

// FuzzFrames: whatever arrives is read as frames that can be written again, or is an error.
func FuzzFrames(f *testing.F) {
	var some bytes.Buffer
	for _, of := range []frame{{kind: kindHello, body: []byte("{}")}, {kind: kindCall, id: 7, left: 9, body: make([]byte, 300)}, {kind: 255}} {
		if err := send(pipe{Writer: &some}, of); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(some.Bytes())
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{0, 0x80, 0, 1, 5})
	f.Fuzz(func(t *testing.T, sent []byte) {
		in := newFrames(pipe{Reader: bytes.NewReader(sent)})
		var again bytes.Buffer
		for {
			read, err := in.next()
			if err != nil {
				break
			}
			if err := send(pipe{Writer: &again}, read); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.HasPrefix(sent, again.Bytes()) {
			t.Errorf("%x was read as %x", sent, again.Bytes())
		}
	})
}

// FuzzBodies: what can be read is written so that it is read as the same.
func FuzzBodies(f *testing.F) {
	for _, value := range []any{
		hello{Host: "a#1"},
		membership.Ping{From: "a#1", Epoch: 3},
		membership.Pong{Host: "b#2", Settled: -1, Entities: 5},
		membership.Question{Suspect: "c#3"},
		membership.Heard{Known: true, Within: 5},
		Failure{Code: CodeBusy, Detail: "later"},
		events.BlobRef{Size: 3, Media: "text/plain"},
	} {
		f.Add(encode(value))
	}
	f.Add([]byte(`{"epoch":"1"} `))
	f.Add([]byte(`{"epoch":1e99}`))
	f.Add([]byte(`[[[[[[[[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		same[hello](t, body)
		same[membership.Ping](t, body)
		same[membership.Pong](t, body)
		same[membership.Question](t, body)
		same[membership.Heard](t, body)
		same[Failure](t, body)
		same[events.BlobRef](t, body)
	})
}

func same[T any](t *testing.T, body []byte) {
	t.Helper()
	var read, again T
	if decode(body, &read) != nil {
		return
	}
	if err := decode(encode(read), &again); err != nil || !reflect.DeepEqual(read, again) {
		t.Errorf("%q was read as %+v, and that as %+v: %v", body, read, again, err)
	}
}
