package api

import (
	"fmt"
	"net/http"
	"time"

	"example.com/life/actors/history"
	"example.com/life/events"
	"example.com/life/sagas"
)

// Verifying and checking may take minutes. They answer in lines of JSON: how far they are, some times a second, and last the
// report, or the problem that ended them. What fails before there is anything to tell is an ordinary problem.

// line is a line of such an answer. Exactly one field is set.
type line[R any] struct {
	Progress *progress `json:"progress,omitempty"`
	Report   *R        `json:"report,omitempty"`
	Problem  *Problem  `json:"problem,omitempty"`
}

// progress says how many events were looked at, of how many where that is known.
type progress struct {
	Checked int64 `json:"checked,string"`
	Total   int64 `json:"total,string,omitempty"`
}

// tellEvery is how often progress is told.
const tellEvery = 250 * time.Millisecond

// lines writes such an answer.
type lines struct {
	w     http.ResponseWriter
	flush func() error
	told  time.Time
	begun bool
}

func newLines(w http.ResponseWriter) *lines {
	return &lines{w: w, flush: http.NewResponseController(w).Flush, told: time.Now()}
}

func (l *lines) write(value any) error {
	body, err := encodeJSON(value)
	if err != nil {
		return err
	}
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", "application/x-ndjson")
	}
	if _, err = l.w.Write(body); err == nil {
		err = l.flush()
	}
	return err
}

// tell tells how far the work is, now and then. When nobody listens any more the work ends by its context.
func (l *lines) tell(p progress) {
	if time.Since(l.told) < tellEvery {
		return
	}
	l.told = time.Now()
	_ = l.write(line[struct{}]{Progress: &p}) //nolint:errcheck // the client is gone
}

// finish writes the report or the problem. An error before the first line is left to the caller.
func finish[R any](s *server, l *lines, report *R, err error) error {
	if err != nil && !l.begun {
		return err
	}
	last := line[R]{Report: report}
	if err != nil {
		s.log.Error("answer in lines", "error", err)
		last = line[R]{Problem: problemOf(err)}
	}
	_ = l.write(last) //nolint:errcheck // the client is gone
	return nil
}

// verify verifies one agent, or everything.
func (s *server) verify(w http.ResponseWriter, r *http.Request) error {
	q, err := readQuery(r, "agent")
	if err != nil {
		return err
	}
	agent := events.AgentID(q.text("agent"))
	if err := agent.Validate(); err != nil && agent != "" {
		return &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
	}
	if err := decode(w, r, s.limits.body, &struct{}{}); err != nil {
		return err
	}
	out := newLines(w)
	report, err := s.host.Verify(r.Context(), agent, func(checked, total int64) { out.tell(progress{checked, total}) })
	return finish[history.VerifyReport](s, out, &report, err)
}

// check checks the store.
func (s *server) check(w http.ResponseWriter, r *http.Request) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	if err := decode(w, r, s.limits.body, &struct{}{}); err != nil {
		return err
	}
	out := newLines(w)
	report, err := s.host.CheckStore(r.Context(), func(checked, total int64) { out.tell(progress{checked, total}) })
	if report.Damage == nil {
		report.Damage = []StoreDamage{}
	}
	return finish(s, out, &report, err)
}

// auditSecrets looks for secrets in what is stored.
func (s *server) auditSecrets(w http.ResponseWriter, r *http.Request) error {
	q, err := readQuery(r, "masking")
	if err != nil {
		return err
	}
	level := events.MaskingLevel(q.text("masking"))
	switch level {
	case "", events.MaskKnown, events.MaskShapes, events.MaskStrict:
	default:
		return &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: fmt.Sprintf("masking is %q, want known, shapes or strict", events.Clip(string(level), 80))}
	}
	if err := decode(w, r, s.limits.body, &struct{}{}); err != nil {
		return err
	}
	out := newLines(w)
	report, err := s.host.AuditSecrets(r.Context(), level, func(checked, total int64) { out.tell(progress{checked, total}) })
	return finish(s, out, &report, err)
}
