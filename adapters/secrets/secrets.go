// Package secrets takes secrets out of texts before they are stored or shown, and leaves a marker that names the rule in their place, such as
// [masked: github-pat]. Two kinds are masked:
//
//   - Secrets that the host knows (known.go): its keys, tokens and passwords, and those that its configuration names; as they are, escaped as
//     in JSON, URLs, HTML and shells, in base64 and in hexadecimal, and across line ends.
//   - Credentials of well-known shape (rules.go): the rules of gitleaks, kept as the file that it publishes, and some of our own.
//
// It promises, for every text:
//
//   - What is masked stays masked: a masked text has no secret that would be masked, and masking it again changes nothing.
//   - A stream is masked as the whole would be, wherever its pieces end (stream.go). What may be the beginning of a secret is held back.
//   - A text without secrets costs one pass over it: a rule's regular expression is run only around its keywords, and compiled only then. All
//     expressions take time in proportion to the text.
//   - JSON stays JSON (json.go).
//
// Nobody can find what was transformed in a way that is not listed: compressed, encrypted, reversed, or given out a letter at a time. Who must
// not have a secret must not be given a tool with it.
package secrets

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"example.com/life/events"
)

// Masker masks secrets. It is safe for concurrent use. Its zero value masks what has a well-known shape.
type Masker struct {
	known *automaton // nil: nothing is known
	forms []form
	names map[string]bool
	tools map[string]string // what tools may be given, by name
}

// New returns a masker that knows some secrets.
func New(known []Known) (*Masker, error) {
	m := &Masker{names: map[string]bool{}, tools: map[string]string{}}
	texts, forms, err := knownForms(known)
	if err != nil {
		return nil, err
	}
	if len(texts) > 0 {
		m.known, m.forms = newAutomaton(texts, func(b byte) byte { return b }, lineEnds), forms
	}
	for _, k := range known {
		m.names[k.Name] = true
		if k.Tools {
			m.tools[k.Name] = k.Value
		}
	}
	return m, nil
}

// Value is a secret that tools may be given.
func (m *Masker) Value(name string) (value string, found bool) {
	value, found = m.tools[name]
	return value, found
}

