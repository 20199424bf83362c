package providers

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/openai/openai-go/v3/option"

	"example.com/life/events"
)

// maxErrorBody is how much of a refusal's body is read, in bytes.
const maxErrorBody = 64 << 10

// receive stands between the SDK and the network for one call. It turns refusals into *actors.ModelError, with all that
// their headers say, and bounds and watches the stream of an accepted request: every piece of it winds up the watchdog again.
func (m *openAI) receive(idle *time.Timer) option.Middleware {
	return func(request *http.Request, next option.MiddlewareNext) (*http.Response, error) {
		response, err := next(request)
		if err != nil {
			return response, err
		}
		idle.Reset(m.idle)
		response.Body = &watchedBody{ReadCloser: response.Body, left: maxReply, idle: idle, wait: m.idle}
		media, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
		media = strings.ToLower(strings.TrimSpace(media))
		accepted := response.StatusCode >= 200 && response.StatusCode < 300
		if accepted && media != "application/json" && media != "text/html" {
			return response, nil
		}
		return nil, m.notAStream(response, accepted, media)
	}
}

// notAStream reads a response that is a refusal, or no stream at all, and says why.
func (m *openAI) notAStream(response *http.Response, accepted bool, media string) error {
	content, err := io.ReadAll(io.LimitReader(response.Body, maxErrorBody))
	err = errors.Join(err, response.Body.Close())
	if accepted && !hasError(content) {
		return m.failed(events.ErrorInvalid, "the endpoint answered "+media+" instead of an event stream: is the base URL right, and does it stream?", 0)
	}
	status := response.StatusCode
	if accepted {
		status = 0
	}
	if err != nil {
		content = fmt.Appendf(content, " (the rest of the body cannot be read: %v)", err)
	}
	return m.refused(status, content, retryAfter(response.Header, time.Now()))
}

// watchedBody is a response's body that may not grow without bound, and whose every piece shows that the provider lives.
type watchedBody struct {
	io.ReadCloser
	left int64
	idle *time.Timer
	wait time.Duration
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
		b.idle.Reset(b.wait)
	}
	return n, err
}

// maxRetryAfter bounds what a provider may ask for.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads when the provider wants to be asked again: milliseconds, seconds, or a date. 0 if it does not say.
func retryAfter(header http.Header, now time.Time) time.Duration {
	if wait, ok := number(header.Get("Retry-After-Ms"), time.Millisecond); ok {
		return wait
	}
	value := header.Get("Retry-After")
	if wait, ok := number(value, time.Second); ok {
		return wait
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(date.Sub(now), 0), maxRetryAfter)
}

func number(text string, unit time.Duration) (time.Duration, bool) {
	value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(value) || value < 0 {
		return 0, false
	}
	wait := math.Ceil(value * float64(unit)) // in floating point: the product may be beyond any Duration
	return time.Duration(min(wait, float64(maxRetryAfter))), true
}
