package endpoint

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"example.com/life/actors"
	"example.com/life/events"
)

// loadTime is how long a server that is loading its model is left alone between two requests.
const loadTime = 20 * time.Second

// maxDetail bounds a failure's detail, in bytes.
const maxDetail = 500

// newScrubber takes the key out of texts, also as it looks escaped.
func newScrubber(key string) *strings.Replacer {
	if key == "" {
		return strings.NewReplacer()
	}
	pairs := []string{key, "[key]"}
	for _, form := range []string{InsideJSON(key), url.QueryEscape(key), url.PathEscape(key)} {
		if form != key {
			pairs = append(pairs, form, "[key]")
		}
	}
	return strings.NewReplacer(pairs...)
}

// BrokenOff sorts what ended a stream before the reply was complete.
func (e *Endpoint) BrokenOff(p Progress, f *Frames) error {
	err := f.Err()
	var failure *actors.ModelError
	switch {
	case errors.Is(err, errReplyTooLarge):
		failure = e.Failed(events.ErrorInvalid, err.Error(), 0)
	case p.Broken != nil:
		failure = e.Failed(events.ErrorInvalid, "a piece of the stream is not JSON: "+events.Clip(e.scrub.Replace(strings.ToValidUTF8(string(p.Broken), "�")), 120), 0)
	case err != nil:
		failure = e.Failed(events.ErrorTruncated, "the stream broke "+p.Where+": "+err.Error(), 0)
	case f.stray != "" && !p.Begun:
		failure = e.Failed(events.ErrorInvalid, "the endpoint sent no events, but this: "+events.Clip(e.scrub.Replace(f.stray), 200), 0)
	default:
		failure = e.Failed(events.ErrorTruncated, "the stream ended before the model said why it stopped, "+p.Where, 0)
	}
	if p.Begun {
		failure.Usage = p.Usage
	}
	return failure
}

// Unreached sorts a request to which no response came.
func (e *Endpoint) Unreached(err error) error {
	if failure, _ := asFailure(err); failure != nil { // Receive has sorted it
		return err
	}
	var certificate *tls.CertificateVerificationError
	var sent *url.Error
	switch {
	case errors.As(err, &certificate):
		return e.Failed(events.ErrorInvalid, err.Error(), 0)
	case errors.As(err, &sent) && sent.Timeout():
		return e.Failed(events.ErrorTimeout, err.Error(), 0)
	case errors.As(err, &sent) && errors.Is(err, http.ErrSchemeMismatch):
		return e.Failed(events.ErrorInvalid, err.Error()+"; is the base URL right?", 0)
	case errors.As(err, &sent):
		return e.Failed(events.ErrorOverloaded, "the endpoint cannot be reached: "+err.Error(), 0)
	}
	return e.Failed(events.ErrorTruncated, "the connection broke before the reply: "+err.Error(), 0)
}

// Said is what an endpoint says of a failure, whatever the shape.
type Said struct {
	Message string
	kind    string
	code    string // a word or a number
	param   string // what it is about
	after   time.Duration
	raw     string // all of it, for numbers that stand beside the message
}

// Param is the part of the request that it is about, where that stands beside the message.
func (s *Said) Param() string { return s.param }

// Words are what it says, for looking for what they mean.
func (s *Said) Words() string { return strings.ToLower(s.code + " " + s.kind + " " + s.Message) }

// problem is an error's JSON. Endpoints agree on little: the message has many names, and codes are texts or numbers.
type problem map[string]json.RawMessage

func (p problem) text(names ...string) string {
	for _, name := range names {
		var text string
		raw := p[name]
		switch {
		case len(raw) == 0:
		case json.Unmarshal(raw, &text) == nil && text != "":
			return text
		case raw[0] >= '0' && raw[0] <= '9':
			return string(raw)
		}
	}
	return ""
}

// none reports whether a field holds nothing.
func (p problem) none(name string) bool {
	switch string(bytes.TrimSpace(p[name])) {
	case "", "null", "false", `""`, "{}", "[]", "0":
		return true
	}
	return false
}

