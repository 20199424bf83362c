package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// TestFirstCallIsLate: a client of gRPC may connect and not call for a while; its connection is gRPC's then, with all that came so far.
func TestFirstCallIsLate(t *testing.T) {
	s, err := New(Config{Store: newGuardConfig(t, UsersConfig{}).Store, Listen: "127.0.0.1:0", Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	s.port.firstCall = time.Nanosecond // every call is late
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()
	defer func() {
		s.Close(context.Background())
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	for range 10 {
		conn, err := grpc.NewClient(s.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := gossip.NewGossipClient(conn).Read(t.Context(), &shared.Empty{}); err != nil {
			t.Error(err)
		}
		conn.Close()
	}
}

// frames writes what a client sends: the preface, and then what is asked for.
func frames(t testing.TB, write func(*http2.Framer) error) []byte {
	t.Helper()
	var sent bytes.Buffer
	sent.WriteString(http2.ClientPreface)
	if err := write(http2.NewFramer(&sent, nil)); err != nil {
		t.Fatal(err)
	}
	return sent.Bytes()
}

func headers(t testing.TB, f *http2.Framer, stream uint32, fields ...string) error {
	t.Helper()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		if err := encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			t.Fatal(err)
		}
	}
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
}

func isRequest(path, contentType string) []string {
	return []string{":method", "GET", ":scheme", "http", ":path", path, ":authority", "localhost", "content-type", contentType}
}

func TestFirstRequest(t *testing.T) {
	for name, c := range map[string]struct {
		sent     func(f *http2.Framer) error
		ordinary bool
	}{
		"health": {func(f *http2.Framer) error { return headers(t, f, 1, isRequest("/health/live", "")...) }, true},
		"health after others": {func(f *http2.Framer) error {
			for _, err := range []error{f.WriteSettings(), f.WriteWindowUpdate(0, 1000), f.WriteSettingsAck(), f.WritePing(false, [8]byte{})} {
				if err != nil {
					return err
				}
			}
			return headers(t, f, 1, isRequest("/health/live", "text/plain")...)
		}, true},
		"grpc":       {func(f *http2.Framer) error { return headers(t, f, 1, isRequest("/s.S/M", "application/grpc")...) }, false},
		"grpc+proto": {func(f *http2.Framer) error { return headers(t, f, 1, isRequest("/s.S/M", "application/grpc+proto")...) }, false},
		"nothing":    {func(*http2.Framer) error { return nil }, false},
		"data first": {func(f *http2.Framer) error { return f.WriteData(1, true, []byte("x")) }, false},
		"a large frame": {func(f *http2.Framer) error {
			if err := f.WriteRawFrame(http2.FrameSettings, 0, 0, make([]byte, 6*maxFrame)); err != nil {
				return err
			}
			return headers(t, f, 1, isRequest("/health/live", "")...)
		}, false},
		"no end of it": {func(f *http2.Framer) error {
			for range maxFirst / 8 {
				if err := f.WritePing(false, [8]byte{}); err != nil {
					return err
				}
			}
			return headers(t, f, 1, isRequest("/health/live", "")...)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			all := frames(t, c.sent)
			conn := bytes.NewReader(all)
			read, ordinary := firstRequest(conn)
			if ordinary != c.ordinary {
				t.Errorf("ordinary: %t", ordinary)
			}
			if len(read) > maxFirst+maxFrame {
				t.Errorf("%d bytes were read", len(read))
			}
			rest, err := io.ReadAll(conn)
			if got := append(read, rest...); err != nil || !bytes.Equal(got, all) {
				t.Errorf("%d bytes of %d are left to read again: %v", len(got), len(all), err)
			}
		})
	}
}

// TestUnacknowledged takes the first acknowledgement of settings out of what a client sends, and nothing else.
func TestUnacknowledged(t *testing.T) {
	settings := func(f *http2.Framer) error {
		return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	}
	request := func(f *http2.Framer) error { return headers(t, f, 1, isRequest("/health/live", "")...) }
	ack := (*http2.Framer).WriteSettingsAck
	for name, c := range map[string]struct{ with, without []func(*http2.Framer) error }{
		"before the request": {[]func(*http2.Framer) error{settings, ack, request, ack}, []func(*http2.Framer) error{settings, request, ack}},
		"after the request":  {[]func(*http2.Framer) error{settings, request, ack, ack, request}, []func(*http2.Framer) error{settings, request, ack, request}},
		"never":              {[]func(*http2.Framer) error{settings, request}, []func(*http2.Framer) error{settings, request}},
	} {
		all := func(list []func(*http2.Framer) error) []byte {
			return frames(t, func(f *http2.Framer) error {
				for _, write := range list {
					if err := write(f); err != nil {
						return err
					}
				}
				return nil
			})
		}
		for _, slow := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.HalfReader} {
			got, err := io.ReadAll(slow(&unacknowledged{from: slow(bytes.NewReader(all(c.with))), frame: len(http2.ClientPreface)}))
			if err != nil || !bytes.Equal(got, all(c.without)) {
				t.Errorf("%s: %d bytes, want %d: %v", name, len(got), len(all(c.without)), err)
			}
		}
	}
}

// FuzzFirstRequest: whatever comes first is read again as it came, and bounded.
func FuzzFirstRequest(f *testing.F) {
	f.Add(frames(f, func(framer *http2.Framer) error { return headers(f, framer, 1, isRequest("/health/live", "")...) }))
	f.Add(frames(f, func(framer *http2.Framer) error {
		return headers(f, framer, 1, isRequest("/s.S/M", "application/grpc")...)
	}))
	f.Add([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x01\x00\x00\x00\x00"))
	f.Add([]byte("PRI nonsense"))
	f.Fuzz(func(t *testing.T, all []byte) {
		conn := bytes.NewReader(all)
		read, _ := firstRequest(conn)
		if len(read) > maxFirst+4*maxHeaders {
			t.Errorf("%d bytes were read", len(read))
		}
		rest, err := io.ReadAll(conn)
		if err != nil || !bytes.Equal(slices.Concat(read, rest), all) {
			t.Errorf("what was read is not what was sent: %v", err)
		}
		filtered, err := io.ReadAll(&unacknowledged{from: bytes.NewReader(all), frame: len(http2.ClientPreface)})
		if err != nil && len(filtered) > len(all) {
			t.Errorf("%d bytes became %d: %v", len(all), len(filtered), err)
		}
	})
}

// TestAcknowledgementIsKept: the filter counts the length of a frame as HTTP/2 writes it.
func TestAcknowledgementIsKept(t *testing.T) {
	long := make([]byte, frameHeader+70_000)
	binary.BigEndian.PutUint32(long, 70_000<<8)
	all := append([]byte(http2.ClientPreface), long...)
	got, err := io.ReadAll(&unacknowledged{from: bytes.NewReader(all), frame: len(http2.ClientPreface)})
	if err != nil || !bytes.Equal(got, all) {
		t.Errorf("%d bytes of %d came through: %v", len(got), len(all), err)
	}
}
