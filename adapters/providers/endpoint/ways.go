package endpoint

import (
	"errors"
	"regexp"
	"sync"

	"example.com/life/actors"
	"example.com/life/events"
)

// Ways remembers how each model of an endpoint wants to be asked, while the process runs: it costs one refusal to learn it again.
// W says what differs from how the dialect's vendor is asked.
type Ways[W comparable] struct {
	mu    sync.Mutex
	known map[string]W
}

const maxWays = 1000

// MaxChanges bounds how often one request is put another way: an endpoint may refuse several things, one after the other.
const MaxChanges = 10

// Ask asks in the way that is known, and after each refusal that means the way in another one. after gives the next way and the one to keep for
// later requests; a next way that is the same says that the refusal means something else.
func (w *Ways[W]) Ask(question *actors.ModelRequest, ask func(W) (actors.ModelResponse, error), after func(W, *Refusal) (next, keep W)) (actors.ModelResponse, error) {
	way := w.Of(question.Model)
	for changes := 0; ; changes++ {
		answer, err := ask(way)
		var refused *Refusal
		if !errors.As(err, &refused) {
			return answer, err
		}
		next, keep := after(way, refused)
		if next == way || changes == MaxChanges {
			if refused.Class == events.ErrorContext {
				Overflow(refused.ModelError, question, &refused.Said)
			}
			return actors.ModelResponse{}, refused.ModelError
		}
		if keep != way {
			w.Keep(question.Model, keep)
		}
		way = next
	}
}

// Of is the way of a model; zero for one that was never asked otherwise.
func (w *Ways[W]) Of(model string) W {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known[model]
}

// Keep remembers a way.
func (w *Ways[W]) Keep(model string, learnt W) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.known == nil || len(w.known) >= maxWays {
		w.known = map[string]W{}
	}
	w.known[model] = learnt
}

var (
	streamWord = regexp.MustCompile(`\bstream(?:ing|ed|s)?\b`)
	atMost     = regexp.MustCompile(`(?:at most|less than or equal to|no more than|maximum(?: \w+)*? (?:of|is)|up to|<=|must be <|not exceed|\[1, ?)[^0-9]{0,12}(\d[\d,]*)`)
)

// Unknown reports whether a refusal says that something is not known or not supported.
func (s *Said) Unknown() bool {
	return AnyOf(s.Words())("not support", "unsupported", "doesn't support", "not permitted", "not allowed", "unexpected", "unknown", "unrecognized",
		"extra inputs", "additional properties", "not available", "invalid", "extra fields", "extra_forbidden")
}

// NoStream reports whether a refusal says that what was asked is not streamed.
func (s *Said) NoStream() bool {
	words := s.Words()
	says := AnyOf(words)
	return streamWord.MatchString(words) && !says("reset", "closed", "broken", "eof", "timed out", "interrupt", "ended") &&
		(s.Unknown() || says("cannot", "can't", "only", "must be false", "disable", "incompatible", "without", "not implemented"))
}

// AtMost is the largest number that a refusal allows; 0 if it names none.
func AtMost(words string) int64 { return NumberBy([]*regexp.Regexp{atMost}, words, 1) }