// ErrorIn reads an event of a stream, or the body of a response, that may be an error.
func ErrorIn(content []byte) (Said, bool) {
	content = bytes.TrimSpace(content)
	if len(content) > 0 && content[0] == '[' { // Gemini's layer
		var several []json.RawMessage
		if json.Unmarshal(content, &several) == nil && len(several) > 0 {
			return ErrorIn(several[0])
		}
	}
	var p problem
	if json.Unmarshal(content, &p) != nil || p == nil {
		return Said{Message: strings.ToValidUTF8(strings.TrimSpace(string(content)), "�")}, false
	}
	s := saidIn(p)
	s.raw = string(content)
	s.after = max(bodyDelay(p), wordsDelay(s.Message))
	if s.Message == "" {
		s.Message = strings.ToValidUTF8(strings.TrimSpace(string(content)), "�")
	}
	object, kind := p.text("object"), p.text("type")
	_, choices := p["choices"]
	coded := !p.none("code") || !p.none("status") || !p.none("error_code") || !p.none("status_code") || kind != ""
	failed := !p.none("error") || !p.none("errors") || object == "error" || kind == "error" ||
		!choices && (!p.none("detail") || !p.none("error_msg") || !p.none("error_message") || coded && p.text("message", "msg") != "") ||
		badStatus(p["base_resp"])
	return s, failed
}

// badStatus reads MiniMax's status, which stands in every reply.
func badStatus(raw json.RawMessage) bool {
	var inner problem
	return json.Unmarshal(raw, &inner) == nil && inner != nil && !inner.none("status_code")
}

func saidIn(p problem) Said {
	s := Said{
		Message: p.text("message", "msg", "detail", "error_msg", "error_message", "status_msg", "error_description", "error", "title", "reason"),
		kind:    p.text("type", "status"), code: p.text("code", "error_code", "status_code"), param: p.text("param"),
	}
	var location []any // of a request that did not validate
	if json.Unmarshal(p["loc"], &location) == nil && s.param == "" {
		s.param = strings.TrimPrefix(strings.Trim(fmt.Sprint(location), "[]"), "body ")
	}
	for _, name := range []string{"error", "errors", "detail", "base_resp"} {
		inner := problem{}
		raw := p[name]
		var several []json.RawMessage
		if json.Unmarshal(raw, &several) == nil && len(several) > 0 {
			raw = several[0]
		}
		if json.Unmarshal(raw, &inner) != nil || len(inner) == 0 {
			continue
		}
		in := saidIn(inner)
		if in.Message != "" {
			s.Message = in.Message
		}
		if in.kind != "" {
			s.kind = in.kind
		}
		if in.code != "" {
			s.code = in.code
		}
		if in.param != "" {
			s.param = in.param
		}
	}
	if details := (problem{}); json.Unmarshal(p["details"], &details) == nil { // Anthropic's name the cause there
		if code := details.text("error_code"); code != "" {
			s.code = code
		}
	}
	if meta := (problem{}); json.Unmarshal(p["metadata"], &meta) == nil { // OpenRouter passes on what a provider said
		if raw := meta.text("raw"); raw != "" {
			s.Message += ": " + raw
		}
	}
	return s
}

// Refusal is a failure with what the endpoint said: it may mean the way of asking.
type Refusal struct {
	*actors.ModelError
	Status int
	Said   Said
}

// Unwrap gives the failure.
func (r *Refusal) Unwrap() error { return r.ModelError }

// Refused sorts a refusal by its status and by what its body says. Status 0: it came within a stream that was accepted.
func (e *Endpoint) Refused(status int, s Said, after time.Duration) *Refusal {
	if number, err := strconv.Atoi(s.code); err == nil && status == 0 && http.StatusText(number) != "" {
		status = number
	}
	if found := statusWithin.FindStringSubmatch(s.Message); found != nil && (status == 0 || status >= 500) { // z.ai's: status 200, code 500, and this
		status = http.StatusNotFound
	}
	detail := s.Message
	if detail == "" {
		detail = "no reason given"
	}
	if status != 0 {
		detail = fmt.Sprintf("%d %s: %s", status, http.StatusText(status), detail)
	}
	class := refusal(status, s.Words())
	remedy := remedyOf(s.Words())
	if strings.Contains(s.Words(), "loading model") { // a large one takes minutes; a route does not leave it for that
		after = max(after, loadTime)
	}
	if remedy == "" && (status == http.StatusNotFound || status == http.StatusMethodNotAllowed) {
		remedy = e.remedyOfPlace(s.Words())
	}
	if remedy != "" && !class.Retryable() {
		detail = events.Clip(e.scrub.Replace(detail), maxDetail-len(remedy)-2) + "; " + remedy
	}
	return &Refusal{ModelError: e.Failed(class, detail, max(after, s.after)), Status: status, Said: s}
}

// statusWithin is the status that a gateway was answered by what is behind it.
var statusWithin = regexp.MustCompile(`(?i)^404[ _:-]+not[ _]found\b`)

// AnyOf returns a function that looks for phrases in words.
func AnyOf(words string) func(phrases ...string) bool {
	return func(phrases ...string) bool {
		for _, phrase := range phrases {
			if strings.Contains(words, phrase) {
				return true
			}
		}
		return false
	}
}

// notFound is how local servers say that they do not have a model.
var notFound = regexp.MustCompile(`model ["'\x60]?[^ "'\x60]+["'\x60]? (?:is |was )?not found`)

