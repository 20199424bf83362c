package api

import (
	"context"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// idempotencyKey is the header that carries a command's id.
const idempotencyKey = "Idempotency-Key"

// read reads a command's body and id. A command without an id gets one, which the answer tells.
func (s *server) read(w http.ResponseWriter, r *http.Request, limit int64, body any) (sagas.Meta, error) {
	if _, err := readQuery(r); err != nil {
		return sagas.Meta{}, err
	}
	keys := r.Header.Values(idempotencyKey)
	switch {
	case len(keys) > 1:
		return sagas.Meta{}, problem(codeMalformed, "there is more than one Idempotency-Key")
	case len(keys) == 0:
		keys = []string{uuid.NewString()}
	}
	id := events.CommandID(keys[0])
	if err := id.Validate(); err != nil {
		return sagas.Meta{}, problem(codeMalformed, "the Idempotency-Key is no command id: %v", err)
	}
	w.Header().Set(idempotencyKey, string(id))
	return sagas.Meta{ID: id, At: storage.Now()}, decode(w, r, limit, body)
}

// decideWithin is how long a command may take until it is stored; the host's own deadlines are shorter.
const decideWithin = 30 * time.Second

// do has the host decide a command and answers with the receipt: 201 when something was made, else 200.
func (s *server) do(w http.ResponseWriter, r *http.Request, stream events.Stream, command sagas.Command) error {
	origin, err := originOf(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), decideWithin)
	defer cancel()
	receipt, err := s.host.Do(ctx, stream, command, origin)
	if err != nil {
		w.Header().Del("Location")
		return err
	}
	status := http.StatusOK
	if w.Header().Get("Location") != "" && !receipt.Duplicate {
		status = http.StatusCreated
	}
	answersAsOf(w, receipt.Position)
	return writeJSON(w, status, receipt)
}

// positionHeader is up to where history is in an answer: of a command, what it stored; of a query, what was folded. A client that sends the greatest
// one it was given with its queries reads what it wrote, at any host.
const positionHeader = "Life-Position"

func answersAsOf(w http.ResponseWriter, position events.Position) {
	if position > 0 {
		w.Header().Set(positionHeader, strconv.FormatUint(uint64(position), 10))
	}
}

// atLeast is the position that a query demands by the header; 0: none.
func atLeast(r *http.Request) (events.Position, error) {
	text := r.Header.Get(positionHeader)
	if text == "" {
		return 0, nil
	}
	position, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, problem(codeMalformed, "%s is %q, want a position: the header of an answer", positionHeader, events.Clip(text, 200))
	}
	return events.Position(position), nil
}

// Headers that say where a command comes from.
const (
	actorHeader = "Life-Actor"
	traceHeader = "Traceparent"
)

// originOf reads who sends a command, for the record; "api" unless the client says otherwise. A malformed trace is left out, as
// the W3C's recommendation has it.
func originOf(r *http.Request) (actors.Origin, error) {
	origin := actors.Origin{Actor: "api"}
	if actor := r.Header.Get(actorHeader); actor != "" {
		if len(actor) > 64 || checkToken(actor) != nil {
			return origin, problem(codeMalformed, "the %s header is not 1 to 64 printable ASCII characters", actorHeader)
		}
		origin.Actor = actor
	}
	if trace := r.Header.Get(traceHeader); validTrace(trace) {
		origin.Traceparent = trace
	}
	return origin, nil
}

func validTrace(trace string) bool {
	if len(trace) != 55 {
		return false
	}
	matched, err := regexp.MatchString(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`, trace)
	return err == nil && matched
}
