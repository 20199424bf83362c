package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"example.com/life/actors"
	"example.com/life/events"
)

// ClientConfig says where the server is. BaseURL is required, such as http://127.0.0.1:4777.
type ClientConfig struct {
	BaseURL  string
	Token    string        // if the server requires one
	HTTP     *http.Client  // nil: a client of its own; it must not have a Timeout, which would cut feeds off
	Patience time.Duration // how long a feed tries to come back before it gives up; default 1 min
}

// Client drives a host over HTTP. It satisfies the same ports as the host, and its methods return the same errors. It is safe for
// concurrent use.
type Client struct {
	base     *url.URL
	token    string
	http     *http.Client
	patience time.Duration
}

var _ Host = (*Client)(nil)

// NewClient returns a client. It does not reach for the server yet.
func NewClient(config ClientConfig) (*Client, error) {
	base, err := url.Parse(config.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("configure api client: %w", err)
	}
	if base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("configure api client: %q is not a URL such as http://127.0.0.1:4777", config.BaseURL)
	}
	if err := checkToken(config.Token); err != nil {
		return nil, fmt.Errorf("configure api client: %w", err)
	}
	given := cmp.Or(config.HTTP, &http.Client{})
	if given.Timeout != 0 {
		return nil, errors.New("configure api client: the HTTP client has a Timeout, which would cut feeds off: bound calls by their contexts")
	}
	own := *given
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // the token stays here
	if own.Transport == nil {
		own.Transport = freshTransport()
	}
	return &Client{base: base, token: config.Token, http: &own, patience: cmp.Or(config.Patience, time.Minute)}, nil
}

// freshTransport is the default transport with connections of its own, so that Close closes no one else's.
func freshTransport() http.RoundTripper {
	if standard, ok := http.DefaultTransport.(*http.Transport); ok {
		return standard.Clone()
	}
	return http.DefaultTransport
}

// Close closes connections that are not in use. Feeds are closed by themselves.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// mostAnswer bounds what the client reads of one answer, in bytes.
const mostAnswer = 512 << 20

// call is one request. Path segments are escaped by whoever fills them in.
type call struct {
	method, path string
	query        url.Values
	header       http.Header
	body         any // if not nil: JSON as bytes, or what is written as JSON
}

// get asks for something and reads the answer.
func (c *Client) get(ctx context.Context, path string, query url.Values, into any) error {
	return c.exchange(ctx, call{method: http.MethodGet, path: path, query: query}, into)
}

// exchange makes a call and reads its answer.
func (c *Client) exchange(ctx context.Context, call call, into any) error {
	answer, err := c.send(ctx, call)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, mostAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("read answer of %s: %w", c.base.Host, closedAs(ctx, err))
	case len(body) > mostAnswer:
		return fmt.Errorf("read answer of %s: it has more than %d bytes", c.base.Host, mostAnswer)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("read answer of %s: %w", c.base.Host, err)
	}
	return nil
}

// closedAs prefers the context's own error.
func closedAs(ctx context.Context, err error) error { return cmp.Or(ctx.Err(), err) }

// send makes a call. What is not an answer of 200, 201 or 202 is an error, as the server's host returned it.
func (c *Client) send(ctx context.Context, call call) (*http.Response, error) {
	var content io.Reader
	if call.body != nil {
		encoded, ready := call.body.([]byte)
		if !ready {
			var err error
			if encoded, err = encodeJSON(call.body); err != nil {
				return nil, fmt.Errorf("encode request: %w", err)
			}
		}
		content = bytes.NewReader(encoded)
	}
	target := c.base.JoinPath(call.path)
	target.RawQuery = call.query.Encode()
	request, err := http.NewRequestWithContext(ctx, call.method, target.String(), content)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if call.header != nil {
		request.Header = call.header
	}
	if content != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("reach %s: %w", c.base.Host, closedAs(ctx, err))
	}
	switch answer.StatusCode {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted:
		return answer, nil
	}
	defer answer.Body.Close()
	return nil, readProblem(answer)
}

// readProblem reads an error answer. One that is no problem of this API's comes from something in between.
func readProblem(answer *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("read error answer with status %d: %w", answer.StatusCode, err)
	}
	p := &Problem{}
	if json.Unmarshal(body, p) != nil || p.Code == "" {
		return &Problem{
			Type: "about:blank", Title: http.StatusText(answer.StatusCode), Status: answer.StatusCode,
			Detail: fmt.Sprintf("status %d, not from this API: %s", answer.StatusCode, events.Clip(string(bytes.ToValidUTF8(body, nil)), 200)),
		}
	}
	return p.typed()
}

// Unstored implements [Host].
func (c *Client) Unstored(ctx context.Context, agent events.AgentID) ([]actors.Unstored, error) {
	var list UnstoredList
	err := c.get(ctx, "/v1/unstored", url.Values{"agent": {string(agent)}}, &list)
	return list.Unstored, err
}

// Cluster implements [Host].
func (c *Client) Cluster(ctx context.Context, stream events.Stream) (actors.ClusterStatus, error) {
	query := url.Values{}
	if stream != "" {
		query.Set("stream", string(stream))
	}
	var status actors.ClusterStatus
	return status, c.get(ctx, "/v1/cluster", query, &status)
}

// Health asks which server answers.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var health Health
	return health, c.get(ctx, "/v1/health", nil, &health)
}

var _ actors.Feed = (*clientFeed)(nil)