// remedyOf says what to do about a refusal that stays.
func remedyOf(words string) string {
	says := AnyOf(words)
	switch {
	case says("--jinja"):
		return "start the server with --jinja, or give the agent no tools (--tools none)"
	case says("tool-call-parser", "auto-tool-choice"):
		return "start the server with these options, or give the agent no tools (--tools none)"
	case says("tool") && says("not support", "unsupported", "no endpoints found"):
		return "choose a model that takes tools (--model), or give the agent none (--tools none)"
	case says("try pulling it"), notFound.MatchString(words):
		return "is the model's name right (--model), and does the server have it (Ollama: ollama pull NAME)?"
	case says("template", "jinja") && says("error", "exception", "raise", "fail"):
		return "the chat template of the model does not take this conversation: start the server with another one (llama.cpp: --jinja with --chat-template-file), or choose another model (--model)"
	case says("model_not_found", "model not found", "no such model", "does not exist", "unknown model", "invalid model"):
		return "is the model's name right? (--model)"
	}
	return ""
}

// remedyOfPlace says what to do where nothing is found: a model, or what answers there at all.
func (e *Endpoint) remedyOfPlace(words string) string {
	if strings.Contains(words, "model") {
		return "is the model's name right? (--model)"
	}
	return strings.TrimSuffix("is the base URL right? ("+e.setting+")", " ()")
}

// refusal is the table of refusals: first by words that mean one thing whatever the status, then by status.
func refusal(status int, words string) events.ErrorClass {
	says := AnyOf(words)
	switch {
	case says("insufficient_quota", "billing_not_active", "insufficient balance", "insufficient_balance", "insufficient credits",
		"exceeded_current_quota", "credit balance is too low", "account is not active", "spend_limit", "ramp_limit_exceeded"), // no waiting helps
		status == http.StatusBadRequest && badKey(words): // some refuse a key as they refuse a request
		return events.ErrorAuth
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusPaymentRequired:
		return events.ErrorAuth
	case status == http.StatusTooManyRequests:
		return events.ErrorRateLimited
	case status == http.StatusRequestTimeout, status == http.StatusGatewayTimeout, status == 524: // Cloudflare's
		return events.ErrorTimeout
	case status == http.StatusRequestEntityTooLarge, overflows(words):
		return events.ErrorContext
	case badOutput(words): // another attempt may be written better
		return events.ErrorTruncated
	case status >= 500 && misasked(words):
		return events.ErrorInvalid
	case status >= 500, status == http.StatusConflict, status == http.StatusTooEarly:
		return events.ErrorOverloaded
	case says("content_policy", "content_filter", "content management policy", "content filtering policy", "safety system", "moderation", "data_inspection", "invalid_prompt",
		"policy_violation", "bio_policy", "usage policy", "敏感内容"):
		return events.ErrorRefused
	case status != 0:
		return events.ErrorInvalid
	case says("rate_limit", "rate limit", "too many requests", "resource_exhausted", "throttl"):
		return events.ErrorRateLimited
	case says("request_too_large"):
		return events.ErrorContext
	case says("invalid_request", "invalid request", "model_not_found", "not_found_error", "badrequest", "bad request", "invalid_argument", "data_residency", "invalid_image",
		"invalid_base64", "unsupported_image"), misasked(words):
		return events.ErrorInvalid
	case says("authentication", "billing_error", "invalid_api_key", "invalid api key", "permission", "unauthorized"):
		return events.ErrorAuth
	case says("timeout", "timed out"):
		return events.ErrorTimeout
	}
	return events.ErrorOverloaded // the request had been accepted: the provider failed on its own
}

// badKey reports whether an error means the key.
func badKey(words string) bool {
	return AnyOf(words)("api key not valid", "api_key_invalid", "incorrect api key", "invalid api key", "invalid_api_key")
}

// badOutput reports whether an error blames what the model wrote, although its status blames the request or the server: a call that the server could not
// read.
func badOutput(words string) bool {
	return AnyOf(words)("error parsing tool call", "tool call parsing failed", "failed to parse tool call", "tool_use_failed", "failed_generation", "failed to call a function",
		"failed to parse input at pos", "failed to parse json: unexpected end", "failed to parse json: invalid character")
}

// misasked reports whether an error blames the request although its status blames the server.
func misasked(words string) bool {
	return AnyOf(words)("cannot use", "not supported", "unsupported", "does not support", "doesn't support", "not implemented", "requires --",
		"roles must alternate", "invalid request", "failed to parse", "template", "unknown parameter", "must be an object",
		"jinja", "value is not callable", "while executing callexpression", "while executing filterexpression")
}
