package secrets

import (
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"example.com/life/actors"
	"example.com/life/events"
)

// Stream masks what is written to it and passes it on, as soon as it cannot be the beginning of a secret: at the end of a word. Close
// passes on the rest. It belongs to one goroutine.
type Stream struct {
	masker *Masker
	level  events.MaskingLevel
	to     io.Writer
	least  int // bytes that are passed on at once
	lines  bool

	before  string // the end of what was passed on, as it came: rules look at it
	waiting []byte
	inside  bool // a word without an end was masked: what follows belongs to it, up to the next space
	inKey   bool // the same of a private key: what follows belongs to it, as far as it looks so
	hits    []events.Masked
	err     error
}

// What a stream remembers and holds back, in bytes.
const (
	remembered = 1 << 10
	mostHeld   = 16 << 10 // a word, or a private key
	overlap    = 4 << 10  // no known secret, and nearly no other, is longer
)

// Stream implements [actors.Masker].
func (m *Masker) Stream(level events.MaskingLevel, to io.Writer, least int, lines bool) actors.MaskedStream {
	return &Stream{masker: m, level: level, to: to, least: least, lines: lines}
}

// Write implements io.Writer.
func (s *Stream) Write(p []byte) (int, error) {
	s.waiting = append(s.waiting, p...)
	s.pour()
	return len(p), s.err
}

// WriteString is Write.
func (s *Stream) WriteString(text string) (int, error) {
	s.waiting = append(s.waiting, text...)
	s.pour()
	return len(text), s.err
}

// pour passes on what can be, if it is enough.
func (s *Stream) pour() {
	if len(s.waiting) >= s.least {
		s.pass(s.safe())
	}
}

// Close passes on what was held back.
func (s *Stream) Close() error {
	s.pass(len(s.waiting))
	return s.err
}

// Hits counts what was masked so far.
func (s *Stream) Hits() []events.Masked { return s.hits }

// safe is how much of what waits can be passed on.
func (s *Stream) safe() int {
	text := string(s.waiting)
	end := wordEnd(text)
	if at := openKey(text[:end]); at >= 0 && end-at < mostHeld {
		end = at
	}
	end = s.beforeKnown(text, end)
	if end > 0 || len(text) < mostHeld {
		return end
	}
	end = len(text) - overlap // a word of this size is none; a secret that reaches into the rest is masked as far as it is there
	for _, found := range s.masker.spans(s.level, text) {
		if found.from < end && end < found.to && found.from > 0 {
			end = found.from
		}
	}
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return s.beforeKnown(text, end)
}

// wordEnd is how much of a text are whole words: up to the last space, or to the last character that is in no token.
func wordEnd(text string) int {
	for i := len(text) - 1; i >= 0; i-- {
		switch {
		case space(text[i]):
			return i + 1
		case text[i] >= utf8.RuneSelf && utf8.RuneStart(text[i]):
			return i
		}
	}
	return 0
}

var (
	keyBegins = regexp.MustCompile(`(?i)-----BEGIN(?:[ A-Z0-9_-]{0,100}PRIVATE KEY(?: BLOCK)?-----|[ A-Z0-9_-]{0,100}$)|PuTTY-User-Key-File`)
	keyEnds   = regexp.MustCompile(`(?i)-----END[ A-Z0-9_-]{0,100}-----|Private-MAC: `)
	keyLines  = regexp.MustCompile(`^(?:\s*[A-Za-z0-9+/=]{16,})*\s*`)
)

// openKey is where a private key begins that does not end in the text; -1 if there is none.
func openKey(text string) int {
	if !strings.Contains(text, "-----") && !strings.Contains(text, "PuTTY") {
		return -1
	}
	begins := keyBegins.FindAllStringIndex(text, -1)
	if len(begins) == 0 {
		return -1
	}
	last := begins[len(begins)-1]
	if keyEnds.MatchString(text[last[1]:]) {
		return -1
	}
	return last[0]
}

// beforeKnown moves an end to before what may be the beginning of a known secret.
func (s *Stream) beforeKnown(text string, end int) int {
	known := s.masker.known
	for known != nil && end > 0 {
		depth := known.scan(text[:end], func(int, []int32) {})
		if depth == 0 {
			break
		}
		for left := depth; left > 0 && end > 0; {
			if end--; !known.skip[text[end]] {
				left--
			}
		}
	}
	return end
}

// pass masks the first bytes of what waits and passes them on.
func (s *Stream) pass(n int) {
	if n == 0 {
		return
	}
	text := s.before + string(s.waiting[:n])
	var out strings.Builder
	at := len(s.before)
	if s.inside { // the rest of a secret that was too long to be held back
		for at < len(text) && !space(text[at]) {
			at++
		}
		s.inside = at == len(text)
	}
	if s.inKey {
		at += len(keyLines.FindString(text[at:]))
		s.inKey = at == len(text)
	}
	for _, found := range s.masker.spans(s.level, text) {
		if found.to <= at {
			continue
		}
		out.WriteString(text[at:max(at, found.from)])
		out.WriteString(marker(found.rule))
		if s.lines { // so that what follows has the number that it has in a file
			out.WriteString(strings.Repeat("\n", strings.Count(text[max(at, found.from):found.to], "\n")))
		}
		s.hits = events.CountMasked(s.hits, events.Masked{Rule: found.rule, Count: 1})
		at = found.to
		s.inside = found.to == len(text) && n < len(s.waiting) && found.to-found.from >= overlap
		s.inKey = found.to >= len(strings.TrimRight(text, lineEnds)) && found.to-found.from >= overlap && openKey(text[found.from:found.to]) == 0
	}
	out.WriteString(text[at:])
	s.waiting = append(s.waiting[:0], s.waiting[n:]...)
	s.before = text[max(0, len(text)-remembered):]
	if cut := len(text) - len(s.before); cut > 0 { // it begins with a word, lest the end of one looks like another
		if space := strings.IndexAny(s.before, " \n\t"); space >= 0 {
			s.before = s.before[space:]
		}
	}
	if s.err == nil && out.Len() > 0 {
		_, s.err = io.WriteString(s.to, out.String())
	}
}
