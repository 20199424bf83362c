package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"example.com/life/events"
)

// maxErrorBody is how much of a refusal's body is read, in bytes.
const maxErrorBody = 64 << 10

var (
	// errSilent ends a call of which nothing has been heard for too long.
	errSilent = errors.New("the endpoint is silent")
	// errReplyTooLarge ends a reply that is larger than MaxReply.
	errReplyTooLarge = errors.New("the reply is larger than " + strconv.Itoa(MaxReply>>20) + " MiB")
)

// Call is one request that is watched: it is cancelled when nothing is heard for too long, which is long before the first piece of the
// reply, while the model is loaded and reads its prompt, and less long within it.
type Call struct {
	endpoint *Endpoint
	gone     func() error // why the caller gave up, if it did
	ended    func() error // why the request did
	cancel   context.CancelCauseFunc
	timer    *time.Timer
	wait     time.Duration
}

// Begin begins a call, and gives the context for its request, which ends with the caller's and with silence. Its End must be called.
func (e *Endpoint) Begin(ctx context.Context) (context.Context, *Call) {
	watched, cancel := context.WithCancelCause(ctx)
	return watched, &Call{
		endpoint: e, gone: ctx.Err, ended: func() error { return context.Cause(watched) }, cancel: cancel, wait: e.firstByte,
		timer: time.AfterFunc(e.firstByte, func() { cancel(errSilent) }),
	}
}

// End releases what the call holds.
func (c *Call) End() {
	c.timer.Stop()
	c.cancel(nil)
}

func (c *Call) heard() { c.timer.Reset(c.wait) }

// Begun says that the reply has begun: from here on silences are shorter.
func (c *Call) Begun() {
	if c.wait != c.endpoint.idle {
		c.wait = c.endpoint.idle
		c.heard()
	}
}

// Receive stands between a vendor's package and the network, as its middleware. It turns refusals into failures, with all that their headers
// say, and bounds and watches the body of an accepted request: every piece of it is heard.
func (c *Call) Receive(request *http.Request, next func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	response, err := next(request)
	if err != nil {
		return response, err
	}
	c.heard()
	response.Body = &watchedBody{ReadCloser: response.Body, left: MaxReply, call: c}
	media, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
	media = strings.ToLower(strings.TrimSpace(media))
	if response.StatusCode >= 200 && response.StatusCode < 300 && media != "text/html" {
		return response, nil
	}
	return nil, c.endpoint.notAReply(response, media)
}

// notAReply reads a response that is a refusal, or a page for people, and says why.
func (e *Endpoint) notAReply(response *http.Response, media string) error {
	content, err := io.ReadAll(io.LimitReader(response.Body, maxErrorBody))
	err = errors.Join(err, response.Body.Close())
	if response.StatusCode < 300 {
		return e.Failed(events.ErrorInvalid, "the endpoint answered "+media+" instead of a reply: is the base URL right?", 0)
	}
	if to, err := response.Location(); err == nil && response.StatusCode < 400 {
		return e.Failed(events.ErrorInvalid, fmt.Sprintf("%d %s: the endpoint sends to %s://%s%s, and a key is sent to no other place: %s",
			response.StatusCode, http.StatusText(response.StatusCode), to.Scheme, to.Host, to.Path, e.remedyOfPlace("")), 0)
	}
	if err != nil {
		content = fmt.Appendf(content, " (the rest of the body cannot be read: %v)", err)
	}
	said, _ := ErrorIn(content)
	return e.Refused(response.StatusCode, said, retryAfter(response.Header, response.StatusCode, time.Now()))
}

// Left is why the caller does not want the reply any more; nil if it does.
func (c *Call) Left() error { return c.gone() }

// Unanswered is why no reply came: the caller gave up, the endpoint was silent for too long, or what is given.
func (c *Call) Unanswered(otherwise error) error {
	if err := c.gone(); err != nil {
		return err
	}
	if !errors.Is(c.ended(), errSilent) {
		return otherwise
	}
	setting := EnvFirstByte
	if c.wait != c.endpoint.firstByte {
		setting = EnvIdle
	}
	failure := c.endpoint.Failed(events.ErrorTimeout, fmt.Sprintf("nothing came for %s (%s)", c.wait, setting), 0)
	if broken, ok := asFailure(otherwise); ok {
		failure.Usage = broken.Usage
	}
	return failure
}

// watchedBody is a response's body that may not grow without bound, and whose every piece shows that the provider lives.
type watchedBody struct {
	io.ReadCloser
	left int64
	call *Call
}

func (b *watchedBody) Read(into []byte) (int, error) {
	if b.left <= 0 {
		return 0, errReplyTooLarge
	}
	n, err := b.ReadCloser.Read(into[:min(int64(len(into)), b.left)])
	b.left -= int64(n)
	if n > 0 {
		b.call.heard()
	}
	return n, err
}
