// Package endpointtest plays endpoints for the tests of the dialects: what they send, byte for byte, and how they end it.
package endpointtest

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/life/adapters/providers/endpoint"
)

// Key is one whose every character needs care: it is escaped in JSON and in URLs.
const Key = "sk-test/Zm9v+YmFy=<0123456789>"

// stream is the media type of one.
const stream = "text/event-stream"

// Wire is what an endpoint does with a request: it sends the body in these pieces, each flushed, and then ends.
type Wire struct {
	Status int
	Header map[string]string // Content-Type is that of a stream unless it is here
	Pieces []string
	Gzip   bool
	End    func(w http.ResponseWriter, r *http.Request) // nil: a clean end
}

// Send answers a request.
func (s Wire) Send(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", stream+"; charset=utf-8")
	for name, value := range s.Header {
		w.Header().Set(name, value)
	}
	var out io.Writer = w
	flush := http.NewResponseController(w).Flush
	if s.Gzip && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		zip := gzip.NewWriter(w)
		defer func() {
			if err := zip.Close(); err != nil {
				return // the client has gone
			}
		}()
		out = zip
		flush = func() error { return zip.Flush() }
	}
	if s.Status != 0 {
		w.WriteHeader(s.Status)
	}
	for _, piece := range s.Pieces {
		if _, err := io.WriteString(out, piece); err != nil {
			return
		}
		if flush() != nil {
			return
		}
	}
	if s.End != nil {
		if http.NewResponseController(w).Flush() == nil { // so that the client has the headers
			s.End(w, r)
		}
	}
}

// Whole is a body that is not streamed.
func Whole(status int, body string) Wire {
	return Wire{Status: status, Header: map[string]string{"Content-Type": "application/json"}, Pieces: []string{body}}
}

// Hang says nothing more until the client has gone.
func Hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// Reset cuts the connection with a RST.
func Reset(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		if err := tcp.SetLinger(0); err != nil {
			panic(err)
		}
	}
	if err := conn.Close(); err != nil {
		panic(err)
	}
}

// Serve opens an endpoint on loopback, and returns how to reach it.
func Serve(t testing.TB, handler http.Handler) endpoint.Config {
	t.Helper()
	server, transport := httptest.NewServer(handler), &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	return endpoint.Config{BaseURL: server.URL, Key: Key, Client: &http.Client{Transport: transport}}
}

// Bytes cuts a stream into single bytes, within characters too.
func Bytes(pieces ...string) []string {
	whole := strings.Join(pieces, "")
	cut := make([]string, len(whole))
	for i := range len(whole) {
		cut[i] = whole[i : i+1]
	}
	return cut
}

// Quote is a text as JSON.
func Quote(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(quoted)
}

// Canned is a transport that needs no network: it answers every request with this body.
type Canned struct {
	Status int
	Media  string // its Content-Type; empty: it has none
	Body   io.ReadCloser
}

// RoundTrip implements http.RoundTripper.
func (c Canned) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		if err := r.Body.Close(); err != nil {
			return nil, err
		}
	}
	header := http.Header{}
	if c.Media != "" {
		header.Set("Content-Type", c.Media)
	}
	return &http.Response{
		StatusCode: c.Status, Header: header, Body: c.Body, Request: r, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

// Steps is a transport whose body comes in pieces, each after some time; after the last one nothing comes.
type Steps struct {
	Pieces []string
	Wait   time.Duration
}

// RoundTrip implements http.RoundTripper.
func (s *Steps) RoundTrip(r *http.Request) (*http.Response, error) {
	return Canned{Status: 200, Media: stream, Body: &stepsBody{steps: *s, ended: r.Context().Done()}}.RoundTrip(r)
}

type stepsBody struct {
	steps Steps
	ended <-chan struct{} // of the request
}

func (b *stepsBody) Read(into []byte) (int, error) {
	wait := b.steps.Wait
	if len(b.steps.Pieces) == 0 {
		wait = 1000 * time.Hour
	}
	select {
	case <-time.After(wait):
	case <-b.ended:
		return 0, context.Canceled
	}
	if len(b.steps.Pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(into, b.steps.Pieces[0])
	b.steps.Pieces = b.steps.Pieces[1:]
	return n, nil
}

func (b *stepsBody) Close() error { return nil }
