package mcp

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// machine is a server that is asked over HTTP. Each of its connections to it is its own, so that nothing of it is left when it is stopped.
type machine struct{ transport *http.Transport }

// reach returns how a server is asked over HTTP.
func reach(s *Server) (*machine, mcp.Transport) {
	m := &machine{http.DefaultTransport.(*http.Transport).Clone()} //nolint:forcetypeassert,errcheck // nobody here replaces it
	m.transport.MaxResponseHeaderBytes = 64 << 10
	client := &http.Client{
		Transport: keyed{m.transport, s},
		CheckRedirect: func(to *http.Request, _ []*http.Request) error {
			return fmt.Errorf("it sends its clients on to %s, where its key is not for", to.URL.Redacted())
		},
	}
	return m, &mcp.StreamableClientTransport{Endpoint: s.URL, HTTPClient: client, MaxRetries: 1, MaxEventSize: mostMessage}
}

func (m *machine) stop() { m.transport.CloseIdleConnections() }

// keyed sends the headers and the key of a server with each request, and bounds what comes back.
type keyed struct {
	next   http.RoundTripper
	server *Server
}

// RoundTrip implements http.RoundTripper.
func (k keyed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, value := range k.server.Headers {
		r.Header.Set(name, value)
	}
	if k.server.Key != "" {
		r.Header.Set("Authorization", "Bearer "+k.server.Key)
	}
	response, err := k.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden {
		return nil, errors.Join(fmt.Errorf("it answers %s: the key may be missing or wrong (key_file, key_env)", response.Status), response.Body.Close())
	}
	response.Body = readCloser{&meter{source: response.Body}, response.Body}
	return response, nil
}
