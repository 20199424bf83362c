package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"syscall"

	"example.com/life/actors"
	"example.com/life/actors/history"
	"example.com/life/actors/projector"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/strictjson"
)

// Problem is an error as it goes over the wire (RFC 9457). The client returns one where no typed error of actors or sagas fits.
type Problem struct {
	Type   string `json:"type"` // "urn:life:problem:" and the code
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Code   string `json:"code"` // what programs decide by; docs/api.md lists them

	Stream  events.Stream `json:"stream,omitempty"`  // of overloaded, unavailable and fenced
	Waiting int           `json:"waiting,omitempty"` // of overloaded
	Reason  string        `json:"reason,omitempty"`  // of unavailable and behind

	Projection string `json:"projection,omitempty"` // of behind
}

// Error gives the title, or the detail where there is one.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return fmt.Sprintf("%s (status %d)", p.Title, p.Status)
	}
	return p.Detail
}

// Codes of problems that are no refusals: those have their sagas.RefusalCode.
const (
	codeMalformed    = "malformed"
	codeNoRoute      = "no_route"
	codeMethod       = "method"
	codeMedia        = "media_type"
	codeTooLarge     = "too_large"
	codeUnauthorized = "unauthorized"
	codeCrossOrigin  = "cross_origin"
	codeHost         = "unknown_host"
	codeOverloaded   = "overloaded"
	codeUnavailable  = "unavailable"
	codeUnreadable   = "unreadable"
	codeFenced       = "fenced"
	codeBehind       = "behind"
	codeClosed       = "closed"
	codeFull         = "full"
	codeReadOnly     = "read_only"
	codeCorrupt      = "corrupt"
	codeStream       = "invalid_stream"
	codeTimeout      = "timeout"
	CodeInternal     = "internal"
)

// meaning is what a code means to HTTP.
type meaning struct {
	status int
	title  string
	again  int // seconds after which trying again makes sense; 0: it does not by itself
}

// meaningOf is the one table of codes and statuses.
func meaningOf(code string) meaning { //nolint:funlen // a table
	switch code {
	case string(sagas.RefusedInvalid):
		return meaning{http.StatusBadRequest, "The request makes no sense", 0}
	case string(sagas.RefusedMissing):
		return meaning{http.StatusNotFound, "What the request names does not exist", 0}
	case string(sagas.RefusedExists):
		return meaning{http.StatusConflict, "It exists already", 0}
	case string(sagas.RefusedState):
		return meaning{http.StatusConflict, "Not in this state", 0}
	case string(sagas.RefusedMismatch):
		return meaning{http.StatusConflict, "The approval is for something else", 0}
	case string(sagas.RefusedQueue):
		return meaning{http.StatusTooManyRequests, "Too many messages wait", 5}
	case string(sagas.RefusedReuse):
		return meaning{http.StatusUnprocessableEntity, "The Idempotency-Key was used for a different command", 0}
	case codeMalformed, codeStream:
		return meaning{http.StatusBadRequest, "The request cannot be read", 0}
	case codeNoRoute:
		return meaning{http.StatusNotFound, "There is no such path", 0}
	case codeMethod:
		return meaning{http.StatusMethodNotAllowed, "The path does not take this method", 0}
	case codeMedia:
		return meaning{http.StatusUnsupportedMediaType, "The body is not JSON", 0}
	case codeTooLarge:
		return meaning{http.StatusRequestEntityTooLarge, "The body is too large", 0}
	case codeUnauthorized:
		return meaning{http.StatusUnauthorized, "The token is missing or wrong", 0}
	case codeCrossOrigin:
		return meaning{http.StatusForbidden, "Requests from other sites are refused", 0}
	case codeHost:
		return meaning{http.StatusMisdirectedRequest, "This server does not go by that name", 0}
	case codeUnreadable:
		return meaning{http.StatusConflict, "The history cannot be read", 0}
	case codeOverloaded:
		return meaning{http.StatusTooManyRequests, "Too many commands wait", 1}
	case codeUnavailable:
		return meaning{http.StatusServiceUnavailable, "Not available at the moment", 1}
	case codeFenced:
		return meaning{http.StatusServiceUnavailable, "Another writer took over: send it again", 1}
	case codeBehind:
		return meaning{http.StatusServiceUnavailable, "The projection has not come so far", 1}
	case codeClosed:
		return meaning{http.StatusServiceUnavailable, "The host is closing", 5}
	case codeFull:
		return meaning{http.StatusInsufficientStorage, "The disk is full", 0}
	case codeReadOnly:
		return meaning{http.StatusInsufficientStorage, "The store can only be read", 0}
	case codeTimeout:
		return meaning{http.StatusGatewayTimeout, "The answer took too long", 1}
	case codeCorrupt:
		return meaning{http.StatusInternalServerError, "Stored bytes are damaged", 0}
	}
	return meaning{http.StatusInternalServerError, "The server failed", 0}
}

func problem(code, format string, args ...any) *Problem {
	m := meaningOf(code)
	return &Problem{
		Type: "urn:life:problem:" + code, Title: m.title, Status: m.status, Code: code, Detail: fmt.Sprintf(format, args...),
	}
}