// Names lists the secrets that tools may be given.
func (m *Masker) Names() []string {
	var names []string
	for name := range m.tools {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// span is a secret in a text.
type span struct {
	from, to int
	rule     string
	order    int // among the rules: the first one names it
}

// marker stands for a secret.
func marker(rule string) string { return "[masked: " + rule + "]" }

var markers = regexp.MustCompile(`\[masked: ([A-Za-z0-9_.-]{1,64})\]`)

// markersIn finds the markers in a text.
func (m *Masker) markersIn(text string) [][2]int {
	if !strings.Contains(text, "[masked: ") {
		return nil
	}
	var found [][2]int
	for _, at := range markers.FindAllStringSubmatchIndex(text, -1) {
		if name := text[at[2]:at[3]]; m.names[name] || loadRules().ids[name] {
			found = append(found, [2]int{at[0], at[1]})
		}
	}
	return found
}

// Marked reports whether a text has a marker that stands for a secret of the level.
func (m *Masker) Marked(level events.MaskingLevel, text string) bool {
	for _, at := range m.markersIn(text) {
		name := strings.TrimSuffix(strings.TrimPrefix(text[at[0]:at[1]], "[masked: "), "]")
		if m.names[name] || level != events.MaskKnown {
			return true
		}
	}
	return false
}

// Mask masks a text, and counts what it masked by rule.
func (m *Masker) Mask(level events.MaskingLevel, text string) (string, []events.Masked) {
	var hits []events.Masked
	for { // a marker may give what is beside it another look; each time round, less is left that is no marker
		spans := m.spans(level, text)
		if len(spans) == 0 {
			return text, hits
		}
		var b strings.Builder
		end := 0
		for _, s := range spans {
			b.WriteString(text[end:s.from])
			b.WriteString(marker(s.rule))
			hits = events.CountMasked(hits, events.Masked{Rule: s.rule, Count: 1})
			end = s.to
		}
		b.WriteString(text[end:])
		text = b.String()
	}
}

// spans finds the secrets in a text: in order, none within another, and none in a marker.
func (m *Masker) spans(level events.MaskingLevel, text string) []span {
	var found []span
	if m.known != nil {
		m.known.scan(text, func(end int, ends []int32) {
			for _, number := range ends {
				found = append(found, m.knownSpan(text, end, m.forms[number]))
			}
		})
	}
	if level != events.MaskKnown {
		found = loadRules().spans(found, text, level == events.MaskStrict)
	}
	if len(found) == 0 {
		return nil
	}
	return merge(found, m.markersIn(text))
}

// knownSpan is where a form stands that ends at a place.
func (m *Masker) knownSpan(text string, end int, f form) span {
	from := end
	for left := f.size; left > 0; {
		if from--; !m.known.skip[text[from]] {
			left--
		}
	}
	for range f.wider {
		if from > 0 && digit(text[from-1]) {
			from--
		}
		if end < len(text) && digit(text[end]) {
			end++
		}
	}
	return span{from, end, f.name, -1}
}

// digit reports whether a byte may be one of base64.
func digit(b byte) bool {
	return b >= '0' && b <= '9' || lower(b) >= 'a' && lower(b) <= 'z' || b == '+' || b == '/' || b == '-' || b == '_'
}

// merge puts what overlaps together, and leaves out what lies in a marker.
func merge(found []span, markers [][2]int) []span {
	within := func(s span) bool {
		return slices.ContainsFunc(markers, func(at [2]int) bool { return at[0] <= s.from && s.to <= at[1] })
	}
	found = slices.DeleteFunc(found, within)
	for i := range found { // part of a marker: all of it goes
		for _, at := range markers {
			if found[i].from < at[1] && at[0] < found[i].to {
				found[i].from, found[i].to = min(found[i].from, at[0]), max(found[i].to, at[1])
			}
		}
	}
	slices.SortFunc(found, func(a, b span) int { return cmp.Or(a.from-b.from, b.to-a.to, a.order-b.order) })
	merged := found[:0]
	for _, s := range found {
		last := len(merged) - 1
		if last < 0 || s.from >= merged[last].to {
			merged = append(merged, s)
			continue
		}
		merged[last].to = max(merged[last].to, s.to)
		if s.order < merged[last].order {
			merged[last].rule, merged[last].order = s.rule, s.order
		}
	}
	return merged
}

// part is what a rule has to look at of a text.
type part struct {
	rule     int32
	from, to int
}

// spans adds the secrets that rules find.
func (set *ruleSet) spans(found []span, text string, guess bool) []span {
	words := &set.shapes
	if guess {
		words = &set.all
	}
	var parts []part
	words.scan(text, func(end int, ends []int32) {
		for _, word := range ends {
			for _, number := range words.rules[word] {
				if from, to := set.rules[number].window(text, end-words.lengths[word], end); from < to {
					parts = extend(parts, part{number, from, to})
				}
			}
		}
	})
	for i := range parts {
		p := &parts[i]
		if i > 0 && parts[i-1].rule == p.rule && parts[i-1].to >= p.to {
			p.to = parts[i-1].to
			continue // it was looked at with the one before
		}
		found, p.to = set.rules[p.rule].find(found, text, p.from, p.to, int(p.rule))
	}
	return found
}

// extend adds a part to others, which are sorted by rule and place, so that nothing is looked at twice.
func extend(parts []part, p part) []part {
	at := len(parts)
	for at > 0 && parts[at-1].rule > p.rule {
		at--
	}
	if at > 0 && parts[at-1].rule == p.rule && p.from <= parts[at-1].to {
		parts[at-1].to = max(parts[at-1].to, p.to)
		return parts
	}
	return slices.Insert(parts, at, p)
}

// The words that rules look at.
const (
	shortestWord = 13 // bytes; no token is shorter
	wordBefore   = 512
	wordAfter    = 4 << 10
)

// window is the part of a text around a keyword that a rule looks at; empty if nothing can match there.
func (r *rule) window(text string, from, to int) (int, int) {
	if r.reach != (reach{}) {
		return max(0, from-r.reach.before), min(len(text), to+r.reach.after)
	}
	start, end := from, to
	for start > 0 && from-start < wordBefore && inToken[text[start-1]] {
		start--
	}
	for end < len(text) && end-to < wordAfter && inToken[text[end]] {
		end++
	}
	if end-start < shortestWord || !strings.Contains(text[start:end], r.also) {
		return 0, 0
	}
	return max(0, start-1), min(len(text), end+len(`\n`)) // what is around a token is part of the match
}

// inToken is what tokens are made of.
//
//nolint:gochecknoglobals // a table, never written to
var inToken = func() (in [256]bool) {
	for b := range 256 {
		in[b] = digit(byte(b)) || strings.IndexByte(".=~:@%|&?#$!*^", byte(b)) >= 0
	}
	return in
}()

func space(b byte) bool { return b == ' ' || b == '\n' || b == '\t' || b == '\r' }

// find adds the secrets that a rule finds in a part of a text. It returns how far it looked.
func (r *rule) find(found []span, text string, from, to, order int) ([]span, int) {
	for {
		matches := r.regex().FindAllStringSubmatchIndex(text[from:to], -1)
		if n := len(matches); n > 0 && matches[n-1][1] == to-from && to < len(text) {
			to = min(len(text), to+(to-from)) // it may go on: the end of the part is not the end of the text
			continue
		}
		for _, at := range matches {
			match := [2]int{from + at[0], from + at[1]}
			secret := r.secret(at)
			secret[0], secret[1] = secret[0]+from, secret[1]+from
			if r.is(text, match, secret) {
				found = append(found, span{secret[0], secret[1], r.id, order})
			}
		}
		return found, to
	}
}

// secret is the part of a match that is the secret: the rule's group, or the first that matched, or all of it.
func (r *rule) secret(at []int) [2]int {
	if r.group > 0 {
		return [2]int{at[2*r.group], at[2*r.group+1]}
	}
	for i := 2; i+1 < len(at); i += 2 {
		if at[i] >= 0 && at[i] < at[i+1] {
			return [2]int{at[i], at[i+1]}
		}
	}
	return [2]int{at[0], at[1]}
}
