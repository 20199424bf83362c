package api

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"example.com/life/sagas/strictjson"
)

// FuzzBodies: whatever bytes come as a body, they are read or refused as the client's mistake; what is read is the same when it is
// written and read again.
func FuzzBodies(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `[]`, `{"agent":"a","config":{"model":"m","tools":["x"],"limits":{"tokens":"5","rounds":3}}}`,
		`{"text":"\ud800"}`, `{"micro_dollars":"9223372036854775807"}`, `{"micro_dollars":"-0"}`, `{"call":"1.1","call":"1.1"}`,
		"{\"by\":\"\xff\"}", `{"a":` + strings.Repeat("[", 200), `{"model":"m","policy":{"ask":["*"],"on_lost":"tell"}}`, `{"ſ":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		bodies := []any{&forkBody{}, &publishBody{}, &settleBody{}, &rebuildBody{}, &struct{}{}}
		for _, c := range commandRoutes() {
			bodies = append(bodies, c.open(nil).body)
		}
		for _, into := range bodies {
			err := decodeJSON(raw, into)
			var p *Problem
			if err != nil {
				if !errors.As(err, &p) || p.Status != http.StatusBadRequest || p.Detail == "" {
					t.Errorf("%T from %q: %v", into, raw, err)
				}
				continue
			}
			written, err := strictjson.Write(into)
			if err != nil {
				t.Fatal(err)
			}
			again := reflect.New(reflect.TypeOf(into).Elem()).Interface()
			if err := decodeJSON(written, again); err != nil || !same(into, again) {
				t.Errorf("%T from %q: written as %s, read again as %+v, %v", into, raw, written, again, err)
			}
		}
	})
}

// same compares what was read, taking an empty list for no list.
func same(a, b any) bool {
	x, err := strictjson.Write(a)
	y, failed := strictjson.Write(b)
	return err == nil && failed == nil && bytes.Equal(x, y)
}

// FuzzRequests: no request, however odd, is the server's failure or panics.
func FuzzRequests(f *testing.F) {
	for _, seed := range []struct{ method, path, query, header, value, body string }{
		{"GET", "/v1/agents", "limit=5&after=a", "", "", ""},
		{"GET", "/v1/agents/ada/events", "from=1&limit=5&direction=backward", "", "", ""},
		{"GET", "/v1/streams/a%2Fb/events", "bytes=1", "Range", "bytes=0-", ""},
		{"GET", "/v1/agents/ada/feed", "after=-1", "Last-Event-ID", "7", ""},
		{"POST", "/v1/agents/ada/messages", "", "Idempotency-Key", "k", `{"text":"x"}`},
		{"POST", "/v1/agents", "", "Traceparent", "00-x", `{"config":{}}`},
		{"PUT", "/v1/agents/../config", "", "Origin", "null", `{}`},
		{"GET", "/v1/agents/ada/state", "at=turn:3.1", "", "", ""},
		{"GET", "/v1/agents/ada/diff", "from=3&to=turn:1", "Accept", "application/x-ndjson", ""},
		{"GET", "/v1/agents/ada/history", "from=turn:1&direction=forward&limit=3", "", "", ""},
		{"GET", "/v1/agents/ada/search", "kind=turn.,tool.&text=x&where=cost>1&to=14:02", "", "", ""},
		{"GET", "/v1/causes", "event=agent-ada@3", "", "", ""},
		{"GET", "/v1/effects", "event=agent-ada@3", "Accept", "application/x-ndjson", ""},
		{"GET", "/v1/agents/ada/waterfall", "turn=1", "", "", ""},
		{"GET", "/v1/agents/ada/moment", "at=14:02:11", "", "", ""},
		{"POST", "/v1/verify", "agent=ada", "Content-Type", "text/plain", "x"},
		{"GET", "/v1/projections/balance", "query=days&from=2026-01-31&at=7", "Accept", "application/x-ndjson", ""},
		{"GET", "/v1/diff", "a=ada&b=ben&turn=ada/1&pairs=5", "Accept", "application/x-ndjson", ""},
		{"POST", "/v1/store/check", "", "Sec-Fetch-Site", "none", ""},
		{"POST", "/v1/commands", "", "Idempotency-Key", "k", `{"type":"Cancel","command":{"agent":"a"}}`},
		{"BREW", "//v1//agents", "%zz", "Authorization", "Bearer", ""},
	} {
		f.Add(seed.method, seed.path, seed.query, seed.header, seed.value, []byte(seed.body))
	}
	port := nothing{}
	handler, err := New(Config{Host: port})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, path, query, header, value string, body []byte) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/", bytes.NewReader(body))
		r.Method = method
		r.URL = &url.URL{Path: path, RawQuery: query}
		r.Header.Set("Content-Type", "application/json")
		if header != "" {
			r.Header.Set(header, value)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != http.StatusNotImplemented && w.Code != http.StatusServiceUnavailable { // nothing's feeds are closed
			t.Errorf("%s %q?%q %q: %q with %q: status %d: %s", method, path, query, header, value, body, w.Code, w.Body)
		}
	})
}

// FuzzSentEvents: whatever a server sends, the client's parser ends, keeps to its bounds, and reads the same in any pieces.
func FuzzSentEvents(f *testing.F) {
	for _, seed := range []string{
		"", "\n\n", ": alive\n\n", "id: 1\nevent: a.b\ndata: {}\n\n", "data: a\ndata: b\r\n\r\n", "data\n\n", "event: x\n\ndata: y\n\n",
		"data: cut off", "retry: 1\n\nid:7\ndata:x\n\n", "data:  two spaces\n\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		whole, pieces := readSent(t, bytes.NewReader(raw), 4096), readSent(t, iotestOneByte{bytes.NewReader(raw)}, 16)
		if !reflect.DeepEqual(whole, pieces) {
			t.Errorf("whole %q, in pieces %q", whole, pieces)
		}
	})
}

func readSent(t *testing.T, r io.Reader, buffer int) []sent {
	t.Helper()
	var all []sent
	events := sentEvents{bufio.NewReaderSize(r, buffer), func() {}}
	for {
		event, err := events.next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, event)
	}
}

// iotestOneByte gives one byte at a time.
type iotestOneByte struct{ io.Reader }

func (r iotestOneByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(1, len(p))]) }
