package endpoint

import (
	"regexp"
	"sync"
)

// Ways remembers how each model of an endpoint wants to be asked, while the process runs: it costs one refusal to learn it again.
type Ways[W any] struct {
	mu    sync.Mutex
	known map[string]W
}

const maxWays = 1000

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
