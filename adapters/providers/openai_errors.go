package providers

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/openai/openai-go/v3/packages/ssestream"

	"example.com/life/actors"
	"example.com/life/events"
)

// maxDetail bounds a failure's detail, in bytes.
const maxDetail = 500

// newScrubber takes the key out of texts, also as it looks escaped.
func newScrubber(key string) *strings.Replacer {
	if key == "" {
		return strings.NewReplacer()
	}
	pairs := []string{key, "[key]"}
	for _, form := range []string{insideJSON(key), url.QueryEscape(key), url.PathEscape(key)} {
		if form != key {
			pairs = append(pairs, form, "[key]")
		}
	}
	return strings.NewReplacer(pairs...)
}

// failed makes a failure without the key in it. It scrubs before it cuts: half a key would not be recognised.
func (m *openAI) failed(class events.ErrorClass, detail string, after time.Duration) *actors.ModelError {
	return &actors.ModelError{Class: class, RetryAfter: after, Detail: events.Clip(m.scrub.Replace(detail), maxDetail)}
}

// classify sorts what ended a stream before the reply was complete. begun says whether anything of it had come.
func (m *openAI) classify(broken error, begun bool) error {
	var failure *actors.ModelError
	if errors.As(broken, &failure) { // receive has sorted it
		return failure
	}
	var streamed *ssestream.StreamError
	if errors.As(broken, &streamed) {
		return m.refused(0, streamed.Event.Data, 0)
	}
	var syntax *json.SyntaxError
	var certificate *tls.CertificateVerificationError
	var sent *url.Error
	switch {
	case broken == nil:
		return m.failed(events.ErrorTruncated, "the stream ended before the model said why it stopped", 0)
	case errors.Is(broken, errReplyTooLarge):
		return m.failed(events.ErrorInvalid, broken.Error(), 0)
	case errors.As(broken, &syntax):
		return m.failed(events.ErrorInvalid, "a piece of the stream is not JSON: "+broken.Error(), 0)
	case errors.As(broken, &certificate):
		return m.failed(events.ErrorInvalid, broken.Error(), 0)
	case errors.As(broken, &sent) && sent.Timeout():
		return m.failed(events.ErrorTimeout, broken.Error(), 0)
	case errors.As(broken, &sent):
		return m.failed(events.ErrorOverloaded, "the endpoint cannot be reached: "+broken.Error(), 0)
	case begun:
		return m.failed(events.ErrorTruncated, "the stream broke within the reply: "+broken.Error(), 0)
	}
	return m.failed(events.ErrorTruncated, "the stream broke before the reply: "+broken.Error(), 0)
}

// apiError is the shape of a refusal. Providers disagree on the types: a code is a string or a number.
type apiError struct {
	Message string `json:"message"`
	Type    string `json:"type"`
	Code    any    `json:"code"`
}

// parseAPIError reads {"error": {...}}, {"error": "text"} and {"message": ...}; anything else is shown as it is.
func parseAPIError(content []byte) apiError {
	var whole struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
	}
	if json.Unmarshal(content, &whole) != nil {
		return apiError{Message: strings.ToValidUTF8(strings.TrimSpace(string(content)), "�")}
	}
	var inner apiError
	if json.Unmarshal(whole.Error, &inner) == nil && inner != (apiError{}) {
		return inner
	}
	var text string
	if json.Unmarshal(whole.Error, &text) == nil && text != "" {
		return apiError{Message: text}
	}
	if whole.Message != "" {
		return apiError{Message: whole.Message}
	}
	return apiError{Message: strings.TrimSpace(string(content))}
}

func hasError(content []byte) bool {
	var whole struct {
		Error json.RawMessage `json:"error"`
	}
	return json.Unmarshal(content, &whole) == nil && len(whole.Error) > 0 && string(whole.Error) != "null"
}

// refused sorts a refusal by its status and by what its body says. Status 0: it came within a stream that was accepted.
func (m *openAI) refused(status int, content []byte, after time.Duration) *actors.ModelError {
	said := parseAPIError(content)
	code := fmt.Sprint(said.Code)
	if said.Code == nil {
		code = ""
	}
	if number, err := strconv.Atoi(code); err == nil && status == 0 {
		status = number
	}
	detail := said.Message
	if detail == "" {
		detail = "no reason given"
	}
	if status != 0 {
		detail = fmt.Sprintf("%d %s: %s", status, http.StatusText(status), detail)
	}
	words := strings.ToLower(code + " " + said.Type + " " + said.Message)
	return m.failed(refusal(status, words), detail, after)
}

// refusal is the table of refusals: first by words that mean one thing whatever the status, then by status.
func refusal(status int, words string) events.ErrorClass {
	says := func(phrases ...string) bool {
		for _, phrase := range phrases {
			if strings.Contains(words, phrase) {
				return true
			}
		}
		return false
	}
	switch {
	case says("insufficient_quota", "billing_not_active"): // comes as 429, but no waiting helps
		return events.ErrorAuth
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusPaymentRequired:
		return events.ErrorAuth
	case status == http.StatusTooManyRequests:
		return events.ErrorRateLimited
	case status == http.StatusRequestTimeout, status == http.StatusGatewayTimeout:
		return events.ErrorTimeout
	case status >= 500, status == http.StatusConflict, status == http.StatusTooEarly:
		return events.ErrorOverloaded
	case status == http.StatusRequestEntityTooLarge,
		says("context_length", "context length", "maximum context", "context window", "context size", "prompt is too long", "too many tokens"):
		return events.ErrorContext
	case says("content_policy", "content_filter", "content management policy", "safety system", "moderation"):
		return events.ErrorRefused
	case status != 0:
		return events.ErrorInvalid
	case says("rate_limit", "rate limit"):
		return events.ErrorRateLimited
	case says("invalid_request", "invalid request", "model_not_found"):
		return events.ErrorInvalid
	case says("authentication", "invalid_api_key", "permission"):
		return events.ErrorAuth
	case says("timeout", "timed out"):
		return events.ErrorTimeout
	}
	return events.ErrorOverloaded // the request had been accepted: the provider failed on its own
}
