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
	"sync/atomic"
	"time"

	"example.com/life/actors"
	"example.com/life/events"
)

// ClientConfig says where the server is. BaseURL is required, such as http://127.0.0.1:4777.
type ClientConfig struct {
	BaseURL  string
	Others   []string      // URLs of the other hosts of its cluster, which are asked when it does not answer
	Token    string        // if the server requires one; all hosts of a cluster are given it
	HTTP     *http.Client  // nil: a client of its own; it must not have a Timeout, which would cut feeds off
	Patience time.Duration // how long a feed tries to come back before it gives up; default 1 min
}

// Client drives a host over HTTP. It satisfies the same ports as the host, and its methods return the same errors. It is safe for
// concurrent use.
//
// With several hosts a call goes to the one that answered last, and on to the next when that one is gone or silent; feeds go on at the next one too.
type Client struct {
	hosts    []*url.URL
	latest   atomic.Int64 // which of them answered last
	position atomic.Uint64
	token    string
	http     *http.Client
	patience time.Duration
}

var _ Host = (*Client)(nil)

// NewClient returns a client. It does not reach for the server yet.
func NewClient(config ClientConfig) (*Client, error) {
	hosts := make([]*url.URL, 0, 1+len(config.Others))
	for _, address := range append([]string{config.BaseURL}, config.Others...) {
		host, err := url.Parse(address)
		if err != nil {
			return nil, fmt.Errorf("configure api client: %w", err)
		}
		if host.Scheme != "http" && host.Scheme != "https" || host.Host == "" {
			return nil, fmt.Errorf("configure api client: %q is not a URL such as http://127.0.0.1:4777", address)
		}
		hosts = append(hosts, host)
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
	return &Client{hosts: hosts, token: config.Token, http: &own, patience: cmp.Or(config.Patience, time.Minute)}, nil
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
	body         any  // if not nil: JSON as bytes, or what is written as JSON
	whole        bool // the answer is read to its end
}

// repeatable reports whether a call may be made twice: one that changes nothing, or a command, which has an id.
func (c *call) repeatable() bool {
	return c.method == http.MethodGet || c.header.Get(idempotencyKey) != ""
}

func (c *call) encoded() ([]byte, error) {
	if encoded, ready := c.body.([]byte); ready || c.body == nil {
		return encoded, nil
	}
	encoded, err := encodeJSON(c.body)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return encoded, nil
}

// request is the call to a host.
func (c *call) request(ctx context.Context, host *url.URL, content []byte) (*http.Request, error) {
	var body io.Reader
	if content != nil {
		body = bytes.NewReader(content)
	}
	target := host.JoinPath(c.path)
	target.RawQuery = c.query.Encode()
	request, err := http.NewRequestWithContext(ctx, c.method, target.String(), body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if c.header != nil {
		request.Header = c.header.Clone()
	}
	if content != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return request, nil
}

// get asks for something and reads the answer.
func (c *Client) get(ctx context.Context, path string, query url.Values, into any) error {
	return c.exchange(ctx, call{method: http.MethodGet, path: path, query: query}, into)
}

// exchange makes a call and reads its answer.
func (c *Client) exchange(ctx context.Context, call call, into any) error {
	call.whole = true
	a, err := c.ask(ctx, call)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		return fmt.Errorf("read answer of %s: %w", c.hosts[a.host].Host, err)
	}
	return nil
}

// closedAs prefers the context's own error.
func closedAs(ctx context.Context, err error) error { return cmp.Or(ctx.Err(), err) }

// send makes a call whose answer is a stream, which is to be read and closed.
func (c *Client) send(ctx context.Context, call call) (*http.Response, error) {
	a, err := c.ask(ctx, call)
	return a.answer, err
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