// sentinel pairs an error value with its code, for the way out and the way back.
type sentinel struct {
	code   string
	err    error
	detail string // said instead of the error's own text, which may show internals
}

func sentinels() []sentinel {
	return []sentinel{
		{codeClosed, storage.ErrClosed, "the host is closing: send it again, with the same Idempotency-Key, once it is back"},
		{codeFull, storage.ErrFull, "the disk is full: nothing was stored; free some space and send it again"},
		{codeReadOnly, storage.ErrReadOnly, "the store can only be read: nothing was stored; copy the data directory to a place that can be written to"},
		{codeCorrupt, storage.ErrCorrupt, "stored bytes are damaged: the server's log says which; check the store"},
		{codeStream, storage.ErrInvalidAppend, ""},
		{codeUnavailable, syscall.EMFILE, noFiles},
		{codeUnavailable, syscall.ENFILE, noFiles},
		{codeTimeout, context.DeadlineExceeded, "no answer in time: what became of it is unknown; send it again with the same Idempotency-Key"},
		{codeTimeout, context.Canceled, "the request was given up: what became of it is unknown"},
	}
}

const noFiles = "the host has no file left to open: send it again, with the same Idempotency-Key; if it lasts, raise its limit (ulimit -n)"

// CodeOf is the code of an error, as clients of the API get it; docs/api.md lists them.
func CodeOf(err error) string { return problemOf(err).Code }

// problemOf says what an error is to the client. An error that it does not know shows nothing of itself.
func problemOf(err error) *Problem {
	var (
		ready       *Problem
		refusal     *sagas.RefusalError
		malformed   *strictjson.Malformed
		overloaded  *actors.OverloadedError
		unavailable *actors.UnavailableError
		fenced      *actors.FencedError
		behind      *projector.BehindError
		unreadable  *history.UnreadableError
	)
	switch {
	case errors.As(err, &ready):
		return ready
	case errors.As(err, &refusal):
		return problem(string(refusal.Code), "%s", refusal.Detail)
	case errors.As(err, &malformed):
		return problem(codeMalformed, "%s", malformed.Detail)
	case errors.As(err, &unreadable):
		return problem(codeUnreadable, "%s", unreadable.Error())
	case errors.As(err, &overloaded):
		p := problem(codeOverloaded, "%s", overloaded.Error())
		p.Stream, p.Waiting = overloaded.Stream, overloaded.Waiting
		return p
	case errors.As(err, &unavailable):
		p := problem(codeUnavailable, "%s", unavailable.Error())
		p.Stream, p.Reason = unavailable.Stream, unavailable.Reason
		return p
	case errors.As(err, &fenced):
		p := problem(codeFenced, "%s", fenced.Error())
		p.Stream = fenced.Stream
		return p
	case errors.As(err, &behind):
		p := problem(codeBehind, "%s", behind.Error())
		p.Projection, p.Reason = behind.Projection, behind.Reason
		return p
	}
	for _, s := range sentinels() {
		if errors.Is(err, s.err) {
			if s.detail == "" {
				return problem(s.code, "%s", err.Error())
			}
			p := problem(s.code, "%s", s.detail)
			if s.code == codeUnavailable {
				p.Reason = s.detail
			}
			return p
		}
	}
	return problem(CodeInternal, "the server failed; its log says why")
}

// typed is the way back: the error that the port behind the server returned, or the problem itself.
func (p *Problem) typed() error {
	switch p.Code {
	case string(sagas.RefusedInvalid), string(sagas.RefusedMissing), string(sagas.RefusedExists), string(sagas.RefusedState),
		string(sagas.RefusedQueue), string(sagas.RefusedReuse), string(sagas.RefusedMismatch):
		return &sagas.RefusalError{Code: sagas.RefusalCode(p.Code), Detail: p.Detail}
	case codeUnreadable:
		return &history.UnreadableError{Err: errors.New(p.Detail)}
	case codeOverloaded:
		return &actors.OverloadedError{Stream: p.Stream, Waiting: p.Waiting}
	case codeUnavailable:
		return &actors.UnavailableError{Stream: p.Stream, Reason: p.Reason}
	case codeFenced:
		return &actors.FencedError{Stream: p.Stream}
	case codeBehind:
		return &projector.BehindError{Projection: p.Projection, Reason: p.Reason}
	}
	for _, s := range sentinels() {
		if s.code == p.Code {
			return fmt.Errorf("%w (the server said: %s)", s.err, p.Detail)
		}
	}
	return p
}

// mostDetail bounds what a problem says, in bytes.
const mostDetail = 4 << 10

func writeProblem(w http.ResponseWriter, p *Problem) {
	header := w.Header()
	if again := meaningOf(p.Code).again; again > 0 {
		header.Set("Retry-After", strconv.Itoa(again))
	}
	if p.Code == codeUnauthorized {
		header.Set("WWW-Authenticate", "Bearer")
	}
	p.Detail, p.Reason = events.Clip(p.Detail, mostDetail), events.Clip(p.Reason, mostDetail) // they may show what the caller sent
	header.Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	body, err := json.Marshal(p)
	if err != nil { // strings and numbers always encode
		return
	}
	_, _ = w.Write(append(body, '\n')) // else the client is gone, and with it whoever the error was for
}
