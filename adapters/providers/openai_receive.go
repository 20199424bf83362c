package providers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/openai/openai-go/v3/option"

	"example.com/life/events"
)

// maxErrorBody is how much of a refusal's body is read, in bytes.
const maxErrorBody = 64 << 10

// errSilent ends a call of which nothing has been heard for too long.
var errSilent = errors.New("the endpoint is silent")

// watchdog cancels a call that is silent for too long: long before the first piece of the reply, while the model is loaded and reads its
// prompt, and less long within it.
type watchdog struct {
	timer *time.Timer
	wait  time.Duration
}

func newWatchdog(wait time.Duration, cancel context.CancelCauseFunc) *watchdog {
	return &watchdog{timer: time.AfterFunc(wait, func() { cancel(errSilent) }), wait: wait}
}

// heard winds it up again.
func (w *watchdog) heard() { w.timer.Reset(w.wait) }

// receive stands between the SDK and the network for one call. It turns refusals into failures, with all that their headers say, and bounds
// and watches the body of an accepted request: every piece of it winds up the watchdog again.
func (m *openAI) receive(dog *watchdog) option.Middleware {
	return func(request *http.Request, next option.MiddlewareNext) (*http.Response, error) {
		response, err := next(request)
		if err != nil {
			return response, err
		}
		dog.heard()
		response.Body = &watchedBody{ReadCloser: response.Body, left: maxReply, dog: dog}
		media, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
		media = strings.ToLower(strings.TrimSpace(media))
		if response.StatusCode >= 200 && response.StatusCode < 300 && media != "text/html" {
			return response, nil
		}
		return nil, m.notAReply(response, media)
	}
}

// notAReply reads a response that is a refusal, or a page for people, and says why.
func (m *openAI) notAReply(response *http.Response, media string) error {
	content, err := io.ReadAll(io.LimitReader(response.Body, maxErrorBody))
	err = errors.Join(err, response.Body.Close())
	if response.StatusCode < 300 {
		return m.failed(events.ErrorInvalid, "the endpoint answered "+media+" instead of a reply: is the base URL right?", 0)
	}
	if err != nil {
		content = fmt.Appendf(content, " (the rest of the body cannot be read: %v)", err)
	}
	said, _ := errorIn(content)
	return m.refused(response.StatusCode, said, retryAfter(response.Header, response.StatusCode, time.Now()))
}

// watchedBody is a response's body that may not grow without bound, and whose every piece shows that the provider lives.
type watchedBody struct {
	io.ReadCloser
	left int64
	dog  *watchdog
}

// errReplyTooLarge ends a reply that is larger than maxReply.
var errReplyTooLarge = errors.New("the reply is larger than " + strconv.Itoa(maxReply>>20) + " MiB")

func (b *watchedBody) Read(into []byte) (int, error) {
	if b.left <= 0 {
		return 0, errReplyTooLarge
	}
	n, err := b.ReadCloser.Read(into[:min(int64(len(into)), b.left)])
	b.left -= int64(n)
	if n > 0 {
		b.dog.heard()
	}
	return n, err
}
