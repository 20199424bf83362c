package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"example.com/life/actors/storage"
)

// memberSilence is how long a host may say nothing before the next one of its cluster is asked too: one that is stopped, or cut off, refuses nothing.
const memberSilence = 2 * time.Second

// attempt is what became of a call to one host.
type attempt struct {
	host     int            // which of the client's
	answered bool           // if only with an error
	broken   bool           // the connection failed, or broke
	answer   *http.Response // of 200, 201 or 202
	body     []byte         // all of it, if the call wants that; else it is to be read, and closed
	err      error
}

// ask makes a call, by the host that answered last. Of a cluster the next one is asked when a host cannot be reached, breaks off, or is closing; or when it has said
// nothing for [memberSilence], and the first answer counts. A command has one id everywhere, so it is accepted once. What has no id, and changes something, is sent on only
// if it did not leave.
func (c *Client) ask(ctx context.Context, call call) (attempt, error) {
	content, err := call.encoded()
	if err != nil {
		return attempt{}, err
	}
	over, answers := make(chan struct{}), make(chan attempt)
	defer close(over)
	first := int(c.latest.Load())
	var ends []context.CancelFunc // of the hosts that were asked
	begin := func() {
		asking, end := context.WithCancel(ctx)
		host := (first + len(ends)) % len(c.hosts)
		ends = append(ends, end)
		go c.attempt(asking, host, call, content, answers, over)
	}
	begin()
	silent := time.NewTimer(memberSilence)
	defer silent.Stop()
	var problems []error
	for len(problems) < len(ends) {
		select {
		case a := <-answers:
			if ctx.Err() != nil || !a.elsewhere(call) {
				return c.choose(a, call, ends, first)
			}
			problems = append(problems, a.err)
		case <-silent.C:
			if !call.repeatable() {
				continue
			}
		}
		if len(ends) < len(c.hosts) {
			begin()
			silent.Reset(memberSilence)
		}
	}
	for _, end := range ends {
		end()
	}
	return attempt{}, errors.Join(problems...)
}

// choose makes an attempt the answer, and ends the others. Its own context ends with its body.
func (c *Client) choose(a attempt, call call, ends []context.CancelFunc, first int) (attempt, error) {
	own := (a.host - first + len(c.hosts)) % len(c.hosts)
	for i, end := range ends {
		if i != own {
			end()
		}
	}
	if a.answered {
		c.latest.Store(int64(a.host))
	}
	if a.err != nil {
		ends[own]()
		return attempt{}, a.err
	}
	c.note(a.answer.Header.Get(positionHeader))
	if call.whole {
		ends[own]()
	} else {
		a.answer.Body = &endingBody{a.answer.Body, ends[own]}
	}
	return a, nil
}

// endingBody ends what belongs to an answer when that is closed.
type endingBody struct {
	io.ReadCloser
	end context.CancelFunc
}

func (b *endingBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// attempt makes a call to one host. Its answer is dropped if the call is over.
func (c *Client) attempt(ctx context.Context, host int, call call, content []byte, answers chan<- attempt, over <-chan struct{}) {
	a := c.sendTo(ctx, host, call, content)
	if call.whole && a.answer != nil {
		c.readWhole(ctx, &a)
	}
	select {
	case answers <- a:
	case <-over:
		if a.answer != nil && !call.whole {
			_ = a.answer.Body.Close() // nobody reads it
		}
	}
}

// sendTo makes a call to one host. What is no answer of 200, 201 or 202 is an error, as the server's host returned it.
func (c *Client) sendTo(ctx context.Context, host int, call call, content []byte) (a attempt) {
	a.host = host
	request, err := call.request(ctx, c.hosts[host], content)
	if err != nil {
		a.err = err
		return a
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	if position := c.position.Load(); position > 0 {
		request.Header.Set(positionHeader, strconv.FormatUint(position, 10))
	}
	answer, err := c.http.Do(request)
	if err != nil {
		a.broken, a.err = true, fmt.Errorf("reach %s: %w", c.hosts[host].Host, closedAs(ctx, err))
		return a
	}
	a.answered = true
	switch answer.StatusCode {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted:
		a.answer = answer
	default:
		a.err = readProblem(answer)
		_ = answer.Body.Close() // it was read
	}
	return a
}

// readWhole reads an answer to its end.
func (c *Client) readWhole(ctx context.Context, a *attempt) {
	defer a.answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(a.answer.Body, mostAnswer+1))
	switch a.body = body; {
	case err != nil:
		a.broken, a.err = true, fmt.Errorf("read answer of %s: %w", c.hosts[a.host].Host, closedAs(ctx, err))
	case len(body) > mostAnswer:
		a.err = fmt.Errorf("read answer of %s: it has more than %d bytes", c.hosts[a.host].Host, mostAnswer)
	}
}

// elsewhere reports whether another host may do what this one did not.
func (a *attempt) elsewhere(call call) bool {
	var op *net.OpError
	if errors.As(a.err, &op) && op.Op == "dial" {
		return true // nothing was sent
	}
	return call.repeatable() && (a.broken || errors.Is(a.err, storage.ErrClosed))
}

// leave has the next host asked first, if this one still is.
func (c *Client) leave(host int) {
	c.latest.CompareAndSwap(int64(host), int64((host+1)%len(c.hosts)))
}

// alive reports whether a host answers in time.
func (c *Client) alive(ctx context.Context, host int) bool {
	ctx, cancel := context.WithTimeout(ctx, memberSilence)
	defer cancel()
	a := c.sendTo(ctx, host, call{method: http.MethodGet, path: "/v1/health"}, nil)
	if a.answer != nil {
		_ = a.answer.Body.Close() // that it answers is enough
	}
	return a.answered
}

// note remembers the greatest position of an answer. Each call after it demands that: what this client wrote is in what it is answered, at any host.
func (c *Client) note(header string) {
	position, err := strconv.ParseUint(header, 10, 63)
	if err != nil {
		return // an answer of another kind has none
	}
	for before := c.position.Load(); before < position && !c.position.CompareAndSwap(before, position); before = c.position.Load() {
	}
}
